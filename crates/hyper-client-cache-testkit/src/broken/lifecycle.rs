//! Storages that do not end, do not come back, or do not keep secrets: S11, S13, S14.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};

use super::Twist;
use crate::reference::{Disk, ReferenceHarness, ReferenceStorage};

/// Closes nothing.
#[derive(Debug, Default)]
pub(super) struct ServesWhenClosed;

#[async_trait]
impl Twist for ServesWhenClosed {
    const NAME: &'static str = "goes on serving when it is closed";

    async fn close(&self, _: &ReferenceStorage) -> Result<()> {
        Ok(())
    }
}

/// Says that it is persistent, and begins anew each time.
#[derive(Debug, Default)]
pub(super) struct ForgetsWhenReopened;

#[async_trait]
impl Twist for ForgetsWhenReopened {
    const NAME: &'static str = "says it is persistent and forgets when reopened";

    fn open(harness: &ReferenceHarness, namespace: &str) -> ReferenceStorage {
        ReferenceStorage::open(&Disk::default(), namespace, harness.storage(namespace).clock())
    }
}

/// Derives `Debug` over its settings and its last entry.
#[derive(Debug, Default)]
pub(super) struct DebugsItsPassword {
    last: Mutex<String>,
}

#[async_trait]
impl Twist for DebugsItsPassword {
    const NAME: &'static str = "debugs its password and what it stores";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, entry: Entry) -> Result<()> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = format!("{:?} {:?}", entry.head, entry.body);
        good.write(key, entry).await
    }

    fn debug(&self, _: &ReferenceStorage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("password", &Self::canaries()).field("last", &self.last).finish()
    }
}
