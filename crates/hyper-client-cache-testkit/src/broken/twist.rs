//! A good storage with one thing changed.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage, StorageInfo, StorageStats};

use crate::ManualClock;
use crate::contract::{Damage, Harness, Opened};
use crate::reference::{ReferenceHarness, ReferenceStorage};

/// What to do differently from a good storage. Whatever is left out is done as the good one does it.
#[async_trait]
pub trait Twist: Default + fmt::Debug + Send + Sync + 'static {
    /// What it does wrong, in a few words.
    const NAME: &'static str;

    /// Opens the good storage beneath.
    fn open(harness: &ReferenceHarness, namespace: &str) -> ReferenceStorage {
        harness.storage(namespace)
    }

    /// The secrets that it was configured with.
    fn canaries() -> Vec<String> {
        vec!["canary-password".to_owned()]
    }

    /// Stands in for [`Storage::info`].
    fn info(&self, good: &ReferenceStorage) -> StorageInfo {
        good.info()
    }

    /// Stands in for [`Storage::read`].
    async fn read(&self, good: &ReferenceStorage, key: &CacheKey) -> Result<Option<Entry>> {
        good.read(key).await
    }

    /// Stands in for [`Storage::write`].
    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, entry: Entry) -> Result<()> {
        good.write(key, entry).await
    }

    /// Stands in for [`Storage::delete`].
    async fn delete(&self, good: &ReferenceStorage, key: &CacheKey) -> Result<bool> {
        good.delete(key).await
    }

    /// Stands in for [`Storage::clear`].
    async fn clear(&self, good: &ReferenceStorage) -> Result<()> {
        good.clear().await
    }

    /// Stands in for [`Storage::keys`].
    fn keys<'a>(&'a self, good: &'a ReferenceStorage) -> BoxStream<'a, Result<CacheKey>> {
        good.keys()
    }

    /// Stands in for [`Storage::delete_expired`].
    async fn delete_expired(&self, good: &ReferenceStorage, now: SystemTime) -> Result<u64> {
        good.delete_expired(now).await
    }

    /// Stands in for [`Storage::contains`].
    async fn contains(&self, good: &ReferenceStorage, key: &CacheKey) -> Result<bool> {
        good.contains(key).await
    }

    /// Stands in for [`Storage::read_many`].
    async fn read_many(&self, good: &ReferenceStorage, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.read(good, key).await?);
        }
        Ok(found)
    }

    /// Stands in for [`Storage::close`].
    async fn close(&self, good: &ReferenceStorage) -> Result<()> {
        good.close().await
    }

    /// Stands in for `Debug`.
    fn debug(&self, good: &ReferenceStorage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(good, f)
    }
}

/// A [`ReferenceStorage`] with a [`Twist`]. Clones are handles on the same thing.
pub struct Broken<T> {
    good: ReferenceStorage,
    twist: Arc<T>,
}

impl<T: Twist> Broken<T> {
    /// `good` with `twist`.
    pub fn new(good: ReferenceStorage, twist: T) -> Self {
        Self { good, twist: Arc::new(twist) }
    }
}

impl<T> Clone for Broken<T> {
    fn clone(&self) -> Self {
        Self { good: self.good.clone(), twist: Arc::clone(&self.twist) }
    }
}

impl<T: Twist> fmt::Debug for Broken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.twist.debug(&self.good, f)
    }
}

// What is not named here is the trait's own, built on these: a twist shows through it.
#[async_trait]
impl<T: Twist> Storage for Broken<T> {
    fn info(&self) -> StorageInfo {
        self.twist.info(&self.good)
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.twist.read(&self.good, key).await
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.twist.write(&self.good, key, entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.twist.delete(&self.good, key).await
    }

    async fn clear(&self) -> Result<()> {
        self.twist.clear(&self.good).await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.twist.keys(&self.good)
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.twist.delete_expired(&self.good, now).await
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        self.twist.contains(&self.good, key).await
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.twist.read_many(&self.good, keys).await
    }

    fn stats(&self) -> StorageStats {
        self.good.stats()
    }

    async fn close(&self) -> Result<()> {
        self.twist.close(&self.good).await
    }
}

/// The [`Harness`] of a [`Broken`] storage: that of the reference storage in all else.
#[derive(Debug)]
pub struct BrokenHarness<T> {
    good: ReferenceHarness,
    twist: std::marker::PhantomData<fn() -> T>,
}

impl<T> Default for BrokenHarness<T> {
    fn default() -> Self {
        Self { good: ReferenceHarness::new(), twist: std::marker::PhantomData }
    }
}

impl<T: Twist> BrokenHarness<T> {
    fn twisted(good: ReferenceStorage) -> Opened {
        Opened::new(Broken::new(good, T::default()))
    }
}

#[async_trait]
impl<T: Twist> Harness for BrokenHarness<T> {
    async fn open(&self, namespace: &str) -> Opened {
        Self::twisted(T::open(&self.good, namespace))
    }

    fn clock(&self) -> ManualClock {
        self.good.clock()
    }

    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        Some(Self::twisted(T::open(&self.good, namespace).max_entry_len(max_entry_len)))
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        self.good.damage(namespace, key, damage).await
    }

    fn canaries(&self) -> Vec<String> {
        T::canaries()
    }

    fn entries_visited(&self) -> Option<u64> {
        self.good.entries_visited()
    }
}
