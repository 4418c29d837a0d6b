//! Two calls, the second from the cache; verbs, bodies, redirects, time-outs, closing.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper_client_cache_core::policy::{CacheControl, ExpireAfter, Mode, Outcome, Reason, Storing};
use hyper_client_cache_core::transport::RequestBody;
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};
use serde_json::json;

use super::{builder, outcome, pattern_len, session, settled, text};
use crate::support::StillTime;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn the_second_call_is_answered_from_the_cache() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("hello").header("cache-control", "max-age=60").header("x-one", "1"));
    let (session, clock) = session();
    let url = origin.url("/a");
    let first = session.get(&url).send().await.unwrap();
    assert_eq!((outcome(&first), first.from_cache(), first.status().as_u16()), (Outcome::Miss, false, 200));
    assert_eq!(first.cache_info().unwrap().storing, Storing::Yes);
    assert_eq!(first.text().await.unwrap(), "hello");

    clock.advance(Duration::from_secs(7));
    let second = session.get(&url).send().await.unwrap();
    assert_eq!((outcome(&second), second.from_cache()), (Outcome::Hit, true));
    assert_eq!(second.headers()["x-one"], "1");
    assert_eq!(second.headers()["age"], "7");
    assert_eq!(second.age(), Some(Duration::from_secs(7)));
    assert_eq!(second.expires().unwrap().duration_since(second.created_at().unwrap()).unwrap().as_secs(), 60);
    assert!(!second.is_expired() && !second.is_stale());
    assert_eq!(second.text().await.unwrap(), "hello");
    assert_eq!(origin.count(), 1);
    assert_eq!((session.stats().hits, session.stats().misses, session.stats().stored), (1, 1, 1));
}

#[tokio::test]
async fn a_response_is_stale_after_its_lifetime() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("hello").header("cache-control", "max-age=60"));
    let (session, clock) = session();
    text(&session, &origin.url("/a")).await;
    clock.advance(Duration::from_secs(59));
    assert_eq!(text(&session, &origin.url("/a")).await.0, Outcome::Hit);
    clock.advance(Duration::from_secs(1));
    assert_eq!(text(&session, &origin.url("/a")).await.0, Outcome::Miss);
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn expire_after_decides_where_the_server_says_nothing() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("hello"));
    let clock = hyper_client_cache_testkit::ManualClock::new();
    let session = builder(&clock).expire_after(Duration::from_secs(10)).build().unwrap();
    text(&session, &origin.url("/a")).await;
    clock.advance(Duration::from_secs(9));
    assert_eq!(text(&session, &origin.url("/a")).await.0, Outcome::Hit);
    clock.advance(Duration::from_secs(2));
    assert_eq!(text(&session, &origin.url("/a")).await.0, Outcome::Miss);
    // The request's own setting.
    let response = session.get(origin.url("/b")).expire_after(ExpireAfter::DoNotStore).send().await.unwrap();
    assert_eq!(outcome(&response), Outcome::Bypass);
}

#[tokio::test]
async fn cache_control_can_be_ignored() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("hello").header("cache-control", "no-store"));
    let clock = hyper_client_cache_testkit::ManualClock::new();
    let honest = builder(&clock).build().unwrap();
    let response = honest.get(origin.url("/a")).send().await.unwrap();
    assert_eq!(response.cache_info().unwrap().storing, Storing::No(Reason::ResponseNoStore));
    let ignoring = builder(&clock).cache_control(CacheControl::Ignore).build().unwrap();
    text(&ignoring, &origin.url("/a")).await;
    assert_eq!(text(&ignoring, &origin.url("/a")).await.0, Outcome::Hit);
}

#[tokio::test]
async fn only_if_cached_opens_no_socket() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let response = session.get(origin.url("/a")).mode(Mode::OnlyIfCached).send().await.unwrap();
    assert_eq!((outcome(&response), response.status().as_u16()), (Outcome::Offline, 504));
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn every_verb_and_every_kind_of_body_reaches_the_origin() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("done"));
    let (session, _) = session();
    let url = origin.url("/a");
    session.post(&url).query(&[("q", "ä b")]).json(&json!({"k": 1})).send().await.unwrap();
    session.put(&url).form(&[("a", "1"), ("b", "x y")]).send().await.unwrap();
    session.patch(&url).body("text").header("x-two", "2").send().await.unwrap();
    session.delete(&url).body(vec![0, 1, 2]).send().await.unwrap();
    session.options(&url).send().await.unwrap();
    session.head(&url).send().await.unwrap();
    let chunks = futures_util::stream::iter(["one", "two"].map(|chunk| {
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes::Bytes::from_static(chunk.as_bytes())))
    }));
    session.post(&url).body_stream(http_body_util::StreamBody::new(chunks)).send().await.unwrap();
    let request = http::Request::builder().method("PURGE").uri(&url).body("x").unwrap();
    session.execute(request).await.unwrap();

    let seen = origin.requests();
    let seen: Vec<_> = seen.iter().map(|request| (request.method.as_str(), &request.body[..])).collect();
    let expected: [(&str, &[u8]); 8] = [
        ("POST", br#"{"k":1}"#),
        ("PUT", b"a=1&b=x+y"),
        ("PATCH", b"text"),
        ("DELETE", &[0, 1, 2]),
        ("OPTIONS", b""),
        ("HEAD", b""),
        ("POST", b"onetwo"),
        ("PURGE", b"x"),
    ];
    assert_eq!(seen, expected);
    let first = &origin.requests()[0];
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert!(first.target.ends_with("?q=%C3%A4+b"), "{}", first.target);
}

#[tokio::test]
async fn json_bytes_and_a_stream_of_the_body() {
    let origin = Origin::scripted().await;
    origin.on("/json", Answer::ok(r#"{"a":[1,2]}"#));
    let (session, _) = session();
    for _ in 0..2 {
        let value: serde_json::Value = session.get(origin.url("/json")).send().await.unwrap().json().await.unwrap();
        assert_eq!(value, json!({"a": [1, 2]}));
    }
    let error = session.get(origin.url("/json")).send().await.unwrap().json::<u8>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    use futures_util::TryStreamExt;
    let stream = session.get(origin.url("/json")).send().await.unwrap().bytes_stream();
    let chunks: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(chunks.concat(), br#"{"a":[1,2]}"#);
    let plain = session.get(origin.url("/json")).send().await.unwrap().into_http();
    assert!(plain.extensions().get::<hyper_client_cache_core::policy::CacheInfo>().unwrap().from_cache());
}

#[tokio::test]
async fn each_hop_of_a_redirect_passes_through_the_cache() {
    let origin = Origin::scripted().await;
    origin.on("/1", Answer::redirect(301, "/2").header("cache-control", "max-age=60"));
    origin.on("/2", Answer::redirect(302, "/3"));
    origin.on("/3", Answer::ok("end").header("cache-control", "max-age=60"));
    let (session, _) = session();
    let first = session.get(origin.url("/1")).send().await.unwrap();
    assert_eq!(first.history().len(), 2);
    assert_eq!(first.url().path(), "/3");
    assert_eq!(first.text().await.unwrap(), "end");
    let second = session.get(origin.url("/1")).send().await.unwrap();
    assert!(second.from_cache());
    let hops: Vec<_> = second.history().iter().map(|hop| hop.cache_info.as_ref().unwrap().outcome).collect();
    // Case 64: a 302 without freshness is not stored.
    assert_eq!(hops, [Outcome::Hit, Outcome::Miss]);
    assert_eq!((origin.count_of("/1"), origin.count_of("/2"), origin.count_of("/3")), (1, 2, 1));
    let direct = session.get(origin.url("/3")).send().await.unwrap();
    assert!(direct.from_cache());
}

/// Case 63.
#[tokio::test]
async fn a_loop_of_redirects_ends_in_an_error() {
    let origin = Origin::scripted().await;
    origin.on("/1", Answer::redirect(301, "/1").header("cache-control", "max-age=60"));
    let (session, _) = session();
    let error = session.get(origin.url("/1")).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redirect);
    assert_eq!(origin.count(), 1);
}

/// Cases 59 and 61.
#[tokio::test]
async fn credentials_do_not_follow_to_another_origin_and_do_not_come_back() {
    let (a, b) = (Origin::scripted().await, Origin::scripted().await);
    a.on("/start", Answer::redirect(307, &b.url("/away")));
    b.on("/away", Answer::redirect(307, &a.url("/end")));
    a.on("/end", Answer::ok("end"));
    let (session, _) = session();
    let request =
        session.get(a.url("/start")).header("authorization", "Bearer x").header("cookie", "c").header("x-plain", "1");
    request.send().await.unwrap();
    let seen: Vec<_> =
        a.requests().iter().chain(&b.requests()).map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(seen, [true, false, false]);
    assert!(a.requests().iter().chain(&b.requests()).all(|request| request.header("x-plain") == Some("1")));
    assert!(b.requests()[0].header("cookie").is_none());
}

#[tokio::test]
async fn a_303_is_fetched_and_a_307_is_sent_again() {
    let origin = Origin::scripted().await;
    origin.on("/303", Answer::redirect(303, "/end"));
    origin.on("/307", Answer::redirect(307, "/end"));
    origin.on("/end", Answer::ok("end"));
    let (session, _) = session();
    session.post(origin.url("/303")).body("x").send().await.unwrap();
    session.post(origin.url("/307")).body("x").send().await.unwrap();
    let ends: Vec<_> = origin.requests().into_iter().filter(|request| request.path() == "/end").collect();
    assert_eq!((ends[0].method.as_str(), &ends[0].body[..]), ("GET", &b""[..]));
    assert_eq!((ends[1].method.as_str(), &ends[1].body[..]), ("POST", &b"x"[..]));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_an_error() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/slow", Answer::ok("x").after(&gate));
    origin.on("/drip", Answer::status(200).chunk("a").gate(&gate).chunk("b"));
    let (session, _) = session();
    let (time, limit) = (StillTime::begin(), Duration::from_millis(50));
    let slow = tokio::spawn(session.get(origin.url("/slow")).timeout(limit).send());
    gate.arrived(1).await;
    time.pass(2 * limit).await;
    assert_eq!(slow.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    let response = session.get(origin.url("/drip")).timeout(limit).send().await.unwrap();
    let body = tokio::spawn(async move { response.bytes().await });
    gate.arrived(2).await;
    time.pass(2 * limit).await;
    assert_eq!(body.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    gate.open();
}

/// Whoever reads so slowly that the next bytes are always there has no more time than others.
#[tokio::test]
async fn a_body_that_is_read_too_slowly_is_an_error() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::pattern(MIB).header("cache-control", "max-age=60"));
    let (session, _) = session();
    let url = origin.url("/a");
    assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(MIB));
    settled(&session, 1, 4).await;
    let limit = Duration::from_secs(5);
    for (mode, expected) in [(Mode::Default, Outcome::Hit), (Mode::NoStore, Outcome::Bypass)] {
        let time = StillTime::begin();
        let mut response = session.get(&url).mode(mode).timeout(limit).send().await.unwrap();
        assert_eq!(outcome(&response), expected);
        assert!(response.chunk().await.unwrap().is_some());
        time.pass(2 * limit).await;
        assert_eq!(response.chunk().await.unwrap_err().kind(), ErrorKind::Timeout, "{expected:?}");
    }
}

/// Case 177: the end of a request's time frees what it holds, though nobody polls or drops its response.
#[tokio::test]
async fn what_nobody_reads_is_let_go_of_when_its_time_is_over() {
    let (origin, gate) = (Origin::scripted().await, Gate::new());
    let (session, _) = session();
    let limit = Duration::from_secs(5);
    for (nth, (path, len)) in [("/small", 1), ("/large", MIB)].into_iter().enumerate() {
        origin.on(path, Answer::pattern(len).gate(&gate).chunk("x").header("cache-control", "max-age=60"));
        let time = StillTime::begin();
        let mut response = session.get(origin.url(path)).timeout(limit).send().await.unwrap();
        let mut read = 0;
        while read < len {
            read += response.chunk().await.unwrap().unwrap().len() as u64;
        }
        assert_eq!((session.layer().in_flight(), origin.open_connections()), (1, 1), "{path}");
        time.pass(2 * limit).await;
        drop(time);
        settled(&session, 0, 0).await;
        origin.disconnected(nth as u64 + 1).await;
        assert_eq!(response.chunk().await.unwrap_err().kind(), ErrorKind::Timeout, "{path}");
    }
    gate.open();
}

/// Case 177: where the time ends while the body is polled, that very poll says so, whatever has come of it: nobody may
/// be left to wake the reader.
#[tokio::test]
async fn a_time_that_ends_during_a_poll_is_seen_by_it() {
    let limit = Duration::from_secs(5);
    let service = tower::service_fn(move |request: http::Request<RequestBody>| async move {
        let fails = request.uri().path() == "/fails";
        let frames = futures_util::stream::poll_fn(move |cx| {
            // The clock is put forward by the first poll.
            let _ = pin!(tokio::time::advance(2 * limit)).poll(cx);
            match fails {
                true => Poll::Ready(Some(Err::<http_body::Frame<Bytes>, _>(std::io::Error::other("broken")))),
                false => Poll::Pending,
            }
        });
        let response = http::Response::builder().header("cache-control", "max-age=60");
        Ok::<_, std::io::Error>(response.body(http_body_util::StreamBody::new(frames)).unwrap())
    });
    let session = builder(&ManualClock::new()).service(service).build().unwrap();
    tokio::time::pause();
    for path in ["/waits", "/fails"] {
        let url = format!("http://nowhere.invalid{path}");
        let mut response = session.get(url).timeout(limit).send().await.unwrap();
        let polled = pin!(response.chunk()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(read) = polled else { panic!("{path} waits on") };
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Timeout, "{path}");
    }
}

/// Case 177: whoever else reads it goes on, and whoever has come by another's request has a time of his own.
#[tokio::test]
async fn the_end_of_one_readers_time_is_not_the_others() {
    let (origin, gate) = (Origin::scripted().await, Gate::new());
    origin.on("/a", Answer::pattern(MIB).gate(&gate).chunk("x").header("cache-control", "max-age=60"));
    let (session, _) = session();
    let limit = Duration::from_secs(5);
    let time = StillTime::begin();
    let ask = |limit| session.get(origin.url("/a")).timeout(limit).send();
    let mut leader = ask(limit).await.unwrap();
    let (mut waiter, other) = (ask(2 * limit).await.unwrap(), ask(10 * limit).await.unwrap());
    assert_eq!(outcome(&waiter), Outcome::Coalesced);
    let (seen, mut rest) = (std::sync::Arc::new(tokio::sync::Notify::new()), other);
    let (told, reading) = (seen.clone(), 3 * limit);
    let other = tokio::spawn(async move {
        let mut read = 0;
        while let Some(bytes) = rest.chunk().await.unwrap() {
            read += bytes.len() as u64;
            if read == MIB {
                told.notify_one();
            }
        }
        read
    });
    seen.notified().await;
    time.pass(reading).await;
    for late in [&mut leader, &mut waiter] {
        assert_eq!(late.chunk().await.unwrap_err().kind(), ErrorKind::Timeout);
    }
    gate.open();
    assert_eq!(other.await.unwrap(), MIB + 1);
    drop(time);
    settled(&session, 1, 5).await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_closed_session_says_so() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("x"));
    let (session, _) = session();
    let clone = session.clone();
    text(&session, &origin.url("/a")).await;
    session.close().await.unwrap();
    session.close().await.unwrap();
    assert_eq!(clone.get(origin.url("/a")).send().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_shared_cache_outlives_a_session_and_serves_another() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("x"));
    let cache = hyper_client_cache_core::cache::MemoryCache::default();
    let cache: std::sync::Arc<dyn hyper_client_cache_core::cache::Cache> = std::sync::Arc::new(cache);
    let one = CachedSession::builder().shared_cache(cache.clone()).build().unwrap();
    text(&one, &origin.url("/a")).await;
    one.close().await.unwrap();
    let two = CachedSession::builder().shared_cache(cache).build().unwrap();
    assert_eq!(text(&two, &origin.url("/a")).await.0, Outcome::Hit);
}

/// Cases 75 and 76: what is wrong is named, what is secret is not shown.
#[tokio::test]
async fn an_invalid_request_is_an_error_that_shows_no_secret() {
    let (session, _) = session();
    let errors = [
        session.get("http://u:canary@").send().await.unwrap_err(),
        session.get("http://host/").header("x-key", "canary\n").send().await.unwrap_err(),
        session.get("/relative?canary").send().await.unwrap_err(),
        session.get("ftp://canary@host/").send().await.unwrap_err(),
    ];
    for error in &errors {
        assert_eq!(error.kind(), ErrorKind::Request, "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    assert!(errors[1].to_string().contains("x-key"));
    let request = session.get("http://host/").header("authorization", "canary");
    let shown = format!("{request:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn impossible_settings_are_named() {
    let cases = [
        (CachedSession::builder().timeout(Duration::ZERO).build(), "timeout"),
        (CachedSession::builder().connect_timeout(Duration::ZERO).build(), "connect_timeout"),
        (CachedSession::builder().root_certificate(vec![1, 2, 3]).build(), "root_certificate"),
        (
            CachedSession::builder()
                .settings(hyper_client_cache_core::policy::Settings::default().max_variants(0))
                .build(),
            "max_variants",
        ),
    ];
    for (result, name) in cases {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn http2_and_tls_work() {
    let h2 = Origin::builder().http2().start().await;
    h2.on("/a", Answer::ok("over two"));
    let session = CachedSession::builder().http2_prior_knowledge(true).build().unwrap();
    let first = session.get(h2.url("/a")).send().await.unwrap();
    assert_eq!(first.version(), http::Version::HTTP_2);
    first.text().await.unwrap();
    assert_eq!(text(&session, &h2.url("/a")).await, (Outcome::Hit, "over two".into()));

    let tls = Origin::builder().tls().start().await;
    tls.on("/a", Answer::ok("over TLS"));
    let session = CachedSession::builder().root_certificate(tls.root_certificate_der().unwrap()).build().unwrap();
    assert_eq!(text(&session, &tls.url("/a")).await, (Outcome::Miss, "over TLS".into()));
    assert_eq!(text(&session, &tls.url("/a")).await, (Outcome::Hit, "over TLS".into()));
    let stranger = CachedSession::builder().build().unwrap();
    assert_eq!(stranger.get(tls.url("/a")).send().await.unwrap_err().kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn the_cache_status_field_says_what_happened() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("x").header("cache-control", "max-age=60"));
    let clock = hyper_client_cache_testkit::ManualClock::new();
    let session = builder(&clock).cache_status("Ours").build().unwrap();
    let first = session.get(origin.url("/a")).send().await.unwrap();
    let status = first.headers()["cache-status"].to_str().unwrap().to_owned();
    assert!(status.starts_with("Ours; fwd=uri-miss") && status.contains("; stored"), "{status}");
    first.bytes().await.unwrap();
    let second = session.get(origin.url("/a")).send().await.unwrap();
    assert!(second.headers()["cache-status"].to_str().unwrap().starts_with("Ours; hit; ttl=60"));
}

#[test]
fn a_body_can_be_made_of_many_things() {
    assert!(RequestBody::from("x").try_clone().is_some());
    assert!(RequestBody::from(()).try_clone().is_some());
    assert!(RequestBody::stream(http_body_util::Empty::<bytes::Bytes>::new()).try_clone().is_none());
}
