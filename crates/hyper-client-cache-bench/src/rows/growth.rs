//! P14, P15 and P17: what becomes of a hit, of `delete_expired` and of opening as a store grows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_fs::FsCache;
use hyper_client_cache_sqlite::SqliteCache;

use super::Bench;
use super::filling::{Entries, FEW, SIZE};
use crate::Result;
use crate::client::fetch;
use crate::measure::calls::CallTime;
use crate::measure::expiry::ExpiryTime;
use crate::measure::opening::OpeningTime;
use crate::measure::spread::SpreadHits;
use crate::origin::url;
use crate::ours::{self, Ours};
use crate::runner::{Claim, Experiment, Measure, Role, Unit};
use crate::servers::Server;

/// How many entries there are where some are dead, and how many are.
const MIXED: u64 = 10_000;
const DEAD: u64 = MIXED / 10;

/// What the original takes for that, in nanoseconds, and how many times faster ours shall be.
const ORIGINAL: f64 = 5.3e9;
const FASTER: f64 = 250.0;

/// How long the dead live, and when they are looked at.
const SHORT: Duration = Duration::from_secs(3_600);
const LATER: Duration = Duration::from_secs(2 * 3_600);

/// P14: a hit in a large store over one in a small store.
pub(super) async fn hits(bench: &Bench) -> Result<Vec<Experiment>> {
    let entries = Entries::new(bench);
    let (many, files) = (bench.many, bench.many_files());
    let experiment = |what: &str, count: u64, limit: f64| {
        Experiment::new("P14", format!("{what} hit at {count} entries, p50"), Unit::Time)
            .claim(Claim::TimesFloor(limit))
    };
    let small = "ours at 1,000 entries";
    let mut experiments = vec![
        experiment("SQLite", many, 1.5)
            .with(Role::Ours, "SQLite", spread(bench, &entries, sqlite(&bench.folder()?).await?, many).await?)
            .with(Role::Floor, small, spread(bench, &entries, sqlite(&bench.folder()?).await?, FEW).await?),
        experiment("files", files, 2.0)
            .with(Role::Ours, "files", spread(bench, &entries, folder(&bench.folder()?).await?, files).await?)
            .with(Role::Floor, small, spread(bench, &entries, folder(&bench.folder()?).await?, FEW).await?),
    ];
    if let Some(address) = Server::Redis.address("P14 of Redis") {
        let (large, few) = (ours::redis(bench, &address).await?, ours::redis(bench, &address).await?);
        experiments.push(
            experiment("Redis", many, 1.5).with(Role::Ours, "Redis", spread(bench, &entries, large, many).await?).with(
                Role::Floor,
                small,
                spread(bench, &entries, few, FEW).await?,
            ),
        );
    }
    Ok(experiments)
}

/// P15: removing what is dead, and finding that nothing is. Where no server does it by itself.
pub(super) async fn expiry(bench: &Bench) -> Result<Vec<Experiment>> {
    let entries = Entries::new(bench);
    let now = entries.in_time(LATER)?;
    let mut experiments = Vec::new();
    let mixed: [(&'static str, Arc<dyn Cache>); 3] = [
        ("memory", Arc::new(MemoryCache::default())),
        ("SQLite", Arc::new(sqlite(&bench.folder()?).await?)),
        ("files", Arc::new(folder(&bench.folder()?).await?)),
    ];
    for (backend, cache) in mixed {
        entries.store(&*cache, DEAD..MIXED).await?;
        let dead = (0..DEAD).map(|number| entries.entry(number, SHORT)).collect::<Result<_>>()?;
        let what = format!("{backend} delete_expired of {DEAD} dead among {MIXED}");
        experiments.push(Experiment::new("P15", what, Unit::Time).claim(Claim::AtMost(ORIGINAL / FASTER)).with(
            Role::Ours,
            backend,
            ExpiryTime { cache, dead, now },
        ));
    }
    let (many, files) = (bench.many, bench.many_files());
    let (large, few) = (sqlite(&bench.folder()?).await?, sqlite(&bench.folder()?).await?);
    experiments.push(nothing_dead(&entries, now, "SQLite", (large, many), few).await?);
    let (large, few) = (folder(&bench.folder()?).await?, folder(&bench.folder()?).await?);
    experiments.push(nothing_dead(&entries, now, "files", (large, files), few).await?);
    Ok(experiments)
}

/// P17: opening SQLite, and files until the first hit. What is opened was used before: the system has it in memory.
pub(super) async fn opening(bench: &Bench) -> Result<Vec<Experiment>> {
    let entries = Entries::new(bench);
    let (many, files) = (bench.many, bench.many_files());
    let sqlite_opening = async |count: u64| -> Result<_> {
        let path = bench.folder()?;
        let cache = sqlite(&path).await?;
        entries.store(&cache, 0..count).await?;
        cache.close().await?;
        let open = move || {
            let path = path.clone();
            async move { sqlite(&path).await }
        };
        Ok(OpeningTime { open })
    };
    let files_opening = async |count: u64| -> Result<_> {
        let path = bench.folder()?;
        let cache = folder(&path).await?;
        entries.store(&cache, 0..count).await?;
        cache.close().await?;
        let first = url(bench.origin.base(), SIZE, 0);
        let counter = bench.origin.counter();
        let open = move || {
            let (path, first, counter) = (path.clone(), first.clone(), counter.clone());
            async move {
                let before = counter.requests();
                let cache = folder(&path).await?;
                fetch(&Ours::with(cache.clone())?, &first).await?;
                counter.expect(before, 0)?;
                Ok(cache)
            }
        };
        Ok(OpeningTime { open })
    };
    Ok(vec![
        Experiment::new("P17", format!("opening SQLite with {many} entries"), Unit::Time)
            .claim(Claim::AtMost(10e6))
            .with(Role::Ours, "SQLite", sqlite_opening(many).await?)
            .with(Role::Floor, "ours at 1,000 entries", sqlite_opening(FEW).await?),
        Experiment::new("P17", format!("opening files with {files} entries, until the first hit"), Unit::Time)
            .claim(Claim::AtMost(1e9))
            .with(Role::Ours, "files", files_opening(files).await?)
            .with(Role::Floor, "ours at 1,000 entries", files_opening(FEW).await?),
    ])
}

/// Hits on `count` entries, which are stored in `cache` first.
async fn spread<C: Cache>(bench: &Bench, entries: &Entries, cache: C, count: u64) -> Result<SpreadHits<Ours>> {
    entries.store(&cache, 0..count).await?;
    Ok(SpreadHits {
        client: Arc::new(Ours::with(cache)?),
        origin: bench.origin.base().to_owned(),
        size: SIZE,
        entries: count,
        counter: bench.origin.counter(),
        budget: bench.budget,
    })
}

async fn sqlite(path: &Path) -> Result<SqliteCache> {
    Ok(SqliteCache::builder(path.join("ours.sqlite")).max_bytes(None).hot_tier(0).open().await?)
}

async fn folder(path: &Path) -> Result<FsCache> {
    Ok(FsCache::builder(path.join("ours")).max_bytes(None).open().await?)
}

/// Finding in a store of so many entries that none is dead, over the same in a small one.
async fn nothing_dead<C: Cache>(
    entries: &Entries,
    now: SystemTime,
    backend: &'static str,
    (large, count): (C, u64),
    few: C,
) -> Result<Experiment> {
    entries.store(&large, 0..count).await?;
    entries.store(&few, 0..FEW).await?;
    let what = format!("{backend} delete_expired of nothing at {count} entries, p50");
    Ok(Experiment::new("P15", what, Unit::Time)
        .claim(Claim::TimesFloor(5.0))
        .with(Role::Ours, backend, looking_for_the_dead(large, now))
        .with(Role::Floor, "ours at 1,000 entries", looking_for_the_dead(few, now)))
}

fn looking_for_the_dead(cache: impl Cache, now: SystemTime) -> impl Measure {
    let cache = Arc::new(cache);
    let call = move || {
        let cache = cache.clone();
        async move {
            match cache.delete_expired(now).await? {
                0 => Ok(()),
                deleted => Err(format!("{deleted} entries were removed where none was dead").into()),
            }
        }
    };
    CallTime { call, calls: 5 }
}
