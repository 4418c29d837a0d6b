//! Fronts and backs that do as a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use hyper_client_cache_core::storage::{
    CacheKey, Entry, FrontGate, MemoryStorage, Storage, StorageInfo, failed_stream,
};
use hyper_client_cache_core::{Error, ErrorKind, Result};
use hyper_client_cache_testkit::origin::Gate;

/// A back whose answers a test holds back: reads after they have found what they found, writes before they begin.
#[derive(Clone, Debug)]
pub(super) struct Back {
    pub(super) inner: MemoryStorage,
    pub(super) reads: Gate,
    pub(super) writes: Gate,
    pub(super) count: Arc<AtomicUsize>,
}

impl Back {
    pub(super) fn new() -> Self {
        let back = Self::held();
        back.reads.open();
        back.writes.open();
        back
    }

    pub(super) fn held() -> Self {
        Self { inner: MemoryStorage::default(), reads: Gate::new(), writes: Gate::new(), count: Arc::default() }
    }
}

#[async_trait]
impl Storage for Back {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("back")
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let found = self.inner.read(key).await;
        self.reads.pass().await;
        found
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.writes.pass().await;
        self.inner.write(key, entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.inner.delete(key).await
    }

    async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.inner.keys()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.inner.delete_expired(now).await
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        self.inner.contains(key).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// A front whose insertions a test holds back before and after they happen.
#[derive(Clone, Debug, Default)]
pub(super) struct SlowFront {
    pub(super) inner: MemoryStorage,
    pub(super) before: Gate,
    pub(super) after: Gate,
}

#[async_trait]
impl Storage for SlowFront {
    fn info(&self) -> StorageInfo {
        self.inner.info()
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.inner.read(key).await
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.before.pass().await;
        let written = self.inner.write(key, entry).await;
        self.after.pass().await;
        written
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.inner.delete(key).await
    }

    async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.inner.keys()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.inner.delete_expired(now).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// A front that fails at everything, or at everything but reading.
#[derive(Debug)]
pub(super) struct BrokenFront {
    pub(super) readable: Option<MemoryStorage>,
}

fn broken<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Storage, "the front is broken"))
}

#[async_trait]
impl Storage for BrokenFront {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("broken")
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        match &self.readable {
            Some(storage) => storage.read(key).await,
            None => broken(),
        }
    }

    async fn write(&self, _: &CacheKey, _: Entry) -> Result<()> {
        broken()
    }

    async fn delete(&self, _: &CacheKey) -> Result<bool> {
        broken()
    }

    async fn clear(&self) -> Result<()> {
        broken()
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        failed_stream(Error::new(ErrorKind::Storage, "the front is broken"))
    }

    async fn delete_expired(&self, _: SystemTime) -> Result<u64> {
        broken()
    }

    async fn close(&self) -> Result<()> {
        broken()
    }
}

/// A gate that a test opens and closes.
#[derive(Debug, Default)]
pub(super) struct Flag(pub(super) AtomicBool);

impl FrontGate for Flag {
    fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
