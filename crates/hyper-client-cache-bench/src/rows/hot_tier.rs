//! P8: what a hit takes in a tier of memory before a store.

use hyper_client_cache_core::cache::StorageCache;
use hyper_client_cache_core::storage::{MemoryStorage, Storage, TieredStorage};
use hyper_client_cache_fs::FsCache;
use hyper_client_cache_redis::RedisCache;

use super::Bench;
use super::hits::{ENTRIES, SMALL, filled, redb, time};
use crate::Result;
use crate::floors::memory::{Lookup, Memory};
use crate::measure::hits::Targets;
use crate::ours::{self, Ours};
use crate::runner::{Claim, Experiment, Role, Unit};
use crate::servers::{Server, unique_name};

/// How many bytes the tier before files and Redis may have; SQLite has its own.
const TIER: u64 = 64 << 20;

/// P8: a hit in the hot tier before SQLite, files and Redis.
pub(super) async fn hits(bench: &Bench) -> Result<Vec<Experiment>> {
    let targets = bench.targets(ENTRIES, SMALL);
    let sqlite = Ours::sqlite(&bench.folder()?.join("ours.sqlite")).await?;
    let files = FsCache::builder(bench.folder()?.join("ours")).open_storage().await?;
    let mut experiments = vec![
        experiment(bench, "SQLite", sqlite, &targets).await?,
        experiment(bench, "files", before(files)?, &targets).await?,
    ];
    if let Some(address) = Server::Redis.address("P8 of Redis") {
        let redis = RedisCache::builder(unique_name()).url(address).open_storage().await?;
        let cleared = redis.clone();
        bench.afterwards(async move { Ok(cleared.clear().await?) });
        experiments.push(experiment(bench, "Redis", before(ours::guard(false)?.storage(redis))?, &targets).await?);
    }
    Ok(experiments)
}

async fn experiment(bench: &Bench, store: &'static str, ours: Ours, targets: &Targets) -> Result<Experiment> {
    Ok(Experiment::new("P8", format!("hit in the hot tier before {store}, p50"), Unit::Time)
        .claim(Claim::TimesFloor(3.0))
        .claim(Claim::BetterThanPeer(4.0))
        .with(Role::Ours, store, time(filled(ours, targets).await?, targets))
        .with(Role::Floor, "quick_cache, URL parsed and hashed", time(Memory::filled(&targets.urls, 2048)?, targets))
        .with(Role::Floor, "quick_cache, URL as given", time(Lookup::filled(&targets.urls, 2048), targets))
        .with(Role::Peer, "redb", time(filled(redb(bench)?, targets).await?, targets)))
}

/// A session whose responses are in `store` with a tier of memory before it; redirects, of which there are none, in
/// memory.
fn before(store: impl Storage) -> Result<Ours> {
    let front = MemoryStorage::builder().max_bytes(TIER).build()?;
    Ours::with(StorageCache::new(TieredStorage::new(front, store), MemoryStorage::default()))
}
