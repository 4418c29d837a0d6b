//! Caches that do one thing wrong with their storages: the proof that the tests of caches can fail.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::cache::{Cache, StorageCache, Stored, codec, parts};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::{CacheKey, Storage};
use hyper_client_cache_core::{Error, ErrorKind, Result};

use super::content::LosesTheLastByte;
use super::twist::Broken;
use crate::ManualClock;
use crate::contract::CacheHarness;
use crate::reference::{Disk, ReferenceStorage};

/// What a [`BrokenCache`] does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheFault {
    /// `get` returns no body.
    LosesBodies,
    /// `put` writes everything among the responses.
    PutsRedirectsAmongResponses,
    /// `get` asks redirects first.
    AsksRedirectsFirst,
    /// `put` leaves the other kind where it was.
    LeavesTheOtherKind,
    /// Its storages have a clock that stands still.
    ShowsTheExpired,
    /// `delete_expired` counts no redirects.
    CountsOnlyResponses,
    /// `refresh` writes whether or not something is there.
    RefreshesWhatIsGone,
    /// `delete_many` counts the keys it was given.
    CountsWhatIsNotThere,
    /// `delete_many` leaves the last of more keys than ten.
    LeavesTheLastOfMany,
    /// `records` reads the bodies.
    ListsBodies,
    /// `get` fails where a head is not ours.
    FailsOnForeignHeads,
    /// Its bodies are stored without their last byte.
    CutsParts,
    /// Parts stay when their response goes.
    LeavesParts,
    /// Parts without a head go at once.
    CollectsYoungParts,
    /// Parts without a head stay for ever.
    NeverCollectsParts,
    /// `clear` leaves the redirects.
    ClearsOnlyResponses,
    /// `close` leaves the redirects open.
    ClosesOnlyResponses,
}

impl CacheFault {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::LosesBodies,
        Self::PutsRedirectsAmongResponses,
        Self::AsksRedirectsFirst,
        Self::LeavesTheOtherKind,
        Self::ShowsTheExpired,
        Self::CountsOnlyResponses,
        Self::RefreshesWhatIsGone,
        Self::CountsWhatIsNotThere,
        Self::LeavesTheLastOfMany,
        Self::ListsBodies,
        Self::FailsOnForeignHeads,
        Self::CutsParts,
        Self::LeavesParts,
        Self::CollectsYoungParts,
        Self::NeverCollectsParts,
        Self::ClearsOnlyResponses,
        Self::ClosesOnlyResponses,
    ];
}

/// A cache over reference storages with a fault, or with none.
pub struct BrokenCache {
    good: StorageCache,
    fault: Option<CacheFault>,
}

impl BrokenCache {
    /// An empty one.
    fn open(fault: Option<CacheFault>, clock: &ManualClock) -> Self {
        let clock = match fault {
            Some(CacheFault::ShowsTheExpired) => ManualClock::at(clock.now()),
            _ => clock.clone(),
        };
        let disk = Disk::default();
        let open = |namespace| ReferenceStorage::open(&disk, namespace, clock.clone());
        let good = StorageCache::new(open("responses"), open("redirects"));
        let good = match fault {
            Some(CacheFault::CutsParts) => good.with_bodies(Broken::new(open("bodies"), LosesTheLastByte)),
            _ => good.with_bodies(open("bodies")),
        };
        Self { good, fault }
    }

    fn has(&self, fault: CacheFault) -> bool {
        self.fault == Some(fault)
    }
}

impl fmt::Debug for BrokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokenCache").field("fault", &self.fault).finish_non_exhaustive()
    }
}

#[async_trait]
impl Cache for BrokenCache {
    fn responses(&self) -> &dyn Storage {
        self.good.responses()
    }

    fn redirects(&self) -> &dyn Storage {
        self.good.redirects()
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        self.good.bodies()
    }

    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        if self.has(CacheFault::AsksRedirectsFirst)
            && let Some(entry) = self.redirects().read(key).await?
        {
            return Ok(codec::decode(entry));
        }
        if self.has(CacheFault::FailsOnForeignHeads)
            && let Some(entry) = self.responses().read(key).await?
        {
            let foreign = Error::new(ErrorKind::Corrupt, "a head");
            return codec::decode(entry).map(Some).ok_or(foreign);
        }
        let mut found = self.good.get(key).await?;
        if let Some(stored) = found.as_mut().filter(|_| self.has(CacheFault::LosesBodies)) {
            stored.body = Bytes::new();
        }
        Ok(found)
    }

    async fn put(&self, key: &CacheKey, stored: Stored, replaced: Option<&Stored>) -> Result<()> {
        if self.has(CacheFault::PutsRedirectsAmongResponses) {
            return self.responses().write(key, codec::encode(stored)?).await;
        }
        if self.has(CacheFault::LeavesTheOtherKind) {
            let storage = if stored.record.is_redirect() { self.redirects() } else { self.responses() };
            return storage.write(key, codec::encode(stored)?).await;
        }
        if self.has(CacheFault::LeavesParts) {
            return self.good.put(key, stored, None).await;
        }
        self.good.put(key, stored, replaced).await
    }

    async fn refresh(&self, key: &CacheKey, stored: Stored) -> Result<bool> {
        if self.has(CacheFault::RefreshesWhatIsGone) {
            self.good.put(key, stored, None).await?;
            return Ok(true);
        }
        self.good.refresh(key, stored).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        if self.has(CacheFault::LeavesParts) {
            let response = self.responses().delete(key).await?;
            return Ok(self.redirects().delete(key).await? || response);
        }
        self.good.delete(key).await
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        let keys = match keys {
            [most @ .., _] if most.len() >= 10 && self.has(CacheFault::LeavesTheLastOfMany) => most,
            all => all,
        };
        let deleted = self.good.delete_many(keys).await?;
        Ok(if self.has(CacheFault::CountsWhatIsNotThere) { keys.len() as u64 } else { deleted })
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        match self.fault {
            Some(CacheFault::CountsOnlyResponses) => {
                let deleted = self.responses().delete_expired(now).await?;
                self.redirects().delete_expired(now).await?;
                Ok(deleted)
            }
            Some(CacheFault::NeverCollectsParts) => {
                let deleted = self.responses().delete_expired(now).await?;
                Ok(deleted.saturating_add(self.redirects().delete_expired(now).await?))
            }
            Some(CacheFault::CollectsYoungParts) => {
                let deleted = self.good.delete_expired(now).await?;
                if let (Some(bodies), Some(later)) = (self.bodies(), now.checked_add(parts::GRACE.saturating_mul(2))) {
                    parts::delete_orphans([self.responses(), self.redirects()], bodies, later).await?;
                }
                Ok(deleted)
            }
            _ => self.good.delete_expired(now).await,
        }
    }

    fn records(&self) -> BoxStream<'_, Result<(CacheKey, Stored)>> {
        if self.has(CacheFault::ListsBodies) {
            return stream::iter([self.responses(), self.redirects()])
                .flat_map(Storage::entries)
                .try_filter_map(async |(key, entry)| Ok(codec::decode(entry).map(|stored| (key, stored))))
                .boxed();
        }
        self.good.records()
    }

    async fn clear(&self) -> Result<()> {
        if self.has(CacheFault::ClearsOnlyResponses) {
            return self.responses().clear().await;
        }
        self.good.clear().await
    }

    async fn close(&self) -> Result<()> {
        if self.has(CacheFault::ClosesOnlyResponses) {
            return self.responses().close().await;
        }
        self.good.close().await
    }
}

/// The [`CacheHarness`] of a [`BrokenCache`].
#[derive(Clone, Debug, Default)]
pub struct BrokenCacheHarness {
    fault: Option<CacheFault>,
    clock: ManualClock,
}

impl BrokenCacheHarness {
    /// Of a cache with this fault, or with none.
    #[must_use]
    pub fn new(fault: Option<CacheFault>) -> Self {
        Self { fault, clock: ManualClock::new() }
    }
}

#[async_trait]
impl CacheHarness for BrokenCacheHarness {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(BrokenCache::open(self.fault, &self.clock))
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }
}
