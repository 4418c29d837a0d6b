//! Asking the origin about what is stored, and what its answer changes (RFC 9111 sections 4.3 and 3.2).
//!
//! Read next: `invalidate`.

use std::time::SystemTime;

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::admit::{Admit, terms};
use super::headers::{content_length, etag, is_hop_by_hop, last_modified, named_by_connection};
use super::reason::Reason;
use super::vary::vary_names;
use crate::cache::codec::MAX_HEADER_LINES;
use crate::cache::{BodyPlace, ResponseRecord};

/// What a 304 makes of the stored response.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // made once a revalidation and taken apart at once
pub enum Merge {
    /// It is confirmed: serve it, and store this head in place of the old one (unless the mode writes nothing); the
    /// body stays.
    #[non_exhaustive]
    Refreshed {
        /// The new head. Key, selecting values, status, version and body are those of the old one.
        record: ResponseRecord,
        /// The new deadline; `None`: none. Never past that of a body in parts.
        retain_until: Option<SystemTime>,
    },
    /// It must not be used: delete it and fetch in full (cases 24 and 25).
    Forbidden(Reason),
}

/// Makes a request conditional on what is stored: `If-None-Match` from `ETag` and `If-Modified-Since` from
/// `Last-Modified`, both where there are both. `false`, and nothing added, where there is no validator that the origin
/// could understand.
pub fn add_validators(record: &ResponseRecord, headers: &mut HeaderMap) -> bool {
    let mut added = false;
    if let Some(tag) = etag(lines(record, &ETAG)) {
        headers.insert(IF_NONE_MATCH, tag.clone());
        added = true;
    }
    if let Some(date) = last_modified(lines(record, &LAST_MODIFIED)) {
        headers.insert(IF_MODIFIED_SINCE, date.clone());
        added = true;
    }
    added
}

/// Merges a 304 into the response that it was asked about; `exchange.response_headers` are those of the 304.
///
/// Fields of the 304 replace the stored ones, all lines of a field at a time, except those that describe the stored
/// body (`Content-*`), `Vary` and `Set-Cookie`, which goes to the live response only (case 23). Whatever the merged
/// response must not be stored for forbids its use.
#[must_use]
pub fn merge(record: &ResponseRecord, exchange: &Admit<'_>) -> Merge {
    let update = exchange.response_headers;
    if !confirms(record, update) {
        return Merge::Forbidden(Reason::OriginChanged);
    }
    match vary_names(update) {
        // Case 46: the selecting values are those of the request that fetched the body. A field that was not among
        // them then cannot be added now.
        // One that was ignored then is among those of the stored `Vary`.
        Ok(names) if !names.is_empty() => {
            let known = vary_names(&record.header_map()).unwrap_or_default();
            let is_known =
                |name: &HeaderName| known.contains(name) || record.selecting.iter().any(|field| name == &*field.name);
            if !names.iter().all(is_known) {
                return Merge::Forbidden(Reason::OriginChanged);
            }
        }
        Ok(_) => {}
        Err(reason) => return Merge::Forbidden(reason),
    }
    // Before they are added to others, for which a map might have no room.
    if update.len() > MAX_HEADER_LINES {
        return Merge::Forbidden(Reason::TooLarge);
    }
    let terms = match terms(exchange, record.status, &merged_headers(record, update)) {
        Ok(terms) => terms,
        Err(reason) => return Merge::Forbidden(reason),
    };
    let mut refreshed = record.clone();
    refreshed.headers = terms.headers;
    refreshed.freshness = terms.freshness;
    let retain_until = match &refreshed.body {
        BodyPlace::Parts { retain_until: Some(parts), .. } => {
            Some(terms.retain_until.map_or(*parts, |until| until.min(*parts)))
        }
        _ => terms.retain_until,
    };
    Merge::Refreshed { record: refreshed, retain_until }
}

/// Whether a 304 is about the stored response (RFC 9111 section 4.3.4).
///
/// A strong tag must be the stored one; a weak tag may differ from it in weakness only; a modification date counts
/// where there is no tag.
fn confirms(record: &ResponseRecord, update: &HeaderMap) -> bool {
    let stored = etag(lines(record, &ETAG)).map(HeaderValue::as_bytes);
    if update.contains_key(ETAG) {
        let Some(tag) = etag(update.get_all(ETAG).iter()).map(HeaderValue::as_bytes) else {
            return false;
        };
        return match tag.strip_prefix(b"W/") {
            Some(opaque) => stored.is_some_and(|stored| stored.strip_prefix(b"W/").unwrap_or(stored) == opaque),
            None => stored == Some(tag),
        };
    }
    match update.get(LAST_MODIFIED) {
        Some(date) => lines(record, &LAST_MODIFIED).next().is_none_or(|stored| stored == date),
        None => true,
    }
}

fn merged_headers(record: &ResponseRecord, update: &HeaderMap) -> HeaderMap {
    let mut merged = record.header_map();
    // The 304 is the newest word on the response's age: neither an old `Date` nor an old `Age` counts beside it.
    merged.remove(AGE);
    merged.remove(DATE);
    let named = named_by_connection(update);
    for name in update.keys() {
        if describes_body(name) || is_hop_by_hop(name) || named.contains(name) || name == SET_COOKIE || name == VARY {
            continue;
        }
        merged.remove(name);
        for line in update.get_all(name) {
            merged.append(name.clone(), line.clone());
        }
    }
    merged
}

/// Fields that belong to the body as it was stored, which a 304 does not carry.
fn describes_body(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE].contains(name)
        || matches!(name.as_str(), "content-md5" | "content-digest" | "repr-digest" | "digest")
}

/// Whether a HEAD's answer shows that the stored GET is another representation by now, so that it must count as stale
/// (RFC 9111 section 4.3.5, case 49). Only what both of them say is compared.
#[must_use]
pub fn head_contradicts(record: &ResponseRecord, head_response_headers: &HeaderMap) -> bool {
    for name in [ETAG, LAST_MODIFIED, CONTENT_ENCODING] {
        let mut now = head_response_headers.get_all(&name).iter().peekable();
        let mut then = lines(record, &name).peekable();
        if now.peek().is_some() && then.peek().is_some() && !now.eq(then) {
            return true;
        }
    }
    match content_length(head_response_headers) {
        Ok(Some(length)) => length != record.body_len(),
        Ok(None) => false,
        Err(_) => true,
    }
}

fn lines<'a>(record: &'a ResponseRecord, name: &'a HeaderName) -> impl Iterator<Item = &'a HeaderValue> {
    record.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // an overflow would fail the test
mod tests;
