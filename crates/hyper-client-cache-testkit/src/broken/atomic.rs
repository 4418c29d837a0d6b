//! Storages that show entries half-done: S3, S12.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_core::{Error, ErrorKind, Result};

use super::Twist;
use crate::reference::ReferenceStorage;

/// Writes the head first and the body afterwards, without a transaction.
#[derive(Debug, Default)]
pub(super) struct WritesInTwoSteps;

#[async_trait]
impl Twist for WritesInTwoSteps {
    const NAME: &'static str = "writes head and body in two steps";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, entry: Entry) -> Result<()> {
        if let Some(old) = good.read(key).await? {
            let half = Entry::new(entry.head.clone(), old.body).retain_until(entry.retain_until);
            good.write(key, half).await?;
        }
        good.write(key, entry).await
    }
}

/// Takes a lock that only the end of the call gives back.
#[derive(Debug, Default)]
pub(super) struct StaysLockedWhenDropped {
    locked: AtomicBool,
}

#[async_trait]
impl Twist for StaysLockedWhenDropped {
    const NAME: &'static str = "stays locked when a delete is dropped";

    async fn delete(&self, good: &ReferenceStorage, key: &CacheKey) -> Result<bool> {
        if self.locked.swap(true, Ordering::AcqRel) {
            return Err(Error::new(ErrorKind::Storage, "the storage is locked"));
        }
        tokio::task::yield_now().await;
        let deleted = good.delete(key).await;
        self.locked.store(false, Ordering::Release);
        deleted
    }
}

/// Lets a writer that finds another one at work update the other's entry instead of replacing it.
#[derive(Debug, Default)]
pub(super) struct MergesRacingWriters {
    writing: AtomicUsize,
}

#[async_trait]
impl Twist for MergesRacingWriters {
    const NAME: &'static str = "merges the entries of racing writers";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, mut entry: Entry) -> Result<()> {
        let writer = Writing::begin(&self.writing);
        tokio::task::yield_now().await;
        if writer.is_not_alone()
            && let Some(other) = good.read(key).await?
        {
            entry.head = other.head;
        }
        good.write(key, entry).await
    }
}

/// Counts a writer for as long as it lives, so that a dropped write breaks nothing.
struct Writing<'a>(&'a AtomicUsize);

impl<'a> Writing<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }

    fn is_not_alone(&self) -> bool {
        self.0.load(Ordering::Acquire) > 1
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
