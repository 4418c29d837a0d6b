//! What is counted about a cache in this process.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::{GuardStats, StorageStats};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the cache was first used in this process, by all sessions that share it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct CacheStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Stored entries that were damaged, foreign or of a newer format: each was a miss.
            pub corrupt: u64,
            /// Live entries removed to stay within a bound.
            pub evicted: u64,
            /// Why calls to the store failed, where a [guard](crate::storage::Guard) stands before it.
            pub guard: GuardStats,
        }

        /// The counters themselves. One relaxed addition each.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self, storages: StorageStats) -> CacheStats {
                CacheStats {
                    $($name: self.$name.read(),)*
                    corrupt: storages.corrupt,
                    evicted: storages.evicted,
                    guard: storages.guard,
                }
            }
        }
    };
}

counters! {
    /// Requests answered from the cache without asking the origin.
    hits,
    /// Requests answered by the origin although the cache was asked.
    misses,
    /// Requests answered from the cache after the origin said that nothing changed.
    revalidated,
    /// Requests answered with a stale response, because that was allowed.
    stale,
    /// Requests answered by another request's exchange that was under way.
    coalesced,
    /// Requests that went past the cache.
    bypassed,
    /// Requests answered with 504 because only the cache was allowed to answer.
    offline,
    /// Requests that ended in an error.
    errors,
    /// Records accepted by the store.
    stored,
    /// Records that the store did not take: it failed, or it was too slow for a large body.
    store_failed,
    /// Records not even offered to the store, because too much was waiting for it already.
    store_refused,
    /// Look-ups that failed: each was a miss.
    lookup_failed,
    /// Records found under a key that is not theirs, or with a body of another length than theirs: each was a miss.
    mismatched,
    /// Stored bodies that could not be read to their end.
    body_lost,
    /// Records removed because a request made them invalid.
    invalidated,
    /// Records removed by hand, through [`CacheExt`](super::CacheExt) or a session's view.
    deleted,
    /// Functions of the user's that panicked: filters and what changes responses before they are stored.
    callback_panicked,
    /// Invalidations that the store has not confirmed; the records stay invisible in this process.
    invalidate_failed,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
