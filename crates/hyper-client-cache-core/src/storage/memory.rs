//! The memory backend: STUB of the foundation commit, replaced by the bounded one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use super::{CacheKey, Entry, Storage, StorageInfo};
use crate::clock::{Clock, system_clock};
use crate::error::Result;

/// Entries in memory. Clones are handles on the same entries.
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    map: Arc<Mutex<HashMap<CacheKey, Entry>>>,
    clock: Arc<dyn Clock>,
}

impl MemoryStorage {
    /// Options, at their defaults.
    #[must_use]
    pub fn builder() -> MemoryStorageBuilder {
        MemoryStorageBuilder { clock: system_clock() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CacheKey, Entry>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self { map: Arc::default(), clock: system_clock() }
    }
}

/// Options of [`MemoryStorage`].
#[derive(Clone, Debug)]
pub struct MemoryStorageBuilder {
    clock: Arc<dyn Clock>,
}

impl MemoryStorageBuilder {
    /// Sets the clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the storage.
    pub fn build(self) -> Result<MemoryStorage> {
        Ok(MemoryStorage { map: Arc::default(), clock: self.clock })
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("memory")
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let now = self.clock.now();
        Ok(self.lock().get(key).filter(|entry| !entry.is_dead(now)).cloned())
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.lock().insert(*key, entry);
        Ok(())
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        let now = self.clock.now();
        Ok(self.lock().remove(key).is_some_and(|entry| !entry.is_dead(now)))
    }

    async fn clear(&self) -> Result<()> {
        self.lock().clear();
        Ok(())
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        let now = self.clock.now();
        let keys: Vec<_> = self.lock().iter().filter(|(_, e)| !e.is_dead(now)).map(|(key, _)| Ok(*key)).collect();
        stream::iter(keys).boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        let mut map = self.lock();
        let before = map.len();
        map.retain(|_, entry| !entry.is_dead(now));
        Ok((before - map.len()) as u64)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
