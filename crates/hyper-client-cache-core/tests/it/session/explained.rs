//! Why a response was or was not cached: the same answer in `CacheInfo`, in the counters and in the events.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{CacheStats, LifetimeSource};
use hyper_client_cache_core::policy::{Mode, Outcome, Reason, Settings, Storing};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::{builder, eventually, get, see, session, with_settings};
use crate::support::is_alone;

const MINUTE: Duration = Duration::from_secs(60);

/// Outcome and reason of each event of the cache.
#[derive(Clone, Debug, Default)]
struct Events(Arc<Mutex<Vec<(String, String)>>>);

impl Events {
    fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("hyper_client_cache_core")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let (Some(outcome), Some(reason)) = (fields.outcome, fields.reason) {
            self.0.lock().unwrap().push((outcome, reason));
        }
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields {
    outcome: Option<String>,
    reason: Option<String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "outcome" => self.outcome = Some(value.to_owned()),
            "reason" => self.reason = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// The counters of requests, in the order of [`Outcome`].
fn requests(stats: &CacheStats) -> [u64; 7] {
    let CacheStats { hits, revalidated, stale, misses, coalesced, bypassed, offline, .. } = *stats;
    [hits, revalidated, stale, misses, coalesced, bypassed, offline]
}

const fn place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Hit => 0,
        Outcome::Revalidated => 1,
        Outcome::Stale => 2,
        Outcome::Miss => 3,
        Outcome::Coalesced => 4,
        Outcome::Bypass => 5,
        _ => 6,
    }
}

/// Sends one request and checks that information, counters and events say this of it, once.
async fn check(session: &CachedSession, events: &Events, request: Request<'_>, outcome: Outcome, reason: Reason) {
    let before = requests(&session.stats());
    events.take();
    let request_builder = request.headers.iter().fold(
        session.request(request.method.parse().unwrap(), request.url).mode(request.mode),
        |builder, (name, value)| builder.header(*name, *value),
    );
    let seen = see(request_builder).await;
    assert_eq!((seen.outcome(), seen.reason()), (outcome, reason));
    // A refresh in the background is no request of anybody's.
    eventually("all is quiet", || session.layer().in_flight() == 0).await;
    session.layer().flush().await;
    let mut after = before;
    after[place(outcome)] += 1;
    assert_eq!(requests(&session.stats()), after, "{outcome:?} {reason:?}");
    assert_eq!(events.take(), [(outcome.as_str().to_owned(), reason.as_str().to_owned())]);
}

#[derive(Clone, Copy)]
struct Request<'a> {
    method: &'a str,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    mode: Mode,
}

impl<'a> Request<'a> {
    const fn get(url: &'a str) -> Self {
        Self { method: "GET", url, headers: &[], mode: Mode::Default }
    }

    const fn with(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }
}

/// Design section 8: outcome and reason are typed, and the same in `CacheInfo`, in the counters and in the events.
#[tokio::test]
async fn each_request_is_explained_counted_and_told_once() {
    if !is_alone("session::explained::each_request_is_explained_counted_and_told_once") {
        return;
    }
    let events = Events::default();
    let origin = Origin::scripted().await;
    let _guard = tracing::subscriber::set_default(events.clone());
    let answer = Answer::ok("x").header("cache-control", "max-age=60, stale-while-revalidate=60, stale-if-error=600");
    origin.on("/", answer.etag("\"1\""));
    let (session, clock) = session();
    let url = origin.url("/");
    let get = Request::get(&url);
    let checks = async |request: Request<'_>, outcome, reason| check(&session, &events, request, outcome, reason).await;
    let by = |seconds| Reason::Expired { by: Duration::from_secs(seconds) };

    checks(get.with(&[("cache-control", "only-if-cached")]), Outcome::Offline, Reason::NotFound).await;
    checks(get, Outcome::Miss, Reason::NotFound).await;
    checks(get, Outcome::Hit, Reason::Fresh).await;
    checks(Request { mode: Mode::NoStore, ..get }, Outcome::Bypass, Reason::Mode).await;
    checks(Request { mode: Mode::Reload, ..get }, Outcome::Miss, Reason::Mode).await;
    checks(get.with(&[("cache-control", "no-cache")]), Outcome::Revalidated, Reason::Revalidated).await;
    checks(get.with(&[("cache-control", "no-store")]), Outcome::Bypass, Reason::RequestNoStore).await;
    checks(get.with(&[("range", "bytes=0-0")]), Outcome::Bypass, Reason::Range).await;
    checks(get.with(&[("if-none-match", "\"9\"")]), Outcome::Bypass, Reason::Conditional).await;
    clock.advance(2 * MINUTE - Duration::from_secs(1));
    checks(get, Outcome::Stale, Reason::StaleWhileRevalidate).await;
    checks(get, Outcome::Hit, Reason::Fresh).await;
    clock.advance(3 * MINUTE);
    checks(get, Outcome::Revalidated, Reason::Revalidated).await;
    clock.advance(3 * MINUTE);
    origin.on("/", Answer::status(503));
    checks(get, Outcome::Stale, Reason::StaleIfError).await;
    checks(get.with(&[("cache-control", "max-stale")]), Outcome::Stale, Reason::RequestMaxStale).await;
    checks(get.with(&[("cache-control", "only-if-cached")]), Outcome::Offline, by(120)).await;
    checks(Request { method: "POST", ..get }, Outcome::Bypass, Reason::Method).await;
    origin.on("/", Answer::ok("y").header("cache-control", "max-age=60"));
    checks(get, Outcome::Miss, by(120)).await;
    checks(Request { method: "DELETE", ..get }, Outcome::Bypass, Reason::Method).await;
    checks(get, Outcome::Miss, Reason::NotFound).await;
}

/// A request that shares another's exchange is counted as that.
#[tokio::test]
async fn a_shared_exchange_is_counted_as_one() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60").after(&gate));
    let (session, _) = session();
    let url = origin.url("/");
    let all = async { tokio::join!(get(&session, &url, &[]), get(&session, &url, &[]), get(&session, &url, &[])) };
    let open = async {
        origin.arrived(1).await;
        gate.open();
    };
    let ((one, two, three), ()) = tokio::join!(all, open);
    let mut seen = [one, two, three].map(|seen| (place(seen.outcome()), seen.reason()));
    seen.sort_unstable_by_key(|(place, _)| *place);
    assert_eq!(seen, [(3, Reason::NotFound), (4, Reason::LeaderAnswer), (4, Reason::LeaderAnswer)]);
    assert_eq!(requests(&session.stats()), [0, 0, 0, 1, 2, 0, 0]);
}

/// Design section 8: what else the information says: key, moments, age, what decided the lifetime, whether it is stored.
#[tokio::test]
async fn the_information_is_complete() {
    let origin = Origin::scripted().await;
    origin.on("/max-age", Answer::ok("x").header("cache-control", "max-age=60").header("age", "10"));
    origin.on("/silent", Answer::ok("x"));
    let clock = ManualClock::new();
    let session = builder(&clock).build().unwrap();
    let now = hyper_client_cache_core::clock::Clock::now(&clock);

    let first = get(&session, &origin.url("/max-age"), &[]).await.info;
    assert_eq!((first.storing, first.lifetime_source), (Storing::Yes, Some(LifetimeSource::MaxAge)));
    assert_eq!((first.created_at, first.expires_at), (Some(now), Some(now + Duration::from_secs(50))));
    assert_eq!((first.age, first.ttl, first.is_stale), (Some(Duration::from_secs(10)), Some(50), false));
    clock.advance(Duration::from_secs(5));
    let second = get(&session, &origin.url("/max-age"), &[]).await.info;
    assert_eq!((second.key, second.created_at, second.expires_at), (first.key, first.created_at, first.expires_at));
    assert_eq!((second.storing, second.age, second.ttl), (Storing::Unchanged, Some(Duration::from_secs(15)), Some(45)));
    assert!(second.key.is_some());

    let info = get(&session, &origin.url("/silent"), &[]).await.info;
    assert_eq!((info.lifetime_source, info.expires_at, info.ttl), (Some(LifetimeSource::Session), None, None));
    let forced = see(session.get(origin.url("/silent")).expire_after(MINUTE).force_ttl(true).mode(Mode::Reload)).await;
    assert_eq!((forced.info.lifetime_source, forced.info.ttl), (Some(LifetimeSource::Forced), Some(60)));
    assert_eq!(forced.info.created_at, Some(now + Duration::from_secs(5)));
}

/// Design section 8: why a response is not stored, as a typed value.
#[tokio::test]
async fn the_reason_for_not_storing_is_told() {
    let origin = Origin::scripted().await;
    let cases = [
        (Answer::ok("x").header("cache-control", "no-store"), Reason::ResponseNoStore),
        (Answer::ok("x").header("cache-control", "private, max-age=60"), Reason::ResponsePrivate),
        (Answer::ok("x").header("cache-control", "no-cache, max-age=60"), Reason::ResponseNoCache),
        (Answer::ok("x").header("cache-control", "max-age=0"), Reason::StaleOnArrival),
        (Answer::ok("x").header("vary", "*"), Reason::VaryStar),
        (Answer::ok("x").header("vary", "a b"), Reason::VaryMalformed),
        (Answer::ok("x"), Reason::NoFreshness),
        (Answer::status(404).body("x"), Reason::Status(http::StatusCode::NOT_FOUND)),
        (Answer::status(206).body("x"), Reason::PartialContent),
        (Answer::pattern(200).header("cache-control", "max-age=60"), Reason::TooLarge),
    ];
    let (session, _) = with_settings(Settings::rfc9111().shared(true).max_body_len(100));
    for (at, (answer, reason)) in cases.into_iter().enumerate() {
        let path = format!("/{at}");
        origin.on(&path, answer);
        let seen = get(&session, &origin.url(&path), &[]).await;
        assert_eq!((seen.outcome(), seen.storing()), (Outcome::Miss, Storing::No(reason)));
        assert_eq!(get(&session, &origin.url(&path), &[]).await.outcome(), Outcome::Miss, "{reason:?}");
    }
    assert_eq!(session.stats().stored, 0);
}

/// RFC 9211: the status field says the same.
#[tokio::test]
async fn the_status_field_says_the_same() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60, stale-if-error=600").etag("\"1\""));
    let clock = ManualClock::new();
    let session = builder(&clock).cache_status("Ours").build().unwrap();
    let url = origin.url("/");
    let line = async |headers: &[(&str, &str)]| {
        let seen = get(&session, &url, headers).await;
        String::from_utf8(seen.lines("cache-status").last().unwrap().to_vec()).unwrap()
    };
    assert_eq!(line(&[]).await, "Ours; fwd=uri-miss; ttl=60; stored; detail=not-found");
    assert_eq!(line(&[]).await, "Ours; hit; ttl=60; detail=fresh");
    assert_eq!(line(&[("range", "bytes=0-0")]).await, "Ours; fwd=bypass; detail=range");
    clock.advance(MINUTE);
    assert_eq!(line(&[]).await, "Ours; fwd=stale; fwd-status=304; ttl=60; detail=revalidated");
    clock.advance(MINUTE);
    origin.on("/", Answer::status(503));
    assert_eq!(line(&[]).await, "Ours; hit; ttl=0; detail=stale-if-error");
    assert_eq!(line(&[("cache-control", "no-cache")]).await, "Ours; fwd=request; detail=request-no-cache");
}

/// Seed 39 and 65, features 125, 162 and 163: what each response says of itself, fresh, stored, past its freshness,
/// confirmed, stale, and after a redirect.
#[tokio::test]
async fn each_response_says_where_it_comes_from() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("cache-control", "max-age=60, stale-if-error=600").etag("\"1\"");
    origin.on("/", answer);
    origin.on("/hop", Answer::redirect(302, "/").header("cache-control", "max-age=60"));
    let (session, clock) = session();
    let now = hyper_client_cache_core::clock::Clock::now(&clock);
    let url = origin.url("/");
    let send = async |url: &str| session.get(url).send().await.unwrap();

    let fresh = send(&url).await;
    assert!(!fresh.from_cache() && !fresh.is_expired() && !fresh.is_stale() && !fresh.revalidated());
    assert_eq!((fresh.created_at(), fresh.expires()), (Some(now), Some(now + MINUTE)));
    assert!(fresh.history().is_empty() && fresh.cache_key().is_some());
    let key = fresh.cache_key().copied();
    fresh.bytes().await.unwrap();

    clock.advance(MINUTE - Duration::from_secs(1));
    let hit = send(&url).await;
    assert!(hit.from_cache() && !hit.is_expired() && !hit.is_stale() && !hit.revalidated());
    assert_eq!(
        (hit.cache_key().copied(), hit.created_at(), hit.age()),
        (key, Some(now), Some(MINUTE - Duration::from_secs(1)))
    );
    // By now, whereas stale is what it was when it was served.
    clock.advance(Duration::from_secs(1));
    assert!(hit.is_expired() && !hit.is_stale());

    let confirmed = send(&url).await;
    assert!(confirmed.from_cache() && confirmed.revalidated() && !confirmed.is_stale());
    assert_eq!((confirmed.created_at(), confirmed.expires()), (Some(now + MINUTE), Some(now + 2 * MINUTE)));
    clock.advance(2 * MINUTE);
    origin.on("/", Answer::status(503));
    let stale = send(&url).await;
    assert!(stale.from_cache() && stale.is_stale() && stale.is_expired() && !stale.revalidated());

    origin.on("/", Answer::ok("y"));
    let past = session.get(&url).mode(Mode::NoStore).send().await.unwrap();
    assert!(
        !past.from_cache() && past.cache_key().is_none() && past.created_at().is_none() && past.expires().is_none()
    );
    send(&origin.url("/hop")).await.bytes().await.unwrap();
    let after = send(&origin.url("/hop")).await;
    assert_eq!(after.history().len(), 1);
    let hop = &after.history()[0];
    assert_eq!((hop.url.to_string(), hop.status.as_u16()), (origin.url("/hop"), 302));
    assert!(hop.cache_info.as_ref().unwrap().from_cache() && after.from_cache());
}

/// Case 244: a request that ends in an error is counted and told as that, by a session and by a layer, whether it was to be
/// stored or not; a redirect's hop that has an answer counts for itself.
#[tokio::test]
async fn a_request_that_ends_in_an_error_is_counted() {
    let origin = Origin::scripted().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{closed}/");
    origin.on("/hop", Answer::redirect(302, &nowhere));
    let (session, _) = session();
    for (url, mode, errors) in
        [(&nowhere, Mode::Default, 1), (&nowhere, Mode::NoStore, 2), (&origin.url("/hop"), Mode::Default, 3)]
    {
        session.get(url).mode(mode).send().await.unwrap_err();
        let stats = session.stats();
        assert_eq!((stats.errors, stats.misses), (errors, u64::from(errors == 3)));
        assert_eq!(requests(&stats).iter().sum::<u64>(), stats.misses);
    }
}

/// Case 244: each counter is in the documentation, and what is there is a counter.
#[test]
fn each_counter_is_documented() {
    let page = include_str!("../../../../../docs/observability.md");
    let documented: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).collect();
    let shown = format!("{:?}", CacheStats::default());
    let counters: Vec<_> = shown
        .split([' ', '{', '}', ','])
        .filter_map(|word| word.strip_suffix(':'))
        .filter(|name| *name != "guard")
        .collect();
    assert!(counters.len() > 20, "{counters:?}");
    for counter in &counters {
        assert_eq!(documented.iter().filter(|(name, _)| name == counter).count(), 1, "{counter}");
    }
    for (name, _) in documented {
        assert!(counters.contains(&name), "{name} is no counter");
    }
}
