//! What is past its deadline is removed in the background, where that is asked for (feature 171).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{Cache, StorageCache};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::error::ErrorKind;
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_testkit::{Faults, ManualClock, Op};

use super::{builder, faulty};

const HOUR: Duration = Duration::from_secs(3600);

/// A session on a store whose one entry has an hour left, and what is asked of that store.
async fn session() -> (CachedSession, Arc<StorageCache>, Faults, ManualClock) {
    let clock = ManualClock::new();
    let (cache, faults, _) = faulty(&clock);
    let cache = Arc::new(cache);
    let until = clock.now().checked_add(HOUR);
    let entry = Entry::new(Bytes::from_static(b"head"), Bytes::new()).retain_until(until);
    cache.responses().write(&CacheKey::from_digest([1; 32]), entry).await.unwrap();
    let session = builder(&clock).shared_cache(cache.clone()).purge_every(HOUR).build().unwrap();
    // The task begins to wait when it is first run.
    tokio::task::yield_now().await;
    (session, cache, faults, clock)
}

/// Lets time pass for the task, which has then done what it does.
async fn pass(time: Duration) {
    tokio::time::advance(time).await;
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_expired_goes_at_every_interval_and_nothing_else() {
    let (session, cache, faults, clock) = session().await;
    pass(HOUR / 2).await;
    assert_eq!(faults.calls(Op::DeleteExpired), 0, "not before its time");
    pass(HOUR / 2).await;
    assert_eq!(faults.calls(Op::DeleteExpired), 1);
    assert_eq!(cache.responses().size().await.unwrap(), 1, "it has not expired by the session's clock");
    clock.advance(HOUR);
    pass(HOUR).await;
    assert_eq!(faults.calls(Op::DeleteExpired), 2);
    assert_eq!(cache.responses().delete_expired(clock.now()).await.unwrap(), 0, "it is gone already");
    drop(session);
}

/// A store that fails is tried again the next time.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_does_not_end_it() {
    let (_session, cache, faults, clock) = session().await;
    clock.advance(HOUR);
    faults.fail_all();
    pass(HOUR).await;
    faults.heal();
    pass(HOUR).await;
    assert_eq!(faults.calls(Op::DeleteExpired), 2);
    assert_eq!(cache.responses().delete_expired(clock.now()).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_session() {
    for is_closed in [true, false] {
        let (session, cache, faults, _clock) = session().await;
        pass(HOUR).await;
        assert_eq!(faults.calls(Op::DeleteExpired), 1);
        let other = session.clone();
        if is_closed {
            session.close().await.unwrap();
        } else {
            drop(session);
            pass(HOUR).await;
            assert_eq!(faults.calls(Op::DeleteExpired), 2, "a handle is left");
            drop(other);
        }
        let so_far = faults.calls(Op::DeleteExpired);
        pass(5 * HOUR).await;
        assert_eq!(faults.calls(Op::DeleteExpired), so_far, "closed: {is_closed}");
        let count = Arc::strong_count(&cache);
        assert!(is_closed || count == 1, "nobody holds the cache any more, but {}", count - 1);
    }
}

/// Nothing of it without a runtime, and none without being asked for.
#[test]
fn a_session_is_made_without_a_runtime() {
    let session = builder(&ManualClock::new()).purge_every(HOUR).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let request = session.get("http://127.0.0.1:9/").mode(hyper_client_cache_core::policy::Mode::OnlyIfCached);
        assert_eq!(request.send().await.unwrap().status(), 504);
        let before = runtime.metrics().num_alive_tasks();
        session.close().await.unwrap();
        assert_eq!(runtime.metrics().num_alive_tasks() + 1, before, "it had begun with the request");
    });
    let error = builder(&ManualClock::new()).purge_every(Duration::ZERO).build().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("`purge_every`"), "{error}");
}
