//! The three storages of a session: collections of one database.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::{Cache, CacheHandle, Heads, MaybeGuarded, Stored};
use hyper_client_cache_core::storage::{CacheKey, Entry, Guard, Storage};
use mongodb::Database;
use mongodb::bson::doc;

use crate::commands::to_the_end;
use crate::config::MongoConfig;
use crate::error::MongoError;
use crate::storage::{MongoStorage, Shared};

/// An HTTP cache in a database of a MongoDB server, which any number of processes may share.
///
/// The name is the database's. Its collections are `responses`, `redirects` and `bodies`; nothing else in it is
/// touched. Nothing connects before the first use, unless [`MongoConfig::connect`] is asked to.
///
/// A [`Guard`] stands before the server, so that one which is slow or gone costs a request a deadline and then nothing;
/// [`MongoConfig::guard`] sets its figures.
///
/// Clones are handles on the same cache; closing one closes all.
///
/// ```no_run
/// use hyper_client_cache_mongo::MongoCache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hyper_client_cache_core::Result<()> {
/// let cache = MongoCache::builder("http-cache").url("mongodb://user:password@host").connect().await?;
/// # drop(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MongoCache(Arc<Inner>);

struct Inner {
    name: String,
    cache: MaybeGuarded<Collections>,
}

impl MongoCache {
    /// The default name.
    pub const DEFAULT_NAME: &str = "http-cache";

    /// The cache in the database `name` of the server at [`MongoConfig::DEFAULT_URL`]. Connects at its first use.
    ///
    /// # Errors
    /// As [`MongoConfig::open`].
    pub async fn open(name: impl Into<String>) -> Result<Self> {
        Self::builder(name).open().await
    }

    /// Options, at their defaults.
    pub fn builder(name: impl Into<String>) -> MongoConfig {
        MongoConfig::new(name)
    }

    pub(crate) fn new(config: &MongoConfig, database: Database, is_ours: bool) -> Self {
        let collections = Collections::new(Arc::new(Shared::new(config, database, is_ours)));
        let cache = MaybeGuarded::new(collections, config.guard.as_ref());
        Self(Arc::new(Inner { name: config.name.clone(), cache }))
    }

    /// The guard before the server; `None` where it was left out.
    #[must_use]
    pub fn guard(&self) -> Option<&Guard> {
        self.0.cache.guard()
    }

    pub(crate) fn storage(&self) -> MongoStorage {
        self.collections().responses.clone()
    }

    /// Connects, checks that the collections are ours, and makes their indexes.
    pub(crate) async fn prepare(&self) -> std::result::Result<(), MongoError> {
        let Collections { responses, redirects, bodies, .. } = self.collections();
        let database = responses.shared.database.clone();
        to_the_end(async move { database.run_command(doc! { "ping": 1 }).await }).await?;
        for storage in [responses, redirects, bodies] {
            storage.check_ownership().await?;
            storage.ensure_index().await?;
        }
        Ok(())
    }

    fn collections(&self) -> &Collections {
        self.0.cache.inner()
    }
}

impl fmt::Debug for MongoCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoCache").field("database", &self.0.name).finish_non_exhaustive()
    }
}

impl CacheHandle for MongoCache {
    fn cache(&self) -> &dyn Cache {
        self.0.cache.cache()
    }
}

/// The three collections, and the look-up, which may ask two of them.
#[derive(Debug)]
struct Collections {
    responses: MongoStorage,
    redirects: MongoStorage,
    bodies: MongoStorage,
    heads: Heads,
}

impl Collections {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            responses: MongoStorage::new(shared.clone(), "responses"),
            redirects: MongoStorage::new(shared.clone(), "redirects"),
            bodies: MongoStorage::new(shared, "bodies"),
            heads: Heads::default(),
        }
    }

    fn response(&self, key: &CacheKey, read: Option<Entry>) -> Option<Stored> {
        let found = read.and_then(|entry| self.heads.decode(entry));
        self.responses.expect(key, found.is_some());
        found
    }
}

#[async_trait]
impl Cache for Collections {
    fn responses(&self) -> &dyn Storage {
        &self.responses
    }

    fn redirects(&self) -> &dyn Storage {
        &self.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        Some(&self.bodies)
    }

    /// One round trip: where no response is expected, response and redirect are asked for at the same time.
    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        if self.responses.is_expected(key) {
            return match self.response(key, self.responses.read(key).await?) {
                Some(stored) => Ok(Some(stored)),
                None => Ok(self.redirects.read(key).await?.and_then(|entry| self.heads.decode(entry))),
            };
        }
        let (response, redirect) = match select(self.responses.read(key), self.redirects.read(key)).await {
            Either::Left((response, redirect)) => (response?, Either::Left(redirect)),
            Either::Right((redirect, response)) => (response.await?, Either::Right(redirect)),
        };
        // A response counts first, so nobody waits for the other answer where there is one.
        match (self.response(key, response), redirect) {
            (Some(stored), _) => Ok(Some(stored)),
            (None, Either::Left(redirect)) => Ok(redirect.await?.and_then(|entry| self.heads.decode(entry))),
            (None, Either::Right(redirect)) => Ok(redirect?.and_then(|entry| self.heads.decode(entry))),
        }
    }
}
