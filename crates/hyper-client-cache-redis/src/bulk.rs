//! Many entries at once: what goes to the server together, and in which pieces.

use std::collections::HashSet;

use bytes::Bytes;
use fred::types::Value;
use hyper_client_cache_core::storage::{CacheKey, Entry};

use crate::error::Result;
use crate::link::{Command, is_of_the_key};
use crate::storage::{RedisStorage, bytes, optional_bytes};

/// The most entries that are written or removed at once.
const BATCH: usize = 256;

/// The most bytes that are sent at once, unless one entry has more.
const BATCH_BYTES: usize = 4 << 20;

/// How many whole entries are read at once.
pub(crate) const READ_BATCH: usize = 32;

impl RedisStorage {
    pub(crate) async fn read_entries(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.shared.link.check_open()?;
        let mut entries = Vec::with_capacity(keys.len());
        for batch in keys.chunks(READ_BATCH) {
            entries.append(&mut self.read_batch(batch).await?);
        }
        Ok(entries)
    }

    /// Reads entries in one round trip.
    pub(crate) async fn read_batch(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let values = self.shared.link.run(keys.iter().map(|key| Command::Get(self.key(key))).collect()).await?;
        let mut entries = Vec::with_capacity(keys.len());
        for (key, value) in keys.iter().zip(values) {
            let value = self.value(key, value.and_then(optional_bytes)).await?;
            entries.push(self.entry(key, value).await);
        }
        Ok(entries)
    }

    pub(crate) async fn write_entries(&self, entries: Vec<(CacheKey, Entry)>) -> Result<()> {
        self.shared.link.check_open()?;
        entries.iter().try_for_each(|(_, entry)| self.check_len(entry))?;
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let (mut commands, mut size) = (Vec::new(), 0_usize);
            while commands.len() < BATCH
                && size < BATCH_BYTES
                && let Some((key, entry)) = entries.next()
            {
                size = size.saturating_add(usize::try_from(entry.len()).unwrap_or(usize::MAX));
                commands.push(self.store(&key, &entry, false));
            }
            for result in self.shared.link.run(commands).await? {
                self.noticed(result)?;
            }
        }
        Ok(())
    }

    pub(crate) async fn delete_entries(&self, keys: &[CacheKey]) -> Result<u64> {
        self.shared.link.check_open()?;
        let mut deleted: u64 = 0;
        for batch in keys.chunks(BATCH) {
            deleted = deleted.saturating_add(self.delete_batch(batch).await?);
        }
        Ok(deleted)
    }

    /// Removes keys, and says how many of them had a live entry.
    pub(crate) async fn delete_batch(&self, keys: &[CacheKey]) -> Result<u64> {
        let mut seen = HashSet::new();
        let keys: Vec<_> = keys.iter().filter(|key| seen.insert(**key)).collect();
        let mut commands: Vec<_> = keys.iter().map(|key| self.beginning(key)).collect();
        commands.extend(self.shared.link.unlinks(keys.iter().map(|key| self.key(key)).collect()));
        let mut results = self.shared.link.run(commands).await?.into_iter();
        let mut live: u64 = 0;
        for beginning in results.by_ref().take(keys.len()) {
            let beginning = match beginning.and_then(bytes) {
                Err(error) if is_of_the_key(&error) => Bytes::new(),
                other => other?,
            };
            live = live.saturating_add(u64::from(self.is_live(&beginning)));
        }
        // Somebody else may have removed them between the two.
        Ok(live.min(sum(results)?))
    }

    /// Removes keys, and says how many were there.
    pub(crate) async fn unlink_batch(&self, keys: &[CacheKey]) -> Result<u64> {
        let commands = self.shared.link.unlinks(keys.iter().map(|key| self.key(key)).collect());
        sum(self.shared.link.run(commands).await?)
    }

    /// Runs commands whose answers say nothing, a batch at a time.
    pub(crate) async fn run_all(&self, commands: Vec<Command>) -> Result<()> {
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            for result in self.shared.link.run(commands.by_ref().take(BATCH).collect()).await? {
                self.noticed(result)?;
            }
        }
        Ok(())
    }
}

/// What several commands have removed.
fn sum(removed: impl IntoIterator<Item = Result<Value>>) -> Result<u64> {
    removed.into_iter().try_fold(0, |sum: u64, removed| Ok(sum.saturating_add(removed?.convert()?)))
}
