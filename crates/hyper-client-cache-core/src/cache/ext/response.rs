//! A stored response, as it is shown to who looks into a cache.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use crate::cache::{BodyPlace, LifetimeSource, Record, ResponseRecord, Stored};
use crate::storage::CacheKey;

/// A stored response: its head, and when it was looked at.
///
/// Listings have no bodies; [`CacheExt::body`](super::CacheExt::body) reads one.
/// Neither `Debug` nor an error shows a header's value or the query of the URL.
#[derive(Clone, PartialEq)]
pub struct CachedResponse {
    record: ResponseRecord,
    retain_until: Option<SystemTime>,
    // Present where it was read with the head.
    pub(super) inline: Option<Bytes>,
    seen_at: SystemTime,
}

impl CachedResponse {
    /// What `stored` is at `now`; `None` where it is no response (an index of variants, a group).
    pub(crate) fn new(stored: Stored, has_body: bool, now: SystemTime) -> Option<Self> {
        // Costs nothing where nobody else holds the record.
        let Record::Response(record) = Arc::unwrap_or_clone(stored.record) else { return None };
        let inline = (has_body && matches!(record.body, BodyPlace::Inline { .. })).then_some(stored.body);
        Some(Self { record, retain_until: stored.retain_until, inline, seen_at: now })
    }

    /// The key that it is stored under.
    #[must_use]
    pub const fn key(&self) -> &CacheKey {
        &self.record.key
    }

    /// The method of the request that it answered.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.record.method
    }

    /// The URL of that request, without user information.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.record.url
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.record.status
    }

    /// The HTTP version over which it came.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.record.version
    }

    /// The header lines, without those that concerned only the connection. Costs one insertion a line.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        self.record.header_map()
    }

    /// The first line of a header field.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.record.header(name)
    }

    /// The names of the request header fields that select this variant (`Vary`); none where the URL does not vary.
    pub fn varies_on(&self) -> impl Iterator<Item = &str> {
        self.record.selecting.iter().map(|field| field.name.as_str())
    }

    /// Whether this is a redirect: a 301, 302, 303, 307 or 308 with a `Location`.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        self.record.is_redirect()
    }

    /// When it was received, or last confirmed by the origin.
    #[must_use]
    pub const fn created_at(&self) -> SystemTime {
        self.record.freshness.received_at
    }

    /// Up to when it is fresh; `None`: for ever.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.record.freshness.expires()
    }

    /// What decided until when it is fresh.
    #[must_use]
    pub const fn lifetime_source(&self) -> LifetimeSource {
        self.record.freshness.source
    }

    /// The moment from which nobody finds it any more; `None`: never.
    #[must_use]
    pub const fn retain_until(&self) -> Option<SystemTime> {
        self.retain_until
    }

    /// How old it was when it was looked at (RFC 9111 section 4.2.3); `None` where the clock stood before the moment at
    /// which it was received.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.record.freshness.age(self.seen_at)
    }

    /// Whether it was past its freshness when it was looked at.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expires().is_some_and(|expires| expires <= self.seen_at)
    }

    /// Whether it was past its freshness when it was looked at, but by so little that it may still be served: while it
    /// is refreshed, or instead of an error (RFC 5861). Only the windows that are stored with it count, not those of a
    /// session.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let freshness = &self.record.freshness;
        let window = freshness.stale_while_revalidate.max(freshness.stale_if_error);
        let over = self.expires().and_then(|expires| self.seen_at.duration_since(expires).ok());
        let may_be_served = !(freshness.no_cache || freshness.must_revalidate);
        may_be_served && over.zip(window).is_some_and(|(over, window)| over < window)
    }

    /// The length of the body in bytes, as it came over the wire.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        self.record.body_len()
    }

    /// Whether the body lies in parts of its own, because it is too large for one entry.
    #[must_use]
    pub const fn is_in_parts(&self) -> bool {
        matches!(self.record.body, BodyPlace::Parts { .. })
    }

    /// Everything that is stored with it.
    #[must_use]
    pub const fn record(&self) -> &ResponseRecord {
        &self.record
    }

    /// When it was looked at.
    #[must_use]
    pub const fn seen_at(&self) -> SystemTime {
        self.seen_at
    }
}

impl fmt::Debug for CachedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedResponse")
            .field("key", self.key())
            .field("method", self.method())
            .field("url", &self.url().split_once('?').map_or(self.url(), |(before, _)| before))
            .field("status", &self.status())
            .field("headers", &self.record.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>())
            .field("created_at", &self.created_at())
            .field("expires", &self.expires())
            .field("body_len", &self.body_len())
            .finish_non_exhaustive()
    }
}
