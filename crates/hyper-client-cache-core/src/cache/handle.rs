//! What the cache of a backend usually is: a handle on storages, which stand behind a guard unless that was left out.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;

use super::{Cache, GuardedCache, Record, Stored};
use crate::error::Result;
use crate::storage::{CacheKey, Guard, Storage, StorageStats};

/// A type that is a [`Cache`] because it holds one: all that is asked of it is asked of that.
///
/// For the type that a backend hands to its users, beside what it offers of its own.
///
/// ```
/// use hyper_client_cache_core::cache::{Cache, CacheHandle, MaybeGuarded, MemoryCache};
/// use hyper_client_cache_core::storage::Guard;
///
/// /// `MemoryCache` stands for the storages of a backend.
/// #[derive(Debug)]
/// struct OurCache(MaybeGuarded<MemoryCache>);
///
/// impl CacheHandle for OurCache {
///     fn cache(&self) -> &dyn Cache {
///         self.0.cache()
///     }
/// }
///
/// let guarded = OurCache(MaybeGuarded::new(MemoryCache::default(), Some(&Guard::default())));
/// assert_eq!(guarded.responses().info().name, "memory");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Cache`",
    note = "a cache implements `Cache`, or `CacheHandle` where it holds one"
)]
pub trait CacheHandle: fmt::Debug + Send + Sync + 'static {
    /// The cache that answers; the same one each time.
    fn cache(&self) -> &dyn Cache;
}

/// A cache behind a [`Guard`], or the bare cache, as its options say.
pub struct MaybeGuarded<C>(Inner<C>);

enum Inner<C> {
    Guarded(GuardedCache<C>),
    Bare(C),
}

impl<C: Cache> MaybeGuarded<C> {
    /// `cache` behind `guard`; bare where there is none.
    pub fn new(cache: C, guard: Option<&Guard>) -> Self {
        Self(match guard {
            Some(guard) => Inner::Guarded(GuardedCache::with_guard(cache, guard)),
            None => Inner::Bare(cache),
        })
    }

    /// The cache as it is to be used.
    #[must_use]
    pub fn cache(&self) -> &dyn Cache {
        match &self.0 {
            Inner::Guarded(guarded) => guarded,
            Inner::Bare(bare) => bare,
        }
    }

    /// The cache itself. What is called on it directly is not guarded.
    #[must_use]
    pub fn inner(&self) -> &C {
        match &self.0 {
            Inner::Guarded(guarded) => guarded.inner(),
            Inner::Bare(bare) => bare,
        }
    }

    /// The guard; `None` where there is none.
    #[must_use]
    pub fn guard(&self) -> Option<&Guard> {
        match &self.0 {
            Inner::Guarded(guarded) => Some(guarded.guard()),
            Inner::Bare(_) => None,
        }
    }
}

impl<C: Cache> fmt::Debug for MaybeGuarded<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cache().fmt(f)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<H: CacheHandle> Cache for H {
    fn responses(&self) -> &dyn Storage {
        self.cache().responses()
    }

    fn redirects(&self) -> &dyn Storage {
        self.cache().redirects()
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        self.cache().bodies()
    }

    // As `async_trait` writes it, so that the future is handed on as it is: one less of them for each look-up.
    fn get<'a, 'b, 'f>(&'a self, key: &'b CacheKey) -> BoxFuture<'f, Result<Option<Stored>>>
    where
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        self.cache().get(key)
    }

    async fn put(&self, key: &CacheKey, stored: Stored, replaced: Option<&Stored>) -> Result<()> {
        self.cache().put(key, stored, replaced).await
    }

    async fn refresh(&self, key: &CacheKey, stored: Stored) -> Result<bool> {
        self.cache().refresh(key, stored).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.cache().delete(key).await
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        self.cache().delete_many(keys).await
    }

    async fn delete_parts(&self, record: &Record) -> Result<()> {
        self.cache().delete_parts(record).await
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.cache().delete_expired(now).await
    }

    fn records(&self) -> BoxStream<'_, Result<(CacheKey, Stored)>> {
        self.cache().records()
    }

    async fn clear(&self) -> Result<()> {
        self.cache().clear().await
    }

    fn stats(&self) -> StorageStats {
        self.cache().stats()
    }

    async fn close(&self) -> Result<()> {
        self.cache().close().await
    }
}
