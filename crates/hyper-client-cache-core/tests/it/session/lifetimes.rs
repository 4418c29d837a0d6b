//! How long things are kept: bounds, use, statuses with lifetimes of their own.

use std::time::Duration;

use hyper_client_cache_core::cache::{Filter, LifetimeSource};
use hyper_client_cache_core::policy::{CacheControl, ExpireAfter, Mode, Outcome, Reason, Settings, Storing};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use super::{builder, entries, flushed, get, is_stored, see, session, with_settings};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Feature 58: what is used stays, what is not used goes; a write at most for every step.
#[tokio::test]
async fn use_renews_a_lifetime_that_a_setting_gave() {
    let origin = Origin::scripted().await;
    for path in ["/", "/varies"] {
        origin.on(path, Answer::ok("x").header("vary", if path == "/" { "" } else { "accept" }));
    }
    let (session, clock) = with_settings(Settings::default().expire_after(seconds(60)).sliding(seconds(10)));
    for path in ["/", "/varies"] {
        let url = origin.url(path);
        get(&session, &url, &[]).await;
        for step in 0..20 {
            clock.advance(seconds(20));
            let seen = get(&session, &url, &[]).await;
            assert_eq!((seen.outcome(), seen.info.ttl), (Outcome::Hit, Some(60)), "{path} {step}");
            flushed(&session).await;
        }
        let written = session.stats().stored;
        clock.advance(seconds(9));
        assert_eq!(get(&session, &url, &[]).await.info.ttl, Some(51));
        flushed(&session).await;
        assert_eq!(session.stats().stored, written);
        clock.advance(seconds(51));
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Miss, "{path}");
    }
    assert_eq!(origin.count(), 4);
}

/// Feature 58: a reader that writes nothing renews nothing.
#[tokio::test]
async fn reading_only_renews_nothing() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let (session, clock) = with_settings(Settings::default().expire_after(seconds(60)).sliding(seconds(10)));
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    clock.advance(seconds(30));
    assert_eq!(see(session.get(&url).mode(Mode::ReadOnly)).await.info.ttl, Some(30));
    clock.advance(seconds(30));
    assert_eq!(see(session.get(&url).mode(Mode::ReadOnly)).await.outcome(), Outcome::Miss);
}

/// Feature 109 for a URL that varies: its index lasts as long as a variant whose lifetime a 304 has renewed.
#[tokio::test]
async fn an_index_lasts_as_long_as_its_variants() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("vary", "accept").header("cache-control", "max-age=60").etag("\"1\""));
    let (session, clock) = with_settings(Settings::default().retain_stale(seconds(60)));
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    for _ in 0..5 {
        clock.advance(seconds(70));
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Revalidated);
        flushed(&session).await;
    }
}

/// Feature 57: bounds for what headers say, as a user sees them.
#[tokio::test]
async fn lifetimes_of_headers_are_kept_within_bounds() {
    let origin = Origin::scripted().await;
    origin.on("/short", Answer::ok("x").header("cache-control", "max-age=1"));
    origin.on("/long", Answer::ok("x").header("cache-control", "max-age=86400"));
    let (session, _) = with_settings(Settings::default().min_ttl(seconds(60)).max_ttl(seconds(600)));
    for (path, ttl) in [("/short", 60), ("/long", 600)] {
        let info = get(&session, &origin.url(path), &[]).await.info;
        assert_eq!((info.ttl, info.lifetime_source), (Some(ttl), Some(LifetimeSource::Forced)), "{path}");
    }
}

/// Features 60 and 62: an error is kept for as long as its status says, and answers until then.
#[tokio::test]
async fn errors_are_kept_for_as_long_as_their_status_says() {
    let origin = Origin::scripted().await;
    origin.on("/missing", Answer::status(404).body("no"));
    origin.on("/gone", Answer::status(410).body("no"));
    let settings = Settings::default().expire_status_after(http::StatusCode::NOT_FOUND, seconds(60));
    let (session, clock) = with_settings(settings);
    let url = origin.url("/missing");
    get(&session, &url, &[]).await;
    clock.advance(seconds(59));
    let seen = get(&session, &url, &[]).await;
    assert_eq!((seen.status, seen.outcome(), &seen.text[..]), (404, Outcome::Hit, "no"));
    clock.advance(seconds(1));
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Miss);
    let gone = get(&session, &origin.url("/gone"), &[]).await;
    assert_eq!(gone.storing(), Storing::No(Reason::Status(http::StatusCode::GONE)));
    session.update_settings(|all| all.allowed_codes([http::StatusCode::GONE])).unwrap();
    get(&session, &origin.url("/gone"), &[]).await;
    assert_eq!(get(&session, &origin.url("/gone"), &[]).await.outcome(), Outcome::Hit);
}

/// Feature 61: only methods that are allowed are looked up.
#[tokio::test]
async fn only_allowed_methods_use_the_cache() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let (session, _) = with_settings(Settings::default().allowed_methods([http::Method::HEAD]));
    let seen = get(&session, &origin.url("/"), &[]).await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Bypass, Reason::Method));
    see(session.head(origin.url("/"))).await;
    assert_eq!(see(session.head(origin.url("/"))).await.outcome(), Outcome::Hit);
}

/// Feature 68: over the limit a body is read like any other and not stored, announced or not.
#[tokio::test]
async fn a_body_over_the_limit_is_not_stored() {
    let origin = Origin::scripted().await;
    origin.on("/fits", Answer::ok("12345"));
    origin.on("/announced", Answer::ok("123456"));
    origin.on("/chunked", Answer::ok("").chunk("123").chunk("456").chunked());
    let (session, _) = with_settings(Settings::default().max_body_len(5));
    for (path, outcome, text) in [
        ("/fits", Outcome::Hit, "12345"),
        ("/announced", Outcome::Miss, "123456"),
        ("/chunked", Outcome::Miss, "123456"),
    ] {
        get(&session, &origin.url(path), &[]).await;
        let seen = get(&session, &origin.url(path), &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (outcome, text), "{path}");
    }
    flushed(&session).await;
    assert_eq!(entries(&**session.cache()).await.len(), 1);
}

/// Feature 69: what is stored may be given another lifetime, all of it or what a filter means, and lasts so long.
#[tokio::test]
async fn what_is_stored_may_be_given_another_lifetime() {
    let origin = Origin::scripted().await;
    let (session, clock) = with_settings(Settings::default());
    for path in ["/a", "/b", "/varies", "/large"] {
        let answer = if path == "/large" { Answer::pattern(1 << 20) } else { Answer::ok(path) };
        let vary = if path == "/varies" { "accept" } else { "" };
        origin.on(path, answer.header("cache-control", "max-age=60").header("vary", vary));
        session.get(origin.url(path)).send().await.unwrap().bytes().await.unwrap();
    }
    flushed(&session).await;
    clock.advance(seconds(30));
    let changed = session.cache().reset_expiration(Filter::new(), seconds(600)).await.unwrap();
    assert_eq!(changed, 4);
    clock.advance(seconds(599));
    for path in ["/a", "/b", "/varies"] {
        let seen = get(&session, &origin.url(path), &[]).await;
        assert_eq!((seen.outcome(), seen.info.ttl, &seen.text[..]), (Outcome::Hit, Some(1), path));
        assert_eq!(seen.info.lifetime_source, Some(LifetimeSource::Forced));
    }
    let large = session.get(origin.url("/large")).send().await.unwrap();
    assert!(large.from_cache());
    assert_eq!(super::pattern_len(large).await, Some(1 << 20));
    // One of them to go, one of them to stay for ever.
    let only = |path: &str| Filter::new().url(origin.url(path));
    assert_eq!(session.cache().reset_expiration(only("/a"), ExpireAfter::DoNotStore).await.unwrap(), 1);
    assert_eq!(session.cache().reset_expiration(only("/varies"), ExpireAfter::Never).await.unwrap(), 1);
    clock.advance(seconds(1 << 30));
    assert_eq!(get(&session, &origin.url("/varies"), &[]).await.outcome(), Outcome::Hit);
    for path in ["/a", "/b"] {
        assert_eq!(get(&session, &origin.url(path), &[]).await.outcome(), Outcome::Miss, "{path}");
    }
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
