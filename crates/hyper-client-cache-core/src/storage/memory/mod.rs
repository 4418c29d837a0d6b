//! The memory backend: bounded, and without a copy on a hit.
//!
//! [`MemoryStorage`] is the storage, [`MemoryCache`](crate::cache::MemoryCache) three of them under one budget.
//! `limits` turns settings into bounds, `store` is the map with its counters and its index of deadlines.

mod limits;
mod store;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use self::limits::{Bounds, Limits};
pub(crate) use self::store::Store;
use super::{CacheKey, Entry, Storage, StorageInfo, StorageStats, failed_stream};
use crate::clock::{Clock, system_clock};
use crate::error::Result;

/// Entries in memory, bounded by bytes and, if wanted, by number. Clones are handles on the same entries.
///
/// A hit shares the stored bytes: it copies no body, whatever its size, and holds a lock only to find the entry.
/// When the bounds are reached, entries that were not used again go first; an entry that is used often is not pushed
/// out by many that are read once.
///
/// ```
/// use hyper_client_cache_core::storage::MemoryStorage;
///
/// let storage = MemoryStorage::default(); // 128 MiB
/// let small = MemoryStorage::builder().max_bytes(1024 * 1024).max_entries(500).build()?;
/// # Ok::<(), hyper_client_cache_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    store: Arc<Store>,
    space: u8,
}

impl MemoryStorage {
    /// Options, at their defaults.
    pub fn builder() -> MemoryStorageBuilder {
        MemoryStorageBuilder { bounds: Bounds::default(), clock: system_clock() }
    }

    /// One of the storages that share `store`.
    pub(crate) fn in_space(store: Arc<Store>, space: u8) -> Self {
        Self { store, space }
    }
}

/// 128 MiB.
impl Default for MemoryStorage {
    fn default() -> Self {
        #[allow(clippy::expect_used)] // a test builds it
        Self::builder().build().expect("the defaults are possible")
    }
}

/// Options of [`MemoryStorage`].
#[derive(Clone, Debug)]
#[must_use]
pub struct MemoryStorageBuilder {
    bounds: Bounds,
    clock: Arc<dyn Clock>,
}

impl MemoryStorageBuilder {
    /// The most bytes that all entries may take, keys and bookkeeping included; `None`: no bound. Default: 128 MiB, at
    /// least 8 KiB.
    pub fn max_bytes(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.bounds.max_bytes = limit.into();
        self
    }

    /// The most entries; `None`, the default: only the bytes bound them.
    ///
    /// With both bounds, each entry counts for at least its share of the bytes (`max_bytes / max_entries`).
    pub fn max_entries(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.bounds.max_entries = limit.into();
        self
    }

    /// The most bytes that head and body of one entry may have together; `None`: what fits into
    /// [`max_bytes`](Self::max_bytes). The default is a sixteenth of that, or 8 MiB where that is more. A session needs at least
    /// 32 KiB.
    ///
    /// An entry is never larger than what fits, so [`StorageInfo::max_entry_len`] may say less than was asked for.
    /// The closer this is to `max_bytes`, the fewer parts the storage can be split into for concurrent use.
    pub fn max_entry_len(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.bounds.max_entry_len = Some(limit.into());
        self
    }

    /// The clock that decides which entries are dead. Default: the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the storage.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) where a limit is 0 or `max_bytes` holds no entry.
    pub fn build(self) -> Result<MemoryStorage> {
        Ok(MemoryStorage::in_space(Arc::new(self.build_store()?), 0))
    }

    pub(crate) fn build_store(self) -> Result<Store> {
        Store::new(Limits::new(self.bounds)?, self.clock)
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("memory").max_entry_len(self.store.limits().max_entry_len)
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.store.read(self.space, key)
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.store.write(self.space, key, entry)
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.store.delete(self.space, key)
    }

    async fn clear(&self) -> Result<()> {
        self.store.clear(self.space)
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        match self.store.check_open(self.space) {
            Ok(()) => stream::iter(self.store.iter(self.space).map(|(key, _)| Ok(key))).boxed(),
            Err(error) => failed_stream(error),
        }
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.store.delete_expired(self.space, now)
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        self.store.contains(self.space, key)
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        self.store.replace(self.space, key, entry)
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        match self.store.check_open(self.space) {
            Ok(()) => stream::iter(self.store.iter(self.space).map(Ok)).boxed(),
            Err(error) => failed_stream(error),
        }
    }

    async fn size(&self) -> Result<u64> {
        self.store.size(self.space)
    }

    async fn bytes(&self) -> Result<u64> {
        self.store.bytes(self.space)
    }

    fn stats(&self) -> StorageStats {
        StorageStats::new(0, self.store.evicted(self.space))
    }

    async fn close(&self) -> Result<()> {
        self.store.close(self.space);
        Ok(())
    }
}
