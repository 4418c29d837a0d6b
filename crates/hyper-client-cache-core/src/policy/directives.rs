//! `Cache-Control` of requests and responses, and `Pragma` of requests (RFC 9111 section 5.2 and 5.4).
//!
//! The parser reads bytes, every line of the field, in linear time, and never fails: what is malformed is read in the
//! way that lets the cache do least. A restriction is recognised even in what surrounds it with junk; a permission
//! counts only where it is written exactly.
//! `line` takes one line apart. Read next: `freshness`.

mod line;

use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

use self::line::{Directive, Value, each_directive};
pub(super) use self::line::{MAX_DELTA, delta_seconds, trim};
use super::headers::is_essential;

/// What a request says in `Cache-Control`, or in `Pragma` where it has no `Cache-Control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestDirectives {
    /// `no-store`: nothing of the exchange is stored.
    pub no_store: bool,
    /// `no-cache`: nothing stored is served without revalidation.
    pub no_cache: bool,
    /// `only-if-cached`: the origin is not asked.
    pub only_if_cached: bool,
    /// `max-age`: the greatest age that the caller accepts. Malformed: 0.
    pub max_age: Option<Duration>,
    /// `min-fresh`: how long the response must still be fresh. Malformed: the greatest.
    pub min_fresh: Option<Duration>,
    /// `max-stale`: how long past its freshness a response is accepted; [`Duration::MAX`] where it has no value.
    /// Malformed: 0.
    pub max_stale: Option<Duration>,
    /// `stale-if-error` (RFC 5861 section 4). Malformed: 0.
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// Reads the headers of a request. Costs two look-ups where there is nothing to read.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Self {
        if headers.contains_key(CACHE_CONTROL) {
            return Self::from_lines(headers.get_all(CACHE_CONTROL).iter().map(AsRef::as_ref));
        }
        let mut found = Self::default();
        // RFC 9111 section 5.4: only now does Pragma count, and only as `no-cache`.
        for line in headers.get_all(PRAGMA) {
            each_directive(line.as_bytes(), |directive| found.no_cache |= directive.restricts(b"no-cache"));
        }
        found
    }

    fn from_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found = Self::default();
        for line in lines {
            each_directive(line, |directive| found.add(&directive));
        }
        found
    }

    fn add(&mut self, directive: &Directive<'_>) {
        self.no_store |= directive.restricts(b"no-store");
        self.no_cache |= directive.restricts(b"no-cache");
        self.only_if_cached |= directive.restricts(b"only-if-cached");
        if let Some(seconds) = directive.seconds(b"max-age") {
            tighten(&mut self.max_age, seconds.unwrap_or_default());
        }
        if let Some(seconds) = directive.seconds(b"min-fresh") {
            let seconds = seconds.unwrap_or(MAX_DELTA);
            self.min_fresh = Some(self.min_fresh.map_or(seconds, |other| other.max(seconds)));
        }
        if directive.is_bare(b"max-stale") {
            tighten(&mut self.max_stale, Duration::MAX);
        } else if let Some(seconds) = directive.seconds(b"max-stale") {
            tighten(&mut self.max_stale, seconds.unwrap_or_default());
        }
        if let Some(seconds) = directive.seconds(b"stale-if-error") {
            tighten(&mut self.stale_if_error, seconds.unwrap_or_default());
        }
    }
}

/// What a response says in `Cache-Control`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseDirectives {
    /// `no-store`: not stored.
    pub no_store: bool,
    /// `no-cache`: not served without revalidation, as a whole or certain fields of it.
    pub no_cache: Restriction,
    /// `private`: not stored by a shared cache, as a whole or certain fields of it.
    pub private: Restriction,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`: not served stale.
    pub must_revalidate: bool,
    /// `proxy-revalidate`: not served stale by a shared cache.
    pub proxy_revalidate: bool,
    /// `must-understand`: stored only by a cache that knows what the status asks of it.
    pub must_understand: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// `max-age`. Malformed: 0; several: the least.
    pub max_age: Option<Duration>,
    /// `s-maxage`. Malformed: 0; several: the least.
    pub s_maxage: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861 section 3). Malformed: 0; several: the least.
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861 section 4). Malformed: 0; several: the least.
    pub stale_if_error: Option<Duration>,
    /// Whether a shared cache may store the answer to a request with `Authorization` (RFC 9111 section 3.5): `public`,
    /// `must-revalidate` or `s-maxage` is there and written exactly.
    pub permits_authorized: bool,
}

impl ResponseDirectives {
    /// Reads the headers of a response. Costs one look-up where there is nothing to read.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Self {
        Self::from_lines(headers.get_all(CACHE_CONTROL).iter().map(AsRef::as_ref))
    }

    fn from_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found = Self::default();
        let mut s_maxage = Permission::default();
        for line in lines {
            each_directive(line, |directive| found.add(&directive, &mut s_maxage));
        }
        found.permits_authorized |= s_maxage == Permission::Given;
        found
    }

    fn add(&mut self, directive: &Directive<'_>, s_maxage: &mut Permission) {
        self.no_store |= directive.restricts(b"no-store");
        self.must_revalidate |= directive.restricts(b"must-revalidate");
        self.proxy_revalidate |= directive.restricts(b"proxy-revalidate");
        self.no_cache.add(directive, b"no-cache");
        self.private.add(directive, b"private");
        self.public |= directive.is_bare(b"public");
        self.immutable |= directive.is_bare(b"immutable");
        self.must_understand |= directive.is_bare(b"must-understand");
        self.permits_authorized |= directive.is_bare(b"public") || directive.is_bare(b"must-revalidate");
        if let Some(seconds) = directive.seconds(b"s-maxage") {
            s_maxage.add(seconds.is_some());
            tighten(&mut self.s_maxage, seconds.unwrap_or_default());
        }
        for (name, slot) in [
            (&b"max-age"[..], &mut self.max_age),
            (b"stale-while-revalidate", &mut self.stale_while_revalidate),
            (b"stale-if-error", &mut self.stale_if_error),
        ] {
            if let Some(seconds) = directive.seconds(name) {
                tighten(slot, seconds.unwrap_or_default());
            }
        }
    }
}

/// How far `no-cache` or `private` reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restriction {
    /// The directive is not there.
    #[default]
    None,
    /// It is qualified: these fields, in the order named.
    Fields(Vec<HeaderName>),
    /// It is unqualified, or its list is empty, malformed, or names a field without which the rest is useless.
    Whole,
}

impl Restriction {
    /// Whether the response as a whole is meant.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// The fields that are meant, if only some are.
    #[must_use]
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::None | Self::Whole => &[],
        }
    }

    fn add(&mut self, directive: &Directive<'_>, name: &[u8]) {
        if !directive.restricts(name) {
            return;
        }
        // Only the quoted form is a list (RFC 9111 section 5.2.2.4); anything else is the whole.
        let listed = match directive {
            Directive::Exact { value: Some(Value::Quoted(list)), .. } => field_names(list),
            _ => None,
        };
        match (&mut *self, listed) {
            (Self::Whole, _) => {}
            (_, None) => *self = Self::Whole,
            (Self::None, Some(names)) => *self = Self::Fields(names),
            (Self::Fields(names), Some(more)) => names.extend(more),
        }
    }
}

/// The names of a qualified directive's list; `None` where it must be read as unqualified.
fn field_names(list: &[u8]) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for name in list.split(|byte| *byte == b',').map(trim).filter(|name| !name.is_empty()) {
        let name = HeaderName::from_bytes(name).ok()?;
        if is_essential(&name) {
            return None;
        }
        names.push(name);
    }
    (!names.is_empty()).then_some(names)
}

/// Whether a directive that permits something was written exactly each time.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Permission {
    #[default]
    Absent,
    Given,
    Spoilt,
}

impl Permission {
    fn add(&mut self, valid: bool) {
        *self = if valid && *self != Self::Spoilt { Self::Given } else { Self::Spoilt };
    }
}

fn tighten(slot: &mut Option<Duration>, value: Duration) {
    *slot = Some(slot.map_or(value, |other| other.min(value)));
}

#[cfg(test)]
mod tests;
