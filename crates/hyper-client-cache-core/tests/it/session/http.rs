//! What is stored and for how long: status, method, directives, age (RFC 9111 sections 3, 4.2 and 5.2).

use std::time::{Duration, UNIX_EPOCH};

use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::policy::{CacheControl, ExpireAfter, Mode, Outcome, Reason, Settings, Storing};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};

use super::{builder, eventually, get, is_stored, see, session, with_settings};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Spellings of `Cache-Control`, one line each, and whether the response is answered from the cache afterwards, in a
/// private and in a shared cache.
type Spelling = (&'static [&'static [u8]], bool, bool);

async fn check_spellings(spellings: &[Spelling]) {
    let origin = Origin::scripted().await;
    let (private, _) = session();
    let (shared, _) = with_settings(Settings::rfc9111().shared(true));
    for (at, (lines, by_private, by_shared)) in spellings.iter().enumerate() {
        let path = format!("/{at}");
        origin.on(&path, lines.iter().fold(Answer::ok("x"), |answer, line| answer.header("cache-control", line)));
        let shown: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        assert_eq!(is_stored(&private, &origin.url(&path)).await, *by_private, "private: {shown:?}");
        assert_eq!(is_stored(&shared, &origin.url(&path)).await, *by_shared, "shared: {shown:?}");
    }
}

/// Cases 9 to 12: `private`, qualified or not, in every odd spelling.
#[tokio::test]
async fn private_is_private_however_it_is_written() {
    check_spellings(&[
        (&[b"max-age=60"], true, true),
        (&[b"max-age=60, private"], true, false),
        (&[b"private=\"\", max-age=60"], true, false),
        (&[b"private=\",\", max-age=60"], true, false),
        (&[b"private=\"   \", max-age=60"], true, false),
        (&[b"private, private=\"x\", max-age=60"], true, false),
        (&[b"private=\"x\", private, max-age=60"], true, false),
        (&[b"private=\"x y\", max-age=60"], true, false),
        (&[b"private=\" Set-Cookie \", max-age=60"], true, true),
        (&[b"no-cache, no-cache=\"x\", max-age=60"], false, false),
        (&[b"no-cache=\" X-One \", max-age=60"], true, true),
    ])
    .await;
}

/// Cases 13, 14, 17, 20: a restriction is obeyed however it is written.
#[tokio::test]
async fn restrictions_are_recognised_in_any_spelling() {
    check_spellings(&[
        (&[b"max-age=60, No-Store"], false, false),
        (&[b"max-age=60, PRIVATE"], true, false),
        (&[b"NO-CACHE, max-age=60"], false, false),
        (&[b"max-age=60, no-store, x=\"\xe9\""], false, false),
        (&[b"max-age=60, \xe9, no-store"], false, false),
        (&[b"no-store;x, max-age=60"], false, false),
        (&[b"max-age=60, private\t\tfoo"], true, false),
        (&[b"max-age=60, no-store=1"], false, false),
        (&[b"max-age=60;no-store"], false, false),
        (&[b"max-age=60", b"no-store"], false, false),
        (&[b"public, max-age=60", b"x=1, No-Store"], false, false),
    ])
    .await;
}

/// Cases 15 and 16: what is inside quotes is no directive, and a quote that never ends hides none.
#[tokio::test]
async fn quotes_neither_inject_nor_hide_a_directive() {
    check_spellings(&[
        (&[b"ext=\"a, max-age=3600, public\", max-age=0"], false, false),
        // Nothing but what is inside the quotes would permit it: stale at once under the RFC's heuristic, kept by a
        // session whose own lifetime decides.
        (&[b"ext=\"a, max-age=3600, public\""], true, false),
        (&[b"ext=\"no-store\", max-age=60"], true, true),
        (&[b"ext=\"\\\"no-store\", max-age=60"], true, true),
        (&[b"max-age=60, no-cache=\"a, no-store"], false, false),
        (&[b"max-age=60, private=\"a"], true, false),
        (&[b"max-age=60, no-cache=\"a"], false, false),
    ])
    .await;
}

/// Cases 18, 19, 21: the strictest reading of a number.
#[tokio::test]
async fn lifetimes_are_read_strictly() {
    let origin = Origin::scripted().await;
    let longest = Duration::from_secs((1 << 31) - 1);
    let cases: [(&[&str], Option<Duration>); 16] = [
        (&["max-age=60"], Some(Duration::from_secs(60))),
        (&["max-age=\"60\""], Some(Duration::from_secs(60))),
        (&["MAX-AGE=60"], Some(Duration::from_secs(60))),
        (&["max-age=60, max-age=30"], Some(Duration::from_secs(30))),
        (&["max-age=30", "max-age=60"], Some(Duration::from_secs(30))),
        (&["max-age=60, max-age=x"], None),
        (&["max-age = 60"], None),
        (&["max-age =60"], None),
        (&["max-age= 60"], None),
        (&["max-age=60.5"], None),
        (&["max-age='60'"], None),
        (&["max-age=-1"], None),
        (&["max-age"], None),
        (&["max-age=2147483648"], Some(longest)),
        (&["max-age=18446744073709551615"], Some(longest)),
        (&["max-age=99999999999999999999"], Some(longest)),
    ];
    for (at, (lines, lifetime)) in cases.into_iter().enumerate() {
        let path = format!("/{at}");
        origin.on(&path, lines.iter().fold(Answer::ok("x"), |answer, line| answer.header("cache-control", line)));
        let (session, clock) = session();
        let first = get(&session, &origin.url(&path), &[]).await;
        let Some(lifetime) = lifetime else {
            assert_eq!(first.storing(), Storing::No(Reason::StaleOnArrival), "{lines:?}");
            continue;
        };
        clock.advance(lifetime - Duration::from_secs(1));
        assert_eq!(get(&session, &origin.url(&path), &[]).await.outcome(), Outcome::Hit, "{lines:?}");
        clock.advance(Duration::from_secs(1));
        assert_eq!(get(&session, &origin.url(&path), &[]).await.outcome(), Outcome::Miss, "{lines:?}");
    }
}

/// Feature 74: a shared cache obeys `s-maxage`, a private one does not see it.
#[tokio::test]
async fn s_maxage_is_for_shared_caches() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=10, s-maxage=100"));
    let (private, private_clock) = session();
    let (shared, shared_clock) = with_settings(Settings::default().shared(true));
    for (session, clock, lifetime) in [(private, private_clock, 10), (shared, shared_clock, 100)] {
        get(&session, &origin.url("/"), &[]).await;
        clock.advance(Duration::from_secs(lifetime - 1));
        assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Hit);
        clock.advance(Duration::from_secs(1));
        assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Miss);
    }
}

/// Features 73 and 97: `Expires` against `Date`, in all three forms of a date; `max-age` is stronger.
#[tokio::test]
async fn expires_counts_from_the_date() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(784_111_777));
    let session = builder(&clock).build().unwrap();
    // The clock stands at Sun, 06 Nov 1994 08:49:37 GMT.
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let cases = [
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
        ("Sun Nov  6 08:50:37 1994", Some(60)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("Sat, 05 Nov 1994 08:49:37 GMT", None),
        ("0", None),
        ("", None),
        ("tomorrow", None),
    ];
    for (at, (expires, lifetime)) in cases.into_iter().enumerate() {
        let path = format!("/{at}");
        origin.on(&path, Answer::ok("x").header("date", date).header("expires", expires));
        let seen = get(&session, &origin.url(&path), &[]).await;
        match lifetime {
            Some(lifetime) => assert_eq!(seen.info.ttl, Some(lifetime), "{expires}"),
            None => assert_eq!(seen.storing(), Storing::No(Reason::StaleOnArrival), "{expires}"),
        }
    }
    origin.on("/both", Answer::ok("x").header("expires", "0").header("cache-control", "max-age=60"));
    assert!(is_stored(&session, &origin.url("/both")).await);
}

/// Feature 78: the strict preset knows the heuristic and nothing else.
#[tokio::test]
async fn the_heuristic_is_a_tenth_of_the_time_since_the_last_change() {
    let origin = Origin::scripted().await;
    let (session, clock) = with_settings(Settings::rfc9111());
    let changed = httpdate::fmt_http_date(clock.now() - Duration::from_secs(1000));
    origin.on("/a", Answer::ok("x").header("last-modified", &changed));
    origin.on("/b", Answer::ok("x"));
    let long_ago = httpdate::fmt_http_date(clock.now() - 1000 * DAY);
    origin.on("/c", Answer::ok("x").header("last-modified", &long_ago));
    assert_eq!(get(&session, &origin.url("/a"), &[]).await.info.ttl, Some(100));
    assert_eq!(get(&session, &origin.url("/b"), &[]).await.storing(), Storing::No(Reason::NoFreshness));
    assert_eq!(get(&session, &origin.url("/c"), &[]).await.info.ttl, Some(24 * 60 * 60));
}

/// Features 75 to 77 and 103: the age that a response came with, its way to us, and its time here.
#[tokio::test]
async fn age_counts_the_way_and_what_came_before() {
    let clock = ManualClock::new();
    let session = builder(&clock).build().unwrap();
    let moved = clock.clone();
    let origin = Origin::start(move |request: &Recorded| {
        let answer = Answer::ok("x").header("cache-control", "max-age=60");
        match request.path() {
            "/age" => answer.header("age", "20"),
            "/delay" => {
                moved.advance(Duration::from_secs(5));
                answer.header("age", "20")
            }
            "/date" => answer.header("date", httpdate::fmt_http_date(moved.now() - Duration::from_secs(30))),
            _ => answer,
        }
    })
    .await;
    for (path, initial) in [("/plain", 0), ("/age", 20), ("/delay", 25), ("/date", 30)] {
        let first = get(&session, &origin.url(path), &[]).await;
        assert_eq!(first.info.ttl, Some(60 - initial), "{path}");
        clock.advance(Duration::from_secs(10));
        let second = get(&session, &origin.url(path), &[]).await;
        assert_eq!(second.lines("age"), [format!("{}", initial + 10).as_bytes()], "{path}");
        clock.advance(Duration::from_secs(60 - 10 - u64::try_from(initial).unwrap()));
        assert_eq!(get(&session, &origin.url(path), &[]).await.outcome(), Outcome::Miss, "{path}");
    }
}

/// Case 110: an `Age` that is no number of seconds makes the response very old.
#[tokio::test]
async fn an_odd_age_counts_as_very_old() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    for (at, lines) in [
        &["18446744073709551615"][..],
        &["99999999999999999999999"],
        &["-1"],
        &["1, 2"],
        &["1.5"],
        &["1", "1"],
        &[""],
        &["x"],
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{at}");
        let answer = Answer::ok("x").header("cache-control", "max-age=60");
        origin.on(&path, lines.iter().fold(answer, |answer, line| answer.header("age", line)));
        let seen = get(&session, &origin.url(&path), &[]).await;
        assert_eq!(seen.storing(), Storing::No(Reason::StaleOnArrival), "{lines:?}");
        assert_eq!(seen.text, "x");
    }
}

/// Case 164: a `Date` in the future does not make a response last longer.
#[tokio::test]
async fn a_date_in_the_future_extends_nothing() {
    let origin = Origin::scripted().await;
    let (session, clock) = session();
    let future = httpdate::fmt_http_date(clock.now() + Duration::from_secs(1000));
    let later = httpdate::fmt_http_date(clock.now() + Duration::from_secs(1060));
    origin.on("/max-age", Answer::ok("x").header("date", &future).header("cache-control", "max-age=60"));
    origin.on("/expires", Answer::ok("x").header("date", &future).header("expires", &later));
    for path in ["/max-age", "/expires"] {
        assert_eq!(get(&session, &origin.url(path), &[]).await.info.ttl, Some(60));
    }
    clock.advance(Duration::from_secs(60));
    for path in ["/max-age", "/expires"] {
        assert_eq!(get(&session, &origin.url(path), &[]).await.outcome(), Outcome::Miss);
    }
    // A change after the response itself gives no heuristic.
    let (strict, clock) = with_settings(Settings::rfc9111());
    let (now, changed) = (clock.now(), clock.now() + DAY);
    let answer = Answer::ok("x").header("date", httpdate::fmt_http_date(now));
    origin.on("/changed", answer.header("last-modified", httpdate::fmt_http_date(changed)));
    let seen = get(&strict, &origin.url("/changed"), &[]).await;
    assert!(seen.info.ttl.is_none_or(|ttl| ttl <= 0));
    assert_ne!(get(&strict, &origin.url("/changed"), &[]).await.outcome(), Outcome::Hit);
}

/// Case 161: a clock that was set back makes what is stored stale, not fresh for longer.
#[tokio::test]
async fn a_clock_set_back_makes_stale() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60").etag("\"1\""));
    let (session, clock) = session();
    get(&session, &origin.url("/"), &[]).await;
    clock.rewind(Duration::from_secs(3600));
    let seen = get(&session, &origin.url("/"), &[]).await;
    assert_eq!(seen.outcome(), Outcome::Revalidated);
    assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Hit);
    // Without a validator it is fetched anew, and the reason says why.
    origin.on("/plain", Answer::ok("x").header("cache-control", "max-age=60"));
    get(&session, &origin.url("/plain"), &[]).await;
    clock.rewind(365 * DAY);
    let seen = get(&session, &origin.url("/plain"), &[]).await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Miss, Reason::ClockSetBack));
}

/// Case 30, feature 60: an error is stored on explicit freshness only.
#[tokio::test]
async fn errors_are_stored_only_where_the_origin_says_so() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    for code in [400, 403, 404, 410, 413, 429, 431, 500, 501, 503] {
        let (silent, explicit) = (format!("/{code}"), format!("/{code}/explicit"));
        origin.on(&silent, Answer::status(code).body("no"));
        origin.on(&explicit, Answer::status(code).body("no").header("cache-control", "max-age=60"));
        let seen = get(&session, &origin.url(&silent), &[]).await;
        assert!(matches!(seen.storing(), Storing::No(Reason::Status(_))), "{code}");
        assert!(!is_stored(&session, &origin.url(&silent)).await, "{code}");
        assert!(is_stored(&session, &origin.url(&explicit)).await, "{code}");
    }
}

/// Case 181: an empty body, 204, and HEAD with `Content-Length` are whole; a stray 304 is neither stored nor given to
/// who did not ask for it.
#[tokio::test]
async fn responses_without_a_body_are_framed_right() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    origin.on("/empty", Answer::ok("").header("cache-control", "max-age=60"));
    origin.on("/204", Answer::status(204).header("cache-control", "max-age=60"));
    origin.on("/head", Answer::ok("12345").header("cache-control", "max-age=60"));
    for (path, status) in [("/empty", 200), ("/204", 204)] {
        for outcome in [Outcome::Miss, Outcome::Hit] {
            let seen = get(&session, &origin.url(path), &[]).await;
            assert_eq!((seen.outcome(), seen.status, &seen.text[..]), (outcome, status, ""), "{path}");
        }
    }
    for outcome in [Outcome::Miss, Outcome::Hit] {
        let seen = see(session.head(origin.url("/head"))).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (outcome, ""));
        assert_eq!(seen.lines("content-length"), [b"5"]);
    }
    origin.on("/304", [Answer::not_modified().header("cache-control", "max-age=60"), Answer::ok("x")]);
    let error = session.get(origin.url("/304")).send().await.unwrap_err();
    assert!(error.to_string().contains("304"), "{error}");
    assert_eq!(get(&session, &origin.url("/304"), &[]).await.text, "x");
}

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

/// Case 49: HEAD never answers GET; a HEAD that shows another representation makes the GET's entry go.
#[tokio::test]
async fn head_does_not_answer_get_and_may_outdate_it() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let url = origin.url("/");
    origin.on("/", Answer::ok("hello").header("cache-control", "max-age=60").header("etag", "\"1\""));
    see(session.head(&url)).await;
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Miss);
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    // The same representation: the entry stays.
    see(session.head(&url).mode(Mode::Reload)).await;
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    for changed in [
        Answer::ok("hello").header("cache-control", "max-age=60").header("etag", "\"2\""),
        Answer::ok("hello, you").header("cache-control", "max-age=60"),
    ] {
        origin.on("/", changed);
        see(session.head(&url).mode(Mode::Reload)).await;
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Miss);
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    }
}

/// Case 49 for a URL that varies: the variant that the HEAD would have selected.
#[tokio::test]
async fn head_outdates_the_variant_that_it_selects() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let url = origin.url("/");
    let answer = |etag| Answer::ok("x").header("cache-control", "max-age=60").header("vary", "a").header("etag", etag);
    origin.on("/", answer("\"1\""));
    for value in ["1", "2"] {
        get(&session, &url, &[("a", value)]).await;
    }
    origin.on("/", answer("\"2\""));
    see(session.head(&url).header("a", "1").mode(Mode::Reload)).await;
    assert_eq!(get(&session, &url, &[("a", "1")]).await.outcome(), Outcome::Miss);
    assert_eq!(get(&session, &url, &[("a", "2")]).await.outcome(), Outcome::Hit);
}

/// Design section 7: a HEAD is answered from a stored GET that its request selects, while that is fresh.
#[tokio::test]
async fn head_is_answered_from_a_stored_get() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("hello").header("cache-control", "max-age=60").header("vary", "a");
    origin.on("/", answer.header("x-one", "1"));
    origin.on("/large", Answer::pattern(600_000).header("cache-control", "max-age=60"));
    let (session, clock) = session();
    let url = origin.url("/");
    get(&session, &url, &[("a", "1")]).await;
    get(&session, &url, &[("a", "1"), ("authorization", "x")]).await;
    session.get(origin.url("/large")).send().await.unwrap().bytes().await.unwrap();
    eventually("the large body is stored", || session.layer().in_flight() == 0).await;
    let head = async |name: &str, value: &str| see(session.head(&url).header(name, value)).await;
    clock.advance(Duration::from_secs(10));
    let seen = head("a", "1").await;
    assert_eq!((seen.outcome(), seen.status, &seen.text[..]), (Outcome::Hit, 200, ""));
    assert_eq!(
        (seen.lines("x-one"), seen.lines("content-length"), seen.lines("age")),
        (vec![&b"1"[..]], vec![&b"5"[..]], vec![&b"10"[..]])
    );
    let large = see(session.head(origin.url("/large"))).await;
    assert_eq!((large.outcome(), large.lines("content-length")), (Outcome::Hit, vec![&b"600000"[..]]));
    // Not another variant's, not another partition's, not a stale one's.
    assert_eq!(head("a", "2").await.outcome(), Outcome::Miss);
    assert_eq!(head("cookie", "x").await.outcome(), Outcome::Miss);
    assert_eq!(head("cache-control", "no-cache").await.outcome(), Outcome::Miss);
    clock.advance(Duration::from_secs(60));
    assert_eq!(head("a", "1").await.outcome(), Outcome::Miss);
    assert_eq!(get(&session, &url, &[("a", "1")]).await.text, "hello");
}

/// Design section 7: the order in which lifetimes apply, and what overrides it.
#[tokio::test]
async fn headers_come_before_the_request_and_the_request_before_the_session() {
    let origin = Origin::scripted().await;
    origin.on("/silent", Answer::ok("x"));
    origin.on("/says", Answer::ok("x").header("cache-control", "max-age=10"));
    origin.on("/forbids", Answer::ok("x").header("cache-control", "no-store"));
    let ttl = async |path: &str, expire_after: Option<u64>, force: bool, header: Option<&str>| {
        let clock = ManualClock::new();
        let session = builder(&clock).expire_after(Duration::from_secs(1000)).build().unwrap();
        let mut request = session.get(origin.url(path)).force_ttl(force);
        if let Some(seconds) = expire_after {
            request = request.expire_after(Duration::from_secs(seconds));
        }
        if let Some(value) = header {
            request = request.header("cache-control", value);
        }
        see(request).await.info.ttl
    };
    assert_eq!(ttl("/silent", None, false, None).await, Some(1000));
    assert_eq!(ttl("/silent", Some(100), false, None).await, Some(100));
    assert_eq!(ttl("/silent", Some(100), false, Some("max-age=50")).await, Some(50));
    assert_eq!(ttl("/says", Some(100), false, None).await, Some(10));
    assert_eq!(ttl("/says", Some(100), true, None).await, Some(100));
    assert_eq!(ttl("/forbids", Some(100), false, None).await, None);
    assert_eq!(ttl("/forbids", Some(100), true, None).await, Some(100));
    // A moment, and none at all.
    let (session, clock) = session();
    let until = clock.after(Duration::from_secs(77));
    assert_eq!(see(session.get(origin.url("/silent")).expire_after(until)).await.info.ttl, Some(77));
    let (session, _) = with_settings(Settings::default().expire_after(ExpireAfter::DoNotStore));
    let seen = get(&session, &origin.url("/silent"), &[]).await;
    assert_eq!(seen.storing(), Storing::No(Reason::Setting));
    // With `Ignore` settings alone decide.
    let (session, _) = with_settings(Settings::default().cache_control(CacheControl::Ignore));
    assert!(is_stored(&session, &origin.url("/forbids")).await);
    let seen = get(&session, &origin.url("/forbids"), &[("cache-control", "no-cache")]).await;
    assert_eq!(seen.outcome(), Outcome::Hit);
}

/// Design section 7: what each mode reads and writes.
#[tokio::test]
async fn modes_say_what_is_read_and_written() {
    let origin = Origin::scripted().await;
    let answer = || Answer::ok("x").header("cache-control", "max-age=60").etag("\"1\"");
    origin.on("/", answer());
    let (session, clock) = session();
    let url = origin.url("/");
    let with = async |mode| see(session.get(&url).mode(mode)).await;
    assert_eq!(with(Mode::NoStore).await.outcome(), Outcome::Bypass);
    let seen = with(Mode::ReadOnly).await;
    assert_eq!((seen.outcome(), seen.storing()), (Outcome::Miss, Storing::No(Reason::Mode)));
    assert_eq!(with(Mode::ForceCache).await.outcome(), Outcome::Miss, "nothing was stored before");
    assert_eq!(with(Mode::Default).await.outcome(), Outcome::Hit);
    assert_eq!(with(Mode::ReadOnly).await.outcome(), Outcome::Hit);
    assert_eq!(with(Mode::OnlyIfCached).await.outcome(), Outcome::Hit);
    assert_eq!(with(Mode::NoCache).await.outcome(), Outcome::Revalidated);
    assert_eq!(with(Mode::Reload).await.outcome(), Outcome::Miss);
    clock.advance(Duration::from_secs(1000));
    let seen = with(Mode::ForceCache).await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Stale, Reason::Mode));

    // What is read only stays as it is, whatever the origin says.
    origin.on("/", Answer::ok("changed").header("cache-control", "no-store"));
    assert_eq!(with(Mode::ReadOnly).await.text, "changed");
    assert_eq!(with(Mode::ForceCache).await.text, "x");
    let forbidding = Answer::not_modified().header("cache-control", "no-store");
    origin.on("/", [forbidding, Answer::ok("changed")]);
    assert_eq!(with(Mode::ReadOnly).await.text, "changed");
    assert_eq!(with(Mode::ForceCache).await.text, "x");
}

/// Feature 79 (RFC 8246), feature 85 (RFC 9111 section 5.2.2.3).
#[tokio::test]
async fn immutable_and_must_understand_are_known() {
    let origin = Origin::scripted().await;
    let (session, clock) = session();
    origin.on("/immutable", Answer::ok("x").header("cache-control", "max-age=60, immutable"));
    let url = origin.url("/immutable");
    get(&session, &url, &[]).await;
    clock.advance(Duration::from_secs(10));
    assert_eq!(get(&session, &url, &[("cache-control", "max-age=0")]).await.outcome(), Outcome::Hit);
    assert_eq!(get(&session, &url, &[("cache-control", "no-cache")]).await.outcome(), Outcome::Miss);
    origin.on("/understood", Answer::ok("x").header("cache-control", "max-age=60, no-store, must-understand"));
    assert!(is_stored(&session, &origin.url("/understood")).await);
    let answer = Answer::status(299).header("cache-control", "max-age=60, no-store, must-understand");
    origin.on("/not-understood", answer);
    let seen = get(&session, &origin.url("/not-understood"), &[]).await;
    assert_eq!(seen.storing(), Storing::No(Reason::ResponseMustUnderstand));
}

/// Case 23, feature 81: a response that says `no-cache` is stored, and asked about each time.
#[tokio::test]
async fn no_cache_is_stored_and_revalidated_each_time() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "no-cache").etag("\"1\""));
    let (session, _) = session();
    get(&session, &origin.url("/"), &[]).await;
    for _ in 0..2 {
        assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Revalidated);
    }
    assert_eq!(origin.count(), 3);
}

/// Case 193: what sets a cookie, is not stored, or is private in a shared cache is fetched by each for itself.
#[tokio::test]
async fn what_is_for_one_caller_is_not_given_to_those_who_wait() {
    for (name, value) in [("cache-control", "no-store"), ("set-cookie", "id=1"), ("cache-control", "private")] {
        let origin = Origin::scripted().await;
        let gate = Gate::new();
        origin.on("/", Answer::ok("x").header(name, value).after(&gate));
        let (session, _) = with_settings(Settings::rfc9111().shared(true));
        let url = origin.url("/");
        let both = async { tokio::join!(get(&session, &url, &[]), get(&session, &url, &[])) };
        let open = async {
            origin.arrived(1).await;
            gate.open();
        };
        let ((one, other), ()) = tokio::join!(both, open);
        assert_eq!((one.outcome(), other.outcome()), (Outcome::Miss, Outcome::Miss), "{value}");
        assert_eq!(origin.count(), 2, "{value}");
    }
}
