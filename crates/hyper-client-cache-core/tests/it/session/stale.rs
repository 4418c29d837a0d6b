//! Serving what is past its freshness: while it is refreshed, and instead of an error (RFC 5861).

use std::time::Duration;

use hyper_client_cache_core::policy::{Mode, Outcome, Reason, Settings};
use hyper_client_cache_core::session::Response;
use hyper_client_cache_core::{ErrorKind, Result};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};

use super::{builder, eventually, get, outcome, session, with_settings};
use crate::support::StillTime;

const MINUTE: Duration = Duration::from_secs(60);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Feature 121, 123, 125: served at once, refreshed once however many ask meanwhile, and said to be stale.
#[tokio::test]
async fn stale_is_served_at_once_and_refreshed_once() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    let answer = |body: &'static str| Answer::ok(body).header("cache-control", "max-age=60, stale-while-revalidate=60");
    origin.on("/", [answer("old"), answer("new").after(&gate)]);
    let (session, clock) = session();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    clock.advance(MINUTE + seconds(30));
    for _ in 0..20 {
        let seen = get(&session, &url, &[]).await;
        assert_eq!(
            (seen.outcome(), seen.reason(), &seen.text[..]),
            (Outcome::Stale, Reason::StaleWhileRevalidate, "old")
        );
        assert!(seen.info.is_stale && seen.info.from_cache());
        assert_eq!((seen.info.ttl, seen.lines("age")), (Some(-30), vec![&b"90"[..]]));
    }
    origin.arrived(2).await;
    gate.open();
    eventually("the refresh is over", || session.layer().in_flight() == 0).await;
    session.layer().flush().await;
    let seen = get(&session, &url, &[]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "new"));
    assert_eq!(origin.count(), 2);
    // Past the window the request waits.
    clock.advance(2 * MINUTE);
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Miss);
}

/// A refresh that fails leaves what is stored for as long as it may be served.
#[tokio::test]
async fn a_refresh_that_fails_leaves_what_is_stored() {
    let origin = Origin::scripted().await;
    let first = Answer::ok("old").header("cache-control", "max-age=60, stale-while-revalidate=600");
    origin.on("/", [first, Answer::status(500), Answer::raw("")]);
    let (session, clock) = session();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    clock.advance(2 * MINUTE);
    for asked in 2..5 {
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Stale, "old"));
        eventually("the refresh is over", || origin.count() >= asked && session.layer().in_flight() == 0).await;
        // As long as a pause may be.
        clock.advance(MINUTE);
    }
}

/// Feature 118, 122: the windows as settings, and those of the response before them.
#[tokio::test]
async fn windows_may_be_settings() {
    let origin = Origin::scripted().await;
    origin.on("/silent", Answer::ok("x").header("cache-control", "max-age=60"));
    origin.on("/says", Answer::ok("x").header("cache-control", "max-age=60, stale-while-revalidate=10"));
    let (session, clock) = with_settings(Settings::default().stale_while_revalidate(seconds(30)));
    for path in ["/silent", "/says"] {
        get(&session, &origin.url(path), &[]).await;
    }
    clock.advance(MINUTE + seconds(15));
    assert_eq!(get(&session, &origin.url("/silent"), &[]).await.outcome(), Outcome::Stale);
    assert_eq!(get(&session, &origin.url("/says"), &[]).await.outcome(), Outcome::Miss);
}

/// Feature 120: a request may widen or close the window for itself.
#[tokio::test]
async fn windows_may_be_the_requests_own() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("cache-control", "max-age=60, stale-while-revalidate=10");
    origin.on("/", answer.header("etag", "\"1\""));
    let (session, clock) = session();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    clock.advance(MINUTE + seconds(5));
    let closed = session.get(&url).stale_while_revalidate(Duration::ZERO).send().await.unwrap();
    assert_eq!(outcome(&closed), Outcome::Miss);
    closed.bytes().await.unwrap();
    clock.advance(MINUTE + seconds(30));
    let widened = session.get(&url).stale_while_revalidate(MINUTE).send().await.unwrap();
    assert_eq!(outcome(&widened), Outcome::Stale);
    eventually("the refresh is over", || origin.count() == 3 && session.layer().in_flight() == 0).await;
}

/// How an origin fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Status(u16),
    Refused,
    Reset,
    NoAnswer,
    Nonsense,
    TooSlow,
}

const FAILURES: [Failure; 9] = [
    Failure::Status(500),
    Failure::Status(502),
    Failure::Status(503),
    Failure::Status(504),
    Failure::Refused,
    Failure::Reset,
    Failure::NoAnswer,
    Failure::Nonsense,
    Failure::TooSlow,
];

/// Stores a response with this `Cache-Control`, and asks again when it has been stale for half a minute and the origin
/// fails.
async fn ask_when_failing(
    failure: Failure,
    cache_control: &str,
    settings: Settings,
    own: Option<Duration>,
) -> Result<Response> {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    let first = Answer::ok("old").header("cache-control", cache_control).header("etag", "\"1\"");
    let then = match failure {
        Failure::Status(code) => Answer::status(code).body("failed"),
        Failure::Reset => Answer::raw("x").reset_after(0),
        Failure::Refused | Failure::NoAnswer => Answer::raw(""),
        Failure::Nonsense => Answer::raw("nonsense\r\n\r\n"),
        Failure::TooSlow => Answer::ok("late").after(&gate),
    };
    origin.on("/", [first, then]);
    let clock = ManualClock::new();
    let session = builder(&clock).settings(settings).build().unwrap();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    clock.advance(MINUTE + seconds(30));
    if matches!(failure, Failure::Refused) {
        origin.finish().await;
    }
    let request = session.get(&url).timeout(seconds(30));
    let request = if own.is_some() { request.stale_if_error(own) } else { request };
    if !matches!(failure, Failure::TooSlow) {
        return request.send().await;
    }
    let time = StillTime::begin();
    let answered = tokio::spawn(request.send());
    gate.arrived(1).await;
    time.pass(seconds(31)).await;
    answered.await.unwrap()
}

/// Case 168, features 117 to 120: within the window, by header or by setting, what is stored answers for an origin that
/// refuses, resets, says nothing or nonsense, takes too long, or answers 500, 502, 503 or 504.
#[tokio::test]
async fn stale_is_served_instead_of_an_error() {
    let by_header = ("max-age=60, stale-if-error=60", Settings::default(), None);
    let by_setting = ("max-age=60", Settings::default().stale_if_error(MINUTE), None);
    let by_request = ("max-age=60", Settings::default(), Some(MINUTE));
    for failure in FAILURES {
        for (header, settings, own) in [by_header.clone(), by_setting.clone(), by_request.clone()] {
            let response = ask_when_failing(failure, header, settings, own).await.unwrap();
            let info = response.cache_info().unwrap().clone();
            assert_eq!((info.outcome, info.reason), (Outcome::Stale, Reason::StaleIfError), "{failure:?}");
            assert!(response.is_stale());
            assert_eq!((response.status().as_u16(), response.text().await.unwrap()), (200, "old".to_owned()));
        }
    }
}

/// Case 168: after the window, and for other statuses, the caller gets what happened.
#[tokio::test]
async fn outside_the_window_the_error_is_the_answer() {
    for failure in FAILURES {
        for cache_control in ["max-age=60, stale-if-error=30", "max-age=60"] {
            match (failure, ask_when_failing(failure, cache_control, Settings::default(), None).await) {
                (Failure::Status(code), Ok(response)) => {
                    assert_eq!((response.status().as_u16(), outcome(&response)), (code, Outcome::Miss));
                }
                (Failure::Refused, Err(error)) => assert_eq!(error.kind(), ErrorKind::Connect),
                (Failure::TooSlow, Err(error)) => assert_eq!(error.kind(), ErrorKind::Timeout),
                (Failure::Reset | Failure::NoAnswer | Failure::Nonsense, Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Transport);
                }
                (failure, other) => panic!("{failure:?}: {other:?}"),
            }
        }
    }
    for status in [400, 404, 429, 501, 505] {
        let settings = Settings::default().stale_if_error(MINUTE);
        let response = ask_when_failing(Failure::Status(status), "max-age=60", settings, None).await.unwrap();
        assert_eq!((response.status().as_u16(), outcome(&response)), (status, Outcome::Miss));
    }
}

/// Case 167: what forbids serving stale is stronger than every window, wherever the window comes from.
#[tokio::test]
async fn strict_directives_are_stronger_than_windows() {
    let windows = "stale-if-error=600, stale-while-revalidate=600";
    let settings = || Settings::default().stale_if_error(10 * MINUTE).stale_while_revalidate(10 * MINUTE);
    for (strict, shared, forbidden) in [
        ("must-revalidate", false, true),
        ("Must-Revalidate", true, true),
        ("no-cache", false, true),
        ("proxy-revalidate", true, true),
        ("proxy-revalidate", false, false),
        ("s-maxage=60", true, true),
        ("s-maxage=60", false, false),
        ("x=must-revalidate", false, false),
    ] {
        let cache_control = format!("max-age=60, {strict}, {windows}");
        let origin = Origin::scripted().await;
        let first = Answer::ok("old").header("cache-control", &cache_control).header("etag", "\"1\"");
        origin.on("/", [first, Answer::status(503)]);
        let (session, clock) = with_settings(settings().shared(shared));
        let url = origin.url("/");
        get(&session, &url, &[]).await;
        clock.advance(2 * MINUTE);
        let seen = get(&session, &url, &[("cache-control", "max-stale=600")]).await;
        assert_eq!(seen.status == 503, forbidden, "max-stale: {strict}, shared: {shared}");
        let seen = get(&session, &url, &[]).await;
        assert_eq!(seen.status == 503, forbidden, "windows: {strict}, shared: {shared}");
        eventually("the refresh is over", || session.layer().in_flight() == 0).await;
        if forbidden {
            let (own, cc) = (Some(10 * MINUTE), &cache_control);
            let settings = settings().shared(shared);
            assert!(ask_when_failing(Failure::Refused, cc, settings, own).await.is_err(), "{strict}");
        }
    }
}

/// Case 167 from the other side: who asks for `no-cache` is not served what is stale.
#[tokio::test]
async fn who_insists_on_the_origin_is_not_served_stale() {
    let origin = Origin::scripted().await;
    let first = Answer::ok("old").header("cache-control", "max-age=60, stale-if-error=600, stale-while-revalidate=600");
    origin.on("/", [first, Answer::status(503)]);
    let (session, clock) = session();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    clock.advance(2 * MINUTE);
    for headers in [("cache-control", "no-cache"), ("pragma", "no-cache")] {
        assert_eq!(get(&session, &url, &[headers]).await.status, 503, "{headers:?}");
    }
    let response = session.get(&url).mode(Mode::NoCache).send().await.unwrap();
    assert_eq!(response.status(), 503);
    // `max-age` asks for no refresh in the background, but accepts what is stored instead of an error.
    let seen = get(&session, &url, &[("cache-control", "max-age=100")]).await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Stale, Reason::StaleIfError));
}

/// Case 198: an answer that has grown old while its body was on its way is not given to who comes later.
#[tokio::test]
async fn an_answer_that_grew_old_on_its_way_is_not_shared() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    let slow = Answer::ok("first, ").gate(&gate).chunk("second").header("cache-control", "max-age=60");
    origin.on("/", [slow, Answer::ok("new").header("cache-control", "max-age=60")]);
    let (session, clock) = session();
    let url = origin.url("/");
    let first = session.get(&url).send().await.unwrap();
    clock.advance(MINUTE - seconds(1));
    let second = session.get(&url).send().await.unwrap();
    assert_eq!(outcome(&second), Outcome::Coalesced);
    clock.advance(seconds(1));
    assert_eq!(get(&session, &url, &[]).await.text, "new");
    gate.open();
    assert_eq!(first.text().await.unwrap(), "first, second");
    assert_eq!(second.text().await.unwrap(), "first, second");
}

/// Case 168 for those who wait for another's exchange: each has its own time, and who has more goes on.
#[tokio::test]
async fn who_runs_out_of_time_takes_nobody_along() {
    for stale_if_error in [false, true] {
        let origin = Origin::scripted().await;
        let gate = Gate::new();
        let window = if stale_if_error { "max-age=60, stale-if-error=600" } else { "max-age=60" };
        let answer = |body: &'static str| Answer::ok(body).header("cache-control", window).header("etag", "\"1\"");
        origin.on("/", [answer("old"), answer("new").after(&gate)]);
        let (session, clock) = session();
        let url = origin.url("/");
        get(&session, &url, &[]).await;
        clock.advance(2 * MINUTE);
        let (time, hurried) = (StillTime::begin(), seconds(1));
        let leader = session.get(&url).timeout(hurried).send();
        let follower = async {
            origin.arrived(2).await;
            session.get(&url).timeout(hurried).send().await
        };
        let patient = async {
            origin.arrived(2).await;
            get(&session, &url, &[]).await
        };
        let both = async {
            let both = tokio::join!(leader, follower);
            gate.open();
            both
        };
        let passing = async {
            origin.arrived(2).await;
            // By now both wait for the leader.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            time.pass(2 * hurried).await;
        };
        let ((leader, follower), patient, ()) = tokio::join!(both, patient, passing);
        for hurried in [leader, follower] {
            match (stale_if_error, hurried) {
                (true, Ok(response)) => assert_eq!(outcome(&response), Outcome::Stale),
                (false, Err(error)) => assert_eq!(error.kind(), ErrorKind::Timeout),
                (_, other) => panic!("{other:?}"),
            }
        }
        assert_eq!(patient.text, "new");
        eventually("all is quiet", || session.layer().in_flight() == 0).await;
    }
}

/// A refresh in the background carries no body and the caller's own headers.
#[tokio::test]
async fn a_refresh_asks_as_its_caller_did() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("cache-control", "max-age=60, stale-while-revalidate=60");
    origin.on("/", answer.header("vary", "x-lang").etag("\"1\""));
    let (session, clock) = session();
    let url = origin.url("/");
    get(&session, &url, &[("x-lang", "de")]).await;
    clock.advance(MINUTE + seconds(1));
    assert_eq!(get(&session, &url, &[("x-lang", "de"), ("x-other", "1")]).await.outcome(), Outcome::Stale);
    eventually("the refresh is over", || origin.count() == 2 && session.layer().in_flight() == 0).await;
    let refresh: Recorded = origin.requests().pop().unwrap();
    assert_eq!(
        (refresh.header("x-lang"), refresh.header("x-other"), refresh.header("if-none-match")),
        (Some("de"), Some("1"), Some("\"1\""))
    );
}
