//! P9 and P11: what a miss takes over a request without a cache.

use std::sync::Arc;

use super::Bench;
use crate::Result;
use crate::client::{Client, fetch};
use crate::floors::uncached::Uncached;
use crate::measure::misses::{AddedTime, FirstByte, FreshUrls};
use crate::origin::url;
use crate::ours::{Ours, PastTheCache};
use crate::peers::alpha::Alpha;
use crate::peers::stable::Stable;
use crate::runner::{Claim, Experiment, Role, Unit};

/// P9: the time that a miss and its store add to a request.
pub(super) async fn added_time(bench: &Bench) -> Result<Vec<Experiment>> {
    let pairs = if bench.quick { 50 } else { 300 };
    let fresh = FreshUrls::new(bench.origin.base(), 2 << 10, bench.origin.counter());
    let urls = || fresh.clone();
    let uncached = Arc::new(connected(bench, Uncached::new()).await?);
    let memory = Arc::new(connected(bench, Ours::memory()?).await?);
    let sqlite = Ours::sqlite(&bench.folder()?.join("ours.sqlite")).await?;
    let sqlite = Arc::new(connected(bench, sqlite).await?);
    let files = Ours::files(&bench.folder()?.join("ours")).await?;
    let files = Arc::new(connected(bench, files).await?);
    let stable = Arc::new(connected(bench, Stable::uncached()?).await?);
    let alpha = Arc::new(connected(bench, Alpha::uncached()?).await?);
    let moka = Arc::new(connected(bench, Stable::moka()?).await?);
    let redb = Arc::new(connected(bench, Alpha::redb(&bench.folder()?.join("peer.redb"))?).await?);
    let cacache = Arc::new(connected(bench, Alpha::cacache(&bench.folder()?)?).await?);
    let in_memory = Experiment::new("P9", "miss and store in memory, time added to a request, p50", Unit::Time)
        .claim(Claim::BetterThanPeer(2.0))
        .with(Role::Ours, "memory", AddedTime { cached: memory, bare: uncached.clone(), urls: urls(), pairs })
        .with(Role::Peer, "moka", AddedTime { cached: moka, bare: stable, urls: urls(), pairs });
    let in_sqlite = Experiment::new("P9", "miss and store in SQLite, time added to a request, p50", Unit::Time)
        .claim(Claim::BetterThanPeer(1.0))
        .with(Role::Ours, "SQLite", AddedTime { cached: sqlite, bare: uncached.clone(), urls: urls(), pairs })
        .with(Role::Peer, "redb", AddedTime { cached: redb.clone(), bare: alpha.clone(), urls: urls(), pairs })
        .with(Role::Peer, "cacache", AddedTime { cached: cacache.clone(), bare: alpha.clone(), urls: urls(), pairs });
    let in_files = Experiment::new("P9", "miss and store in files, time added to a request, p50", Unit::Time)
        .claim(Claim::BetterThanPeer(1.0))
        .with(Role::Ours, "files", AddedTime { cached: files, bare: uncached, urls: urls(), pairs })
        .with(Role::Peer, "redb", AddedTime { cached: redb, bare: alpha.clone(), urls: urls(), pairs })
        .with(Role::Peer, "cacache", AddedTime { cached: cacache, bare: alpha, urls: urls(), pairs });
    Ok(vec![in_memory, in_sqlite, in_files])
}

/// How long the origin takes in the second half of P11, in milliseconds: hardly more than one in the same city.
const DISTANCE: u64 = 5;

/// P11: the first byte of a large miss, from an origin on the same machine and from one that is a little away.
///
/// One request of each in turn: each leaves ten megabytes behind that went through the processors' caches, and what comes
/// next pays for that, whoever it is.
pub(super) async fn first_byte(bench: &Bench) -> Result<Vec<Experiment>> {
    let turns = if bench.quick { 5 } else { 25 };
    let here = FreshUrls::new(bench.origin.base(), 10 << 20, bench.origin.counter());
    let away = here.delayed(DISTANCE);
    let uncached = Arc::new(connected(bench, Uncached::new()).await?);
    let past = Arc::new(connected(bench, PastTheCache::new()?).await?);
    let redb = Arc::new(connected(bench, Alpha::redb(&bench.folder()?.join("peer.redb"))?).await?);
    let mut experiments = Vec::new();
    for (backend, ours) in
        [("memory", Ours::memory()?), ("SQLite", Ours::sqlite(&bench.folder()?.join("ours.sqlite")).await?)]
    {
        let ours = Arc::new(connected(bench, ours).await?);
        for (fresh, from) in [(&here, "".to_owned()), (&away, format!(" from an origin that takes {DISTANCE} ms"))] {
            let urls = || fresh.clone();
            experiments.push(
                Experiment::new("P11", format!("first byte of a 10 MiB miss{from}, {backend}, p50"), Unit::Time)
                    .claim(Claim::TimesFloor(1.1))
                    .in_turn(turns)
                    .with(Role::Ours, backend, FirstByte { client: ours.clone(), urls: urls() })
                    .with(Role::Floor, "uncached request", FirstByte { client: uncached.clone(), urls: urls() })
                    .with(Role::Floor, "a session past its cache", FirstByte { client: past.clone(), urls: urls() })
                    .with(Role::Peer, "redb", FirstByte { client: redb.clone(), urls: urls() }),
            );
        }
    }
    Ok(experiments)
}

/// A client whose connection to the origin is open.
pub(super) async fn connected<C: Client>(bench: &Bench, client: C) -> Result<C> {
    fetch(&client, &url(bench.origin.base(), 2 << 10, "connect")).await?;
    Ok(client)
}
