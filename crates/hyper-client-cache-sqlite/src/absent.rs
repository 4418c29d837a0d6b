//! What look-ups ask before they ask the database: whether there is surely nothing under a key.
//!
//! Most look-ups of a cache that is being filled find nothing, and the way to a connection's thread and back is what
//! they cost. The writer's task keeps a set of the hashes of all rows of responses and redirects
//! ([`census`](crate::census)); what is not in it is absent. It may answer while what is known about other processes is
//! not too old, as the memory before the table may.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hyper_client_cache_core::storage::CacheKey;

use crate::bloom::Bloom;
use crate::sql::hash_of;

/// What is known about absent keys.
#[derive(Debug, Default)]
pub(crate) struct Absent {
    /// The hashes of all rows, and of some that are gone; `None`: not all are known.
    rows: RwLock<Option<Arc<Bloom>>>,
    /// Whether somebody asked in vain since.
    wanted: AtomicBool,
}

impl Absent {
    /// Whether there is surely neither a response nor a redirect under `key`; `None`: not known, which is noted.
    pub(crate) fn says(&self, key: &CacheKey) -> Option<bool> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.as_ref().map(|rows| !rows.may_contain(hash_of(key).cast_unsigned()))
    }

    /// Notes that an answer was wanted; `true` for the first since there was one.
    pub(crate) fn want(&self) -> bool {
        !self.wanted.load(Ordering::Relaxed) && !self.wanted.swap(true, Ordering::AcqRel)
    }

    /// Whether somebody asked in vain.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// From now on `rows` answers, or nothing does.
    pub(crate) fn set(&self, rows: Option<Arc<Bloom>>) {
        self.wanted.store(false, Ordering::Release);
        *self.rows.write().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}
