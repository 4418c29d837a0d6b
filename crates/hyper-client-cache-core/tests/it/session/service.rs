//! The layer over services that are written by hand: no client, no socket, time that stands still.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::{Cache, MemoryCache, StorageCache};
use hyper_client_cache_core::key::Matching;
use hyper_client_cache_core::layer::{CacheBody, CacheLayer, CacheService};
use hyper_client_cache_core::policy::{BeforeStore, CacheInfo, Outcome, Reason, Settings, Storing};
use hyper_client_cache_core::storage::MemoryStorage;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::Gate;
use tower_layer::Layer;
use tower_service::Service;

use super::eventually;

type Answer = Result<Response<AnyBody>, std::io::Error>;
type AnyBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// A service out of a closure, which is given the number of the request.
#[derive(Clone)]
struct Scripted {
    answer: Arc<dyn Fn(usize) -> BoxFuture<'static, Answer> + Send + Sync>,
    calls: Arc<AtomicUsize>,
}

impl Scripted {
    fn new<F: Future<Output = Answer> + Send + 'static>(answer: impl Fn(usize) -> F + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(move |number| Box::pin(answer(number))), calls: Arc::default() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<Empty<Bytes>>> for Scripted {
    type Response = Response<AnyBody>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        (self.answer)(self.calls.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

fn ok(body: AnyBody) -> Response<AnyBody> {
    Response::builder().header("cache-control", "max-age=60").body(body).unwrap()
}

fn full(bytes: impl Into<Bytes>) -> AnyBody {
    Full::new(bytes.into()).boxed_unsync()
}

fn layer_on(cache: impl Cache) -> CacheLayer {
    CacheLayer::builder(cache)
        .clock(Arc::new(ManualClock::new()))
        .flight_timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

async fn call(service: &CacheService<Scripted>) -> Result<Response<CacheBody>, hyper_client_cache_core::Error> {
    let request = Request::builder().uri("http://host/path").body(Empty::new()).unwrap();
    service.clone().call(request).await
}

fn outcome(response: &Response<CacheBody>) -> Outcome {
    response.extensions().get::<CacheInfo>().unwrap().outcome
}

async fn bytes(response: Response<CacheBody>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn the_layer_works_around_any_service() {
    // One frame, however long: under the inline limit, over it, over the window.
    for len in [0, 10, 300_000, 2_000_000] {
        let inner = Scripted::new(move |_| async move { Ok(ok(full(vec![7; len]))) });
        let layer = layer_on(MemoryCache::default());
        let service = layer.layer(inner.clone());
        for expected in [Outcome::Miss, Outcome::Hit] {
            let response = call(&service).await.unwrap();
            assert_eq!(outcome(&response), expected);
            assert_eq!(bytes(response).await, vec![7; len]);
            layer.flush().await;
        }
        assert_eq!((inner.calls(), layer.in_flight()), (1, 0));
        // Without a place for parts.
        let small = layer_on(StorageCache::new(MemoryStorage::default(), MemoryStorage::default()));
        let service = small.layer(inner);
        for _ in 0..2 {
            assert_eq!(bytes(call(&service).await.unwrap()).await, vec![7; len]);
        }
        assert_eq!(small.stats().hits, u64::from(len < 300_000));
    }
}

/// Case 4, as the docs of the layer say it: credentials that are added above the layer keep answers apart; those that are
/// added beneath it are not seen, and only a partition does.
#[tokio::test]
async fn credentials_are_kept_apart_above_the_layer_and_by_partitions_beneath_it() {
    let cache = MemoryCache::default();
    let asked = async |above: Option<&str>, partition: Option<&str>| {
        let matching = partition.map_or_else(Matching::default, |partition| Matching::default().partition(partition));
        let settings = Settings::default().matching(matching);
        let layer = CacheLayer::builder(cache.clone()).settings(settings).build().unwrap();
        let mut service = layer.layer(Scripted::new(|_| async { Ok(ok(full("one's own"))) }));
        let request = above.map_or_else(Request::builder, |above| Request::builder().header("authorization", above));
        let response = service.call(request.uri("http://host/path").body(Empty::new()).unwrap()).await.unwrap();
        let outcome = outcome(&response);
        bytes(response).await;
        layer.flush().await;
        outcome
    };
    for (above, partition, expected) in [
        (None, None, Outcome::Miss),
        // Another user by a layer beneath would be given this.
        (None, None, Outcome::Hit),
        (Some("one"), None, Outcome::Miss),
        (Some("other"), None, Outcome::Miss),
        (None, Some("one"), Outcome::Miss),
        (None, Some("other"), Outcome::Miss),
        (Some("one"), None, Outcome::Hit),
        (None, Some("one"), Outcome::Hit),
    ] {
        assert_eq!(asked(above, partition).await, expected, "{above:?} {partition:?}");
    }
}

/// A cache in whose entries no usual response has room is refused, whichever of its storages it is; one with the least
/// that is accepted keeps small bodies whole, and large ones in parts of about as much.
#[tokio::test]
async fn a_cache_for_tiny_entries_is_refused() {
    const LEAST: u64 = 32 * 1024;

    let memory = |len| MemoryStorage::builder().max_entry_len(len).build().unwrap();
    let built = |lens: [u64; 3]| {
        let [responses, redirects, bodies] = lens.map(memory);
        CacheLayer::builder(StorageCache::new(responses, redirects).with_bodies(bodies)).build()
    };
    for place in 0..3 {
        let mut lens = [LEAST; 3];
        lens[place] = LEAST - 1;
        let error = built(lens).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`max_entry_len`") && error.to_string().contains("32768"), "{error}");
    }
    let small = MemoryCache::builder().max_bytes(20_000).build().unwrap();
    assert!(CacheLayer::builder(small).build().unwrap_err().to_string().contains("`max_bytes`"));
    for (len, expected) in [(10, 0), (16 * 1024, 0), (100_000, 4)] {
        let layer = built([LEAST; 3]).unwrap();
        let service = layer.layer(Scripted::new(move |_| async move { Ok(ok(full(vec![7; len]))) }));
        for outcome_of in [Outcome::Miss, Outcome::Hit] {
            let response = call(&service).await.unwrap();
            assert_eq!(outcome(&response), outcome_of);
            assert_eq!(bytes(response).await.len(), len);
            layer.flush().await;
        }
        assert_eq!(layer.cache().bodies().unwrap().size().await.unwrap(), expected, "{len}");
    }
}

/// Case 102: header lines by the ten thousand, of names by the ten thousand or of one, are the response and nothing else.
#[tokio::test]
async fn header_lines_without_number_are_handed_on_and_not_stored() {
    for (names, lines, is_stored) in
        [(900, 1, true), (1, 900, true), (1_000, 1, false), (1, 1_000, false), (24_000, 1, false), (10, 10_000, false)]
    {
        let gate = Gate::new();
        let held = gate.clone();
        let inner = Scripted::new(move |_| {
            let held = held.clone();
            async move {
                held.pass().await;
                let mut response = ok(full("answer"));
                for name in 0..names {
                    let name = HeaderName::try_from(format!("x-{name}")).unwrap();
                    for line in 0..lines {
                        response.headers_mut().append(name.clone(), line.into());
                    }
                }
                Ok(response)
            }
        });
        let layer = CacheLayer::builder(MemoryCache::default()).cache_status("cache").build().unwrap();
        let service = layer.layer(inner.clone());
        let asked: Vec<_> = (0..3)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(async move { call(&service).await.unwrap() })
            })
            .collect();
        gate.arrived(1).await;
        gate.open();
        for asked in asked {
            let response = asked.await.unwrap();
            assert!(response.headers().len() >= usize::try_from(names * lines).unwrap());
            assert_eq!(bytes(response).await, "answer");
        }
        layer.flush().await;
        let response = call(&service).await.unwrap();
        let expected = if is_stored { Outcome::Hit } else { Outcome::Miss };
        assert_eq!(outcome(&response), expected, "{names} {lines}");
        if !is_stored {
            let info = response.extensions().get::<CacheInfo>().unwrap();
            assert_eq!(info.storing, Storing::No(Reason::TooLarge));
        }
    }
}

/// The same with the header lines of a 304, which are added to those that are stored, and with what is added by hand.
#[tokio::test]
async fn header_lines_without_number_are_not_added_to_what_is_stored() {
    for by_hand in [false, true] {
        let inner = Scripted::new(move |number| async move {
            let mut response = ok(full("answer"));
            response.headers_mut().insert("etag", "\"1\"".parse().unwrap());
            response.headers_mut().insert("cache-control", "no-cache".parse().unwrap());
            for line in 0..900 {
                response.headers_mut().append(HeaderName::try_from(format!("x-{line}")).unwrap(), line.into());
            }
            if number == 2 && !by_hand {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                for line in 0..20_000 {
                    response.headers_mut().append(HeaderName::try_from(format!("y-{line}")).unwrap(), line.into());
                }
            }
            Ok(response)
        });
        let mut builder = CacheLayer::builder(MemoryCache::default());
        if by_hand {
            let before_store = BeforeStore::new(|_, headers| {
                for line in 0..20_000 {
                    headers.append(HeaderName::try_from(format!("y-{line}")).unwrap(), line.into());
                }
            });
            builder = builder.settings(Settings::default().before_store(before_store));
        }
        let layer = builder.build().unwrap();
        let service = layer.layer(inner.clone());
        for _ in 0..3 {
            let response = call(&service).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert!(response.headers().len() < 1_000);
            assert_eq!(bytes(response).await, "answer");
            layer.flush().await;
        }
        assert_eq!(layer.stats().callback_panicked, 0);
    }
}

/// Cases 169 and 173 where the service beneath does not check: handed on as it is, never stored.
#[tokio::test]
async fn a_body_of_another_length_than_announced_is_not_stored() {
    for (announced, len) in [(10, 9), (10, 0), (10, 11), (300_000, 299_999), (300_000, 300_001), (10, 300_000)] {
        let inner = Scripted::new(move |_| async move {
            let frames = futures_util::stream::iter(
                vec![1; len]
                    .chunks(4096)
                    .map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))))
                    .collect::<Vec<_>>(),
            );
            let mut response = ok(StreamBody::new(frames).boxed_unsync());
            response.headers_mut().insert("content-length", announced.into());
            Ok(response)
        });
        let layer = layer_on(MemoryCache::default());
        let service = layer.layer(inner);
        for _ in 0..2 {
            let response = call(&service).await.unwrap();
            assert_eq!(outcome(&response), Outcome::Miss, "{announced} {len}");
            assert_eq!(bytes(response).await.len(), len);
            layer.flush().await;
        }
        assert_eq!((layer.stats().stored, layer.in_flight()), (0, 0));
    }
}

/// Case 191.
#[tokio::test]
async fn whoever_waits_goes_on_when_the_leader_panics() {
    let gate = Gate::new();
    let held = gate.clone();
    let inner = Scripted::new(move |number| {
        let held = held.clone();
        async move {
            held.pass().await;
            assert!(number > 1, "the first one panics");
            Ok(ok(full("answer")))
        }
    });
    let layer = layer_on(MemoryCache::default());
    let service = layer.layer(inner.clone());
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { bytes(call(&service).await.unwrap()).await })
        })
        .collect();
    gate.arrived(1).await;
    gate.open();
    let mut panics = 0;
    for asked in asked {
        match asked.await {
            Ok(body) => assert_eq!(body, "answer"),
            Err(error) => panics += usize::from(error.is_panic()),
        }
    }
    assert_eq!((panics, inner.calls(), layer.in_flight()), (1, 2, 0));
    assert_eq!(outcome(&call(&service).await.unwrap()), Outcome::Hit);
}

/// Case 192.
#[tokio::test]
async fn an_error_is_shared_and_not_repeated_a_thousand_times() {
    let gate = Gate::new();
    let held = gate.clone();
    let inner = Scripted::new(move |_| {
        let held = held.clone();
        async move {
            held.pass().await;
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
        }
    });
    let layer = layer_on(MemoryCache::default());
    let service = layer.layer(inner.clone());
    let asked: Vec<_> = (0..1000)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { call(&service).await.unwrap_err().kind() })
        })
        .collect();
    gate.arrived(1).await;
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), ErrorKind::Transport);
    }
    assert_eq!((inner.calls(), layer.in_flight(), layer.stats().errors), (1, 0, 1000));
}

/// Case 199.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_leader_that_hangs_goes_alone_in_the_end() {
    let inner = Scripted::new(|number| async move {
        if number == 1 {
            std::future::pending::<()>().await;
        }
        Ok(ok(full("answer")))
    });
    let layer = layer_on(MemoryCache::default());
    let service = layer.layer(inner.clone());
    let leader = tokio::spawn({
        let service = service.clone();
        async move { call(&service).await }
    });
    while inner.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let begun = tokio::time::Instant::now();
    let response = call(&service).await.unwrap();
    assert_eq!((outcome(&response), begun.elapsed().as_secs()), (Outcome::Miss, 30));
    assert_eq!(bytes(response).await, "answer");
    // It has stored its answer, so that nobody waits for the leader any more.
    assert_eq!(outcome(&call(&service).await.unwrap()), Outcome::Hit);
    assert_eq!(begun.elapsed().as_secs(), 30);
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert_eq!(layer.in_flight(), 0);
}

/// Two readers in one task, which has one waker for both: each is woken for the other.
#[tokio::test]
async fn readers_in_one_task_are_both_woken() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let inner = Scripted::new(move |_| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
            let bytes = receiver.recv().await?;
            Some((Ok(Frame::data(bytes)), receiver))
        });
        async move { Ok(ok(StreamBody::new(frames).boxed_unsync())) }
    });
    let layer = layer_on(MemoryCache::default());
    let service = layer.layer(inner);
    let (mut one, mut other) = (call(&service).await.unwrap().into_body(), call(&service).await.unwrap().into_body());
    let sending = tokio::spawn(async move {
        for at in 0..100_u8 {
            sender.send(Bytes::from(vec![at])).unwrap();
            tokio::task::yield_now().await;
        }
    });
    let read = async {
        tokio::join!(
            async {
                while let Some(frame) = one.frame().await {
                    frame.unwrap();
                }
            },
            // One that stops in the middle and leaves the other alone.
            async {
                for _ in 0..50 {
                    other.frame().await.unwrap().unwrap();
                }
            }
        )
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("a reader was not woken");
    sending.await.unwrap();
    drop((one, other));
    eventually("no flight", || layer.in_flight() == 0).await;
}

/// Bytes that count how many of them are alive.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

/// A body of so many chunks of so many bytes.
struct Chunks(usize, usize, Arc<AtomicUsize>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        let chunk = Counted(vec![self.0 as u8; self.1], self.2.clone());
        self.2.fetch_add(self.1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(chunk)))))
    }
}

/// Cases 177, 188 and 197: how much of the origin's bytes is in memory, with a body of 64 MiB.
#[tokio::test]
async fn memory_is_bounded_whatever_the_readers_do() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    let inner = Scripted::new(move |_| {
        let body = Chunks(1024, 65_536, counted.clone()).boxed_unsync();
        async move { Ok(ok(body)) }
    });
    for (has_laggard, bound) in [(false, 256 * 1024 + 65_536), (true, 512 * 1024 + 2 * 65_536)] {
        let layer = layer_on(MemoryCache::default());
        let service = layer.layer(inner.clone());
        let laggard = call(&service).await.unwrap();
        let reader = call(&service).await.unwrap();
        assert_eq!(outcome(&reader), Outcome::Coalesced);
        let laggard = has_laggard.then_some(laggard);
        let mut body = reader.into_body();
        let (mut frames, mut most) = (0, 0);
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            frames += 1;
            most = most.max(alive.load(Ordering::SeqCst));
            // The store keeps up.
            tokio::task::yield_now().await;
        }
        assert_eq!(frames, 1024);
        assert!(most <= bound, "{most} bytes of {bound}");
        drop(body);
        if let Some(laggard) = laggard {
            assert_eq!(laggard.into_body().collect().await.unwrap().to_bytes().len(), 64 * 1024 * 1024);
        }
        layer.flush().await;
        eventually("no flight", || layer.in_flight() == 0).await;
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(layer.stats().stored, 1);
    }
}

/// Case 177: what a body costs goes by its length, not by the number of its pieces, of which hyper has one for each chunk
/// of HTTP/1.1 however short that is.
#[tokio::test]
async fn a_body_that_comes_in_single_bytes_is_not_kept_in_single_bytes() {
    const LEN: usize = 100_000;
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    let inner = Scripted::new(move |_| {
        let body = Chunks(LEN, 1, counted.clone()).boxed_unsync();
        async move { Ok(ok(body)) }
    });
    let layer = layer_on(MemoryCache::default());
    let service = layer.layer(inner.clone());
    let mut body = call(&service).await.unwrap().into_body();
    let (mut read, mut most) = (0, 0);
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len();
        most = most.max(alive.load(Ordering::SeqCst));
    }
    assert_eq!(read, LEN);
    assert!(most <= 1000, "{most} pieces of a byte");
    layer.flush().await;
    assert_eq!(bytes(call(&service).await.unwrap()).await.len(), LEN);
    assert_eq!(inner.calls(), 1);
}

/// An overloaded service is not asked for readiness by hits.
#[tokio::test]
async fn a_status_that_is_not_stored_leaves_no_flight_behind() {
    let inner = Scripted::new(|_| async {
        let mut response = ok(full("no"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.headers_mut().remove("cache-control");
        Ok(response)
    });
    let layer = layer_on(MemoryCache::default());
    let service = layer.layer(inner.clone());
    for _ in 0..2 {
        let response = call(&service).await.unwrap();
        assert_eq!((response.status(), layer.in_flight()), (StatusCode::NOT_FOUND, 0));
        assert_eq!(bytes(response).await, "no");
    }
    assert_eq!(inner.calls(), 2);
}
