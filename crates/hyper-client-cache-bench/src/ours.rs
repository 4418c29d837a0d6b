//! Ours: a `CachedSession` as a program uses it, on each backend, and the backend without its session.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_core::policy::Mode;
use hyper_client_cache_core::session::{CachedSession, Response};
use hyper_client_cache_core::storage::{CacheKey, Entry, Guard};
use hyper_client_cache_dynamodb::DynamoDbCache;
use hyper_client_cache_fs::FsCache;
use hyper_client_cache_mongo::MongoCache;
use hyper_client_cache_redis::RedisCache;
use hyper_client_cache_sqlite::SqliteCache;

use crate::client::{Body, Client};
use crate::floors::dynamodb::LOCAL;
use crate::floors::message::encode;
use crate::measure::stores::{Answer, Store};
use crate::rows::Bench;
use crate::servers::unique_name;
use crate::{Result, floors};

/// How long the guard of a remote backend waits.
const PATIENCE: Duration = Duration::from_secs(600);

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

    /// Cached in the folder `path`.
    pub(crate) async fn files(path: &Path) -> Result<Self> {
        Self::with(FsCache::open(path).await?)
    }

    /// Cached in `cache`.
    pub(crate) fn with(cache: impl Cache) -> Result<Self> {
        Ok(Self { session: CachedSession::builder().cache(cache).build()? })
    }
}

/// A session whose requests go past its cache: what our client takes by itself.
pub(crate) struct PastTheCache(Ours);

impl PastTheCache {
    /// A session with a cache that nothing goes into.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Ours::memory()?))
    }
}

/// A cache on the Redis server at `address`, emptied when the row is done.
pub(crate) async fn redis(bench: &Bench, address: &str) -> Result<RedisCache> {
    let cache = RedisCache::builder(unique_name()).url(address).guard(guard(false)?).connect().await?;
    let cleared = cache.clone();
    bench.afterwards(async move {
        cleared.clear().await?;
        Ok(cleared.close().await?)
    });
    Ok(cache)
}

/// A cache in a database on the MongoDB server at `address`, removed when the row is done.
pub(crate) async fn mongo(bench: &Bench, address: &str) -> Result<MongoCache> {
    let name = unique_name();
    bench.afterwards(floors::mongo::removal(address, &name));
    Ok(MongoCache::builder(name).url(address).guard(guard(true)?).connect().await?)
}

/// A cache in a table on the DynamoDB server at `address`, removed when the row is done.
pub(crate) async fn dynamodb(bench: &Bench, address: &str) -> Result<DynamoDbCache> {
    let name = unique_name();
    bench.afterwards(floors::dynamodb::removal(address, &name));
    let config = DynamoDbCache::builder(name).endpoint_url(address).region(LOCAL).credentials(LOCAL, LOCAL);
    Ok(config.create_if_not_exists(true).guard(guard(true)?).connect().await?)
}

/// The guard that remote backends have by default, but for its patience: on a busy machine a look-up that takes longer
/// than that would make a miss of a hit. `detach` is the backend's own default.
pub(crate) fn guard(detach: bool) -> Result<Guard> {
    let guard = Guard::builder().deadline(PATIENCE).write_deadline(PATIENCE).bulk_deadline(PATIENCE);
    Ok(guard.detach(detach).build()?)
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

impl Client for PastTheCache {
    type Body = Response;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        Ok(self.0.session.get(url).mode(Mode::NoStore).send().await?)
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
