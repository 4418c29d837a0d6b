//! P16: what it takes to say how much is stored, and what.

use std::sync::Arc;

use futures_util::TryStreamExt;
use hyper_client_cache_core::cache::{Cache, CacheExt};
use hyper_client_cache_sqlite::SqliteCache;

use super::Bench;
use super::filling::{Entries, FEW, SIZE};
use crate::Result;
use crate::floors::sqlite::Sqlite;
use crate::measure::calls::CallTime;
use crate::runner::{Claim, Experiment, Measure, Role, Unit};

/// P16: the number of entries, their bytes, their keys, their URLs.
pub(super) async fn size(bench: &Bench) -> Result<Vec<Experiment>> {
    let many = bench.many;
    let floor = Arc::new(Sqlite::open(&bench.folder()?.join("floor.sqlite")).await?);
    floor.fill(&bench.targets(many, SIZE).urls, SIZE as usize).await?;
    let (large, small) = (filled(bench, many).await?, filled(bench, FEW).await?);
    let size = Experiment::new("P16", format!("SQLite size() at {many} entries, p50"), Unit::Time)
        .claim(Claim::TimesFloor(2.0))
        .with(Role::Ours, "SQLite", size_time(large.clone(), many))
        .with(Role::Floor, "ours at 1,000 entries", size_time(small.clone(), FEW))
        .with(Role::Floor, "COUNT(*)", count_time(floor, many));
    let bytes = Experiment::new("P16", format!("SQLite bytes() at {many} entries, p50"), Unit::Time)
        .with(Role::Ours, "SQLite", bytes_time(large.clone()))
        .with(Role::Floor, "ours at 1,000 entries", bytes_time(small));
    let keys = Experiment::new("P16", format!("SQLite keys() of all {many} entries"), Unit::Time).steady(3).with(
        Role::Ours,
        "SQLite",
        keys_time(large.clone(), many),
    );
    let urls = Experiment::new("P16", format!("SQLite urls() of all {many} entries"), Unit::Time).steady(3).with(
        Role::Ours,
        "SQLite",
        urls_time(large, many),
    );
    Ok(vec![size, bytes, keys, urls])
}

async fn filled(bench: &Bench, count: u64) -> Result<SqliteCache> {
    let cache = SqliteCache::builder(bench.folder()?.join("ours.sqlite")).max_bytes(None).hot_tier(0).open().await?;
    Entries::new(bench).store(&cache, 0..count).await?;
    Ok(cache)
}

fn size_time(cache: SqliteCache, entries: u64) -> impl Measure {
    let call = move || {
        let cache = cache.clone();
        async move { expect(cache.responses().size().await?, entries) }
    };
    CallTime { call, calls: 25 }
}

fn bytes_time(cache: SqliteCache) -> impl Measure {
    let call = move || {
        let cache = cache.clone();
        async move { if cache.responses().bytes().await? == 0 { Err("no bytes".into()) } else { Ok(()) } }
    };
    CallTime { call, calls: 25 }
}

fn keys_time(cache: SqliteCache, entries: u64) -> impl Measure {
    let call = move || {
        let cache = cache.clone();
        async move {
            let keys = cache.responses().keys().try_fold(0_u64, async |count, _| Ok(count.saturating_add(1)));
            expect(keys.await?, entries)
        }
    };
    CallTime { call, calls: 1 }
}

fn urls_time(cache: SqliteCache, entries: u64) -> impl Measure {
    let call = move || {
        let cache = cache.clone();
        async move {
            let urls = cache.urls().try_fold(0_u64, async |count, _| Ok(count.saturating_add(1)));
            expect(urls.await?, entries)
        }
    };
    CallTime { call, calls: 1 }
}

fn count_time(floor: Arc<Sqlite>, entries: u64) -> impl Measure {
    let call = move || {
        let floor = floor.clone();
        async move { expect(u64::try_from(floor.count().await?)?, entries) }
    };
    CallTime { call, calls: 5 }
}

fn expect(counted: u64, entries: u64) -> Result<()> {
    if counted == entries { Ok(()) } else { Err(format!("{counted} entries where there should be {entries}").into()) }
}
