//! The cache that a session is given: three kinds of keys on one server or cluster.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use async_trait::async_trait;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::{Cache, CacheHandle, Expected, Heads, MaybeGuarded, Record, Stored, codec, parts};
use hyper_client_cache_core::storage::{CacheKey, Guard, Storage};

use crate::config::RedisConfig;
use crate::error;
use crate::gather::{Gather, Wanted};
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
    cache: MaybeGuarded<Keys>,
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

    /// What stands between requests and the server; `None` where the cache was made without.
    #[must_use]
    pub fn guard(&self) -> Option<&Guard> {
        self.0.cache.guard()
    }

    pub(crate) fn new(config: &RedisConfig) -> error::Result<Self> {
        let cache = MaybeGuarded::new(Keys::new(config)?, config.make_guard()?.as_ref());
        Ok(Self(Arc::new(Inner { name: config.name().to_owned(), cache })))
    }

    pub(crate) fn bare_storage(config: &RedisConfig) -> error::Result<RedisStorage> {
        Ok(RedisStorage::new(shared(config)?, Keyspace::new(config.name(), Kind::Responses)?))
    }

    pub(crate) async fn connect(&self) -> error::Result<()> {
        self.0.cache.inner().shared.link.connect().await
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl CacheHandle for RedisCache {
    fn cache(&self) -> &dyn Cache {
        self.0.cache.cache()
    }
}

/// The three storages, and what is done to several of them in one round trip. Response and redirect of a request lie in
/// one slot, so that this holds on a cluster too.
#[derive(Debug)]
struct Keys {
    shared: Arc<Shared>,
    look_ups: Arc<Gather>,
    responses: RedisStorage,
    redirects: RedisStorage,
    bodies: RedisStorage,
    expected: Expected,
    heads: Heads,
}

impl Keys {
    fn new(config: &RedisConfig) -> error::Result<Self> {
        let shared = shared(config)?;
        let storage = |kind| -> error::Result<_> {
            Ok(RedisStorage::new(Arc::clone(&shared), Keyspace::new(config.name(), kind)?))
        };
        let (responses, redirects) = (storage(Kind::Responses)?, storage(Kind::Redirects)?);
        let spaces = [&responses, &redirects].map(|storage| Arc::clone(&storage.space));
        Ok(Self {
            look_ups: Arc::new(Gather::new(Arc::clone(&shared.link), spaces)),
            responses,
            redirects,
            bodies: storage(Kind::Bodies)?,
            expected: Expected::default(),
            heads: Heads::default(),
            shared,
        })
    }

    async fn read(&self, key: &CacheKey, wanted: Wanted) -> Result<[Option<Stored>; 2]> {
        let Self { responses, redirects, heads, .. } = self;
        let [response, redirect] = self.look_ups.read(key, wanted).await?;
        Ok([
            responses.entry(key, response).await.and_then(|entry| heads.decode(entry)),
            redirects.entry(key, redirect).await.and_then(|entry| heads.decode(entry)),
        ])
    }

    /// The keys of the parts of a body.
    fn parts_of(&self, record: &Record) -> impl Iterator<Item = String> {
        parts::keys_of(record).into_iter().flatten().map(|key| self.bodies.key(&key))
    }
}

#[async_trait]
impl Cache for Keys {
    fn responses(&self) -> &dyn Storage {
        &self.responses
    }

    fn redirects(&self) -> &dyn Storage {
        &self.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        Some(&self.bodies)
    }

    /// One command: for the response where one is expected, else for both. Two where an expected one is gone.
    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        if self.expected.is(key) {
            let [response, _] = self.read(key, Wanted::Response).await?;
            if response.is_some() {
                return Ok(response);
            }
        }
        let [response, redirect] = self.read(key, Wanted::Both).await?;
        self.expected.set(key, response.is_some());
        Ok(response.or(redirect))
    }

    /// The record is there before what it replaces goes, and all is sent at once.
    async fn put(&self, key: &CacheKey, stored: Stored, replaced: Option<&Stored>) -> Result<()> {
        let is_redirect = stored.record.is_redirect();
        let parts = stored.record.parts_id().map(str::to_owned);
        let entry = codec::encode(stored)?;
        let (own, other) =
            if is_redirect { (&self.redirects, &self.responses) } else { (&self.responses, &self.redirects) };
        let mut gone = Vec::new();
        // Look-ups ask for responses first: what stood there would hide a redirect.
        if is_redirect || replaced.is_some_and(|old| old.record.is_redirect()) {
            gone.push(other.key(key));
        }
        if let Some(old) = replaced.filter(|old| old.record.parts_id() != parts.as_deref()) {
            gone.extend(self.parts_of(&old.record));
        }
        if gone.is_empty() {
            own.write(key, entry).await?;
        } else {
            own.write_and_unlink(key, &entry, gone).await?;
        }
        self.expected.set(key, !is_redirect);
        Ok(())
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.expected.set(key, false);
        let found = self.read(key, Wanted::Both).await?;
        let mut gone = vec![self.responses.key(key), self.redirects.key(key)];
        gone.extend(found.iter().flatten().flat_map(|stored| self.parts_of(&stored.record)));
        self.responses.run_all(self.shared.link.unlinks(gone)).await?;
        Ok(found.iter().any(Option::is_some))
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
