//! The three storages of a session: collections of one database.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{Guard, GuardedStorage, Storage};
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
    storages: Storages<MongoStorage>,
    /// The same behind the guard, unless it was left out.
    guarded: Option<(Guard, Storages<GuardedStorage<MongoStorage>>)>,
}

struct Storages<S> {
    responses: S,
    redirects: S,
    bodies: S,
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
        let storages = Storages {
            responses: MongoStorage::new(shared.clone(), "responses"),
            redirects: MongoStorage::new(shared.clone(), "redirects"),
            bodies: MongoStorage::new(shared, "bodies"),
        };
        let guarded = config.guard.clone().map(|guard| {
            let behind = |storage: &MongoStorage| guard.storage(storage.clone());
            let guarded = Storages {
                responses: behind(&storages.responses),
                redirects: behind(&storages.redirects),
                bodies: behind(&storages.bodies),
            };
            (guard, guarded)
        });
        Self(Arc::new(Inner { name: config.name.clone(), storages, guarded }))
    }

    /// The guard before the server; `None` where it was left out.
    #[must_use]
    pub fn guard(&self) -> Option<&Guard> {
        self.0.guarded.as_ref().map(|(guard, _)| guard)
    }

    pub(crate) fn storage(&self) -> MongoStorage {
        self.0.storages.responses.clone()
    }

    /// Connects, checks that the collections are ours, and makes their indexes.
    pub(crate) async fn prepare(&self) -> Result<(), MongoError> {
        let Storages { responses, redirects, bodies } = &self.0.storages;
        let database = responses.shared.database.clone();
        to_the_end(async move { database.run_command(doc! { "ping": 1 }).await }).await?;
        for storage in [responses, redirects, bodies] {
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
        match &self.0.guarded {
            Some((_, guarded)) => &guarded.responses,
            None => &self.0.storages.responses,
        }
    }

    fn redirects(&self) -> &dyn Storage {
        match &self.0.guarded {
            Some((_, guarded)) => &guarded.redirects,
            None => &self.0.storages.redirects,
        }
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        Some(match &self.0.guarded {
            Some((_, guarded)) => &guarded.bodies,
            None => &self.0.storages.bodies,
        })
    }
}
