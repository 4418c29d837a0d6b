//! The guard around storages and caches: deadlines, the breaker, room, order. Time is paused: nothing really waits.

mod breaker;
mod contract;
mod deadline;
mod detached;
mod engine;
mod lifecycle;
mod log;
mod room;

use hyper_client_cache_core::storage::{Guard, GuardBuilder, GuardedStorage, MemoryStorage};
use hyper_client_cache_testkit::{Faults, FaultyStorage};

type Guarded = GuardedStorage<FaultyStorage<MemoryStorage>>;

/// A storage behind a guard of its own, and what goes wrong with it.
fn guarded(builder: GuardBuilder) -> (Guard, Guarded, Faults) {
    let inner = FaultyStorage::new(MemoryStorage::default());
    let faults = inner.faults();
    let guard = builder.build().unwrap();
    let storage = guard.storage(inner);
    (guard, storage, faults)
}
