//! Whole sessions on a table: from one process to the next, and bodies larger than any item.

use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::cache::parts::PART_LEN;
use hyper_client_cache_core::clock::system_clock;
use hyper_client_cache_core::storage::Guard;
use hyper_client_cache_dynamodb::DynamoDbCache;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use crate::support::Tables;

async fn session(tables: &Tables) -> (CachedSession, DynamoDbCache) {
    let patience = Duration::from_secs(20);
    let guard = Guard::builder().deadline(patience).write_deadline(patience).build().unwrap();
    let cache = tables.config("session").clock(system_clock()).guard(guard).connect().await.unwrap();
    (CachedSession::builder().cache(cache.clone()).build().unwrap(), cache)
}

/// What one session stored is a hit in the next, redirects included; what it deleted is none.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_session_is_answered_from_the_table() {
    let tables = Tables::new();
    let origin = Origin::scripted().await;
    origin.on("/old", Answer::redirect(301, "/new").header("cache-control", "max-age=600"));
    origin.on("/new", Answer::ok("hello").header("cache-control", "max-age=600"));
    let (first, _) = session(&tables).await;
    assert_eq!(first.get(origin.url("/old")).send().await.unwrap().text().await.unwrap(), "hello");
    first.close().await.unwrap();
    let (second, cache) = session(&tables).await;
    let response = second.get(origin.url("/old")).send().await.unwrap();
    assert!(response.from_cache());
    assert_eq!(response.text().await.unwrap(), "hello");
    assert_eq!(origin.count(), 2);
    cache.clear().await.unwrap();
    second.close().await.unwrap();
    let (third, _) = session(&tables).await;
    assert!(!third.get(origin.url("/new")).send().await.unwrap().from_cache());
}

/// Case 220: a body larger than any item lies in parts, and is whole in the next session; with a part gone it is fetched
/// anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_any_item_is_kept_in_parts() {
    let tables = Tables::new();
    let origin = Origin::scripted().await;
    // Parts that may all be under way at once: a body waits a little only for a store that is slower, and here anything is.
    let body: Vec<u8> = (0..2 * PART_LEN + 2).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let answer = Answer::ok(body.clone()).header("cache-control", "max-age=600").header("etag", "\"1\"");
    origin.on("/large", answer);
    let (first, _) = session(&tables).await;
    let fetched = first.get(origin.url("/large")).send().await.unwrap().bytes().await.unwrap();
    assert!(fetched == body, "another body");
    first.close().await.unwrap();
    assert_eq!(first.stats().store_failed, 0, "{:?}", first.stats());

    let (second, cache) = session(&tables).await;
    let parts = cache.bodies().unwrap();
    assert_eq!(parts.size().await.unwrap(), 3, "two whole parts, and the rest");
    let response = second.get(origin.url("/large")).send().await.unwrap();
    assert!(response.from_cache());
    assert!(response.bytes().await.unwrap() == fetched, "another body");
    assert_eq!(origin.count(), 1);

    use futures_util::TryStreamExt;
    let keys: Vec<_> = parts.keys().try_collect().await.unwrap();
    parts.delete(&keys[0]).await.unwrap();
    second.close().await.unwrap();
    let (third, _) = session(&tables).await;
    let again = third.get(origin.url("/large")).send().await.unwrap().bytes().await.unwrap();
    assert!(again == fetched, "another body");
    assert!(origin.count() > 1, "the missing part came from the origin");
}
