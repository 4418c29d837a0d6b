//! A server that is there and cannot, for now or at all (case 213): a request is what it would be without a cache, and
//! caching resumes when the server can again.

use std::time::Duration;

use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_redis::RedisCache;
use hyper_client_cache_redis::fred::util::redis_keyslot;

use crate::liar::Liar;
use crate::server::Server;
use crate::support::{ask, key, origin, patient, resumes, session, unique, until};

/// Whatever code a look-up is answered with.
#[tokio::test(flavor = "multi_thread")]
async fn no_error_code_reaches_a_caller() {
    let server = Server::start(&[]);
    let liar = Liar::before(server.port()).await;
    let config = RedisCache::builder(unique("codes")).url(format!("redis://127.0.0.1:{}", liar.port()));
    let cache = config.open().await.unwrap();
    let origin = origin().await;
    let (session, url) = (session(&cache), origin.url("/"));
    resumes(&session, &url).await;
    for reply in [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "MOVED 3999 127.0.0.1:1",
        "ASK 3999 127.0.0.1:1",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "BUSY Redis is busy running a script.",
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOPERM this user has no permissions to run the 'mget' command",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "ERR unknown command 'MGET'",
        "NEVERHEARDOF this one",
    ] {
        liar.say(Some(format!("-{reply}\r\n").into_bytes()));
        for _ in 0..10 {
            assert!(!ask(&session, &url).await, "a hit in spite of {reply}");
        }
        liar.say(None);
        resumes(&session, &url).await;
    }
    session.close().await.unwrap();
}

/// A server that has just been started, and reads what it had saved.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_loads_is_used_when_it_has_loaded() {
    let mut server = Server::start(&[]);
    let cache = patient(RedisCache::builder(unique("loading")).url(server.url())).connect().await.unwrap();
    let origin = origin().await;
    let (session, url) = (session(&cache), origin.url("/"));
    assert!(!ask(&session, &url).await);
    let others = (0..200).map(|number| (key(number), Entry::new("head", "body"))).collect();
    cache.responses().write_many(others).await.unwrap();
    assert_eq!(server.command(&["SAVE"]), "+OK");
    // Options that are there to test this: a wait after each key, and clients heard between.
    server.restart_with(&["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"]);
    assert!(server.command(&["GET", "x"]).starts_with("-LOADING"));
    let mut misses = 0;
    while server.command(&["GET", "x"]).starts_with("-LOADING") {
        misses += u32::from(!ask(&session, &url).await);
    }
    assert!(misses > 0);
    resumes(&session, &url).await;
    session.close().await.unwrap();
}

/// A master that is made a replica while it is used, and one that never was anything else.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_read_and_errors_of_writing_are_transient() {
    let master = Server::start(&[]);
    let server = Server::start(&[]);
    let (master_port, other) = (master.port().to_string(), key(2));
    let cache = patient(RedisCache::builder(unique("replica")).url(server.url())).connect().await.unwrap();
    let storage = cache.responses();
    storage.write(&key(1), Entry::new("head", "body")).await.unwrap();
    assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", &master_port]), "+OK");
    let error = storage.write(&other, Entry::new("head", "body")).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    until("it is read again", async || storage.read(&other).await.is_ok()).await;
    let origin = origin().await;
    let (session, url) = (session(&cache), origin.url("/"));
    for _ in 0..10 {
        assert!(!ask(&session, &url).await);
    }
    assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    resumes(&session, &url).await;
    session.close().await.unwrap();
}

/// A cluster that has lost a slot.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_down_is_used_when_it_is_up() {
    let server = Server::start_cluster();
    let cache = patient(RedisCache::builder(unique("down")).url(server.cluster_url())).connect().await.unwrap();
    let origin = origin().await;
    let (session, url) = (session(&cache), origin.url("/"));
    resumes(&session, &url).await;
    assert_eq!(server.command(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]), "+OK");
    assert!(server.command(&["GET", "x"]).starts_with("-CLUSTERDOWN"));
    for _ in 0..20 {
        assert!(!ask(&session, &url).await);
    }
    assert_eq!(server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "+OK");
    until("it is up", async || server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")).await;
    resumes(&session, &url).await;
    session.close().await.unwrap();
}

/// A slot that moves from one node to another: what is on its way (`ASK`, and `TRYAGAIN` for a look-up, which asks for two
/// keys) is a miss, and it is found where it went (`MOVED`).
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_is_followed() {
    let (from, to) = (Server::start_cluster(), Server::start_node());
    let (to_port, bus) = (to.port().to_string(), (to.port() + 10_000).to_string());
    assert_eq!(from.command(&["CLUSTER", "MEET", "127.0.0.1", &to_port, &bus]), "+OK");
    until("they have met", async || {
        to.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
            && from.command(&["CLUSTER", "NODES"]).matches("connected").count() == 2
    })
    .await;
    let name = unique("moving");
    let cache = patient(RedisCache::builder(&name).url(from.cluster_url())).connect().await.unwrap();
    let storage = cache.responses();
    let entry = Entry::new("head", "body");
    storage.write(&key(1), entry.clone()).await.unwrap();
    let text = format!("{name}:responses:{{{}}}", key(1));
    let slot = redis_keyslot(text.as_bytes()).to_string();
    let (from_id, to_id) = (from.command(&["CLUSTER", "MYID"]), to.command(&["CLUSTER", "MYID"]));
    assert_eq!(to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]), "+OK");
    assert_eq!(from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]), "+OK");
    assert_eq!(storage.read(&key(1)).await.unwrap(), Some(entry.clone()), "it is where it was");
    assert_eq!(from.command(&["MIGRATE", "127.0.0.1", &to_port, &text, "0", "5000"]), "+OK");
    assert!(from.command(&["GET", &text]).starts_with("-ASK"));
    match storage.read(&key(1)).await {
        Ok(found) => assert_eq!(found, Some(entry.clone())),
        // The driver takes what follows `ASKING` to the node that has the slot.
        Err(error) => assert!(error.is_transient(), "{error:?}"),
    }
    let error = cache.get(&key(1)).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    until("other slots are served", async || storage.read(&key(2)).await.is_ok()).await;
    for server in [&to, &from] {
        assert_eq!(server.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]), "+OK");
    }
    assert!(from.command(&["GET", &text]).starts_with("-MOVED"));
    until("`MOVED` is followed", async || storage.read(&key(1)).await.is_ok_and(|found| found == Some(entry.clone())))
        .await;
    tokio::time::timeout(Duration::from_secs(20), cache.clear()).await.unwrap().unwrap();
    assert_eq!(storage.read(&key(1)).await.unwrap(), None);
    cache.close().await.unwrap();
}
