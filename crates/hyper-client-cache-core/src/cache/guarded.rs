//! A guard around a whole cache, so that what the cache does in one round trip stays one.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use super::{Cache, Record, Stored};
use crate::error::Result;
use crate::storage::{
    CacheKey, Call, Changes, Class, Entry, Gate, Guard, GuardedStorage, Storage, StorageInfo, StorageStats,
    guarded_stream, probe_key,
};

/// A cache that no request waits for longer than a deadline: [`Guard`] says what that is. Clones share everything.
///
/// Each call of the cache is one call to the guard, whatever the cache does in it; its storages, where they are used
/// directly, are guarded as storages, with the same breaker and the same room.
///
/// ```
/// use hyper_client_cache_core::cache::{GuardedCache, MemoryCache};
/// use hyper_client_cache_core::layer::CacheLayer;
///
/// # fn main() -> hyper_client_cache_core::Result<()> {
/// // `MemoryCache` stands for a backend whose server may be slow or gone.
/// let layer = CacheLayer::builder(GuardedCache::new(MemoryCache::default())).build()?;
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
pub struct GuardedCache<C>(Arc<Inner<C>>);

struct Inner<C> {
    cache: Arc<C>,
    guard: Guard,
    gate: Gate,
    responses: GuardedStorage<Part<C>>,
    redirects: GuardedStorage<Part<C>>,
    bodies: Option<GuardedStorage<Part<C>>>,
}

impl<C: Cache> GuardedCache<C> {
    /// `cache` behind a guard of its own with every figure at its default.
    pub fn new(cache: C) -> Self {
        Self::with_guard(cache, &Guard::default())
    }

    /// `cache` behind `guard`, which may stand before other things on the same server.
    pub fn with_guard(cache: C, guard: &Guard) -> Self {
        let cache = Arc::new(cache);
        let part = |which| guard.storage(Part { cache: cache.clone(), which });
        let probed = cache.clone();
        let probe = move || {
            let cache = probed.clone();
            Box::pin(async move { cache.responses().contains(&probe_key()).await.map(drop) }) as _
        };
        Self(Arc::new(Inner {
            guard: guard.clone(),
            gate: Gate::new(guard.shared().clone(), cache.responses().info().name, Arc::new(probe)),
            responses: part(Which::Responses),
            redirects: part(Which::Redirects),
            bodies: cache.bodies().is_some().then(|| part(Which::Bodies)),
            cache,
        }))
    }

    /// The cache itself. What is called on it directly is not guarded.
    #[must_use]
    pub fn inner(&self) -> &C {
        &self.0.cache
    }

    /// The guard.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    async fn call<T, F>(
        &self,
        class: Class,
        changes: Changes<'_>,
        bytes: u64,
        work: impl FnOnce(Arc<C>) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.0.gate.run(Call { class, changes, bytes }, work(self.0.cache.clone())).await
    }
}

impl<C> Clone for GuardedCache<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Cache> std::fmt::Debug for GuardedCache<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedCache").field("inner", &self.0.cache).field("guard", &self.0.guard).finish()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<C: Cache> Cache for GuardedCache<C> {
    fn responses(&self) -> &dyn Storage {
        &self.0.responses
    }

    fn redirects(&self) -> &dyn Storage {
        &self.0.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        self.0.bodies.as_ref().map(|bodies| bodies as _)
    }

    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        if !self.0.gate.detaches() {
            return self.0.gate.look(self.0.cache.get(key)).await;
        }
        let key = *key;
        self.call(Class::Look, Changes::Nothing, 0, move |cache| async move { cache.get(&key).await }).await
    }

    async fn put(&self, key: &CacheKey, stored: Stored, replaced: Option<&Stored>) -> Result<()> {
        let key = *key;
        let replaced = replaced.cloned();
        let bytes = stored.body.len() as u64;
        let work = move |cache: Arc<C>| async move { cache.put(&key, stored, replaced.as_ref()).await };
        self.call(Class::Write, Changes::Keys(&[key]), bytes, work).await
    }

    async fn refresh(&self, key: &CacheKey, stored: Stored) -> Result<bool> {
        let key = *key;
        let bytes = stored.body.len() as u64;
        let work = move |cache: Arc<C>| async move { cache.refresh(&key, stored).await };
        self.call(Class::Write, Changes::Keys(&[key]), bytes, work).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        let key = *key;
        let work = move |cache: Arc<C>| async move { cache.delete(&key).await };
        self.call(Class::Delete, Changes::Keys(&[key]), 0, work).await
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        let own = keys.to_vec();
        let work = move |cache: Arc<C>| async move { cache.delete_many(&own).await };
        self.call(Class::Bulk, Changes::Keys(keys), 0, work).await
    }

    async fn delete_parts(&self, record: &Record) -> Result<()> {
        let record = record.clone();
        let work = move |cache: Arc<C>| async move { cache.delete_parts(&record).await };
        self.call(Class::Bulk, Changes::Nothing, 0, work).await
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        let work = move |cache: Arc<C>| async move { cache.delete_expired(now).await };
        self.call(Class::Bulk, Changes::Nothing, 0, work).await
    }

    fn records(&self) -> BoxStream<'_, Result<(CacheKey, Stored)>> {
        guarded_stream(&self.0.gate, &self.0.cache, |cache| cache.records())
    }

    async fn clear(&self) -> Result<()> {
        self.call(Class::Bulk, Changes::All, 0, |cache| async move { cache.clear().await }).await
    }

    fn stats(&self) -> StorageStats {
        let own = self.0.cache.stats().guarded(self.0.gate.stats());
        let parts = [Some(&self.0.responses), Some(&self.0.redirects), self.0.bodies.as_ref()];
        parts.into_iter().flatten().fold(own, |sum, part| sum.guarded(part.guard_stats()))
    }

    async fn close(&self) -> Result<()> {
        let inner = &self.0;
        for part in [Some(&inner.responses), Some(&inner.redirects), inner.bodies.as_ref()].into_iter().flatten() {
            part.shut();
        }
        let cache = inner.cache.clone();
        inner.gate.close(async move { cache.close().await }).await
    }
}

/// One of a cache's storages, as a value.
struct Part<C> {
    cache: Arc<C>,
    which: Which,
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Responses,
    Redirects,
    Bodies,
}

impl<C: Cache> Part<C> {
    fn storage(&self) -> &dyn Storage {
        match self.which {
            Which::Responses => self.cache.responses(),
            Which::Redirects => self.cache.redirects(),
            // Made only where there is one, and a cache does not change its mind.
            Which::Bodies => self.cache.bodies().unwrap_or_else(|| self.cache.responses()),
        }
    }
}

impl<C: Cache> std::fmt::Debug for Part<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.storage().fmt(f)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<C: Cache> Storage for Part<C> {
    fn info(&self) -> StorageInfo {
        self.storage().info()
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.storage().read(key).await
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.storage().write(key, entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.storage().delete(key).await
    }

    async fn clear(&self) -> Result<()> {
        self.storage().clear().await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.storage().keys()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.storage().delete_expired(now).await
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        self.storage().contains(key).await
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.storage().read_many(keys).await
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        self.storage().write_many(entries).await
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        self.storage().delete_many(keys).await
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        self.storage().refresh(key, entry).await
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.storage().entries()
    }

    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.storage().heads()
    }

    async fn size(&self) -> Result<u64> {
        self.storage().size().await
    }

    async fn bytes(&self) -> Result<u64> {
        self.storage().bytes().await
    }

    fn stats(&self) -> StorageStats {
        self.storage().stats()
    }

    async fn close(&self) -> Result<()> {
        self.storage().close().await
    }
}
