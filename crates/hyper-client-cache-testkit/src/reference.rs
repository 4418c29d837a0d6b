//! The smallest storage that keeps every rule: what the suite is tested with, and what the broken storages break.
//!
//! Entries lie as checked bytes ([`frame`]) in a map that outlives the storage, so that reopening and damaging them
//! works as with a real store. Nothing is tuned: each call takes one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::cache::{Cache, StorageCache};
use hyper_client_cache_core::clock::{Clock, from_millis, to_millis};
use hyper_client_cache_core::storage::frame::{self, FrameError};
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage, StorageInfo, StorageStats, failed_stream};
use hyper_client_cache_core::{Error, ErrorKind, Result};

use crate::ManualClock;
use crate::contract::{CacheHarness, Damage, Harness, Opened};

/// What a [`ReferenceStorage`] writes to. Lives as long as any clone of it, so it plays the disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<DiskInner>);

#[derive(Default)]
struct DiskInner {
    folders: Mutex<BTreeMap<String, Folder>>,
    visited: AtomicU64,
}

#[derive(Default)]
struct Folder {
    values: BTreeMap<CacheKey, Bytes>,
    deadlines: BTreeMap<CacheKey, i64>,
    by_deadline: BTreeSet<(i64, CacheKey)>,
}

impl Disk {
    /// The bytes under `key`, whatever they are.
    #[must_use]
    pub fn raw(&self, namespace: &str, key: &CacheKey) -> Option<Bytes> {
        self.lock().get(namespace)?.values.get(key).cloned()
    }

    /// Replaces the bytes under `key` and leaves its deadline; `false` where nothing is there.
    pub fn overwrite_raw(&self, namespace: &str, key: &CacheKey, bytes: Bytes) -> bool {
        let mut folders = self.lock();
        let Some(value) = folders.get_mut(namespace).and_then(|folder| folder.values.get_mut(key)) else {
            return false;
        };
        *value = bytes;
        true
    }

    /// The names of the namespaces that hold anything.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        self.lock().iter().filter(|(_, folder)| !folder.values.is_empty()).map(|(name, _)| name.clone()).collect()
    }

    /// The keys under which anything lies, sorted.
    #[must_use]
    pub fn keys(&self, namespace: &str) -> Vec<CacheKey> {
        self.lock().get(namespace).map(|folder| folder.values.keys().copied().collect()).unwrap_or_default()
    }

    /// How many entries deletions of expired ones have looked at so far.
    #[must_use]
    pub fn visited(&self) -> u64 {
        self.0.visited.load(Ordering::Relaxed)
    }

    /// Counts one more entry that a deletion of expired ones has looked at.
    pub(crate) fn note_visit(&self) {
        self.0.visited.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Folder>> {
        self.0.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("namespaces", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Folder {
    fn put(&mut self, key: &CacheKey, entry: &Entry) {
        self.remove(key);
        self.values.insert(*key, frame::join(entry));
        if let Some(deadline) = entry.retain_until {
            let floor = to_millis(deadline);
            // Rounded up as the frame does it, so that both agree on when the entry dies.
            let millis = if from_millis(floor) < deadline { floor.saturating_add(1) } else { floor };
            self.deadlines.insert(*key, millis);
            self.by_deadline.insert((millis, *key));
        }
    }

    fn remove(&mut self, key: &CacheKey) -> bool {
        if let Some(millis) = self.deadlines.remove(key) {
            self.by_deadline.remove(&(millis, *key));
        }
        self.values.remove(key).is_some()
    }
}

/// A storage over a [`Disk`]. Clones are handles on the same thing; a second one over the same disk and namespace sees
/// the same entries.
#[derive(Clone)]
pub struct ReferenceStorage {
    disk: Disk,
    namespace: Arc<str>,
    clock: Arc<dyn Clock>,
    max_entry_len: Option<u64>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    closed: AtomicBool,
    corrupt: AtomicU64,
}

impl ReferenceStorage {
    /// The entries of `namespace` on `disk`; what is past its deadline by `clock` is invisible.
    pub fn open(disk: &Disk, namespace: &str, clock: impl Clock) -> Self {
        Self {
            disk: disk.clone(),
            namespace: namespace.into(),
            clock: Arc::new(clock),
            max_entry_len: None,
            state: Arc::default(),
        }
    }

    /// Refuses entries whose head and body have more than `limit` bytes together.
    #[must_use]
    pub fn max_entry_len(mut self, limit: u64) -> Self {
        self.max_entry_len = Some(limit);
        self
    }

    /// What this storage writes to.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The name given when it was opened.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What it tells the time by.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Runs `job` on this namespace's entries, under the lock and unless closed.
    fn with<T>(&self, job: impl FnOnce(&mut Folder) -> Result<T>) -> Result<T> {
        if self.state.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        job(self.disk.lock().entry(self.namespace.to_string()).or_default())
    }

    fn load(&self, folder: &mut Folder, key: &CacheKey) -> Option<Entry> {
        match frame::split(folder.values.get(key)?) {
            Ok(entry) => (!entry.is_dead(self.clock.now())).then_some(entry),
            Err(error) => {
                self.state.corrupt.fetch_add(1, Ordering::Relaxed);
                // What a newer version wrote is that version's to use.
                if error != FrameError::Newer {
                    folder.remove(key);
                }
                None
            }
        }
    }

    /// The first key after `last` whose entry is not past its deadline.
    fn next_key(&self, last: Option<CacheKey>) -> Result<Option<CacheKey>> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.with(|folder| {
            let mut after = folder.values.range((from, Bound::Unbounded));
            Ok(after.find_map(|(key, value)| {
                // Bytes that do not decode are listed: whoever reads the key counts and removes them.
                let dead = frame::split(value).is_ok_and(|entry| entry.is_dead(self.clock.now()));
                (!dead).then_some(*key)
            }))
        })
    }
}

impl fmt::Debug for ReferenceStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceStorage").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for ReferenceStorage {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("reference").persistent(true).shared(true).max_entry_len(self.max_entry_len)
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.with(|folder| Ok(self.load(folder, key)))
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        if self.max_entry_len.is_some_and(|limit| entry.len() > limit) {
            return Err(Error::new(ErrorKind::TooLarge, "the reference storage"));
        }
        // A real store waits here; giving way once lets the suite drop the future before anything is written.
        tokio::task::yield_now().await;
        self.with(|folder| {
            folder.put(key, &entry);
            Ok(())
        })
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.with(|folder| {
            let live = self.load(folder, key).is_some();
            folder.remove(key);
            Ok(live)
        })
    }

    async fn clear(&self) -> Result<()> {
        self.with(|folder| {
            *folder = Folder::default();
            Ok(())
        })
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        if self.state.closed.load(Ordering::Acquire) {
            return failed_stream(closed());
        }
        stream::try_unfold(None, async |last| Ok(self.next_key(last)?.map(|key| (key, Some(key)))))
            .into_stream()
            .boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        let now = to_millis(now);
        self.with(|folder| {
            let mut deleted: u64 = 0;
            while let Some((deadline, key)) = folder.by_deadline.first().copied() {
                self.disk.note_visit();
                if deadline > now {
                    break;
                }
                folder.remove(&key);
                deleted = deleted.saturating_add(1);
            }
            Ok(deleted)
        })
    }

    fn stats(&self) -> StorageStats {
        StorageStats::new(self.state.corrupt.load(Ordering::Relaxed), 0)
    }

    async fn close(&self) -> Result<()> {
        self.state.closed.store(true, Ordering::Release);
        Ok(())
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the reference storage")
}

/// The [`Harness`] of [`ReferenceStorage`]: a model for others, complete but for killed processes.
#[derive(Clone, Debug, Default)]
pub struct ReferenceHarness {
    disk: Disk,
    clock: ManualClock,
}

impl ReferenceHarness {
    /// A harness with an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What its storages write to.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// A storage, as [`open`](Harness::open) makes them.
    #[must_use]
    pub fn storage(&self, namespace: &str) -> ReferenceStorage {
        ReferenceStorage::open(&self.disk, namespace, self.clock.clone())
    }
}

#[async_trait]
impl Harness for ReferenceHarness {
    async fn open(&self, namespace: &str) -> Opened {
        Opened::new(self.storage(namespace))
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        Some(Opened::new(self.storage(namespace).max_entry_len(max_entry_len)))
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        let Some(bytes) = self.disk.raw(namespace, key) else { return false };
        let mut bytes = bytes.to_vec();
        damage.apply(&mut bytes) && self.disk.overwrite_raw(namespace, key, bytes.into())
    }

    fn entries_visited(&self) -> Option<u64> {
        Some(self.disk.visited())
    }
}

/// The [`CacheHarness`] of a [`StorageCache`] over reference storages.
#[derive(Clone, Debug, Default)]
pub struct ReferenceCacheHarness {
    clock: ManualClock,
}

impl ReferenceCacheHarness {
    /// A harness whose caches each have a disk of their own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl CacheHarness for ReferenceCacheHarness {
    async fn open(&self) -> Arc<dyn Cache> {
        let disk = Disk::default();
        let open = |namespace| ReferenceStorage::open(&disk, namespace, self.clock.clone());
        Arc::new(StorageCache::new(open("responses"), open("redirects")).with_bodies(open("bodies")))
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }
}
