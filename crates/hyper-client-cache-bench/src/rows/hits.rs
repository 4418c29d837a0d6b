//! P1 to P5: what a hit in memory and in SQLite takes.

use std::sync::Arc;

use super::Bench;
use crate::Result;
use crate::client::Client;
use crate::floors::memory::{Lookup, Memory};
use crate::floors::sqlite::Sqlite;
use crate::measure::hits::{HitRate, HitTime, Targets, Until};
use crate::ours::Ours;
use crate::peers::alpha::Alpha;
use crate::peers::stable::Stable;
use crate::runner::{Claim, Experiment, Role, Unit};

/// How many entries are hit in turn.
pub(super) const ENTRIES: u64 = 500;

/// Bytes of a body, unless said.
pub(super) const SMALL: u64 = 2 << 10;

/// P1: a hit in memory.
pub(super) async fn memory_time(bench: &Bench) -> Result<Vec<Experiment>> {
    let targets = bench.targets(ENTRIES, SMALL);
    let experiment = Experiment::new("P1", "memory hit, p50", Unit::Time)
        .claim(Claim::TimesFloor(2.5))
        .claim(Claim::BetterThanPeer(4.0))
        .with(Role::Ours, "memory", time(filled(Ours::memory()?, &targets).await?, &targets))
        .with(Role::Floor, "quick_cache, URL parsed and hashed", time(Memory::filled(&targets.urls, 2048)?, &targets))
        .with(Role::Floor, "quick_cache, URL as given", time(Lookup::filled(&targets.urls, 2048), &targets))
        .with(Role::Peer, "moka", time(filled(Stable::moka()?, &targets).await?, &targets))
        .with(Role::Peer, "quick_cache", time(filled(Stable::quick_cache()?, &targets).await?, &targets));
    Ok(vec![experiment])
}

/// P2: hits in memory from many tasks.
pub(super) async fn memory_rate(bench: &Bench) -> Result<Vec<Experiment>> {
    let targets = bench.targets(ENTRIES, SMALL);
    let experiment = Experiment::new("P2", "memory hits/s, 64 tasks", Unit::Rate)
        .claim(Claim::BetterThanPeer(4.0))
        .with(Role::Ours, "memory", rate(filled(Ours::memory()?, &targets).await?, &targets))
        .with(Role::Floor, "quick_cache, URL parsed and hashed", rate(Memory::filled(&targets.urls, 2048)?, &targets))
        .with(Role::Floor, "quick_cache, URL as given", rate(Lookup::filled(&targets.urls, 2048), &targets))
        .with(Role::Peer, "moka", rate(filled(Stable::moka()?, &targets).await?, &targets))
        .with(Role::Peer, "quick_cache", rate(filled(Stable::quick_cache()?, &targets).await?, &targets));
    Ok(vec![experiment])
}

/// P3: a hit in memory of a larger body, until the response is there (nothing is copied) and until it was read.
pub(super) async fn memory_large(bench: &Bench) -> Result<Vec<Experiment>> {
    let small = bench.targets(ENTRIES, SMALL);
    let mut experiments = Vec::new();
    for (what, count, size) in [("100 KiB memory hit", 50, 100 << 10), ("10 MiB memory hit", 2, 10 << 20)] {
        let targets = bench.targets(count, size);
        experiments.push(
            Experiment::new("P3", format!("{what} until the body is read, p50"), Unit::Time)
                .claim(Claim::TimesFloor(1.3))
                .with(Role::Ours, "memory", response_time(filled(Ours::memory()?, &targets).await?, &targets))
                .with(Role::Floor, "ours, 2 KiB", response_time(filled(Ours::memory()?, &small).await?, &small))
                .with(Role::Peer, "moka", response_time(filled(Stable::moka()?, &targets).await?, &targets)),
        );
        experiments.push(
            Experiment::new("P3", format!("{what} with its body, p50"), Unit::Time)
                .with(Role::Ours, "memory", time(filled(Ours::memory()?, &targets).await?, &targets))
                .with(Role::Peer, "moka", time(filled(Stable::moka()?, &targets).await?, &targets)),
        );
    }
    Ok(experiments)
}

/// P4: a hit in SQLite, past any hot tier.
pub(super) async fn sqlite_time(bench: &Bench) -> Result<Vec<Experiment>> {
    let targets = bench.targets(ENTRIES, SMALL);
    let experiment = Experiment::new("P4", "SQLite hit past any hot tier, p50", Unit::Time)
        .claim(Claim::TimesFloor(1.2))
        .with(Role::Ours, "SQLite", time(filled(cold_sqlite(bench).await?, &targets).await?, &targets))
        .with(Role::Floor, "sqlx point select", time(sqlite_floor(bench, &targets).await?, &targets))
        .with(Role::Peer, "redb", time(filled(redb(bench)?, &targets).await?, &targets))
        .with(Role::Peer, "cacache", time(filled(cacache(bench)?, &targets).await?, &targets));
    Ok(vec![experiment])
}

/// P5: hits in SQLite from many tasks, past any hot tier.
pub(super) async fn sqlite_rate(bench: &Bench) -> Result<Vec<Experiment>> {
    let targets = bench.targets(ENTRIES, SMALL);
    let experiment = Experiment::new("P5", "SQLite hits/s past any hot tier, 64 tasks", Unit::Rate)
        .claim(Claim::TimesFloor(0.5))
        .claim(Claim::BetterThanPeer(1.0))
        .with(Role::Ours, "SQLite", rate(filled(cold_sqlite(bench).await?, &targets).await?, &targets))
        .with(Role::Floor, "sqlx point select, one by one", rate(sqlite_floor(bench, &targets).await?, &targets))
        .with(Role::Peer, "redb", rate(filled(redb(bench)?, &targets).await?, &targets))
        .with(Role::Peer, "cacache", rate(filled(cacache(bench)?, &targets).await?, &targets));
    Ok(vec![experiment])
}

pub(super) fn time<C: Client>(client: C, targets: &Targets) -> HitTime<C> {
    HitTime { client: Arc::new(client), targets: targets.clone(), until: Until::End }
}

fn response_time<C: Client>(client: C, targets: &Targets) -> HitTime<C> {
    HitTime { until: Until::Response, ..time(client, targets) }
}

pub(super) fn rate<C: Client>(client: C, targets: &Targets) -> HitRate<C> {
    HitRate { client: Arc::new(client), targets: targets.clone() }
}

pub(super) async fn filled<C: Client>(client: C, targets: &Targets) -> Result<C> {
    targets.fill(&client).await?;
    // From here on hits are answered by the store, not by what is on its way there.
    client.settle().await;
    Ok(client)
}

async fn cold_sqlite(bench: &Bench) -> Result<Ours> {
    Ours::cold_sqlite(&bench.folder()?.join("ours.sqlite")).await
}

async fn sqlite_floor(bench: &Bench, targets: &Targets) -> Result<Sqlite> {
    let floor = Sqlite::open(&bench.folder()?.join("floor.sqlite")).await?;
    floor.fill(&targets.urls, 2048).await?;
    Ok(floor)
}

pub(super) fn redb(bench: &Bench) -> Result<Alpha> {
    Alpha::redb(&bench.folder()?.join("peer.redb"))
}

pub(super) fn cacache(bench: &Bench) -> Result<Alpha> {
    Alpha::cacache(&bench.folder()?)
}
