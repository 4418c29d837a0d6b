//! How long a response is fresh by its own headers, and how old it is (RFC 9111 section 4.2).

use std::time::{Duration, UNIX_EPOCH};

use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::policy::{Outcome, Reason, Settings, Storing};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin, Recorded};

use super::{builder, get, is_stored, session, with_settings};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
