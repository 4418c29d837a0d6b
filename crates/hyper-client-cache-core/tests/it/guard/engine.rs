//! Requests over a store that is slow, dead, full, or away for a while: what a caller sees is what it would be without a
//! cache, in time.

use std::convert::Infallible;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_client_cache_core::cache::{Cache, GuardedCache, StorageCache};
use hyper_client_cache_core::layer::{CacheLayer, CacheService, OnCacheError};
use hyper_client_cache_core::policy::{CacheInfo, Outcome, Reason};
use hyper_client_cache_core::storage::{Guard, GuardBuilder, MemoryStorage, Storage};
use hyper_client_cache_core::{Error, ErrorKind};
use hyper_client_cache_testkit::{Faults, FaultyStorage, Op};
use tokio::time::{Instant, sleep};
use tower_layer::Layer;
use tower_service::Service;

const MS: Duration = Duration::from_millis(1);

/// An origin whose answers name the version of the resource, which each POST counts up, and what they vary on.
#[derive(Clone, Default)]
struct Site {
    version: Arc<AtomicU64>,
    calls: Arc<AtomicU64>,
}

impl Service<Request<Empty<Bytes>>> for Site {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if request.method() == Method::POST {
            self.version.fetch_add(1, Ordering::SeqCst);
        }
        let version = self.version.load(Ordering::SeqCst);
        let language = request.headers().get("accept-language").map_or("none", |value| value.to_str().unwrap());
        let mut response = Response::builder().header("cache-control", "max-age=600");
        if request.uri().path().starts_with("/vary") {
            response = response.header("vary", "accept-language");
        }
        let response = response.body(Full::new(format!("{version} {language}").into())).unwrap();
        Box::pin(async { Ok(response) })
    }
}

struct World {
    layer: CacheLayer,
    service: CacheService<Site>,
    site: Site,
    faults: Faults,
    responses: FaultyStorage<MemoryStorage>,
}

impl World {
    /// Behind a guard.
    fn new(guard: GuardBuilder) -> Self {
        let guard = guard.build().unwrap();
        Self::with(|cache| CacheLayer::builder(GuardedCache::with_guard(cache, &guard)))
    }

    fn with(builder: impl FnOnce(StorageCache) -> hyper_client_cache_core::layer::CacheLayerBuilder) -> Self {
        let responses = FaultyStorage::new(MemoryStorage::default());
        let faults = responses.faults();
        let cache = StorageCache::new(responses.clone(), MemoryStorage::default());
        let layer = builder(cache).build().unwrap();
        let site = Site::default();
        Self { service: layer.layer(site.clone()), layer, site, faults, responses }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<(CacheInfo, String), Error> {
        let mut request = Request::builder().method(method).uri(format!("http://host{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.service.clone().call(request.body(Empty::new()).unwrap()).await?;
        let info = response.extensions().get::<CacheInfo>().unwrap().clone();
        if info.outcome == Outcome::Offline {
            assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        }
        let body = response.into_body().collect().await?.to_bytes();
        Ok((info, String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn get(&self, path: &str) -> (Outcome, String) {
        let (info, body) = self.send(Method::GET, path, &[]).await.unwrap();
        (info.outcome, body)
    }

    async fn language(&self, path: &str, language: &str) -> (Outcome, String) {
        let (info, body) = self.send(Method::GET, path, &[("accept-language", language)]).await.unwrap();
        (info.outcome, body)
    }

    async fn post(&self, path: &str) {
        self.send(Method::POST, path, &[]).await.unwrap();
    }

    fn calls(&self) -> u64 {
        self.site.calls.load(Ordering::SeqCst)
    }
}

/// Feature B4, cases 204, 205 and 207: a store that fails, hangs and comes back.
#[tokio::test(start_paused = true)]
async fn requests_go_on_while_the_store_is_away_and_hits_come_back() {
    for hangs in [true, false] {
        let world = World::new(Guard::builder());
        assert_eq!(world.get("/a").await, (Outcome::Miss, "0 none".into()));
        assert_eq!(world.get("/a").await, (Outcome::Hit, "0 none".into()));
        if hangs {
            world.faults.hang();
        } else {
            world.faults.fail_all();
        }
        let began = Instant::now();
        let mut slowest_later = Duration::ZERO;
        for n in 0..500 {
            let asked = Instant::now();
            let (info, body) = world.send(Method::GET, &format!("/{n}"), &[]).await.unwrap();
            assert_eq!((info.outcome, body.as_str()), (Outcome::Miss, "0 none"));
            assert!(asked.elapsed() <= 100 * MS);
            if n >= 5 {
                slowest_later = slowest_later.max(asked.elapsed());
            }
            sleep(10 * MS).await;
        }
        assert_eq!(slowest_later, Duration::ZERO, "the breaker is open");
        let stats = world.layer.stats();
        assert_eq!((stats.misses, stats.hits, stats.lookup_failed), (501, 1, 500));
        assert_eq!(stats.guard.opened, 1);
        assert!(began.elapsed() >= Duration::from_secs(5));
        world.faults.heal();
        // Full hits again.
        let back = Instant::now();
        while world.get("/a").await.0 != Outcome::Hit {
            sleep(10 * MS).await;
        }
        assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
        world.get("/new").await;
        assert_eq!(world.get("/new").await.0, Outcome::Hit);
        world.layer.flush().await;
        assert_eq!(world.get("/new").await.0, Outcome::Hit);
    }
}

/// Case 243: only the cache may answer, and it is down.
#[tokio::test(start_paused = true)]
async fn only_if_cached_opens_no_socket_although_the_cache_is_down() {
    let world = World::new(Guard::builder());
    world.get("/a").await;
    for hangs in [true, false] {
        if hangs {
            world.faults.hang();
        } else {
            world.faults.heal();
            world.faults.fail_all();
        }
        for _ in 0..10 {
            let only = [("cache-control", "only-if-cached")];
            let (info, body) = world.send(Method::GET, "/a", &only).await.unwrap();
            assert_eq!((info.outcome, info.reason, body.as_str()), (Outcome::Offline, Reason::StoreFault, ""));
        }
    }
    assert_eq!(world.calls(), 1);
}

/// Cases 157 and 186: a store that takes its time with writes, or fails them, costs the caller nothing.
#[tokio::test(start_paused = true)]
async fn writes_never_hold_a_response_up() {
    let guard = Guard::builder().writes_in_flight(1).queue_entries(2);
    let world = World::new(guard);
    world.faults.hang_on(Op::Write);
    let began = Instant::now();
    for n in 0..10 {
        assert_eq!(world.get(&format!("/{n}")).await, (Outcome::Miss, "0 none".into()));
    }
    tokio::task::yield_now().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    // One is under way and two wait, all of which are found at once; for the rest there is no room.
    let found =
        join_all(
            (0..10).map(|n| {
                let world = &world;
                async move {
                    world.send(Method::GET, &format!("/{n}"), &[("cache-control", "only-if-cached")]).await.unwrap()
                }
            }),
        )
        .await;
    assert_eq!(found.iter().filter(|(info, _)| info.outcome == Outcome::Hit).count(), 3);
    assert_eq!((world.layer.stats().guard.dropped, world.layer.stats().store_failed), (7, 7));
    world.faults.heal();
    world.layer.flush().await;
    assert_eq!(world.layer.stats().stored, 3);
    // What the store refuses is not seen, and counted once.
    world.faults.fail_on(Op::Write);
    assert_eq!(world.get("/refused").await.0, Outcome::Miss);
    world.layer.flush().await;
    assert_eq!((world.layer.stats().store_failed, world.layer.stats().guard.failed), (8, 1));
    assert_eq!(world.get("/refused").await.0, Outcome::Miss);
}

/// Case 58: what was invalidated while the store was away is never served, and gone when it is back.
#[tokio::test(start_paused = true)]
async fn an_invalidation_holds_although_the_store_is_away() {
    for (how, detach) in [("hang", true), ("hang", false), ("fail", true)] {
        let world = World::new(Guard::builder().detach(detach));
        world.get("/a").await;
        for language in ["en", "de"] {
            assert_eq!(world.language("/vary", language).await.0, Outcome::Miss);
        }
        // In another partition than the request that invalidates.
        let secret = [("authorization", "Bearer x"), ("accept-language", "en")];
        assert_eq!(world.send(Method::GET, "/vary", &secret).await.unwrap().1, "0 en");
        assert_eq!(world.send(Method::GET, "/vary", &secret).await.unwrap().0.outcome, Outcome::Hit);
        world.layer.flush().await;
        if how == "hang" {
            world.faults.hang();
        } else {
            world.faults.fail_all();
        }
        let asked = Instant::now();
        world.post("/a").await;
        world.post("/vary").await;
        assert!(asked.elapsed() <= 200 * MS, "each was held up for {:?}", asked.elapsed() / 2);
        // While it is away, and while it comes back.
        for round in 0..300 {
            if round == 150 {
                world.faults.heal();
            }
            assert_eq!(world.get("/a").await.1, "2 none", "{how} {round}");
            assert_eq!(world.language("/vary", "en").await.1, "2 en", "{how} {round}");
            assert_eq!(world.send(Method::GET, "/vary", &secret).await.unwrap().1, "2 en", "{how} {round}");
            sleep(50 * MS).await;
        }
        assert_eq!(world.language("/vary", "de").await.1, "2 de", "an old variant came back");
        for (path, language) in [("/a", "none"), ("/vary", "en"), ("/vary", "de")] {
            assert_eq!(world.language(path, language).await.0, Outcome::Hit, "{how} {path} {language}");
        }
        assert_eq!(world.send(Method::GET, "/vary", &secret).await.unwrap().0.outcome, Outcome::Hit);
        // By now the store has confirmed all of it: nothing old is found by a process that knows nothing.
        world.layer.flush().await;
        let cache = StorageCache::new(world.responses.clone(), MemoryStorage::default());
        let fresh = CacheLayer::builder(cache).build().unwrap();
        let fresh = World { service: fresh.layer(world.site.clone()), layer: fresh, ..world };
        for language in ["en", "de"] {
            assert_eq!(fresh.language("/vary", language).await.1, format!("2 {language}"));
        }
        assert_eq!(fresh.send(Method::GET, "/vary", &secret).await.unwrap().1, "2 en");
    }
}

/// Those who want the error get it; the default is not to.
#[tokio::test(start_paused = true)]
async fn errors_of_the_store_are_shown_to_those_who_ask_for_them() {
    for guarded in [true, false] {
        let world = World::with(|cache| {
            let builder =
                if guarded { CacheLayer::builder(GuardedCache::new(cache)) } else { CacheLayer::builder(cache) };
            builder.on_cache_error(OnCacheError::Fail)
        });
        world.get("/a").await;
        world.language("/vary", "en").await;
        world.faults.fail_all();
        let get = world.send(Method::GET, "/a", &[]).await.unwrap_err();
        let source = get.source().unwrap().downcast_ref::<Error>().unwrap();
        assert_eq!((get.kind(), source.kind()), (ErrorKind::Cache, ErrorKind::Storage));
        let calls = world.calls();
        let post = world.send(Method::POST, "/a", &[]).await.unwrap_err();
        assert_eq!(post.kind(), ErrorKind::Cache);
        assert_eq!(world.calls(), calls + 1);
        world.faults.heal();
        // What is not stored is only counted.
        world.faults.fail_on(Op::Write);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.get("/new").await.1, "1 none");
        world.layer.flush().await;
        assert_eq!(world.layer.stats().store_failed, 1);
    }
}

/// A store that hangs and is not guarded costs two seconds, and closing ends as well.
#[tokio::test(start_paused = true)]
async fn an_unguarded_store_that_hangs_is_waited_for_two_seconds() {
    let world = World::with(CacheLayer::builder);
    world.faults.hang();
    let began = Instant::now();
    assert_eq!(world.get("/a").await, (Outcome::Miss, "0 none".into()));
    assert_eq!((began.elapsed(), world.layer.stats().lookup_failed), (Duration::from_secs(2), 1));
    let began = Instant::now();
    world.post("/a").await;
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    let began = Instant::now();
    world.layer.close().await;
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

/// Cases 57 and 58: a deletion that fails is tried until it succeeds, and counted once.
#[tokio::test(start_paused = true)]
async fn a_deletion_is_tried_until_it_is_confirmed() {
    let world = World::new(Guard::builder().failures(u32::MAX));
    world.get("/a").await;
    world.faults.fail_on(Op::Delete);
    world.post("/a").await;
    sleep(Duration::from_secs(60)).await;
    let before = world.faults.calls(Op::Delete);
    assert_eq!((world.responses.size().await.unwrap(), world.layer.stats().invalidate_failed), (1, 2));
    world.faults.heal();
    sleep(2000 * MS).await;
    assert!(world.faults.calls(Op::Delete) > before);
    assert_eq!(world.responses.size().await.unwrap(), 0);
    assert_eq!(world.layer.stats().invalidate_failed, 2);
    // And no task goes on for it.
    sleep(2000 * MS).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

/// Case 233: nobody goes on trying for a cache that nobody uses.
#[tokio::test(start_paused = true)]
async fn what_is_unconfirmed_keeps_no_task_alive() {
    let world = World::new(Guard::builder());
    world.get("/a").await;
    world.faults.hang();
    world.post("/a").await;
    sleep(Duration::from_secs(20)).await;
    let faults = world.faults.clone();
    drop(world);
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    assert_eq!(faults.hanging(), 0);
}

/// One call is one call: a cache that looks up in one round trip still does behind a guard.
#[tokio::test(start_paused = true)]
async fn a_guarded_cache_asks_its_cache_not_its_storages() {
    let world = World::new(Guard::builder());
    world.get("/a").await;
    let reads = world.faults.calls(Op::Read);
    world.get("/a").await;
    assert_eq!(world.faults.calls(Op::Read), reads + 1);
    // And its storages are guarded when they are used by themselves.
    let (cache, faults) = {
        let responses = FaultyStorage::new(MemoryStorage::default());
        let faults = responses.faults();
        (GuardedCache::new(StorageCache::new(responses, MemoryStorage::default())), faults)
    };
    faults.hang();
    let began = Instant::now();
    assert!(cache.responses().read(&crate::support::key("a")).await.is_err());
    assert_eq!(began.elapsed(), 100 * MS);
    assert_eq!(cache.stats().guard.timed_out, 1);
    assert_eq!(cache.guard().stats().timed_out, 1);
    cache.close().await.unwrap_err();
    assert_eq!(cache.responses().read(&crate::support::key("a")).await.unwrap_err().kind(), ErrorKind::Closed);
}
