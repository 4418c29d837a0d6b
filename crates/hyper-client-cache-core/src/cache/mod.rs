//! What a backend hands to a session: storages for responses, redirects and large bodies, and what needs more than one
//! of them.
//!
//! [`Cache`] is the trait that a backend implements; [`StorageCache`] makes one out of any storages, [`MemoryCache`] is
//! the one that comes with core.
//! [`record`] is what an entry's head says, [`codec`] how it is written, [`parts`] how a large body is split,
//! [`ledger`] what this process knows beyond its store (writes on their way, invalidations); [`Expected`] is for look-ups
//! that need not ask for everything, [`Heads`] for those that need not decode everything.

pub mod codec;
mod expected;
mod ext;
mod guarded;
mod handle;
mod heads;
pub mod ledger;
mod memory;
pub mod parts;
pub mod record;
mod search;
mod stats;
mod storage_cache;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

pub use self::expected::Expected;
pub(crate) use self::ext::Contents;
pub use self::ext::{CacheExt, CachedResponse, Copied, Filter, SortBy};
pub use self::guarded::GuardedCache;
pub use self::handle::{CacheHandle, MaybeGuarded};
pub use self::heads::Heads;
pub use self::memory::{MemoryCache, MemoryCacheBuilder};
pub use self::record::{
    BodyPlace, Freshness, Group, LifetimeSource, Record, ResponseRecord, Selecting, Variant, Variants,
};
pub use self::search::{SearchRule, SearchVariance};
pub use self::stats::CacheStats;
pub use self::storage_cache::StorageCache;
use crate::error::Result;
use crate::storage::{CacheKey, Storage, StorageStats};

/// How many parts are deleted at once: their keys are in memory for so long.
pub(crate) const PARTS_AT_ONCE: usize = 1024;

/// The storages that a session uses, and the operations that need more than one of them.
///
/// Three methods say which storages there are; all others are provided, and correct for any storages.
/// A backend overrides one where its store can do several steps in one round trip.
///
/// Clones of a cache should return references to the same storages: two sessions of one process that share a store
/// this way also share what is still on its way there ([`ledger`]).
#[async_trait]
pub trait Cache: fmt::Debug + Send + Sync + 'static {
    /// Responses, by the key of their request.
    fn responses(&self) -> &dyn Storage;

    /// Redirect responses, by the key of the request that was redirected.
    fn redirects(&self) -> &dyn Storage;

    /// Parts of bodies too large for one entry; `None`: such bodies are not stored.
    fn bodies(&self) -> Option<&dyn Storage>;

    /// What is stored under `key`: in [`responses`](Self::responses), else in [`redirects`](Self::redirects).
    ///
    /// What cannot be decoded is a miss.
    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        if let Some(entry) = self.responses().read(key).await?
            && let Some(stored) = codec::decode(entry)
        {
            return Ok(Some(stored));
        }
        Ok(self.redirects().read(key).await?.and_then(codec::decode))
    }

    /// Stores a record under `key`, in place of `replaced`, which is what a lookup found there before.
    ///
    /// The record is visible first and what it replaced removed afterwards, so that a reader finds either.
    async fn put(&self, key: &CacheKey, stored: Stored, replaced: Option<&Stored>) -> Result<()> {
        let is_redirect = stored.record.is_redirect();
        let parts = stored.record.parts_id().map(str::to_owned);
        let entry = codec::encode(stored)?;
        if is_redirect {
            self.redirects().write(key, entry).await?;
            // Lookups ask `responses` first: what stood there would hide the redirect.
            self.responses().delete(key).await?;
        } else {
            self.responses().write(key, entry).await?;
        }
        if let Some(old) = replaced {
            if !is_redirect && old.record.is_redirect() {
                self.redirects().delete(key).await?;
            }
            if old.record.parts_id() != parts.as_deref() {
                self.delete_parts(&old.record).await?;
            }
        }
        Ok(())
    }

    /// Replaces the head of what is stored under `key`, its body staying as it is (after a 304); `false` where nothing
    /// is there any more.
    async fn refresh(&self, key: &CacheKey, stored: Stored) -> Result<bool> {
        let storage = if stored.record.is_redirect() { self.redirects() } else { self.responses() };
        let entry = codec::encode(stored)?;
        storage.refresh(key, entry).await
    }

    /// Removes what is stored under `key`, the parts of its body included; `true` where something was there.
    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        let parts = match self.bodies() {
            Some(_) => self.get(key).await?,
            None => None,
        };
        let response = self.responses().delete(key).await?;
        let redirect = self.redirects().delete(key).await?;
        if let Some(stored) = parts {
            self.delete_parts(&stored.record).await?;
        }
        Ok(response || redirect)
    }

    /// Removes what is stored under `keys`, parts of bodies included, and says under how many of them something was.
    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        if self.bodies().is_some() {
            for storage in [self.responses(), self.redirects()] {
                for stored in storage.read_many(keys).await?.into_iter().flatten().filter_map(codec::decode) {
                    self.delete_parts(&stored.record).await?;
                }
            }
        }
        let responses = self.responses().delete_many(keys).await?;
        let redirects = self.redirects().delete_many(keys).await?;
        Ok(responses.saturating_add(redirects))
    }

    /// Removes the parts of a body that `record` refers to, if it does.
    async fn delete_parts(&self, record: &Record) -> Result<()> {
        let (Some(bodies), Some(mut keys)) = (self.bodies(), parts::keys_of(record)) else { return Ok(()) };
        loop {
            let next: Vec<_> = keys.by_ref().take(PARTS_AT_ONCE).collect();
            if next.is_empty() {
                return Ok(());
            }
            bodies.delete_many(&next).await?;
        }
    }

    /// Removes what is past its deadline at `now`, and parts of bodies that no head refers to; says how many entries
    /// went. Parts younger than an hour are left alone, because their writer may be at work.
    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        let responses = self.responses().delete_expired(now).await?;
        let redirects = self.redirects().delete_expired(now).await?;
        if let Some(bodies) = self.bodies() {
            bodies.delete_expired(now).await?;
            parts::delete_orphans([self.responses(), self.redirects()], bodies, now).await?;
        }
        Ok(responses.saturating_add(redirects))
    }

    /// Each live record once, without bodies, responses before redirects. What cannot be decoded is left out.
    fn records(&self) -> BoxStream<'_, Result<(CacheKey, Stored)>> {
        stream::iter([self.responses(), self.redirects()])
            .flat_map(Storage::heads)
            .filter_map(async |found| match found {
                Ok((key, entry)) => codec::decode(entry).map(|stored| Ok((key, stored))),
                Err(error) => Some(Err(error)),
            })
            .boxed()
    }

    /// Empties every storage of this cache.
    async fn clear(&self) -> Result<()> {
        self.responses().clear().await?;
        self.redirects().clear().await?;
        match self.bodies() {
            Some(bodies) => bodies.clear().await,
            None => Ok(()),
        }
    }

    /// What the storages have counted since they were opened.
    fn stats(&self) -> StorageStats {
        let both = self.responses().stats().plus(self.redirects().stats());
        self.bodies().map_or(both, |bodies| both.plus(bodies.stats()))
    }

    /// Closes every storage. Idempotent.
    async fn close(&self) -> Result<()> {
        self.responses().close().await?;
        self.redirects().close().await?;
        match self.bodies() {
            Some(bodies) => bodies.close().await,
            None => Ok(()),
        }
    }
}

/// A record as it was found or is to be stored: the decoded head, and the body where it is inline.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stored {
    /// What the head says.
    pub record: std::sync::Arc<Record>,
    /// The body, if the record keeps it [inline](BodyPlace::Inline); empty otherwise.
    pub body: Bytes,
    /// The moment from which the entry is invisible to every reader.
    pub retain_until: Option<SystemTime>,
}

impl Stored {
    /// A record with an inline body (empty where the record needs none).
    #[must_use]
    pub fn new(record: Record, body: Bytes, retain_until: Option<SystemTime>) -> Self {
        Self { record: std::sync::Arc::new(record), body, retain_until }
    }

    /// Whether an inline body is as long as the record says it is.
    pub(crate) fn has_its_body(&self) -> bool {
        match self.record.as_response().map(|response| &response.body) {
            Some(BodyPlace::Inline { len }) => *len == self.body.len() as u64,
            _ => true,
        }
    }
}
