//! Which entries were read, remembered until the writer writes it down with something else: a read writes nothing.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper_client_cache_core::storage::CacheKey;

use crate::sql::Table;

/// The most entries that are remembered. Beyond it uses are forgotten: the order of eviction becomes less exact, and
/// nothing else.
const CAPACITY: usize = 4096;

/// The last use of each entry that was read.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<(Table, CacheKey), i64>>);

impl Uses {
    /// Remembers that the entry was used at the place `stamp` in the order of use.
    pub(crate) fn remember(&self, table: Table, key: CacheKey, stamp: i64) {
        let mut map = self.lock();
        if map.len() < CAPACITY || map.contains_key(&(table, key)) {
            map.insert((table, key), stamp);
        }
    }

    /// Takes all that is remembered.
    pub(crate) fn take(&self) -> HashMap<(Table, CacheKey), i64> {
        mem::take(&mut self.lock())
    }

    /// Whether nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Table, CacheKey), i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
