//! Storages that mistake the living and the dead: S5, S6.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::storage::{CacheKey, Entry, NativeExpiry, Storage, StorageInfo};

use super::Twist;
use crate::reference::ReferenceStorage;

/// Says that an entry is there as long as its bytes are.
#[derive(Debug, Default)]
pub(super) struct ContainsTheDead;

#[async_trait]
impl Twist for ContainsTheDead {
    const NAME: &'static str = "contains the dead until they are removed";

    async fn contains(&self, good: &ReferenceStorage, key: &CacheKey) -> Result<bool> {
        // The good one's word where it is closed or the bytes are not an entry.
        let contained = good.contains(key).await?;
        Ok(contained || good.disk().raw(good.namespace(), key).is_some())
    }
}

/// Counts an entry as dead in the last second of its life, as a store whose clock has no fractions.
#[derive(Debug, Default)]
pub(super) struct LetsDieTooEarly;

#[async_trait]
impl Twist for LetsDieTooEarly {
    const NAME: &'static str = "lets entries die within their last second";

    async fn read(&self, good: &ReferenceStorage, key: &CacheKey) -> Result<Option<Entry>> {
        let soon = good.clock().now().checked_add(Duration::from_secs(1));
        Ok(good.read(key).await?.filter(|entry| soon.is_none_or(|soon| !entry.is_dead(soon))))
    }
}

/// Saves itself the writing of what is dead already, and so leaves there what it was to replace.
#[derive(Debug, Default)]
pub(super) struct IgnoresWhatIsWrittenDead;

#[async_trait]
impl Twist for IgnoresWhatIsWrittenDead {
    const NAME: &'static str = "does not write what is dead, so the old entry stays";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, entry: Entry) -> Result<()> {
        if entry.is_dead(good.clock().now()) {
            return Ok(());
        }
        good.write(key, entry).await
    }
}

/// Removes more than the dead.
#[derive(Debug, Default)]
pub(super) struct RemovesWhatIsAboutToDie;

#[async_trait]
impl Twist for RemovesWhatIsAboutToDie {
    const NAME: &'static str = "removes what dies within the next ten seconds";

    async fn delete_expired(&self, good: &ReferenceStorage, now: SystemTime) -> Result<u64> {
        good.delete_expired(now.checked_add(Duration::from_secs(10)).unwrap_or(now)).await
    }
}

/// Reads and checks every entry to find the dead ones.
#[derive(Debug, Default)]
pub(super) struct DecodesAllItHolds;

#[async_trait]
impl Twist for DecodesAllItHolds {
    const NAME: &'static str = "decodes every entry to find the dead";

    async fn delete_expired(&self, good: &ReferenceStorage, now: SystemTime) -> Result<u64> {
        walk(good, now).await
    }
}

/// The same for a store that removes the dead by itself: nothing of what is left to it is worth such a walk.
#[derive(Debug, Default)]
pub(super) struct WalksThoughItExpires;

#[async_trait]
impl Twist for WalksThoughItExpires {
    const NAME: &'static str = "expires by itself, and decodes every entry nevertheless";

    fn info(&self, good: &ReferenceStorage) -> StorageInfo {
        good.info().expiry(NativeExpiry::Exact)
    }

    async fn delete_expired(&self, good: &ReferenceStorage, now: SystemTime) -> Result<u64> {
        walk(good, now).await
    }
}

/// Says it removed what the store had removed before it, and one more.
#[derive(Debug, Default)]
pub(super) struct CountsWhatItDidNotRemove;

#[async_trait]
impl Twist for CountsWhatItDidNotRemove {
    const NAME: &'static str = "expires by itself, and counts more than were dead";

    fn info(&self, good: &ReferenceStorage) -> StorageInfo {
        good.info().expiry(NativeExpiry::Exact)
    }

    async fn delete_expired(&self, good: &ReferenceStorage, now: SystemTime) -> Result<u64> {
        Ok(good.delete_expired(now).await?.saturating_add(1))
    }
}

/// Reads and checks every entry, removes the dead, and says how many they were.
async fn walk(good: &ReferenceStorage, now: SystemTime) -> Result<u64> {
    let stored = good.disk().keys(good.namespace());
    let mut deleted: u64 = 0;
    // A closed storage fails here, as a good one does.
    good.keys().try_next().await?;
    for key in stored {
        good.disk().note_visit();
        let entry = good
            .disk()
            .raw(good.namespace(), &key)
            .and_then(|bytes| hyper_client_cache_core::storage::frame::split(&bytes).ok());
        if entry.is_some_and(|entry| entry.is_dead(now)) {
            good.delete(&key).await?;
            deleted = deleted.saturating_add(1);
        }
    }
    Ok(deleted)
}
