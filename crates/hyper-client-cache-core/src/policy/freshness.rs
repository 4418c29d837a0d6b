//! Age and lifetime (RFC 9111 section 4.2): the arithmetic, which can overflow for no input.
//!
//! Read next: [`vary`](super::vary).

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
