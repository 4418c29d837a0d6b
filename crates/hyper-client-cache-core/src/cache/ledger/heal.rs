//! What goes on until the store is back: deletions that it has not confirmed, and URLs of which nobody knows what it
//! still has (case 58).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::Ledger;
use super::action::Action;
use super::job::Job;
use crate::cache::record::{Record, Variants};
use crate::error::Result;
use crate::storage::CacheKey;

/// How often the store is tried. A guard before it lets most tries end at once.
const EVERY: Duration = Duration::from_secs(1);

/// How many URLs may be in doubt.
const MAX_DOUBTS: usize = 65_536;

/// Groups and primary keys that were invalidated while they could not be read: nothing of them is used until that is made
/// up for.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    // How often each was, so that what comes while one is made up for is not taken for done.
    groups: Mutex<HashMap<CacheKey, u64>>,
    // Their number, so that a look-up takes no lock where there are none.
    count: AtomicUsize,
}

impl Doubts {
    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, u64>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<CacheKey, u64>)) {
        let mut groups = self.lock();
        change(&mut groups);
        self.count.store(groups.len(), Ordering::Release);
    }
}

impl Ledger {
    /// Nothing of the URL with this [group](crate::key::group) key, or under this primary key, is used until the store can
    /// be read again and all of it is removed: for an invalidation that could not find out what there is.
    pub(crate) fn doubt(self: &Arc<Self>, group: CacheKey) {
        self.doubts.change(|groups| {
            if groups.len() < MAX_DOUBTS || groups.contains_key(&group) {
                let times = groups.entry(group).or_default();
                *times = times.wrapping_add(1);
            }
        });
        self.heal();
    }

    /// Whether any URL is in [doubt](Self::doubt).
    pub(crate) fn has_doubts(&self) -> bool {
        self.doubts.count.load(Ordering::Acquire) != 0
    }

    pub(crate) fn is_doubtful(&self, group: &CacheKey) -> bool {
        self.doubts.lock().contains_key(group)
    }

    /// Tries what is left over until nothing is, in a task that does not keep the ledger alive.
    pub(super) fn heal(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !std::mem::replace(&mut self.lock().healing, true) {
            runtime.spawn(heal(Healing(Arc::downgrade(self))));
        }
    }

    /// Whether nothing is left over. Stops at the first failure: the others would fail as well.
    async fn heal_once(self: &Arc<Self>) -> bool {
        while let Some(key) = self.take_tombstone() {
            Job { ledger: self.clone(), key, retries: &[], over: false }.run().await;
            if self.is_tombstone(&key) {
                return false;
            }
        }
        while let Some((group, times)) = self.any_doubt() {
            if self.resolve(group).await.is_err() {
                return false;
            }
            self.doubts.change(|groups| {
                if groups.get(&group) == Some(&times) {
                    groups.remove(&group);
                }
            });
        }
        true
    }

    /// Removes all that a group or an index names, now that it can be read.
    async fn resolve(self: &Arc<Self>, key: CacheKey) -> Result<()> {
        let Some(stored) = self.lookup(&key).await? else { return Ok(()) };
        let variants = |index: &Variants| index.variants.iter().map(|variant| variant.key).collect::<Vec<_>>();
        let mut keys = vec![key];
        match &*stored.record {
            Record::Group(group) => {
                for member in &group.members {
                    keys.push(*member);
                    if let Some(stored) = self.lookup(member).await?
                        && let Record::Variants(index) = &*stored.record
                    {
                        keys.extend(variants(index));
                    }
                }
            }
            Record::Variants(index) => keys.extend(variants(index)),
            Record::Response(_) | Record::Search(_) => {}
        }
        // What is not confirmed is a tombstone from here on.
        let _ = self.delete(keys).await;
        Ok(())
    }

    /// Makes a job of an unconfirmed deletion that nobody is at work on.
    fn take_tombstone(&self) -> Option<CacheKey> {
        let mut pending = self.lock();
        let (key, waiting) = pending.actions.iter_mut().find(|(_, waiting)| !waiting.running)?;
        let key = *key;
        waiting.running = true;
        pending.tombstones = pending.tombstones.saturating_sub(1);
        pending.running = pending.running.saturating_add(1);
        Some(key)
    }

    fn is_tombstone(&self, key: &CacheKey) -> bool {
        let pending = self.lock();
        pending.actions.get(key).is_some_and(|waiting| matches!(waiting.action, Action::Delete) && !waiting.running)
    }

    fn any_doubt(&self) -> Option<(CacheKey, u64)> {
        self.doubts.lock().iter().next().map(|(group, times)| (*group, *times))
    }
}

async fn heal(healing: Healing) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(ledger) = healing.0.upgrade() else { return };
        if ledger.heal_once().await && ledger.ends_healing() {
            return;
        }
    }
}

impl Ledger {
    /// Whether nothing has come in since, so that whoever brings the next thing begins anew.
    fn ends_healing(&self) -> bool {
        let mut pending = self.lock();
        let is_over = pending.tombstones == 0 && !self.has_doubts();
        if is_over {
            pending.healing = false;
        }
        is_over
    }
}

/// Somebody is healing; also where the task is dropped with its runtime, somebody else can.
struct Healing(Weak<Ledger>);

impl Drop for Healing {
    fn drop(&mut self) {
        if let Some(ledger) = self.0.upgrade() {
            ledger.lock().healing = false;
        }
    }
}
