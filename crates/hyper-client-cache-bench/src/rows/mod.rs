//! What is measured, row by row: who takes part, at what work, and what is claimed of ours.
//!
//! [`hits`] has P1 to P5 and P8, [`misses`] P9 and P11, [`stores`] P10 and P12, [`memory`] P13 and P18, [`counts`] P16,
//! [`instructions`] P20.

mod counts;
mod hits;
mod instructions;
mod memory;
mod misses;
mod stores;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::Result;
use crate::measure::hits::Targets;
use crate::origin::{Origin, url};
use crate::runner::Experiment;

/// What every row is measured with.
pub(crate) struct Bench {
    origin: Origin,
    scratch: tempfile::TempDir,
    folders: AtomicU32,
    budget: Duration,
    quick: bool,
}

impl Bench {
    /// A bench whose samples take about `budget` each; `quick` makes stores smaller.
    pub(crate) fn new(budget: Duration, quick: bool) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        Ok(Self { origin: Origin::start()?, scratch, folders: AtomicU32::new(0), budget, quick })
    }

    /// A new empty folder, removed at the end of the run.
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

/// A row of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    P1,
    P2,
    P3,
    P4,
    P5,
    P8,
    P9,
    P10,
    P11,
    P12,
    P13,
    P16,
    P18,
    P20,
}

const ROWS: [Row; 14] = [
    Row::P1,
    Row::P2,
    Row::P3,
    Row::P4,
    Row::P5,
    Row::P8,
    Row::P9,
    Row::P10,
    Row::P11,
    Row::P12,
    Row::P13,
    Row::P16,
    Row::P18,
    Row::P20,
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
            Self::P8 => hits::hot_tier(bench).await,
            Self::P9 => misses::added_time(bench).await,
            Self::P10 => stores::rate(bench).await,
            Self::P11 => misses::first_byte(bench).await,
            Self::P12 => stores::read_under_writes(bench).await,
            Self::P13 => memory::peaks(bench).await,
            Self::P16 => counts::size(bench).await,
            Self::P18 => memory::per_entry(bench).await,
            Self::P20 => instructions::per_hit(bench).await,
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
