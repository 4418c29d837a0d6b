//! Whole sessions on a table: from one process to the next, and bodies larger than any item.

use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::cache::parts::PART_LEN;
use hyper_client_cache_core::clock::system_clock;
use hyper_client_cache_core::storage::Guard;
use hyper_client_cache_dynamodb::DynamoDbCache;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};

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
    const CHUNKS: usize = 12;

    let tables = Tables::new();
    let origin = Origin::scripted().await;
    // No faster than the local server takes it: the engine does not slow a body down to that.
    let gates: Vec<_> = (0..CHUNKS).map(|_| Gate::new()).collect();
    let mut answer = Answer::status(200).header("cache-control", "max-age=600").header("etag", "\"1\"");
    for (number, gate) in gates.iter().enumerate() {
        answer = answer.chunk(vec![u8::try_from(number).unwrap(); PART_LEN + 1]).gate(gate);
    }
    origin.on("/large", answer);
    let (first, cache) = session(&tables).await;
    let opener = tokio::spawn(async move {
        for (number, gate) in (0_u64..).zip(gates) {
            // The beginning is held back until the body is too large for one item. A store that has given up is seen below.
            for _ in 0..1000 {
                if cache.bodies().unwrap().size().await.unwrap() >= number {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            gate.open();
        }
    });
    let fetched = first.get(origin.url("/large")).send().await.unwrap().bytes().await.unwrap();
    opener.await.unwrap();
    first.close().await.unwrap();
    assert_eq!(first.stats().store_failed, 0, "{:?}", first.stats());

    let (second, cache) = session(&tables).await;
    let parts = cache.bodies().unwrap();
    assert!(parts.size().await.unwrap() > 3, "parts of at most 384 KiB");
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
