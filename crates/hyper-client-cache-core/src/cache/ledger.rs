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
//!
//! What was invalidated while the store was away stays out of sight until the store has confirmed that it is gone.
//!
//! `action` is what may be done to a key, `job` how it is done, `heal` what goes on until the store is back, `bulk`
//! what is done to many at once.

mod action;
mod bulk;
mod heal;
mod job;
mod look;
mod under_way;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use self::action::Action;
pub use self::action::Replaced;
use self::heal::Doubts;
use self::job::{Job, RETRIES};
pub(crate) use self::under_way::{Busy, Room};
use super::record::Record;
use super::stats::{CacheStats, Counters};
use super::{Cache, Stored};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::CacheKey;

/// How many bytes may wait for the store (64 MiB): what comes on top is not stored.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// How many unconfirmed deletions are remembered.
const MAX_TOMBSTONES: usize = 4096;

/// How long an invalidation waits for a store without a [deadline](crate::storage::StorageInfo::deadline) of its own
/// before the response goes on; the deletion itself goes on too.
const INVALIDATION_PATIENCE: Duration = Duration::from_secs(1);

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
    doubts: Doubts,
    // How long a look-up takes at most, where the storage sees to that.
    deadline: Option<Duration>,
    pub(crate) counters: Counters,
}

#[derive(Default)]
struct Pending {
    actions: HashMap<CacheKey, Waiting>,
    bytes: usize,
    tombstones: usize,
    running: usize,
    healing: bool,
}

struct Waiting {
    action: Action,
    // Tells whether the action that a job has carried out is still the newest.
    number: u64,
    running: bool,
    done: Vec<oneshot::Sender<Result<()>>>,
    // Records whose bodies are in parts and that may never reach the store, or leave it without its knowing: their
    // parts are removed once the newest action is done.
    superseded: Vec<Arc<Record>>,
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
            deadline: cache.responses().info().deadline,
            cache,
            identity,
            clock,
            pending: Mutex::default(),
            waiting: AtomicUsize::new(0),
            generations: Box::new([const { AtomicU64::new(0) }; 1024]),
            changes: Box::new([const { AtomicU64::new(0) }; 1024]),
            quiet: Notify::new(),
            doubts: Doubts::default(),
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
        self.act(key, Action::Put { stored, replaced, limit, alone: false }, Some(generation), None)
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
    /// Returns when the store has confirmed or failed, or after the store's deadline (a second where it has none);
    /// deletions that failed are tried again until they are confirmed.
    ///
    /// # Errors
    /// The first that the store has said, or that it has said nothing yet.
    pub async fn delete(self: &Arc<Self>, keys: impl IntoIterator<Item = CacheKey>) -> Result<()> {
        let mut confirmations = Vec::new();
        for key in keys {
            let (done, confirmed) = oneshot::channel();
            if self.act(key, Action::Delete, None, Some(done)) {
                self.counters.invalidated.add();
                confirmations.push(confirmed);
            }
        }
        let all = async {
            let mut result = Ok(());
            for confirmed in confirmations {
                // Lost where the job ended without a word: there is nothing more to wait for.
                let confirmed = confirmed.await.unwrap_or_else(|_| Err(unconfirmed()));
                result = result.and(confirmed);
            }
            result
        };
        tokio::time::timeout(self.patience(), all).await.unwrap_or_else(|_| Err(unconfirmed()))
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

    fn act(
        self: &Arc<Self>,
        key: CacheKey,
        action: Action,
        generation: Option<Generation>,
        done: Option<oneshot::Sender<Result<()>>>,
    ) -> bool {
        {
            let mut pending = self.lock();
            if (pending.tombstones > 0 || self.has_doubts()) && !pending.healing {
                // Left over by a runtime that has ended, and with it who tried. Whatever becomes of this action.
                drop(pending);
                self.heal();
                pending = self.lock();
            }
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
        let mut job = Box::pin(Job { ledger: self.clone(), key, retries: &RETRIES, over: false }.run());
        // A store in memory is done at once: no task for it.
        let polled = catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
        match polled {
            Ok(Poll::Ready(())) => return true,
            Ok(Poll::Pending) => {}
            // The storage has panicked. That is no reason for the caller's request to fail.
            Err(_) => {
                self.counters.store_failed.add();
                return false;
            }
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(job);
                true
            }
            // Dropping the job takes its action back, or leaves it to the next runtime.
            Err(_) => false,
        }
    }

    /// Ends the job of `key`: its action is done, or taken back.
    fn remove(&self, mut pending: MutexGuard<'_, Pending>, key: &CacheKey, is_done: bool) {
        let waiting = pending.actions.remove(key);
        if let Some(waiting) = &waiting {
            pending.bytes = pending.bytes.saturating_sub(waiting.action.bytes());
        }
        pending.running = pending.running.saturating_sub(1);
        self.waiting.store(pending.actions.len(), Ordering::Release);
        drop(pending);
        for done in waiting.into_iter().flat_map(|waiting| waiting.done) {
            // Who waited may be gone.
            let _ = done.send(if is_done { Ok(()) } else { Err(unconfirmed()) });
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

fn unconfirmed() -> Error {
    Error::new(ErrorKind::Unavailable, "a deletion is not confirmed").transient()
}

/// Where a key is counted.
fn slot(key: &CacheKey) -> usize {
    key.as_bytes().iter().take(8).fold(0_usize, |sum, byte| sum.wrapping_mul(31) ^ usize::from(*byte)) % 1024
}
