//! How the cache is used: modes of session, rule and request, offline, refreshing by hand, `always_revalidate`.

use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::policy::{Mode, Outcome, Reason, Settings, Storing, UrlRule};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use super::{builder, entries, flushed, get, see, session, with_settings};

const MINUTE: Duration = Duration::from_secs(60);

fn tagged(body: &'static str, tag: &str) -> Answer {
    Answer::ok(body).header("cache-control", "max-age=60").etag(tag)
}

/// A session for which `/` was stored, and has been stale for a minute.
async fn with_stale(settings: Settings) -> (Origin, CachedSession, ManualClock, String) {
    let origin = Origin::scripted().await;
    origin.on("/", tagged("x", "\"1\""));
    let (session, clock) = with_settings(settings.clone().mode(Mode::Default));
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    session.update_settings(|_| settings.clone()).unwrap();
    clock.advance(2 * MINUTE);
    flushed(&session).await;
    (origin, session, clock, url)
}

/// Features 11 to 14: a mode is the session's, a rule's or a request's, the nearer one first.
#[tokio::test]
async fn a_mode_is_the_sessions_a_rules_or_a_requests() {
    let origin = Origin::scripted().await;
    origin.on("/", tagged("x", "\"1\""));
    origin.on("/rule", tagged("x", "\"1\""));
    let rule = UrlRule::glob("*/rule").mode(Mode::Reload);
    let (session, _) = with_settings(Settings::default().mode(Mode::OnlyIfCached).rule(rule));
    let url = origin.url("/");
    assert_eq!(get(&session, &url, &[]).await.status, 504);
    assert_eq!(get(&session, &origin.url("/rule"), &[]).await.outcome(), Outcome::Miss);
    assert_eq!(get(&session, &origin.url("/rule"), &[]).await.outcome(), Outcome::Miss);
    assert_eq!(see(session.get(origin.url("/rule")).mode(Mode::OnlyIfCached)).await.outcome(), Outcome::Hit);
    assert_eq!(see(session.get(&url).mode(Mode::Default)).await.outcome(), Outcome::Miss);
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    assert_eq!(origin.count(), 3);
}

/// Features 10 and 11, seed lines 93 and 94: a soft refresh asks about what is stored, a hard one fetches it again.
#[tokio::test]
async fn a_refresh_asks_about_what_is_stored_and_a_reload_fetches_it_again() {
    let origin = Origin::scripted().await;
    let answer = |request: &hyper_client_cache_testkit::origin::Recorded| match request.header("if-none-match") {
        Some("\"1\"") => Answer::not_modified().etag("\"1\""),
        _ => tagged("x", "\"1\""),
    };
    origin.on("/", answer);
    let (session, _) = with_settings(Settings::default());
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    let refreshed = see(session.get(&url).refresh()).await;
    assert_eq!((refreshed.outcome(), refreshed.status, &refreshed.text[..]), (Outcome::Revalidated, 200, "x"));
    assert_eq!(refreshed.lines("etag"), [b"\"1\""]);
    let conditional = |at: usize| origin.requests()[at].header("if-none-match").map(str::to_owned);
    assert_eq!((conditional(0), conditional(1)), (None, Some("\"1\"".to_owned())));
    assert_eq!(see(session.get(&url).reload()).await.outcome(), Outcome::Miss);
    assert_eq!(conditional(2), None);
    // The origin has something else by now.
    origin.on("/", tagged("changed", "\"2\""));
    let changed = see(session.get(&url).refresh()).await;
    assert_eq!((changed.outcome(), &changed.text[..]), (Outcome::Miss, "changed"));
    assert_eq!(changed.lines("etag"), [b"\"2\""]);
    assert_eq!(get(&session, &url, &[]).await.text, "changed");
}

/// Seed line 95, and why ours differs: what cannot be asked about is fetched again, because a refresh that changes
/// nothing is none.
#[tokio::test]
async fn a_refresh_of_what_has_no_validator_fetches_it_again() {
    let origin = Origin::scripted().await;
    origin.on("/", [Answer::ok("old"), Answer::ok("new")]);
    let (session, _) = with_settings(Settings::default());
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    assert_eq!(see(session.get(&url).refresh()).await.text, "new");
    let hit = get(&session, &url, &[]).await;
    assert_eq!((hit.outcome(), &hit.text[..]), (Outcome::Hit, "new"));
}

/// Feature 12, case 243: only what is stored, and no connection for the rest, whatever the method.
#[tokio::test]
async fn only_if_cached_opens_no_connection() {
    let (origin, session, _, url) = with_stale(Settings::default().mode(Mode::OnlyIfCached)).await;
    let (before, connections) = (origin.count(), origin.connections());
    let seen = get(&session, &url, &[]).await;
    assert_eq!((seen.status, seen.outcome()), (504, Outcome::Offline));
    assert!(matches!(seen.reason(), Reason::Expired { .. }), "{:?}", seen.reason());
    // Stale will do where the settings say so; also where the request does.
    let seen = see(session.get(&url).stale_if_error(true)).await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Stale, Reason::StaleIfError));
    for method in [http::Method::GET, http::Method::POST, http::Method::DELETE, http::Method::HEAD] {
        assert_eq!(see(session.request(method, origin.url("/other"))).await.status, 504);
    }
    assert_eq!((origin.count(), origin.connections()), (before, connections));
}

/// Feature 12: offline, whatever is stored is served, whatever the mode and the directives; switched at run time.
#[tokio::test]
async fn offline_serves_whatever_is_stored_and_opens_no_connection() {
    let origin = Origin::scripted().await;
    let strict = Answer::ok("x").header("cache-control", "max-age=60, must-revalidate, no-cache").etag("\"1\"");
    origin.on("/strict", strict);
    origin.on("/fresh", Answer::ok("y").header("cache-control", "max-age=86400"));
    let (session, clock) = with_settings(Settings::default());
    for path in ["/strict", "/fresh"] {
        get(&session, &origin.url(path), &[]).await;
    }
    clock.advance(2 * MINUTE);
    session.offline(true);
    let (before, connections) = (origin.count(), origin.connections());
    for mode in [Mode::Default, Mode::Reload, Mode::NoCache, Mode::OnlyIfCached, Mode::ReadOnly, Mode::ForceCache] {
        let seen = see(session.get(origin.url("/strict")).mode(mode).header("cache-control", "no-cache")).await;
        assert_eq!((seen.outcome(), seen.reason()), (Outcome::Stale, Reason::SettingOffline), "{mode:?}");
        assert!(seen.info.is_stale && seen.text == "x");
        let seen = see(session.get(origin.url("/fresh")).mode(mode)).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "y"), "{mode:?}");
    }
    let head = see(session.head(origin.url("/strict"))).await;
    assert_eq!((head.status, head.outcome(), head.reason()), (200, Outcome::Stale, Reason::SettingOffline));
    assert_eq!(see(session.head(origin.url("/fresh"))).await.outcome(), Outcome::Hit);
    for request in [session.get(origin.url("/none")), session.post(origin.url("/fresh")), session.put(origin.url("/a"))]
    {
        let seen = see(request).await;
        assert_eq!((seen.status, seen.outcome()), (504, Outcome::Offline));
    }
    assert_eq!((origin.count(), origin.connections()), (before, connections));
    session.offline(false);
    assert_eq!(get(&session, &origin.url("/strict"), &[]).await.outcome(), Outcome::Revalidated);
    assert_eq!(get(&session, &origin.url("/fresh"), &[]).await.outcome(), Outcome::Hit, "the POST was not sent");
}

/// Feature 13, case 242: nothing in the store changes, whatever is asked, answered or expired.
#[tokio::test]
async fn a_read_only_session_changes_nothing_in_the_store() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let cache = std::sync::Arc::new(
        hyper_client_cache_core::cache::MemoryCache::builder()
            .clock(std::sync::Arc::new(clock.clone()))
            .build()
            .unwrap(),
    );
    let writer = builder(&clock).shared_cache(cache.clone()).build().unwrap();
    let reader = builder(&clock).shared_cache(cache.clone()).mode(Mode::ReadOnly).build().unwrap();
    for path in ["/", "/forbids", "/replaced", "/gone"] {
        origin.on(path, tagged("x", "\"1\""));
        get(&writer, &origin.url(path), &[]).await;
    }
    flushed(&writer).await;
    let before = entries(&*cache).await;
    assert_eq!(get(&reader, &origin.url("/"), &[]).await.outcome(), Outcome::Hit);
    clock.advance(2 * MINUTE);
    let forbidding = Answer::not_modified().header("cache-control", "no-store");
    origin.on("/forbids", [forbidding, Answer::ok("y").header("cache-control", "no-store")]);
    origin.on("/replaced", tagged("y", "\"2\""));
    origin.on("/gone", Answer::status(410));
    for path in ["/", "/forbids", "/replaced", "/gone", "/new"] {
        get(&reader, &origin.url(path), &[]).await;
        see(reader.head(origin.url(path))).await;
        see(reader.post(origin.url(path))).await;
        see(reader.get(origin.url(path)).refresh()).await;
    }
    flushed(&reader).await;
    let after = entries(&*cache).await;
    assert_eq!(after.len(), before.len());
    for (key, entry) in before {
        let now = after.iter().find(|(other, _)| *other == key).unwrap();
        assert_eq!((&now.1.head, &now.1.body, now.1.retain_until), (&entry.head, &entry.body, entry.retain_until));
    }
}

/// Feature 13, case 242: also the record of a body that has lost a part stays for whoever only reads; the body is made up
/// for from the origin. Whoever may write removes it.
#[tokio::test]
async fn a_read_only_request_does_not_remove_what_has_lost_a_part() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::pattern(1 << 20).header("cache-control", "max-age=60"));
    let (session, _) = with_settings(Settings::default());
    let url = origin.url("/");
    session.get(&url).send().await.unwrap().bytes().await.unwrap();
    super::eventually("no flight", || session.layer().in_flight() == 0).await;
    flushed(&session).await;
    session.cache().bodies().unwrap().clear().await.unwrap();
    for (mode, left) in [(Mode::ReadOnly, 1), (Mode::ReadOnly, 1), (Mode::Default, 0)] {
        let response = session.get(&url).mode(mode).send().await.unwrap();
        assert_eq!(super::outcome(&response), Outcome::Hit);
        assert_eq!(response.bytes().await.unwrap().len(), 1 << 20);
        flushed(&session).await;
        assert_eq!(session.cache().responses().size().await.unwrap(), left, "{mode:?}");
    }
    assert_eq!((session.stats().body_lost, session.stats().stored), (3, 1));
}

/// Feature 113: also what is fresh is asked about, but may still be served instead of an error.
#[tokio::test]
async fn everything_is_revalidated_where_the_settings_say_so() {
    let origin = Origin::scripted().await;
    let not_modified = Answer::not_modified().etag("\"1\"");
    origin.on("/", [tagged("x", "\"1\""), not_modified, Answer::status(503)]);
    let (session, _) = with_settings(Settings::default().always_revalidate(true).stale_if_error(MINUTE));
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Revalidated);
    let seen = get(&session, &url, &[]).await;
    assert_eq!((seen.outcome(), seen.reason(), &seen.text[..]), (Outcome::Stale, Reason::StaleIfError, "x"));
    // Not by who wants what is stored.
    assert_eq!(see(session.get(&url).mode(Mode::OnlyIfCached)).await.outcome(), Outcome::Hit);
    assert_eq!(see(session.get(&url).mode(Mode::ForceCache)).await.outcome(), Outcome::Hit);
    assert_eq!(origin.count(), 3);
}

/// Feature 119 as a setting: which statuses a stale response may stand in for; not those that are answers by setting.
#[tokio::test]
async fn which_statuses_are_errors_is_a_setting() {
    for (settings, code, stale) in [
        (Settings::default(), 503, true),
        (Settings::default(), 429, false),
        (Settings::default().error_codes([http::StatusCode::TOO_MANY_REQUESTS]), 429, true),
        (Settings::default().error_codes([http::StatusCode::TOO_MANY_REQUESTS]), 503, false),
        (Settings::default().allowed_codes([http::StatusCode::OK, http::StatusCode::SERVICE_UNAVAILABLE]), 503, false),
    ] {
        let (origin, session, _, url) = with_stale(settings.stale_if_error(true)).await;
        origin.on("/", Answer::status(code));
        let seen = get(&session, &url, &[]).await;
        assert_eq!(seen.outcome() == Outcome::Stale, stale, "{code}");
        assert_eq!(seen.status, if stale { 200 } else { code });
    }
}

/// Feature 13: what a mode reads only is also found by it when it is stale, and served where a window says so.
#[tokio::test]
async fn a_read_only_request_refreshes_nothing_in_the_background() {
    let settings = Settings::default().mode(Mode::ReadOnly).stale_while_revalidate(true);
    let (origin, session, _, url) = with_stale(settings).await;
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Stale);
    assert_eq!(origin.count(), 1);
}

/// Case 243: no connection is opened for a part of a stored body that is gone either: the body ends in an error.
#[tokio::test]
async fn a_lost_part_is_not_fetched_where_the_origin_is_not_to_be_asked() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::pattern(1 << 20).header("cache-control", "max-age=60"));
    for offline in [false, true] {
        let (session, _) = with_settings(Settings::default());
        let url = origin.url("/");
        session.get(&url).send().await.unwrap().bytes().await.unwrap();
        super::eventually("no flight", || session.layer().in_flight() == 0).await;
        flushed(&session).await;
        session.cache().bodies().unwrap().clear().await.unwrap();
        let before = origin.count();
        session.offline(offline);
        let mode = if offline { Mode::Default } else { Mode::OnlyIfCached };
        let response = session.get(&url).mode(mode).send().await.unwrap();
        assert_eq!(super::outcome(&response), Outcome::Hit);
        assert!(response.bytes().await.is_err());
        assert_eq!(origin.count(), before);
    }
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
