//! What it costs in round trips and commands, counted by the server itself.

use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::clock::{Clock, SystemClock};
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_redis::RedisCache;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use crate::server::Server;
use crate::support::{key, unique};

/// Everything but what connecting and counting take.
fn commands(server: &Server) -> Vec<(String, u64)> {
    let stats = server.command(&["INFO", "commandstats"]);
    let lines = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let counts = lines.map(|(name, rest)| (name.to_owned(), rest.split(',').next().unwrap().parse().unwrap()));
    let ours = counts.filter(|(name, _)| {
        !["info", "config|resetstat", "client|setinfo", "client|id", "hello", "ping", "select"].contains(&name.as_str())
    });
    let mut ours: Vec<_> = ours.collect();
    ours.sort();
    ours
}

fn named(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_one_command_and_a_store_is_one() {
    let server = Server::start(&[]);
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("body").header("cache-control", "max-age=3600"));
    let cache = RedisCache::builder(unique("costs")).url(server.url()).connect().await.unwrap();
    let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
    let url = origin.url("/");
    let reset = || assert_eq!(server.command(&["CONFIG", "RESETSTAT"]), "+OK");

    reset();
    session.get(&url).send().await.unwrap().bytes().await.unwrap();
    session.layer().flush().await;
    assert_eq!(commands(&server), named(&[("mget", 1), ("set", 1)]), "a miss: one look-up, one store");

    reset();
    let response = session.get(&url).send().await.unwrap();
    assert!(response.from_cache());
    response.bytes().await.unwrap();
    session.layer().flush().await;
    assert_eq!(commands(&server), named(&[("mget", 1)]), "a hit");
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_work_is_batched() {
    let server = Server::start(&[]);
    let cache = RedisCache::builder(unique("bulk")).url(server.url()).unguarded().connect().await.unwrap();
    let responses = cache.responses();
    let keys: Vec<_> = (0..1000).map(key).collect();
    let packets = || -> u64 {
        let stats = server.command(&["INFO", "stats"]);
        stats.lines().find_map(|line| line.strip_prefix("total_reads_processed:")).unwrap().trim().parse().unwrap()
    };
    // One by one they would come in a thousand packets and more; how far fewer there are is the kernel's own affair.
    let counted = async |work: &dyn Fn() -> futures_core::future::BoxFuture<'static, ()>| {
        let before = packets();
        work().await;
        packets() - before
    };
    let (writing, writes) = (cache.clone(), keys.clone());
    let reads = counted(&move || {
        let (cache, keys) = (writing.clone(), writes.clone());
        Box::pin(async move {
            let entries = keys.into_iter().map(|key| (key, Entry::new("head", "body"))).collect();
            cache.responses().write_many(entries).await.unwrap();
        })
    })
    .await;
    assert!(reads < 1000, "1,000 writes came in {reads} packets");
    let (deleting, deletes) = (cache.clone(), keys.clone());
    assert_eq!(responses.read_many(&keys).await.unwrap().iter().flatten().count(), 1000);
    let reads = counted(&move || {
        let (cache, keys) = (deleting.clone(), deletes.clone());
        Box::pin(async move { assert_eq!(cache.responses().delete_many(&keys).await.unwrap(), 1000) })
    })
    .await;
    assert!(reads < 1000, "1,000 deletions came in {reads} packets");
    assert_eq!(server.calls("keys"), 0);
    assert_eq!(server.calls("del"), 0);
    cache.close().await.unwrap();
}

/// S6: the server removes by itself; asking it to costs one look at its clock.
#[tokio::test(flavor = "multi_thread")]
async fn clearing_away_costs_a_look_at_the_clock() {
    let server = Server::start(&[]);
    let storage = RedisCache::builder(unique("expiry")).url(server.url()).open_storage().await.unwrap();
    let storage: &dyn hyper_client_cache_core::storage::Storage = &storage;
    let soon = SystemClock.now() + Duration::from_millis(100);
    let entries = (0..500).map(|number| (key(number), Entry::new("head", "body").retain_until(soon))).collect();
    storage.write_many(entries).await.unwrap();
    storage.write(&key(1000), Entry::new("head", "body")).await.unwrap();
    crate::support::until("the server has removed them", async || server.command(&["DBSIZE"]) == ":1").await;
    assert_eq!(server.command(&["CONFIG", "RESETSTAT"]), "+OK");
    assert_eq!(storage.delete_expired(SystemClock.now()).await.unwrap(), 0);
    assert_eq!(commands(&server), named(&[("time", 1)]));
    storage.close().await.unwrap();
}

/// Parts of a body go in batches, and the body streams.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_a_head_and_its_parts() {
    let server = Server::start(&[]);
    let origin = Origin::start(|_: &hyper_client_cache_testkit::origin::Recorded| {
        Answer::pattern(10 * 256 * 1024).header("cache-control", "max-age=3600")
    })
    .await;
    let name = unique("large");
    let cache = RedisCache::builder(&name).url(server.url()).connect().await.unwrap();
    let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
    let url = origin.url("/");
    let miss = session.get(&url).send().await.unwrap().bytes().await.unwrap();
    session.layer().flush().await;
    assert_eq!(server.calls("set"), 11);
    let hit = session.get(&url).send().await.unwrap();
    assert!(hit.from_cache());
    assert!(hit.bytes().await.unwrap() == miss);
    assert_eq!(server.command(&["DBSIZE"]), ":11");
    session.close().await.unwrap();
}
