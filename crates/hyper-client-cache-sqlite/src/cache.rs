//! The cache that a session is given: three storages over one database.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::{Cache, Stored, codec};
use hyper_client_cache_core::storage::{CacheKey, MemoryStorage, Storage, TieredStorage};

use crate::bulk::SqliteBulk;
use crate::config::{SqliteConfig, SqliteLocation};
use crate::engine::Engine;
use crate::error::{self, SqliteError};
use crate::front::{Front, Gate, PATIENCE};
use crate::path;
use crate::sql::Table;
use crate::storage::SqliteStorage;

/// A cache in a SQLite database. Cheap to clone; clones are handles on the same thing.
///
/// The file may be used by several processes at once. See the [crate's documentation](crate) for what is set how and
/// what is durable when.
#[derive(Clone)]
pub struct SqliteCache(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    responses: SqliteStorage,
    /// The memory before the responses.
    tier: Option<Arc<TieredStorage>>,
    redirects: SqliteStorage,
    bodies: SqliteStorage,
}

impl SqliteCache {
    /// Opens the database at `location` with the defaults, and makes it where there is none.
    ///
    /// A path: `~` is the home folder, missing folders are made, `.sqlite` is added where there is no extension. Or a
    /// URL: `sqlite://path?mode=ro`. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// Those of [`SqliteConfig::open`].
    pub async fn open(location: impl Into<SqliteLocation>) -> Result<Self> {
        Self::builder(location).open().await
    }

    /// Options for the database at `location`.
    pub fn builder(location: impl Into<SqliteLocation>) -> SqliteConfig {
        SqliteConfig::new(location)
    }

    /// `http-cache.sqlite` in the user's cache folder: what [`SqliteLocation::user_cache`] stands for.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](hyper_client_cache_core::ErrorKind::Config) where the user has no home folder.
    pub fn default_path() -> Result<PathBuf> {
        Ok(path::default_path()?)
    }

    /// The database's file; `None` where the cache uses a pool.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        self.0.engine.path()
    }

    /// Whether the cache was opened for reading only, or its file turned out to be one that cannot be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.engine.shared.config().read_only
    }

    /// Makes many changes in one transaction: `work` makes them, and all are committed when it is done. Where `work`
    /// fails nothing is changed.
    ///
    /// ```
    /// use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
    /// use hyper_client_cache_core::cache::Cache;
    /// use hyper_client_cache_sqlite::SqliteCache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> hyper_client_cache_core::Result<()> {
    /// let cache = SqliteCache::builder("demo").use_temp(true).open().await?;
    /// cache
    ///     .bulk(async |bulk| {
    ///         for number in 0..1000_u32 {
    ///             bulk.write(&CacheKey::from_digest([number as u8; 32]), Entry::new("head", "body"))?;
    ///         }
    ///         Ok(())
    ///     })
    ///     .await?;
    /// assert_eq!(cache.responses().size().await?, 256);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` returns, and what the commit meets. Then none of the changes is there.
    pub async fn bulk<T>(&self, work: impl AsyncFnOnce(&SqliteBulk<'_>) -> Result<T>) -> Result<T> {
        let bulk = SqliteBulk::new(&self.0.engine);
        let value = work(&bulk).await?;
        bulk.commit().await?;
        Ok(value)
    }

    pub(crate) async fn from_config(config: SqliteConfig) -> error::Result<Self> {
        let engine = Arc::new(Engine::open(config).await?);
        let storage = |table| SqliteStorage::new(engine.clone(), table);
        let responses = storage(Table::Responses);
        let tier = Self::tier(&engine, &responses)?;
        Ok(Self(Arc::new(Inner {
            responses,
            tier,
            redirects: storage(Table::Redirects),
            bodies: storage(Table::Bodies),
            engine,
        })))
    }

    /// The hot tier, where the options want one and the database can be watched for changes by others.
    fn tier(engine: &Arc<Engine>, responses: &SqliteStorage) -> error::Result<Option<Arc<TieredStorage>>> {
        let config = engine.shared.config();
        if config.hot_tier == 0 || config.read_only || config.pool.is_some() {
            return Ok(None);
        }
        let memory = MemoryStorage::builder().max_bytes(config.hot_tier).clock(config.clock.clone()).build();
        let memory = memory.map_err(|error| SqliteError::Setting(format!("`hot_tier`: {error}")))?;
        let front = Front::new(memory, engine.shared.clone());
        let gate = Arc::new(Gate(Arc::downgrade(engine)));
        let tier = Arc::new(TieredStorage::new(front, responses.clone()).with_gate(gate));
        engine.shared.set_tier(Arc::downgrade(&tier));
        Ok(Some(tier))
    }
}

impl fmt::Debug for SqliteCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteCache").field(self.0.engine.shared.config()).finish()
    }
}

#[async_trait]
impl Cache for SqliteCache {
    fn responses(&self) -> &dyn Storage {
        match &self.0.tier {
            Some(tier) => &**tier,
            None => &self.0.responses,
        }
    }

    fn redirects(&self) -> &dyn Storage {
        &self.0.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        Some(&self.0.bodies)
    }

    /// Past the hot tier, a miss is one statement for both tables, not two one after the other; and none where there is
    /// surely nothing.
    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        let engine = &self.0.engine;
        let read = async {
            engine.shared.check_open()?;
            if self.0.tier.is_some() && engine.is_absent(key, PATIENCE) {
                return Ok((None, Some(None)));
            }
            Ok(engine.read_both(key).await?)
        };
        let (response, redirect) = match &self.0.tier {
            Some(tier) => {
                let (response, more) = tier.read_with(key, read).await?;
                (response, more.flatten())
            }
            None => read.await?,
        };
        if let Some(stored) = response.and_then(codec::decode) {
            return Ok(Some(stored));
        }
        let redirect = match redirect {
            Some(redirect) => redirect,
            // What was found is no response after all, which is rare enough to ask again.
            None => self.0.redirects.read(key).await?,
        };
        Ok(redirect.and_then(codec::decode))
    }
}
