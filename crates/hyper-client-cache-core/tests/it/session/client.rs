//! What the client itself does: base URL, default headers, credentials, time-outs, statuses, readers of the body.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};

use super::{builder, outcome, session, text};

/// Feature 19: a relative URL and the absolute one that it means share an entry.
#[tokio::test]
async fn relative_urls_are_resolved_against_the_base() {
    let origin = Origin::scripted().await;
    origin.on("/api/items?q=1", Answer::ok("items"));
    let clock = ManualClock::new();
    let session = builder(&clock).base_url(origin.url("/api/")).build().unwrap();
    let (outcome, body) = text(&session, "items?q=1").await;
    assert_eq!((outcome, body.as_str()), (Outcome::Miss, "items"));
    assert_eq!(text(&session, &origin.url("/api/items?q=1")).await.0, Outcome::Hit);
    let request = http::Request::get("/api/items?q=1").body(()).unwrap();
    assert!(session.execute(request).await.unwrap().from_cache());
    let error = self::session().0.get("items?canary").send().await.unwrap_err();
    assert!(error.to_string().contains("`items`") && error.to_string().contains("`base_url`"), "{error}");
}

#[tokio::test]
async fn default_headers_are_sent_unless_the_request_has_its_own() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("vary", "accept-language"));
    let clock = ManualClock::new();
    let session = builder(&clock)
        .default_header("accept-language", "de")
        .default_header("x-two", "1")
        .default_header("x-two", "2")
        .user_agent("ours/1")
        .bearer_auth("token")
        .build()
        .unwrap();
    session.get(origin.url("/")).send().await.unwrap().bytes().await.unwrap();
    session.get(origin.url("/")).header("accept-language", "en").send().await.unwrap().bytes().await.unwrap();
    let seen = origin.requests();
    assert_eq!(seen[0].header("accept-language"), Some("de"));
    assert_eq!(seen[0].headers.get_all("x-two").iter().count(), 2);
    assert_eq!((seen[0].header("user-agent"), seen[0].header("authorization")), (Some("ours/1"), Some("Bearer token")));
    assert_eq!(seen[1].headers.get_all("accept-language").iter().collect::<Vec<_>>(), ["en"]);
    // What a default header selects, the cache selects by too.
    let hit = session.get(origin.url("/")).header("accept-language", "de").send().await.unwrap();
    assert_eq!(outcome(&hit), Outcome::Hit);
    assert_eq!(hit.request_headers()["x-two"], "1");
}

/// Cases 75 and 76: credentials in every place that takes one are shown in none.
#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let clock = ManualClock::new();
    let builder = builder(&clock)
        .base_url(origin.url("/").replace("http://", "http://user:canary@"))
        .default_header("x-api-key", "canary")
        .secret_headers(["x-api-key"]);
    let mut shown = format!("{builder:?}");
    let session = builder.build().unwrap();
    let request = session.get("/").basic_auth("me", Some("canary")).query(&[("token", "canary")]).body("canary");
    shown += &format!("{session:?} {request:?}");
    let built = session.get("/").bearer_auth("canary").build().unwrap();
    let lines = ["authorization", "cookie", "x-api-key"].map(|name| (name.parse().unwrap(), "canary".parse().unwrap()));
    let given = session.get("/").headers(lines.into_iter().collect()).build().unwrap();
    assert_eq!(given.headers().len(), 3);
    shown += &format!("{:?}", given.headers());
    shown += &format!("{:?} {:?} {:?}", built.headers(), built.extensions(), built.body());
    let response = request.send().await.unwrap();
    shown += &format!("{response:?} {:?} {:?}", response.request_headers(), response.history());
    for error in [
        session.get("/").bearer_auth("canary\n").build().unwrap_err(),
        session.get("/").basic_auth("canary:", None).build().unwrap_err(),
        CachedSession::builder().bearer_auth("canary\n").build().unwrap_err(),
        CachedSession::builder().default_header("x-key", "canary\n").build().unwrap_err(),
        CachedSession::builder().base_url("ftp://canary@host").build().unwrap_err(),
        CachedSession::builder().base_url("canary").build().unwrap_err(),
    ] {
        shown += &format!("{error} {error:?}");
    }
    assert!(!shown.contains("canary"), "{shown}");
    assert!(!shown.contains("Y2FuYXJ5"), "nor in Base64: {shown}");
    let seen = &origin.requests()[0];
    assert_eq!(seen.header("authorization"), Some("Basic bWU6Y2FuYXJ5"));
    assert_eq!(seen.header("x-api-key"), Some("canary"));
    let by_url = session.get("/").build().unwrap();
    assert_eq!(by_url.headers()["authorization"], "Basic dXNlcjpjYW5hcnk=");
    assert!(by_url.headers()["x-api-key"].is_sensitive());
}

/// Seed lines 53 and 54.
#[tokio::test]
async fn a_status_can_be_made_an_error() {
    let origin = Origin::scripted().await;
    origin.on("/ok", Answer::ok("x"));
    origin.on("/gone", Answer::status(410));
    let (session, _) = session();
    let ok = session.get(origin.url("/ok")).send().await.unwrap().error_for_status().unwrap();
    assert!(ok.is_success());
    let gone = session.get(origin.url("/gone?canary")).send().await.unwrap();
    assert!(!gone.is_success());
    let error = gone.error_for_status_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Status);
    let text = error.to_string();
    assert!(text.contains("410 Gone for GET") && text.contains("/gone?..") && !text.contains("canary"), "{text}");
}

/// Seed lines 49 to 52.
#[tokio::test]
async fn json_is_read_as_it_is_meant() {
    let origin = Origin::scripted().await;
    for (path, body) in
        [("/empty", ""), ("/blank", " \r\n"), ("/null", "null"), ("/mark", "\u{feff}[1]"), ("/text", "x")]
    {
        origin.on(path, Answer::ok(body));
    }
    let (session, _) = session();
    for path in ["/empty", "/blank", "/null"] {
        let response = session.get(origin.url(path)).send().await.unwrap();
        assert_eq!(response.json::<Option<u8>>().await.unwrap(), None, "{path}");
        assert_eq!(response.json::<serde_json::Value>().await.unwrap(), serde_json::Value::Null);
        assert_eq!(response.json::<u8>().await.unwrap_err().kind(), ErrorKind::Decode);
    }
    let marked = session.get(origin.url("/mark")).send().await.unwrap();
    assert_eq!(marked.json::<Vec<u8>>().await.unwrap(), [1]);
    let text = session.get(origin.url("/text")).send().await.unwrap();
    assert_eq!(text.json::<serde_json::Value>().await.unwrap_err().kind(), ErrorKind::Decode);
}

/// Seed lines 42, 45 and 55.
#[tokio::test]
async fn text_is_decoded_by_its_charset() {
    let origin = Origin::scripted().await;
    let typed = |value: &str, body: &'static [u8]| Answer::ok(body).header("content-type", value);
    origin.on("/latin", typed("Text/HTML; Charset=\"ISO-8859-1\"", b"\xe4"));
    origin.on("/sjis", typed("text/plain;charset=shift_jis", b"\x83\x65"));
    origin.on("/none", Answer::ok("ä"));
    origin.on("/mark", typed("text/plain; charset=latin1", b"\xef\xbb\xbf\xc3\xa4"));
    origin.on("/broken", Answer::ok(&b"a\xff"[..]));
    origin.on("/unknown", typed("text/plain; charset=klingon", "ä".as_bytes()));
    let (session, _) = session();
    for (path, expected) in
        [("/latin", "ä"), ("/sjis", "テ"), ("/none", "ä"), ("/mark", "ä"), ("/broken", "a\u{fffd}"), ("/unknown", "ä")]
    {
        for _ in 0..2 {
            assert_eq!(text(&session, &origin.url(path)).await.1, expected, "{path}");
        }
    }
    let latin = session.get(origin.url("/latin")).send().await.unwrap();
    assert_eq!((latin.charset().as_deref(), latin.content_type().as_deref()), (Some("ISO-8859-1"), Some("text/html")));
    assert_eq!(latin.content_length(), Some(1));
    origin.on("/raw", Answer::ok(&b"\xe4"[..]));
    let raw = session.get(origin.url("/raw")).send().await.unwrap();
    assert_eq!(raw.text_with_charset("latin1").await.unwrap(), "ä");
}

/// Seed lines 56, 57, 80 and 111; feature 187: fresh and from the cache, whole and in pieces, again and past the end.
#[tokio::test]
async fn a_body_can_be_read_in_every_way_and_again() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("one\r\n").chunk("tw").chunk("o\n\nlast"));
    let (session, _) = session();
    let send = || session.get(origin.url("/a")).send();
    for from_cache in [false, true] {
        let response = send().await.unwrap();
        assert_eq!(response.from_cache(), from_cache);
        let whole = "one\r\ntwo\n\nlast";
        assert_eq!(response.bytes().await.unwrap(), whole);
        assert_eq!(response.bytes().await.unwrap(), whole);
        assert_eq!(response.text().await.unwrap(), whole);
        let mut response = response;
        assert_eq!(response.chunk().await.unwrap().unwrap(), whole);
        assert_eq!(response.chunk().await.unwrap(), None);
        assert_eq!(response.chunk().await.unwrap(), None);
        assert_eq!(response.bytes().await.unwrap(), whole, "what was read as a whole is kept");
    }
    let lines: Vec<_> = send().await.unwrap().lines().try_collect().await.unwrap();
    assert_eq!(lines, ["one", "two", "", "last"]);
    let pieces: Vec<Bytes> = send().await.unwrap().chunks_of(4).try_collect().await.unwrap();
    assert_eq!(pieces, ["one\r", "\ntwo", "\n\nla", "st"]);
    let any: Vec<Bytes> = send().await.unwrap().bytes_stream().try_collect().await.unwrap();
    assert_eq!(any.concat(), b"one\r\ntwo\n\nlast");
    let mut pieces = send().await.unwrap();
    while pieces.chunk().await.unwrap().is_some() {}
    assert_eq!(pieces.bytes().await.unwrap(), "", "what was given out in pieces is not kept");
    let empty = session.head(origin.url("/a")).send().await.unwrap();
    assert_eq!(empty.lines().try_collect::<Vec<_>>().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_read_that_was_given_up_half_way_is_an_error_afterwards() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/a", Answer::ok("first").gate(&gate).chunk("second"));
    let (session, _) = session();
    let response = session.get(origin.url("/a")).send().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), response.bytes()).await.is_err());
    gate.open();
    assert_eq!(response.bytes().await.unwrap_err().kind(), ErrorKind::Body);
    use http_body_util::BodyExt;
    assert!(response.into_http().into_body().collect().await.is_err());
}

/// Seed lines 38, 41, 43, 44 and 47.
#[tokio::test]
async fn a_response_says_what_was_asked_and_what_its_headers_mean() {
    let origin = Origin::scripted().await;
    let answer = Answer::status(404)
        .header("link", "</next?p=2>; rel=\"next\", <https://other.example/>; rel=last")
        .header("content-disposition", "attachment; filename=\"a b.txt\"; x=y")
        .body("gone");
    origin.on("/dir/a", answer);
    let (session, _) = session();
    let response = session.get(origin.url("/dir/a?q")).header("x-mine", "1").send().await.unwrap();
    assert_eq!((response.method().as_str(), response.url().query()), ("GET", Some("q")));
    assert_eq!(response.request_headers()["x-mine"], "1");
    assert_eq!(response.remote_addr(), Some(origin.address()));
    assert_eq!(response.version(), http::Version::HTTP_11);
    let links = response.links();
    assert_eq!(links[0].url.to_string(), origin.url("/next?p=2"));
    assert!(links[0].is("next") && links[1].is("LAST") && links.len() == 2);
    let disposition = response.content_disposition().unwrap();
    assert_eq!((disposition.kind.as_str(), disposition.file_name().as_deref()), ("attachment", Some("a b.txt")));
    assert!(response.history().is_empty());
}

/// Feature 24: what is asked of the cache stays here: with every option set, the origin gets the same, line by line.
#[tokio::test]
async fn what_is_asked_of_the_cache_never_reaches_the_origin() {
    use hyper_client_cache_core::key::Matching;
    use hyper_client_cache_core::policy::{CacheControl, Mode, Settings, UrlRule};
    use hyper_client_cache_core::session::{RedirectPolicy, RequestBuilder};
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").etag("\"1\""));
    let clock = ManualClock::new();
    let minute = Duration::from_secs(60);
    let plain = builder(&clock).build().unwrap();
    let optioned = builder(&clock)
        .settings(Settings::default().partition("canary").secret(b"canary".to_vec()))
        .rule(UrlRule::glob("*").stale_if_error(minute).matching(Matching::default().partition("canary")))
        .cache_control(CacheControl::Ignore)
        .expire_after(minute)
        .stale_while_revalidate(minute)
        .ttl_jitter(0.5)
        .sort_query(true)
        .ignored_params(["b", "canary"])
        .match_headers(["x-canary"])
        .secret_headers(["x-canary"])
        .cache_status("canary")
        .redirects(RedirectPolicy::same_origin())
        .build()
        .unwrap();
    let with_options = |request: RequestBuilder, mode: Mode| {
        let matching = Matching::default().key_fn("canary", |_| Some(b"canary".to_vec())).partition("canary");
        let request = request.mode(mode).expire_after(minute).force_ttl(true).cache_control(CacheControl::Honor);
        let request = request.stale_if_error(minute).stale_while_revalidate(true).matching(matching);
        request.partition("canary").timeout(minute).redirects(RedirectPolicy::none())
    };
    let ask = |session: &CachedSession, method: &str| {
        let request = session.request(method.parse().unwrap(), origin.url("/?b=1&a=2#canary"));
        if method == "POST" { request.form(&[("b", "1"), ("a", "2")]) } else { request }
    };
    for mode in [Mode::Default, Mode::NoStore, Mode::Reload, Mode::NoCache, Mode::ForceCache, Mode::ReadOnly] {
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            let before = origin.count();
            // The plain one is never answered from the cache, so that there is something to compare with.
            ask(&plain, method).mode(Mode::NoStore).send().await.unwrap();
            optioned.cache().clear().await.unwrap();
            with_options(ask(&optioned, method), mode).send().await.unwrap();
            let seen = origin.requests();
            let (one, other) = (&seen[before], &seen[before + 1]);
            assert_eq!(one.headers, other.headers, "{method} {mode:?}");
            assert_eq!((&one.method, &one.target, &one.body), (&other.method, &other.target, &other.body));
            assert!(!format!("{other:?}").contains("canary"), "{other:?}");
        }
    }
}
