//! `http-cache-reqwest` 0.16 in memory: moka and quick_cache. The bare reqwest it stands on is the base of what a miss
//! adds.

use bytes::Bytes;
use http_cache_quickcache::QuickManager;
use http_cache_reqwest::{Cache, CacheManager, CacheMode, HttpCache, HttpCacheOptions, MokaCache, MokaManager};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use super::ENTRIES;
use crate::Result;
use crate::client::{Body, Client};

/// reqwest 0.12, with a cache or without.
pub(crate) struct Stable {
    client: ClientWithMiddleware,
}

impl Stable {
    /// Without a cache.
    pub(crate) fn uncached() -> Result<Self> {
        Ok(Self { client: ClientBuilder::new(bare()?).build() })
    }

    /// Cached in moka.
    pub(crate) fn moka() -> Result<Self> {
        Self::with(MokaManager::new(MokaCache::new(ENTRIES as u64)))
    }

    /// Cached in quick_cache.
    pub(crate) fn quick_cache() -> Result<Self> {
        Self::with(QuickManager::new(quick_cache_06::sync::Cache::new(ENTRIES)))
    }

    fn with(manager: impl CacheManager) -> Result<Self> {
        let cache = HttpCache { mode: CacheMode::Default, manager, options: HttpCacheOptions::default() };
        Ok(Self { client: ClientBuilder::new(bare()?).with(Cache(cache)).build() })
    }
}

impl Client for Stable {
    type Body = reqwest::Response;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        Ok(self.client.get(url).send().await?)
    }
}

impl Body for reqwest::Response {
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        Ok(reqwest::Response::chunk(self).await?)
    }
}

fn bare() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}
