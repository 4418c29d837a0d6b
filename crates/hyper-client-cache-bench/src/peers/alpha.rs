//! `http-cache-reqwest` 1.0 (pre-release) on disk: redb and cacache, through the client and, for rates of stores, through
//! their managers.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use http_cache_1::{HttpHeaders, HttpVersion};
use http_cache_reqwest_1::{
    CACacheManager, Cache, CacheManager, CacheMode, HttpCache, HttpCacheOptions, HttpResponse, RedbManager,
};
use http_cache_semantics::CachePolicy;
use reqwest_013 as reqwest;
use reqwest_middleware_05::{ClientBuilder, ClientWithMiddleware};

use crate::Result;
use crate::client::{Body, Client};
use crate::measure::stores::{Answer, Store};

/// reqwest 0.13, with a cache or without.
pub(crate) struct Alpha {
    client: ClientWithMiddleware,
}

impl Alpha {
    /// Without a cache.
    pub(crate) fn uncached() -> Result<Self> {
        Ok(Self { client: ClientBuilder::new(bare()?).build() })
    }

    /// Cached in the redb file `path`.
    pub(crate) fn redb(path: &Path) -> Result<Self> {
        Self::with(RedbManager::new(path)?)
    }

    /// Cached under the folder `path`.
    pub(crate) fn cacache(path: &Path) -> Result<Self> {
        Self::with(CACacheManager::new(path.to_owned(), true))
    }

    fn with(manager: impl CacheManager) -> Result<Self> {
        let cache = HttpCache { mode: CacheMode::Default, manager, options: HttpCacheOptions::default() };
        Ok(Self { client: ClientBuilder::new(bare()?).with(Cache(cache)).build() })
    }
}

impl Client for Alpha {
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

/// A manager without its client.
pub(crate) struct AlphaStore<M>(M);

impl AlphaStore<RedbManager> {
    /// The manager of the redb file `path`.
    pub(crate) fn redb(path: &Path) -> Result<Self> {
        Ok(Self(RedbManager::new(path)?))
    }
}

impl AlphaStore<CACacheManager> {
    /// The manager of the folder `path`.
    pub(crate) fn cacache(path: &Path) -> Self {
        Self(CACacheManager::new(path.to_owned(), true))
    }
}

impl<M: CacheManager> Store for AlphaStore<M> {
    async fn put(&self, number: u64, answer: &Answer) -> Result<()> {
        let url = format!("http://127.0.0.1/stored-{number}");
        let mut head = Response::new(());
        *head.headers_mut() = answer.headers.clone();
        let policy = CachePolicy::new(&Request::get(&url).body(())?, &head);
        let mut lines: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in &answer.headers {
            lines.entry(name.to_string()).or_default().push(value.to_str()?.to_owned());
        }
        let response = HttpResponse {
            body: answer.body.to_vec(),
            headers: HttpHeaders::Modern(lines),
            status: 200,
            url: url.parse()?,
            version: HttpVersion::Http11,
            metadata: None,
        };
        self.0.put(format!("GET:{url}"), response, policy).await?;
        Ok(())
    }
}

fn bare() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}
