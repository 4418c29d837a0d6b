//! What would become of a request, said without sending it: it agrees with what does become of it, and changes nothing.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::CacheStats;
use hyper_client_cache_core::layer::Explanation;
use hyper_client_cache_core::policy::{
    CacheControl, CacheInfo, ExpireAfter, Mode, Outcome, Reason, RequestFilter, ResponseFilter, Settings, UrlRule,
};
use hyper_client_cache_core::session::RequestBuilder;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};

use super::{builder, entries, eventually, faulty, flushed, get, session, with_settings};

const MINUTE: Duration = Duration::from_secs(60);

/// Everything that explaining must not change.
async fn state(session: &CachedSession, origin: &Origin) -> (CacheStats, usize, usize, Vec<Entry>) {
    flushed(session).await;
    let mut stored: Vec<_> = entries(&**session.cache()).await;
    stored.sort_by_key(|(key, _)| *key);
    let stored = stored.into_iter().map(|(_, entry)| entry).collect();
    (session.stats(), origin.count(), session.layer().in_flight(), stored)
}

/// Explains a request, checks that this changed nothing, sends it, and checks that both say the same.
async fn agree(session: &CachedSession, origin: &Origin, request: impl Fn() -> RequestBuilder) -> Explanation {
    let before = state(session, origin).await;
    let told = request().explain().await.unwrap();
    assert_eq!(request().explain().await.unwrap(), told, "a second time");
    assert_eq!(state(session, origin).await, before, "explaining changes nothing");

    let asked = origin.count();
    let response = request().send().await.unwrap();
    let info = response.cache_info().unwrap().clone();
    let _ = response.bytes().await;
    let went = origin.count() - asked;
    eventually("all is quiet", || session.layer().in_flight() == 0).await;
    flushed(session).await;

    assert_eq!(told.outcome, info.outcome, "{told:?} {info:?}");
    if told.outcome != Outcome::Revalidated {
        assert_eq!(told.reason, info.reason, "{told:?} {info:?}");
    }
    assert_eq!(told.asks_origin, went > 0 && told.outcome != Outcome::Stale, "{told:?}");
    if let (Some(stored), false) = (&told.stored, told.asks_origin) {
        assert_eq!(Some(*stored.key()), info.key);
        assert_eq!((Some(stored.created_at()), stored.expires(), stored.age()), dates(&info));
        assert_eq!(stored.is_expired(), info.is_stale);
    }
    told
}

fn dates(info: &CacheInfo) -> (Option<std::time::SystemTime>, Option<std::time::SystemTime>, Option<Duration>) {
    (info.created_at, info.expires_at, info.age)
}

fn said(told: &Explanation) -> (Outcome, Reason) {
    (told.outcome, told.reason)
}

/// Feature 193: over the modes, directives and windows, what is said is what is done.
#[tokio::test]
async fn what_is_said_is_what_is_done() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("cache-control", "max-age=60, stale-while-revalidate=60, stale-if-error=600");
    origin.on("/", answer.etag("\"1\""));
    let (session, clock) = session();
    let url = origin.url("/");
    let plain = || session.get(&url);
    let with = |name: &'static str, value: &'static str| move |request: RequestBuilder| request.header(name, value);
    let by = |seconds| Reason::Expired { by: Duration::from_secs(seconds) };
    let check = async |request: &dyn Fn() -> RequestBuilder| agree(&session, &origin, request).await;

    let told = check(&|| plain().mode(Mode::OnlyIfCached)).await;
    assert_eq!(said(&told), (Outcome::Offline, Reason::NotFound));
    let told = check(&plain).await;
    assert_eq!(said(&told), (Outcome::Miss, Reason::NotFound));
    assert!(told.asks_origin && told.may_store && told.stored.is_none() && told.key.is_some());
    let told = check(&plain).await;
    assert_eq!(said(&told), (Outcome::Hit, Reason::Fresh));
    let stored = told.stored.unwrap();
    assert_eq!((stored.status().as_u16(), stored.url(), stored.body_len()), (200, &url[..], 1));

    for (mode, expected) in [
        (Mode::NoStore, (Outcome::Bypass, Reason::Mode)),
        (Mode::ReadOnly, (Outcome::Hit, Reason::Fresh)),
        (Mode::ForceCache, (Outcome::Hit, Reason::Fresh)),
        (Mode::OnlyIfCached, (Outcome::Hit, Reason::Fresh)),
        (Mode::NoCache, (Outcome::Revalidated, Reason::Mode)),
        (Mode::Reload, (Outcome::Miss, Reason::Mode)),
    ] {
        assert_eq!(said(&check(&|| plain().mode(mode)).await), expected, "{mode:?}");
    }
    for (name, value, expected) in [
        ("cache-control", "no-store", (Outcome::Bypass, Reason::RequestNoStore)),
        ("cache-control", "no-cache", (Outcome::Revalidated, Reason::RequestNoCache)),
        ("cache-control", "max-age=0", (Outcome::Revalidated, Reason::RequestMaxAge)),
        ("cache-control", "min-fresh=100", (Outcome::Revalidated, Reason::RequestMinFresh)),
        ("range", "bytes=0-0", (Outcome::Bypass, Reason::Range)),
        ("if-none-match", "\"9\"", (Outcome::Bypass, Reason::Conditional)),
        ("x-http-method-override", "DELETE", (Outcome::Bypass, Reason::MethodOverride)),
        ("cache-control", "no-store, only-if-cached", (Outcome::Offline, Reason::RequestNoStore)),
    ] {
        let told = check(&|| with(name, value)(plain())).await;
        assert_eq!(said(&told), expected, "{name}: {value}");
        assert_eq!(
            told.key.is_none(),
            matches!(told.reason, Reason::RequestNoStore) || told.outcome == Outcome::Bypass
        );
        if told.outcome == Outcome::Revalidated {
            assert!(told.conditional && told.asks_origin);
        }
        // A method override removes what is stored: have it again.
        get(&session, &url, &[]).await;
    }
    let do_not_store = check(&|| plain().expire_after(ExpireAfter::DoNotStore)).await;
    assert_eq!(said(&do_not_store), (Outcome::Bypass, Reason::Setting));
    let unsafe_one = check(&|| session.post(&url)).await;
    assert_eq!(said(&unsafe_one), (Outcome::Bypass, Reason::Method));
    get(&session, &url, &[]).await;

    clock.advance(MINUTE + Duration::from_secs(30));
    let told = check(&|| plain().mode(Mode::OnlyIfCached)).await;
    assert_eq!((said(&told), told.refreshes), ((Outcome::Stale, Reason::StaleWhileRevalidate), false));
    let told = check(&plain).await;
    assert_eq!((said(&told), told.refreshes), ((Outcome::Stale, Reason::StaleWhileRevalidate), true));
    clock.advance(5 * MINUTE);
    let told = check(&|| with("cache-control", "max-stale")(plain())).await;
    assert_eq!(said(&told), (Outcome::Stale, Reason::RequestMaxStale));
    let told = check(&plain).await;
    assert_eq!((said(&told), told.falls_back), ((Outcome::Revalidated, by(240)), true));
    clock.advance(5 * MINUTE);
    origin.on("/", Answer::status(503));
    let told = plain().explain().await.unwrap();
    assert!(told.falls_back && told.conditional);
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Stale);
}

/// As everything else that a session does, it may be done in a task.
#[tokio::test]
async fn explaining_may_be_spawned() {
    let (session, _) = session();
    let by_itself = tokio::spawn(session.get("http://host/").explain()).await.unwrap().unwrap();
    let of_session = tokio::spawn(async move {
        let request = session.get("http://host/").build().unwrap();
        let told = session.explain(&request);
        told.await
    });
    assert_eq!(said(&by_itself), said(&of_session.await.unwrap().unwrap()));
}

/// Variants, partitions and a HEAD that a stored GET answers.
#[tokio::test]
async fn variants_partitions_and_methods_are_told_apart() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60").header("vary", "accept"));
    let (session, _) = session();
    let url = origin.url("/");
    let accepting = |value: &'static str| session.get(&url).header("accept", value);
    let check = async |request: &dyn Fn() -> RequestBuilder| agree(&session, &origin, request).await;

    for (at, value) in ["a", "b"].into_iter().enumerate() {
        let told = check(&|| accepting(value)).await;
        let reason = if at == 0 { Reason::NotFound } else { Reason::VariantNotFound };
        assert_eq!((said(&told), told.variants), ((Outcome::Miss, reason), at));
        let told = check(&|| accepting(value)).await;
        assert_eq!((said(&told), told.variants), ((Outcome::Hit, Reason::Fresh), at + 1));
        assert_eq!(told.stored.unwrap().varies_on().collect::<Vec<_>>(), ["accept"]);
    }
    let told = check(&|| accepting("a").header("authorization", "canary")).await;
    assert_eq!((said(&told), told.partitioned), ((Outcome::Miss, Reason::NotFound), true));
    assert!(!format!("{told} {told:?}").contains("canary"));
    let told = check(&|| session.head(&url).header("accept", "b")).await;
    assert_eq!((said(&told), told.partitioned), ((Outcome::Hit, Reason::Fresh), false));
}

/// What streams cannot be part of a key: it is said to go past the cache, as it does.
#[tokio::test]
async fn a_body_that_streams_goes_past_the_cache() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60"));
    let (session, _) = session();
    let url = origin.url("/");
    let told = agree(&session, &origin, || session.get(&url).body_stream(Full::new(Bytes::from_static(b"q")))).await;
    assert_eq!(said(&told), (Outcome::Bypass, Reason::RequestBody));
}

/// The settings of the session count: what is ignored, what is kept for how long.
#[tokio::test]
async fn settings_count() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "no-store"));
    let settings = Settings::default().cache_control(CacheControl::Ignore).expire_after(MINUTE);
    let (session, clock) = with_settings(settings);
    let url = origin.url("/");
    let ignored = || session.get(&url).header("cache-control", "no-cache");
    assert_eq!(said(&agree(&session, &origin, ignored).await), (Outcome::Miss, Reason::NotFound));
    assert_eq!(said(&agree(&session, &origin, ignored).await), (Outcome::Hit, Reason::Fresh));
    clock.advance(MINUTE);
    let told = agree(&session, &origin, ignored).await;
    assert_eq!(said(&told), (Outcome::Miss, Reason::NotFound));
    assert!(!told.conditional, "there is no validator, so that nothing is kept");
}

/// Rules, filters, the modes of the session and a guard that switches the cache off are what they are to a request.
#[tokio::test]
async fn rules_filters_and_switches_count() {
    let origin = Origin::scripted().await;
    for path in ["/a", "/rule", "/refused"] {
        origin.on(path, Answer::ok("x").header("cache-control", "max-age=60"));
    }
    let settings = Settings::default()
        .rule(UrlRule::glob("*/rule").mode(Mode::Reload))
        .filter_request(RequestFilter::new(|request| !request.uri.path().contains("refused")));
    let (session, _) = with_settings(settings);
    let (a, rule, refused) = (origin.url("/a"), origin.url("/rule"), origin.url("/refused"));
    let check = async |url: &str| said(&agree(&session, &origin, || session.get(url)).await);
    assert_eq!(check(&rule).await, (Outcome::Miss, Reason::Mode));
    assert_eq!(check(&refused).await, (Outcome::Bypass, Reason::Filter));
    assert_eq!(check(&a).await, (Outcome::Miss, Reason::NotFound));
    assert_eq!(check(&a).await, (Outcome::Hit, Reason::Fresh));
    let guard = session.disabled();
    assert_eq!(check(&a).await, (Outcome::Bypass, Reason::Disabled));
    drop(guard);
    session.update_settings(|all| all.offline(true)).unwrap();
    assert_eq!(check(&a).await, (Outcome::Hit, Reason::Fresh));
    assert_eq!(check(&origin.url("/b")).await, (Outcome::Offline, Reason::NotFound));
    session.update_settings(|all| all.offline(false).filter_read(ResponseFilter::new(|_| false))).unwrap();
    assert_eq!(check(&a).await, (Outcome::Miss, Reason::Filter));
    assert!(session.cache().get_url(&a).await.unwrap().is_some(), "what is stored is shown all the same");
}

/// While another's exchange is under way, whoever would join it is told so.
#[tokio::test]
async fn an_exchange_under_way_is_seen() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60").after(&gate));
    let (session, _) = session();
    let url = origin.url("/");
    let first = tokio::spawn({
        let request = session.get(&url);
        async move { request.send().await.unwrap().text().await.unwrap() }
    });
    origin.arrived(1).await;
    let told = session.get(&url).explain().await.unwrap();
    assert_eq!((said(&told), told.asks_origin), ((Outcome::Coalesced, Reason::NotFound), false));
    // Who insists on the origin's own, and who has other credentials, would not.
    assert_eq!(session.get(&url).mode(Mode::Reload).explain().await.unwrap().outcome, Outcome::Miss);
    let other = session.get(&url).header("authorization", "a").explain().await.unwrap();
    assert_eq!(other.outcome, Outcome::Miss);
    gate.open();
    first.await.unwrap();
    assert_eq!(session.get(&url).explain().await.unwrap().outcome, Outcome::Hit);
}

/// A fault of the store, and a record in the wrong place, are seen and left for the request to count.
#[tokio::test]
async fn faults_are_told_and_not_counted() {
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("a").header("cache-control", "max-age=60"));
    origin.on("/b", Answer::ok("b").header("cache-control", "max-age=60"));
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    let (a, b) = (origin.url("/a"), origin.url("/b"));
    let told = session.get(&a).explain().await.unwrap();
    get(&session, &b, &[]).await;
    flushed(&session).await;
    let key = session.get(&b).explain().await.unwrap().stored.unwrap().key().to_owned();
    let storage = session.cache().responses();
    let moved = storage.read(&key).await.unwrap().unwrap();
    storage.write(&told.key.unwrap(), moved).await.unwrap();
    let before = session.stats();
    let told = session.get(&a).explain().await.unwrap();
    assert_eq!(said(&told), (Outcome::Miss, Reason::NotFound));
    assert!(storage.contains(&told.key.unwrap()).await.unwrap(), "explaining does not remove it");
    responses.fail_all();
    let told = session.get(&a).explain().await.unwrap();
    assert_eq!(said(&told), (Outcome::Miss, Reason::StoreFault));
    responses.heal();
    assert_eq!(session.stats(), before);
    get(&session, &a, &[]).await;
    assert_eq!(session.stats().mismatched, before.mismatched + 1);
}

/// Case 75: what a person is shown has no secret in it, and is a few lines.
#[tokio::test]
async fn a_person_is_shown_what_and_why_and_no_secret() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("cache-control", "max-age=60").header("set-cookie", "a=canary");
    origin.on("/", answer.header("location", "/canary").etag("\"canary\""));
    let (session, _) = session();
    let url = origin.url("/?token=canary");
    let request = || session.get(&url).header("authorization", "canary").header("cookie", "canary");
    request().send().await.unwrap().text().await.unwrap();
    let told = request().explain().await.unwrap();
    let text = told.to_string();
    assert!(text.starts_with("hit: the request would be answered from the cache (fresh)\nkey "), "{text}");
    assert!(text.contains("in a partition of its own\nstored: 200, 1 bytes, created "), "{text}");
    assert!(text.contains("age 0 s") && text.lines().count() == 3, "{text}");
    assert!(!format!("{told:?}{text}").contains("canary"), "{told:?}");

    let told = session.get(&url).explain().await.unwrap();
    assert!(told.to_string().ends_with("nothing is stored that the request selects"), "{told}");
    let told = session.get(&url).header("range", "bytes=0-1").explain().await.unwrap();
    assert_eq!(told.to_string(), "bypass: the request would be sent past the cache (range)");
}
