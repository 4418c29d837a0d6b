//! A storage in under a hundred lines, its harness in thirty, and the suite that proves it.
//!
//! `cargo run -p hyper-client-cache-testkit --example custom_storage` shows how each test of the contract ends.
//! `docs/writing-a-backend.md` explains the code piece by piece.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use hyper_client_cache_testkit::contract::{self, Damage, Harness, Opened};
use hyper_client_cache_testkit::core::clock::Clock;
use hyper_client_cache_testkit::core::storage::frame::{self, FrameError};
use hyper_client_cache_testkit::core::storage::{CacheKey, Entry, Storage, StorageInfo, StorageStats};
use hyper_client_cache_testkit::core::{Error, ErrorKind, Result};
use hyper_client_cache_testkit::futures_core::stream::BoxStream;
use hyper_client_cache_testkit::futures_util::{StreamExt, stream};
use hyper_client_cache_testkit::{ManualClock, async_trait, bytes::Bytes, tokio};

/// What a real backend keeps in its store: a value in the layout of `frame` for each key, and an index of deadlines.
#[derive(Default)]
pub(crate) struct Table {
    rows: BTreeMap<CacheKey, (Option<SystemTime>, Bytes)>,
    by_deadline: BTreeSet<(SystemTime, CacheKey)>,
}

impl Table {
    fn remove(&mut self, key: &CacheKey) -> Option<(Option<SystemTime>, Bytes)> {
        let row = self.rows.remove(key)?;
        row.0.map(|deadline| self.by_deadline.remove(&(deadline, *key)));
        Some(row)
    }
}

/// A storage over a table. Clones are handles on the same thing.
#[derive(Clone)]
pub(crate) struct TableStorage {
    table: Arc<Mutex<Table>>,
    clock: Arc<dyn Clock>,
    closed: Arc<AtomicBool>,
    corrupt: Arc<AtomicU64>,
}

impl TableStorage {
    pub(crate) fn open(table: Arc<Mutex<Table>>, clock: Arc<dyn Clock>) -> Self {
        Self { table, clock, closed: Arc::default(), corrupt: Arc::default() }
    }

    /// The table, unless the storage is closed (S11).
    fn table(&self) -> Result<MutexGuard<'_, Table>> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::new(ErrorKind::Closed, "the table storage")),
            false => Ok(self.table.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Whether a row with this deadline is to be seen (S5).
    fn is_live(&self, deadline: Option<SystemTime>) -> bool {
        deadline.is_none_or(|deadline| deadline > self.clock.now())
    }

    /// The first live key after `last`: a listing holds one key and no lock (S8).
    fn next_key(&self, last: Option<CacheKey>) -> Result<Option<CacheKey>> {
        let table = self.table()?;
        let mut rest = table.rows.range((last.map_or(Unbounded, Excluded), Unbounded));
        Ok(rest.find(|(_, (deadline, _))| self.is_live(*deadline)).map(|(key, _)| *key))
    }
}

/// Shows nothing of what is stored (S14).
impl fmt::Debug for TableStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableStorage").finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for TableStorage {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("table").persistent(true)
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let mut table = self.table()?;
        let Some((deadline, value)) = table.rows.get(key) else { return Ok(None) };
        match frame::split(value) {
            Ok(entry) => Ok(Some(entry).filter(|_| self.is_live(*deadline))),
            // A miss and a count; only what a newer version wrote is left alone (S15).
            Err(error) => {
                self.corrupt.fetch_add(1, Ordering::Relaxed);
                if error != FrameError::Newer {
                    table.remove(key);
                }
                Ok(None)
            }
        }
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        let mut table = self.table()?;
        table.remove(key);
        table.by_deadline.extend(entry.retain_until.map(|deadline| (deadline, *key)));
        table.rows.insert(*key, (entry.retain_until, frame::join(&entry)));
        Ok(())
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        let row = self.table()?.remove(key);
        Ok(row.is_some_and(|(deadline, _)| self.is_live(deadline)))
    }

    async fn clear(&self) -> Result<()> {
        *self.table()? = Table::default();
        Ok(())
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        stream::try_unfold(None, async |last| Ok(self.next_key(last)?.map(|key| (key, Some(key))))).boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        let mut table = self.table()?;
        let mut deleted: u64 = 0;
        // The index leads to the dead alone, and no value is looked at (S6).
        while let Some((_, key)) = table.by_deadline.first().copied().filter(|(deadline, _)| *deadline <= now) {
            table.remove(&key);
            deleted = deleted.saturating_add(1);
        }
        Ok(deleted)
    }

    fn stats(&self) -> StorageStats {
        StorageStats::new(self.corrupt.load(Ordering::Relaxed), 0)
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

/// Tells the suite how to open a table for each namespace, and how to damage a row.
#[derive(Default)]
pub(crate) struct TableHarness {
    tables: Mutex<BTreeMap<String, Arc<Mutex<Table>>>>,
    clock: ManualClock,
}

impl TableHarness {
    fn table(&self, namespace: &str) -> Arc<Mutex<Table>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tables.entry(namespace.to_owned()).or_default())
    }
}

#[async_trait]
impl Harness for TableHarness {
    async fn open(&self, namespace: &str) -> Opened {
        Opened::new(TableStorage::open(self.table(namespace), Arc::new(self.clock())))
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        let table = self.table(namespace);
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, value)) = table.rows.get_mut(key) else { return false };
        let mut bytes = value.to_vec();
        let done = damage.apply(&mut bytes);
        *value = bytes.into();
        done
    }
}

/// What this backend cannot be asked: it has no limit, no secrets, no second process, and nothing counts its work.
pub(crate) const SKIPS: &[&str] = &[
    "S10",
    "s14_no_credential_is_shown",
    "s03_a_killed_writer_leaves_whole_entries",
    "s06_the_cost_is_that_of_the_dead",
];

#[tokio::main(crate = "hyper_client_cache_testkit::tokio")]
pub(crate) async fn main() {
    let report = contract::run(TableHarness::default()).await;
    println!("{report}");
    report.assert_passed_except(SKIPS);
}
