//! The cache that a session is given: three kinds of items in one table.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::{Cache, CacheHandle, Expected, Heads, MaybeGuarded, Record, Stored, codec, parts};
use hyper_client_cache_core::storage::{CacheKey, Guard, Storage};

use crate::batch::{Change, Place};
use crate::config::{DynamoDbConfig, Protection};
use crate::error;
use crate::head::Parts;
use crate::item::{Expression, Item, Kind};
use crate::schema;
use crate::storage::DynamoDbStorage;
use crate::table::Table;

/// A cache in a table of DynamoDB. Cheap to clone; clones are handles on the same thing.
///
/// The table may be used by any number of processes at once. See the [crate's documentation](crate) for what is set how,
/// what is atomic and what it costs.
#[derive(Clone)]
pub struct DynamoDbCache(Arc<Inner>);

struct Inner {
    table: Arc<Table>,
    cache: MaybeGuarded<Storages>,
}

impl DynamoDbCache {
    /// Options for the table of this name.
    pub fn builder(table: impl Into<String>) -> DynamoDbConfig {
        DynamoDbConfig::new(table)
    }

    /// The guard before the table, for its counters and its state; `None` where there is none.
    #[must_use]
    pub fn guard(&self) -> Option<&Guard> {
        self.0.cache.guard()
    }

    pub(crate) fn from_config(config: &DynamoDbConfig) -> error::Result<Self> {
        let table = Arc::new(Table::new(config)?);
        let guard = match &config.guard {
            Protection::Default => Some(Guard::default()),
            Protection::Guard(guard) => Some(guard.clone()),
            Protection::None => None,
        };
        let cache = MaybeGuarded::new(Storages::new(&table), guard.as_ref());
        Ok(Self(Arc::new(Inner { table, cache })))
    }

    pub(crate) async fn prepare(&self) -> error::Result<()> {
        schema::prepare(&self.0.table).await
    }
}

impl fmt::Debug for DynamoDbCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guarded = self.0.cache.guard().is_some();
        f.debug_struct("DynamoDbCache").field("table", &self.0.table).field("guarded", &guarded).finish()
    }
}

impl CacheHandle for DynamoDbCache {
    fn cache(&self) -> &dyn Cache {
        self.0.cache.cache()
    }
}

/// The storages themselves, and what DynamoDB does in fewer round trips than the provided methods.
#[derive(Debug)]
struct Storages {
    table: Arc<Table>,
    responses: DynamoDbStorage,
    redirects: DynamoDbStorage,
    bodies: DynamoDbStorage,
    expected: Expected,
    heads: Heads,
}

#[async_trait]
impl Cache for Storages {
    fn responses(&self) -> &dyn Storage {
        &self.responses
    }

    fn redirects(&self) -> &dyn Storage {
        &self.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        Some(&self.bodies)
    }

    /// One round trip: a response alone where one is expected, else response and redirect, which lie side by side. Two where
    /// an expected one is gone.
    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        self.look_up(key).await
    }

    /// One round trip, one more where the parts of a replaced body must go, and one where another writer was first.
    async fn put(&self, key: &CacheKey, stored: Stored, replaced: Option<&Stored>) -> Result<()> {
        self.store(key, stored, replaced).await
    }

    /// Where the parts are others by now, nothing happens: their head is the later one.
    async fn refresh(&self, key: &CacheKey, stored: Stored) -> Result<bool> {
        let kind = if stored.record.is_redirect() { Kind::Redirect } else { Kind::Response };
        let parts = stored.record.parts_id().map(str::to_owned);
        let entry = codec::encode(stored)?;
        Ok(self.storage(kind).renew(key, entry, Parts::Of(parts.as_deref())).await?)
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        Ok(self.remove(std::slice::from_ref(key)).await? > 0)
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        self.remove(keys).await
    }

    async fn delete_parts(&self, record: &Record) -> Result<()> {
        Ok(self.table.write_batch(deletions_of_parts(record)).await?)
    }

    /// One scan for all three storages.
    async fn clear(&self) -> Result<()> {
        Ok(self.table.clear(&Kind::ALL).await?)
    }
}

impl Storages {
    fn new(table: &Arc<Table>) -> Self {
        let storage = |kind| DynamoDbStorage::new(Arc::clone(table), kind);
        Self {
            table: Arc::clone(table),
            responses: storage(Kind::Response),
            redirects: storage(Kind::Redirect),
            bodies: storage(Kind::Part),
            expected: Expected::default(),
            heads: Heads::default(),
        }
    }

    const fn storage(&self, kind: Kind) -> &DynamoDbStorage {
        match kind {
            Kind::Response => &self.responses,
            Kind::Redirect => &self.redirects,
            Kind::Part => &self.bodies,
        }
    }

    async fn look_up(&self, key: &CacheKey) -> Result<Option<Stored>> {
        // Of response and redirect the service sends one as fast as it can, and both only by a query, which costs it half
        // as much again.
        if self.expected.is(key) {
            if let Some(stored) = self.responses.read(key).await?.and_then(|entry| self.heads.decode(entry)) {
                return Ok(Some(stored));
            }
            self.expected.set(key, false);
            return Ok(self.redirects.read(key).await?.and_then(|entry| self.heads.decode(entry)));
        }
        self.query(key).await
    }

    /// The response of a key, or its redirect, in one round trip.
    async fn query(&self, key: &CacheKey) -> Result<Option<Stored>> {
        let table = &self.table;
        let request = table
            .client
            .query()
            .table_name(&table.name)
            .key_condition_expression("#key = :key")
            .expression_attribute_names("#key", &table.attributes.key)
            .expression_attribute_values(":key", AttributeValue::S(key.to_string()))
            .consistent_read(table.consistent_read);
        let found = table.call("Query", || request.clone().send()).await?.items.unwrap_or_default();
        let mut redirect = None;
        for item in found {
            match table.attributes.place(&item) {
                Some((Kind::Response, _)) => {
                    if let Some(stored) =
                        self.responses.live(key, item).await.and_then(|entry| self.heads.decode(entry))
                    {
                        self.expected.set(key, true);
                        return Ok(Some(stored));
                    }
                }
                Some((Kind::Redirect, _)) => redirect = Some(item),
                _ => {}
            }
        }
        match redirect {
            Some(item) => Ok(self.redirects.live(key, item).await.and_then(|entry| self.heads.decode(entry))),
            None => Ok(None),
        }
    }

    async fn store(&self, key: &CacheKey, stored: Stored, replaced: Option<&Stored>) -> Result<()> {
        let is_redirect = stored.record.is_redirect();
        let own = stored.record.parts_id().map(str::to_owned);
        let known = replaced.and_then(|old| old.record.parts_id());
        let entry = codec::encode(stored)?;
        let (kind, other) =
            if is_redirect { (Kind::Redirect, Kind::Response) } else { (Kind::Response, Kind::Redirect) };
        // A response hides a redirect of its key, so a redirect cannot leave one there, whatever the caller knows.
        let is_switch = is_redirect || replaced.is_some_and(|old| old.record.is_redirect());
        let mut gone = Vec::new();
        if is_switch && own.is_none() && known.is_none() {
            self.table.write_batch([Change::Put(kind, *key, entry), Change::Delete(other, *key)]).await?;
        } else {
            gone = self.table.put_head(kind, key, entry, own.as_deref(), known).await?;
            if is_switch {
                self.table.delete_if(other, key, Expression::present(&self.table.attributes)).await?;
            }
        }
        self.expected.set(key, !is_redirect);
        gone.extend(replaced.map(|old| old.record.clone()));
        gone.retain(|old| old.parts_id() != own.as_deref());
        let parts: Vec<Change> = gone.iter().flat_map(|old| deletions_of_parts(old)).collect();
        if !parts.is_empty() {
            self.table.write_batch(parts).await?;
        }
        Ok(())
    }

    /// Removes what is there under these keys with its parts, and says under how many something was alive.
    async fn remove(&self, keys: &[CacheKey]) -> Result<u64> {
        let table = &self.table;
        table.check_open()?;
        let places = keys.iter().flat_map(|key| [(Kind::Response, *key), (Kind::Redirect, *key)]);
        let attributes = [table.attributes.head.as_str(), table.attributes.retain_until.as_str()];
        // Consistent: what was just written must go, too.
        let found = table.read_batch(places, &attributes, true).await?;
        for key in keys {
            self.expected.set(key, false);
        }
        let now = table.now();
        let live: HashSet<CacheKey> =
            found.iter().filter(|(_, item)| !table.attributes.is_dead(item, now)).map(|((_, key), _)| *key).collect();
        let mut changes = Vec::with_capacity(found.len());
        for (place, item) in found {
            changes.extend(self.deletions(place, item));
        }
        table.write_batch(changes).await?;
        Ok(live.len() as u64)
    }

    fn deletions(&self, (kind, key): Place, mut item: Item) -> Vec<Change> {
        let mut changes = vec![Change::Delete(kind, key)];
        // Bytes that are no head of ours name no parts.
        if let Some(stored) = self.table.attributes.read_head(&mut item).ok().and_then(codec::decode) {
            changes.extend(deletions_of_parts(&stored.record));
        }
        changes
    }
}

fn deletions_of_parts(record: &Record) -> Vec<Change> {
    parts::keys_of(record).into_iter().flatten().map(|key| Change::Delete(Kind::Part, key)).collect()
}
