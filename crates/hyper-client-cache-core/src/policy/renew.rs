//! New lifetimes for what is stored, without asking the origin: because it is used, or because somebody says so.
//!
//! Read next: `revalidate`.

use std::time::{Duration, SystemTime};

use super::directives::ResponseDirectives;
use super::freshness::set_lifetime;
use super::headers::has_validator;
use super::lifetime::retain_until;
use super::plan::Lookup;
use super::settings::{Effective, ExpireAfter, RequestSettings, Settings};
use crate::cache::{BodyPlace, LifetimeSource, ResponseRecord};

/// A stored response with another lifetime. Its body stays.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Renewed {
    /// The new head.
    pub record: ResponseRecord,
    /// The new deadline; `None`: none. Never past that of a body in parts.
    pub retain_until: Option<SystemTime>,
}

/// The stored response with its lifetime counted from `now` once more, because it has just been used; `None` where that
/// is not wanted, or would gain too little for a write ([`Settings::sliding`]).
///
/// Only a lifetime that a setting has given is renewed, and only by the setting that holds for this request.
#[must_use]
pub fn slide(record: &ResponseRecord, lookup: &Lookup, settings: &Settings, now: SystemTime) -> Option<Renewed> {
    let step = settings.sliding?;
    let (effective, freshness) = (&lookup.effective, &record.freshness);
    let ExpireAfter::After(span) = effective.expire_after else { return None };
    let by_setting = match freshness.source {
        LifetimeSource::Session | LifetimeSource::Rule | LifetimeSource::Request => true,
        LifetimeSource::Forced => effective.force_ttl,
        _ => false,
    };
    if !by_setting || !lookup.write {
        return None;
    }
    let lifetime = freshness.age(now)?.checked_add(span)?;
    let gained = lifetime.checked_sub(freshness.lifetime?)?;
    if gained < step.min(span.checked_div(2).unwrap_or_default()) {
        return None;
    }
    let mut renewed = record.clone();
    renewed.freshness.lifetime = Some(lifetime);
    kept(renewed, settings, effective)
}

/// The stored response with the lifetime that `expire_after` gives it from `now` on, whatever its headers say; `None`
/// where it is of no use any more and is to be deleted.
///
/// What forbids serving it without revalidation still does. The lifetime counts as
/// [forced](LifetimeSource::Forced).
#[must_use]
pub fn expire_anew(
    record: &ResponseRecord,
    expire_after: ExpireAfter,
    settings: &Settings,
    now: SystemTime,
) -> Option<Renewed> {
    let mut renewed = record.clone();
    let headers = record.header_map();
    let directives = ResponseDirectives::parse(&headers);
    // Where the clock was set back the age is not known: then the least that it can be.
    let age = record.freshness.age(now).unwrap_or(record.freshness.initial_age);
    renewed.freshness.lifetime = match expire_after {
        ExpireAfter::DoNotStore => return None,
        // Counted from the response's own dates, not from now.
        ExpireAfter::Heuristic => {
            let received_at = record.freshness.received_at;
            set_lifetime(expire_after, &headers, record.status, &directives, received_at, record.freshness.initial_age)
                .unwrap_or(Some(Duration::ZERO))
        }
        _ => set_lifetime(expire_after, &headers, record.status, &directives, now, age)?,
    };
    renewed.freshness.source = LifetimeSource::Forced;
    let uri = record.url.parse().ok()?;
    let renewed = kept(renewed, settings, &Effective::of(settings, &RequestSettings::default(), &uri))?;
    // It may have been of no use for longer than it is kept.
    renewed.retain_until.is_none_or(|until| until > now).then_some(renewed)
}

fn kept(record: ResponseRecord, settings: &Settings, effective: &Effective) -> Option<Renewed> {
    let until = retain_until(&record.freshness, has_validator(&record.header_map()), settings, effective).ok()?;
    let retain_until = match &record.body {
        BodyPlace::Parts { retain_until: Some(parts), .. } => Some(until.map_or(*parts, |until| until.min(*parts))),
        _ => until,
    };
    Some(Renewed { record, retain_until })
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // an overflow would fail the test
mod tests {
    use super::super::testing::{Exchange, now, seconds};
    use super::*;

    fn sliding(exchange: Exchange) -> Exchange {
        exchange.with(|all| all.expire_after(seconds(60)).sliding(seconds(10)))
    }

    fn slid(exchange: &Exchange, resident: u64) -> Option<u64> {
        let renewed = slide(&exchange.record(), &exchange.lookup(), &exchange.settings, now() + seconds(resident))?;
        assert_eq!(renewed.retain_until, renewed.record.freshness.expires());
        Some(renewed.record.freshness.expires()?.duration_since(now()).unwrap().as_secs())
    }

    /// Feature 58.
    #[test]
    fn use_renews_a_lifetime_that_a_setting_gave() {
        let plain = || sliding(Exchange::new(&[]));
        assert_eq!(slid(&plain(), 9), None, "too little for a write");
        assert_eq!(slid(&plain(), 10), Some(70));
        assert_eq!(slid(&plain(), 59), Some(119));
        // A step that is longer than the lifetime still lets it be renewed.
        assert_eq!(slid(&plain().with(|all| all.sliding(seconds(3600))), 29), None);
        assert_eq!(slid(&plain().with(|all| all.sliding(seconds(3600))), 30), Some(90));
        assert_eq!(slid(&plain().with(|all| all.sliding(None)), 30), None);
        assert_eq!(slid(&plain().with(|all| all.expire_after(ExpireAfter::Never)), 30), None);
        assert_eq!(slid(&plain().request(|all| all.expire_after(seconds(100))), 30), Some(130));
        // The age that it came with is no part of the lifetime that a setting gives.
        assert_eq!(slid(&sliding(Exchange::new(&[("age", "500")])), 30), Some(90));
    }

    #[test]
    fn use_does_not_renew_what_headers_say() {
        assert_eq!(slid(&sliding(Exchange::new(&[("cache-control", "max-age=60")])), 30), None);
        let raised = Exchange::new(&[("cache-control", "max-age=1")]).with(|all| all.min_ttl(seconds(40)));
        assert_eq!(slid(&sliding(raised), 30), None);
        let forced = Exchange::new(&[("cache-control", "max-age=1")]).request(|all| all.force_ttl(true));
        assert_eq!(slid(&sliding(forced), 30), Some(90));
        let mut reading = sliding(Exchange::new(&[]));
        let record = reading.record();
        reading.request = reading.request.mode(super::super::Mode::ReadOnly);
        assert_eq!(slide(&record, &reading.lookup(), &reading.settings, now() + seconds(30)), None);
    }

    fn anew(exchange: &Exchange, expire_after: impl Into<ExpireAfter>, resident: u64) -> Option<Option<u64>> {
        let at = now() + seconds(resident);
        let renewed = expire_anew(&exchange.record(), expire_after.into(), &exchange.settings, at)?;
        assert_eq!(renewed.record.freshness.source, LifetimeSource::Forced);
        Some(renewed.record.freshness.expires().map(|expires| expires.duration_since(now()).unwrap().as_secs()))
    }

    /// Feature 69.
    #[test]
    fn what_is_stored_may_be_given_another_lifetime() {
        let plain = Exchange::new(&[("cache-control", "max-age=60"), ("age", "20")]);
        assert_eq!(anew(&plain, seconds(100), 30), Some(Some(130)));
        assert_eq!(anew(&plain, now() + seconds(100), 30), Some(Some(100)));
        assert_eq!(anew(&plain, ExpireAfter::Never, 30), Some(None));
        assert_eq!(anew(&plain, ExpireAfter::DoNotStore, 30), None);
        // It cannot be revalidated, so nothing is left of it.
        assert_eq!(anew(&plain, ExpireAfter::AT_ONCE, 30), None);
        assert_eq!(anew(&plain, now() + seconds(10), 30), None);
        assert_eq!(anew(&plain.with(|all| all.stale_if_error(true)), ExpireAfter::AT_ONCE, 30), Some(Some(30)));
        let tagged = Exchange::new(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]);
        assert_eq!(anew(&tagged, ExpireAfter::AT_ONCE, 30), Some(Some(30)));
        let changed = super::super::testing::date(-1000);
        let dated = Exchange::new(&[("cache-control", "max-age=60"), ("last-modified", &changed)]);
        assert_eq!(anew(&dated, ExpireAfter::Heuristic, 30), Some(Some(100)));
    }

    /// Case 161.
    #[test]
    fn a_clock_set_back_overflows_nothing() {
        let record = Exchange::new(&[("age", "20")]).record();
        let at = now() - seconds(500);
        let renewed = expire_anew(&record, ExpireAfter::After(Duration::MAX), &Settings::default(), at).unwrap();
        assert_eq!(renewed.retain_until, None);
        let exchange = sliding(Exchange::new(&[]));
        assert_eq!(slide(&exchange.record(), &exchange.lookup(), &exchange.settings, at), None);
    }
}
