//! One kind of items in a table as a [`Storage`].

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use hyper_client_cache_core::Result;
use hyper_client_cache_core::storage::{CacheKey, Entry, NativeExpiry, Storage, StorageInfo, StorageStats};

use crate::batch::Change;
use crate::error;
use crate::head::Parts;
use crate::item::{Expression, Item, Kind};
use crate::table::Table;

/// How many listed items that turn out damaged are removed at once.
const LISTED_AT_ONCE: usize = 8;

/// One of the three storages of a [`DynamoDbCache`](crate::DynamoDbCache): the items of one kind.
///
/// Clones are handles on the same thing; closing one storage of a cache closes all. It is the bare storage: no deadline
/// but the driver's time-outs, no breaker.
///
/// A write is acknowledged once the service has it on several disks. A future that is dropped may still have its effect,
/// whole.
#[derive(Clone)]
pub struct DynamoDbStorage {
    pub(crate) table: Arc<Table>,
    pub(crate) kind: Kind,
}

impl DynamoDbStorage {
    pub(crate) const fn new(table: Arc<Table>, kind: Kind) -> Self {
        Self { table, kind }
    }

    async fn item(&self, key: &CacheKey, attributes: &[&str]) -> error::Result<Option<Item>> {
        let table = &self.table;
        let request = || {
            let request = table
                .client
                .get_item()
                .table_name(&table.name)
                .set_key(Some(table.attributes.primary(self.kind, key)))
                .consistent_read(table.consistent_read);
            if attributes.is_empty() {
                return request.send();
            }
            let (text, names) = table.projection(attributes);
            request.projection_expression(text).set_expression_attribute_names(Some(names)).send()
        };
        Ok(table.call("GetItem", request).await?.item)
    }

    /// The live entry of an item, whole.
    pub(crate) async fn live(&self, key: &CacheKey, mut item: Item) -> Option<Entry> {
        let entry = self.table.attributes.read(&mut item);
        self.alive(key, entry).await
    }

    /// The live entry of an item of which the head was read, without its body.
    pub(crate) async fn live_head(&self, key: &CacheKey, mut item: Item) -> Option<Entry> {
        let entry = self.table.attributes.read_head(&mut item);
        self.alive(key, entry).await
    }

    async fn alive(&self, key: &CacheKey, entry: std::result::Result<Entry, crate::item::Damaged>) -> Option<Entry> {
        match entry {
            Ok(entry) => Some(entry).filter(|entry| !entry.is_dead(self.table.now())),
            Err(damaged) => {
                self.table.drop_damaged(self.kind, key, damaged).await;
                None
            }
        }
    }

    fn live_filter(&self) -> impl Fn() -> Expression + Clone + Send + use<> {
        let (table, kind) = (Arc::clone(&self.table), self.kind);
        move || Expression::kind(&table.attributes, kind).and(Expression::live(&table.attributes, table.now()))
    }

    /// The places of live items, with these attributes.
    fn listed(&self, attributes: &[&str]) -> BoxStream<'static, error::Result<(CacheKey, Item)>> {
        let (table, kind) = (Arc::clone(&self.table), self.kind);
        let items = self.table.scan(self.live_filter(), attributes, self.table.consistent_read);
        let placed = items.try_filter_map(move |item| {
            let place = table.attributes.place(&item);
            if place.is_none() {
                table.count_corrupt(kind);
            }
            std::future::ready(Ok(place.map(|(_, key)| (key, item))))
        });
        placed.boxed()
    }
}

impl fmt::Debug for DynamoDbStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDbStorage")
            .field("table", &self.table)
            .field("kind", &self.kind.name())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for DynamoDbStorage {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("dynamodb")
            .persistent(true)
            .shared(true)
            .expiry(NativeExpiry::Lazy)
            .max_entry_len(Some(self.table.max_entry_len))
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        match self.item(key, &[]).await? {
            Some(item) => Ok(self.live(key, item).await),
            None => Ok(None),
        }
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        let table = &self.table;
        table.check_open()?;
        table.check_len(&entry)?;
        let item = table.attributes.item(self.kind, key, entry);
        let request = table.client.put_item().table_name(&table.name).set_item(Some(item));
        table.call("PutItem", || request.clone().send()).await?;
        Ok(())
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        Ok(self.table.delete(self.kind, key).await?)
    }

    async fn clear(&self) -> Result<()> {
        Ok(self.table.clear(&[self.kind]).await?)
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.listed(&[]).map_ok(|(key, _)| key).err_into().boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        Ok(self.table.expire(self.kind, now).await?)
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        match self.item(key, &[&self.table.attributes.head]).await? {
            Some(item) => Ok(self.live_head(key, item).await.is_some()),
            None => Ok(false),
        }
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.table.check_open()?;
        let places = keys.iter().map(|key| (self.kind, *key));
        let mut found = std::collections::HashMap::new();
        for ((_, key), item) in self.table.read_batch(places, &[], self.table.consistent_read).await? {
            found.insert(key, self.live(&key, item).await);
        }
        Ok(keys.iter().map(|key| found.get(key).cloned().flatten()).collect())
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        let changes = entries.into_iter().map(|(key, entry)| Change::Put(self.kind, key, entry));
        Ok(self.table.write_batch(changes).await?)
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        let table = &self.table;
        table.check_open()?;
        let places = keys.iter().map(|key| (self.kind, *key));
        // Looked at first, because a batch does not say what was there. Consistent: what was just written must go, too.
        let found = table.read_batch(places, &[&table.attributes.retain_until], true).await?;
        let now = table.now();
        let live = found.values().filter(|item| !table.attributes.is_dead(item, now)).count();
        table.write_batch(found.into_keys().map(|(kind, key)| Change::Delete(kind, key))).await?;
        Ok(live as u64)
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        Ok(self.renew(key, entry, Parts::Any).await?)
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        let attributes = &self.table.attributes;
        self.listed(&[&attributes.head, &attributes.body])
            .map_ok(async |(key, item)| Ok(self.live(&key, item).await.map(|entry| (key, entry))))
            .try_buffer_unordered(LISTED_AT_ONCE)
            .try_filter_map(async |found| Ok(found))
            .err_into()
            .boxed()
    }

    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.listed(&[&self.table.attributes.head])
            .map_ok(async |(key, item)| Ok(self.live_head(&key, item).await.map(|entry| (key, entry))))
            .try_buffer_unordered(LISTED_AT_ONCE)
            .try_filter_map(async |found| Ok(found))
            .err_into()
            .boxed()
    }

    async fn size(&self) -> Result<u64> {
        Ok(self.table.count(self.live_filter()).await?)
    }

    async fn bytes(&self) -> Result<u64> {
        let len = self.table.attributes.len.clone();
        let lens = self.listed(&[&len]).map_ok(|(_, item)| {
            let len = item.get(&len).and_then(|value| value.as_n().ok()?.parse::<u64>().ok());
            len.unwrap_or_default()
        });
        Ok(lens.try_fold(0_u64, async |sum, len| Ok(sum.saturating_add(len))).await?)
    }

    fn stats(&self) -> StorageStats {
        self.table.stats(self.kind)
    }

    async fn close(&self) -> Result<()> {
        self.table.close();
        Ok(())
    }
}

impl Table {
    /// Removes every item of these kinds.
    pub(crate) async fn clear(self: &Arc<Self>, kinds: &[Kind]) -> error::Result<()> {
        self.check_open()?;
        let (names, wanted) = (self.attributes.clone(), kinds.to_vec());
        let filter = move || {
            let mut expression = Expression::default().name("#kind", &names.kind);
            let mut texts = Vec::with_capacity(wanted.len());
            for (at, kind) in wanted.iter().enumerate() {
                let value = aws_sdk_dynamodb::types::AttributeValue::S(kind.name().to_owned());
                expression = expression.value(&format!(":k{at}"), value);
                texts.push(format!("#kind = :k{at}"));
            }
            expression.text(&texts.join(" OR "))
        };
        // Consistent: what was just written must go, too.
        let items = self.scan(filter, &[], true).try_chunks(100).map_err(|error| error.1);
        items
            .try_for_each(async |items| {
                // An item of ours that has no key of ours goes as well: it is in nobody's way but ours.
                let places = items.iter().filter_map(|item| self.attributes.place(item));
                self.write_batch(places.map(|(kind, key)| Change::Delete(kind, key))).await
            })
            .await
    }
}
