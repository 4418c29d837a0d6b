//! What the cache did for one request, and what decided that: the value behind `Response::cache_info`, the tracing
//! event, the counters and the `Cache-Status` header (RFC 9211).
//!
//! Read next: [`Reason`], everything that can decide.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::reason::Reason;
use crate::cache::{LifetimeSource, ResponseRecord};
use crate::storage::CacheKey;

/// What the cache did for one request, and why.
///
/// Cheap to make and to clone: no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheInfo {
    /// What was done.
    pub outcome: Outcome,
    /// What decided that.
    pub reason: Reason,
    /// Whether the answer is being stored.
    pub storing: Storing,
    /// The key that was looked up; `None` where nothing was.
    pub key: Option<CacheKey>,
    /// When the stored response was received or last revalidated; `None` where none was used.
    pub created_at: Option<SystemTime>,
    /// The moment up to which the response is fresh; `None`: for ever, or nothing is stored.
    pub expires_at: Option<SystemTime>,
    /// The age of the stored response when it was served (RFC 9111 section 4.2.3).
    pub age: Option<Duration>,
    /// Whether the answer was past its freshness when it was served.
    pub is_stale: bool,
    /// Whether the origin confirmed the stored response for this request.
    pub revalidated: bool,
    /// What decided the lifetime; [`LifetimeSource::Forced`] where a setting overrode the headers.
    pub lifetime_source: Option<LifetimeSource>,
    /// The freshness left when the response was served, in whole seconds, negative where it is stale; `None`: for ever,
    /// or nothing is stored.
    pub ttl: Option<i64>,
}

impl CacheInfo {
    /// An outcome for which nothing stored was used.
    #[must_use]
    pub const fn new(outcome: Outcome, reason: Reason) -> Self {
        Self {
            outcome,
            reason,
            storing: Storing::Unchanged,
            key: None,
            created_at: None,
            expires_at: None,
            age: None,
            is_stale: false,
            revalidated: false,
            lifetime_source: None,
            ttl: None,
        }
    }

    /// An outcome for which `record` was used at `now`.
    #[must_use]
    pub fn of_record(outcome: Outcome, reason: Reason, record: &ResponseRecord, now: SystemTime) -> Self {
        Self { key: Some(record.key), ..Self::new(outcome, reason) }.with_freshness(record, now)
    }

    /// Takes key, dates and age from `record`, as they are at `now`.
    #[must_use]
    pub fn with_freshness(mut self, record: &ResponseRecord, now: SystemTime) -> Self {
        let freshness = &record.freshness;
        self.created_at = Some(freshness.received_at);
        self.expires_at = freshness.expires();
        self.age = freshness.age(now);
        self.ttl = self.expires_at.map(|expires| seconds_between(now, expires));
        self.is_stale = self.expires_at.is_some_and(|expires| expires <= now);
        self.revalidated = self.outcome == Outcome::Revalidated;
        self.lifetime_source = Some(freshness.source);
        self
    }

    /// Sets the [`key`](Self::key) that was looked up.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Option<CacheKey>>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets whether the answer is being [stored](Self::storing).
    #[must_use]
    pub fn with_storing(mut self, storing: Storing) -> Self {
        self.storing = storing;
        self
    }

    /// Whether the answer was got without a request of its own that fetched it in full: it was stored, was confirmed by
    /// the origin, or is shared with a request that was already on its way.
    #[must_use]
    pub fn from_cache(&self) -> bool {
        matches!(self.outcome, Outcome::Hit | Outcome::Revalidated | Outcome::Stale | Outcome::Coalesced)
    }

    /// Whether the response is past its freshness at `now`. One that is not stored, or good for ever, never is.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|expires| expires <= now)
    }

    /// The `Cache-Status` line (RFC 9211) for a cache of this name.
    ///
    /// It shows no key, because a key can tell two partitions apart. Characters of `cache_name` that the field cannot
    /// hold are left out. Where a setting has overridden the headers, the detail is the reason with `.forced-ttl`.
    #[must_use]
    pub fn cache_status(&self, cache_name: &str) -> HeaderValue {
        let mut line = structured_name(cache_name);
        match self.outcome {
            Outcome::Hit | Outcome::Stale => line.push_str("; hit"),
            Outcome::Revalidated => line.push_str("; fwd=stale; fwd-status=304"),
            Outcome::Bypass if matches!(self.reason, Reason::Method) => line.push_str("; fwd=method"),
            Outcome::Bypass => line.push_str("; fwd=bypass"),
            Outcome::Miss => line.push_str(self.reason.forward()),
            Outcome::Coalesced => {
                line.push_str(self.reason.forward());
                line.push_str("; collapsed");
            }
            // Neither served from the store nor forwarded: only the detail says why.
            Outcome::Offline => {}
        }
        if let Some(ttl) = self.ttl {
            // Writing to a string cannot fail.
            let _ = write!(line, "; ttl={ttl}");
        }
        if self.storing == Storing::Yes {
            line.push_str("; stored");
        }
        line.push_str("; detail=");
        line.push_str(self.reason.as_str());
        if self.lifetime_source == Some(LifetimeSource::Forced) {
            line.push_str(".forced-ttl");
        }
        HeaderValue::try_from(line).unwrap_or_else(|_| HeaderValue::from_static("cache"))
    }
}

/// What the cache did for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Answered from the store, fresh; the origin was not asked.
    Hit,
    /// Answered from the store after the origin confirmed it.
    Revalidated,
    /// Answered from the store although past its freshness.
    Stale,
    /// Fetched from the origin.
    Miss,
    /// Answered with what another request, already on its way, fetched.
    Coalesced,
    /// Fetched from the origin without looking at the store.
    Bypass,
    /// Nothing usable was stored and the origin was not to be asked: the answer is a 504 made here.
    Offline,
}

impl Outcome {
    /// The name in kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Revalidated => "revalidated",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::Bypass => "bypass",
            Self::Offline => "offline",
        }
    }
}

/// Whether an answer is being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Storing {
    /// The question did not arise: the store is as it was.
    Unchanged,
    /// It is stored, once its body has been read to the end.
    Yes,
    /// It is not, for this reason.
    No(Reason),
}

/// From `start` to `end` in whole seconds, rounded towards zero, negative where `end` is before `start`.
fn seconds_between(start: SystemTime, end: SystemTime) -> i64 {
    match end.duration_since(start) {
        Ok(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        Err(past) => i64::try_from(past.duration().as_secs()).map_or(i64::MIN, i64::saturating_neg),
    }
}

/// `name` as a token of RFC 8941 where it is one, else as its string.
fn structured_name(name: &str) -> String {
    let is_token = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | ':' | '/' | '*'));
    if is_token {
        return name.to_owned();
    }
    let mut quoted = String::with_capacity(name.len().saturating_add(2));
    quoted.push('"');
    for char in name.chars().filter(|char| matches!(char, ' '..='~')) {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // an overflow would fail the test
mod tests {
    use super::super::testing::{Exchange, now, seconds};
    use super::*;

    fn of(outcome: Outcome, reason: Reason, resident: u64) -> CacheInfo {
        let record = Exchange::new(&[("cache-control", "max-age=60"), ("age", "5")]).record();
        CacheInfo::of_record(outcome, reason, &record, now() + seconds(resident))
    }

    fn status(info: &CacheInfo) -> String {
        info.cache_status("Example").to_str().unwrap().to_owned()
    }

    #[test]
    fn a_hit_tells_when_it_was_made_and_how_long_it_lasts() {
        let info = of(Outcome::Hit, Reason::Fresh, 10);
        assert_eq!(info.created_at, Some(now()));
        assert_eq!(info.expires_at, Some(now() + seconds(55)));
        assert_eq!(info.age, Some(seconds(15)));
        assert_eq!(info.ttl, Some(45));
        assert_eq!(info.lifetime_source, Some(LifetimeSource::MaxAge));
        assert!(info.from_cache() && !info.is_stale && !info.revalidated);
        assert!(!info.is_expired(now() + seconds(54)));
        assert!(info.is_expired(now() + seconds(55)));
    }

    #[test]
    fn what_is_not_stored_does_not_expire() {
        let info = CacheInfo::new(Outcome::Miss, Reason::NotFound);
        assert!(!info.from_cache() && !info.is_expired(now() + seconds(1 << 40)));
        assert_eq!((info.age, info.key, info.ttl), (None, None, None));
    }

    #[test]
    fn from_cache_is_true_where_no_request_of_its_own_fetched_the_body() {
        for (outcome, from_cache) in [
            (Outcome::Hit, true),
            (Outcome::Revalidated, true),
            (Outcome::Stale, true),
            (Outcome::Coalesced, true),
            (Outcome::Miss, false),
            (Outcome::Bypass, false),
            (Outcome::Offline, false),
        ] {
            assert_eq!(CacheInfo::new(outcome, Reason::Mode).from_cache(), from_cache, "{outcome:?}");
        }
    }

    /// RFC 9211 section 2.
    #[test]
    fn the_header_says_what_the_value_says() {
        let miss = |reason| CacheInfo::new(Outcome::Miss, reason);
        for (info, line) in [
            (of(Outcome::Hit, Reason::Fresh, 10), "Example; hit; ttl=45; detail=fresh"),
            (of(Outcome::Stale, Reason::StaleIfError, 467), "Example; hit; ttl=-412; detail=stale-if-error"),
            (
                of(Outcome::Revalidated, Reason::Revalidated, 0).with_storing(Storing::Yes),
                "Example; fwd=stale; fwd-status=304; ttl=55; stored; detail=revalidated",
            ),
            (miss(Reason::NotFound).with_storing(Storing::Yes), "Example; fwd=uri-miss; stored; detail=not-found"),
            (miss(Reason::VariantNotFound), "Example; fwd=vary-miss; detail=variant-not-found"),
            (miss(Reason::RequestNoCache), "Example; fwd=request; detail=request-no-cache"),
            (miss(Reason::Expired { by: seconds(1) }), "Example; fwd=stale; detail=expired"),
            (
                CacheInfo::new(Outcome::Coalesced, Reason::LeaderAnswer),
                "Example; fwd=miss; collapsed; detail=leader-answer",
            ),
            (CacheInfo::new(Outcome::Bypass, Reason::Method), "Example; fwd=method; detail=method"),
            (CacheInfo::new(Outcome::Bypass, Reason::Range), "Example; fwd=bypass; detail=range"),
            (CacheInfo::new(Outcome::Offline, Reason::RequestOnlyIfCached), "Example; detail=request-only-if-cached"),
        ] {
            assert_eq!(status(&info), line);
        }
    }

    #[test]
    fn any_name_makes_a_valid_line() {
        let info = CacheInfo::new(Outcome::Bypass, Reason::Mode);
        for (name, shown) in [
            ("a.b-c", "a.b-c"),
            ("my cache", "\"my cache\""),
            ("1st", "\"1st\""),
            ("", "\"\""),
            ("a\"b\\c\r\nx: y", "\"a\\\"b\\\\cx: y\""),
            ("caché", "\"cach\""),
        ] {
            assert_eq!(info.cache_status(name), format!("{shown}; fwd=bypass; detail=mode").as_str(), "{name}");
        }
    }
}
