//! What the handles on a database and its writer share: settings, readers, counts, the order of use, clock.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Instant, SystemTime};

use hyper_client_cache_core::clock::to_millis;
use hyper_client_cache_core::storage::{CacheKey, StorageStats, TieredStorage};
use sqlx::Row as _;

use crate::absent::Absent;
use crate::config::SqliteConfig;
use crate::error::{Result, SqliteError};
use crate::orphans::Sweep;
use crate::queue;
use crate::reader::Readers;
use crate::sql::Table;
use crate::uses::Uses;

/// What handles and writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: SqliteConfig,
    pub(crate) path: Option<std::path::PathBuf>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) uses: Uses,
    pub(crate) closed: AtomicBool,
    pub(crate) last_stamp: AtomicI64,
    pub(crate) corrupt: [AtomicU64; 3],
    pub(crate) evicted: [AtomicU64; 3],
    pub(crate) orphans: Sweep,
    pub(crate) changes: Changes,
    pub(crate) absent: Absent,
    /// The memory before the table of responses. Weak, because it holds the engine, and the writer holds this.
    pub(crate) tier: OnceLock<Weak<TieredStorage>>,
    // Removed with the last owner, which is after the connections are closed.
    pub(crate) _folder: Option<tempfile::TempDir>,
}

/// What is known about writes by others.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) started: Instant,
    /// Milliseconds from the start to the last look.
    pub(crate) looked_at: AtomicU64,
    pub(crate) pending: AtomicBool,
}

impl Shared {
    pub(crate) fn now(&self) -> SystemTime {
        self.config.clock.now()
    }

    pub(crate) const fn max_bytes(&self) -> Option<u64> {
        self.config.max_bytes
    }

    /// The most bytes of one entry: the setting, or what fits into the bound.
    pub(crate) fn max_entry_len(&self) -> u64 {
        let fits = self.config.max_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(queue::ENTRY_OVERHEAD));
        self.config.max_entry_len.min(fits)
    }

    pub(crate) const fn config(&self) -> &SqliteConfig {
        &self.config
    }

    /// The next place in the order of use: the time in microseconds where that is later than every place before, so
    /// that the order also holds between processes, and one more than the last where the clock stands still.
    pub(crate) fn stamp(&self) -> i64 {
        let now = to_millis(self.now()).saturating_mul(1000);
        let next = |last: i64| now.max(last.saturating_add(1));
        let previous = self.last_stamp.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        previous.map_or(now, next)
    }

    /// Notes that the entry was read.
    pub(crate) fn used(&self, table: Table, key: CacheKey) {
        // What has no bound is never evicted; parts go with their head.
        if self.config.max_bytes.is_some() && !self.config.read_only && table != Table::Bodies {
            self.uses.remember(table, key, self.stamp());
        }
    }

    /// Remembers what has to be emptied where others have written.
    pub(crate) fn set_tier(&self, tier: Weak<TieredStorage>) {
        // Set once, when the cache is made.
        drop(self.tier.set(tier));
    }

    /// What others may have changed is forgotten where it is kept in memory.
    pub(crate) async fn forget(&self) {
        if let Some(tier) = self.tier.get().and_then(Weak::upgrade) {
            // Memory does not fail; where it did, the stripes would know.
            drop(tier.clear_front().await);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed() { Err(SqliteError::Closed) } else { Ok(()) }
    }

    pub(crate) fn stats(&self, table: Table) -> StorageStats {
        StorageStats::new(
            of(&self.corrupt, table).load(Ordering::Relaxed),
            of(&self.evicted, table).load(Ordering::Relaxed),
        )
    }

    pub(crate) fn count_corrupt(&self, table: Table) {
        of(&self.corrupt, table).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_evicted(&self, table: Table, entries: u64) {
        of(&self.evicted, table).fetch_add(entries, Ordering::Relaxed);
    }

    /// The order of use goes on where an earlier process left it, even if its clock was ahead.
    pub(crate) async fn continue_order(&self) -> Result<()> {
        let text = "SELECT max(coalesce((SELECT max(used) FROM responses), 0), \
                    coalesce((SELECT max(used) FROM redirects), 0))";
        let mut lease = self.readers.lease().await?;
        let row = sqlx::query(text).fetch_one(lease.sqlite()?).await?;
        self.last_stamp.store(row.try_get(0)?, Ordering::Relaxed);
        Ok(())
    }
}

impl Changes {
    /// Notes that somebody looked at this moment.
    pub(crate) fn looked(&self, at: u64) {
        self.looked_at.store(at, Ordering::Release);
        self.pending.store(false, Ordering::Release);
    }

    /// Milliseconds since the database was opened.
    pub(crate) fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn of(counters: &[AtomicU64; 3], table: Table) -> &AtomicU64 {
    let [responses, redirects, bodies] = counters;
    match table {
        Table::Responses => responses,
        Table::Redirects => redirects,
        Table::Bodies => bodies,
    }
}
