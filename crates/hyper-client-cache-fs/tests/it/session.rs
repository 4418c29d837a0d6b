//! Sessions whose responses lie in files.

use std::fs;
use std::time::Duration;

use futures_util::TryStreamExt;
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::policy::Mode;
use hyper_client_cache_core::session::Response;
use hyper_client_cache_fs::{Durability, FsCache};
use hyper_client_cache_testkit::origin::{Answer, Origin, PatternChecker};

use crate::support::{files, until};

const MIB: u64 = 1024 * 1024;

fn session(cache: &FsCache) -> CachedSession {
    CachedSession::builder().cache(cache.clone()).build().unwrap()
}

fn fresh(answer: Answer) -> Answer {
    answer.header("cache-control", "max-age=600")
}

/// Whether the body is the test server's, to the last byte, of this length.
async fn is_pattern(mut response: Response, len: u64) -> bool {
    let mut checker = PatternChecker::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        if !checker.update(&chunk) {
            return false;
        }
    }
    checker.len() == len
}

/// What was fetched by one process's session is a hit in the next, without the origin.
#[tokio::test]
async fn what_was_fetched_is_a_hit_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let origin = Origin::scripted().await;
    origin.on("/", fresh(Answer::ok("hello")));
    origin.on("/moved", fresh(Answer::redirect(301, "/")));
    for (durability, hit) in [(Durability::Fast, false), (Durability::Durable, true), (Durability::Fast, true)] {
        let cache = FsCache::builder(&path).durability(durability).open().await.unwrap();
        let session = session(&cache);
        for url in ["/", "/moved"] {
            let response = session.get(origin.url(url)).send().await.unwrap();
            assert_eq!(response.from_cache(), hit || url == "/moved", "{url}");
            assert_eq!(response.text().await.unwrap(), "hello");
        }
        session.close().await.unwrap();
    }
    assert_eq!(origin.count(), 2);
}

/// A 304 renews the head; the body stays as it is. Case 134.
#[tokio::test]
async fn a_304_renews_what_is_stored() {
    let cache = FsCache::builder("x").use_temp(true).open().await.unwrap();
    let session = session(&cache);
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("hello").etag("\"1\"").header("cache-control", "max-age=0"));
    session.get(origin.url("/")).send().await.unwrap().text().await.unwrap();
    origin.on("/", fresh(Answer::not_modified().etag("\"1\"")));
    for _ in 0..3 {
        let response = session.get(origin.url("/")).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "hello");
    }
    assert_eq!(origin.count(), 2);
}

/// Large bodies lie in parts, stream back exactly, and are made up for where a part is gone or damaged. Case 150.
///
/// This one has no more parts than may be on their way, so that it is stored however long the disk takes.
#[tokio::test]
async fn a_large_body_is_kept_in_parts() {
    const LEN: u64 = 500_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let origin = Origin::scripted().await;
    origin.on("/", fresh(Answer::pattern(LEN)));
    let cache = FsCache::open(&path).await.unwrap();
    let session = session(&cache);
    assert!(is_pattern(session.get(origin.url("/")).send().await.unwrap(), LEN).await);
    until(async || cache.responses().size().await.unwrap() == 1).await;
    let parts = files(&path.join("v1/bodies"));
    assert_eq!(parts.len(), 2);
    let response = session.get(origin.url("/")).send().await.unwrap();
    assert!(response.from_cache());
    assert!(is_pattern(response, LEN).await);
    assert_eq!(origin.count(), 1);
    // A reader that has begun gets all of it, whatever becomes of the parts.
    let reading = session.get(origin.url("/")).send().await.unwrap();
    fs::remove_file(&parts[0]).unwrap();
    fs::write(&parts[1], "damaged").unwrap();
    assert!(is_pattern(reading, LEN).await);
}

/// A request that must not ask the origin finds what is there, and nothing else.
#[tokio::test]
async fn offline_answers_come_from_files() {
    let cache = FsCache::builder("x").use_temp(true).open().await.unwrap();
    let session = session(&cache);
    let origin = Origin::scripted().await;
    origin.on("/", fresh(Answer::ok("hello")));
    session.get(origin.url("/")).send().await.unwrap().text().await.unwrap();
    let response = session.get(origin.url("/")).mode(Mode::OnlyIfCached).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "hello");
    let response = session.get(origin.url("/other")).mode(Mode::OnlyIfCached).send().await.unwrap();
    assert_eq!(response.status(), 504);
}

/// One cache for two sessions, and two caches on one directory: what one stores the other finds. Case 160.
#[tokio::test]
async fn sessions_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let origin = Origin::scripted().await;
    let (one, two) = (FsCache::open(&path).await.unwrap(), FsCache::open(&path).await.unwrap());
    let sessions = [session(&one), session(&one), session(&two)];
    for number in 0..12 {
        let url = format!("/{number}");
        origin.on(&url, fresh(Answer::ok(url.clone())));
        let (first, second) = (&sessions[number % 3], &sessions[(number + 1) % 3]);
        assert_eq!(first.get(origin.url(&url)).send().await.unwrap().text().await.unwrap(), url);
        until(async || second.get(origin.url(&url)).send().await.unwrap().from_cache()).await;
    }
    assert!(one.responses().keys().try_collect::<Vec<_>>().await.unwrap().len() >= 12);
}

/// A body that ends early is not stored, and leaves no file.
#[tokio::test]
async fn a_cut_body_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = FsCache::open(&path).await.unwrap();
    let session = session(&cache);
    let origin = Origin::scripted().await;
    origin.on("/small", fresh(Answer::pattern(10_000)).cut_after(5_000));
    origin.on("/large", fresh(Answer::pattern(3 * MIB)).cut_after(2 * MIB));
    for url in ["/small", "/large"] {
        let response = session.get(origin.url(url)).send().await.unwrap();
        assert!(response.bytes().await.is_err());
    }
    // What was written of it is removed a little later.
    until(async || files(&path).is_empty()).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(cache.responses().size().await.unwrap(), 0);
}

/// Case 239: a write that was given up does not come after the deletion that followed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_given_up_does_not_undo_a_deletion() {
    use futures_util::FutureExt;
    use hyper_client_cache_core::storage::Entry;

    let cache = FsCache::builder("x").use_temp(true).open().await.unwrap();
    let key = crate::support::key(1);
    for _ in 0..200 {
        let write = cache.responses().write(&key, Entry::new("head", vec![b'x'; 100_000]));
        drop(write.now_or_never());
        cache.responses().delete(&key).await.unwrap();
        assert_eq!(cache.responses().read(&key).await.unwrap(), None);
        tokio::task::yield_now().await;
        assert_eq!(cache.responses().read(&key).await.unwrap(), None);
    }
}
