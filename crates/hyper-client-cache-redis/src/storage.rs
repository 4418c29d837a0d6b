//! One kind of entries of a cache as a [`Storage`].

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::Value;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::clock::{Clock, from_millis, to_millis};
use hyper_client_cache_core::storage::frame::{self, FrameError, PREFIX_LEN};
use hyper_client_cache_core::storage::{CacheKey, Entry, NativeExpiry, Storage, StorageInfo, StorageStats};

use crate::error::{Fault, RedisError, Result};
use crate::keyspace::Keyspace;
use crate::link::{Command, Link, Set, is_of_the_key};
use crate::scan;

/// The most entries that are written or removed at once.
const BATCH: usize = 256;

/// The most bytes that are sent at once, unless one entry has more.
const BATCH_BYTES: usize = 4 << 20;

/// How many whole entries are read at once.
const READ_BATCH: usize = 32;

/// What is read of a value where its head is wanted: more than most heads have. A longer one is read again.
const HEAD_GUESS: usize = 2048;

/// How far the server's clock may be behind the moment that clearing away is asked for, and still be trusted to have
/// done it: clocks differ a little.
const CLOCK_SKEW: i64 = 1000;

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
    space: Arc<Keyspace>,
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
                self.damaged(key, error).await;
                None
            }
        }
    }

    /// Counts an entry that cannot be read, and removes it unless a newer version wrote it.
    async fn damaged(&self, key: &CacheKey, error: FrameError) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(kind = self.space.kind().name(), %key, %error, "an entry in Redis cannot be read");
        if error != FrameError::Newer {
            // It is a miss already; if it cannot be removed now, it is met again.
            let _ = self.shared.link.unlink(self.key(key)).await;
        }
    }

    /// The result of a read: a key that holds something else than a string is damage, not a fault.
    async fn value<T: Default>(&self, key: &CacheKey, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if is_of_the_key(&error) => {
                self.damaged(key, FrameError::Foreign).await;
                Ok(T::default())
            }
            other => other,
        }
    }

    /// Whether the beginning of a value is that of a live entry.
    fn is_live(&self, beginning: &[u8]) -> bool {
        frame::layout(beginning).is_ok_and(|layout| !is_over(layout.retain_until, self.shared.clock.now()))
    }

    fn check_len(&self, entry: &Entry) -> Result<()> {
        let (len, limit) = (entry.len(), self.shared.max_entry_len);
        if len > limit { Err(RedisError::TooLarge { len, limit }) } else { Ok(()) }
    }

    /// The command that puts `entry` under `key`. One that is dead already only hides what was there.
    fn store(&self, key: &CacheKey, entry: &Entry, only_if_there: bool) -> Command {
        let key = self.key(key);
        if entry.is_dead(self.shared.clock.now()) {
            return Command::Unlink(vec![key]);
        }
        Command::Set(Set { key, value: frame::join(entry), until: entry.retain_until.map(expiry), only_if_there })
    }

    fn beginning(&self, key: &CacheKey) -> Command {
        Command::Beginning { key: self.key(key), len: PREFIX_LEN }
    }

    /// Warns about a server that takes no writes, now and then.
    fn noticed<T>(&self, result: Result<T>) -> Result<T> {
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

    /// Pages of keys with the first `len` bytes of their values.
    fn beginnings(&self, len: usize) -> BoxStream<'_, Result<Vec<(CacheKey, Bytes)>>> {
        scan::pages(Arc::clone(&self.shared.link), Arc::clone(&self.space))
            .and_then(move |keys| async move {
                let commands = keys.iter().map(|key| Command::Beginning { key: self.key(key), len }).collect();
                let values = self.shared.link.run(commands).await?;
                let mut page = Vec::with_capacity(keys.len());
                for (key, value) in keys.into_iter().zip(values) {
                    let value = self.value(&key, value.and_then(bytes)).await?;
                    // Gone since it was listed.
                    if !value.is_empty() {
                        page.push((key, value));
                    }
                }
                Ok(page)
            })
            .boxed()
    }

    /// The head of an entry of which `beginning` was read; `None` where there is none that lives.
    async fn head(&self, key: &CacheKey, beginning: Bytes) -> Result<Option<Entry>> {
        let layout = match frame::layout(&beginning) {
            Ok(layout) => layout,
            Err(error) => {
                self.damaged(key, error).await;
                return Ok(None);
            }
        };
        if is_over(layout.retain_until, self.shared.clock.now()) {
            return Ok(None);
        }
        let len = usize::try_from(layout.head_len.min(self.shared.max_entry_len)).unwrap_or(usize::MAX);
        let end = PREFIX_LEN.saturating_add(len);
        let block = match beginning.len() {
            read if read >= end => beginning.slice(..end),
            read if read < HEAD_GUESS => beginning,
            _ => self.value(key, self.shared.link.beginning(self.key(key), end).await).await?,
        };
        if block.is_empty() {
            return Ok(None);
        }
        match frame::unblock_head(&block) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) => {
                self.damaged(key, error).await;
                Ok(None)
            }
        }
    }

    async fn read_batch(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let values = self.shared.link.run(keys.iter().map(|key| Command::Get(self.key(key))).collect()).await?;
        let mut entries = Vec::with_capacity(keys.len());
        for (key, value) in keys.iter().zip(values) {
            let value = self.value(key, value.and_then(optional_bytes)).await?;
            entries.push(self.entry(key, value).await);
        }
        Ok(entries)
    }

    /// Removes keys, and says how many of them had a live entry.
    async fn delete_batch(&self, keys: &[CacheKey]) -> Result<u64> {
        let mut seen = HashSet::new();
        let keys: Vec<_> = keys.iter().filter(|key| seen.insert(**key)).collect();
        let mut commands: Vec<_> = keys.iter().map(|key| self.beginning(key)).collect();
        commands.extend(self.shared.link.unlinks(keys.iter().map(|key| self.key(key)).collect()));
        let mut results = self.shared.link.run(commands).await?.into_iter();
        let mut live: u64 = 0;
        for beginning in results.by_ref().take(keys.len()) {
            let beginning = match beginning.and_then(bytes) {
                Err(error) if is_of_the_key(&error) => Bytes::new(),
                other => other?,
            };
            live = live.saturating_add(u64::from(self.is_live(&beginning)));
        }
        // Somebody else may have removed them between the two.
        Ok(live.min(sum(results)?))
    }

    async fn unlink_batch(&self, keys: &[CacheKey]) -> Result<u64> {
        let commands = self.shared.link.unlinks(keys.iter().map(|key| self.key(key)).collect());
        sum(self.shared.link.run(commands).await?)
    }

    /// Stores an entry, and removes keys after that in the same round trip.
    pub(crate) async fn write_and_unlink(&self, key: &CacheKey, entry: &Entry, gone: Vec<String>) -> Result<()> {
        self.shared.link.check_open()?;
        self.check_len(entry)?;
        let mut commands = vec![self.store(key, entry, false)];
        commands.extend(self.shared.link.unlinks(gone));
        self.run_all(commands).await
    }

    /// Runs commands whose answers say nothing, a batch at a time.
    pub(crate) async fn run_all(&self, commands: Vec<Command>) -> Result<()> {
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            for result in self.shared.link.run(commands.by_ref().take(BATCH).collect()).await? {
                self.noticed(result)?;
            }
        }
        Ok(())
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

    async fn write_entries(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        self.shared.link.check_open()?;
        entries.iter().try_for_each(|(_, entry)| self.check_len(entry))?;
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let (mut commands, mut size) = (Vec::new(), 0_usize);
            while commands.len() < BATCH
                && size < BATCH_BYTES
                && let Some((key, entry)) = entries.next()
            {
                size = size.saturating_add(usize::try_from(entry.len()).unwrap_or(usize::MAX));
                commands.push(self.store(&key, &entry, false));
            }
            for result in self.shared.link.run(commands).await? {
                self.noticed(result)?;
            }
        }
        Ok(())
    }

    async fn expire(&self, now: SystemTime) -> Result<u64> {
        // The server removes by its own clock, and has removed what was dead by then.
        if to_millis(now) <= self.shared.link.time().await?.saturating_add(CLOCK_SKEW) {
            return Ok(0);
        }
        let mut pages = self.beginnings(PREFIX_LEN);
        let mut removed: u64 = 0;
        while let Some(page) = pages.try_next().await? {
            let is_dead =
                |beginning: &Bytes| frame::layout(beginning).is_ok_and(|found| is_over(found.retain_until, now));
            let dead: Vec<_> =
                page.into_iter().filter(|(_, beginning)| is_dead(beginning)).map(|(key, _)| key).collect();
            removed = removed.saturating_add(self.unlink_batch(&dead).await?);
        }
        Ok(removed)
    }

    async fn clear_all(&self) -> Result<()> {
        let mut pages = scan::pages(Arc::clone(&self.shared.link), Arc::clone(&self.space));
        while let Some(keys) = pages.try_next().await? {
            self.unlink_batch(&keys).await?;
        }
        Ok(())
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
        self.beginnings(PREFIX_LEN)
            .map_ok(|page| {
                let live = page.into_iter().filter(|(_, beginning)| self.is_live(beginning));
                stream::iter(live.map(|(key, _)| Ok::<_, RedisError>(key)).collect::<Vec<_>>())
            })
            .try_flatten()
            .err_into()
            .boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> hyper_client_cache_core::Result<u64> {
        Ok(self.expire(now).await?)
    }

    async fn contains(&self, key: &CacheKey) -> hyper_client_cache_core::Result<bool> {
        let beginning = self.shared.link.beginning(self.key(key), PREFIX_LEN).await;
        Ok(self.is_live(&self.value(key, beginning).await?))
    }

    async fn read_many(&self, keys: &[CacheKey]) -> hyper_client_cache_core::Result<Vec<Option<Entry>>> {
        self.shared.link.check_open()?;
        let mut entries = Vec::with_capacity(keys.len());
        for batch in keys.chunks(READ_BATCH) {
            entries.append(&mut self.read_batch(batch).await?);
        }
        Ok(entries)
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> hyper_client_cache_core::Result<()> {
        Ok(self.write_entries(entries).await?)
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> hyper_client_cache_core::Result<u64> {
        self.shared.link.check_open()?;
        let mut deleted: u64 = 0;
        for batch in keys.chunks(BATCH) {
            deleted = deleted.saturating_add(self.delete_batch(batch).await?);
        }
        Ok(deleted)
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> hyper_client_cache_core::Result<bool> {
        Ok(self.refresh_entry(key, &entry).await?)
    }

    fn entries(&self) -> BoxStream<'_, hyper_client_cache_core::Result<(CacheKey, Entry)>> {
        scan::pages(Arc::clone(&self.shared.link), Arc::clone(&self.space))
            .map_ok(|keys| stream::iter(keys.into_iter().map(Ok::<_, RedisError>)))
            .try_flatten()
            // A few at a time: a page of entries may be large.
            .try_chunks(READ_BATCH)
            .map_err(|error| error.1)
            .and_then(async |keys: Vec<CacheKey>| {
                let found = self.read_batch(&keys).await?;
                let found =
                    keys.into_iter().zip(found).filter_map(|(key, entry)| Some(Ok::<_, RedisError>((key, entry?))));
                Ok(stream::iter(found.collect::<Vec<_>>()))
            })
            .try_flatten()
            .err_into()
            .boxed()
    }

    fn heads(&self) -> BoxStream<'_, hyper_client_cache_core::Result<(CacheKey, Entry)>> {
        self.beginnings(HEAD_GUESS)
            .map_ok(|page| stream::iter(page.into_iter().map(Ok::<_, RedisError>)))
            .try_flatten()
            .try_filter_map(async |(key, beginning): (CacheKey, Bytes)| {
                Ok(self.head(&key, beginning).await?.map(|entry| (key, entry)))
            })
            .err_into()
            .boxed()
    }

    async fn bytes(&self) -> hyper_client_cache_core::Result<u64> {
        let mut pages = self.beginnings(PREFIX_LEN);
        let mut sum: u64 = 0;
        while let Some(page) = pages.try_next().await? {
            let now = self.shared.clock.now();
            let layouts = page.iter().filter_map(|(_, beginning)| frame::layout(beginning).ok());
            let live = layouts.filter(|layout| !is_over(layout.retain_until, now));
            sum = live.fold(sum, |sum, layout| sum.saturating_add(layout.head_len).saturating_add(layout.body_len));
        }
        Ok(sum)
    }

    fn stats(&self) -> StorageStats {
        StorageStats::new(self.corrupt.load(Ordering::Relaxed), 0)
    }

    async fn close(&self) -> hyper_client_cache_core::Result<()> {
        self.shared.link.close().await;
        Ok(())
    }
}

fn is_over(deadline: Option<SystemTime>, now: SystemTime) -> bool {
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

fn bytes(value: Value) -> Result<Bytes> {
    optional_bytes(value).map(Option::unwrap_or_default)
}

fn optional_bytes(value: Value) -> Result<Option<Bytes>> {
    Ok(value.convert()?)
}

/// What several commands have removed.
fn sum(removed: impl IntoIterator<Item = Result<Value>>) -> Result<u64> {
    removed.into_iter().try_fold(0, |sum: u64, removed| Ok(sum.saturating_add(removed?.convert()?)))
}
