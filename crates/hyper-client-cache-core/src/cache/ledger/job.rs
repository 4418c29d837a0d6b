//! Carries a key's actions out, one after the other.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::action::{Action, Replaced, has_same_body};
use super::{Ledger, MAX_TOMBSTONES, Pending, unconfirmed};
use crate::cache::Stored;
use crate::cache::record::{Group, Record, Variants};
use crate::error::{Error, Result};
use crate::storage::CacheKey;

/// When an unconfirmed deletion is tried again.
pub(super) const RETRIES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600)];

/// The most keys that a group lists; the oldest go first.
const MAX_GROUP: usize = 1024;

/// The one job of a key. Dropped before its end (the runtime shuts down), it takes its action back; a deletion stays, for
/// another runtime to carry out.
pub(super) struct Job {
    pub(super) ledger: Arc<Ledger>,
    pub(super) key: CacheKey,
    /// When a deletion that fails is tried again.
    pub(super) retries: &'static [Duration],
    pub(super) over: bool,
}

impl Job {
    pub(super) async fn run(mut self) {
        let mut tries = self.retries.iter();
        let mut is_counted = self.retries.is_empty();
        while let Some((action, number, superseded)) = self.newest() {
            let is_delete = matches!(action, Action::Delete);
            let is_alone = matches!(action, Action::Put { alone: true, .. });
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
                // Once, however often it is tried.
                (Err(error), true) if !is_counted => {
                    is_counted = true;
                    tracing::warn!(key = %self.key, %error, "a deletion is not confirmed");
                    self.ledger.counters.invalidate_failed.add();
                }
                (Err(_), true) => {}
            }
            if is_alone && result.is_err() && self.revert(number) {
                // What was to be deleted before it still is, and is counted already.
                is_counted = true;
                continue;
            }
            let keep = is_delete && result.is_err();
            if let (true, Err(error)) = (keep, result) {
                self.confirm(&error);
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

    /// Makes a deletion again of a record that took the place of one and did not reach the store, unless a newer action
    /// came meanwhile.
    fn revert(&self, number: u64) -> bool {
        let mut pending = self.ledger.lock();
        let Some(waiting) = pending.actions.get_mut(&self.key).filter(|waiting| waiting.number == number) else {
            return false;
        };
        let bytes = std::mem::replace(&mut waiting.action, Action::Delete).bytes();
        pending.bytes = pending.bytes.saturating_sub(bytes);
        true
    }

    /// Tells those who wait that the store has answered.
    fn confirm(&self, error: &Error) {
        let done = self.ledger.lock().actions.get_mut(&self.key).map(|waiting| std::mem::take(&mut waiting.done));
        for done in done.into_iter().flatten() {
            let _ = done.send(Err(error.clone()));
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
            Some(_) if keep => {}
            // Under the same lock as the comparison: an action that comes in between would be lost.
            _ => {
                ledger.remove(pending, &self.key, true);
                return true;
            }
        }
        ledger.keep(pending, &self.key);
        true
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut pending = self.ledger.lock();
        match pending.actions.get_mut(&self.key) {
            // It may have joined this job while that was at something else, and what took the place of one gives it back.
            Some(waiting) if matches!(waiting.action, Action::Delete | Action::Put { alone: true, .. }) => {
                let bytes = std::mem::replace(&mut waiting.action, Action::Delete).bytes();
                pending.bytes = pending.bytes.saturating_sub(bytes);
                self.ledger.keep(pending, &self.key);
            }
            _ => self.ledger.remove(pending, &self.key, false),
        }
    }
}

impl Ledger {
    /// Ends the job of `key`, whose action is a deletion that is not confirmed: it stays, as a tombstone.
    fn keep(self: &Arc<Self>, mut pending: MutexGuard<'_, Pending>, key: &CacheKey) {
        let mut unanswered = Vec::new();
        if let Some(waiting) = pending.actions.get_mut(key) {
            waiting.running = false;
            unanswered = std::mem::take(&mut waiting.done);
        }
        pending.running = pending.running.saturating_sub(1);
        pending.tombstones = pending.tombstones.saturating_add(1);
        if pending.tombstones > MAX_TOMBSTONES {
            let oldest = pending.actions.iter().find(|(_, waiting)| !waiting.running).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                pending.actions.remove(&oldest);
                pending.tombstones = pending.tombstones.saturating_sub(1);
                self.waiting.store(pending.actions.len(), Ordering::Release);
            }
        }
        drop(pending);
        for done in unanswered {
            // Who waited may be gone.
            let _ = done.send(Err(unconfirmed()));
        }
        self.quiet.notify_waiters();
        self.heal();
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
            Action::Put { stored, replaced, limit, alone } => match &*stored.record {
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
                // In boxes, because most jobs are about a response, and each is as long as the longest.
                Record::Variants(ours) => Box::pin(self.put_index(key, ours, limit, alone)).await,
                // One takes the place of another whole.
                Record::Search(_) => self.cache.put(key, stored, None).await,
                Record::Group(ours) => Box::pin(self.put_group(key, ours, alone)).await,
            },
        }
    }

    async fn put_group(&self, key: &CacheKey, ours: &Group, alone: bool) -> Result<()> {
        let mut merged = ours.clone();
        // All that a group names goes when the group goes.
        if !alone && let Some(Record::Group(theirs)) = self.cache.get(key).await?.as_ref().map(|old| &*old.record) {
            merged.add_older(theirs);
        }
        let surplus = merged.members.len().saturating_sub(MAX_GROUP);
        let dropped: Vec<_> = merged.members.drain(..surplus).collect();
        self.cache.put(key, Stored::new(Record::Group(merged), bytes::Bytes::new(), None), None).await?;
        self.cache.delete_many(&dropped).await.map(drop)
    }

    async fn put_index(&self, key: &CacheKey, ours: &Variants, limit: usize, alone: bool) -> Result<()> {
        let now = self.clock.now();
        let old = self.cache.get(key).await?;
        let mut merged = ours.clone();
        let mut dropped = Vec::new();
        match old.as_ref().map(|old| &*old.record) {
            Some(Record::Variants(theirs)) if alone => {
                let is_ours = |key| ours.variants.iter().any(|variant| variant.key == key);
                dropped.extend(theirs.variants.iter().map(|variant| variant.key).filter(|key| !is_ours(*key)));
            }
            Some(Record::Variants(theirs)) => merged.add_older(theirs),
            _ => {}
        }
        merged.variants.retain(|variant| variant.retain_until.is_none_or(|deadline| deadline > now));
        let surplus = merged.variants.len().saturating_sub(limit);
        dropped.extend(merged.variants.drain(..surplus).map(|variant| variant.key));
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
}
