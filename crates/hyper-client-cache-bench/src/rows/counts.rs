//! P16: what it takes to say how much is stored.

use std::sync::Arc;

use super::Bench;
use crate::Result;
use crate::floors::sqlite::Sqlite;
use crate::measure::calls::CallTime;
use crate::runner::{Experiment, Role, Unit};

/// Bytes of a body: small, since none is read.
const SIZE: usize = 200;

/// P16: the number of entries.
pub(super) async fn size(bench: &Bench) -> Result<Vec<Experiment>> {
    let entries: u64 = if bench.quick { 20_000 } else { 1_000_000 };
    let floor = Arc::new(Sqlite::open(&bench.folder()?.join("floor.sqlite")).await?);
    floor.fill(&bench.targets(entries, SIZE as u64).urls, SIZE).await?;
    let count = move || {
        let floor = floor.clone();
        async move {
            let counted = floor.count().await?;
            if u64::try_from(counted) == Ok(entries) { Ok(()) } else { Err(format!("{counted} entries").into()) }
        }
    };
    let experiment = Experiment::new("P16", format!("SQLite size() at {entries} entries, p50"), Unit::Time).with(
        Role::Floor,
        "COUNT(*)",
        CallTime { call: count, calls: 5 },
    );
    Ok(vec![experiment])
}
