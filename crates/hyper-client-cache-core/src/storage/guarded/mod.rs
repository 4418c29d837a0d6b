//! A guard around any storage: a slow, dead or lying store costs a request a deadline, then nothing.
//!
//! A [`Guard`] belongs to one server. [`Guard::storage`] puts it around a storage, and
//! [`GuardedCache`](crate::cache::GuardedCache) around a whole cache; all that one guard stands before share its
//! breaker and its room.
//!
//! ```
//! use std::time::Duration;
//! use hyper_client_cache_core::cache::{GuardedCache, MemoryCache};
//! use hyper_client_cache_core::storage::{Guard, MemoryStorage};
//!
//! # fn main() -> hyper_client_cache_core::Result<()> {
//! // The usual: everything at its default, around a cache of anybody's.
//! let cache = GuardedCache::new(MemoryCache::default());
//!
//! // The same with other figures, around a storage.
//! let guard = Guard::builder().deadline(Duration::from_millis(20)).failures(3).build()?;
//! let storage = guard.storage(MemoryStorage::default());
//! # let _ = (cache, storage);
//! # Ok(())
//! # }
//! ```
//!
//! - **A deadline** for each call, total, from the moment of asking: it includes the wait for room.
//!   Listings have it for each item.
//! - **A breaker**: after some faults in a row (no answer in time, or an error that is
//!   [transient](crate::Error::is_transient)) the store is asked nothing for a while, and each call fails at once.
//!   A probe that nobody waits for finds out when it is back.
//!   Errors of writes open a breaker for writes only: a store that is full still answers.
//! - **Room**: so many calls at once; what is over waits until its deadline.
//!   Writes have room of their own and a bounded queue; what finds it full is dropped.
//! - **Calls run on** in a task of their own after their caller has gone or stopped waiting, because many a driver must
//!   not be dropped half-way. What is done to a key stays in order all the same.
//!
//! Each fault moves one figure of [`GuardStats`]. `docs/guarding.md` has the defaults in a table.
//!
//! In reading order: `storage` (what forwards), `stream` (listings), `gate` (the way of one call), `look` (with or without a
//! task of its own), `attempt` (how it ended), `breaker`, `room`, `order`, `stats`.

mod storage;

mod stream;

mod gate;
mod look;

mod attempt;

mod breaker;

mod room;

mod order;

mod stats;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use self::breaker::Breaker;
pub use self::breaker::BreakerState;
pub(crate) use self::gate::{Call, Class, Gate};
pub(crate) use self::order::Changes;
use self::room::Room;
use self::stats::Counters;
pub use self::stats::GuardStats;
pub use self::storage::GuardedStorage;
pub(crate) use self::storage::probe_key;
pub(crate) use self::stream::guarded_stream;
use super::Storage;
use crate::error::{Error, ErrorKind, Result};

/// What stands between requests and one server. Cheap to clone; clones share breaker, room and counters.
///
/// Everything that is reached over the same connection should be behind the same guard, so that what one storage has
/// found out is known to all.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Shared>);

impl Guard {
    /// Options at their defaults.
    pub fn builder() -> GuardBuilder {
        GuardBuilder { settings: Settings::default() }
    }

    /// Puts this guard around `inner`.
    pub fn storage<S: Storage>(&self, inner: S) -> GuardedStorage<S> {
        GuardedStorage::new(self, inner)
    }

    /// What was counted for all that this guard stands before.
    #[must_use]
    pub fn stats(&self) -> GuardStats {
        self.0.counters.read()
    }

    /// Whether the store is asked at present.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.0.server.state()
    }

    /// Whether the store is given writes at present, where it is [asked](Self::state) at all.
    #[must_use]
    pub fn write_state(&self) -> BreakerState {
        self.0.writes.state()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self(Arc::new(Shared::new(Settings::default())))
    }
}

/// Options of [`Guard`].
#[derive(Clone, Debug)]
#[must_use]
pub struct GuardBuilder {
    settings: Settings,
}

impl GuardBuilder {
    /// Sets how long a look-up may take, and each item of a listing; 100 milliseconds by default.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// Sets how long a write or a deletion may take, for which nobody waits; one second by default.
    pub const fn write_deadline(mut self, deadline: Duration) -> Self {
        self.settings.write_deadline = deadline;
        self
    }

    /// Sets how long a call may take that concerns any number of entries (`clear`, `size`, `delete_expired`, ...);
    /// 30 seconds by default.
    pub const fn bulk_deadline(mut self, deadline: Duration) -> Self {
        self.settings.bulk_deadline = deadline;
        self
    }

    /// Sets how long closing may take; 5 seconds by default.
    pub const fn close_deadline(mut self, deadline: Duration) -> Self {
        self.settings.close_deadline = deadline;
        self
    }

    /// Sets how many faults in a row open the breaker; 5 by default.
    pub const fn failures(mut self, failures: u32) -> Self {
        self.settings.failures = failures;
        self
    }

    /// Sets how long after the breaker has opened the first probe is made; 250 milliseconds by default. The distances
    /// double from probe to probe, up to 2 seconds.
    pub const fn probe_after(mut self, wait: Duration) -> Self {
        self.settings.probe_after = wait;
        self
    }

    /// Sets how many look-ups and deletions may be under way at once; 256 by default.
    pub const fn in_flight(mut self, calls: usize) -> Self {
        self.settings.in_flight = calls;
        self
    }

    /// Sets how many writes may be under way at once; 64 by default.
    pub const fn writes_in_flight(mut self, writes: usize) -> Self {
        self.settings.writes_in_flight = writes;
        self
    }

    /// Sets how many writes may wait for room; 1024 by default. What is over is dropped at once.
    pub const fn queue_entries(mut self, entries: u64) -> Self {
        self.settings.queue_entries = entries;
        self
    }

    /// Sets how many bytes the waiting writes may have together; 64 MiB by default.
    pub const fn queue_bytes(mut self, bytes: u64) -> Self {
        self.settings.queue_bytes = bytes;
        self
    }

    /// Sets whether a call that has begun goes on to its end in a task of its own when its deadline has passed or its
    /// caller has gone (the default), or is dropped: for a driver whose futures may be dropped at any point.
    pub const fn detach(mut self, detach: bool) -> Self {
        self.settings.detach = detach;
        self
    }

    /// Sets how long after its deadline a call may go on in its task; 10 seconds by default. As many may do so as may be
    /// under way; one that is over keeps its room, so that a server that hangs does not collect calls.
    pub const fn run_on(mut self, limit: Duration) -> Self {
        self.settings.run_on = limit;
        self
    }

    /// Makes the guard.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a figure is zero that cannot be, or room is over what the runtime can count.
    pub fn build(self) -> Result<Guard> {
        let settings = &self.settings;
        let durations = [
            ("deadline", settings.deadline),
            ("write_deadline", settings.write_deadline),
            ("bulk_deadline", settings.bulk_deadline),
            ("close_deadline", settings.close_deadline),
            ("probe_after", settings.probe_after),
        ];
        if let Some((name, _)) = durations.into_iter().find(|(_, duration)| duration.is_zero()) {
            return Err(impossible(name, "is zero: give at least a millisecond"));
        }
        if settings.failures == 0 {
            return Err(impossible("failures", "is zero: give at least 1"));
        }
        for (name, room) in [("in_flight", settings.in_flight), ("writes_in_flight", settings.writes_in_flight)] {
            if room == 0 || room > Semaphore::MAX_PERMITS {
                return Err(impossible(name, "is zero or far too many"));
            }
        }
        Ok(Guard(Arc::new(Shared::new(self.settings))))
    }
}

fn impossible(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`{name}` {why}"))
}

#[derive(Clone, Debug)]
struct Settings {
    deadline: Duration,
    write_deadline: Duration,
    bulk_deadline: Duration,
    close_deadline: Duration,
    failures: u32,
    probe_after: Duration,
    in_flight: usize,
    writes_in_flight: usize,
    queue_entries: u64,
    queue_bytes: u64,
    detach: bool,
    run_on: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // What a user hardly notices in a request, and many times what a server nearby needs.
            deadline: Duration::from_millis(100),
            write_deadline: Duration::from_secs(1),
            bulk_deadline: Duration::from_secs(30),
            close_deadline: Duration::from_secs(5),
            failures: 5,
            probe_after: Duration::from_millis(250),
            in_flight: 256,
            writes_in_flight: 64,
            queue_entries: 1024,
            queue_bytes: 64 * 1024 * 1024,
            detach: true,
            run_on: Duration::from_secs(10),
        }
    }
}

impl Settings {
    const fn deadline(&self, class: Class) -> Duration {
        match class {
            Class::Look => self.deadline,
            Class::Delete | Class::Write => self.write_deadline,
            Class::Bulk => self.bulk_deadline,
        }
    }
}

/// What all clones of a guard share.
pub(crate) struct Shared {
    settings: Settings,
    server: Breaker,
    writes: Breaker,
    room: Room,
    counters: Counters,
}

impl Shared {
    fn new(settings: Settings) -> Self {
        Self {
            server: Breaker::new(settings.failures, settings.probe_after),
            writes: Breaker::new(settings.failures, settings.probe_after),
            room: Room::new(&settings),
            counters: Counters::default(),
            settings,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("settings", &self.settings)
            .field("state", &self.server.state())
            .field("stats", &self.counters.read())
            .finish_non_exhaustive()
    }
}
