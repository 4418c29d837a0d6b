//! What the head of an entry says, decoded.
//!
//! Plain data: [`policy`](crate::policy) computes and judges it, [`codec`](super::codec) writes it.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::codec::MAX_HEADER_LINES;
use super::search::SearchRule;
use crate::storage::CacheKey;

/// The head of an entry.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // nearly all are responses, and a record is kept behind a pointer anyway
pub enum Record {
    /// A response.
    Response(ResponseRecord),
    /// Which responses a URL has that varies.
    Variants(Variants),
    /// Which other keys hold something for a URI: other partitions, requests with a body.
    Group(Group),
    /// Which parameters an origin has said do not matter for the URLs with one path.
    Search(SearchRule),
}

impl Record {
    /// The key that this record was stored under, as it says itself. A reader compares.
    #[must_use]
    pub fn key(&self) -> &CacheKey {
        match self {
            Self::Response(response) => &response.key,
            Self::Variants(variants) => &variants.key,
            Self::Group(group) => &group.key,
            Self::Search(rule) => &rule.key,
        }
    }

    /// Whether this belongs among the redirects: a response with a 3xx status and a `Location`.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        matches!(self, Self::Response(response) if response.is_redirect())
    }

    /// The response, if it is one.
    #[must_use]
    pub fn as_response(&self) -> Option<&ResponseRecord> {
        match self {
            Self::Response(response) => Some(response),
            _ => None,
        }
    }

    /// The id of the parts that hold the body, if parts hold it.
    #[must_use]
    pub fn parts_id(&self) -> Option<&str> {
        match self.as_response()?.body {
            BodyPlace::Parts { ref id, .. } => Some(id),
            BodyPlace::Inline { .. } => None,
        }
    }
}

/// A stored response without its body.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ResponseRecord {
    /// The key that this was stored under.
    pub key: CacheKey,
    /// The method of the request.
    pub method: Method,
    /// The URL of the request, without user information.
    pub url: String,
    /// The request's header fields that `Vary` names, as they were.
    pub selecting: Vec<Selecting>,
    /// The response's status.
    pub status: StatusCode,
    /// The response's HTTP version.
    pub version: Version,
    /// The response's header lines in order, without those that concern only the connection.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How old it was and how long it is good for.
    pub freshness: Freshness,
    /// Where the body is.
    pub body: BodyPlace,
}

impl ResponseRecord {
    /// A response with an empty inline body; fields are public and may be set afterwards.
    #[must_use]
    pub fn new(
        key: CacheKey,
        method: Method,
        url: impl Into<String>,
        status: StatusCode,
        freshness: Freshness,
    ) -> Self {
        Self {
            key,
            method,
            url: url.into(),
            selecting: Vec::new(),
            status,
            version: Version::HTTP_11,
            headers: Vec::new(),
            freshness,
            body: BodyPlace::Inline { len: 0 },
        }
    }

    /// Whether a client would follow this response elsewhere.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308)
            && self.headers.iter().any(|(name, _)| name == http::header::LOCATION)
    }

    /// The first line of a header field.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The header lines as a map. Shares the values' bytes; costs one insertion a line.
    ///
    /// What is over [`MAX_HEADER_LINES`], of a record that was never stored, is left out.
    #[must_use]
    pub fn header_map(&self) -> HeaderMap {
        let lines = self.headers.get(..MAX_HEADER_LINES).unwrap_or(&self.headers);
        // Room for the `Age` that a hit adds.
        let mut map = HeaderMap::with_capacity(lines.len().saturating_add(2));
        for (name, value) in lines {
            map.append(name.clone(), value.clone());
        }
        map
    }

    /// The length of the body in bytes.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        match self.body {
            BodyPlace::Inline { len } | BodyPlace::Parts { len, .. } => len,
        }
    }
}

/// One request header field that selects among variants (RFC 9111 section 4.1).
///
/// Absent (`values` empty) and empty (one empty value) are different.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selecting {
    /// The field's name in lower case.
    pub name: String,
    /// The value of each line in order, or its keyed hash where the field carries a secret.
    pub values: Vec<Vec<u8>>,
}

impl Selecting {
    /// A field and its lines.
    #[must_use]
    pub fn new(name: impl Into<String>, values: Vec<Vec<u8>>) -> Self {
        Self { name: name.into(), values }
    }
}

/// How old a response was when it came and how long it is good for: what `policy` computed when it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Freshness {
    /// When the request was sent.
    pub requested_at: SystemTime,
    /// When the response's header section was received; after a 304, that one's.
    pub received_at: SystemTime,
    /// The `corrected_initial_age` of RFC 9111 section 4.2.3.
    pub initial_age: Duration,
    /// The freshness lifetime, counted in age; `None`: for ever.
    pub lifetime: Option<Duration>,
    /// Where the lifetime comes from.
    pub source: LifetimeSource,
    /// `no-cache`: never served without revalidation.
    pub no_cache: bool,
    /// `must-revalidate`, or what implies it: never served stale.
    pub must_revalidate: bool,
    /// RFC 8246: not revalidated while fresh, not even on reload.
    pub immutable: bool,
    /// How long past its lifetime it may be served while it is refreshed (RFC 5861 section 3).
    pub stale_while_revalidate: Option<Duration>,
    /// How long past its lifetime it may be served instead of an error (RFC 5861 section 4).
    pub stale_if_error: Option<Duration>,
}

impl Freshness {
    /// A response that has just come and is good for `lifetime` (`None`: for ever), by a setting.
    #[must_use]
    pub const fn new(received_at: SystemTime, lifetime: Option<Duration>, source: LifetimeSource) -> Self {
        Self {
            requested_at: received_at,
            received_at,
            initial_age: Duration::ZERO,
            lifetime,
            source,
            no_cache: false,
            must_revalidate: false,
            immutable: false,
            stale_while_revalidate: None,
            stale_if_error: None,
        }
    }

    /// The moment up to which the response is fresh; `None`: for ever.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        let left = self.lifetime?;
        Some(match left.checked_sub(self.initial_age) {
            Some(left) => self.received_at.checked_add(left)?,
            None => {
                self.received_at.checked_sub(self.initial_age.saturating_sub(left)).unwrap_or(SystemTime::UNIX_EPOCH)
            }
        })
    }

    /// The `current_age` of RFC 9111 section 4.2.3 at `now`; `None` where `now` lies before the response was received,
    /// so that the age is not known (the clock was set back).
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        Some(self.initial_age.saturating_add(now.duration_since(self.received_at).ok()?))
    }
}

/// What decided a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifetimeSource {
    /// `max-age`.
    MaxAge,
    /// `s-maxage`, in a shared cache.
    SMaxAge,
    /// `Expires`.
    Expires,
    /// A tenth of the time since `Last-Modified` (RFC 9111 section 4.2.2).
    Heuristic,
    /// The session's `expire_after`.
    Session,
    /// A URL rule.
    Rule,
    /// The request's own `expire_after`.
    Request,
    /// A setting that overrides what the headers say.
    Forced,
}

/// Where the body of a response is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyPlace {
    /// In the entry itself.
    Inline {
        /// Its length in bytes.
        len: u64,
    },
    /// In parts (see [`parts`](super::parts)).
    Parts {
        /// The random id that the parts' keys contain.
        id: String,
        /// How many there are.
        count: u32,
        /// The length of each but the last, in bytes.
        part_len: u32,
        /// The length of the whole in bytes.
        len: u64,
        /// xxh3-64 of the whole.
        checksum: u64,
        /// The deadline of the parts, which a refreshed head may not outlive; `None`: none.
        retain_until: Option<SystemTime>,
    },
}

/// The index record of a URL whose responses vary: names the fields and the variants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variants {
    /// The key that this was stored under: the primary key of the URL.
    pub key: CacheKey,
    /// The URL, without user information.
    pub url: String,
    /// Oldest first.
    pub variants: Vec<Variant>,
}

impl Variants {
    /// An index without variants.
    #[must_use]
    pub fn new(key: CacheKey, url: impl Into<String>) -> Self {
        Self { key, url: url.into(), variants: Vec::new() }
    }

    /// Adds the variants of an older index that this one does not have. Of one that both have, the later deadline counts:
    /// this one may have been made from what was known before the other was changed.
    pub(crate) fn add_older(&mut self, older: &Self) {
        for variant in &mut self.variants {
            if let Some(old) = older.variants.iter().find(|old| old.key == variant.key)
                && variant.ends_before(old.retain_until)
            {
                variant.retain_until = old.retain_until;
            }
        }
        let others = older.variants.iter().filter(|old| self.variants.iter().all(|new| new.key != old.key));
        let others: Vec<_> = others.cloned().collect();
        self.variants.splice(0..0, others);
    }
}

/// One variant of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variant {
    /// The key of its entry.
    pub key: CacheKey,
    /// What a request must have to select it.
    pub selecting: Vec<Selecting>,
    /// The deadline of its entry.
    pub retain_until: Option<SystemTime>,
}

impl Variant {
    /// A variant that is kept until it is deleted.
    #[must_use]
    pub fn new(key: CacheKey, selecting: Vec<Selecting>) -> Self {
        Self { key, selecting, retain_until: None }
    }

    /// Whether its deadline is before this one (`None`: never).
    pub(crate) fn ends_before(&self, deadline: Option<SystemTime>) -> bool {
        self.retain_until.is_some_and(|own| deadline.is_none_or(|deadline| own < deadline))
    }
}

/// The keys of one URI that cannot be computed from the URI alone, so that an unsafe request can invalidate them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// The key that this was stored under.
    pub key: CacheKey,
    /// Primary keys, oldest first.
    pub members: Vec<CacheKey>,
}

impl Group {
    /// A group without members.
    #[must_use]
    pub fn new(key: CacheKey) -> Self {
        Self { key, members: Vec::new() }
    }

    /// Adds the members of an older group that this one does not have.
    pub(crate) fn add_older(&mut self, older: &Self) {
        let others: Vec<_> = older.members.iter().filter(|key| !self.members.contains(key)).copied().collect();
        self.members.splice(0..0, others);
    }
}
