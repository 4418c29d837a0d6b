//! What a guard counts: each fault moves exactly one of these.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a [`Guard`](super::Guard) has counted since it was made.
        ///
        /// Each call that does not end as the store would have ended it, or that the store failed, moves exactly one of
        /// these figures, apart from `opened`, which counts what follows from several faults.
        /// What the store says of an entry (too large) or of itself (closed) is not a fault.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct GuardStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl GuardStats {
            /// Nothing counted yet.
            #[must_use]
            pub const fn new() -> Self {
                Self { $($name: 0,)* }
            }

            /// The sum of two guards' counts.
            #[must_use]
            pub const fn plus(self, other: Self) -> Self {
                Self { $($name: self.$name.saturating_add(other.$name),)* }
            }
        }

        /// The counters themselves. One relaxed addition each.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            pub(super) fn read(&self) -> GuardStats {
                GuardStats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Calls that the store did not answer within their deadline.
    timed_out,
    /// Calls that the store answered with an error, also one that will be the same at the next try, such as a refusal of
    /// the credentials.
    failed,
    /// Calls that were not made, because the breaker was open.
    refused,
    /// Look-ups and deletions that were not made, or not made in time, because too many were under way.
    overloaded,
    /// Writes that were not made, because too many were waiting or the wait was too long.
    dropped,
    /// How often the breaker has opened after it was closed.
    opened,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
