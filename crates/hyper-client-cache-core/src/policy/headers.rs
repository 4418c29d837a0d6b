//! Which header lines of a response are stored (RFC 9111 section 3.1), and the few fields that admission reads itself.
//!
//! Read next: `vary`.

use std::collections::HashSet;
use std::time::SystemTime;

use http::header::{
    AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::directives::{ResponseDirectives, trim};
use super::reason::Reason;
use crate::cache::codec::MAX_HEADER_LINES;

/// Whether a stored response without this field, or with another value of it, would be wrong or useless: the fields
/// that say how the body is to be read or that the cache itself decides by.
pub(super) fn is_essential(name: &HeaderName) -> bool {
    [CONTENT_ENCODING, CONTENT_TYPE, CONTENT_LENGTH, CONTENT_RANGE, VARY, DATE, http::header::CACHE_CONTROL]
        .contains(name)
}

/// Whether a field concerns only the connection that it came over.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "proxy-authentication-info")
}

/// The lines to store, in order.
///
/// Left out are the fields of the connection and those that `Connection` names, `Age` (it is part of the freshness and
/// added anew to each hit), the fields that a qualified `no-cache` names, and in a shared cache `Set-Cookie` and the
/// fields that a qualified `private` names. `Content-Length` goes where `Transfer-Encoding` overrode it. A missing
/// `Date` is added (RFC 9110 section 6.6.1). More than [`MAX_HEADER_LINES`] are not stored.
pub(super) fn storable(
    headers: &HeaderMap,
    obeyed: Option<&ResponseDirectives>,
    directives: &ResponseDirectives,
    shared: bool,
    received_at: SystemTime,
) -> Result<Vec<(HeaderName, HeaderValue)>, Reason> {
    let named = named_by_connection(headers);
    if named.iter().any(is_essential) {
        return Err(Reason::MalformedHeaders);
    }
    let mut withheld: HashSet<&HeaderName> = named.iter().collect();
    if let Some(obeyed) = obeyed {
        withheld.extend(obeyed.no_cache.fields());
    }
    if shared {
        withheld.extend(directives.private.fields());
    }
    let recoded = headers.contains_key(TRANSFER_ENCODING);
    let mut lines = Vec::with_capacity(headers.len().saturating_add(1));
    for (name, value) in headers {
        let left_out = is_hop_by_hop(name)
            || name == AGE
            || (shared && name == SET_COOKIE)
            || (recoded && name == CONTENT_LENGTH)
            || (!withheld.is_empty() && withheld.contains(name));
        if !left_out {
            lines.push((name.clone(), value.clone()));
        }
    }
    if !headers.contains_key(DATE)
        && let Some(date) = http_date(received_at)
    {
        lines.push((DATE, date));
    }
    if lines.len() > MAX_HEADER_LINES {
        return Err(Reason::TooLarge);
    }
    Ok(lines)
}

/// The fields that `Connection` names; what is no name is passed over, because it can name no field that is there.
pub(super) fn named_by_connection(headers: &HeaderMap) -> HashSet<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(trim(name)).ok())
        .collect()
}

/// The body's announced length; `Err` where it is announced twice or in a way that recipients may read differently
/// (RFC 9110 section 8.6).
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Reason> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let digits = line.as_bytes();
    if lines.next().is_some() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Reason::ContentLength);
    }
    line.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or(Reason::ContentLength)
}

/// The entity tag, if there is exactly one and it is well-formed (RFC 9110 section 8.8.3).
pub(super) fn etag<'a>(mut lines: impl Iterator<Item = &'a HeaderValue>) -> Option<&'a HeaderValue> {
    let line = lines.next()?;
    let bytes = line.as_bytes();
    let opaque = bytes.strip_prefix(b"W/").unwrap_or(bytes);
    let valid = match opaque {
        [b'"', inner @ .., b'"'] => inner.iter().all(|byte| !matches!(byte, 0..=b' ' | b'"' | 0x7f)),
        _ => false,
    };
    (valid && lines.next().is_none()).then_some(line)
}

/// The modification date, if there is exactly one and it is one.
pub(super) fn last_modified<'a>(mut lines: impl Iterator<Item = &'a HeaderValue>) -> Option<&'a HeaderValue> {
    let line = lines.next()?;
    (parse_date(line).is_some() && lines.next().is_none()).then_some(line)
}

/// Whether a response can be revalidated.
pub(super) fn has_validator(headers: &HeaderMap) -> bool {
    etag(headers.get_all(ETAG).iter()).is_some() || last_modified(headers.get_all(LAST_MODIFIED).iter()).is_some()
}

/// A date in any of the three forms of RFC 9110 section 5.6.7.
pub(super) fn parse_date(line: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(line.to_str().ok()?).ok()
}

/// The line for `moment`; `None` outside the years that the form can express, where the formatter would panic.
fn http_date(moment: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    if seconds >= YEAR_10000 {
        return None;
    }
    HeaderValue::try_from(httpdate::fmt_http_date(moment)).ok()
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::super::testing::{Exchange, date, headers, now};
    use super::*;

    fn stored(lines: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        let terms = Exchange::new(lines).admit().unwrap();
        terms.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
    }

    fn names(lines: &[(&str, &str)]) -> Vec<String> {
        stored(lines).into_iter().map(|(name, _)| name).collect()
    }

    /// Case 67 and feature 102: the fields of the connection, and those it names, in any case, on any line.
    #[test]
    fn fields_of_the_connection_are_not_stored() {
        assert_eq!(
            names(&[
                ("Connection", "close, X-ONE"),
                ("connection", " x-two ,,keep-alive, \u{e9}"),
                ("x-one", "1"),
                ("x-two", "2"),
                ("x-two", "3"),
                ("x-three", "4"),
                ("keep-alive", "timeout=5"),
                ("proxy-authenticate", "Basic"),
                ("proxy-authentication-info", "x"),
                ("proxy-connection", "close"),
                ("te", "trailers"),
                ("trailer", "x-four"),
                ("upgrade", "h2c"),
                ("age", "5"),
                ("content-length", "5"),
                ("date", &date(0)),
            ]),
            ["x-three", "content-length", "date"]
        );
    }

    #[test]
    fn a_connection_that_names_what_the_body_needs_is_refused() {
        for name in ["content-encoding", "Content-Type", "vary", "cache-control"] {
            let exchange = Exchange::new(&[("connection", name), ("content-encoding", "gzip")]);
            assert_eq!(exchange.refusal(), Some(Reason::MalformedHeaders), "{name}");
        }
    }

    /// Case 68: one framing only.
    #[test]
    fn a_length_beside_a_transfer_coding_is_not_stored() {
        let lines = [("transfer-encoding", "chunked"), ("content-length", "7"), ("date", "x")];
        assert_eq!(names(&lines), ["date"]);
    }

    /// Cases 45 and 66, feature 105: lines keep their order and their bytes, whatever they are called.
    #[test]
    fn lines_are_stored_as_they_came() {
        let date = date(0);
        let lines = [
            ("link", "<a>"),
            ("x-cache-key", "ours?"),
            ("link", "<b>"),
            ("x-raw", "\u{e9}\u{ff}"),
            ("cache-status", "upstream; hit"),
            ("content-length", "5"),
            ("date", date.as_str()),
        ];
        let found = stored(&lines);
        let values = |name: &str| -> Vec<_> {
            found.iter().filter(|(other, _)| other == name).map(|(_, value)| value.clone()).collect()
        };
        assert_eq!(found.len(), lines.len());
        assert_eq!(values("link"), [b"<a>", b"<b>"]);
        assert_eq!(values("x-raw"), [[0xe9, 0xff]]);
    }

    /// RFC 9110 section 6.6.1, and case 163 for the clocks that have no HTTP date.
    #[test]
    fn a_missing_date_is_that_of_the_receipt() {
        assert_eq!(stored(&[]).pop(), Some(("date".to_owned(), date(0).into_bytes())));
        for clock in [i64::MIN, -1, 253_402_300_800_000, i64::MAX] {
            let mut exchange = Exchange::new(&[]);
            exchange.version = Version::HTTP_2;
            exchange.received_at = crate::clock::from_millis(clock);
            assert!(!exchange.admit().unwrap().headers.iter().any(|(name, _)| name == DATE), "{clock}");
        }
        assert!(http_date(now()).is_some());
    }

    #[test]
    fn a_tag_is_quoted_and_single() {
        let tag = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("etag", *line)).collect();
            etag(headers(&lines).get_all(ETAG).iter()).is_some()
        };
        for good in ["\"\"", "\"a\"", "W/\"a\"", "\"\u{e9}!,#\""] {
            assert!(tag(&[good]), "{good}");
        }
        for bad in ["", "a", "*", "w/\"a\"", "\"a", "\"", "W/\"", "\"a\"b\"", "\"a b\"", "\"a\", \"b\"", "W/a"] {
            assert!(!tag(&[bad]), "{bad}");
        }
        assert!(!tag(&["\"a\"", "\"a\""]));
        assert!(!tag(&[]));
    }
}
