//! What a request comes to: its head. Read next: `read`, its body; `described`, what its headers say.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use http::response::Parts;
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use super::decode::Decoded;
use super::read::Content;
use super::request::without_query;
use super::{CachedSession, Hop, ResponseBody};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::CacheBody;
use crate::policy::{CacheInfo, Reason};
use crate::storage::CacheKey;

/// A response, from the origin or from the cache. Its body streams.
///
/// A response that is being stored is stored once its body has been read to the end; one that is dropped earlier is not.
///
/// [`bytes`](Self::bytes), [`text`](Self::text) and [`json`](Self::json) can be called as often as wanted, in any order:
/// the first reads the body, which is kept with the response from then on.
/// [`chunk`](Self::chunk) and the streams keep nothing, and are for bodies that shall not be in memory as a whole.
pub struct Response {
    pub(super) head: Parts,
    pub(super) content: Mutex<Content>,
    request: Sent,
    history: Vec<Hop>,
    session: CachedSession,
}

/// What is kept of the request that got the response.
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
}

impl Response {
    pub(super) fn new(
        response: http::Response<CacheBody>,
        request: Sent,
        history: Vec<Hop>,
        session: CachedSession,
        decompress: bool,
    ) -> Result<Self> {
        let (mut head, body) = response.into_parts();
        let body = match session.inner.decompression.as_ref().filter(|_| decompress) {
            Some(limits) => limits.decode(&request.method, &mut head, body)?,
            None => Decoded::Not(body),
        };
        Ok(Self { head, content: Content::unread(ResponseBody::new(body)), request, history, session })
    }

    pub(super) fn with_deadline(mut self, deadline: tokio::time::Instant) -> Self {
        // What is served because the time ran out has none left to be read in.
        let is_late = self.cache_info().is_some_and(|info| info.reason == Reason::StaleIfError);
        if !is_late {
            self.content_mut().set_deadline(deadline);
        }
        self
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The HTTP version over which the response came, or had come when it was stored.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.head.version
    }

    /// The header lines.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The URL that answered: after redirects, the last.
    #[must_use]
    pub const fn url(&self) -> &Uri {
        &self.request.url
    }

    /// The method of the request that was answered: after a redirect, of the last.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.request.method
    }

    /// The headers of the request that was answered, without what is added for the hop alone (cookies of the session's
    /// jar, `Accept-Encoding`).
    #[must_use]
    pub const fn request_headers(&self) -> &HeaderMap {
        &self.request.headers
    }

    /// Whether the status is a success, 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.head.status.is_success()
    }

    /// The response, or an error where its status is one, 400 to 599.
    ///
    /// # Errors
    /// [`ErrorKind::Status`], which names status, method and URL.
    pub fn error_for_status(self) -> Result<Self> {
        self.error_for_status_ref()?;
        Ok(self)
    }

    /// As [`error_for_status`](Self::error_for_status), without taking the response.
    ///
    /// # Errors
    /// As there.
    pub fn error_for_status_ref(&self) -> Result<&Self> {
        let status = self.head.status;
        if status.is_client_error() || status.is_server_error() {
            let url = without_query(&self.request.url);
            return Err(Error::new(ErrorKind::Status, format!("{status} for {} {url}", self.request.method)));
        }
        Ok(self)
    }

    /// The redirects that led here, oldest first.
    #[must_use]
    pub fn history(&self) -> &[Hop] {
        &self.history
    }

    /// What the cache did for this response, and why.
    #[must_use]
    pub fn cache_info(&self) -> Option<&CacheInfo> {
        self.head.extensions.get()
    }

    /// Whether this was answered without fetching it in full for this request.
    #[must_use]
    pub fn from_cache(&self) -> bool {
        self.cache_info().is_some_and(CacheInfo::from_cache)
    }

    /// When the stored response was received or last confirmed; `None` where nothing is stored.
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.cache_info()?.created_at
    }

    /// Up to when the response is fresh; `None`: for ever, or nothing is stored.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.cache_info()?.expires_at
    }

    /// Whether the response is past its freshness by now.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.cache_info().is_some_and(|info| info.is_expired(self.session.layer().clock().now()))
    }

    /// Whether the response was past its freshness when it was served.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.cache_info().is_some_and(|info| info.is_stale)
    }

    /// Whether the origin confirmed what was stored, for this request.
    #[must_use]
    pub fn revalidated(&self) -> bool {
        self.cache_info().is_some_and(|info| info.revalidated)
    }

    /// How old the response was when it was served (RFC 9111 section 4.2.3); `None` where nothing is stored.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.cache_info()?.age
    }

    /// The key under which the response is stored; `None` where the cache was passed by.
    #[must_use]
    pub fn cache_key(&self) -> Option<&CacheKey> {
        self.cache_info()?.key.as_ref()
    }
}

// As little as of a request: a `Set-Cookie` or a `Location` may hold a secret.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("url", &without_query(&self.request.url))
            .field("headers", &self.headers().keys().collect::<Vec<_>>())
            .field("cache_info", &self.cache_info())
            .field("redirects", &self.history.len())
            .finish_non_exhaustive()
    }
}
