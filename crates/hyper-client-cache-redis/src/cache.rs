//! The cache that a session is given: three kinds of keys on one server or cluster.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use async_trait::async_trait;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::{Cache, Stored, codec};
use hyper_client_cache_core::storage::{CacheKey, Storage};

use crate::config::RedisConfig;
use crate::error;
use crate::keyspace::{Keyspace, Kind};
use crate::storage::{RedisStorage, Shared};

/// A cache in Redis, which any number of processes may share. Cheap to clone; clones are handles on the same thing.
///
/// The name is the beginning of every key. Nothing connects before the first use, unless [`RedisConfig::connect`] is
/// asked to. See the [crate's documentation](crate) for what is set how and what it costs.
///
/// ```no_run
/// use hyper_client_cache_redis::RedisCache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hyper_client_cache_core::Result<()> {
/// let cache = RedisCache::builder("http-cache").url("rediss://user:password@host").connect().await?;
/// # drop(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisCache(Arc<Inner>);

struct Inner {
    name: String,
    shared: Arc<Shared>,
    responses: RedisStorage,
    redirects: RedisStorage,
    bodies: RedisStorage,
}

impl RedisCache {
    /// The default name.
    pub const DEFAULT_NAME: &str = "http-cache";

    /// The cache `name` on the server at [`RedisConfig::DEFAULT_URL`]. Connects at its first use.
    ///
    /// # Errors
    /// As [`RedisConfig::open`].
    pub async fn open(name: impl Into<String>) -> Result<Self> {
        Self::builder(name).open().await
    }

    /// Options for the cache `name`, at their defaults.
    pub fn builder(name: impl Into<String>) -> RedisConfig {
        RedisConfig::new(name)
    }

    pub(crate) fn new(config: &RedisConfig) -> error::Result<Self> {
        let shared = shared(config)?;
        let storage = |kind| -> error::Result<_> {
            Ok(RedisStorage::new(Arc::clone(&shared), Keyspace::new(config.name(), kind)?))
        };
        Ok(Self(Arc::new(Inner {
            name: config.name().to_owned(),
            responses: storage(Kind::Responses)?,
            redirects: storage(Kind::Redirects)?,
            bodies: storage(Kind::Bodies)?,
            shared,
        })))
    }

    pub(crate) fn bare_storage(config: &RedisConfig) -> error::Result<RedisStorage> {
        Ok(RedisStorage::new(shared(config)?, Keyspace::new(config.name(), Kind::Responses)?))
    }

    pub(crate) async fn connect(&self) -> error::Result<()> {
        self.0.shared.link.connect().await
    }
}

fn shared(config: &RedisConfig) -> error::Result<Arc<Shared>> {
    Ok(Arc::new(Shared {
        link: Arc::new(config.link()?),
        clock: Arc::clone(&config.clock),
        max_entry_len: config.max_entry_len,
        warned: AtomicI64::new(i64::MIN),
    }))
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache").field("name", &self.0.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Cache for RedisCache {
    fn responses(&self) -> &dyn Storage {
        &self.0.responses
    }

    fn redirects(&self) -> &dyn Storage {
        &self.0.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        Some(&self.0.bodies)
    }

    /// Both are asked for in one command.
    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        let Inner { shared, responses, redirects, .. } = &*self.0;
        let [response, redirect] = shared.link.get_both([responses.key(key), redirects.key(key)]).await?;
        if let Some(stored) = responses.entry(key, response).await.and_then(codec::decode) {
            return Ok(Some(stored));
        }
        Ok(redirects.entry(key, redirect).await.and_then(codec::decode))
    }
}
