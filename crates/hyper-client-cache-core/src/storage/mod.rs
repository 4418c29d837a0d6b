//! A byte store with a deadline: the contract that every backend keeps.
//!
//! This module knows nothing about HTTP.
//! [`Storage`] is the trait that a backend implements, [`Entry`] what it stores, [`CacheKey`] what it stores it under;
//! [`frame`] lays an entry out in bytes that are checked when read.
//! [`MemoryStorage`] is the backend that comes with core, [`TieredStorage`] puts one storage before another, [`Guard`]
//! keeps a slow or dead store away from requests.
//! What is built from storages for HTTP is a [`Cache`](crate::cache::Cache).

mod entry;
pub mod frame;
mod guarded;
mod key;
mod memory;
mod tiered;

use std::fmt;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::time::{Duration, SystemTime};

pub use self::entry::{Entry, Memo};
pub use self::guarded::{BreakerState, Guard, GuardBuilder, GuardStats, GuardedStorage};
pub(crate) use self::guarded::{Call, Changes, Class, Gate, guarded_stream, probe_key};
pub use self::key::{CacheKey, InvalidKey};
pub use self::memory::{MemoryStorage, MemoryStorageBuilder};
pub use self::tiered::{FrontGate, TieredStorage};
use crate::error::Result;

/// A byte store with a deadline per entry.
///
/// # The contract
///
/// Rule numbers are those of `docs/storage-contract.md`; the test kit has one test for each and runs them against
/// every backend.
///
/// - **S1** After [`write`](Self::write) returns, [`read`](Self::read) gives the same head and body;
///   `retain_until` may be rounded up by less than a second.
/// - **S2** `write` replaces the whole entry, a missing `retain_until` included.
/// - **S3** A reader sees the old entry, the new one, or none; also when the write future is dropped half-way, and
///   when the process is killed.
/// - **S4** Deleting what is not there is `Ok`; any number of keys at once is accepted.
/// - **S5** An entry with `retain_until <= now` is invisible to `read`, `contains`, `keys`, `entries`, `heads`,
///   `size` and `bytes`, whether or not it still exists.
/// - **S6** [`delete_expired`](Self::delete_expired) removes only dead entries, says how many, never decodes a body,
///   and costs what the dead entries cost, not what the store holds.
/// - **S7** Namespaces do not see each other; [`clear`](Self::clear) empties only its own.
/// - **S8** [`keys`](Self::keys) yields each live key exactly once while nothing changes, in constant memory.
/// - **S9** Empty bodies, NUL bytes, a body of 1 MiB (or of as much as
///   [`max_entry_len`](StorageInfo::max_entry_len) leaves it) and a key of 128 characters all work.
/// - **S10** Over the limit: [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge), and what was stored before is
///   untouched.
/// - **S11** [`close`](Self::close) is idempotent; afterwards each call is
///   [`ErrorKind::Closed`](crate::ErrorKind::Closed); clones are handles on the same thing.
/// - **S12** Racing writers of one key leave exactly one of the entries written.
/// - **S13** What says [`persistent`](StorageInfo::persistent) survives being dropped and reopened.
/// - **S14** `Debug`, `Display` and errors show no credentials.
/// - **S15** Bytes that are not ours, damaged bytes, a newer format: a miss plus a count in
///   [`StorageStats::corrupt`], never a panic, never an error.
///
/// A provided method is correct for every storage; it may only be slower than a native version.
/// All methods may be called concurrently, and any future may be dropped at any point.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// What this storage is and can do. Cheap, and the same for as long as the storage is open.
    fn info(&self) -> StorageInfo;

    /// The live entry under `key`, or `None` where there is none.
    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>>;

    /// Stores `entry` under `key`, in place of whatever was there.
    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()>;

    /// Removes the entry under `key`; `true` where a live one was there.
    async fn delete(&self, key: &CacheKey) -> Result<bool>;

    /// Removes every entry of this storage's namespace, and nothing else.
    async fn clear(&self) -> Result<()>;

    /// Each live key once, in no particular order, in constant memory.
    fn keys(&self) -> BoxStream<'_, Result<CacheKey>>;

    /// Removes the entries whose `retain_until` is at or before `now`, and says how many.
    async fn delete_expired(&self, now: SystemTime) -> Result<u64>;

    /// Whether a live entry is stored under `key`.
    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        Ok(self.read(key).await?.is_some())
    }

    /// The live entries under `keys`, in the same order.
    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.read(key).await?);
        }
        Ok(found)
    }

    /// Writes each entry as [`write`](Self::write) does. On an error some may have been written, each of them whole.
    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        for (key, entry) in entries {
            self.write(&key, entry).await?;
        }
        Ok(())
    }

    /// Removes the entries under `keys` and says how many live ones were there.
    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        let mut deleted: u64 = 0;
        for key in keys {
            deleted = deleted.saturating_add(u64::from(self.delete(key).await?));
        }
        Ok(deleted)
    }

    /// Replaces head and deadline of an entry whose body stays the same; `false` where no live entry is there, in
    /// which case nothing is written.
    ///
    /// `entry` is complete, so that a storage may simply write it; a native version leaves the body alone.
    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        if !self.contains(key).await? {
            return Ok(false);
        }
        self.write(key, entry).await?;
        Ok(true)
    }

    /// Each live entry once, under the conditions of [`keys`](Self::keys). One that vanishes meanwhile is left out.
    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.keys()
            .and_then(async |key| Ok(self.read(&key).await?.map(|entry| (key, entry))))
            .try_filter_map(async |found| Ok(found))
            .boxed()
    }

    /// Each live entry once with an empty body: what listings need. A native version does not read the bodies.
    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.entries().map_ok(|(key, entry)| (key, entry.without_body())).boxed()
    }

    /// How many live entries there are.
    async fn size(&self) -> Result<u64> {
        self.keys().try_fold(0_u64, async |count, _| Ok(count.saturating_add(1))).await
    }

    /// How many bytes the heads and bodies of the live entries have together.
    async fn bytes(&self) -> Result<u64> {
        self.entries().try_fold(0_u64, async |sum, (_, entry)| Ok(sum.saturating_add(entry.len()))).await
    }

    /// What this storage has counted since it was opened. A storage that counts nothing says zeros.
    fn stats(&self) -> StorageStats {
        StorageStats::default()
    }

    /// Waits for what is queued, then releases what is held. Idempotent; every later call is
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    async fn close(&self) -> Result<()>;
}

/// What a [`Storage`] is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageInfo {
    /// The backend's name in lower case: `memory`, `sqlite`, ...
    pub name: &'static str,
    /// Whether entries survive the process.
    pub persistent: bool,
    /// Whether several processes can use the same store at once.
    pub shared: bool,
    /// Whether the store removes expired entries by itself.
    pub expiry: NativeExpiry,
    /// The most bytes that head and body of one entry may have together; `None`: no limit of its own.
    pub max_entry_len: Option<u64>,
    /// How long a look-up takes at most, whatever the store does; `None`: nobody has made sure. A
    /// [guard](GuardedStorage) does.
    pub deadline: Option<Duration>,
}

impl StorageInfo {
    /// A storage in this process that expires nothing by itself and has no limit.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, persistent: false, shared: false, expiry: NativeExpiry::None, max_entry_len: None, deadline: None }
    }

    /// Sets [`persistent`](Self::persistent).
    #[must_use]
    pub const fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// Sets [`shared`](Self::shared).
    #[must_use]
    pub const fn shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Sets [`expiry`](Self::expiry).
    #[must_use]
    pub const fn expiry(mut self, expiry: NativeExpiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// Sets [`max_entry_len`](Self::max_entry_len), in bytes.
    #[must_use]
    pub const fn max_entry_len(mut self, limit: Option<u64>) -> Self {
        self.max_entry_len = limit;
        self
    }

    /// Sets [`deadline`](Self::deadline).
    #[must_use]
    pub const fn deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Whether a store removes entries past their deadline by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NativeExpiry {
    /// Never: `delete_expired` does.
    None,
    /// At some time after the deadline (MongoDB, DynamoDB).
    Lazy,
    /// At the deadline (Redis).
    Exact,
}

/// What a [`Storage`] has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageStats {
    /// Entries found damaged, foreign or of a newer format, each of which was a miss.
    pub corrupt: u64,
    /// Live entries removed to stay within a bound.
    pub evicted: u64,
    /// What a [guard](GuardedStorage) around it has counted.
    pub guard: GuardStats,
}

impl StorageStats {
    /// The sum of two storages' counts.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            corrupt: self.corrupt.saturating_add(other.corrupt),
            evicted: self.evicted.saturating_add(other.evicted),
            guard: self.guard.plus(other.guard),
        }
    }

    /// Counts with these figures.
    #[must_use]
    pub const fn new(corrupt: u64, evicted: u64) -> Self {
        Self { corrupt, evicted, guard: GuardStats::new() }
    }

    /// The same counts with those of a guard around the storage added.
    #[must_use]
    pub const fn guarded(mut self, guard: GuardStats) -> Self {
        self.guard = self.guard.plus(guard);
        self
    }
}

/// A stream of nothing but `error`: what `keys` and `entries` return on a closed storage.
#[must_use]
pub fn failed_stream<T: Send + 'static>(error: crate::Error) -> BoxStream<'static, Result<T>> {
    stream::once(async move { Err(error) }).boxed()
}
