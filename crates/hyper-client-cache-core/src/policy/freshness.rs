//! Age and lifetime (RFC 9111 section 4.2): the arithmetic, which can overflow for no input.
//!
//! Read next: `vary`.

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::directives::{MAX_DELTA, ResponseDirectives, delta_seconds};
use super::headers::{last_modified, parse_date};
use super::settings::ExpireAfter;
use crate::cache::LifetimeSource;

/// The longest heuristic lifetime: a day, after which the RFC used to ask for a warning (RFC 7234 section 5.5.4).
const MAX_HEURISTIC: Duration = Duration::from_secs(24 * 60 * 60);

/// The `corrected_initial_age` of RFC 9111 section 4.2.3.
///
/// An `Age` that is repeated or is no number of seconds counts as very old (case 110). A `Date` in the future counts
/// as the present (case 164).
pub(super) fn initial_age(headers: &HeaderMap, requested_at: SystemTime, received_at: SystemTime) -> Duration {
    let apparent = date(headers).and_then(|date| received_at.duration_since(date).ok()).unwrap_or_default();
    let delay = received_at.duration_since(requested_at).unwrap_or_default();
    apparent.max(age_value(headers).saturating_add(delay))
}

fn age_value(headers: &HeaderMap) -> Duration {
    let mut lines = headers.get_all(AGE).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Duration::ZERO,
        (Some(line), None) => delta_seconds(line.as_bytes()).unwrap_or(MAX_DELTA),
        (Some(_), Some(_)) => MAX_DELTA,
    }
}

/// When the origin made the response, as it says; the earliest where it says so more than once.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    headers.get_all(DATE).iter().filter_map(parse_date).min()
}

/// The lifetime that the headers give explicitly, counted in age (RFC 9111 section 4.2.1).
pub(super) fn explicit_lifetime(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    shared: bool,
    received_at: SystemTime,
) -> Option<(Duration, LifetimeSource)> {
    if shared && let Some(lifetime) = directives.s_maxage {
        return Some((lifetime, LifetimeSource::SMaxAge));
    }
    if let Some(lifetime) = directives.max_age {
        return Some((lifetime, LifetimeSource::MaxAge));
    }
    let base = date(headers).unwrap_or(received_at);
    // A date that is none has passed already (RFC 9111 section 5.3); of several the earliest counts.
    let lifetimes = headers
        .get_all(EXPIRES)
        .iter()
        .map(|line| parse_date(line).and_then(|expires| expires.duration_since(base).ok()).unwrap_or_default());
    lifetimes.min().map(|lifetime| (lifetime, LifetimeSource::Expires))
}

/// The lifetime that a setting gives; `Some(None)`: for ever; `None`: the setting gives none.
///
/// Settings count from when the response was received, a lifetime counts in age: the age that the response came with
/// is added.
pub(super) fn set_lifetime(
    setting: ExpireAfter,
    headers: &HeaderMap,
    status: StatusCode,
    directives: &ResponseDirectives,
    received_at: SystemTime,
    initial_age: Duration,
) -> Option<Option<Duration>> {
    match setting {
        ExpireAfter::Never => Some(None),
        ExpireAfter::After(lifetime) => Some(Some(lifetime.saturating_add(initial_age))),
        ExpireAfter::At(moment) => {
            Some(Some(moment.duration_since(received_at).unwrap_or_default().saturating_add(initial_age)))
        }
        ExpireAfter::Heuristic if is_heuristic(status) || directives.public => {
            heuristic_lifetime(headers, received_at).map(Some)
        }
        ExpireAfter::Heuristic | ExpireAfter::DoNotStore => None,
    }
}

/// A tenth of the time since the last change, at most a day (RFC 9111 section 4.2.2); nothing where that is not known
/// or lies after the response itself.
fn heuristic_lifetime(headers: &HeaderMap, received_at: SystemTime) -> Option<Duration> {
    let changed = parse_date(last_modified(headers.get_all(LAST_MODIFIED).iter())?)?;
    let unchanged_for = date(headers).unwrap_or(received_at).duration_since(changed).ok()?;
    unchanged_for.checked_div(10).map(|lifetime| lifetime.min(MAX_HEURISTIC))
}

/// Statuses that RFC 9110 section 15.1 calls heuristically cacheable.
fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // an overflow would fail the test
mod tests {
    use proptest::prelude::*;

    use super::super::settings::Settings;
    use super::super::testing::{Exchange, date, headers, now, seconds};
    use super::*;
    use crate::clock::from_millis;

    fn age(lines: &[(&str, &str)]) -> Duration {
        initial_age(&headers(lines), now(), now())
    }

    fn lifetime(lines: &[(&str, &str)]) -> Option<u64> {
        let headers = headers(lines);
        let found = explicit_lifetime(&headers, &ResponseDirectives::parse(&headers), false, now());
        found.map(|(lifetime, _)| lifetime.as_secs())
    }

    fn heuristic(lines: &[(&str, &str)]) -> Option<u64> {
        heuristic_lifetime(&headers(lines), now()).map(|lifetime| lifetime.as_secs())
    }

    /// Features 75 to 77.
    #[test]
    fn age_is_the_greater_of_what_the_sender_says_and_what_the_date_shows() {
        assert_eq!(age(&[]), Duration::ZERO);
        assert_eq!(age(&[("age", "30")]), seconds(30));
        assert_eq!(age(&[("age", "30"), ("date", &date(-50))]), seconds(50));
        let delayed = initial_age(&headers(&[("age", "30"), ("date", &date(-31))]), now() - seconds(2), now());
        assert_eq!(delayed, seconds(32));
    }

    /// Case 110: an `Age` that is no age is a great one.
    #[test]
    fn a_malformed_age_is_very_old() {
        for value in ["18446744073709551615", "184467440737095516150", "-1", "5, 5", "1.5", "", "x", " 5x", "\u{e9}"] {
            assert_eq!(age(&[("age", value)]), MAX_DELTA, "{value}");
        }
        assert_eq!(age(&[("age", "5"), ("age", "5")]), MAX_DELTA);
    }

    /// Case 164: a date in the future lengthens nothing.
    #[test]
    fn a_future_date_lengthens_nothing() {
        assert_eq!(age(&[("date", &date(3600))]), Duration::ZERO);
        assert_eq!(lifetime(&[("date", &date(3600)), ("expires", &date(3660))]), Some(60));
        assert_eq!(lifetime(&[("expires", &date(60))]), Some(60));
        // Older than what it describes.
        assert_eq!(heuristic(&[("date", &date(-100)), ("last-modified", &date(-50))]), None);
        assert_eq!(heuristic(&[("last-modified", &date(50))]), None);
    }

    /// Feature 73: `max-age` before `Expires`, `Expires` measured by the origin's own clock.
    #[test]
    fn max_age_wins_over_expires() {
        assert_eq!(lifetime(&[]), None);
        assert_eq!(lifetime(&[("cache-control", "max-age=5"), ("expires", &date(60))]), Some(5));
        assert_eq!(lifetime(&[("date", &date(-10)), ("expires", &date(50))]), Some(60));
    }

    /// Case 109 and feature 97: what is no date has passed; the old forms are dates.
    #[test]
    fn an_expiry_that_is_no_date_has_passed() {
        for value in [
            "0",
            "-1",
            "",
            "never",
            "Sun, 01 Aug 0000 00:00:00 GMT",
            "Sun, 01 Aug 10000 00:00:00 GMT",
            "Thu, 31 Dec 2026 23:59:60 GMT",
            "Sun, 01 Aug 2027 00:00:60 GMT",
            "Mon, 32 Aug 2027 00:00:00 GMT",
            "Sun, 01 Aug 2027 01:00:00 +0000",
            "\u{e9}",
        ] {
            assert_eq!(lifetime(&[("expires", value)]), Some(0), "{value}");
            assert_eq!(heuristic(&[("last-modified", value)]), None, "{value}");
            assert_eq!(age(&[("date", value)]), Duration::ZERO, "{value}");
        }
        assert_eq!(lifetime(&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")]).map(|far| far > 1 << 37), Some(true));
        assert_eq!(lifetime(&[("expires", "Sunday, 01-Aug-27 00:01:00 GMT")]), Some(60));
        assert_eq!(lifetime(&[("expires", "Sun Aug  1 00:01:00 2027")]), Some(60));
        assert_eq!(lifetime(&[("expires", &date(60)), ("expires", &date(30))]), Some(30));
        assert_eq!(lifetime(&[("expires", &date(60)), ("expires", "0")]), Some(0));
    }

    /// Feature 78.
    #[test]
    fn the_heuristic_is_a_tenth_of_the_time_unchanged_at_most_a_day() {
        assert_eq!(heuristic(&[]), None);
        assert_eq!(heuristic(&[("last-modified", &date(-1000))]), Some(100));
        assert_eq!(heuristic(&[("last-modified", &date(-1000)), ("date", &date(-500))]), Some(50));
        assert_eq!(heuristic(&[("last-modified", &date(-1_000_000_000))]), Some(86_400));
        let exchange = Exchange::new(&[("last-modified", &date(-1000))]).with(|_| Settings::rfc9111());
        let freshness = exchange.admit().unwrap().freshness;
        assert_eq!((freshness.lifetime, freshness.source), (Some(seconds(100)), LifetimeSource::Heuristic));
        // Without a date of change it is stale at once, and stored for its tag only.
        let tagged = Exchange::new(&[("etag", "\"a\"")]).with(|_| Settings::rfc9111());
        assert_eq!(tagged.lifetime(), Some(Duration::ZERO));
    }

    proptest! {
        /// Cases 109, 110 and 163: no header and no clock makes the arithmetic panic.
        #[test]
        fn any_headers_at_any_time_have_an_age_and_a_lifetime(
            sent in any::<i64>(), received in any::<i64>(), setting in any::<u64>(), until in any::<i64>(),
            values in prop::collection::vec((0..5_usize, prop::collection::vec(32..=255_u8, 0..32)), 0..5),
            dated in prop::option::of(0_i64..253_402_300_799),
        ) {
            const NAMES: [&str; 5] = ["age", "date", "expires", "last-modified", "cache-control"];
            let mut exchange = Exchange::new(&[]);
            for (name, value) in values {
                if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                    exchange.received.append(NAMES[name], value);
                }
            }
            if let Some(dated) = dated {
                let text = httpdate::fmt_http_date(from_millis(dated * 1000));
                for name in &NAMES[1..4] {
                    exchange.received.append(*name, text.parse().unwrap());
                }
            }
            exchange.requested_at = from_millis(sent);
            exchange.received_at = from_millis(received);
            for setting in [
                ExpireAfter::After(Duration::from_secs(setting)),
                ExpireAfter::At(from_millis(until)),
                ExpireAfter::Heuristic,
            ] {
                exchange.settings.expire_after = setting;
                exchange.settings.stale_if_error = Duration::from_secs(sent.unsigned_abs()).into();
                if let Ok(terms) = exchange.admit() {
                    let _ = terms.freshness.expires();
                    let _ = terms.freshness.age(from_millis(until));
                }
            }
        }
    }
}
