//! Settings for certain URLs, and which of request, rule and session counts.

use std::time::Duration;

use hyper_client_cache_core::cache::LifetimeSource;
use hyper_client_cache_core::policy::{CacheControl, ExpireAfter, Mode, Outcome, Reason, Settings, Storing, UrlRule};
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use super::{builder, get, is_stored, see, with_settings};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The freshness that a response is stored with, and what decided it.
async fn stored_for(session: &CachedSession, url: &str) -> (Option<i64>, Option<LifetimeSource>) {
    let info = get(session, url, &[]).await.info;
    assert_eq!(info.storing, Storing::Yes, "{url}");
    (info.ttl, info.lifetime_source)
}

/// Features 9, 51 and 55, seed lines 22 and 23: headers, then the request, then the first rule, then the session.
#[tokio::test]
async fn headers_go_before_the_request_before_the_rule_before_the_session() {
    let origin = Origin::scripted().await;
    for path in ["/silent", "/rule/silent", "/rule/first/silent"] {
        origin.on(path, Answer::ok("x"));
    }
    for path in ["/says", "/rule/says"] {
        origin.on(path, Answer::ok("x").header("cache-control", "max-age=5"));
    }
    let settings = Settings::default()
        .expire_after(seconds(10))
        .rule(UrlRule::glob("*/rule/first").expire_after(seconds(20)))
        .rule(UrlRule::glob("127.0.0.1/rule").expire_after(seconds(30)));
    let (session, _) = with_settings(settings);
    for (path, ttl, source) in [
        ("/silent", 10, LifetimeSource::Session),
        ("/rule/silent", 30, LifetimeSource::Rule),
        ("/rule/first/silent", 20, LifetimeSource::Rule),
        ("/says", 5, LifetimeSource::MaxAge),
        ("/rule/says", 5, LifetimeSource::MaxAge),
    ] {
        let url = origin.url(path);
        assert_eq!(stored_for(&session, &url).await, (Some(ttl), Some(source)), "{path}");
        let own = see(session.get(&url).expire_after(seconds(40)).reload()).await.info;
        let expected = if source == LifetimeSource::MaxAge { (5, source) } else { (40, LifetimeSource::Request) };
        assert_eq!((own.ttl, own.lifetime_source), (Some(expected.0), Some(expected.1)), "{path}");
        // The request's own headers go before its settings, but never make a response last longer than it says.
        let asked = session.get(&url).expire_after(seconds(40)).reload().header("cache-control", "max-age=50");
        let asked = see(asked).await.info;
        let expected = if source == LifetimeSource::MaxAge { 5 } else { 50 };
        assert_eq!(asked.ttl, Some(expected), "{path}");
    }
}

/// Feature 56 and design 7: a rule may force its lifetime, and that is told.
#[tokio::test]
async fn a_forced_lifetime_overrides_the_headers_and_is_told() {
    let origin = Origin::scripted().await;
    origin.on("/a/1", Answer::ok("x").header("cache-control", "no-store, max-age=5"));
    origin.on("/b/1", Answer::ok("x").header("cache-control", "no-store"));
    let clock = ManualClock::new();
    let rule = UrlRule::regex("/a/[0-9]$").expire_after(seconds(60)).force_ttl(true);
    let session = builder(&clock).rule(rule).cache_status("test").build().unwrap();
    let url = origin.url("/a/1");
    assert_eq!(stored_for(&session, &url).await, (Some(60), Some(LifetimeSource::Forced)));
    let hit = get(&session, &url, &[]).await;
    assert_eq!((hit.outcome(), hit.info.lifetime_source), (Outcome::Hit, Some(LifetimeSource::Forced)));
    assert_eq!(hit.lines("cache-status"), [b"test; hit; ttl=60; detail=fresh.forced-ttl"]);
    // A request may take that back, or do it by itself.
    let seen = see(session.get(&url).force_ttl(false).reload()).await;
    assert_eq!(seen.storing(), Storing::No(Reason::ResponseNoStore));
    let seen = see(session.get(origin.url("/b/1")).expire_after(seconds(7)).force_ttl(true)).await;
    assert_eq!((seen.info.ttl, seen.info.lifetime_source), (Some(7), Some(LifetimeSource::Forced)));
    assert!(!is_stored(&session, &origin.url("/b/2")).await);
}

/// Feature 67: rules that end in one which stores nothing are a list of what is stored; a request may still say otherwise.
#[tokio::test]
async fn a_catch_all_that_stores_nothing_makes_the_rules_a_list_of_what_is_stored() {
    let origin = Origin::scripted().await;
    for path in ["/static/a", "/other"] {
        origin.on(path, Answer::ok("x").header("cache-control", "max-age=60"));
    }
    let settings = Settings::default()
        .rule(UrlRule::glob("127.0.0.1/static"))
        .rule(UrlRule::glob("*").expire_after(ExpireAfter::DoNotStore));
    let (session, _) = with_settings(settings);
    assert!(is_stored(&session, &origin.url("/static/a")).await);
    let other = origin.url("/other");
    for _ in 0..2 {
        let seen = get(&session, &other, &[]).await;
        assert_eq!((seen.outcome(), seen.reason()), (Outcome::Bypass, Reason::Rule));
    }
    see(session.get(&other).expire_after(seconds(60))).await;
    assert_eq!(see(session.get(&other).expire_after(seconds(60))).await.outcome(), Outcome::Hit);
}

/// Features 54, 118 and 122: a rule may set mode, stale windows, and whether headers count.
#[tokio::test]
async fn a_rule_may_set_more_than_a_lifetime() {
    let origin = Origin::scripted().await;
    let tagged = || Answer::ok("x").header("cache-control", "max-age=60").etag("\"1\"");
    for path in ["/fresh", "/past", "/ignoring"] {
        origin.on(path, tagged());
    }
    origin.on("/failing", [tagged(), Answer::status(500)]);
    let settings = Settings::default()
        .rule(UrlRule::glob("*/fresh").mode(Mode::NoCache))
        .rule(UrlRule::glob("*/past").stale_while_revalidate(seconds(30)))
        .rule(UrlRule::glob("*/failing").stale_if_error(true))
        .rule(UrlRule::glob("*/ignoring").cache_control(CacheControl::Ignore));
    let (session, clock) = with_settings(settings);
    for path in ["/fresh", "/past", "/failing", "/ignoring"] {
        get(&session, &origin.url(path), &[]).await;
    }
    assert_eq!(get(&session, &origin.url("/fresh"), &[]).await.outcome(), Outcome::Revalidated);
    assert_eq!(see(session.get(origin.url("/fresh")).mode(Mode::Default)).await.outcome(), Outcome::Hit);
    clock.advance(seconds(75));
    let past = get(&session, &origin.url("/past"), &[]).await;
    assert_eq!((past.outcome(), past.reason()), (Outcome::Stale, Reason::StaleWhileRevalidate));
    assert_eq!(get(&session, &origin.url("/ignoring"), &[]).await.outcome(), Outcome::Hit);
    clock.advance(seconds(1 << 24));
    let failing = get(&session, &origin.url("/failing"), &[]).await;
    assert_eq!((failing.outcome(), failing.reason()), (Outcome::Stale, Reason::StaleIfError));
}

/// Issue "Bad input": a broken glob or regex is an error when the session is made, or the settings are changed.
#[test]
fn a_broken_rule_is_an_error_at_once() {
    for (rule, pattern) in [(UrlRule::glob("/static"), "/static"), (UrlRule::regex("a(b"), "a(b")] {
        let error = CachedSession::builder().rule(rule.clone()).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`rules`") && error.to_string().contains(pattern), "{error}");
        let session = CachedSession::builder().build().unwrap();
        assert!(session.update_settings(|settings| settings.rule(rule.clone())).is_err());
        assert!(session.settings().rules.as_slice().is_empty());
    }
}
