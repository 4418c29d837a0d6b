//! What requests go out over: time-outs, connections that die, another client in place of the session's own.

use std::time::Duration;

use bytes::Bytes;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};

use super::{builder, eventually, session, text};
use crate::support::StillTime;

/// A server that takes the connection and then says nothing has not been connected to.
#[tokio::test]
async fn the_time_to_connect_is_limited() {
    let origin = Origin::builder().tls().silent().start().await;
    let clock = ManualClock::new();
    let session = builder(&clock).connect_timeout(Duration::from_millis(50)).build().unwrap();
    let error = session.get(origin.url("/")).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
}

/// A body that stops coming, and a head that does not come, are given up; what comes slowly is not.
#[tokio::test]
async fn the_time_between_two_reads_is_limited() {
    let origin = Origin::scripted().await;
    let (gate, slow) = (Gate::new(), Gate::new());
    origin.on("/head", Answer::ok("x").after(&gate));
    origin.on("/stalls", Answer::ok("first").gate(&gate).chunk("second"));
    origin.on("/stalls-uncached", Answer::ok("first").header("cache-control", "no-store").gate(&gate).chunk("second"));
    origin.on("/slow", Answer::ok("a").gate(&slow).chunk("b").gate(&slow).chunk("c").gate(&slow).chunk("d"));
    let clock = ManualClock::new();
    let limit = Duration::from_secs(1);
    let session = builder(&clock).read_timeout(limit).build().unwrap();
    let time = StillTime::begin();
    let head = tokio::spawn(session.get(origin.url("/head")).send());
    gate.arrived(1).await;
    time.pass(2 * limit).await;
    let error = head.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    for path in ["/stalls", "/stalls-uncached"] {
        let mut response = session.get(origin.url(path)).send().await.unwrap();
        assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
        // The read comes first, and waits.
        let (rest, ()) = tokio::join!(response.bytes(), time.pass(2 * limit));
        let error = rest.unwrap_err();
        assert!(error.kind() == ErrorKind::Timeout && error.to_string().contains("read_timeout"), "{path}: {error}");
    }
    let mut response = session.get(origin.url("/slow")).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "a");
    for expected in ["b", "c", "d"] {
        let passing = async {
            time.pass(limit / 2).await;
            slow.release(1);
        };
        let (chunk, ()) = tokio::join!(response.chunk(), passing);
        assert_eq!(chunk.unwrap().unwrap(), expected);
    }
    gate.open();
}

/// An idempotent request that dies on a connection that had served before is sent once more; others are not, and
/// nothing is on a connection that is new.
#[tokio::test]
async fn a_request_that_dies_on_a_kept_connection_is_tried_once_more() {
    let origin = Origin::scripted().await;
    let no_store = || Answer::ok("fine").header("cache-control", "no-store");
    origin.on("/ok", no_store());
    let session = session().0;
    for (method, retried) in [("GET", true), ("PUT", true), ("DELETE", true), ("POST", false), ("PATCH", false)] {
        let path = format!("/{method}");
        // The first request of a path has its connection cut before a byte of the answer.
        origin.on(&path, [Answer::raw("").reset_after(0), no_store()]);
        session.get(origin.url("/ok")).send().await.unwrap().bytes().await.unwrap();
        let request = http::Request::builder().method(method).uri(origin.url(&path)).body("body").unwrap();
        let request = if method == "GET" { request.map(|_| "") } else { request };
        let result = session.execute(request).await;
        assert_eq!(result.is_ok(), retried, "{method}: {result:?}");
        assert_eq!(origin.count_of(&path), if retried { 2 } else { 1 }, "{method}");
    }
    // A stream cannot be sent twice.
    origin.on("/stream", [Answer::raw("").reset_after(0), no_store()]);
    session.get(origin.url("/ok")).send().await.unwrap().bytes().await.unwrap();
    let body = http_body_util::Full::new(Bytes::from_static(b"once"));
    assert!(session.put(origin.url("/stream")).body_stream(body).send().await.is_err());
    // On a connection that is new there is nothing to explain it.
    origin.on("/fresh", Answer::raw("").reset_after(0));
    let fresh = self::session().0;
    assert_eq!(fresh.get(origin.url("/fresh")).send().await.unwrap_err().kind(), ErrorKind::Transport);
    assert_eq!(origin.count_of("/fresh"), 1);
}

/// What an HTTP/2 server says that it has not begun with is sent once more, whatever the method; once only, and not where
/// the body can be read only once.
#[tokio::test]
async fn a_request_that_was_not_begun_with_is_tried_once_more() {
    let origin = Origin::builder().http2().start().await;
    let clock = ManualClock::new();
    // Each on a connection of its own.
    let session = || builder(&clock).http2_prior_knowledge(true).build().unwrap();
    let send = async |method: &str, path: &str| {
        let request = http::Request::builder().method(method).uri(origin.url(path)).body("body").unwrap();
        session().execute(request).await
    };
    for (at, method) in ["PUT", "POST", "PATCH"].into_iter().enumerate() {
        // By a GOAWAY: another connection is opened.
        let (away, refused) = (format!("/{method}/away"), format!("/{method}/refused"));
        origin.on(&away, Answer::ok("fine"));
        let before = origin.connections();
        origin.go_away_at_once(1);
        assert_eq!(send(method, &away).await.unwrap().text().await.unwrap(), "fine", "{method}");
        assert_eq!((origin.count_of(&away), origin.connections() - before), (1, 2), "{method}");
        assert_eq!(origin.requests()[3 * at].body, "body");
        // By a refusal of this stream alone.
        origin.on(&refused, [Answer::refused(), Answer::ok("fine")]);
        assert_eq!(send(method, &refused).await.unwrap().text().await.unwrap(), "fine", "{method}");
        assert_eq!(origin.count_of(&refused), 2, "{method}");
    }
    origin.on("/busy", Answer::refused());
    assert_eq!(send("PUT", "/busy").await.unwrap_err().kind(), ErrorKind::Transport);
    assert_eq!(origin.count_of("/busy"), 2);
    origin.on("/once", [Answer::refused(), Answer::ok("fine")]);
    let body = http_body_util::Full::new(Bytes::from_static(b"once"));
    assert!(session().put(origin.url("/once")).body_stream(body).send().await.is_err());
    assert_eq!(origin.count_of("/once"), 1);
    // Another reason says nothing of the kind.
    origin.on("/cut", [Answer::raw(""), Answer::ok("fine")]);
    assert!(send("POST", "/cut").await.is_err());
    assert_eq!(origin.count_of("/cut"), 1);
}

#[tokio::test]
async fn an_idle_connection_is_given_up() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "no-store"));
    let clock = ManualClock::new();
    let session = builder(&clock).idle_timeout(Duration::from_millis(20)).build().unwrap();
    session.get(origin.url("/")).send().await.unwrap().bytes().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), origin.disconnected(1)).await.expect("the connection is closed");
}

/// Features 3 and 5: another client in place of the session's own, with the same cache before it.
#[tokio::test]
async fn any_service_can_be_given_in_place_of_the_client() {
    use hyper_client_cache_core::transport::RequestBody;
    let origin = Origin::scripted().await;
    origin.on("/", |request: &Recorded| Answer::ok(request.body.clone()));
    let clock = ManualClock::new();
    let client: hyper_util::client::legacy::Client<_, RequestBody> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let session = builder(&clock).service(client).build().unwrap();
    assert_eq!(text(&session, &origin.url("/")).await.0, Outcome::Miss);
    assert_eq!(text(&session, &origin.url("/")).await.0, Outcome::Hit);

    let canned = tower::service_fn(async |request: http::Request<RequestBody>| {
        let body = request.body().as_bytes().map(<[u8]>::len);
        Ok::<_, std::io::Error>(http::Response::new(http_body_util::Full::new(Bytes::from(format!("{body:?}")))))
    });
    let session = builder(&clock).service(canned).build().unwrap();
    assert_eq!(text(&session, "http://nowhere.invalid/").await.1, "Some(0)");
    let error = builder(&clock).connect_timeout(Duration::from_secs(1)).service(canned).build().unwrap_err();
    assert!(error.to_string().contains("`connect_timeout`") && error.to_string().contains("`service`"), "{error}");
}

/// Feature 23: what is beneath the cache sees misses only, be it a limit or anything else.
#[tokio::test]
async fn what_is_around_a_given_service_is_asked_on_misses_only() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let service = tower::service_fn(move |_: http::Request<hyper_client_cache_core::transport::RequestBody>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, std::io::Error>(http::Response::new(http_body_util::Full::new(Bytes::from_static(b"x")))) }
    });
    let clock = ManualClock::new();
    let session = builder(&clock).service(service).build().unwrap();
    for _ in 0..3 {
        text(&session, "http://host/").await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    eventually("nothing is in flight", || session.layer().in_flight() == 0).await;
}
