//! What is done by hand: many keys at once, or everything, with what is on its way to the store.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;

use super::action::{Action, Replaced};
use super::{Generation, INVALIDATION_PATIENCE, LEDGERS, Ledger};
use crate::cache::{Cache, Record, Stored};
use crate::error::Result;
use crate::storage::CacheKey;

impl Ledger {
    /// The ledger of a cache that a session or layer of this process uses at the moment.
    pub(crate) fn known(cache: &dyn Cache) -> Option<Arc<Self>> {
        let identity = std::ptr::from_ref(cache.responses()).cast::<()>().addr();
        let ledgers = LEDGERS.lock().unwrap_or_else(PoisonError::into_inner);
        ledgers.iter().find(|(other, _)| *other == identity).and_then(|(_, weak)| weak.upgrade())
    }

    /// Makes what was asked for before now unfit to be stored, whatever its URL.
    pub(crate) fn invalidate_all(&self) {
        // Under the lock in which `act` compares, so that no record slips in between.
        let _pending = self.lock();
        for count in self.generations.iter() {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// What the store does not know yet, by key; `None` where something is to be removed. At most as much as may wait.
    pub(crate) fn waiting(&self) -> HashMap<CacheKey, Option<Stored>> {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return HashMap::new();
        }
        let pending = self.lock();
        let actions = pending.actions.iter().map(|(key, waiting)| {
            let stored = match &waiting.action {
                Action::Put { stored, .. } | Action::Refresh { stored, .. } => Some(stored.clone()),
                Action::Delete => None,
            };
            (*key, stored)
        });
        actions.collect()
    }

    /// Removes what is under `keys`, and what is on its way there. Does not keep from the store what was asked for
    /// before and arrives later: that is [`invalidate`](Self::invalidate).
    pub(crate) async fn delete_now(self: &Arc<Self>, keys: &[CacheKey]) -> Result<()> {
        self.recall(keys).await;
        let removed = self.cache.delete_many(keys).await?;
        self.counters.deleted.add_many(removed);
        Ok(())
    }

    /// Stores a record on the conditions of [`store`](Self::store), and says whether the store has it.
    pub(crate) async fn store_now(
        self: &Arc<Self>,
        key: CacheKey,
        stored: Stored,
        limit: usize,
        generation: Generation,
    ) -> Result<bool> {
        let (done, confirmed) = oneshot::channel();
        let put = Action::Put { stored: stored.clone(), replaced: Replaced::Unknown, limit, alone: false };
        if !self.act(key, put, Some(generation), Some(done)) {
            return Ok(false);
        }
        // It ends with an error also where a newer action has taken its place: what is there now tells.
        let _ = confirmed.await;
        let found = self.lookup(&key).await?;
        Ok(found.is_some_and(|found| match (&*found.record, &*stored.record) {
            (Record::Response(there), Record::Response(ours)) => {
                there.freshness.received_at >= ours.freshness.received_at
            }
            (there, ours) => std::mem::discriminant(there) == std::mem::discriminant(ours),
        }))
    }

    /// Empties the cache, and forgets what is on its way to it.
    pub(crate) async fn clear(self: &Arc<Self>) -> Result<()> {
        self.invalidate_all();
        let waiting: Vec<_> = self.waiting().into_keys().collect();
        self.recall(&waiting).await;
        self.cache.clear().await
    }

    /// Waits until nothing is on its way to the store, but not for long: for counts, which only the store has.
    pub(crate) async fn settle(&self) {
        if self.waiting.load(Ordering::Acquire) != 0 {
            let _ = tokio::time::timeout(INVALIDATION_PATIENCE, self.flush()).await;
        }
    }

    /// Turns what is on its way to the store under `keys` into deletions, so that it does not come after one that the
    /// store is asked for directly.
    async fn recall(self: &Arc<Self>, keys: &[CacheKey]) {
        let busy: Vec<_> = {
            let pending = self.lock();
            keys.iter().filter(|key| pending.actions.contains_key(*key)).copied().collect()
        };
        let mut confirmations = Vec::with_capacity(busy.len());
        for key in busy {
            let (done, confirmed) = oneshot::channel();
            if self.act(key, Action::Delete, None, Some(done)) {
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
}
