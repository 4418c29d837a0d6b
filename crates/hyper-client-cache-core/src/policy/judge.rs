//! Whether what is stored may be served: fresh, stale but acceptable, to be revalidated, or not at all
//! (RFC 9111 section 4.2, RFC 5861, RFC 8246).
//!
//! Read next: `admit`.

use std::time::{Duration, SystemTime};

use super::plan::Lookup;
use super::reason::Reason;
use super::settings::Mode;
use crate::cache::ResponseRecord;

/// What may be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Judgement {
    /// Serve it.
    Fresh,
    /// Serve it although it is past its freshness.
    #[non_exhaustive]
    ServeStale {
        /// What permits that.
        reason: Reason,
        /// Whether to refresh it in the background: not where the request writes nothing or the origin is not to be asked.
        refresh: bool,
    },
    /// Ask the origin first: with the stored validators where there are any, else in full.
    Revalidate(Reason),
    /// It cannot be served, and the origin is not to be asked.
    Unusable(Reason),
}

/// Decides whether `record` answers a request at `now`.
///
/// A plain request for a response that is fresh costs a few comparisons and allocates nothing.
#[must_use]
pub fn judge(lookup: &Lookup, record: &ResponseRecord, now: SystemTime) -> Judgement {
    let freshness = &record.freshness;
    let age = freshness.age(now);
    let fresh = age.is_some_and(|age| freshness.lifetime.is_none_or(|lifetime| age < lifetime));
    if fresh && !freshness.no_cache && lookup.accepts_fresh() {
        return Judgement::Fresh;
    }
    if lookup.effective.offline {
        // Whatever there is, because nothing else can be had.
        return match fresh {
            true => Judgement::Fresh,
            false => Judgement::ServeStale { reason: Reason::SettingOffline, refresh: false },
        };
    }
    match weigh(lookup, record, age) {
        // That the origin is not to be asked is no error of the origin's. But who has set that stale will do rather than
        // an error will have it rather than a 504.
        Judgement::Revalidate(_)
            if lookup.only_if_cached
                && lookup.effective.stale_if_error.is_set()
                && serve_on_error(lookup, record, now) =>
        {
            Judgement::ServeStale { reason: Reason::StaleIfError, refresh: false }
        }
        Judgement::Revalidate(reason) if lookup.only_if_cached => Judgement::Unusable(reason),
        Judgement::ServeStale { reason, .. } if lookup.only_if_cached => {
            Judgement::ServeStale { reason, refresh: false }
        }
        judgement => judgement,
    }
}

fn weigh(lookup: &Lookup, record: &ResponseRecord, age: Option<Duration>) -> Judgement {
    let (asked, freshness) = (&lookup.directives, &record.freshness);
    let mode = lookup.effective.mode;
    if mode == Mode::NoCache {
        return Judgement::Revalidate(Reason::Mode);
    }
    if asked.no_cache {
        return Judgement::Revalidate(Reason::RequestNoCache);
    }
    if freshness.no_cache {
        return Judgement::Revalidate(Reason::ResponseNoCache);
    }
    if lookup.revalidates() {
        return Judgement::Revalidate(Reason::SettingAlwaysRevalidate);
    }
    let forced = mode == Mode::ForceCache && !freshness.must_revalidate;
    let Some(age) = age else {
        // Case 161: an age that is not known may be any, so that no window for serving stale can be measured either.
        return if forced {
            Judgement::ServeStale { reason: Reason::Mode, refresh: false }
        } else {
            Judgement::Revalidate(Reason::ClockSetBack)
        };
    };
    let over = freshness.lifetime.and_then(|lifetime| age.checked_sub(lifetime));
    let (excess, reason) = match shortfall(lookup, record, age) {
        None => return Judgement::Fresh,
        Some(found) => found,
    };
    if forced {
        return match over {
            None => Judgement::Fresh,
            Some(_) => Judgement::ServeStale { reason: Reason::Mode, refresh: false },
        };
    }
    if over.is_some() && freshness.must_revalidate {
        return Judgement::Revalidate(Reason::ResponseMustRevalidate);
    }
    if asked.max_stale.is_some_and(|accepted| excess <= accepted && !accepted.is_zero()) {
        return match over {
            None => Judgement::Fresh,
            Some(_) => Judgement::ServeStale { reason: Reason::RequestMaxStale, refresh: false },
        };
    }
    // A request that limits the age itself does not accept a stale response (RFC 9111 section 5.2.1.1).
    if let Reason::Expired { by } = reason
        && asked.max_age.is_none()
        && asked.min_fresh.is_none()
        && asked.max_stale.is_none()
    {
        let window = lookup.effective.stale_while_revalidate.window(freshness.stale_while_revalidate);
        if by < window {
            return Judgement::ServeStale { reason: Reason::StaleWhileRevalidate, refresh: lookup.write };
        }
    }
    Judgement::Revalidate(reason)
}

/// By how much the response misses what is asked of it, and what asks; `None` where it is all that is asked.
fn shortfall(lookup: &Lookup, record: &ResponseRecord, age: Duration) -> Option<(Duration, Reason)> {
    let (asked, freshness) = (&lookup.directives, &record.freshness);
    let left = freshness.lifetime.map(|lifetime| lifetime.checked_sub(age).filter(|left| !left.is_zero()));
    if left == Some(None) {
        let by = age.saturating_sub(freshness.lifetime.unwrap_or_default());
        // `max-stale` also measures against the age that the request accepts.
        let excess = asked.max_age.map_or(by, |limit| by.max(age.saturating_sub(limit)));
        return Some((excess, Reason::Expired { by }));
    }
    if let Some(limit) = asked.max_age {
        // RFC 8246: a reload (`max-age=0`) of what is fresh and immutable is not worth a request.
        let reload = limit.is_zero() && freshness.immutable;
        if (age > limit || limit.is_zero()) && !reload {
            return Some((age.saturating_sub(limit), Reason::RequestMaxAge));
        }
    }
    match (asked.min_fresh, left.flatten()) {
        (Some(wanted), Some(left)) if left < wanted => Some((wanted.saturating_sub(left), Reason::RequestMinFresh)),
        _ => None,
    }
}

/// Whether `record` may be served at `now` instead of an error (RFC 5861 section 4). Which statuses count as one,
/// [`Settings::is_error`](super::Settings::is_error) says; no answer at all always does.
///
/// The request's `stale-if-error` decides, else its settings, else the response's, else the rule's, else the session's.
/// `no-cache`, `must-revalidate` and what implies it forbid it whatever they say (case 167).
#[must_use]
pub fn serve_on_error(lookup: &Lookup, record: &ResponseRecord, now: SystemTime) -> bool {
    let (asked, freshness, effective) = (&lookup.directives, &record.freshness, &lookup.effective);
    if asked.no_cache || effective.mode == Mode::NoCache || freshness.no_cache || freshness.must_revalidate {
        return false;
    }
    let by_settings = || effective.stale_if_error.window(freshness.stale_if_error);
    let window = asked.stale_if_error.unwrap_or_else(by_settings);
    let Some(age) = freshness.age(now) else {
        return false;
    };
    let over = freshness.lifetime.map_or(Duration::ZERO, |lifetime| age.saturating_sub(lifetime));
    over < window
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // an overflow would fail the test
mod tests;
