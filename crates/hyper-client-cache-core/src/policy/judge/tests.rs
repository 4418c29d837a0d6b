//! What is served as it is, stale, or not.

use proptest::prelude::*;

use super::super::settings::Settings;
use super::super::testing::{Exchange, RESTRICTIONS, cache_control_lines, now, seconds};
use super::*;
use crate::cache::{Freshness, LifetimeSource};

fn stored(cache_control: &str) -> ResponseRecord {
    Exchange::new(&[("cache-control", cache_control), ("etag", "\"a\"")]).record()
}

fn plain() -> Exchange {
    Exchange::new(&[])
}

fn asking(cache_control: &str) -> Exchange {
    plain().sent(&[("cache-control", cache_control)])
}

fn mode(mode: Mode) -> Exchange {
    plain().request(|all| all.mode(mode))
}

const fn stale(reason: Reason, refresh: bool) -> Judgement {
    Judgement::ServeStale { reason, refresh }
}

fn expired(by: u64) -> Judgement {
    Judgement::Revalidate(Reason::Expired { by: seconds(by) })
}

#[test]
fn a_response_is_fresh_until_its_lifetime_ends() {
    let record = stored("max-age=60");
    assert_eq!(plain().judge(&record, seconds(0)), Judgement::Fresh);
    assert_eq!(plain().judge(&record, seconds(59)), Judgement::Fresh);
    assert_eq!(plain().judge(&record, seconds(60)), expired(0));
    assert_eq!(plain().judge(&record, seconds(90)), expired(30));
    let forever = Exchange::new(&[]).record();
    assert_eq!(plain().judge(&forever, seconds(1 << 40)), Judgement::Fresh);
}

/// Case 161: a moment before the response was received makes nothing fresh.
#[test]
fn a_clock_set_back_makes_nothing_fresh() {
    for record in [stored("max-age=60, stale-while-revalidate=60, stale-if-error=60"), Exchange::new(&[]).record()] {
        for exchange in [plain(), asking("max-stale"), mode(Mode::ReadOnly)] {
            let before = now() - seconds(1);
            let judgement = judge(&exchange.lookup(), &record, before);
            assert_eq!(judgement, Judgement::Revalidate(Reason::ClockSetBack));
            let failing = exchange.with(|all| all.stale_if_error(seconds(60)));
            assert!(!serve_on_error(&failing.lookup(), &record, before));
        }
    }
}

/// Case 162: a clock that jumped ahead and back finds what it left.
#[test]
fn a_clock_that_jumps_ahead_and_back_recovers() {
    let record = stored("max-age=60");
    assert!(matches!(plain().judge(&record, seconds(315_576_000)), Judgement::Revalidate(Reason::Expired { .. })));
    assert_eq!(plain().judge(&record, seconds(30)), Judgement::Fresh);
}

/// Features 81 and 89: `no-cache` of either side.
#[test]
fn no_cache_asks_the_origin() {
    assert_eq!(
        plain().judge(&stored("max-age=60, no-cache"), seconds(0)),
        Judgement::Revalidate(Reason::ResponseNoCache)
    );
    let record = stored("max-age=60");
    assert_eq!(asking("no-cache").judge(&record, seconds(0)), Judgement::Revalidate(Reason::RequestNoCache));
    assert_eq!(mode(Mode::NoCache).judge(&record, seconds(0)), Judgement::Revalidate(Reason::Mode));
}

/// Feature 91.
#[test]
fn a_request_limits_the_age() {
    let record = stored("max-age=60");
    assert_eq!(asking("max-age=30").judge(&record, seconds(30)), Judgement::Fresh);
    assert_eq!(asking("max-age=30").judge(&record, seconds(31)), Judgement::Revalidate(Reason::RequestMaxAge));
    assert_eq!(asking("max-age=0").judge(&record, seconds(0)), Judgement::Revalidate(Reason::RequestMaxAge));
    // It never makes a response last longer.
    assert_eq!(asking("max-age=600").judge(&record, seconds(61)), expired(1));
}

/// Feature 92.
#[test]
fn a_request_asks_for_freshness_left_or_accepts_staleness() {
    let record = stored("max-age=60");
    assert_eq!(asking("min-fresh=30").judge(&record, seconds(30)), Judgement::Fresh);
    assert_eq!(asking("min-fresh=30").judge(&record, seconds(31)), Judgement::Revalidate(Reason::RequestMinFresh));
    assert_eq!(asking("min-fresh=x").judge(&record, seconds(0)), Judgement::Revalidate(Reason::RequestMinFresh));
    let accepted = stale(Reason::RequestMaxStale, false);
    assert_eq!(asking("max-stale").judge(&record, seconds(1 << 40)), accepted);
    assert_eq!(asking("max-stale=30").judge(&record, seconds(90)), accepted);
    assert_eq!(asking("max-stale=30").judge(&record, seconds(91)), expired(31));
    assert_eq!(asking("max-stale=0").judge(&record, seconds(60)), expired(0));
    // Both together: at most 10 + 30 seconds old, but still fresh by the origin.
    assert_eq!(asking("max-age=10, max-stale=30").judge(&record, seconds(40)), Judgement::Fresh);
    assert_eq!(
        asking("max-age=10, max-stale=30").judge(&record, seconds(41)),
        Judgement::Revalidate(Reason::RequestMaxAge)
    );
    assert_eq!(asking("max-age=10, max-stale=30").judge(&record, seconds(61)), expired(1));
    let forever = Exchange::new(&[]).record();
    assert_eq!(asking("min-fresh=30").judge(&forever, seconds(1 << 40)), Judgement::Fresh);
}

/// Feature 79, RFC 8246: a reload does not ask about what is immutable; an explicit `no-cache` does.
#[test]
fn a_reload_of_what_is_immutable_asks_nobody_while_it_is_fresh() {
    let record = stored("max-age=60, immutable");
    assert_eq!(asking("max-age=0").judge(&record, seconds(30)), Judgement::Fresh);
    assert_eq!(asking("max-age=5").judge(&record, seconds(30)), Judgement::Revalidate(Reason::RequestMaxAge));
    assert_eq!(asking("no-cache").judge(&record, seconds(30)), Judgement::Revalidate(Reason::RequestNoCache));
    assert_eq!(plain().judge(&record, seconds(61)), expired(1));
}

/// Feature 121: header, session option, request option, the nearer one first.
#[test]
fn stale_is_served_while_it_is_refreshed() {
    let served = stale(Reason::StaleWhileRevalidate, true);
    let record = stored("max-age=60, stale-while-revalidate=30");
    assert_eq!(plain().judge(&record, seconds(89)), served);
    assert_eq!(plain().judge(&record, seconds(90)), expired(30));
    let session = plain().with(|all| all.stale_while_revalidate(seconds(100)));
    assert_eq!(session.judge(&record, seconds(90)), expired(30));
    assert_eq!(session.judge(&stored("max-age=60"), seconds(90)), served);
    let request = session.request(|all| all.stale_while_revalidate(seconds(10)));
    assert_eq!(request.judge(&stored("max-age=60"), seconds(69)), served);
    assert_eq!(request.judge(&stored("max-age=60"), seconds(70)), expired(10));
    // What comes would not be written.
    assert_eq!(mode(Mode::ReadOnly).judge(&record, seconds(70)), stale(Reason::StaleWhileRevalidate, false));
    // A request that limits the age does not accept what is stale.
    for limit in ["max-age=600", "min-fresh=0", "max-stale=1"] {
        assert_eq!(asking(limit).judge(&record, seconds(70)), expired(10), "{limit}");
    }
    assert_eq!(plain().judge(&stored("max-age=60, stale-while-revalidate=x"), seconds(60)), expired(0));
}

/// Case 167: a strict directive wins over every window and every leave to serve stale.
#[test]
fn strict_directives_win() {
    let windows = "max-age=60, stale-while-revalidate=600, stale-if-error=600";
    for (strict, shared) in [
        ("must-revalidate", false),
        ("no-cache", false),
        ("must-revalidate", true),
        ("proxy-revalidate", true),
        ("s-maxage=60", true),
        ("s-maxage=x", true),
    ] {
        let mut exchange = Exchange::new(&[("cache-control", &format!("{windows}, {strict}")), ("etag", "\"a\"")]);
        exchange.settings.shared = shared;
        let record = exchange.record();
        for asked in ["max-stale", "max-stale=100", "stale-if-error=600", "x"] {
            let mut asking = asking(asked)
                .with(|all| all.stale_while_revalidate(seconds(600)).stale_if_error(seconds(600)))
                .request(|all| all.stale_while_revalidate(seconds(600)).stale_if_error(seconds(600)));
            asking.settings.shared = shared;
            let judgement = asking.judge(&record, seconds(61));
            assert!(matches!(judgement, Judgement::Revalidate(_)), "{strict} {asked} {judgement:?}");
            assert!(!asking.serves_on_error(&record, seconds(61)), "{strict} {asked}");
            asking.request.mode = Some(Mode::ForceCache);
            assert!(matches!(asking.judge(&record, seconds(61)), Judgement::Revalidate(_)), "{strict} {asked}");
        }
    }
    // In a private cache those for shared ones mean nothing.
    let record = stored("max-age=60, stale-while-revalidate=600, proxy-revalidate, s-maxage=60");
    assert!(matches!(plain().judge(&record, seconds(61)), Judgement::ServeStale { .. }));
}

/// Case 168 and features 117 to 120 (the pure side).
#[test]
fn stale_is_served_instead_of_an_error_within_the_window() {
    let record = stored("max-age=60, stale-if-error=30");
    assert!(plain().serves_on_error(&record, seconds(89)));
    assert!(!plain().serves_on_error(&record, seconds(90)));
    assert!(!plain().serves_on_error(&stored("max-age=60"), seconds(61)));
    let session = plain().with(|all| all.stale_if_error(seconds(100)));
    assert!(session.serves_on_error(&stored("max-age=60"), seconds(159)));
    assert!(!session.serves_on_error(&record, seconds(90)));
    let request = session.clone().request(|all| all.stale_if_error(seconds(10)));
    assert!(!request.serves_on_error(&record, seconds(70)));
    let header = asking("stale-if-error=5").request(|all| all.stale_if_error(seconds(600)));
    assert!(header.serves_on_error(&record, seconds(64)));
    assert!(!header.serves_on_error(&record, seconds(65)));
    // Who asks for a confirmed answer does not get another.
    for mut exchange in [asking("no-cache"), mode(Mode::NoCache)] {
        exchange.settings = session.settings.clone();
        assert!(!exchange.serves_on_error(&record, seconds(0)));
    }
    // Fresh, but not fresh enough for the request.
    assert!(asking("min-fresh=50, stale-if-error=5").serves_on_error(&stored("max-age=60"), seconds(30)));
}

#[test]
fn force_cache_ignores_age() {
    assert_eq!(mode(Mode::ForceCache).judge(&stored("max-age=60"), seconds(30)), Judgement::Fresh);
    assert_eq!(mode(Mode::ForceCache).judge(&stored("max-age=60"), seconds(1 << 40)), stale(Reason::Mode, false));
    let back = judge(&mode(Mode::ForceCache).lookup(), &stored("max-age=60"), now() - seconds(5));
    assert_eq!(back, stale(Reason::Mode, false));
}

/// Feature 93: what the origin would have to be asked about is no answer.
#[test]
fn only_if_cached_never_asks_the_origin() {
    for exchange in [asking("only-if-cached"), mode(Mode::OnlyIfCached)] {
        let record = stored("max-age=60, stale-while-revalidate=30");
        assert_eq!(exchange.judge(&record, seconds(30)), Judgement::Fresh);
        assert_eq!(exchange.judge(&record, seconds(200)), Judgement::Unusable(Reason::Expired { by: seconds(140) }));
        let stale_served = exchange.judge(&record, seconds(70));
        assert_eq!(stale_served, stale(Reason::StaleWhileRevalidate, false));
        assert_eq!(
            exchange.judge(&stored("max-age=60, no-cache"), seconds(0)),
            Judgement::Unusable(Reason::ResponseNoCache)
        );
    }
    assert_eq!(
        asking("only-if-cached, max-stale").judge(&stored("max-age=60"), seconds(99)),
        stale(Reason::RequestMaxStale, false)
    );
}

/// Whether an answer with these `Cache-Control` lines may be served later without asking the origin.
fn is_served(lines: &[Vec<u8>], settings: &Settings, resident: Duration) -> bool {
    let mut exchange = Exchange::new(&[("etag", "\"a\"")]);
    exchange.settings = settings.clone();
    for line in lines {
        if let Ok(line) = http::HeaderValue::from_bytes(line) {
            exchange.received.append(http::header::CACHE_CONTROL, line);
        }
    }
    exchange.admit().is_ok()
        && matches!(exchange.judge(&exchange.record(), resident), Judgement::Fresh | Judgement::ServeStale { .. })
}

proptest! {
    /// Cases 13 to 21 as a whole: a line more that restricts never lets more be served.
    #[test]
    fn a_restriction_more_never_lets_more_be_served(
        lines in cache_control_lines(), which in 0..RESTRICTIONS.len(), first: bool,
        shared: bool, after in prop::option::of(0_u64..200), window in prop::option::of(0_u64..200),
        resident in 0_u64..400,
    ) {
        let mut settings = Settings::default().shared(shared).stale_while_revalidate(window.map(seconds));
        if let Some(after) = after {
            settings = settings.expire_after(seconds(after));
        }
        let mut more = lines.clone();
        more.insert(if first { 0 } else { more.len() }, RESTRICTIONS[which].into());
        let resident = seconds(resident);
        prop_assert!(is_served(&more, &settings, resident) <= is_served(&lines, &settings, resident));
    }

    /// Case 163: no clock and no duration overflows anything, and what is stale is never called fresh.
    #[test]
    fn any_moment_and_duration_can_be_judged(
        received in any::<i64>(), at in any::<i64>(),
        initial in any::<u64>(), lifetime in prop::option::of(any::<u64>()),
        asked in prop::option::of(any::<u64>()), window in prop::option::of(any::<u64>()),
    ) {
        let moment = |millis: i64| crate::clock::from_millis(millis);
        let mut freshness =
            Freshness::new(moment(received), lifetime.map(Duration::from_secs), LifetimeSource::MaxAge);
        freshness.initial_age = Duration::from_secs(initial);
        freshness.stale_while_revalidate = window.map(Duration::from_secs);
        let mut record = stored("max-age=60");
        record.freshness = freshness;
        let mut lookup = plain().lookup();
        lookup.directives.max_age = asked.map(Duration::from_secs);
        lookup.directives.max_stale = window.map(Duration::from_secs);
        lookup.directives.min_fresh = asked.map(Duration::from_secs);
        let judgement = judge(&lookup, &record, moment(at));
        let _ = serve_on_error(&lookup, &record, moment(at));
        let _ = record.freshness.expires();
        if moment(at) < moment(received) {
            prop_assert_eq!(judgement, Judgement::Revalidate(Reason::ClockSetBack));
        }
        if judgement == Judgement::Fresh {
            let age = record.freshness.age(moment(at)).unwrap();
            prop_assert!(record.freshness.lifetime.is_none_or(|lifetime| age < lifetime));
        }
    }
}
