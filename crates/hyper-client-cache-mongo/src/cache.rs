//! The three storages of a session: collections of one database.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Storage;
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
    responses: MongoStorage,
    redirects: MongoStorage,
    bodies: MongoStorage,
}

impl MongoCache {
    /// The default name.
    pub const DEFAULT_NAME: &str = "http-cache";

    /// The cache in the database `name` of the server at [`MongoConfig::DEFAULT_URL`]. Connects at its first use.
    ///
    /// # Errors
    /// As [`MongoConfig::open`].
    pub async fn open(name: impl Into<String>) -> hyper_client_cache_core::Result<Self> {
        Self::builder(name).open().await
    }

    /// Options, at their defaults.
    pub fn builder(name: impl Into<String>) -> MongoConfig {
        MongoConfig::new(name)
    }

    pub(crate) fn new(config: &MongoConfig, database: Database, is_ours: bool) -> Self {
        let shared = Arc::new(Shared::new(config, database, is_ours));
        let storage = |name| MongoStorage::new(shared.clone(), name);
        Self(Arc::new(Inner {
            name: config.name.clone(),
            responses: storage("responses"),
            redirects: storage("redirects"),
            bodies: storage("bodies"),
        }))
    }

    pub(crate) fn storage(&self) -> MongoStorage {
        self.0.responses.clone()
    }

    /// Connects, checks that the collections are ours, and makes their indexes.
    pub(crate) async fn prepare(&self) -> Result<(), MongoError> {
        let database = self.0.responses.shared.database.clone();
        to_the_end(async move { database.run_command(doc! { "ping": 1 }).await }).await?;
        for storage in [&self.0.responses, &self.0.redirects, &self.0.bodies] {
            storage.check_ownership().await?;
            storage.ensure_index().await?;
        }
        Ok(())
    }
}

impl fmt::Debug for MongoCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoCache").field("database", &self.0.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Cache for MongoCache {
    fn responses(&self) -> &dyn Storage {
        &self.0.responses
    }

    fn redirects(&self) -> &dyn Storage {
        &self.0.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        Some(&self.0.bodies)
    }
}
