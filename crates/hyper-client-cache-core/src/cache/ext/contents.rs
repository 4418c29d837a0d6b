//! Everything that is in a cache, as whoever looks something up would find it: what is stored, with what is still on
//! its way there, and without what is to be removed.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{CachedResponse, Filter, SortBy};
use crate::cache::ledger::Ledger;
use crate::cache::{Cache, Record, Stored};
use crate::error::Result;
use crate::storage::CacheKey;

/// How many keys are removed at once: the store may read what it removes.
const AT_ONCE: usize = 64;

/// A cache, and what this process knows beyond its store.
#[derive(Clone)]
pub(crate) struct Contents<'a> {
    cache: &'a dyn Cache,
    // There is none while no session or layer uses the cache.
    ledger: Option<Arc<Ledger>>,
}

impl<'a> Contents<'a> {
    pub(crate) fn of(cache: &'a dyn Cache) -> Self {
        Self { cache, ledger: Ledger::known(cache) }
    }

    /// Each record once, without bodies, the waiting ones last.
    pub(crate) fn records(&self) -> BoxStream<'a, Result<(CacheKey, Stored)>> {
        let waiting = self.ledger.as_ref().map(|ledger| ledger.waiting()).unwrap_or_default();
        if waiting.is_empty() {
            return self.cache.records();
        }
        let waiting = Arc::new(waiting);
        let known = waiting.clone();
        let stored = self.cache.records().try_filter(move |(key, _)| {
            // What waits takes its place, or removes it.
            let is_known = known.contains_key(key);
            async move { !is_known }
        });
        let waiting: Vec<_> = waiting.iter().filter_map(|(key, stored)| Some((*key, stored.clone()?))).collect();
        stored.chain(stream::iter(waiting).map(Ok)).boxed()
    }

    pub(crate) fn entries(&self, filter: Filter) -> BoxStream<'a, Result<CachedResponse>> {
        let (limit, now) = (filter.at_most(), filter.moment());
        let found = self.records().try_filter_map(move |(_, stored)| {
            let found = CachedResponse::new(stored, false, now).filter(|response| filter.matches(response));
            async move { Ok(found) }
        });
        found.take(limit).boxed()
    }

    pub(crate) async fn count(&self, filter: Filter) -> Result<u64> {
        self.entries(filter).try_fold(0_u64, async |count, _| Ok(count.saturating_add(1))).await
    }

    /// The first `limit` in an order. Holds no more than those.
    pub(crate) async fn top(&self, filter: Filter, by: SortBy, limit: usize) -> Result<Vec<CachedResponse>> {
        let mut first: BinaryHeap<Ranked> = BinaryHeap::new();
        let mut entries = self.entries(filter);
        while let Some(response) = entries.try_next().await? {
            first.push(Ranked { response, by });
            if first.len() > limit {
                // The one that comes last of them all.
                first.pop();
            }
        }
        Ok(first.into_sorted_vec().into_iter().map(|ranked| ranked.response).collect())
    }

    /// Removes what `filter` means, parts of bodies included, and says how many responses that were.
    pub(crate) async fn delete_matching(&self, filter: Filter) -> Result<u64> {
        if let Some(ledger) = self.ledger.as_ref().filter(|_| filter.may_mean_new_ones()) {
            // First, so that nothing that is on its way is stored behind our back.
            ledger.invalidate_all();
        }
        let now = filter.moment();
        let (mut deleted, mut indexes) = (0_u64, false);
        let mut chunk = Vec::with_capacity(AT_ONCE);
        let mut records = self.records();
        while let Some((key, stored)) = records.try_next().await? {
            indexes |= matches!(*stored.record, Record::Variants(_));
            let found = CachedResponse::new(stored, false, now).is_some_and(|response| filter.matches(&response));
            if found && usize::try_from(deleted).is_ok_and(|deleted| deleted < filter.at_most()) {
                deleted = deleted.saturating_add(1);
                chunk.push(key);
            }
            if chunk.len() >= AT_ONCE {
                self.remove(&chunk).await?;
                chunk.clear();
            }
        }
        drop(records);
        self.remove(&chunk).await?;
        if deleted > 0 && indexes {
            self.remove_empty_indexes().await?;
        }
        Ok(deleted)
    }

    /// Removes the indexes of URLs of which no variant is left.
    async fn remove_empty_indexes(&self) -> Result<()> {
        let mut records = self.records();
        while let Some((key, stored)) = records.try_next().await? {
            let Record::Variants(index) = &*stored.record else { continue };
            let mut left = false;
            for variant in &index.variants {
                left = left || self.contains(&variant.key).await?;
            }
            if !left {
                self.remove(&[key]).await?;
            }
        }
        Ok(())
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        if let Some(ledger) = &self.ledger {
            return Ok(ledger.lookup(key).await?.is_some());
        }
        Ok(self.cache.responses().contains(key).await? || self.cache.redirects().contains(key).await?)
    }

    async fn remove(&self, keys: &[CacheKey]) -> Result<()> {
        match &self.ledger {
            _ if keys.is_empty() => Ok(()),
            Some(ledger) => ledger.delete_now(keys).await,
            None => self.cache.delete_many(keys).await.map(drop),
        }
    }

    pub(crate) async fn size(&self) -> Result<u64> {
        self.settle().await;
        let (responses, redirects) = (self.cache.responses().size().await?, self.cache.redirects().size().await?);
        Ok(responses.saturating_add(redirects))
    }

    pub(crate) async fn bytes(&self) -> Result<u64> {
        self.settle().await;
        let mut sum = self.cache.responses().bytes().await?.saturating_add(self.cache.redirects().bytes().await?);
        if let Some(bodies) = self.cache.bodies() {
            sum = sum.saturating_add(bodies.bytes().await?);
        }
        Ok(sum)
    }

    async fn settle(&self) {
        if let Some(ledger) = &self.ledger {
            ledger.settle().await;
        }
    }

    /// The key of everything that is found by one, indexes and groups included.
    pub(super) fn keys(&self) -> BoxStream<'a, Result<CacheKey>> {
        self.records().map_ok(|(key, _)| key).boxed()
    }

    pub(super) const fn cache(&self) -> &'a dyn Cache {
        self.cache
    }

    /// What is under `key`, with its body.
    pub(super) async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        match &self.ledger {
            Some(ledger) => ledger.lookup(key).await,
            None => self.cache.get(key).await,
        }
    }
}

/// A response in an order: the greatest comes last.
struct Ranked {
    response: CachedResponse,
    by: SortBy,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.response, &other.response);
        let order = match self.by {
            SortBy::Newest => b.created_at().cmp(&a.created_at()),
            SortBy::Oldest => a.created_at().cmp(&b.created_at()),
            SortBy::Largest => b.body_len().cmp(&a.body_len()),
            SortBy::Smallest => a.body_len().cmp(&b.body_len()),
            // What never expires expires last.
            SortBy::SoonestExpiry => match (a.expires(), b.expires()) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(a), Some(b)) => a.cmp(&b),
            },
            SortBy::Url => Ordering::Equal,
        };
        order.then_with(|| a.url().cmp(b.url())).then_with(|| a.key().cmp(b.key()))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}
