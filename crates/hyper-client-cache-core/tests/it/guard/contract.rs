//! What is behind a guard keeps the whole contract.

use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::cache::{Cache, GuardedCache};
use hyper_client_cache_core::storage::{CacheKey, Guard, Storage};
use hyper_client_cache_testkit::contract::{CacheHarness, Damage, Harness, Opened};
use hyper_client_cache_testkit::reference::{Disk, ReferenceStorage};
use hyper_client_cache_testkit::{FaultyStorage, ManualClock, async_trait, cache_contract_tests, contract_tests};

use crate::storage::{Memory, damage_on};

/// With deadlines that a busy machine does not miss.
fn patient(detach: bool) -> Guard {
    let long = Duration::from_secs(60);
    let guard = Guard::builder().detach(detach).deadline(long).write_deadline(long).bulk_deadline(long);
    guard.close_deadline(long).build().unwrap()
}

/// The reference storage behind a guard that does or does not let calls run on.
#[derive(Debug)]
struct Behind {
    clock: ManualClock,
    disk: Disk,
    guard: Guard,
}

impl Behind {
    fn guard(detach: bool) -> Self {
        Self { clock: ManualClock::new(), disk: Disk::default(), guard: patient(detach) }
    }

    /// With a storage between that answers no call at its first poll once the disk has been slow.
    fn open(&self, inner: impl Storage) -> Opened {
        Opened::new(self.guard.storage(FaultyStorage::new(inner)))
    }
}

#[async_trait]
impl Harness for Behind {
    async fn open(&self, namespace: &str) -> Opened {
        self.open(ReferenceStorage::open(&self.disk, namespace, self.clock.clone()))
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        let inner = ReferenceStorage::open(&self.disk, namespace, self.clock.clone()).max_entry_len(max_entry_len);
        Some(self.open(inner))
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        damage_on(&self.disk, namespace, key, damage)
    }

    fn entries_visited(&self) -> Option<u64> {
        Some(self.disk.visited())
    }
}

/// Memory behind a guard, as a storage and as a cache.
#[derive(Debug, Default)]
struct Guarded(Memory);

#[async_trait]
impl Harness for Guarded {
    async fn open(&self, _namespace: &str) -> Opened {
        Opened::new(patient(true).storage(self.0.builder().build().unwrap()))
    }

    fn clock(&self) -> ManualClock {
        self.0.0.clone()
    }

    async fn open_limited(&self, _namespace: &str, max_entry_len: u64) -> Option<Opened> {
        Some(Opened::new(patient(true).storage(self.0.builder().max_entry_len(max_entry_len).build().unwrap())))
    }
}

#[async_trait]
impl CacheHarness for Guarded {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(GuardedCache::with_guard(self.0.cache(), &patient(true)))
    }

    fn clock(&self) -> ManualClock {
        self.0.0.clone()
    }
}

mod memory {
    use super::*;

    // It has no bytes to damage, no credentials, and is gone with its process.
    contract_tests!(
        Guarded::default(),
        skip = [
            s03_a_killed_writer_leaves_whole_entries,
            s06_no_body_is_decoded,
            s06_the_cost_is_that_of_the_dead,
            s13_what_persists_is_there_after_reopening,
            s14_no_credential_is_shown,
            S15
        ]
    );

    mod cache {
        use super::*;

        cache_contract_tests!(Guarded::default());
    }
}

mod detached {
    use super::*;

    // Credentials are the storage's own affair, and this one is gone with its process.
    contract_tests!(Behind::guard(true), skip = [s03_a_killed_writer_leaves_whole_entries, s14_no_credential_is_shown]);
}

mod attached {
    use super::*;

    contract_tests!(
        Behind::guard(false),
        skip = [s03_a_killed_writer_leaves_whole_entries, s14_no_credential_is_shown]
    );
}
