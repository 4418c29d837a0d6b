//! A store in memory that answers no call at its first poll: each has a point at which it can be dropped.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::StorageCache;
use hyper_client_cache_core::storage::{CacheKey, Entry, MemoryStorage, Storage, StorageInfo};
use hyper_client_cache_testkit::ManualClock;

#[derive(Debug)]
pub struct Yielding(MemoryStorage);

impl Yielding {
    pub fn cache(clock: &ManualClock) -> StorageCache {
        let one = || Self(MemoryStorage::builder().clock(Arc::new(clock.clone())).build().unwrap());
        StorageCache::new(one(), one()).with_bodies(one())
    }
}

#[async_trait]
impl Storage for Yielding {
    fn info(&self) -> StorageInfo {
        self.0.info()
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        tokio::task::yield_now().await;
        let found = self.0.read(key).await;
        tokio::task::yield_now().await;
        found
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        tokio::task::yield_now().await;
        let written = self.0.write(key, entry).await;
        tokio::task::yield_now().await;
        written
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        tokio::task::yield_now().await;
        let deleted = self.0.delete(key).await;
        tokio::task::yield_now().await;
        deleted
    }

    async fn clear(&self) -> Result<()> {
        tokio::task::yield_now().await;
        self.0.clear().await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.0
            .keys()
            .then(async |key| {
                tokio::task::yield_now().await;
                key
            })
            .boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        tokio::task::yield_now().await;
        self.0.delete_expired(now).await
    }

    async fn close(&self) -> Result<()> {
        tokio::task::yield_now().await;
        self.0.close().await
    }
}
