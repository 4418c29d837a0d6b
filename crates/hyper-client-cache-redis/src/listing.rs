//! Everything that is stored, page after page: keys, heads, entries, lengths, and what goes through all of it to remove.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::clock::{Clock, to_millis};
use hyper_client_cache_core::storage::frame::{self, PREFIX_LEN};
use hyper_client_cache_core::storage::{CacheKey, Entry};

use crate::bulk::READ_BATCH;
use crate::error::{RedisError, Result};
use crate::link::Command;
use crate::scan;
use crate::storage::{RedisStorage, bytes, is_over};

/// What is read of a value where its head is wanted: more than most heads have. A longer one is read again.
const HEAD_GUESS: usize = 2048;

/// How far the server's clock may be behind the moment that clearing away is asked for, and still be trusted to have
/// done it: clocks differ a little.
const CLOCK_SKEW: i64 = 1000;

impl RedisStorage {
    pub(crate) fn list_keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.beginnings(PREFIX_LEN)
            .map_ok(|page| {
                let live = page.into_iter().filter(|(_, beginning)| self.is_live(beginning));
                stream::iter(live.map(|(key, _)| Ok::<_, RedisError>(key)).collect::<Vec<_>>())
            })
            .try_flatten()
            .boxed()
    }

    pub(crate) fn list_entries(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        scan::pages(Arc::clone(&self.shared.link), Arc::clone(&self.space))
            .map_ok(|keys| stream::iter(keys.into_iter().map(Ok::<_, RedisError>)))
            .try_flatten()
            // A few at a time: a page of entries may be large.
            .try_chunks(READ_BATCH)
            .map_err(|error| error.1)
            .and_then(async |keys: Vec<CacheKey>| {
                let found = self.read_batch(&keys).await?;
                let found =
                    keys.into_iter().zip(found).filter_map(|(key, entry)| Some(Ok::<_, RedisError>((key, entry?))));
                Ok(stream::iter(found.collect::<Vec<_>>()))
            })
            .try_flatten()
            .boxed()
    }

    pub(crate) fn list_heads(&self) -> BoxStream<'_, Result<(CacheKey, Entry)>> {
        self.beginnings(HEAD_GUESS)
            .map_ok(|page| stream::iter(page.into_iter().map(Ok::<_, RedisError>)))
            .try_flatten()
            .try_filter_map(async |(key, beginning): (CacheKey, Bytes)| {
                Ok(self.head(&key, beginning).await?.map(|entry| (key, entry)))
            })
            .boxed()
    }

    /// The bytes that all live entries have.
    pub(crate) async fn sum_of_lens(&self) -> Result<u64> {
        let mut pages = self.beginnings(PREFIX_LEN);
        let mut sum: u64 = 0;
        while let Some(page) = pages.try_next().await? {
            let now = self.shared.clock.now();
            let layouts = page.iter().filter_map(|(_, beginning)| frame::layout(beginning).ok());
            let live = layouts.filter(|layout| !is_over(layout.retain_until, now));
            sum = live.fold(sum, |sum, layout| sum.saturating_add(layout.head_len).saturating_add(layout.body_len));
        }
        Ok(sum)
    }

    pub(crate) async fn expire(&self, now: SystemTime) -> Result<u64> {
        // The server removes by its own clock, and has removed what was dead by then.
        if to_millis(now) <= self.shared.link.time().await?.saturating_add(CLOCK_SKEW) {
            return Ok(0);
        }
        let mut pages = self.beginnings(PREFIX_LEN);
        let mut removed: u64 = 0;
        while let Some(page) = pages.try_next().await? {
            let is_dead =
                |beginning: &Bytes| frame::layout(beginning).is_ok_and(|found| is_over(found.retain_until, now));
            let dead: Vec<_> =
                page.into_iter().filter(|(_, beginning)| is_dead(beginning)).map(|(key, _)| key).collect();
            removed = removed.saturating_add(self.unlink_batch(&dead).await?);
        }
        Ok(removed)
    }

    pub(crate) async fn clear_all(&self) -> Result<()> {
        let mut pages = scan::pages(Arc::clone(&self.shared.link), Arc::clone(&self.space));
        while let Some(keys) = pages.try_next().await? {
            self.unlink_batch(&keys).await?;
        }
        Ok(())
    }

    /// Pages of keys with the first `len` bytes of their values.
    fn beginnings(&self, len: usize) -> BoxStream<'_, Result<Vec<(CacheKey, Bytes)>>> {
        scan::pages(Arc::clone(&self.shared.link), Arc::clone(&self.space))
            .and_then(move |keys| async move {
                let commands = keys.iter().map(|key| Command::Beginning { key: self.key(key), len }).collect();
                let values = self.shared.link.run(commands).await?;
                let mut page = Vec::with_capacity(keys.len());
                for (key, value) in keys.into_iter().zip(values) {
                    let value = self.value(&key, value.and_then(bytes)).await?;
                    // Gone since it was listed.
                    if !value.is_empty() {
                        page.push((key, value));
                    }
                }
                Ok(page)
            })
            .boxed()
    }

    /// The head of an entry of which `beginning` was read; `None` where there is none that lives.
    async fn head(&self, key: &CacheKey, beginning: Bytes) -> Result<Option<Entry>> {
        let layout = match frame::layout(&beginning) {
            Ok(layout) => layout,
            Err(error) => {
                self.damaged(key, error).await;
                return Ok(None);
            }
        };
        if is_over(layout.retain_until, self.shared.clock.now()) {
            return Ok(None);
        }
        let len = usize::try_from(layout.head_len.min(self.shared.max_entry_len)).unwrap_or(usize::MAX);
        let end = PREFIX_LEN.saturating_add(len);
        let block = match beginning.len() {
            read if read >= end => beginning.slice(..end),
            read if read < HEAD_GUESS => beginning,
            _ => self.value(key, self.shared.link.beginning(self.key(key), end).await).await?,
        };
        if block.is_empty() {
            return Ok(None);
        }
        match frame::unblock_head(&block) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) => {
                self.damaged(key, error).await;
                Ok(None)
            }
        }
    }
}
