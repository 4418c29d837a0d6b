//! A storage that fails, hangs or refuses when a test says so: what a cache above it must live with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage, StorageInfo, StorageStats};
use hyper_client_cache_core::{Error, ErrorKind, Result};
use tokio::sync::watch;

/// A storage around a storage, whose [`Faults`] decide what becomes of each call.
///
/// ```
/// use hyper_client_cache_testkit::core::storage::{CacheKey, Entry, Storage};
/// use hyper_client_cache_testkit::reference::ReferenceHarness;
/// use hyper_client_cache_testkit::{FaultyStorage, Op};
///
/// # hyper_client_cache_testkit::tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let storage = FaultyStorage::new(ReferenceHarness::new().storage("demo"));
/// let faults = storage.faults();
/// let key = CacheKey::new("one").unwrap();
///
/// faults.refuse_writes();
/// assert!(storage.write(&key, Entry::new("head", "body")).await.is_err());
/// faults.heal();
/// assert!(storage.write(&key, Entry::new("head", "body")).await.is_ok());
/// assert_eq!(faults.calls(Op::Write), 2);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct FaultyStorage<S> {
    inner: S,
    faults: Faults,
}

impl<S: Storage> FaultyStorage<S> {
    /// Without faults so far.
    pub fn new(inner: S) -> Self {
        Self { inner, faults: Faults::default() }
    }

    /// What decides, to be kept by the test. Clones share it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

/// A method of [`Storage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs)] // each is the method of its name
pub enum Op {
    Read,
    Write,
    Delete,
    Clear,
    Keys,
    DeleteExpired,
    Contains,
    ReadMany,
    WriteMany,
    DeleteMany,
    Refresh,
    Entries,
    Heads,
    Size,
    Bytes,
    Close,
}

impl Op {
    /// Whether the method adds or changes entries.
    const fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::WriteMany | Self::Refresh)
    }
}

/// What is to go wrong, and what was called. Clones share both. All methods take effect on calls that begin later.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Shared>);

struct Shared {
    plan: Mutex<Plan>,
    /// Counts releases, so that a call that hangs sees one also where it comes between two polls.
    released: watch::Sender<u64>,
    /// How many calls hang.
    hanging: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Plan {
    calls: BTreeMap<Op, u64>,
    fail_all: bool,
    fail_in: Option<u64>,
    fail_on: Option<Op>,
    refuse_writes: bool,
    hang: bool,
    hang_on: Option<Op>,
}

impl Faults {
    /// Every call fails with [`ErrorKind::Storage`], marked as transient.
    pub fn fail_all(&self) {
        self.plan().fail_all = true;
    }

    /// Every call of one method fails.
    pub fn fail_on(&self, op: Op) {
        self.plan().fail_on = Some(op);
    }

    /// The `nth` call from now fails, whatever its method; 1 is the next. Those after it do not.
    pub fn fail_nth(&self, nth: u64) {
        self.plan().fail_in = Some(nth);
    }

    /// Writing fails, as on a full or read-only disk; all else works.
    pub fn refuse_writes(&self) {
        self.plan().refuse_writes = true;
    }

    /// Every call waits until [`release`](Self::release), then does what it was to do. Without a release it never ends.
    pub fn hang(&self) {
        self.plan().hang = true;
    }

    /// Every call of one method waits until [`release`](Self::release).
    pub fn hang_on(&self, op: Op) {
        self.plan().hang_on = Some(op);
    }

    /// Lets every call go on that hangs, and ends the hanging.
    pub fn release(&self) {
        let mut plan = self.plan();
        (plan.hang, plan.hang_on) = (false, None);
        drop(plan);
        self.0.released.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Ends every fault, and lets go what hangs. What was counted stays.
    pub fn heal(&self) {
        let mut plan = self.plan();
        *plan = Plan { calls: std::mem::take(&mut plan.calls), ..Plan::default() };
        drop(plan);
        self.release();
    }

    /// How often a method was called, failed calls included.
    #[must_use]
    pub fn calls(&self, op: Op) -> u64 {
        self.plan().calls.get(&op).copied().unwrap_or_default()
    }

    /// How many calls of any method there were.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.plan().calls.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many calls hang at this moment.
    #[must_use]
    pub fn hanging(&self) -> usize {
        *self.0.hanging.borrow()
    }

    /// Waits until at least `count` calls hang, so that a test need not sleep to get there.
    pub async fn until_hanging(&self, count: usize) {
        // The sender lives in `self`, so this ends only with the condition.
        let _ = self.0.hanging.subscribe().wait_for(|hanging| *hanging >= count).await;
    }

    /// Counts the call and does to it what the plan says.
    async fn meet(&self, op: Op) -> Result<()> {
        let mut released = self.0.released.subscribe();
        let (fails, hangs) = {
            let mut plan = self.plan();
            let count = plan.calls.entry(op).or_default();
            *count = count.saturating_add(1);
            plan.fail_in = plan.fail_in.map(|nth| nth.saturating_sub(1));
            let is_nth = plan.fail_in.take_if(|nth| *nth == 0).is_some();
            let refused = plan.refuse_writes && op.is_write();
            (plan.fail_all || is_nth || refused || plan.fail_on == Some(op), plan.hang || plan.hang_on == Some(op))
        };
        if hangs {
            let _hanging = Hanging::begin(&self.0.hanging);
            let _ = released.changed().await;
        }
        if fails {
            return Err(Error::new(ErrorKind::Storage, "a fault that the test asked for").transient());
        }
        Ok(())
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self { plan: Mutex::default(), released: watch::Sender::new(0), hanging: watch::Sender::new(0) }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// Counts a call that hangs, also where it is dropped.
struct Hanging<'a>(&'a watch::Sender<usize>);

impl<'a> Hanging<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count = count.saturating_add(1));
        Self(count)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl<S: Storage> FaultyStorage<S> {
    /// A stream that meets its faults before its first item.
    fn guarded<'a, T: Send + 'a>(&'a self, op: Op, items: BoxStream<'a, Result<T>>) -> BoxStream<'a, Result<T>> {
        let guarded = async move {
            self.faults.meet(op).await?;
            Ok(items)
        };
        stream::once(guarded).try_flatten().boxed()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> Storage for FaultyStorage<S> {
    fn info(&self) -> StorageInfo {
        self.inner.info()
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.faults.meet(Op::Read).await?;
        self.inner.read(key).await
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.faults.meet(Op::Write).await?;
        self.inner.write(key, entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.faults.meet(Op::Delete).await?;
        self.inner.delete(key).await
    }

    async fn clear(&self) -> Result<()> {
        self.faults.meet(Op::Clear).await?;
        self.inner.clear().await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.guarded(Op::Keys, self.inner.keys())
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.faults.meet(Op::DeleteExpired).await?;
        self.inner.delete_expired(now).await
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        self.faults.meet(Op::Contains).await?;
        self.inner.contains(key).await
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.faults.meet(Op::ReadMany).await?;
        self.inner.read_many(keys).await
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        self.faults.meet(Op::WriteMany).await?;
        self.inner.write_many(entries).await
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        self.faults.meet(Op::DeleteMany).await?;
        self.inner.delete_many(keys).await
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        self.faults.meet(Op::Refresh).await?;
        self.inner.refresh(key, entry).await
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.guarded(Op::Entries, self.inner.entries())
    }

    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.guarded(Op::Heads, self.inner.heads())
    }

    async fn size(&self) -> Result<u64> {
        self.faults.meet(Op::Size).await?;
        self.inner.size().await
    }

    async fn bytes(&self) -> Result<u64> {
        self.faults.meet(Op::Bytes).await?;
        self.inner.bytes().await
    }

    fn stats(&self) -> StorageStats {
        self.inner.stats()
    }

    async fn close(&self) -> Result<()> {
        self.faults.meet(Op::Close).await?;
        self.inner.close().await
    }
}
