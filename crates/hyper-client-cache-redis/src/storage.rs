//! One kind of entries of a cache as a [`Storage`]: what is done to one of them here, to many at once in `bulk`, and to
//! all in `listing`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::Value;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use hyper_client_cache_core::clock::{Clock, from_millis, to_millis};
use hyper_client_cache_core::storage::frame::{self, FrameError, PREFIX_LEN};
use hyper_client_cache_core::storage::{CacheKey, Entry, NativeExpiry, Storage, StorageInfo, StorageStats};

use crate::error::{Fault, RedisError, Result};
use crate::keyspace::Keyspace;
use crate::link::{Command, Link, Set, is_of_the_key};

/// How often a full server is worth a warning, in milliseconds.
const WARN_EVERY: i64 = 60_000;

/// One of the three storages of a [`RedisCache`](crate::RedisCache): the keys that begin `<name>:<kind>:`.
///
/// Clones are handles on the same keys. The storages of a cache share one connection; closing one of them closes all.
///
/// A write is acknowledged when the server has it. A future that is dropped may still have its effect, whole.
#[derive(Clone)]
pub struct RedisStorage {
    pub(crate) shared: Arc<Shared>,
    pub(crate) space: Arc<Keyspace>,
    corrupt: Arc<AtomicU64>,
}

/// What the storages of a cache have in common.
pub(crate) struct Shared {
    pub(crate) link: Arc<Link>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) max_entry_len: u64,
    /// When a full server was last warned about, in milliseconds since 1970.
    pub(crate) warned: AtomicI64,
}

impl RedisStorage {
    pub(crate) fn new(shared: Arc<Shared>, space: Keyspace) -> Self {
        Self { shared, space: Arc::new(space), corrupt: Arc::default() }
    }

    pub(crate) fn key(&self, key: &CacheKey) -> String {
        self.space.key(key)
    }

    /// The live entry that a value is. What is damaged is counted and removed.
    pub(crate) async fn entry(&self, key: &CacheKey, value: Option<Bytes>) -> Option<Entry> {
        match frame::split(&value?) {
            Ok(entry) => (!entry.is_dead(self.shared.clock.now())).then_some(entry),
            Err(error) => {
                // Apart, so that what hardly ever happens takes no room in the future of each read.
                Box::pin(self.damaged(key, error)).await;
                None
            }
        }
    }

    /// Counts an entry that cannot be read, and removes it unless a newer version wrote it.
    pub(crate) async fn damaged(&self, key: &CacheKey, error: FrameError) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(kind = self.space.kind().name(), %key, %error, "an entry in Redis cannot be read");
        if error != FrameError::Newer {
            // It is a miss already; if it cannot be removed now, it is met again.
            let _ = self.shared.link.unlink(self.key(key)).await;
        }
    }

    /// The result of a read: a key that holds something else than a string is damage, not a fault.
    pub(crate) async fn value<T: Default>(&self, key: &CacheKey, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if is_of_the_key(&error) => {
                self.damaged(key, FrameError::Foreign).await;
                Ok(T::default())
            }
            other => other,
        }
    }

    /// Whether the beginning of a value is that of a live entry.
    pub(crate) fn is_live(&self, beginning: &[u8]) -> bool {
        frame::layout(beginning).is_ok_and(|layout| !is_over(layout.retain_until, self.shared.clock.now()))
    }

    pub(crate) fn check_len(&self, entry: &Entry) -> Result<()> {
        let (len, limit) = (entry.len(), self.shared.max_entry_len);
        if len > limit { Err(RedisError::TooLarge { len, limit }) } else { Ok(()) }
    }

    /// The command that puts `entry` under `key`. One that is dead already only hides what was there.
    pub(crate) fn store(&self, key: &CacheKey, entry: &Entry, only_if_there: bool) -> Command {
        let key = self.key(key);
        if entry.is_dead(self.shared.clock.now()) {
            return Command::Unlink(vec![key]);
        }
        Command::Set(Set { key, value: frame::join(entry), until: entry.retain_until.map(expiry), only_if_there })
    }

    pub(crate) fn beginning(&self, key: &CacheKey) -> Command {
        Command::Beginning { key: self.key(key), len: PREFIX_LEN }
    }

    /// Warns about a server that takes no writes, now and then.
    pub(crate) fn noticed<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.fault() == Some(Fault::Full)
        {
            let now = to_millis(self.shared.clock.now());
            let last = self.shared.warned.load(Ordering::Relaxed);
            let is_due = last == i64::MIN || now.saturating_sub(last).saturating_abs() >= WARN_EVERY;
            if is_due && self.shared.warned.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                tracing::warn!(%error, "nothing is stored");
            }
        }
        result
    }

    /// Stores an entry, and removes keys after that in the same round trip.
    pub(crate) async fn write_and_unlink(&self, key: &CacheKey, entry: &Entry, gone: Vec<String>) -> Result<()> {
        self.shared.link.check_open()?;
        self.check_len(entry)?;
        let mut commands = vec![self.store(key, entry, false)];
        commands.extend(self.shared.link.unlinks(gone));
        self.run_all(commands).await
    }

    async fn refresh_entry(&self, key: &CacheKey, entry: &Entry) -> Result<bool> {
        self.shared.link.check_open()?;
        self.check_len(entry)?;
        let results = self.shared.link.run(vec![self.beginning(key), self.store(key, entry, true)]).await?;
        let Some((beginning, stored)) = pairs(results).next() else {
            return Err(RedisError::Unexpected("a pipeline"));
        };
        let stored = !self.noticed(stored)?.is_null();
        let was_live = self.is_live(&self.value(key, beginning.and_then(bytes)).await?);
        if stored && !was_live {
            // The server still had what is dead by our clock, or damaged: it is not brought back.
            self.shared.link.unlink(self.key(key)).await?;
        }
        Ok(stored && was_live)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("max_entry_len", &self.max_entry_len).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStorage").field("keys", &self.space.pattern()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for RedisStorage {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("redis")
            .persistent(true)
            .shared(true)
            .expiry(NativeExpiry::Exact)
            .max_entry_len(Some(self.shared.max_entry_len))
    }

    async fn read(&self, key: &CacheKey) -> hyper_client_cache_core::Result<Option<Entry>> {
        let value = self.value(key, self.shared.link.get(self.key(key)).await).await?;
        Ok(self.entry(key, value).await)
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> hyper_client_cache_core::Result<()> {
        self.shared.link.check_open()?;
        self.check_len(&entry)?;
        match self.store(key, &entry, false) {
            Command::Set(set) => self.noticed(self.shared.link.set(set).await)?,
            _ => self.shared.link.unlink(self.key(key)).await?,
        };
        Ok(())
    }

    async fn delete(&self, key: &CacheKey) -> hyper_client_cache_core::Result<bool> {
        Ok(self.delete_batch(std::slice::from_ref(key)).await? > 0)
    }

    async fn clear(&self) -> hyper_client_cache_core::Result<()> {
        Ok(self.clear_all().await?)
    }

    fn keys(&self) -> BoxStream<'_, hyper_client_cache_core::Result<CacheKey>> {
        self.list_keys().err_into().boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> hyper_client_cache_core::Result<u64> {
        Ok(self.expire(now).await?)
    }

    async fn contains(&self, key: &CacheKey) -> hyper_client_cache_core::Result<bool> {
        let beginning = self.shared.link.beginning(self.key(key), PREFIX_LEN).await;
        Ok(self.is_live(&self.value(key, beginning).await?))
    }

    async fn read_many(&self, keys: &[CacheKey]) -> hyper_client_cache_core::Result<Vec<Option<Entry>>> {
        Ok(self.read_entries(keys).await?)
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> hyper_client_cache_core::Result<()> {
        Ok(self.write_entries(entries).await?)
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> hyper_client_cache_core::Result<u64> {
        Ok(self.delete_entries(keys).await?)
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> hyper_client_cache_core::Result<bool> {
        Ok(self.refresh_entry(key, &entry).await?)
    }

    fn entries(&self) -> BoxStream<'_, hyper_client_cache_core::Result<(CacheKey, Entry)>> {
        self.list_entries().err_into().boxed()
    }

    fn heads(&self) -> BoxStream<'_, hyper_client_cache_core::Result<(CacheKey, Entry)>> {
        self.list_heads().err_into().boxed()
    }

    async fn bytes(&self) -> hyper_client_cache_core::Result<u64> {
        Ok(self.sum_of_lens().await?)
    }

    fn stats(&self) -> StorageStats {
        StorageStats::new(self.corrupt.load(Ordering::Relaxed), 0)
    }

    async fn close(&self) -> hyper_client_cache_core::Result<()> {
        self.shared.link.close().await;
        Ok(())
    }
}

pub(crate) fn is_over(deadline: Option<SystemTime>, now: SystemTime) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

/// A deadline as `PXAT` takes it: rounded up, never down, and never so low that it is refused.
fn expiry(deadline: SystemTime) -> i64 {
    let millis = to_millis(deadline);
    let millis = if from_millis(millis) < deadline { millis.saturating_add(1) } else { millis };
    millis.max(1)
}

/// Items by twos.
fn pairs<T>(items: Vec<T>) -> impl Iterator<Item = (T, T)> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}

pub(crate) fn bytes(value: Value) -> Result<Bytes> {
    optional_bytes(value).map(Option::unwrap_or_default)
}

pub(crate) fn optional_bytes(value: Value) -> Result<Option<Bytes>> {
    Ok(value.convert()?)
}
