//! Ours: a `CachedSession` as a program uses it, on each backend, and the backend without its session.

use std::path::Path;

use bytes::Bytes;
use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_core::session::{CachedSession, Response};
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_sqlite::SqliteCache;

use crate::Result;
use crate::client::{Body, Client};
use crate::floors::sqlite::encode;
use crate::measure::stores::{Answer, Store};

/// A session with its defaults.
pub(crate) struct Ours {
    session: CachedSession,
}

impl Ours {
    /// Cached in memory.
    pub(crate) fn memory() -> Result<Self> {
        Self::with(MemoryCache::default())
    }

    /// Cached in the SQLite file `path`, with the hot tier before it.
    pub(crate) async fn sqlite(path: &Path) -> Result<Self> {
        Self::with(SqliteCache::open(path).await?)
    }

    /// Cached in the SQLite file `path`, without a hot tier.
    pub(crate) async fn cold_sqlite(path: &Path) -> Result<Self> {
        Self::with(SqliteCache::builder(path).hot_tier(0).open().await?)
    }

    /// Cached in `cache`.
    pub(crate) fn with(cache: impl Cache) -> Result<Self> {
        Ok(Self { session: CachedSession::builder().cache(cache).build()? })
    }
}

impl Client for Ours {
    type Body = Response;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        Ok(self.session.get(url).send().await?)
    }

    async fn settle(&self) {
        self.session.layer().flush().await;
    }
}

impl Body for Response {
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        Ok(Response::chunk(self).await?)
    }
}

impl Store for SqliteCache {
    async fn put(&self, number: u64, answer: &Answer) -> Result<()> {
        let entry = Entry::new(encode(&answer.headers), answer.body.clone());
        Ok(self.responses().write(&key(number), entry).await?)
    }
}

/// A key as long as those of responses, spread as theirs are.
pub(crate) fn key(number: u64) -> CacheKey {
    use sha2::{Digest, Sha256};
    CacheKey::from_digest(Sha256::digest(number.to_be_bytes()).into())
}
