//! What it costs in round trips and commands, counted by the server itself.

use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{Cache, Stored};
use hyper_client_cache_core::clock::{Clock, SystemClock};
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_redis::RedisCache;
use hyper_client_cache_testkit::origin::{Answer, Origin};
use hyper_client_cache_testkit::proxy::{Fault, Proxy};

use crate::server::Server;
use crate::support::{key, patient, stored, unique, until};

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
    let cache = patient(RedisCache::builder(unique("costs")).url(server.url())).connect().await.unwrap();
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

/// Where this process met a response last, it alone is asked for; where that is gone, what is there instead is found.
#[tokio::test(flavor = "multi_thread")]
async fn an_expected_response_is_asked_for_alone_and_what_took_its_place_is_found() {
    // The numbers of `stored`: a response, and a redirect.
    const RESPONSE: u64 = 0;
    const REDIRECT: u64 = 4;
    let server = Server::start(&[]);
    let name = unique("expected");
    let open = || patient(RedisCache::builder(&name).url(server.url())).connect();
    let (one, other) = (open().await.unwrap(), open().await.unwrap());
    let reset = || assert_eq!(server.command(&["CONFIG", "RESETSTAT"]), "+OK");
    // How many keys were asked for, and by how many commands.
    let asked = || {
        let stats = server.command(&["INFO", "stats"]);
        let figure = |name: &str| -> u64 {
            stats.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
        };
        (figure("keyspace_hits:") + figure("keyspace_misses:"), server.calls("mget"))
    };
    let is_redirect = |found: Option<Stored>| found.map(|found| found.record.is_redirect());
    let (response, redirect) = (stored(RESPONSE), stored(REDIRECT));
    let place = key(RESPONSE);

    other.put(&place, response.clone(), None).await.unwrap();
    for keys in [2, 1, 1] {
        reset();
        assert_eq!(is_redirect(one.get(&place).await.unwrap()), Some(false));
        assert_eq!(asked(), (keys, 1));
    }
    other.put(&place, redirect, None).await.unwrap();
    for expected in [(3, 2), (2, 1)] {
        reset();
        assert_eq!(is_redirect(one.get(&place).await.unwrap()), Some(true));
        assert_eq!(asked(), expected);
    }
    other.put(&place, response, None).await.unwrap();
    assert_eq!(is_redirect(one.get(&place).await.unwrap()), Some(false));
    assert!(other.delete(&place).await.unwrap());
    for expected in [(3, 2), (2, 1)] {
        reset();
        assert!(one.get(&place).await.unwrap().is_none());
        assert_eq!(asked(), expected);
    }
    one.close().await.unwrap();
    other.close().await.unwrap();
}

/// How many entries go to the server at once.
const BATCH: u64 = 256;

fn many(count: u64) -> Vec<(CacheKey, Entry)> {
    let soon = SystemClock.now() + Duration::from_secs(3600);
    (0..count).map(|number| (key(number), Entry::new("head", "body").retain_until(soon))).collect()
}

/// What many commands at once come to, counted by the server.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_work_is_batched() {
    let server = Server::start(&[]);
    let cache = patient(RedisCache::builder(unique("bulk")).url(server.url())).connect().await.unwrap();
    let responses = cache.responses();
    let keys: Vec<_> = (0..1000).map(key).collect();
    let reset = || assert_eq!(server.command(&["CONFIG", "RESETSTAT"]), "+OK");

    reset();
    responses.write_many(many(1000)).await.unwrap();
    assert_eq!(commands(&server), named(&[("set", 1000)]));

    reset();
    assert_eq!(responses.read_many(&keys).await.unwrap().iter().flatten().count(), 1000);
    assert_eq!(commands(&server), named(&[("get", 1000)]));

    reset();
    assert_eq!(responses.delete_many(&keys).await.unwrap(), 1000);
    let unlinks = 1000_u64.div_ceil(BATCH);
    assert_eq!(commands(&server), named(&[("getrange", 1000), ("unlink", unlinks)]), "what was live, and away with it");

    responses.write_many(many(1000)).await.unwrap();
    reset();
    cache.clear().await.unwrap();
    let after = commands(&server);
    let calls = |name: &str| after.iter().find(|(found, _)| found == name).map_or(0, |(_, count)| *count);
    assert!(calls("unlink") <= calls("scan"), "at most one for each page: {after:?}");
    assert_eq!(after.len(), 2, "{after:?}");
    cache.close().await.unwrap();
}

/// None of a batch waits for the reply to another: all of it reaches a server whose replies do not come through.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_sent_before_the_first_reply() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    let config = RedisCache::builder(unique("batch")).url(format!("redis://{}", proxy.addr()));
    let cache = patient(config).connect().await.unwrap();
    let count = 2 * BATCH;
    let keys: Vec<_> = (0..count).map(key).collect();
    for (name, each) in [("set", BATCH), ("get", 32), ("unlink", 1)] {
        assert_eq!(server.command(&["CONFIG", "RESETSTAT"]), "+OK");
        proxy.set(Fault::Mute).await;
        let (cache, keys) = (cache.clone(), keys.clone());
        let work = tokio::spawn(async move {
            let responses = cache.responses();
            match name {
                "set" => responses.write_many(many(count)).await.unwrap(),
                "get" => assert_eq!(responses.read_many(&keys).await.unwrap().iter().flatten().count(), keys.len()),
                _ => assert_eq!(responses.delete_many(&keys).await.unwrap(), count),
            }
        });
        until("the first batch has come", async || server.calls(name) >= each).await;
        assert_eq!(server.calls(name), each, "the next one waits for it");
        assert!(!work.is_finished());
        proxy.set(Fault::None).await;
        work.await.unwrap();
    }
    cache.close().await.unwrap();
}

/// On a cluster one command removes the keys of one slot: response, redirect and parts of a request.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_one_slot_is_removed_by_one_command() {
    let server = Server::start_cluster();
    let cache = patient(RedisCache::builder(unique("slot")).url(server.cluster_url())).connect().await.unwrap();
    let bodies = cache.bodies().unwrap();
    let part = |owner: u64, number: u64| CacheKey::new(&format!("{}-0123-{number}", key(owner))).unwrap();
    let parts: Vec<_> = (0..3).flat_map(|owner| (0..20).map(move |number| part(owner, number))).collect();
    for part in &parts {
        bodies.write(part, Entry::new("", "part")).await.unwrap();
    }
    assert_eq!(server.command(&["CONFIG", "RESETSTAT"]), "+OK");
    assert_eq!(bodies.delete_many(&parts).await.unwrap(), 60);
    assert_eq!(server.calls("getrange"), 60);
    assert_eq!(server.calls("unlink"), 3);
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
    until("the server has removed them", async || server.command(&["DBSIZE"]) == ":1").await;
    assert_eq!(server.command(&["CONFIG", "RESETSTAT"]), "+OK");
    assert_eq!(storage.delete_expired(SystemClock.now()).await.unwrap(), 0);
    assert_eq!(commands(&server), named(&[("time", 1)]));
    storage.close().await.unwrap();
}

/// Each part of a body is one command, and its head another. It has no more parts than may be on their way, so that it is
/// stored however long the server takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_a_head_and_its_parts() {
    let server = Server::start(&[]);
    let origin = Origin::start(|_: &hyper_client_cache_testkit::origin::Recorded| {
        Answer::pattern(2 * 256 * 1024 - 1).header("cache-control", "max-age=3600")
    })
    .await;
    let name = unique("large");
    let cache = patient(RedisCache::builder(&name).url(server.url())).connect().await.unwrap();
    let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
    let url = origin.url("/");
    let miss = session.get(&url).send().await.unwrap().bytes().await.unwrap();
    session.layer().flush().await;
    assert_eq!(server.calls("set"), 3);
    let hit = session.get(&url).send().await.unwrap();
    assert!(hit.from_cache());
    assert!(hit.bytes().await.unwrap() == miss);
    assert_eq!(server.command(&["DBSIZE"]), ":3");
    session.close().await.unwrap();
}
