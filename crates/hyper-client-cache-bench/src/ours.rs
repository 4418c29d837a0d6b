//! Ours: a `CachedSession` as a program uses it, on each backend.

use bytes::Bytes;
use hyper_client_cache_core::cache::MemoryCache;
use hyper_client_cache_core::session::{CachedSession, Response};

use crate::Result;
use crate::client::{Body, Client};

/// A session with its defaults.
pub(crate) struct Ours {
    session: CachedSession,
}

impl Ours {
    /// Cached in memory.
    pub(crate) fn memory() -> Result<Self> {
        Ok(Self { session: CachedSession::builder().cache(MemoryCache::default()).build()? })
    }
}

impl Client for Ours {
    type Body = Response;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        Ok(self.session.get(url).send().await?)
    }
}

impl Body for Response {
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        Ok(Response::chunk(self).await?)
    }
}
