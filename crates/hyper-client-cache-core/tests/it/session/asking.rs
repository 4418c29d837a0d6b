//! What a request asks for by its own headers, its method and its body (RFC 9111 section 5.2.1).

use std::time::Duration;

use hyper_client_cache_core::policy::{Mode, Outcome, Reason, Storing};
use hyper_client_cache_testkit::origin::{Answer, Origin, Recorded};

use super::{get, is_stored, see, session};

/// Case 183, feature 99: ranges go past the cache, and a 206 is never stored.
#[tokio::test]
async fn ranges_go_past_the_cache() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    origin.on("/", |request: &Recorded| {
        let partial = Answer::status(206).body("el").header("content-range", "bytes 1-2/5");
        let answer = if request.header("range").is_some() { partial } else { Answer::ok("hello") };
        answer.header("cache-control", "max-age=60").header("etag", "\"1\"")
    });
    for range in ["bytes=1-2", "bytes=1-2,4-", "bytes=900-"] {
        let seen = get(&session, &origin.url("/"), &[("range", range)]).await;
        assert_eq!((seen.outcome(), seen.reason(), seen.status), (Outcome::Bypass, Reason::Range, 206));
    }
    let conditional = get(&session, &origin.url("/"), &[("range", "bytes=1-2"), ("if-range", "\"1\"")]).await;
    assert_eq!((conditional.outcome(), conditional.status), (Outcome::Bypass, 206));
    assert_eq!(get(&session, &origin.url("/"), &[]).await.text, "hello");
    let seen = get(&session, &origin.url("/"), &[]).await;
    assert_eq!((seen.outcome(), seen.status, &seen.text[..]), (Outcome::Hit, 200, "hello"));
    // One that nobody asked for.
    origin.on("/unasked", Answer::status(206).body("el").header("cache-control", "max-age=60"));
    let seen = get(&session, &origin.url("/unasked"), &[]).await;
    assert_eq!(seen.storing(), Storing::No(Reason::PartialContent));
    assert!(!is_stored(&session, &origin.url("/unasked")).await);
}

/// Feature 93: `only-if-cached` never asks the origin, also where the request would go past the cache otherwise.
#[tokio::test]
async fn only_if_cached_is_a_504_and_no_request() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60").etag("\"1\""));
    let (session, clock) = session();
    let url = origin.url("/");
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(get(&session, &url, &only).await.status, 504);
    assert_eq!(origin.count(), 0);
    get(&session, &url, &[]).await;
    assert_eq!(get(&session, &url, &only).await.outcome(), Outcome::Hit);
    for (name, value) in [
        ("range", "bytes=0-1"),
        ("if-none-match", "\"1\""),
        ("upgrade", "websocket"),
        ("x-http-method-override", "DELETE"),
        ("cache-control", "no-store"),
    ] {
        let seen = get(&session, &url, &[only[0], (name, value)]).await;
        assert_eq!((seen.outcome(), seen.status), (Outcome::Offline, 504), "{name}");
    }
    let streamed = session.get(&url).body_stream(http_body_util::Full::new("x".into()));
    let seen = see(streamed.mode(Mode::OnlyIfCached)).await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Offline, Reason::RequestBody));
    assert_eq!(see(session.post(&url).mode(Mode::OnlyIfCached)).await.outcome(), Outcome::Offline);
    // Stale, and not to be revalidated.
    clock.advance(Duration::from_secs(61));
    assert_eq!(get(&session, &url, &only).await.status, 504);
    assert_eq!(
        get(&session, &url, &[("cache-control", "only-if-cached, max-stale=10")]).await.outcome(),
        Outcome::Stale
    );
    assert_eq!(origin.count(), 1);
}

/// Features 88 to 92: what a request's own directives ask.
#[tokio::test]
async fn a_request_may_ask_for_more_or_for_less() {
    let origin = Origin::scripted().await;
    // What has a validator is kept past its freshness.
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60").header("etag", "\"1\""));
    let (session, clock) = session();
    let url = origin.url("/");
    let fresh = async |name: &str, value: &str| get(&session, &url, &[(name, value)]).await;
    get(&session, &url, &[]).await;
    clock.advance(Duration::from_secs(20));
    let cases = [
        ("cache-control", "max-age=30", Outcome::Hit, Reason::Fresh),
        ("cache-control", "max-age=20", Outcome::Hit, Reason::Fresh),
        ("cache-control", "min-fresh=40", Outcome::Hit, Reason::Fresh),
        ("pragma", "something", Outcome::Hit, Reason::Fresh),
    ];
    for (name, value, outcome, reason) in cases {
        let seen = fresh(name, value).await;
        assert_eq!((seen.outcome(), seen.reason()), (outcome, reason), "{name}: {value}");
    }
    for (name, value, reason) in [
        ("cache-control", "max-age=19", Reason::RequestMaxAge),
        ("cache-control", "max-age=x", Reason::RequestMaxAge),
        ("cache-control", "min-fresh=41", Reason::RequestMinFresh),
        ("cache-control", "no-cache", Reason::RequestNoCache),
        ("pragma", "no-cache", Reason::RequestNoCache),
    ] {
        let seen = fresh(name, value).await;
        assert_eq!((seen.outcome(), seen.reason()), (Outcome::Miss, reason), "{name}: {value}");
        // It was stored anew: age it again.
        clock.advance(Duration::from_secs(20));
    }
    let seen = fresh("cache-control", "no-store").await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Bypass, Reason::RequestNoStore));
    // Pragma counts only where there is no Cache-Control.
    let seen = get(&session, &url, &[("pragma", "no-cache"), ("cache-control", "max-age=60")]).await;
    assert_eq!(seen.outcome(), Outcome::Hit);

    clock.advance(Duration::from_secs(45));
    for accepted in ["max-stale", "max-stale=5", "max-stale=9, max-stale=5"] {
        let seen = fresh("cache-control", accepted).await;
        assert_eq!((seen.outcome(), seen.reason()), (Outcome::Stale, Reason::RequestMaxStale), "{accepted}");
        assert!(seen.info.is_stale);
    }
    assert_eq!(fresh("cache-control", "max-stale=4").await.outcome(), Outcome::Miss);
}

/// Case 20: `no-store` in the second of several lines of the request; nothing of the exchange is stored.
#[tokio::test]
async fn no_store_in_any_line_of_the_request_is_obeyed() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60"));
    let (session, _) = session();
    let lines = [("cache-control", "max-age=60"), ("cache-control", "x, No-Store")];
    assert_eq!(get(&session, &origin.url("/"), &lines).await.outcome(), Outcome::Bypass);
    assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Miss);
}

/// Case 31: a header that overrides the method makes the request one of that method.
#[tokio::test]
async fn a_method_override_goes_past_the_cache_and_invalidates() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60"));
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let (session, _) = session();
        assert!(is_stored(&session, &origin.url("/")).await);
        let seen = get(&session, &origin.url("/"), &[(name, "DELETE")]).await;
        assert_eq!((seen.outcome(), seen.reason()), (Outcome::Bypass, Reason::MethodOverride), "{name}");
        assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Miss, "{name}");
    }
}

/// Case 32: a GET's body is part of its key; one that cannot be sent twice goes past the cache.
#[tokio::test]
async fn a_get_with_a_body_is_keyed_by_it_or_goes_past_the_cache() {
    let origin =
        Origin::start(|request: &Recorded| Answer::ok(request.body.clone()).header("cache-control", "max-age=60"))
            .await;
    let (session, _) = session();
    for (body, outcome) in [("one", Outcome::Miss), ("two", Outcome::Miss), ("one", Outcome::Hit)] {
        let seen = see(session.get(origin.url("/")).body(body)).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (outcome, body));
    }
    let chunk = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(http_body::Frame::data("x".into()))]);
    let seen = see(session.get(origin.url("/")).body_stream(http_body_util::StreamBody::new(chunk))).await;
    assert_eq!((seen.outcome(), seen.reason(), &seen.text[..]), (Outcome::Bypass, Reason::RequestBody, "x"));
    assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Miss);
}
