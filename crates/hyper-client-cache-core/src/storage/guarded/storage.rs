//! A storage behind a guard: each method is one call through the gate.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use super::{Call, Changes, Class, Gate, Guard, GuardStats, guarded_stream};
use crate::error::Result;
use crate::storage::{CacheKey, Entry, Storage, StorageInfo, StorageStats};

/// A storage that no request waits for longer than a deadline. Made by [`Guard::storage`]; clones share everything.
///
/// A call fails with [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the store was not asked or did not
/// answer in time; all other errors are the storage's own.
/// In [`info`](Storage::info), [`deadline`](StorageInfo::deadline) is the guard's.
pub struct GuardedStorage<S> {
    inner: Arc<S>,
    gate: Arc<Gate>,
}

impl<S: Storage> GuardedStorage<S> {
    pub(super) fn new(guard: &Guard, inner: S) -> Self {
        let inner = Arc::new(inner);
        let probed = inner.clone();
        let probe = move || {
            let storage = probed.clone();
            Box::pin(async move { storage.contains(&probe_key()).await.map(drop) }) as _
        };
        let gate = Gate::new(guard.shared().clone(), inner.info().name, Arc::new(probe));
        Self { inner, gate: Arc::new(gate) }
    }

    /// The storage itself. What is called on it directly is not guarded.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What the guard has counted for this storage.
    pub(crate) fn guard_stats(&self) -> GuardStats {
        self.gate.stats()
    }

    /// Refuses every later call: for whoever closes the storage by itself.
    pub(crate) fn shut(&self) {
        self.gate.shut();
    }

    async fn look<T, F>(&self, work: impl FnOnce(Arc<S>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let call = Call { class: Class::Look, changes: Changes::Nothing, bytes: 0 };
        self.gate.run(call, work(self.inner.clone())).await
    }

    async fn write<T, F>(&self, keys: &[CacheKey], bytes: u64, work: impl FnOnce(Arc<S>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let call = Call { class: Class::Write, changes: Changes::Keys(keys), bytes };
        self.gate.run(call, work(self.inner.clone())).await
    }

    async fn delete<T, F>(&self, keys: &[CacheKey], work: impl FnOnce(Arc<S>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let call = Call { class: Class::Delete, changes: Changes::Keys(keys), bytes: 0 };
        self.gate.run(call, work(self.inner.clone())).await
    }

    async fn bulk<T, F>(&self, changes: Changes<'_>, work: impl FnOnce(Arc<S>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.gate.run(Call { class: Class::Bulk, changes, bytes: 0 }, work(self.inner.clone())).await
    }
}

/// A key that is asked for only to see whether the store answers.
pub(crate) fn probe_key() -> CacheKey {
    CacheKey::from_digest([0; 32])
}

impl<S> Clone for GuardedStorage<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), gate: self.gate.clone() }
    }
}

impl<S: Storage> std::fmt::Debug for GuardedStorage<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedStorage").field("inner", &self.inner).field("gate", &self.gate).finish()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Storage> Storage for GuardedStorage<S> {
    fn info(&self) -> StorageInfo {
        self.inner.info().deadline(Some(self.gate.deadline()))
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let key = *key;
        self.look(move |inner| async move { inner.read(&key).await }).await
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        let key = *key;
        let bytes = entry.len();
        self.write(&[key], bytes, move |inner| async move { inner.write(&key, entry).await }).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        let key = *key;
        self.delete(&[key], move |inner| async move { inner.delete(&key).await }).await
    }

    async fn clear(&self) -> Result<()> {
        self.bulk(Changes::All, |inner| async move { inner.clear().await }).await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        guarded_stream(&self.gate, &self.inner, |inner| inner.keys())
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.bulk(Changes::Nothing, move |inner| async move { inner.delete_expired(now).await }).await
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        let key = *key;
        self.look(move |inner| async move { inner.contains(&key).await }).await
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let keys = keys.to_vec();
        self.bulk(Changes::Nothing, move |inner| async move { inner.read_many(&keys).await }).await
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        let keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
        self.bulk(Changes::Keys(&keys), move |inner| async move { inner.write_many(entries).await }).await
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        let own = keys.to_vec();
        self.bulk(Changes::Keys(keys), move |inner| async move { inner.delete_many(&own).await }).await
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        let key = *key;
        let bytes = entry.len();
        self.write(&[key], bytes, move |inner| async move { inner.refresh(&key, entry).await }).await
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        guarded_stream(&self.gate, &self.inner, |inner| inner.entries())
    }

    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        guarded_stream(&self.gate, &self.inner, |inner| inner.heads())
    }

    async fn size(&self) -> Result<u64> {
        self.bulk(Changes::Nothing, |inner| async move { inner.size().await }).await
    }

    async fn bytes(&self) -> Result<u64> {
        self.bulk(Changes::Nothing, |inner| async move { inner.bytes().await }).await
    }

    fn stats(&self) -> StorageStats {
        self.inner.stats().guarded(self.gate.stats())
    }

    async fn close(&self) -> Result<()> {
        let inner = self.inner.clone();
        self.gate.close(async move { inner.close().await }).await
    }
}
