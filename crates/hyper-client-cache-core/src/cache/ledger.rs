//! What this process knows about a cache beyond its store: writes on their way, deletions not yet confirmed, and
//! which URLs were invalidated meanwhile.
//!
//! There is one ledger for each cache in a process, whatever the number of sessions and layers on it
//! ([`Ledger::of`]). So whoever has read a body to its end finds it with the next look-up of any of them, although
//! the store may be written later.
//!
//! A key has at most one job at a time that talks to the store; a newer action on the same key replaces one that
//! has not begun, and follows one that has. So the order of actions on a key is kept, and a slow store costs one
//! action per key, not one per request.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::record::{Record, Variants};
use super::stats::{CacheStats, Counters};
use super::{Cache, Stored};
use crate::clock::Clock;
use crate::error::Result;
use crate::storage::CacheKey;

/// How many bytes may wait for the store (64 MiB): what comes on top is not stored.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// How many unconfirmed deletions are remembered.
const MAX_TOMBSTONES: usize = 4096;

/// When an unconfirmed deletion is tried again.
const RETRIES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600)];

/// How long an invalidation waits for the store before the response goes on; the deletion itself goes on too.
const INVALIDATION_PATIENCE: Duration = Duration::from_secs(1);

/// The most keys that a group lists; the oldest go first.
const MAX_GROUP: usize = 1024;

/// The knowledge about one cache that its users in this process share.
pub struct Ledger {
    cache: Arc<dyn Cache>,
    identity: usize,
    clock: Arc<dyn Clock>,
    pending: Mutex<Pending>,
    // The length of `pending.actions`, so that a look-up on a quiet cache takes no lock.
    waiting: AtomicUsize,
    // Counts invalidations by a hash of the URL's group. A collision only means that something is not stored.
    generations: Box<[AtomicU64; 1024]>,
    // Counts actions by a hash of their key. A collision only costs a look-up.
    changes: Box<[AtomicU64; 1024]>,
    quiet: Notify,
    pub(crate) counters: Counters,
}

#[derive(Default)]
struct Pending {
    actions: HashMap<CacheKey, Waiting>,
    bytes: usize,
    tombstones: usize,
    running: usize,
}

struct Waiting {
    action: Action,
    // Tells whether the action that a job has carried out is still the newest.
    number: u64,
    running: bool,
    done: Vec<oneshot::Sender<()>>,
    // Records whose bodies are in parts and that may never reach the store, or leave it without its knowing: their
    // parts are removed once the newest action is done.
    superseded: Vec<Arc<Record>>,
}

#[derive(Clone)]
enum Action {
    Put {
        stored: Stored,
        replaced: Replaced,
        limit: usize,
    },
    /// A new head for a body that stays as it is.
    Refresh {
        stored: Stored,
        // What was counted before the look-up that found the old head.
        seen: u64,
        // Whether another record may have taken its place since.
        verify: bool,
    },
    Delete,
}

impl Action {
    /// What this becomes where `earlier` may or may not have been carried out.
    fn after(self, earlier: &Self) -> Self {
        // What a look-up has found is no longer what is there.
        let replaced = Replaced::Unknown;
        match (self, earlier) {
            // The record that a new head belongs to may not be stored yet: then all of it is to be.
            (Self::Refresh { stored, .. }, Self::Put { stored: earlier, limit, .. }) => {
                let stored = if has_same_body(&stored, earlier) { stored } else { earlier.clone() };
                Self::Put { stored, replaced, limit: *limit }
            }
            (Self::Refresh { stored, seen, .. }, Self::Refresh { .. }) => Self::Refresh { stored, seen, verify: true },
            // Nor does a new head bring back what is to be deleted.
            (Self::Refresh { .. }, Self::Delete) => Self::Delete,
            (Self::Put { mut stored, limit, .. }, earlier) => {
                // Two variants that were fetched at once: the index names both.
                if let Some(both) = earlier.record().and_then(|earlier| united(&stored.record, earlier)) {
                    stored.record = Arc::new(both);
                }
                Self::Put { stored, replaced, limit }
            }
            (action, _) => action,
        }
    }

    /// The same, without the knowledge that is out of date by now.
    fn if_current(self, changes: u64) -> Self {
        match self {
            Self::Put { stored, replaced: Replaced::Known(_, then), limit } if then != changes => {
                Self::Put { stored, replaced: Replaced::Unknown, limit }
            }
            Self::Refresh { stored, seen, .. } => Self::Refresh { stored, seen, verify: seen != changes },
            action => action,
        }
    }

    fn record(&self) -> Option<&Arc<Record>> {
        match self {
            Self::Put { stored, .. } | Self::Refresh { stored, .. } => Some(&stored.record),
            Self::Delete => None,
        }
    }

    fn parts_id(&self) -> Option<&str> {
        self.record()?.parts_id()
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put { stored, .. } | Self::Refresh { stored, .. } => stored.body.len().saturating_add(1024),
            Self::Delete => 0,
        }
    }
}

/// What a record takes the place of: parts of its body and a redirect are removed with it.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums)] // there is no third
pub enum Replaced {
    /// What a look-up has found, and [what was counted](Ledger::changes) before it. Where the count has moved on, this
    /// is the same as `Unknown`.
    Known(Option<Stored>, u64),
    /// It is looked up when it is replaced.
    Unknown,
}

/// A moment in a URL's history: what was asked for before an invalidation may not be stored after it (case 56).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    at: usize,
    count: u64,
}

/// Ledgers by the address of their cache's first storage. A ledger keeps its cache alive, so an address that is
/// found here belongs to that cache and no other.
static LEDGERS: Mutex<Vec<(usize, Weak<Ledger>)>> = Mutex::new(Vec::new());

impl Ledger {
    /// The ledger of `cache`: the one that is there, or a new one with `clock`.
    #[must_use]
    pub fn of(cache: Arc<dyn Cache>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let identity = std::ptr::from_ref(cache.responses()).cast::<()>().addr();
        let mut ledgers = LEDGERS.lock().unwrap_or_else(PoisonError::into_inner);
        ledgers.retain(|(_, ledger)| ledger.strong_count() > 0);
        if let Some(ledger) = ledgers.iter().find(|(other, _)| *other == identity).and_then(|(_, weak)| weak.upgrade())
        {
            return ledger;
        }
        let ledger = Arc::new(Self {
            cache,
            identity,
            clock,
            pending: Mutex::default(),
            waiting: AtomicUsize::new(0),
            generations: Box::new([const { AtomicU64::new(0) }; 1024]),
            changes: Box::new([const { AtomicU64::new(0) }; 1024]),
            quiet: Notify::new(),
            counters: Counters::default(),
        });
        ledgers.push((identity, Arc::downgrade(&ledger)));
        ledger
    }

    /// The cache itself.
    #[must_use]
    pub fn cache(&self) -> &Arc<dyn Cache> {
        &self.cache
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.counters.read(self.cache.stats())
    }

    /// What is stored under `key`, or is about to be.
    ///
    /// # Errors
    /// The storage's own.
    pub async fn lookup(&self, key: &CacheKey) -> Result<Option<Stored>> {
        if self.waiting.load(Ordering::Acquire) != 0 {
            let waiting = self.lock().actions.get(key).map(|waiting| waiting.action.clone());
            match waiting {
                Some(Action::Put { stored, .. } | Action::Refresh { stored, .. }) => {
                    return Ok(Some(self.with_older_names(key, stored).await));
                }
                Some(Action::Delete) => return Ok(None),
                None => {}
            }
        }
        self.cache.get(key).await
    }

    /// An index or group that waits for the store names only what is new: what the store names besides is to be found,
    /// and invalidated, too.
    async fn with_older_names(&self, key: &CacheKey, stored: Stored) -> Stored {
        if matches!(*stored.record, Record::Response(_)) {
            return stored;
        }
        let Ok(Some(older)) = self.cache.get(key).await else { return stored };
        match united(&stored.record, &older.record) {
            Some(both) => Stored::new(both, stored.body, stored.retain_until),
            None => stored,
        }
    }

    /// The present generation of the URL with this [group](crate::key::group) key.
    #[must_use]
    pub fn generation(&self, group: &CacheKey) -> Generation {
        let at = slot(group);
        Generation { at, count: self.generations.get(at).map_or(0, |count| count.load(Ordering::Acquire)) }
    }

    /// How often something was done to this key in this process (and to some others).
    #[must_use]
    pub fn changes(&self, key: &CacheKey) -> u64 {
        self.changes.get(slot(key)).map_or(0, |count| count.load(Ordering::Acquire))
    }

    /// Whether nothing was invalidated since `generation` was taken.
    #[must_use]
    pub fn is_current(&self, generation: Generation) -> bool {
        self.generations.get(generation.at).is_some_and(|count| count.load(Ordering::Acquire) == generation.count)
    }

    /// Accepts a record for the store, unless its URL was invalidated since `generation` or too much is waiting.
    ///
    /// Look-ups see it from now on. An index or group is merged with the one that is there, to at most `limit`
    /// variants. Must be called in a Tokio runtime, else nothing is stored.
    pub fn store(
        self: &Arc<Self>,
        key: CacheKey,
        stored: Stored,
        replaced: Replaced,
        limit: usize,
        generation: Generation,
    ) -> bool {
        self.act(key, Action::Put { stored, replaced, limit }, Some(generation), None)
    }

    /// Accepts a new head for a record whose body stays as it is (after a 304), on the conditions of
    /// [`store`](Self::store). `seen` is [what was counted](Self::changes) before the record was looked up: where
    /// another has taken its place since, that one stays.
    pub fn refresh(self: &Arc<Self>, key: CacheKey, stored: Stored, seen: u64, generation: Generation) -> bool {
        self.act(key, Action::Refresh { stored, seen, verify: false }, Some(generation), None)
    }

    /// Makes what was asked for before now unfit to be stored, for the URL with this group key.
    pub fn invalidate(&self, group: &CacheKey) {
        let generation = self.generation(group);
        // Under the lock in which `act` compares, so that no record slips in between.
        let _pending = self.lock();
        if let Some(count) = self.generations.get(generation.at) {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Removes what is under `keys`. Look-ups see nothing there from now on, whatever the store does.
    ///
    /// Returns when the store has confirmed or failed, or after a second; deletions that failed are tried again.
    pub async fn delete(self: &Arc<Self>, keys: impl IntoIterator<Item = CacheKey>) {
        let mut confirmations = Vec::new();
        for key in keys {
            let (done, confirmed) = oneshot::channel();
            if self.act(key, Action::Delete, None, Some(done)) {
                self.counters.invalidated.add();
                confirmations.push(confirmed);
            }
        }
        let all = async {
            for confirmed in confirmations {
                // An error means that the job ended without a word: there is nothing more to wait for.
                let _ = confirmed.await;
            }
        };
        let _ = tokio::time::timeout(INVALIDATION_PATIENCE, all).await;
    }

    /// Removes what is under `key` without waiting.
    pub fn forget(self: &Arc<Self>, key: CacheKey) {
        self.act(key, Action::Delete, None, None);
    }

    /// Removes what is under `key` if its body is still the one in the parts with this `id`. Does not wait.
    pub(crate) fn forget_body(self: &Arc<Self>, key: CacheKey, id: String) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (ledger, busy) = (self.clone(), self.busy());
        runtime.spawn(async move {
            // A newer record may have replaced it, and is none of the reader's business.
            if let Ok(Some(stored)) = ledger.lookup(&key).await
                && stored.record.parts_id() == Some(&id)
            {
                ledger.forget(key);
            }
            drop(busy);
        });
    }

    /// Counts as something on its way to the store until dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        let mut pending = self.lock();
        pending.running = pending.running.saturating_add(1);
        Busy(self.clone())
    }

    /// Room in memory for `bytes` that wait for the store; `None`, and counted, where too much is waiting.
    pub(crate) fn room(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut pending = self.lock();
        if pending.bytes.saturating_add(bytes) > MAX_WAITING_BYTES {
            drop(pending);
            self.counters.store_refused.add();
            return None;
        }
        pending.bytes = pending.bytes.saturating_add(bytes);
        Some(Room { ledger: self.clone(), bytes })
    }

    /// Waits until nothing is on its way to the store.
    pub async fn flush(&self) {
        loop {
            let mut quiet = pin!(self.quiet.notified());
            quiet.as_mut().enable();
            if self.lock().running == 0 {
                return;
            }
            quiet.await;
        }
    }

    fn act(
        self: &Arc<Self>,
        key: CacheKey,
        action: Action,
        generation: Option<Generation>,
        done: Option<oneshot::Sender<()>>,
    ) -> bool {
        {
            let mut pending = self.lock();
            if generation.is_some_and(|generation| !self.is_current(generation)) {
                return false;
            }
            let bytes = action.bytes();
            if bytes > 0 && pending.bytes.saturating_add(bytes) > MAX_WAITING_BYTES {
                drop(pending);
                self.counters.store_refused.add();
                return false;
            }
            pending.bytes = pending.bytes.saturating_add(bytes);
            let action = action.if_current(self.changes(&key));
            if let Some(count) = self.changes.get(slot(&key)) {
                count.fetch_add(1, Ordering::AcqRel);
            }
            match pending.actions.entry(key) {
                Slot::Occupied(mut slot) => {
                    let waiting = slot.get_mut();
                    // The record that a new head belongs to may not be stored yet: then all of it is to be.
                    let action = action.after(&waiting.action);
                    let old = std::mem::replace(&mut waiting.action, action);
                    if old.parts_id() != waiting.action.parts_id() {
                        waiting.superseded.extend(old.record().filter(|record| record.parts_id().is_some()).cloned());
                    }
                    waiting.number = waiting.number.wrapping_add(1);
                    waiting.done.extend(done);
                    let was_running = std::mem::replace(&mut waiting.running, true);
                    pending.bytes = pending.bytes.saturating_sub(old.bytes());
                    if was_running {
                        // The job that is under way will find this.
                        return true;
                    }
                    pending.tombstones = pending.tombstones.saturating_sub(1);
                }
                Slot::Vacant(slot) => {
                    let done = done.into_iter().collect();
                    slot.insert(Waiting { action, number: 0, running: true, done, superseded: Vec::new() });
                }
            }
            pending.running = pending.running.saturating_add(1);
            self.waiting.store(pending.actions.len(), Ordering::Release);
        }
        let mut job = Box::pin(Job { ledger: self.clone(), key, over: false }.run());
        // A store in memory is done at once: no task for it.
        if job.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(()) {
            return true;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(job);
                true
            }
            // Dropping the job takes its action back.
            Err(_) => false,
        }
    }

    async fn apply(&self, key: &CacheKey, action: Action) -> Result<()> {
        match action {
            Action::Delete => self.cache.delete(key).await.map(drop),
            Action::Refresh { stored, verify, .. } => {
                // The head of a body that another has replaced would hide that one.
                if verify && !self.cache.get(key).await?.is_some_and(|found| has_same_body(&found, &stored)) {
                    return Ok(());
                }
                self.cache.refresh(key, stored).await.map(drop)
            }
            Action::Put { stored, replaced, limit } => match &*stored.record {
                Record::Response(_) => {
                    let replaced = match replaced {
                        Replaced::Known(replaced, _) => replaced,
                        Replaced::Unknown => self.cache.get(key).await?,
                    };
                    self.cache.put(key, stored, replaced.as_ref()).await?;
                    match replaced.as_ref().map(|old| &*old.record) {
                        Some(Record::Variants(index)) => {
                            let keys: Vec<_> = index.variants.iter().map(|variant| variant.key).collect();
                            self.cache.delete_many(&keys).await.map(drop)
                        }
                        _ => Ok(()),
                    }
                }
                Record::Variants(ours) => self.put_index(key, ours, limit).await,
                Record::Group(ours) => {
                    let mut merged = ours.clone();
                    if let Some(Record::Group(theirs)) = self.cache.get(key).await?.as_ref().map(|old| &*old.record) {
                        merged.add_older(theirs);
                    }
                    let surplus = merged.members.len().saturating_sub(MAX_GROUP);
                    let dropped: Vec<_> = merged.members.drain(..surplus).collect();
                    self.cache.put(key, Stored::new(Record::Group(merged), bytes::Bytes::new(), None), None).await?;
                    self.cache.delete_many(&dropped).await.map(drop)
                }
            },
        }
    }

    async fn put_index(&self, key: &CacheKey, ours: &Variants, limit: usize) -> Result<()> {
        let now = self.clock.now();
        let old = self.cache.get(key).await?;
        let mut merged = ours.clone();
        if let Some(Record::Variants(theirs)) = old.as_ref().map(|old| &*old.record) {
            merged.add_older(theirs);
        }
        merged.variants.retain(|variant| variant.retain_until.is_none_or(|deadline| deadline > now));
        let surplus = merged.variants.len().saturating_sub(limit);
        let dropped: Vec<_> = merged.variants.drain(..surplus).map(|variant| variant.key).collect();
        let deadlines: Option<Vec<_>> = merged.variants.iter().map(|variant| variant.retain_until).collect();
        let retain_until = deadlines.and_then(|all| all.into_iter().max());
        self.cache
            .put(key, Stored::new(Record::Variants(merged), bytes::Bytes::new(), retain_until), old.as_ref())
            .await?;
        if !dropped.is_empty() {
            self.cache.delete_many(&dropped).await?;
        }
        Ok(())
    }

    /// Ends the job of `key`: its action is done, or taken back.
    fn remove(&self, mut pending: MutexGuard<'_, Pending>, key: &CacheKey) {
        let waiting = pending.actions.remove(key);
        if let Some(waiting) = &waiting {
            pending.bytes = pending.bytes.saturating_sub(waiting.action.bytes());
        }
        pending.running = pending.running.saturating_sub(1);
        self.waiting.store(pending.actions.len(), Ordering::Release);
        drop(pending);
        for done in waiting.into_iter().flat_map(|waiting| waiting.done) {
            // Who waited may be gone.
            let _ = done.send(());
        }
        self.quiet.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("cache", &self.cache).field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let mut ledgers = LEDGERS.lock().unwrap_or_else(PoisonError::into_inner);
        ledgers.retain(|(identity, ledger)| *identity != self.identity || ledger.strong_count() > 0);
    }
}

/// The one job of a key. Dropped before its end (the runtime shuts down), it takes its action back.
struct Job {
    ledger: Arc<Ledger>,
    key: CacheKey,
    over: bool,
}

impl Job {
    async fn run(mut self) {
        let mut tries = RETRIES.iter();
        while let Some((action, number, superseded)) = self.newest() {
            let is_delete = matches!(action, Action::Delete);
            let result = self.ledger.apply(&self.key, action).await;
            for record in superseded.iter().filter(|_| result.is_ok()) {
                if let Err(error) = self.ledger.cache.delete_parts(record).await {
                    // Orphans, which `delete_expired` collects.
                    tracing::debug!(key = %self.key, %error, "parts of a superseded record stay");
                }
            }
            match (&result, is_delete) {
                (Ok(()), false) => self.ledger.counters.stored.add(),
                (Ok(()), true) => {}
                (Err(error), false) => {
                    tracing::debug!(key = %self.key, %error, "not stored");
                    self.ledger.counters.store_failed.add();
                }
                (Err(error), true) => {
                    tracing::warn!(key = %self.key, %error, "a deletion is not confirmed");
                    self.ledger.counters.invalidate_failed.add();
                }
            }
            let keep = is_delete && result.is_err();
            if keep {
                self.confirm();
                if let Some(delay) = tries.next() {
                    tokio::time::sleep(*delay).await;
                    continue;
                }
            }
            if self.finish(number, keep) {
                return;
            }
        }
    }

    fn newest(&self) -> Option<(Action, u64, Vec<Arc<Record>>)> {
        let mut pending = self.ledger.lock();
        let waiting = pending.actions.get_mut(&self.key)?;
        Some((waiting.action.clone(), waiting.number, std::mem::take(&mut waiting.superseded)))
    }

    /// Tells those who wait that the store has answered.
    fn confirm(&self) {
        let done = self.ledger.lock().actions.get_mut(&self.key).map(|waiting| std::mem::take(&mut waiting.done));
        for done in done.into_iter().flatten() {
            let _ = done.send(());
        }
    }

    /// Ends the job, unless a newer action came meanwhile. A deletion that failed for good is kept as a tombstone.
    fn finish(&mut self, number: u64, keep: bool) -> bool {
        self.over = true;
        let ledger = &self.ledger;
        let mut pending = ledger.lock();
        match pending.actions.get_mut(&self.key) {
            Some(waiting) if waiting.number != number => {
                self.over = false;
                return false;
            }
            Some(waiting) if keep => waiting.running = false,
            // Under the same lock as the comparison: an action that comes in between would be lost.
            _ => {
                ledger.remove(pending, &self.key);
                return true;
            }
        }
        pending.running = pending.running.saturating_sub(1);
        pending.tombstones = pending.tombstones.saturating_add(1);
        if pending.tombstones > MAX_TOMBSTONES {
            let oldest = pending.actions.iter().find(|(_, waiting)| !waiting.running).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                pending.actions.remove(&oldest);
                pending.tombstones = pending.tombstones.saturating_sub(1);
                ledger.waiting.store(pending.actions.len(), Ordering::Release);
            }
        }
        drop(pending);
        ledger.quiet.notify_waiters();
        true
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.over {
            self.ledger.remove(self.ledger.lock(), &self.key);
        }
    }
}

/// Something on its way to the store that [`Ledger::flush`] waits for.
pub(crate) struct Busy(Arc<Ledger>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut pending = self.0.lock();
        pending.running = pending.running.saturating_sub(1);
        drop(pending);
        self.0.quiet.notify_waiters();
    }
}

/// Memory that waits for the store, given back when dropped.
pub(crate) struct Room {
    ledger: Arc<Ledger>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut pending = self.ledger.lock();
        pending.bytes = pending.bytes.saturating_sub(self.bytes);
    }
}

/// Whether a new head of one is one of the other.
fn has_same_body(one: &Stored, other: &Stored) -> bool {
    one.record.parts_id() == other.record.parts_id() && one.body == other.body
}

/// Where a key is counted.
fn slot(key: &CacheKey) -> usize {
    key.as_bytes().iter().take(8).fold(0_usize, |sum, byte| sum.wrapping_mul(31) ^ usize::from(*byte)) % 1024
}

/// Both indexes or groups as one; `None` where they are not of one kind.
fn united(newer: &Record, older: &Record) -> Option<Record> {
    match (newer, older) {
        (Record::Variants(newer), Record::Variants(older)) => {
            let mut both = newer.clone();
            both.add_older(older);
            Some(Record::Variants(both))
        }
        (Record::Group(newer), Record::Group(older)) => {
            let mut both = newer.clone();
            both.add_older(older);
            Some(Record::Group(both))
        }
        _ => None,
    }
}
