//! One of the three folders of a cache as a [`Storage`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::Result;
use hyper_client_cache_core::clock::to_millis;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage, StorageInfo, StorageStats};

use crate::engine::{Engine, Shared};
use crate::error::{self, FsError};
use crate::format::Beginning;
use crate::layout::{self, Id, Store};
use crate::ops;

/// How many entries a listing looks at before it hands some out.
const PAGE: usize = 256;

/// How many entries are changed in one piece of work, so that others get their turn.
const BATCH: usize = 1024;

/// One of the three storages of an [`FsCache`](crate::FsCache): a folder.
///
/// Clones are handles on the same folder. The three storages of a cache share a directory, a bound and threads; closing
/// one of them closes all.
///
/// Each call is one piece of work on a thread of the runtime's blocking pool, which goes on to its end where the future
/// is dropped.
#[derive(Clone)]
pub struct FsStorage {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Store,
}

impl FsStorage {
    pub(crate) const fn new(engine: Arc<Engine>, store: Store) -> Self {
        Self { engine, store }
    }

    /// How many files [`delete_expired`](Storage::delete_expired) has looked at in this cache since it was opened.
    #[must_use]
    pub fn expiry_looks(&self) -> u64 {
        self.engine.shared.visited.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Each live entry's beginning, folder after folder: a page is read when the one before is used up.
    fn beginnings(&self) -> BoxStream<'_, Result<Beginning>> {
        let start = Cursor { leaves: None, files: VecDeque::new(), page: VecDeque::new() };
        stream::try_unfold(start, move |mut cursor| async move {
            loop {
                if let Some(item) = cursor.page.pop_front() {
                    return Ok(Some((item, cursor)));
                }
                if cursor.is_done() {
                    return Ok(None);
                }
                let store = self.store;
                cursor = self.engine.read(move |shared| cursor.fill(shared, store)).await?;
            }
        })
        .boxed()
    }

    fn check_len(&self, entry: &Entry) -> error::Result<()> {
        let (len, limit) = (entry.len(), self.engine.shared.config.entry_limit());
        if len > limit { Err(FsError::TooLarge { len, limit }) } else { Ok(()) }
    }

    async fn totals(&self) -> Result<(u64, u64)> {
        self.engine.loaded().await?;
        let now = to_millis(self.engine.shared.now());
        Ok(self.engine.shared.index().totals(self.store, now))
    }
}

impl fmt::Debug for FsStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsStorage")
            .field("folder", &self.store.folder())
            .field("path", &self.engine.shared.path)
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Storage for FsStorage {
    fn info(&self) -> StorageInfo {
        let config = &self.engine.shared.config;
        StorageInfo::new("fs")
            .persistent(!config.use_temp)
            .shared(!config.use_temp)
            .max_entry_len(Some(config.entry_limit()))
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let (store, key) = (self.store, *key);
        if let Some(found) = self.engine.at_once(|shared| ops::read_at_once(shared, store, &key))? {
            return Ok(found);
        }
        Ok(self.engine.read(move |shared| ops::read(shared, store, &key)).await?)
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.engine.shared.check_open()?;
        self.check_len(&entry)?;
        let (store, key) = (self.store, *key);
        Ok(self
            .engine
            .change_later(Id::new(store, &key), move |shared| ops::write(shared, store, &key, &entry))
            .await?)
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        let (store, key) = (self.store, *key);
        Ok(self.engine.change([Id::new(store, &key)], move |shared| ops::delete(shared, store, &key)).await?)
    }

    async fn clear(&self) -> Result<()> {
        let store = self.store;
        Ok(self.engine.change_all(move |shared| ops::clear(shared, store)).await?)
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.beginnings().map_ok(|found| found.key).boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.engine.shared.check_open()?;
        self.engine.shared.check_writable()?;
        self.engine.loaded().await?;
        let store = self.store;
        Ok(self.engine.change([], move |shared| ops::delete_expired(shared, store, now)).await?)
    }

    async fn contains(&self, key: &CacheKey) -> Result<bool> {
        let id = Id::new(self.store, key);
        Ok(self.engine.read(move |shared| Ok(ops::peek(shared, &shared.folder(), id)?.is_some())).await?)
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let (store, keys) = (self.store, keys.to_vec());
        Ok(self.engine.read(move |shared| keys.iter().map(|key| ops::read(shared, store, key)).collect()).await?)
    }

    async fn write_many(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        self.engine.shared.check_open()?;
        for (_, entry) in &entries {
            self.check_len(entry)?;
        }
        let store = self.store;
        let mut entries = entries.into_iter();
        loop {
            let batch: Vec<_> = entries.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let ids: Vec<_> = batch.iter().map(|(key, _)| Id::new(store, key)).collect();
            let write =
                move |shared: &Shared| batch.iter().try_for_each(|(key, entry)| ops::write(shared, store, key, entry));
            self.engine.change(ids, write).await?;
        }
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        self.engine.shared.check_open()?;
        let store = self.store;
        let mut deleted: u64 = 0;
        for batch in keys.chunks(BATCH) {
            let batch = batch.to_vec();
            let ids: Vec<_> = batch.iter().map(|key| Id::new(store, key)).collect();
            let delete = move |shared: &Shared| {
                batch
                    .iter()
                    .try_fold(0_u64, |sum, key| Ok(sum.saturating_add(u64::from(ops::delete(shared, store, key)?))))
            };
            deleted = deleted.saturating_add(self.engine.change(ids, delete).await?);
        }
        Ok(deleted)
    }

    /// The file is written anew with its body: head and body of an entry are in one file, so that a hit opens one.
    async fn refresh(&self, key: &CacheKey, entry: Entry) -> Result<bool> {
        self.engine.shared.check_open()?;
        self.check_len(&entry)?;
        let (store, key) = (self.store, *key);
        let refresh = move |shared: &Shared| ops::refresh(shared, store, &key, &entry);
        Ok(self.engine.change_later(Id::new(store, &key), refresh).await?)
    }

    fn entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        // A few at a time: a chunk of entries may be large.
        self.keys()
            .try_chunks(8)
            .map_err(|error| error.1)
            .and_then(async |keys| {
                let found = self.read_many(&keys).await?;
                let found = keys.into_iter().zip(found).filter_map(|(key, entry)| Some(Ok((key, entry?))));
                Ok(stream::iter(found))
            })
            .try_flatten()
            .boxed()
    }

    fn heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.beginnings().map_ok(|found| (found.key, found.entry)).boxed()
    }

    async fn size(&self) -> Result<u64> {
        Ok(self.totals().await?.0)
    }

    async fn bytes(&self) -> Result<u64> {
        Ok(self.totals().await?.1)
    }

    fn stats(&self) -> StorageStats {
        self.engine.shared.stats(self.store)
    }

    async fn close(&self) -> Result<()> {
        Ok(self.engine.close().await?)
    }
}

/// How far a listing has come.
struct Cursor {
    /// The folders that were not listed yet; `None` before the first look.
    leaves: Option<VecDeque<u8>>,
    /// The files of a folder that were not looked at yet.
    files: VecDeque<Id>,
    page: VecDeque<Beginning>,
}

impl Cursor {
    fn is_done(&self) -> bool {
        self.page.is_empty() && self.files.is_empty() && self.leaves.as_ref().is_some_and(VecDeque::is_empty)
    }

    /// Looks at the next entries, on a blocking thread.
    fn fill(mut self, shared: &Shared, store: Store) -> error::Result<Self> {
        let folder = shared.folder();
        if self.leaves.is_none() {
            let leaves = layout::leaves(folder.store(store));
            self.leaves = Some(leaves.map_err(FsError::io("a folder cannot be listed"))?.into());
        }
        while self.page.len() < PAGE {
            match self.files.pop_front() {
                Some(id) => self.page.extend(ops::peek(shared, &folder, id)?),
                None => match self.leaves.as_mut().and_then(VecDeque::pop_front) {
                    Some(leaf) => self.files.extend(ops::names(&folder, store, leaf)?),
                    None => break,
                },
            }
        }
        Ok(self)
    }
}
