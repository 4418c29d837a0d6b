//! One storage before another: a small, fast front (memory) that answers for a large, slow back.
//!
//! [`TieredStorage`] keeps the two from ever disagreeing; `stripes` holds what it needs to know for that, and says why
//! it works.

mod stripes;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use self::stripes::{Change, Filling, Seen, Stripes};
use super::{CacheKey, Entry, Storage, StorageInfo, StorageStats};
use crate::error::Result;

/// Says whether the front may answer.
///
/// For a back that others can write to behind this process's back: its owner closes the gate when it does not know
/// whether they did, and calls [`TieredStorage::clear_front`] when they did, before it opens the gate again.
pub trait FrontGate: fmt::Debug + Send + Sync + 'static {
    /// Whether what the front holds is known to be current. Asked at each read: must be cheap.
    fn is_open(&self) -> bool;
}

/// A storage before a storage. Clones share both.
///
/// Everything is written to the back first; what the back has acknowledged is put into the front, and what is read from
/// the back is, too. A hit in the front costs one read of the front: no task, no lock held while waiting.
///
/// The back is the truth: [`info`](Storage::info), listings and counts are its own. The front never makes a call fail;
/// where it fails, it is left out.
///
/// # Concurrency
/// After a call has returned, no reader sees what was there before it, whoever races with whom.
/// A write whose future is dropped half-way may still reach the back later; its key is then served from the back alone
/// until a later write or deletion of it has completed.
///
/// ```
/// use hyper_client_cache_core::storage::{MemoryStorage, TieredStorage};
///
/// # let slow = MemoryStorage::default();
/// let tiered = TieredStorage::new(MemoryStorage::builder().max_bytes(16 * 1024 * 1024).build()?, slow);
/// # Ok::<(), hyper_client_cache_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TieredStorage {
    front: Arc<dyn Storage>,
    back: Arc<dyn Storage>,
    gate: Option<Arc<dyn FrontGate>>,
    stripes: Arc<Stripes>,
}

impl TieredStorage {
    /// Puts `front`, which should be empty and is nobody else's, before `back`.
    pub fn new(front: impl Storage, back: impl Storage) -> Self {
        Self { front: Arc::new(front), back: Arc::new(back), gate: None, stripes: Arc::default() }
    }

    /// Asks `gate` at each read whether the front may answer.
    #[must_use]
    pub fn with_gate(mut self, gate: Arc<dyn FrontGate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// The storage in front.
    #[must_use]
    pub fn front(&self) -> &dyn Storage {
        &*self.front
    }

    /// The storage behind.
    #[must_use]
    pub fn back(&self) -> &dyn Storage {
        &*self.back
    }

    /// The entry under `key`, from the front or else by `read_back`, which must read what [`back`](Self::back) has under
    /// `key`, and may read more with it in the same round trip. What more it read is `None` where the front answered.
    ///
    /// # Errors
    /// Those of `read_back`.
    pub async fn read_with<T>(
        &self,
        key: &CacheKey,
        read_back: impl Future<Output = Result<(Option<Entry>, T)>>,
    ) -> Result<(Option<Entry>, Option<T>)> {
        let seen = self.stripes.look(key);
        if let Some(entry) = self.read_front(&seen, key).await {
            return Ok((Some(entry), None));
        }
        let (found, more) = read_back.await?;
        if let Some(entry) = &found {
            self.fill(&seen, key, entry.clone()).await;
        }
        Ok((found, Some(more)))
    }

    /// Empties the front. What was read from the back before this call does not enter the front after it.
    ///
    /// # Errors
    /// The front's own; it may then still hold something.
    pub async fn clear_front(&self) -> Result<()> {
        self.stripes.invalidate_fills();
        self.front.clear().await
    }

    fn is_open(&self) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.is_open())
    }

    async fn read_front(&self, seen: &Seen, key: &CacheKey) -> Option<Entry> {
        if !self.is_open() || !self.stripes.may_answer(seen, key) {
            return None;
        }
        self.front.read(key).await.ok().flatten()
    }

    /// Puts an entry into the front that was current in the back at `seen`, unless anything has happened since.
    async fn fill(&self, seen: &Seen, key: &CacheKey, entry: Entry) {
        let too_large = self.front.info().max_entry_len.is_some_and(|limit| entry.len() > limit);
        if too_large || !self.is_open() {
            return;
        }
        let Some(filling) = self.stripes.begin_filling(seen, key) else { return };
        let written = self.front.write(key, entry).await.is_ok();
        self.check(filling, key, written).await;
    }

    /// Takes out of the front again what entered it while somebody changed the same key.
    async fn check(&self, filling: Filling<'_>, key: &CacheKey, written: bool) {
        if (written && filling.is_current() && self.is_open()) || self.front.delete(key).await.is_ok() {
            filling.finish();
        }
    }

    /// Begins a change of `keys`: from here on nothing enters the front under them, and nothing is there.
    async fn begin<'a>(&'a self, keys: &'a [CacheKey]) -> Change<'a> {
        let mut change = self.stripes.begin_change(keys);
        let removed = match keys {
            [key] => self.front.delete(key).await.map(drop),
            keys => self.front.delete_many(keys).await.map(drop),
        };
        change.set_front_is_clean(removed.is_ok());
        change
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Storage for TieredStorage {
    fn info(&self) -> StorageInfo {
        self.back.info()
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let read_back = async { Ok((self.back.read(key).await?, ())) };
        Ok(self.read_with(key, read_back).await?.0)
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        let change = self.begin(std::slice::from_ref(key)).await;
        let written = self.back.write(key, entry.clone()).await;
        let seen = change.complete();
        written?;
        self.fill(&seen, key, entry).await;
        Ok(())
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        let change = self.begin(std::slice::from_ref(key)).await;
        let deleted = self.back.delete(key).await;
        change.complete();
        deleted
    }

    async fn clear(&self) -> Result<()> {
        let mut change = self.stripes.begin_clear();
        change.set_front_is_clean(self.front.clear().await.is_ok());
        let cleared = self.back.clear().await;
        change.complete();
        cleared
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.back.keys()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        // `now` may be ahead of the clocks: what dies by it must not stay in the front.
        let mut change = self.stripes.begin_expiry();
        change.set_front_is_clean(self.front.delete_expired(now).await.is_ok());
        let deleted = self.back.delete_expired(now).await;
        change.complete();
        deleted
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        let seen = self.stripes.look(key);
        if self.is_open() && self.stripes.may_answer(&seen, key) && matches!(self.front.contains(key).await, Ok(true)) {
            return Ok(true);
        }
        self.back.contains(key).await
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let mut found = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for key in keys {
            let seen = self.stripes.look(key);
            let entry = self.read_front(&seen, key).await;
            if entry.is_none() {
                missing.push((found.len(), seen, *key));
            }
            found.push(entry);
        }
        let missing_keys: Vec<_> = missing.iter().map(|(_, _, key)| *key).collect();
        if missing_keys.is_empty() {
            return Ok(found);
        }
        let entries = self.back.read_many(&missing_keys).await?;
        for ((place, seen, key), entry) in missing.into_iter().zip(entries) {
            if let Some(entry) = &entry {
                self.fill(&seen, &key, entry.clone()).await;
            }
            if let Some(slot) = found.get_mut(place) {
                *slot = entry;
            }
        }
        Ok(found)
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        // Many at once are seldom read again at once: they enter the front when they are.
        let keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
        let change = self.begin(&keys).await;
        let written = self.back.write_many(entries).await;
        change.complete();
        written
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        let change = self.begin(keys).await;
        let deleted = self.back.delete_many(keys).await;
        change.complete();
        deleted
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        let change = self.begin(std::slice::from_ref(key)).await;
        let refreshed = self.back.refresh(key, entry.clone()).await;
        let seen = change.complete();
        if !refreshed? {
            return Ok(false);
        }
        self.fill(&seen, key, entry).await;
        Ok(true)
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.back.entries()
    }

    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.back.heads()
    }

    async fn size(&self) -> Result<u64> {
        self.back.size().await
    }

    async fn bytes(&self) -> Result<u64> {
        self.back.bytes().await
    }

    // What the front evicts is still in the back.
    fn stats(&self) -> StorageStats {
        self.back.stats()
    }

    async fn close(&self) -> Result<()> {
        let closed = self.back.close().await;
        // Whatever the front says to that: nothing is lost with it.
        let _ = self.front.close().await;
        closed
    }
}
