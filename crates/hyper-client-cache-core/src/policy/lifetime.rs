//! How long what is stored is good for, and how long it is kept: what headers give within the bounds of the settings, and
//! what the settings give where headers do not.
//!
//! Read next: `freshness` for the arithmetic.

use std::hash::Hasher as _;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use twox_hash::XxHash3_64;

use super::admit::Admit;
use super::directives::ResponseDirectives;
use super::freshness::set_lifetime;
use super::reason::Reason;
use super::settings::{Effective, ExpireAfter, Settings};
use crate::cache::{Freshness, LifetimeSource};

/// A lifetime that headers give, within the bounds that settings give. Those count from when the response was received.
pub(super) fn bounded(lifetime: Duration, initial_age: Duration, settings: &Settings) -> Duration {
    let counted = |bound: Duration| bound.saturating_add(initial_age);
    let raised = settings.min_ttl.map_or(lifetime, |min| lifetime.max(counted(min)));
    settings.max_ttl.map_or(raised, |max| raised.min(counted(max)))
}

/// `lifetime`, of which what is left is shortened by a part of the jitter that depends on the URL alone: without chance,
/// and spread over all that are stored.
pub(super) fn jittered(lifetime: Duration, initial_age: Duration, exchange: &Admit<'_>) -> Duration {
    const WHOLE: u128 = 1 << 20;
    // A cast of a float saturates; what is no number is 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let fraction = (exchange.settings.ttl_jitter.clamp(0.0, 1.0) * 1_048_576.0) as u128;
    let left = lifetime.saturating_sub(initial_age);
    if fraction == 0 || left.is_zero() {
        return lifetime;
    }
    let mut hash = XxHash3_64::new();
    hash.write(exchange.uri.authority().map_or(&b""[..], |authority| authority.as_str().as_bytes()));
    hash.write(exchange.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    let share = u128::from(hash.finish() >> 44);
    // At most 2^94 nanoseconds by 2^20: nothing overflows, and the quotient is at most the first factor.
    let millis = left.as_millis();
    let cut = millis.saturating_mul(fraction).saturating_mul(share) / (WHOLE * WHOLE);
    let cut = Duration::from_millis(u64::try_from(cut.min(millis)).unwrap_or(u64::MAX));
    lifetime.saturating_sub(cut)
}

/// The lifetime where the response's headers give none.
pub(super) fn chosen_lifetime(
    exchange: &Admit<'_>,
    by_status: Option<ExpireAfter>,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    initial_age: Duration,
) -> Result<Option<(Option<Duration>, LifetimeSource)>, Reason> {
    let effective = &exchange.lookup.effective;
    if let (Some(lifetime), false) = (exchange.lookup.directives.max_age, effective.force_ttl) {
        return Ok(Some((Some(lifetime), LifetimeSource::Request)));
    }
    let (setting, source) = match by_status {
        // The more so as a lifetime is meant for what was asked for, and an error is not.
        Some(by_status) if effective.source != LifetimeSource::Request => (by_status, LifetimeSource::Session),
        _ => (effective.expire_after, effective.source),
    };
    let source = match setting {
        ExpireAfter::DoNotStore => return Err(Reason::Setting),
        _ if effective.force_ttl => LifetimeSource::Forced,
        ExpireAfter::Heuristic => LifetimeSource::Heuristic,
        _ => source,
    };
    let lifetime = set_lifetime(setting, headers, status, directives, exchange.received_at, initial_age);
    let spread = |lifetime| match setting {
        ExpireAfter::At(_) => lifetime,
        _ => jittered(lifetime, initial_age, exchange),
    };
    Ok(lifetime.map(|lifetime| (lifetime.map(spread), source)))
}

/// The end of freshness plus the longest use after it; refused where there is no use at all.
pub(super) fn retain_until(
    freshness: &Freshness,
    has_validator: bool,
    settings: &Settings,
    effective: &Effective,
) -> Result<Option<SystemTime>, Reason> {
    if freshness.no_cache && !has_validator {
        // It could never be served: not without asking the origin, and the origin cannot be asked.
        return Err(Reason::ResponseNoCache);
    }
    let received_at = freshness.received_at;
    let expires = match (freshness.lifetime, freshness.expires()) {
        (None, _) => return Ok(None),
        // Past what the clock can express: as good as for ever.
        (Some(_), None) => return Ok(None),
        (Some(_), Some(expires)) => expires,
    };
    let may_be_stale = !freshness.must_revalidate && !freshness.no_cache;
    let window = if may_be_stale {
        let revalidating = effective.stale_while_revalidate.window(freshness.stale_while_revalidate);
        revalidating.max(effective.stale_if_error.window(freshness.stale_if_error))
    } else {
        Duration::ZERO
    };
    let Some(useful_until) = expires.checked_add(window) else {
        return Ok(None);
    };
    if !has_validator {
        return if useful_until > received_at { Ok(Some(useful_until)) } else { Err(Reason::StaleOnArrival) };
    }
    // What was stale when it came is kept for revalidation as long as what has just become stale.
    let base = expires.max(received_at);
    Ok(base.checked_add(settings.retain_stale).map(|until| until.max(useful_until)))
}
