//! Futures that are dropped after any number of steps: nothing half-done stays behind, and the next request works.

use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::GuardedCache;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::storage::{Guard, GuardStats};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use super::yielding::Yielding;
use super::{builder, eventually, flushed, outcome, pattern_len};
use crate::support::poll_times;

const MIB: u64 = 1024 * 1024;

/// What is dropped on the way.
#[derive(Clone, Copy, Debug)]
enum Scene {
    Miss,
    LargeMiss,
    Hit,
    LargeHit,
    Revalidation,
    Replacement,
    StaleHit,
    Post,
}

impl Scene {
    fn len(self) -> u64 {
        if matches!(self, Self::LargeMiss | Self::LargeHit) { MIB } else { 1000 }
    }

    async fn prepare(self, origin: &Origin, path: &str, session: &CachedSession, clock: &ManualClock) {
        let answer = Answer::pattern(self.len());
        let answer = match self {
            Self::StaleHit => answer.header("cache-control", "max-age=60, stale-while-revalidate=6000"),
            Self::Revalidation => answer.header("cache-control", "max-age=60").etag("\"1\""),
            _ => answer.header("cache-control", "max-age=60"),
        };
        origin.on(path, answer);
        if matches!(self, Self::Miss | Self::LargeMiss) {
            return;
        }
        assert_eq!(pattern_len(session.get(origin.url(path)).send().await.unwrap()).await, Some(self.len()));
        flushed(session).await;
        if matches!(self, Self::Revalidation | Self::Replacement | Self::StaleHit) {
            clock.advance(Duration::from_secs(100));
        }
    }

    fn act(self, session: &CachedSession, url: &str) -> BoxFuture<'static, ()> {
        let request = match self {
            Self::Post => session.post(url).send(),
            _ => session.get(url).send(),
        };
        let len = self.len();
        Box::pin(async move {
            assert_eq!(pattern_len(request.await.unwrap()).await, Some(len));
        })
    }
}

const SCENES: [Scene; 8] = [
    Scene::Miss,
    Scene::LargeMiss,
    Scene::Hit,
    Scene::LargeHit,
    Scene::Revalidation,
    Scene::Replacement,
    Scene::StaleHit,
    Scene::Post,
];

/// Drops each scene after 0, 1, 2, .. polls until it is complete.
async fn sweep(session: &CachedSession, clock: &ManualClock) {
    let origin = Origin::scripted().await;
    let mut parts = 0;
    for scene in SCENES {
        for polls in 0.. {
            let path = format!("/{scene:?}/{polls}");
            scene.prepare(&origin, &path, session, clock).await;
            let url = origin.url(&path);
            let mut future = scene.act(session, &url);
            let done = poll_times(future.as_mut(), polls).await;
            drop(future);
            let response = tokio::time::timeout(Duration::from_secs(60), session.get(&url).send()).await;
            let response =
                response.unwrap_or_else(|_| panic!("{scene:?} after {polls}: the next request hangs")).unwrap();
            let next = outcome(&response);
            assert_eq!(pattern_len(response).await, Some(scene.len()), "{scene:?} after {polls}");
            if done.is_some() {
                match scene {
                    Scene::Post => assert!(matches!(next, Outcome::Miss | Outcome::Coalesced), "{next:?}"),
                    Scene::StaleHit => assert!(matches!(next, Outcome::Stale | Outcome::Hit), "{next:?}"),
                    _ => assert!(matches!(next, Outcome::Hit | Outcome::Coalesced), "{scene:?} {next:?}"),
                }
            }
            let what = format!("a quiet cache, {scene:?} after {polls}");
            eventually(&what, || session.layer().in_flight() == 0).await;
            flushed(session).await;
            assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(scene.len()));
            flushed(session).await;
            // One body in parts for each URL with a large one: of what was dropped nothing is left.
            parts += scene.len() / 262_144;
            assert_eq!(session.cache().bodies().unwrap().size().await.unwrap(), parts, "{scene:?} after {polls}");
            if done.is_some() {
                break;
            }
        }
    }
}

/// Cases 175 and 176 in memory.
#[tokio::test]
async fn a_request_may_be_dropped_at_any_point() {
    let clock = ManualClock::new();
    let session = builder(&clock).build().unwrap();
    sweep(&session, &clock).await;
}

/// Cases 175 and 176 over a store that answers each call at a later poll.
#[tokio::test]
async fn a_request_may_be_dropped_at_any_point_over_a_store_that_takes_its_time() {
    let clock = ManualClock::new();
    let session = builder(&clock).cache(Yielding::cache(&clock)).build().unwrap();
    sweep(&session, &clock).await;
}

/// Cases 175 and 176 behind a guard whose calls run on, or do not.
#[tokio::test]
async fn a_request_may_be_dropped_at_any_point_over_a_guarded_store() {
    for detach in [true, false] {
        // On a machine that has much to do nothing is to time out.
        let long = Duration::from_secs(60);
        let guard = Guard::builder().detach(detach).deadline(long).write_deadline(long).build().unwrap();
        let clock = ManualClock::new();
        let cache = GuardedCache::with_guard(Yielding::cache(&clock), &guard);
        let session = builder(&clock).cache(cache).build().unwrap();
        sweep(&session, &clock).await;
        assert_eq!((guard.stats(), session.stats().guard), (GuardStats::new(), GuardStats::new()));
    }
}

/// Case 176: clearing, deleting, closing.
#[tokio::test]
async fn what_is_done_to_a_cache_may_be_dropped_at_any_point() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::pattern(MIB).header("cache-control", "max-age=60"));
    let url = origin.url("/a");
    for action in 0..5 {
        for polls in 0.. {
            let clock = ManualClock::new();
            let session = builder(&clock).cache(Yielding::cache(&clock)).build().unwrap();
            assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(MIB));
            let key = session.get(&url).send().await.unwrap().cache_key().copied().unwrap();
            let cache = &**session.cache();
            let mut future: BoxFuture<'_, ()> = match action {
                0 => Box::pin(async { cache.clear().await.unwrap() }),
                1 => Box::pin(async { cache.delete(&key).await.map(|_| ()).unwrap() }),
                2 => Box::pin(async {
                    cache.delete_expired(std::time::SystemTime::UNIX_EPOCH).await.map(|_| ()).unwrap()
                }),
                3 => Box::pin(async {
                    use futures_util::StreamExt;
                    cache.records().for_each(async |_| ()).await;
                }),
                _ => Box::pin(session.layer().close()),
            };
            let done = poll_times(future.as_mut(), polls).await;
            drop(future);
            // All of it, or an error that is gone with the next request.
            if pattern_len(session.get(&url).send().await.unwrap()).await.is_none() {
                flushed(&session).await;
                assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(MIB));
            }
            flushed(&session).await;
            eventually("no flight", || session.layer().in_flight() == 0).await;
            if done.is_some() {
                break;
            }
        }
    }
}
