//! What is measured, row by row: who takes part, at what work, and what is claimed of ours.
//!
//! [`hits`] has P1 to P5, [`files`] P6, [`remote`] P7 and what is said of MongoDB and DynamoDB, [`hot_tier`] P8, [`misses`]
//! P9 and P11, [`stores`] P10 and P12, [`memory`] P13 and P18, [`growth`] P14, P15 and P17, [`counts`] P16,
//! [`instructions`] P20. [`filling`] makes large stores.

mod counts;
mod files;
mod filling;
mod growth;
mod hits;
mod hot_tier;
mod instructions;
mod memory;
mod misses;
mod remote;
mod stores;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::Result;
use crate::measure::hits::Targets;
use crate::origin::{Origin, url};
use crate::runner::Experiment;

/// The most files that are made for one store.
const MANY_FILES: u64 = 100_000;

/// What every row is measured with.
pub(crate) struct Bench {
    origin: Origin,
    scratch: tempfile::TempDir,
    folders: AtomicU32,
    budget: Duration,
    /// How many entries a large store has.
    many: u64,
    quick: bool,
    /// What is left to do when a row is done.
    afterwards: Mutex<Vec<BoxFuture<'static, Result<()>>>>,
}

impl Bench {
    /// A bench whose samples take about `budget` each and whose large stores have `many` entries; `quick` takes fewer
    /// samples where they are counted.
    pub(crate) fn new(budget: Duration, many: u64, quick: bool) -> Result<Self> {
        Ok(Self {
            origin: Origin::start()?,
            scratch: tempfile::tempdir()?,
            folders: AtomicU32::new(0),
            budget,
            many,
            quick,
            afterwards: Mutex::default(),
        })
    }

    /// How many entries a large store in files has: each takes a block of the disk, and long to be written.
    fn many_files(&self) -> u64 {
        self.many.min(MANY_FILES)
    }

    /// Does `task` when the row is done, whatever came of it.
    pub(crate) fn afterwards(&self, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.afterwards.lock().unwrap_or_else(PoisonError::into_inner).push(task.boxed());
    }

    /// Removes what a row has left behind, here and on servers. Its experiments must be gone.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        let tasks = std::mem::take(&mut *self.afterwards.lock().unwrap_or_else(PoisonError::into_inner));
        let mut cleaned = Ok(());
        for task in tasks {
            cleaned = cleaned.and(task.await);
        }
        for folder in std::fs::read_dir(self.scratch.path())? {
            // What is still open somewhere goes at the end of the run.
            let _open = std::fs::remove_dir_all(folder?.path());
        }
        cleaned
    }

    /// A new empty folder, removed when the row is done.
    fn folder(&self) -> Result<PathBuf> {
        let folder = self.scratch.path().join(self.folders.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// `count` URLs of bodies of `size` bytes, to be hit.
    fn targets(&self, count: u64, size: u64) -> Targets {
        let urls: Arc<[String]> = (0..count).map(|number| url(self.origin.base(), size, number)).collect();
        Targets { urls, counter: self.origin.counter(), budget: self.budget }
    }
}

/// A row of the specification; what it says of MongoDB and DynamoDB has no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
    P7,
    P8,
    P9,
    P10,
    P11,
    P12,
    P13,
    P14,
    P15,
    P16,
    P17,
    P18,
    P20,
    MongoDb,
    DynamoDb,
}

const ROWS: [Row; 21] = [
    Row::P1,
    Row::P2,
    Row::P3,
    Row::P4,
    Row::P5,
    Row::P6,
    Row::P7,
    Row::P8,
    Row::P9,
    Row::P10,
    Row::P11,
    Row::P12,
    Row::P13,
    Row::P14,
    Row::P15,
    Row::P16,
    Row::P17,
    Row::P18,
    Row::P20,
    Row::MongoDb,
    Row::DynamoDb,
];

impl Row {
    /// The row's experiments, their stores filled.
    pub(crate) async fn experiments(self, bench: &Bench) -> Result<Vec<Experiment>> {
        match self {
            Self::P1 => hits::memory_time(bench).await,
            Self::P2 => hits::memory_rate(bench).await,
            Self::P3 => hits::memory_large(bench).await,
            Self::P4 => hits::sqlite_time(bench).await,
            Self::P5 => hits::sqlite_rate(bench).await,
            Self::P6 => files::hits(bench).await,
            Self::P7 => remote::redis(bench).await,
            Self::P8 => hot_tier::hits(bench).await,
            Self::P9 => misses::added_time(bench).await,
            Self::P10 => stores::rate(bench).await,
            Self::P11 => misses::first_byte(bench).await,
            Self::P12 => stores::read_under_writes(bench).await,
            Self::P13 => memory::peaks(bench).await,
            Self::P14 => growth::hits(bench).await,
            Self::P15 => growth::expiry(bench).await,
            Self::P16 => counts::size(bench).await,
            Self::P17 => growth::opening(bench).await,
            Self::P18 => memory::per_entry(bench).await,
            Self::P20 => instructions::per_hit(bench).await,
            Self::MongoDb => remote::mongo(bench).await,
            Self::DynamoDb => remote::dynamodb(bench).await,
        }
    }
}

/// The rows of these names, in the specification's order; all where there is no name.
pub(crate) fn select(names: &[String]) -> Result<Vec<Row>> {
    let is = |row: &Row, name: &String| name.eq_ignore_ascii_case(&format!("{row:?}"));
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| is(row, name))) {
        return Err(format!("there is no row {unknown}: the rows are {ROWS:?}").into());
    }
    Ok(ROWS.into_iter().filter(|row| names.is_empty() || names.iter().any(|name| is(row, name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_selected_by_name_in_any_case() {
        assert_eq!(select(&["p20".into(), "P1".into()]).unwrap(), [Row::P1, Row::P20]);
        assert_eq!(select(&[]).unwrap(), ROWS);
        assert!(select(&["P99".into()]).is_err());
    }
}
