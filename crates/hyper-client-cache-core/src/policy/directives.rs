//! `Cache-Control` of requests and responses, and `Pragma` of requests (RFC 9111 section 5.2 and 5.4).
//!
//! The parser reads bytes, every line of the field, in linear time, and never fails: what is malformed is read in the
//! way that lets the cache do least. A restriction is recognised even in what surrounds it with junk; a permission
//! counts only where it is written exactly.
//! Read next: [`freshness`](super::freshness).

use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::is_essential;

/// The largest number of seconds that the RFC asks a recipient to tell apart (section 1.2.2); larger ones become this.
pub(super) const MAX_DELTA: Duration = Duration::from_secs((1 << 31) - 1);

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
        let mut found = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            // RFC 9111 section 5.4: only then does Pragma count, and only as `no-cache`.
            for line in headers.get_all(PRAGMA) {
                each_directive(line, |directive| found.no_cache |= directive.restricts(b"no-cache"));
            }
            return found;
        }
        for line in headers.get_all(CACHE_CONTROL) {
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
        let mut found = Self::default();
        let mut s_maxage = Permission::default();
        for line in headers.get_all(CACHE_CONTROL) {
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

/// One element of the list.
enum Directive<'a> {
    /// `name`, `name=token` or `name="quoted"`, with nothing between or around.
    Exact { name: &'a [u8], value: Option<Value<'a>> },
    /// Anything else: in lower case, each run of bytes that are no token made one hyphen.
    Malformed { text: Vec<u8> },
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Token(&'a [u8]),
    /// What stands between the quotes, escapes not resolved: nothing that is read here needs one.
    Quoted(&'a [u8]),
}

impl Directive<'_> {
    /// Whether this is the restriction `name`: also with an argument that it does not have, also amid junk.
    fn restricts(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact { name: found, .. } => found.eq_ignore_ascii_case(name),
            Self::Malformed { text } => contains(text, name),
        }
    }

    /// Whether this is exactly `name` without an argument.
    fn is_bare(&self, name: &[u8]) -> bool {
        matches!(self, Self::Exact { name: found, value: None } if found.eq_ignore_ascii_case(name))
    }

    /// Whether this is `name`, and its number of seconds; `Some(None)` where it has none that can be trusted.
    fn seconds(&self, name: &[u8]) -> Option<Option<Duration>> {
        match self {
            Self::Exact { name: found, value } if found.eq_ignore_ascii_case(name) => Some(match value {
                Some(Value::Token(digits) | Value::Quoted(digits)) => delta_seconds(digits),
                None => None,
            }),
            Self::Malformed { text } if contains(text, name) => Some(None),
            _ => None,
        }
    }
}

/// `delta-seconds` (RFC 9111 section 1.2.2), clamped to [`MAX_DELTA`]; `None` where it is not one.
pub(super) fn delta_seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = digits
        .iter()
        .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0'))));
    Some(Duration::from_secs(seconds).min(MAX_DELTA))
}

fn tighten(slot: &mut Option<Duration>, value: Duration) {
    *slot = Some(slot.map_or(value, |other| other.min(value)));
}

/// Calls `visit` with each element of one line. Linear in its length.
fn each_directive<'a>(line: &'a HeaderValue, mut visit: impl FnMut(Directive<'a>)) {
    each_element(line.as_bytes(), |element, exact| {
        visit(match exact.then(|| split(element)).flatten() {
            Some((name, value)) => Directive::Exact { name, value },
            None => Directive::Malformed { text: squash(element) },
        });
    });
}

/// Splits a line at the commas that are outside quotes.
///
/// From a quote that is never closed on, commas count again and nothing is taken as exact: what follows may have been
/// meant to be inside.
fn each_element<'a>(line: &'a [u8], mut visit: impl FnMut(&'a [u8], bool)) {
    let mut rest = line;
    let mut quotes = true;
    while !rest.is_empty() {
        let mut end = 0;
        let mut exact = quotes;
        loop {
            match rest.get(end) {
                None | Some(b',') => break,
                Some(b'"') if quotes => match closing_quote(rest, end) {
                    Some(close) => end = close.saturating_add(1),
                    None => {
                        quotes = false;
                        exact = false;
                        end = end.saturating_add(1);
                    }
                },
                Some(_) => end = end.saturating_add(1),
            }
        }
        let (element, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        rest = after.get(1..).unwrap_or_default();
        let element = trim(element);
        if !element.is_empty() {
            visit(element, exact);
        }
    }
}

/// Where the quoted string that begins at `open` ends.
fn closing_quote(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open.saturating_add(1);
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at = at.saturating_add(2),
            _ => at = at.saturating_add(1),
        }
    }
}

/// Name and value of an element that is written exactly; `None` for any other.
fn split(element: &[u8]) -> Option<(&[u8], Option<Value<'_>>)> {
    let Some(equals) = element.iter().position(|byte| *byte == b'=') else {
        return is_token(element).then_some((element, None));
    };
    let (name, value) = element.split_at_checked(equals)?;
    let value = value.get(1..)?;
    let value = match value {
        [b'"', inner @ .., b'"'] if closing_quote(value, 0) == value.len().checked_sub(1) => Value::Quoted(inner),
        token if is_token(token) => Value::Token(token),
        _ => return None,
    };
    is_token(name).then_some((name, Some(value)))
}

fn squash(element: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(element.len());
    for byte in element {
        if is_token_byte(*byte) {
            text.push(byte.to_ascii_lowercase());
        } else if text.last() != Some(&b'-') {
            text.push(b'-');
        }
    }
    text
}

fn contains(text: &[u8], name: &[u8]) -> bool {
    text.windows(name.len()).any(|window| window == name)
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Without optional white space (RFC 9110 section 5.6.3) at either end.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
