//! What each operation costs: commands counted by the driver.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderValue, Method, StatusCode, header};
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{BodyPlace, Cache, Freshness, LifetimeSource, Record, ResponseRecord, Stored};
use hyper_client_cache_core::clock::{Clock, SystemClock};
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_mongo::MongoCache;
use hyper_client_cache_mongo::mongodb::options::ServerAddress;
use hyper_client_cache_testkit::origin::{Answer, Origin};
use hyper_client_cache_testkit::proxy::{Fault, Proxy};

use crate::support::{Commands, Databases, address, key};

fn only(name: &str, count: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(name.to_owned(), count)])
}

/// A hit is one round trip, a store is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_one_command_and_so_is_a_store() {
    let (databases, commands) = (Databases::new(), Commands::default());
    let config = MongoCache::builder(databases.name("c")).client_options(commands.options().await);
    let session = CachedSession::builder().cache(config.unguarded().connect().await.unwrap()).build().unwrap();
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("hello").header("cache-control", "max-age=60"));

    commands.take();
    session.get(origin.url("/")).send().await.unwrap().text().await.unwrap();
    session.layer().flush().await;
    // The look-up asks for response and redirect at the same time.
    assert_eq!(commands.take(), BTreeMap::from([("find".to_owned(), 2), ("update".to_owned(), 1)]), "miss and store");

    let response = session.get(origin.url("/")).send().await.unwrap();
    assert!(response.from_cache());
    assert_eq!(response.text().await.unwrap(), "hello");
    assert_eq!(commands.take(), only("find", 1), "hit");
}

/// Neither a miss nor a redirect costs a round trip more than a hit: both collections are asked before either answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_one_round_trip_and_so_is_a_redirect() {
    let (databases, commands) = (Databases::new(), Commands::default());
    let proxy = Proxy::to(address()).await.unwrap();
    let mut options = commands.options().await;
    options.hosts = vec![ServerAddress::parse(proxy.addr().to_string()).unwrap()];
    let config = MongoCache::builder(databases.name("c")).client_options(options);
    let cache = config.unguarded().connect().await.unwrap();
    cache.put(&key(1), redirect(key(1)), None).await.unwrap();
    // Connections are there already.
    let keys: Vec<_> = (0..8).map(key).collect();
    join_all(keys.iter().map(|key| cache.responses().contains(key))).await;
    for (name, found) in [(key(1), true), (key(2), false), (key(2), false)] {
        proxy.set(Fault::Hang).await;
        commands.take();
        let look_up = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get(&name).await }
        });
        for _ in 0..2_000 {
            if commands.seen("find") == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(commands.take(), only("find", 2), "sent while nothing was answered");
        assert!(!look_up.is_finished());
        proxy.set(Fault::None).await;
        assert_eq!(look_up.await.unwrap().unwrap().is_some(), found);
        assert_eq!(commands.take(), BTreeMap::new(), "after the answers");
    }
}

/// Where a response was found or stored, it alone is asked for; where it is gone, the redirect is still found.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_expected_is_asked_for_alone_and_nothing_is_overlooked() {
    let (databases, commands) = (Databases::new(), Commands::default());
    let config = MongoCache::builder(databases.name("c")).client_options(commands.options().await);
    let (one, other) = (config.clone().unguarded(), config.unguarded());
    let (one, other) = (one.connect().await.unwrap(), other.connect().await.unwrap());
    one.put(&key(1), response(key(1)), None).await.unwrap();
    for (cache, finds) in [(&one, 1), (&other, 2), (&other, 1), (&one, 1)] {
        commands.take();
        assert!(cache.get(&key(1)).await.unwrap().is_some());
        // What nobody waits for may come a moment later.
        for _ in 0..2_000 {
            if commands.seen("find") == finds {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(commands.take(), only("find", finds));
    }
    // Another process puts a redirect in its place.
    other.put(&key(1), redirect(key(1)), None).await.unwrap();
    for _ in 0..2 {
        assert!(one.get(&key(1)).await.unwrap().unwrap().record.is_redirect());
    }
    other.delete(&key(1)).await.unwrap();
    for cache in [&one, &other] {
        assert!(cache.get(&key(1)).await.unwrap().is_none());
    }
}

fn response(key: CacheKey) -> Stored {
    stored(key, StatusCode::OK)
}

fn redirect(key: CacheKey) -> Stored {
    stored(key, StatusCode::MOVED_PERMANENTLY)
}

fn stored(key: CacheKey, status: StatusCode) -> Stored {
    let freshness = Freshness::new(SystemClock.now(), None, LifetimeSource::Session);
    let mut record = ResponseRecord::new(key, Method::GET, "http://host/", status, freshness);
    record.body = BodyPlace::Inline { len: 4 };
    if status.is_redirection() {
        record.headers.push((header::LOCATION, HeaderValue::from_static("http://host/other")));
    }
    Stored::new(Record::Response(record), "body".into(), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_work_is_batched() {
    let (databases, commands) = (Databases::new(), Commands::default());
    let config = MongoCache::builder(databases.name("c")).client_options(commands.options().await);
    let cache = config.unguarded().connect().await.unwrap();
    let storage = cache.responses();
    let keys: Vec<CacheKey> = (0..1_200).map(key).collect();
    commands.take();
    storage.write_many(keys.iter().map(|key| (*key, Entry::new("head", "body"))).collect()).await.unwrap();
    assert_eq!(commands.take(), only("update", 3));
    assert!(storage.read_many(&keys).await.unwrap().iter().all(Option::is_some));
    let read = commands.take();
    assert!(read.values().sum::<u64>() <= 16, "{read:?}");
    assert_eq!(storage.delete_many(&keys).await.unwrap(), 1_200);
    assert_eq!(commands.take(), only("delete", 4));
}

/// The first use connects, and makes the index once.
#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_made_once() {
    let (databases, commands) = (Databases::new(), Commands::default());
    let cache = MongoCache::builder(databases.name("c"))
        .client_options(commands.options().await)
        .unguarded()
        .open()
        .await
        .unwrap();
    assert_eq!(commands.take(), BTreeMap::new(), "nothing was connected to");
    for number in 0..3 {
        cache.responses().write(&key(number), Entry::new("head", "body")).await.unwrap();
    }
    assert_eq!(commands.take().get("createIndexes"), Some(&1));
}
