//! What a request comes to.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::{HeaderMap, StatusCode, Uri, Version};
use http_body_util::{BodyExt, BodyStream};
use serde::de::DeserializeOwned;

use super::request::without_query;
use super::{CachedSession, Hop, ResponseBody};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{CacheInfo, Reason};
use crate::storage::CacheKey;

/// A response, from the origin or from the cache. Its body streams.
///
/// A response that is being stored is stored once its body has been read to the end; one that is dropped earlier is not.
pub struct Response {
    inner: http::Response<ResponseBody>,
    url: Uri,
    history: Vec<Hop>,
    session: CachedSession,
}

impl Response {
    pub(super) const fn new(
        inner: http::Response<ResponseBody>,
        url: Uri,
        history: Vec<Hop>,
        session: CachedSession,
    ) -> Self {
        Self { inner, url, history, session }
    }

    pub(super) fn with_deadline(mut self, deadline: tokio::time::Instant) -> Self {
        // What is served because the time ran out has none left to be read in.
        let is_late = self.cache_info().is_some_and(|info| info.reason == Reason::StaleIfError);
        if !is_late {
            self.inner.body_mut().set_deadline(deadline);
        }
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The HTTP version over which the response came, or had come when it was stored.
    #[must_use]
    pub fn version(&self) -> Version {
        self.inner.version()
    }

    /// The header lines.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The URL that answered: after redirects, the last.
    #[must_use]
    pub const fn url(&self) -> &Uri {
        &self.url
    }

    /// The redirects that led here, oldest first.
    #[must_use]
    pub fn history(&self) -> &[Hop] {
        &self.history
    }

    /// What the cache did for this response, and why.
    #[must_use]
    pub fn cache_info(&self) -> Option<&CacheInfo> {
        self.inner.extensions().get()
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

    /// Waits for the whole body. A body that is stored inline is handed out as it was read, with no copy.
    ///
    /// # Errors
    /// [`ErrorKind::Body`] where it ends early, [`ErrorKind::Timeout`] where the request's time runs out.
    pub async fn bytes(mut self) -> Result<Bytes> {
        if let Some(bytes) = self.inner.body_mut().take_inline() {
            return Ok(bytes);
        }
        let mut whole = BytesMut::new();
        let mut only: Option<Bytes> = None;
        while let Some(chunk) = self.chunk().await? {
            // One chunk is handed on; only a second one needs a buffer.
            match only.take() {
                None if whole.is_empty() => only = Some(chunk),
                None => whole.extend_from_slice(&chunk),
                Some(first) => {
                    whole.extend_from_slice(&first);
                    whole.extend_from_slice(&chunk);
                }
            }
        }
        Ok(only.unwrap_or_else(|| whole.freeze()))
    }

    /// Waits for the whole body as text in UTF-8; what is not becomes U+FFFD.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub async fn text(self) -> Result<String> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits for the whole body as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] where it is not, else as [`bytes`](Self::bytes).
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::new(ErrorKind::Decode, "as JSON").with_source(error))
    }

    /// Waits for the next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.inner.body_mut().frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The body as a stream of bytes.
    pub fn bytes_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        use futures_util::StreamExt;
        BodyStream::new(self.inner.into_body()).filter_map(async |frame| match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(error)),
        })
    }

    /// The response in the `http` crate's terms; [`CacheInfo`] is in its extensions.
    #[must_use]
    pub fn into_http(self) -> http::Response<ResponseBody> {
        self.inner
    }
}

// As little as of a request: a `Set-Cookie` or a `Location` may hold a secret.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("url", &without_query(&self.url))
            .field("headers", &self.headers().keys().collect::<Vec<_>>())
            .field("cache_info", &self.cache_info())
            .field("redirects", &self.history.len())
            .finish_non_exhaustive()
    }
}
