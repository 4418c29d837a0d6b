//! One collection of a database as a [`Storage`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::Expected;
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::{CacheKey, Entry, NativeExpiry, Storage, StorageInfo, StorageStats};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::{Client, Collection, Database};

use crate::commands::{Order, in_turn, is_duplicate_key, to_the_end, update_many};
use crate::config::MongoConfig;
use crate::document::{self, BLOCK, Found, KEY, LEN, RETAIN_UNTIL, SUM, alive, dead, is_any_of, is_key};
use crate::error::MongoError;
use crate::schema::Schema;

/// How many keys or heads a listing reads at once.
const PAGE: i64 = 500;

/// How many whole entries a listing reads at once: each may be large.
const PAGE_OF_ENTRIES: i64 = 8;

/// How many keys one command names.
pub(crate) const KEYS_AT_ONCE: usize = 1_000;

/// How often a write is tried whose upsert lost a race for a new key.
const TRIES: u32 = 5;

/// One of the three storages of a [`MongoCache`](crate::MongoCache): a collection.
///
/// Clones are handles on the same collection; closing one storage of a cache closes all of them.
/// An operation whose future is dropped runs on to its end, in a task of its own, and has its whole effect.
#[derive(Clone)]
pub struct MongoStorage {
    pub(crate) shared: Arc<Shared>,
    pub(crate) collection: Collection<RawDocumentBuf>,
    own: Arc<Own>,
}

/// What the three storages of a cache share.
pub(crate) struct Shared {
    pub(crate) database: Database,
    /// The client, where it was made for this cache and ends with it.
    client: Option<Client>,
    closed: AtomicBool,
    clock: Arc<dyn Clock>,
    max_entry_len: u64,
}

/// What one storage has for itself.
#[derive(Debug, Default)]
struct Own {
    schema: Schema,
    order: Order,
    expected: Expected,
    corrupt: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: &MongoConfig, database: Database, is_ours: bool) -> Self {
        Self {
            client: is_ours.then(|| database.client().clone()),
            database,
            closed: AtomicBool::new(false),
            clock: config.clock.clone(),
            max_entry_len: config.max_entry_len,
        }
    }
}

impl MongoStorage {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        let collection = shared.database.collection(name);
        Self { shared, collection, own: Arc::default() }
    }

    /// Makes the index on the deadline, where that was not done yet.
    pub(crate) async fn ensure_index(&self) -> Result<(), MongoError> {
        self.own.schema.ensure(&self.collection).await
    }

    /// Whether a response is expected under `key`: of the storage of responses only.
    pub(crate) fn is_expected(&self, key: &CacheKey) -> bool {
        self.own.expected.is(key)
    }

    /// Notes whether one was found.
    pub(crate) fn expect(&self, key: &CacheKey, found: bool) {
        self.own.expected.set(key, found);
    }

    /// Looks at one document: a collection that another program fills is not ours to write to.
    pub(crate) async fn check_ownership(&self) -> Result<(), MongoError> {
        let collection = self.collection.clone();
        let projection = doc! { KEY: 1, BLOCK: 1 };
        let found = to_the_end(async move { collection.find_one(doc! {}).projection(projection).await }).await?;
        match found {
            Some(document) if document::key(&document).is_none() || document.get_binary(BLOCK).is_err() => {
                let name = self.collection.namespace();
                Err(MongoError::Setting(format!(
                    "the collection {name} has documents of another program; choose another name"
                )))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), MongoError> {
        if self.shared.closed.load(Ordering::Acquire) { Err(MongoError::Closed) } else { Ok(()) }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.shared.clock.now()
    }

    fn check_len(&self, entry: &Entry) -> Result<(), MongoError> {
        let (len, limit) = (entry.len(), self.shared.max_entry_len);
        if len > limit { Err(MongoError::TooLarge { len, limit }) } else { Ok(()) }
    }

    /// The live entry that a document is; what is damaged is counted, and removed unless it was replaced meanwhile.
    async fn live(
        &self,
        key: &CacheKey,
        document: RawDocumentBuf,
        with_body: bool,
    ) -> Result<Option<Entry>, MongoError> {
        match document::decode(document, with_body)? {
            Found::Entry(entry) => Ok(Some(entry).filter(|entry| !entry.is_dead(self.now()))),
            Found::Newer => {
                self.count_corrupt();
                Ok(None)
            }
            Found::Damaged { block } => {
                self.count_corrupt();
                if let Some(block) = block {
                    self.remove_damaged(key, &block).await;
                }
                Ok(None)
            }
        }
    }

    fn count_corrupt(&self) {
        self.own.corrupt.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes exactly the document that was read: its block names it, so that what was written since stays.
    async fn remove_damaged(&self, key: &CacheKey, block: &Bytes) {
        let (collection, mut filter) = (self.collection.clone(), is_key(key));
        filter.insert(BLOCK, document::binary(block));
        // The entry is a miss either way, and so it will be the next time.
        if let Err(error) = to_the_end(async move { collection.delete_one(filter).await }).await {
            tracing::debug!(%error, "a damaged document was not removed");
        }
    }

    /// What is found under the keys of one command, whole.
    async fn found(&self, keys: &[CacheKey]) -> Result<HashMap<CacheKey, Entry>, MongoError> {
        let (collection, filter) = (self.collection.clone(), is_any_of(keys));
        let read = async move { collection.find(filter).await?.try_collect::<Vec<_>>().await };
        let mut found = HashMap::with_capacity(keys.len());
        for document in to_the_end(read).await? {
            let Some(key) = document::key(&document) else { continue };
            if let Some(entry) = self.live(&key, document, true).await? {
                found.insert(key, entry);
            }
        }
        Ok(found)
    }
}

impl fmt::Debug for MongoStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStorage")
            .field("collection", &self.collection.namespace().to_string())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for MongoStorage {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("mongo")
            .persistent(true)
            .shared(true)
            .expiry(NativeExpiry::Lazy)
            .max_entry_len(Some(self.shared.max_entry_len))
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.check_open()?;
        let (collection, filter) = (self.collection.clone(), is_key(key));
        let Some(document) = to_the_end(async move { collection.find_one(filter).await }).await? else {
            return Ok(None);
        };
        Ok(self.live(key, document, true).await?)
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.check_open()?;
        self.check_len(&entry)?;
        let document = document::encode(key, &entry);
        self.ensure_index().await?;
        let (collection, filter) = (self.collection.clone(), is_key(key));
        let write = async move {
            let mut tries: u32 = 0;
            loop {
                tries = tries.saturating_add(1);
                match collection.replace_one(filter.clone(), &document).upsert(true).await {
                    // Two upserts of a new key: the other one made it, so that this one finds it now.
                    Err(error) if is_duplicate_key(&error) && tries < TRIES => {}
                    other => return other.map(drop),
                }
            }
        };
        let turn = self.own.order.one(key).await;
        in_turn(turn, write).await?;
        self.expect(key, true);
        Ok(())
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.check_open()?;
        // The dead go too, and are not said to have been there.
        let (collection, filter) = (self.collection.clone(), is_key(key));
        let projection = doc! { RETAIN_UNTIL: 1 };
        let delete = async move { collection.find_one_and_delete(filter).projection(projection).await };
        let turn = self.own.order.one(key).await;
        self.expect(key, false);
        let deleted = in_turn(turn, delete).await?;
        Ok(deleted.is_some_and(|document| !document::is_dead(&document, self.now())))
    }

    async fn clear(&self) -> Result<()> {
        self.check_open()?;
        // Not dropped: the collection keeps its index.
        let collection = self.collection.clone();
        let turn = self.own.order.any().await;
        in_turn(turn, async move { collection.delete_many(doc! {}).await }).await?;
        Ok(())
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.pages(Some(doc! { KEY: 1 }), PAGE).map_ok(|(key, _)| key).boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.check_open()?;
        self.ensure_index().await?;
        Ok(self.remove_expired(now).await?)
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        self.check_open()?;
        let (collection, filter) = (self.collection.clone(), is_key(key));
        let read = async move { collection.find_one(filter).projection(doc! { KEY: 1, BLOCK: 1 }).await };
        match to_the_end(read).await? {
            Some(document) => Ok(self.live(key, document, false).await?.is_some()),
            None => Ok(false),
        }
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.check_open()?;
        let mut entries = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(KEYS_AT_ONCE) {
            let found = self.found(chunk).await?;
            entries.extend(chunk.iter().map(|key| found.get(key).cloned()));
        }
        Ok(entries)
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        self.check_open()?;
        for (_, entry) in &entries {
            self.check_len(entry)?;
        }
        self.ensure_index().await?;
        for key in update_many(&self.shared.database, &self.collection, &self.own.order, &entries).await? {
            // Lost a race for a new key; the last of its entries counts.
            if let Some((key, entry)) = entries.iter().rev().find(|(one, _)| *one == key) {
                self.write(key, entry.clone()).await?;
            }
        }
        Ok(())
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        self.check_open()?;
        let mut deleted: u64 = 0;
        for chunk in keys.chunks(KEYS_AT_ONCE) {
            let (collection, now) = (self.collection.clone(), self.now());
            let (living, mut rest) = (alive(is_any_of(chunk), now), dead(now));
            rest.extend(is_any_of(chunk));
            let delete = async move {
                let result = collection.delete_many(living).await?;
                collection.delete_many(rest).await?;
                Ok(result.deleted_count)
            };
            let turn = self.own.order.any().await;
            deleted = deleted.saturating_add(in_turn(turn, delete).await?);
        }
        Ok(deleted)
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        self.check_open()?;
        self.check_len(&entry)?;
        let (update, sum) = document::refresh(&entry);
        let mut filter = alive(is_key(key), self.now());
        // A body that was replaced meanwhile keeps its own head.
        filter.insert(SUM, sum);
        let collection = self.collection.clone();
        let turn = self.own.order.one(key).await;
        Ok(in_turn(turn, async move { collection.update_one(filter, update).await }).await?.matched_count > 0)
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.pages(None, PAGE_OF_ENTRIES)
            .try_filter_map(async |(key, document)| {
                Ok(self.live(&key, document, true).await?.map(|entry| (key, entry)))
            })
            .boxed()
    }

    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.pages(Some(doc! { KEY: 1, BLOCK: 1 }), PAGE)
            .try_filter_map(async |(key, document)| {
                Ok(self.live(&key, document, false).await?.map(|entry| (key, entry)))
            })
            .boxed()
    }

    async fn size(&self) -> Result<u64> {
        self.check_open()?;
        let (collection, filter) = (self.collection.clone(), alive(doc! {}, self.now()));
        Ok(to_the_end(async move { collection.count_documents(filter).await }).await?)
    }

    async fn bytes(&self) -> Result<u64> {
        self.check_open()?;
        let sum = doc! { "$group": { "_id": null, LEN: { "$sum": format!("${LEN}") } } };
        let pipeline = [doc! { "$match": alive(doc! {}, self.now()) }, sum];
        let collection = self.collection.clone();
        let sums: Vec<Document> =
            to_the_end(async move { collection.aggregate(pipeline).await?.try_collect().await }).await?;
        let sum = sums.first().and_then(|sum| sum.get(LEN));
        // The server answers with the smallest kind of number that holds the sum.
        let sum = sum.and_then(|sum| sum.as_i64().or_else(|| sum.as_i32().map(i64::from)));
        Ok(sum.and_then(|sum| u64::try_from(sum).ok()).unwrap_or(0))
    }

    fn stats(&self) -> StorageStats {
        StorageStats::new(self.own.corrupt.load(Ordering::Relaxed), 0)
    }

    async fn close(&self) -> Result<()> {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        if let Some(client) = self.shared.client.clone() {
            to_the_end(async move {
                client.shutdown().immediate(true).await;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
