//! Requests with a body: answered from the cache where their method is allowed, by what the body says.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::key::Matching;
use hyper_client_cache_core::policy::{Outcome, Reason, Settings};
use hyper_client_cache_core::session::RequestBuilder;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};
use serde_json::json;

use super::{builder, see};

const HIT: Outcome = Outcome::Hit;
const MISS: Outcome = Outcome::Miss;

fn query() -> Method {
    Method::from_bytes(b"QUERY").unwrap()
}

/// A session that stores answers to all methods with a body too.
fn posting(matching: Matching) -> (CachedSession, ManualClock) {
    let clock = ManualClock::new();
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, query()];
    let settings = Settings::default().allowed_methods(methods).matching(matching);
    (builder(&clock).settings(settings).build().unwrap(), clock)
}

async fn echo() -> Origin {
    Origin::start(|request: &Recorded| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        Answer::ok(format!("{} {} {body}", request.method, request.target))
    })
    .await
}

async fn outcome(request: RequestBuilder) -> Outcome {
    see(request).await.outcome()
}

/// Features 29, 44 and 61, case 32: each payload has an entry of its own, with every method that is allowed.
#[tokio::test]
async fn each_payload_is_stored_for_itself() {
    let origin = echo().await;
    let (session, _) = posting(Matching::default());
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, query()] {
        for (name, value) in [("a", 1), ("a", 2), ("b", 1)] {
            let request = || session.request(method.clone(), origin.url("/"));
            let payload = [(name, value)].into_iter().collect::<std::collections::HashMap<_, _>>();
            for expected in [MISS, HIT] {
                assert_eq!(outcome(request().query(&payload)).await, expected, "{method} query");
                assert_eq!(outcome(request().json(&payload)).await, expected, "{method} json");
                assert_eq!(outcome(request().form(&payload)).await, expected, "{method} form");
                assert_eq!(outcome(request().body(format!("{name} {value}"))).await, expected, "{method} text");
            }
        }
    }
    let seen = see(session.post(origin.url("/")).form(&[("a", 1)])).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (HIT, "POST / a=1"));
}

/// Feature 61: a method that is not allowed bypasses, body or not, and so does a body that a GET sends as a stream.
#[tokio::test]
async fn what_is_not_allowed_bypasses() {
    let origin = echo().await;
    let session = builder(&ManualClock::new()).build().unwrap();
    for _ in 0..2 {
        let seen = see(session.post(origin.url("/")).body("a")).await;
        assert_eq!((seen.outcome(), seen.reason()), (Outcome::Bypass, Reason::Method));
    }
    assert_eq!(outcome(session.get(origin.url("/")).body("a")).await, MISS);
    assert_eq!(outcome(session.get(origin.url("/")).body("a")).await, HIT, "a GET's body is part of its key");
    assert_eq!(outcome(session.get(origin.url("/")).body("b")).await, MISS);
    assert_eq!(outcome(session.get(origin.url("/"))).await, MISS);
}

/// Case 32 and feature 33: a body that is sent as it comes is never part of a key.
#[tokio::test]
async fn a_streamed_body_bypasses() {
    let origin = echo().await;
    let (session, _) = posting(Matching::default());
    for _ in 0..2 {
        let seen = see(session.post(origin.url("/")).body_stream(Full::new(Bytes::from_static(b"a")))).await;
        assert_eq!((seen.outcome(), seen.reason(), &seen.text[..]), (Outcome::Bypass, Reason::RequestBody, "POST / a"));
    }
}

#[tokio::test]
async fn a_body_over_the_limit_bypasses() {
    let origin = echo().await;
    let (session, _) = posting(Matching::default().max_keyed_body(4));
    for (body, expected) in [("1234", MISS), ("1234", HIT), ("12345", Outcome::Bypass)] {
        let seen = see(session.post(origin.url("/")).body(body)).await;
        assert_eq!(seen.outcome(), expected, "{body}");
        if expected == Outcome::Bypass {
            assert_eq!(seen.reason(), Reason::RequestBodyTooLong);
        }
    }
    let (session, _) = posting(Matching::default());
    let long = "x".repeat(64 * 1024);
    assert_eq!(outcome(session.post(origin.url("/")).body(long.clone())).await, MISS);
    assert_eq!(outcome(session.post(origin.url("/")).body(long + "x")).await, Outcome::Bypass);
}

/// Features 30, 31 and 32: a form is not JSON, members of JSON may come in any order and arrays in one.
#[tokio::test]
async fn json_is_compared_by_what_it_says() {
    let origin = echo().await;
    let (session, _) = posting(Matching::default());
    let post = |body: &'static str, kind: &str| session.post(origin.url("/")).header("content-type", kind).body(body);
    let json = "application/json";
    for (request, expected) in [
        (post(r#"{"a":{"x":[1,2],"y":null},"b":1}"#, json), MISS),
        (post(r#"{ "b":1, "a":{"y":null,"x":[1, 2]} }"#, json), HIT),
        (post(r#"{"a":{"x":[2,1],"y":null},"b":1}"#, json), MISS),
        (post(r#"{"a":{"x":[1,2],"y":null},"b":1.0}"#, json), MISS),
        (post(r#"{"a":{"x":[1,2],"y":null},"b":1}"#, "text/plain"), MISS),
        (post(r#"{"a":{"x":[1,2],"y":null},"b":1}"#, "application/vnd.api+json"), MISS),
        (post("a=1", json), MISS),
        (post("a=1", "application/x-www-form-urlencoded"), MISS),
        (post("a=1", "text/plain"), MISS),
        (post("a=1", "application/x-www-form-urlencoded"), HIT),
    ] {
        assert_eq!(outcome(request).await, expected);
    }
    assert_eq!(outcome(session.post(origin.url("/")).json(&json!({"b": 1, "a": {"x": [1, 2], "y": null}}))).await, HIT);
}

/// Feature 33: two multipart bodies that differ in their boundary are one.
#[tokio::test]
async fn multipart_is_compared_by_its_parts() {
    let origin = echo().await;
    let (session, _) = posting(Matching::default());
    let post = |boundary: &str, value: &str| {
        let body =
            format!("--{boundary}\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n{value}\r\n--{boundary}--\r\n");
        let kind = format!("multipart/form-data; boundary={boundary}");
        session.post(origin.url("/")).header("content-type", kind).body(body)
    };
    assert_eq!(outcome(post("one", "1")).await, MISS);
    assert_eq!(outcome(post("two", "1")).await, HIT);
    assert_eq!(outcome(post("two", "2")).await, MISS);
}

/// Features 34 to 36: an ignored name in query, form, JSON or headers does not count, anything else does.
#[tokio::test]
async fn ignored_names_do_not_count_wherever_they_are() {
    let origin = echo().await;
    let matching = Matching::default().ignored_params(["ignored"]).ignored_headers(["ignored"]).match_headers(["*"]);
    let (session, _) = posting(matching);
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let request = || session.request(method.clone(), origin.url("/"));
        let with = |kind: &str, ignored: &str, other: &str| match kind {
            "query" => request().query(&[("ignored", ignored), ("param", other)]),
            "form" => request().form(&[("ignored", ignored), ("param", other)]),
            "json" => request().json(&json!({"deep": {"ignored": ignored}, "param": other})),
            _ => request().header("ignored", ignored).header("param", other),
        };
        for kind in ["query", "form", "json", "headers"] {
            assert_eq!(outcome(with(kind, "1", "1")).await, MISS, "{method} {kind}");
            assert_eq!(outcome(request().query(&[("unrelated", kind)])).await, MISS);
            assert_eq!(outcome(with(kind, "2", "1")).await, HIT, "{method} {kind}");
            assert_eq!(outcome(with(kind, "1", "2")).await, MISS, "{method} {kind}");
        }
    }
}

/// Cases 4 and 74: bodies do not merge callers, and are not stored.
#[tokio::test]
async fn callers_with_one_body_are_kept_apart() {
    let origin =
        Origin::start(|request: &Recorded| Answer::ok(request.header("authorization").unwrap_or("-").to_owned())).await;
    let (session, _) = posting(Matching::default());
    let post = |who: &str| session.post(origin.url("/")).header("authorization", who).form(&[("password", "canary")]);
    for expected in [MISS, HIT] {
        for who in ["a", "b"] {
            let seen = see(post(who)).await;
            assert_eq!((seen.outcome(), &seen.text[..]), (expected, who));
        }
    }
    session.layer().flush().await;
    for (_, entry) in super::entries(&**session.cache()).await {
        assert!(!String::from_utf8_lossy(&entry.head).contains("canary"));
    }
}

/// Case 51: an allowed POST that reaches the origin makes what was stored for safe methods invalid, answers to other
/// payloads stay; answered from the cache it changes nothing. One that bypasses removes all.
#[tokio::test]
async fn a_stored_post_invalidates_what_a_get_has_stored() {
    let origin = echo().await;
    let (session, _) = posting(Matching::default());
    let get = || session.get(origin.url("/"));
    let post = |body: &'static str| session.post(origin.url("/")).body(body);
    assert_eq!(outcome(post("a")).await, MISS);
    assert_eq!(outcome(get()).await, MISS);
    assert_eq!(outcome(post("a")).await, HIT);
    assert_eq!(outcome(get()).await, HIT, "a POST from the cache invalidates nothing");
    assert_eq!(outcome(post("b")).await, MISS);
    assert_eq!(outcome(get()).await, MISS, "one that reached the origin does");
    assert_eq!((outcome(post("a")).await, outcome(post("b")).await), (HIT, HIT));
    let streamed = session.post(origin.url("/")).body_stream(Full::new(Bytes::from_static(b"x")));
    assert_eq!(outcome(streamed).await, Outcome::Bypass);
    assert_eq!((outcome(post("a")).await, outcome(post("b")).await), (MISS, MISS));
}

/// The body is sent again where the origin is asked again: to revalidate, and in the background.
#[tokio::test]
async fn a_stale_answer_is_refreshed_with_the_body() {
    let origin = Origin::start(|request: &Recorded| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let answer = if request.header("if-none-match").is_some() { Answer::not_modified() } else { Answer::ok(body) };
        answer.etag("\"1\"").header("cache-control", "max-age=10, stale-while-revalidate=10")
    })
    .await;
    let (session, clock) = posting(Matching::default());
    let post = || session.post(origin.url("/")).body("payload");
    assert_eq!(outcome(post()).await, MISS);
    clock.advance(Duration::from_secs(11));
    assert_eq!(outcome(post()).await, Outcome::Stale);
    super::eventually("refreshed", || origin.count() == 2 && session.layer().in_flight() == 0).await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(outcome(post()).await, Outcome::Revalidated);
    assert_eq!(outcome(post()).await, HIT);
    assert!(origin.requests().iter().all(|request| &request.body[..] == b"payload"));
}

/// What a 304 forbids is fetched anew, with the body.
#[tokio::test]
async fn a_second_exchange_has_the_body_too() {
    let origin = Origin::start(|request: &Recorded| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        match request.header("if-none-match") {
            Some(_) => Answer::not_modified().header("cache-control", "no-store"),
            None => Answer::ok(body).etag("\"1\"").header("cache-control", "max-age=10"),
        }
    })
    .await;
    let (session, clock) = posting(Matching::default());
    let post = || session.post(origin.url("/")).body("payload");
    assert_eq!(outcome(post()).await, MISS);
    clock.advance(Duration::from_secs(11));
    assert_eq!(see(post()).await.text, "payload");
    assert_eq!(origin.count(), 3);
}

/// Case 200: each may change something at the origin, so each is sent, though the answer of one is stored for all.
#[tokio::test]
async fn requests_with_a_body_never_share_an_exchange() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request: &Recorded| Answer::ok(request.body.clone()).after(&held)).await;
    let (session, _) = posting(Matching::default());
    let url = origin.url("/");
    let known = |body: &'static str| tokio::spawn(see(session.post(&url).body(body)));
    let requests = [known("a"), known("a"), known("b")];
    let streamed =
        [0, 1].map(|_| tokio::spawn(see(session.post(&url).body_stream(Full::new(Bytes::from_static(b"a"))))));
    gate.arrived(5).await;
    gate.open();
    let mut texts = Vec::new();
    for request in requests {
        texts.push(request.await.unwrap().text);
    }
    for request in streamed {
        assert_eq!(request.await.unwrap().outcome(), Outcome::Bypass);
    }
    assert_eq!(texts, ["a", "a", "b"]);
    assert_eq!(origin.count(), 5);
    assert_eq!(outcome(session.post(&url).body("a")).await, HIT);
}

/// A redirect that keeps the body keeps it in the key; one that drops it, as 303 does, is a request without.
#[tokio::test]
async fn a_redirect_is_keyed_by_the_body_that_it_sends() {
    let origin = Origin::start(|request: &Recorded| match request.path() {
        "/kept" => Answer::redirect(307, "/to").header("cache-control", "max-age=60"),
        "/dropped" => Answer::redirect(303, "/to").header("cache-control", "max-age=60"),
        _ => Answer::ok(format!("{} {}", request.method, String::from_utf8_lossy(&request.body))),
    })
    .await;
    let (session, _) = posting(Matching::default());
    for expected in [MISS, HIT] {
        for (path, body, text) in [("/kept", "a", "POST a"), ("/kept", "b", "POST b"), ("/dropped", "a", "GET ")] {
            let seen = see(session.post(origin.url(path)).body(body)).await;
            if !(path == "/dropped" && expected == MISS) {
                assert_eq!(seen.outcome(), expected, "{path}");
            }
            assert_eq!(seen.text, text);
        }
    }
}
