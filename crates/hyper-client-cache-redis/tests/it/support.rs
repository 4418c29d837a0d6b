//! What several tests need: the servers that were started for them, names of their own, commands behind a cache's back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode, header};
use hyper_client_cache_core::cache::{BodyPlace, Freshness, LifetimeSource, Record, ResponseRecord, Stored};
use hyper_client_cache_core::clock::{Clock, SystemClock};
use hyper_client_cache_core::storage::{CacheKey, Guard};
use hyper_client_cache_core::{CachedSession, Result};
use hyper_client_cache_redis::fred::clients::Client;
use hyper_client_cache_redis::fred::interfaces::{ClientLike, ClusterInterface, KeysInterface};
use hyper_client_cache_redis::fred::types::Builder;
use hyper_client_cache_redis::fred::types::config::{Config, Options};
use hyper_client_cache_redis::{RedisCache, RedisConfig};
use hyper_client_cache_testkit::origin::{Answer, Origin};

/// The address in this variable, which `cargo xtask test` sets.
#[track_caller]
pub fn address(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} names no server: run `cargo xtask test`, or export what `cargo xtask services up` prints")
    })
}

pub fn standalone() -> String {
    address("HCC_REDIS_URL")
}

pub fn cluster() -> String {
    address("HCC_REDIS_CLUSTER_URL")
}

/// A name that no other test and no other run has.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("hcc-test-{name}-{}-{count}-{:08x}", std::process::id(), fastrand::u32(..))
}

pub fn key(number: u64) -> CacheKey {
    CacheKey::new(&format!("key-{number:08}")).unwrap()
}

/// A response whose body names its key, or a redirect.
pub fn stored(number: u64) -> Stored {
    let body = format!("body of {number}").into_bytes();
    let is_redirect = number % 5 == 4;
    let status = if is_redirect { StatusCode::FOUND } else { StatusCode::OK };
    let freshness = Freshness::new(SystemClock.now(), Some(Duration::from_secs(3600)), LifetimeSource::Session);
    let mut record = ResponseRecord::new(key(number), Method::GET, "http://host/path", status, freshness);
    if is_redirect {
        record.headers.push((header::LOCATION, HeaderValue::from_static("/elsewhere")));
    }
    record.body = BodyPlace::Inline { len: body.len() as u64 };
    Stored::new(Record::Response(record), body.into(), None)
}

/// Whether a look-up has found what [`stored`] made for its key.
pub fn is_own(number: u64, found: &Result<Option<Stored>>) -> bool {
    matches!(found, Ok(Some(found)) if *found.record.key() == key(number) && *found.body == *format!("body of {number}").as_bytes())
}

/// With deadlines that a busy machine does not miss, for tests of something else than deadlines.
pub fn patient(config: RedisConfig) -> RedisConfig {
    const PATIENCE: Duration = Duration::from_secs(10);
    let guard = Guard::builder().detach(false).deadline(PATIENCE).write_deadline(PATIENCE).build().unwrap();
    config.command_timeout(PATIENCE).guard(guard).configure(|driver| {
        driver.with_connection_config(|connection| {
            connection.connection_timeout = PATIENCE;
            connection.internal_command_timeout = PATIENCE;
            connection.unresponsive.max_timeout = None;
        });
    })
}

/// A client of the driver, behind the back of every cache.
pub async fn client(url: &str) -> Client {
    let client = Builder::from_config(Config::from_url(url).unwrap()).build().unwrap();
    client.init().await.unwrap();
    client
}

/// The keys on the server, of all nodes of a cluster, that begin so.
pub async fn keys_of(client: &Client, prefix: &str) -> Vec<String> {
    let nodes = match client.is_clustered() {
        true => client.cached_cluster_state().unwrap().unique_primary_nodes().into_iter().map(Some).collect(),
        false => vec![None],
    };
    let mut all = Vec::new();
    for node in nodes {
        let calls = client.with_options(&Options { cluster_node: node, ..Options::default() });
        let mut cursor = "0".to_owned();
        loop {
            let (next, keys): (String, Vec<String>) =
                calls.scan_page(cursor, format!("{prefix}*"), Some(1000), None).await.unwrap();
            all.extend(keys);
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
    }
    all
}

/// Removes what a test left: all keys that begin so.
pub async fn remove(url: &str, prefix: &str) {
    let client = client(url).await;
    for key in keys_of(&client, prefix).await {
        let _: i64 = client.unlink(key).await.unwrap();
    }
    let _ = client.quit().await;
}

/// An origin whose `/` is good for an hour.
pub async fn origin() -> Origin {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("body").header("cache-control", "max-age=3600"));
    origin
}

pub fn session(cache: &RedisCache) -> CachedSession {
    CachedSession::builder().cache(cache.clone()).build().unwrap()
}

/// One request: whether it came from the cache. It succeeds whatever the server does.
pub async fn ask(session: &CachedSession, url: &str) -> bool {
    let response = session.get(url).send().await.unwrap();
    let from_cache = response.from_cache();
    assert_eq!(response.text().await.unwrap(), "body");
    session.layer().flush().await;
    from_cache
}

/// Asks until the answer comes from the cache; requests succeed all the while.
pub async fn resumes(session: &CachedSession, url: &str) {
    resumes_within(session, url, Duration::from_secs(60)).await;
}

/// The same, where others must come to terms first.
pub async fn resumes_within(session: &CachedSession, url: &str, time: Duration) {
    let begun = Instant::now();
    while !ask(session, url).await {
        assert!(begun.elapsed() < time, "caching has not resumed in {time:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until something that another task or process does has happened; panics where it does not within a minute.
pub async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if happened().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen: {what}");
}
