//! The memory backend as a [`Cache`]: three storages under one budget.

use std::sync::Arc;

use super::Cache;
use crate::clock::Clock;
use crate::error::Result;
use crate::storage::{MemoryStorage, MemoryStorageBuilder, Storage};

/// A cache in memory: bounded, gone with the process. Clones are handles on the same cache.
///
/// Responses, redirects and the parts of large bodies share one budget; what is not used again goes first, whichever of
/// them it is.
///
/// ```
/// use hyper_client_cache_core::cache::MemoryCache;
///
/// let cache = MemoryCache::default(); // 128 MiB
/// let small = MemoryCache::builder().max_bytes(1024 * 1024).build()?;
/// # Ok::<(), hyper_client_cache_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryCache(Arc<Storages>);

#[derive(Debug)]
struct Storages {
    responses: MemoryStorage,
    redirects: MemoryStorage,
    bodies: MemoryStorage,
}

impl MemoryCache {
    /// Options, at their defaults.
    pub fn builder() -> MemoryCacheBuilder {
        MemoryCacheBuilder(MemoryStorage::builder())
    }
}

/// 128 MiB.
impl Default for MemoryCache {
    fn default() -> Self {
        #[allow(clippy::expect_used)] // a test builds it
        Self::builder().build().expect("the defaults are possible")
    }
}

impl Cache for MemoryCache {
    fn responses(&self) -> &dyn Storage {
        &self.0.responses
    }

    fn redirects(&self) -> &dyn Storage {
        &self.0.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        Some(&self.0.bodies)
    }
}

/// Options of [`MemoryCache`]: those of [`MemoryStorage`], for the three storages together.
#[derive(Clone, Debug)]
#[must_use]
pub struct MemoryCacheBuilder(MemoryStorageBuilder);

impl MemoryCacheBuilder {
    /// The most bytes that everything in the cache may take; see [`MemoryStorageBuilder::max_bytes`].
    pub fn max_bytes(self, limit: impl Into<Option<u64>>) -> Self {
        Self(self.0.max_bytes(limit))
    }

    /// The most entries, parts of large bodies included; see [`MemoryStorageBuilder::max_entries`].
    pub fn max_entries(self, limit: impl Into<Option<u64>>) -> Self {
        Self(self.0.max_entries(limit))
    }

    /// The most bytes that one entry may have; see [`MemoryStorageBuilder::max_entry_len`].
    pub fn max_entry_len(self, limit: impl Into<Option<u64>>) -> Self {
        Self(self.0.max_entry_len(limit))
    }

    /// The clock that decides which entries are dead. Default: the operating system's.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self(self.0.clock(clock))
    }

    /// Makes the cache.
    ///
    /// # Errors
    /// As [`MemoryStorageBuilder::build`].
    pub fn build(self) -> Result<MemoryCache> {
        let store = Arc::new(self.0.build_store()?);
        let storage = |space| MemoryStorage::in_space(Arc::clone(&store), space);
        Ok(MemoryCache(Arc::new(Storages { responses: storage(0), redirects: storage(1), bodies: storage(2) })))
    }
}
