//! One table of a database as a [`Storage`].

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::Result;
use hyper_client_cache_core::clock::to_millis;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage, StorageInfo, StorageStats};
use sqlx::{Row as _, SqlStr};

use crate::engine::Engine;
use crate::error::SqliteError;
use crate::queue::Task;
use crate::sql::{MAX_ROWS, Table, hash_of};

/// How many rows a listing reads at once.
const PAGE: i64 = 256;

/// One of the three storages of a [`SqliteCache`](crate::SqliteCache): a table.
///
/// Clones are handles on the same table. The three storages of a cache share one file, one writer and the connections
/// that read; closing one of them closes all.
///
/// A write is acknowledged once it is committed. A future that is dropped may still have its effect, whole.
#[derive(Clone)]
pub struct SqliteStorage {
    pub(crate) engine: Arc<Engine>,
    pub(crate) table: Table,
}

impl SqliteStorage {
    pub(crate) const fn new(engine: Arc<Engine>, table: Table) -> Self {
        Self { engine, table }
    }

    /// Pages of a listing in the order of rows, each read when the one before is used up: constant memory, and no
    /// connection is kept between two pages.
    fn pages<T: Send + 'static>(
        &self,
        text: SqlStr,
        parse: impl Fn(&Self, CacheKey, Bytes) -> Option<T> + Send + Sync + Copy + 'static,
    ) -> BoxStream<'_, Result<T>> {
        struct Cursor<T> {
            after: Option<i64>,
            page: VecDeque<T>,
        }
        let start = Cursor { after: Some(i64::MIN), page: VecDeque::new() };
        stream::try_unfold(start, move |mut cursor| {
            let text = text.clone();
            async move {
                loop {
                    if let Some(item) = cursor.page.pop_front() {
                        return Ok(Some((item, cursor)));
                    }
                    let Some(after) = cursor.after.take() else { return Ok(None) };
                    let rows = self.page(text.clone(), after).await?;
                    if i64::try_from(rows.len()).is_ok_and(|len| len >= PAGE) {
                        cursor.after = rows.last().map(|(row, ..)| *row);
                    }
                    for (_, key, block) in rows {
                        match CacheKey::new(&key) {
                            Ok(key) => cursor.page.extend(parse(self, key, block)),
                            Err(_) => self.engine.shared.count_corrupt(self.table),
                        }
                    }
                }
            }
        })
        .boxed()
    }

    async fn page(&self, text: SqlStr, after: i64) -> Result<Vec<(i64, String, Bytes)>> {
        self.engine.shared.check_open()?;
        let generation = self.engine.shared.readers.generation();
        let read = async {
            let mut lease = self.engine.shared.readers.lease().await?;
            let now = to_millis(self.engine.shared.now());
            let query = sqlx::query(text).bind(after).bind(now).bind(PAGE);
            let rows = query.fetch_all(lease.sqlite()?).await?;
            let mut page = Vec::with_capacity(rows.len());
            for row in rows {
                let block = match row.len() {
                    0..=2 => Bytes::new(),
                    _ => Bytes::copy_from_slice(row.try_get::<&[u8], _>(2)?),
                };
                page.push((row.try_get(0)?, row.try_get(1)?, block));
            }
            Ok::<_, SqliteError>(page)
        };
        match read.await {
            Ok(page) => Ok(page),
            Err(error) => {
                self.engine.after_fault(generation, error).await?;
                Ok(Vec::new())
            }
        }
    }

    async fn entries_of(&self, keys: &[CacheKey]) -> Result<HashMap<CacheKey, Entry>> {
        self.engine.shared.check_open()?;
        let generation = self.engine.shared.readers.generation();
        let read = async {
            let mut lease = self.engine.shared.readers.lease().await?;
            lease.read_many(self.table, keys).await
        };
        match read.await {
            Ok(rows) => Ok(rows
                .into_iter()
                .filter_map(|(key, row)| Some((key, self.engine.decode(self.table, &key, row)?)))
                .collect()),
            Err(error) => {
                self.engine.after_fault(generation, error).await?;
                Ok(HashMap::new())
            }
        }
    }
}

impl fmt::Debug for SqliteStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStorage")
            .field("table", &self.table.name())
            .field("path", &self.engine.path())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for SqliteStorage {
    fn info(&self) -> StorageInfo {
        let config = self.engine.shared.config();
        StorageInfo::new("sqlite")
            .persistent(!config.use_temp)
            .shared(!config.use_temp)
            .max_entry_len(Some(self.engine.shared.max_entry_len()))
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        Ok(self.engine.read(self.table, key).await?)
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.engine.shared.check_open()?;
        let row = self.engine.new_row(entry)?;
        self.engine.submit(Task::Write(self.table, *key, row)).await?;
        Ok(())
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        Ok(self.engine.submit(Task::Delete(self.table, *key)).await? > 0)
    }

    async fn clear(&self) -> Result<()> {
        self.engine.submit(Task::Clear(self.table)).await?;
        Ok(())
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.pages(self.table.keys(), |_, key, _| Some(key))
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        Ok(self.engine.submit(Task::Expire(self.table, now)).await?)
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        self.engine.shared.check_open()?;
        let generation = self.engine.shared.readers.generation();
        let read = async {
            let mut lease = self.engine.shared.readers.lease().await?;
            let query = sqlx::query(self.table.block()).bind(hash_of(key)).bind(key.to_string());
            let row = query.fetch_optional(lease.sqlite()?).await?;
            row.map(|row| Ok(Bytes::copy_from_slice(row.try_get::<&[u8], _>(0)?))).transpose()
        };
        match read.await {
            Ok(block) => Ok(block.and_then(|block| self.engine.decode_head(self.table, key, block)).is_some()),
            Err(error) => {
                self.engine.after_fault(generation, error).await?;
                Ok(false)
            }
        }
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let mut entries = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(MAX_ROWS) {
            let found = self.entries_of(chunk).await?;
            entries.extend(chunk.iter().map(|key| found.get(key).cloned()));
        }
        Ok(entries)
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        let task = |(key, entry)| Ok(Task::Write(self.table, key, self.engine.new_row(entry)?));
        self.engine.submit_all(entries.into_iter().map(task)).await?;
        Ok(())
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        let tasks = keys.iter().map(|key| Ok(Task::Delete(self.table, *key)));
        Ok(self.engine.submit_all(tasks).await?)
    }

    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        self.engine.shared.check_open()?;
        let row = self.engine.new_row(entry)?;
        Ok(self.engine.submit(Task::Refresh(self.table, *key, row)).await? > 0)
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        // A few at a time: a chunk of entries may be large.
        self.keys()
            .try_chunks(8)
            .map_err(|error| error.1)
            .and_then(async |keys| {
                let found = self.entries_of(&keys).await?;
                Ok(stream::iter(found.into_iter().map(Ok)))
            })
            .try_flatten()
            .boxed()
    }

    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.pages(self.table.heads(), |storage, key, block| {
            Some((key, storage.engine.decode_head(storage.table, &key, block)?))
        })
    }

    async fn size(&self) -> Result<u64> {
        Ok(self.engine.number(self.table.size()).await?)
    }

    async fn bytes(&self) -> Result<u64> {
        Ok(self.engine.number(self.table.bytes()).await?)
    }

    fn stats(&self) -> StorageStats {
        self.engine.shared.stats(self.table)
    }

    async fn close(&self) -> Result<()> {
        Ok(self.engine.close().await?)
    }
}
