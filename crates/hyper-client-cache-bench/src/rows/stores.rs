//! P10 and P12: stores a second, and reads meanwhile.

use std::sync::Arc;

use hyper_client_cache_sqlite::SqliteCache;

use super::Bench;
use crate::Result;
use crate::floors::grouped::Grouped;
use crate::floors::sqlite::Sqlite;
use crate::measure::hits::{HitTime, Until};
use crate::measure::stores::{Filling, ReadUnderWrites, Store, StoreRate};
use crate::ours::Ours;
use crate::peers::alpha::AlphaStore;
use crate::runner::{Claim, Experiment, Role, Unit};

/// Bytes of a stored body.
const SIZE: usize = 2 << 10;

/// How many entries are hit in turn.
const ENTRIES: u64 = 500;

/// P10: stores a second, acknowledged.
pub(super) async fn rate(bench: &Bench) -> Result<Vec<Experiment>> {
    let one_by_one = Sqlite::open(&bench.folder()?.join("floor.sqlite")).await?;
    let experiment = Experiment::new("P10", "SQLite stores/s, 64 tasks, acknowledged", Unit::Rate)
        .claim(Claim::TimesFloor(1.0 / 0.8))
        .claim(Claim::BetterThanPeer(1.8))
        .with(Role::Ours, "SQLite", stores(bench, SqliteCache::open(bench.folder()?.join("ours.sqlite")).await?))
        .with(Role::Floor, "rusqlite, grouped", stores(bench, Grouped::open(&bench.folder()?.join("floor.sqlite"))?))
        .with(Role::Floor, "sqlx, one by one", stores(bench, one_by_one))
        .with(Role::Peer, "redb", stores(bench, AlphaStore::redb(&bench.folder()?.join("peer.redb"))?))
        .with(Role::Peer, "cacache", stores(bench, AlphaStore::cacache(&bench.folder()?)));
    Ok(vec![experiment])
}

/// P12: a read while others write.
pub(super) async fn read_under_writes(bench: &Bench) -> Result<Vec<Experiment>> {
    let targets = bench.targets(ENTRIES, SIZE as u64);
    let path = bench.folder()?.join("floor.sqlite");
    let (reads, writes) = (Sqlite::open(&path).await?, Sqlite::open(&path).await?);
    writes.fill(&targets.urls, SIZE).await?;
    let floor = ReadUnderWrites {
        reads: HitTime { client: Arc::new(reads), targets: targets.clone(), until: Until::End },
        filling: Filling::new(writes, SIZE),
    };
    let cache = SqliteCache::builder(bench.folder()?.join("ours.sqlite")).hot_tier(0).open().await?;
    let session = Ours::with(cache.clone())?;
    targets.fill(&session).await?;
    let ours = ReadUnderWrites {
        reads: HitTime { client: Arc::new(session), targets: targets.clone(), until: Until::End },
        filling: Filling::new(cache, SIZE),
    };
    let experiment = Experiment::new("P12", "SQLite hit while 8 tasks write, p50", Unit::Time)
        .claim(Claim::TimesFloor(1.2))
        .with(Role::Ours, "SQLite", ours)
        .with(Role::Floor, "sqlx, 1 writer, 4 readers", floor);
    Ok(vec![experiment])
}

fn stores<S: Store>(bench: &Bench, store: S) -> StoreRate<S> {
    StoreRate { filling: Filling::new(store, SIZE), budget: bench.budget.saturating_mul(2) }
}
