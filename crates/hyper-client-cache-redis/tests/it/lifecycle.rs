//! Connecting late, closing, and what is left when a cache is dropped.

use std::time::Duration;

use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_redis::RedisCache;

use crate::server::Server;
use crate::support::{key, keys_of, patient, unique, until};

fn connections(server: &Server) -> usize {
    // The one that asks is one of them.
    server.command(&["CLIENT", "LIST"]).lines().filter(|line| line.contains("addr=")).count() - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_connects_before_the_first_use() {
    let server = Server::start(&[]);
    let cache = patient(RedisCache::builder(unique("lazy")).url(server.url())).open().await.unwrap();
    assert_eq!(connections(&server), 0);
    cache.responses().contains(&key(1)).await.unwrap();
    assert_eq!(connections(&server), 1);
    cache.close().await.unwrap();
    assert_eq!(server.calls("quit"), 1, "it takes its leave, after all that was sent before");
    until("the connection is closed", async || connections(&server) == 0).await;
    assert_eq!(cache.responses().read(&key(1)).await.unwrap_err().kind(), ErrorKind::Closed);
}

/// Case 233: a cache that is dropped without being closed leaves no task and no connection.
#[tokio::test]
async fn a_dropped_cache_leaves_nothing_running() {
    let server = Server::start(&[]);
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let cache = patient(RedisCache::builder(unique("dropped")).url(server.url())).connect().await.unwrap();
    cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    assert_eq!(connections(&server), 1);
    drop(cache);
    until("the connection is closed", async || connections(&server) == 0).await;
    until("the tasks have ended", async || tokio::runtime::Handle::current().metrics().num_alive_tasks() <= before)
        .await;
}

/// Case 235: the runtime in which a cache connected ends; the cache connects anew in another.
#[test]
fn a_cache_outlives_its_runtime() {
    let server = Server::start(&[]);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let cache = first.block_on(async {
        let cache = patient(RedisCache::builder(unique("runtime")).url(server.url())).connect().await.unwrap();
        cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
        cache
    });
    drop(first);
    runtime().block_on(async {
        until("it connects anew", async || cache.responses().read(&key(1)).await.is_ok()).await;
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("head", "body")));
        cache.close().await.unwrap();
    });
    drop(cache);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_cache_whose_server_hangs_does_not_hang() {
    let server = Server::start(&[]);
    let cache = RedisCache::builder(unique("closing")).url(server.url()).unguarded().connect().await.unwrap();
    server.freeze();
    tokio::time::timeout(Duration::from_secs(20), cache.close()).await.unwrap().unwrap();
    server.thaw();
}

/// Case 119: a name that is the beginning of another's keys, or a pattern, and keys of other programs.
#[tokio::test(flavor = "multi_thread")]
async fn clearing_takes_nothing_of_anybody_else() {
    let server = Server::start(&[]);
    let names = ["app", "app2", "app:x", "app:responses", "app*", "ap?", "[a]pp", "app\\", "{app}", "*"];
    let mut caches = Vec::new();
    for name in names {
        let cache = patient(RedisCache::builder(name).url(server.url())).open().await.unwrap();
        for storage in [cache.responses(), cache.redirects(), cache.bodies().unwrap()] {
            storage.write(&key(1), Entry::new("head", name)).await.unwrap();
        }
        caches.push(cache);
    }
    for foreign in ["app", "app:", "app:responses", "app:responses:x", "app:responses:{}", "app2:", "other"] {
        assert_eq!(server.command(&["SET", foreign, "foreign"]), "+OK");
    }
    for (at, cache) in caches.iter().enumerate() {
        assert_eq!(cache.responses().size().await.unwrap(), 1);
        cache.clear().await.unwrap();
        for (name, other) in names.iter().zip(&caches).skip(at + 1) {
            let found = other.redirects().read(&key(1)).await.unwrap();
            assert_eq!(found, Some(Entry::new("head", *name)), "after {:?} was cleared", names[at]);
        }
    }
    let client = crate::support::client(&server.url()).await;
    assert_eq!(keys_of(&client, "").await.len(), 7, "what is not ours was removed");
    let entry = caches[0].responses().read(&key(1)).await.unwrap();
    assert_eq!(entry, None);
}

/// Case 225: what another process removes is gone for this one with its next request, for there is no tier in memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_removes_is_gone_at_once() {
    let server = Server::start(&[]);
    let name = unique("foreign");
    let one = patient(RedisCache::builder(&name).url(server.url())).open().await.unwrap();
    let two = patient(RedisCache::builder(&name).url(server.url())).open().await.unwrap();
    one.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    assert!(two.responses().read(&key(1)).await.unwrap().is_some());
    assert!(two.responses().delete(&key(1)).await.unwrap());
    assert_eq!(one.responses().read(&key(1)).await.unwrap(), None);
    one.close().await.unwrap();
    two.close().await.unwrap();
}
