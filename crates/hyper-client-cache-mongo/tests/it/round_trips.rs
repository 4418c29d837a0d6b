//! What each operation costs: commands counted by the driver.

use std::collections::BTreeMap;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_mongo::MongoCache;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use crate::support::{Commands, Databases, key};

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
    // The lookup asks for the response and, where there is none, for a redirect.
    assert_eq!(commands.take(), BTreeMap::from([("find".to_owned(), 2), ("update".to_owned(), 1)]), "miss and store");

    let response = session.get(origin.url("/")).send().await.unwrap();
    assert!(response.from_cache());
    assert_eq!(response.text().await.unwrap(), "hello");
    assert_eq!(commands.take(), only("find", 1), "hit");
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
