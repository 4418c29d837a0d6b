//! The memory before the table of responses: who may answer when, and what a hit there means for the order of use.
//!
//! What this process writes goes through [`TieredStorage`](hyper_client_cache_core::storage::TieredStorage), which
//! keeps both in step. What another process writes shows in `PRAGMA data_version`: the writer's task looks at it, never
//! a hit. A read that finds the last look older than [`PATIENCE`] goes to the database, which is always right, and
//! wakes the writer; where the version has changed the front is emptied before it may answer again.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::storage::{CacheKey, Entry, FrontGate, MemoryStorage, Storage, StorageInfo, StorageStats};

use crate::engine::Engine;
use crate::shared::Shared;
use crate::sql::Table;

/// How old what is known about other processes may be.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// Of how many hits one is noted: entries that are hit often are noted often enough.
const SAMPLE: u32 = 8;

/// Opens and closes the way to the front.
pub(crate) struct Gate(pub(crate) Weak<Engine>);

impl FrontGate for Gate {
    fn is_open(&self) -> bool {
        self.0.upgrade().is_some_and(|engine| engine.is_current(PATIENCE))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

/// Entries in memory, whose hits count as uses of the rows behind them.
pub(crate) struct Front {
    memory: MemoryStorage,
    shared: Arc<Shared>,
    hits: AtomicU32,
}

impl Front {
    pub(crate) fn new(memory: MemoryStorage, shared: Arc<Shared>) -> Self {
        Self { memory, shared, hits: AtomicU32::new(0) }
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Front").field(&self.memory).finish()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Storage for Front {
    fn info(&self) -> StorageInfo {
        self.memory.info()
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let found = self.memory.read(key).await?;
        if found.is_some() && self.hits.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE) {
            self.shared.used(Table::Responses, *key);
        }
        Ok(found)
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.memory.write(key, entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.memory.delete(key).await
    }

    async fn clear(&self) -> Result<()> {
        self.memory.clear().await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.memory.keys()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.memory.delete_expired(now).await
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        self.memory.contains(key).await
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.memory.read_many(keys).await
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        self.memory.write_many(entries).await
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        self.memory.delete_many(keys).await
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        self.memory.refresh(key, entry).await
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.memory.entries()
    }

    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.memory.heads()
    }

    async fn size(&self) -> Result<u64> {
        self.memory.size().await
    }

    async fn bytes(&self) -> Result<u64> {
        self.memory.bytes().await
    }

    fn stats(&self) -> StorageStats {
        self.memory.stats()
    }

    async fn close(&self) -> Result<()> {
        self.memory.close().await
    }
}
