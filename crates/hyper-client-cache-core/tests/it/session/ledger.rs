//! Read your writes: what was read to its end is found at once, whatever the store does, by every session on the cache.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use hyper_client_cache_core::cache::ledger::{Ledger, Replaced};
use hyper_client_cache_core::cache::{
    BodyPlace, Cache, Freshness, GuardedCache, LifetimeSource, MemoryCache, Record, ResponseRecord, Stored,
};
use hyper_client_cache_core::layer::OnCacheError;
use hyper_client_cache_core::policy::{Mode, Outcome};
use hyper_client_cache_core::storage::CacheKey;
use hyper_client_cache_core::transport::RequestBody;
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::origin::{Answer, Origin, Recorded};
use hyper_client_cache_testkit::{ManualClock, Op};

use super::{builder, eventually, faulty, outcome, pattern_len, settled, text};

const MIB: u64 = 1024 * 1024;

fn fresh(answer: Answer) -> Answer {
    answer.header("cache-control", "max-age=60")
}

#[tokio::test]
async fn what_was_read_is_found_at_once_although_the_store_hangs() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    responses.hang_on(Op::Write);
    for (path, len) in [("/empty", 0), ("/small", 1000), ("/large", MIB)] {
        origin.on(path, fresh(Answer::pattern(len)));
        let url = origin.url(path);
        assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(len));
        // Of a large body only the head waits; the parts are with their store soon.
        eventually("the parts are written", || session.layer().in_flight() == 0).await;
        let response = session.get(&url).send().await.unwrap();
        assert_eq!(outcome(&response), Outcome::Hit, "{path}");
        assert_eq!(pattern_len(response).await, Some(len));
    }
    assert_eq!((session.stats().stored, responses.hanging()), (0, 3));
    responses.release();
    settled(&session, 3, 4).await;
    assert_eq!(session.stats().stored, 3);
}

/// The same for a revalidation, and for variants.
#[tokio::test]
async fn revalidations_and_variants_are_found_at_once_too() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    origin.on("/etag", fresh(Answer::ok("body")).etag("\"1\""));
    assert_eq!(text(&session, &origin.url("/etag")).await.0, Outcome::Miss);
    clock.advance(Duration::from_secs(100));
    responses.hang_on(Op::Refresh);
    assert_eq!(text(&session, &origin.url("/etag")).await.0, Outcome::Revalidated);
    assert_eq!(text(&session, &origin.url("/etag")).await.0, Outcome::Hit);
    assert_eq!(responses.hanging(), 1);
    responses.release();
    responses.hang_on(Op::Write);
    origin.on("/vary", |request: &Recorded| {
        let language = request.header("accept-language").unwrap_or("none").to_owned();
        fresh(Answer::ok(language)).header("vary", "accept-language")
    });
    for round in 0..2 {
        for language in ["en", "de", "fr"] {
            let request = session.get(origin.url("/vary")).header("accept-language", language);
            let response = request.send().await.unwrap();
            assert_eq!(outcome(&response), [Outcome::Miss, Outcome::Hit][round], "{language}");
            assert_eq!(response.text().await.unwrap(), language);
        }
    }
    responses.release();
    super::flushed(&session).await;
    // And afterwards in the store, all three.
    for language in ["en", "de", "fr"] {
        let response = session.get(origin.url("/vary")).header("accept-language", language).send().await.unwrap();
        assert_eq!(outcome(&response), Outcome::Hit, "{language}");
    }
}

#[tokio::test]
async fn sessions_that_share_a_cache_see_what_is_on_its_way() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh(Answer::ok("answer")));
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let clones: [CachedSession; 2] = std::array::from_fn(|_| builder(&clock).cache(cache.clone()).build().unwrap());
    let shared: Arc<dyn Cache> = Arc::new(cache.clone());
    let handles: [CachedSession; 2] =
        std::array::from_fn(|_| builder(&clock).shared_cache(shared.clone()).build().unwrap());
    responses.hang_on(Op::Write);
    assert_eq!(text(&clones[0], &origin.url("/a")).await.0, Outcome::Miss);
    for session in clones.iter().chain(&handles) {
        assert_eq!(text(session, &origin.url("/a")).await, (Outcome::Hit, "answer".into()));
        assert_eq!(session.stats().stored, 0);
    }
    responses.release();
    super::flushed(&handles[1]).await;
    assert!(clones.iter().chain(&handles).all(|session| session.stats().stored == 1));
    // The same for clones of the memory backend, and not for another cache.
    let (one, other) = (MemoryCache::default(), MemoryCache::default());
    let session = builder(&clock).cache(one.clone()).build().unwrap();
    text(&session, &origin.url("/a")).await;
    assert_eq!(text(&builder(&clock).cache(one).build().unwrap(), &origin.url("/a")).await.0, Outcome::Hit);
    assert_eq!(text(&builder(&clock).cache(other).build().unwrap(), &origin.url("/a")).await.0, Outcome::Miss);
}

#[tokio::test]
async fn closing_waits_for_what_is_on_its_way() {
    let origin = Origin::scripted().await;
    // As many parts as may be on their way at once.
    for len in [1000, 2 * 262_144] {
        origin.on("/a", fresh(Answer::pattern(len)));
        let clock = ManualClock::new();
        let (cache, responses, bodies) = faulty(&clock);
        let session = builder(&clock).shared_cache(Arc::new(cache)).build().unwrap();
        responses.hang_on(Op::Write);
        bodies.hang_on(Op::Write);
        let url = origin.url("/a");
        assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(len));
        let closing = tokio::spawn({
            let session = session.clone();
            async move { session.close().await }
        });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(!closing.is_finished());
        bodies.release();
        responses.release();
        closing.await.unwrap().unwrap();
        assert_eq!(session.cache().responses().size().await.unwrap(), 1);
        assert_eq!(session.cache().bodies().unwrap().size().await.unwrap(), len / 262_144);
    }
}

/// A body that is still being read is nothing to wait for.
#[tokio::test]
async fn closing_does_not_wait_for_a_reader() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh(Answer::endless()));
    let clock = ManualClock::new();
    let session = builder(&clock).build().unwrap();
    let mut response = session.get(origin.url("/a")).send().await.unwrap();
    let mut received = 0;
    while received < 2 * MIB {
        received += response.chunk().await.unwrap().unwrap().len() as u64;
    }
    tokio::time::timeout(Duration::from_secs(60), session.close()).await.expect("closing hangs").unwrap();
    assert!(response.chunk().await.unwrap().is_some());
}

/// Case 56: what is queued when its URL is invalidated is gone, before and after the store has answered.
#[tokio::test]
async fn an_invalidation_wins_over_a_write_that_is_queued() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    for (path, len) in [("/small", 1000), ("/large", MIB)] {
        let url = origin.url(path);
        origin.on(path, fresh(Answer::pattern(len)));
        responses.hang_on(Op::Write);
        assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(len));
        eventually("the parts are written", || session.layer().in_flight() == 0).await;
        assert_eq!(outcome(&session.get(&url).send().await.unwrap()), Outcome::Hit);
        let before = session.stats().invalidated;
        let invalidated = tokio::spawn(session.delete(&url).send());
        // It waits for the store, and is seen at once.
        eventually("it is gone", || session.stats().invalidated > before).await;
        let offline = session.get(&url).mode(Mode::OnlyIfCached).send().await.unwrap();
        assert_eq!(outcome(&offline), Outcome::Offline);
        responses.release();
        invalidated.await.unwrap().unwrap();
        let offline = session.get(&url).mode(Mode::OnlyIfCached).send().await.unwrap();
        assert_eq!(outcome(&offline), Outcome::Offline);
        settled(&session, 0, 0).await;
    }
}

/// An unsafe request whose caller goes away when the origin has answered invalidates all the same.
#[tokio::test]
async fn an_invalidation_is_carried_through_without_its_caller() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    let url = origin.url("/a");
    origin.on("/a", |request: &Recorded| {
        fresh(Answer::ok(request.header("accept").unwrap_or("none").to_owned())).header("vary", "accept")
    });
    let variant = |accept: &'static str| session.get(&url).header("accept", accept);
    for accept in ["a", "b"] {
        variant(accept).send().await.unwrap().text().await.unwrap();
    }
    settled(&session, 3, 0).await;
    responses.hang_on(Op::Read);
    let posting = tokio::spawn(session.post(&url).send());
    responses.until_hanging(1).await;
    posting.abort();
    assert!(posting.await.unwrap_err().is_cancelled());
    responses.release();
    settled(&session, 0, 0).await;
}

/// A runtime that ends takes with it what has not reached the store, and nothing is left half-visible.
#[test]
fn a_runtime_that_ends_leaves_the_cache_usable() {
    let clock = ManualClock::new();
    let (cache, responses, bodies) = faulty(&clock);
    let cache: Arc<dyn Cache> = Arc::new(cache);
    let session = builder(&clock).shared_cache(cache.clone()).build().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.block_on(async {
        let origin = Origin::scripted().await;
        for (path, len) in [("/small", 1000), ("/large", MIB)] {
            responses.hang_on(Op::Write);
            bodies.hang_on(Op::Write);
            origin.on(path, fresh(Answer::pattern(len)));
            let response = session.get(origin.url(path)).send().await.unwrap();
            assert_eq!(pattern_len(response).await, Some(len));
        }
    });
    drop(first);
    responses.heal();
    bodies.heal();
    runtime().block_on(async {
        let session = builder(&clock).shared_cache(cache).build().unwrap();
        settled(&session, 0, 0).await;
        let origin = Origin::scripted().await;
        origin.on("/a", fresh(Answer::ok("answer")));
        assert_eq!(text(&session, &origin.url("/a")).await.0, Outcome::Miss);
        assert_eq!(text(&session, &origin.url("/a")).await.0, Outcome::Hit);
    });
    assert_eq!(session.layer().in_flight(), 0);
}

/// Case 58, decision 3: an invalidation that joined the job of another runtime is not lost with that, and is carried out by
/// who comes next. Nor is one whose place a record had taken that did not reach the store.
#[test]
fn a_runtime_that_ends_takes_no_invalidation_with_it() {
    let key = CacheKey::from_digest([1; 32]);
    let record = |text: &'static str| {
        let freshness = Freshness::new(UNIX_EPOCH, None, LifetimeSource::Session);
        let mut response = ResponseRecord::new(key, http::Method::GET, "http://host/", http::StatusCode::OK, freshness);
        response.body = BodyPlace::Inline { len: text.len() as u64 };
        Stored::new(Record::Response(response), text.into(), None)
    };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    for is_replaced in [false, true] {
        let clock = ManualClock::new();
        let (cache, responses, _) = faulty(&clock);
        let cache: Arc<dyn Cache> = Arc::new(cache);
        let ledger = Ledger::of(cache.clone(), Arc::new(clock));
        let store = |text| ledger.store(key, record(text), Replaced::Unknown, 64, ledger.generation(&key));
        let (first, second) = (runtime(), runtime());
        first.block_on(async {
            cache.put(&key, record("outdated"), None).await.unwrap();
            if is_replaced {
                responses.fail_on(Op::Delete);
                assert!(ledger.delete([key]).await.is_err());
                responses.heal();
            }
            responses.hang_on(Op::Write);
            assert!(store("newer"));
            responses.until_hanging(1).await;
        });
        if !is_replaced {
            second.block_on(async { ledger.forget(key) });
        }
        drop(first);
        assert!(second.block_on(ledger.lookup(&key)).unwrap().is_none(), "what was invalidated is back");
        responses.heal();
        second.block_on(async {
            assert!(cache.get(&key).await.unwrap().is_some());
            // Whatever it is that is done next.
            ledger.forget(CacheKey::from_digest([2; 32]));
            while cache.get(&key).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            ledger.flush().await;
            assert!(store("newest"));
            assert!(ledger.lookup(&key).await.unwrap().is_some());
        });
    }
}

/// Case 58: what could not be read when it was invalidated is made up for by whoever comes next, also where the runtime has
/// ended that tried.
#[test]
fn a_runtime_that_ends_leaves_no_url_in_doubt() {
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let cache: Arc<dyn Cache> = Arc::new(cache);
    let service = tower::service_fn(async |_: http::Request<RequestBody>| {
        let response = http::Response::builder().header("cache-control", "max-age=60");
        Ok::<_, std::io::Error>(response.body(http_body_util::Full::new(Bytes::from_static(b"x"))).unwrap())
    });
    let session = || builder(&clock).shared_cache(cache.clone()).service(service).build().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    // Kept, so that what is in doubt is remembered.
    let first = session();
    runtime().block_on(async {
        assert_eq!(text(&first, "http://host/").await.0, Outcome::Miss);
        super::flushed(&first).await;
        responses.fail_on(Op::Read);
        first.post("http://host/").send().await.unwrap();
        responses.heal();
    });
    runtime().block_on(async {
        let second = session();
        let mut outcomes = Vec::new();
        while outcomes.last() != Some(&Outcome::Hit) {
            assert!(outcomes.len() < 60, "still in doubt: {outcomes:?}");
            outcomes.push(text(&second, "http://host/").await.0);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(outcomes[0], Outcome::Miss);
    });
}

/// Case 244: a session says what its guard counted, and shows the store's errors where it is told to.
#[tokio::test]
async fn a_session_over_a_guarded_cache_counts_and_shows_faults() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh(Answer::ok("answer")));
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let guarded: Arc<dyn Cache> = Arc::new(GuardedCache::new(cache));
    let session = builder(&clock).shared_cache(guarded.clone()).build().unwrap();
    let strict = builder(&clock).shared_cache(guarded).on_cache_error(OnCacheError::Fail).build().unwrap();
    responses.fail_on(Op::Read);
    assert_eq!(text(&session, &origin.url("/a")).await, (Outcome::Miss, "answer".into()));
    let stats = session.stats();
    assert_eq!((stats.lookup_failed, stats.guard.failed, stats.guard.opened), (1, 1, 0));
    let requests = origin.count();
    // What is on its way or was just written is in doubt no less: the store is asked, and fails.
    super::flushed(&session).await;
    let error = strict.get(origin.url("/a")).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cache);
    assert_eq!(origin.count(), requests, "the origin was asked");
}
