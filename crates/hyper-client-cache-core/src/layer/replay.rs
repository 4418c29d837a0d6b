//! A request's body whose bytes are known beforehand, so that they can be part of the key and the request can be sent
//! again.

use std::fmt;

use bytes::Bytes;
use http::{Extensions, Request};
use http_body::Body;

use crate::policy::Reason;

/// The bytes of a request's body and how to make the body of them once more. Put into the request's extensions, it lets
/// the cache answer requests with a body, where their method is among
/// [`allowed_methods`](crate::policy::Settings::allowed_methods); a body without it bypasses the cache, for its bytes are
/// not known before they are sent.
///
/// `CachedSession` does so by itself. Whoever uses the layer under another client does it for each such request:
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_client_cache_core::layer::ReplayBody;
///
/// let query = Bytes::from_static(br#"{"query":"{ user { name } }"}"#);
/// let replay = ReplayBody::<Full<Bytes>>::new(query);
/// let request = http::Request::post("https://example.org/graphql")
///     .header("content-type", "application/json")
///     .extension(replay.clone())
///     .body(replay.body())
///     .unwrap();
/// # let _ = request;
/// ```
pub struct ReplayBody<B> {
    bytes: Bytes,
    make: fn(Bytes) -> B,
}

impl<B: From<Bytes>> ReplayBody<B> {
    /// A body of these bytes.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, make: B::from }
    }
}

impl<B> ReplayBody<B> {
    /// A body of these bytes, made by `make`.
    #[must_use]
    pub const fn made_by(bytes: Bytes, make: fn(Bytes) -> B) -> Self {
        Self { bytes, make }
    }

    pub(super) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The body once more.
    #[must_use]
    pub fn body(&self) -> B {
        (self.make)(self.bytes.clone())
    }
}

impl<B> Clone for ReplayBody<B> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), make: self.make }
    }
}

// The bytes may be a secret.
impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// The body of `request` as it is part of the key; `None` where it has none.
pub(super) fn keyed<B: Body + 'static>(request: &Request<B>, limit: u64) -> Result<Option<&[u8]>, Reason> {
    if request.body().is_end_stream() {
        return Ok(None);
    }
    let replay = of(request).ok_or(Reason::RequestBody)?;
    if replay.bytes.len() as u64 > limit { Err(Reason::RequestBodyTooLong) } else { Ok(Some(&replay.bytes)) }
}

/// How to send the body of `request` again; `None` where it has none, or that is not known.
pub(super) fn of<B: Body + 'static>(request: &Request<B>) -> Option<&ReplayBody<B>> {
    if request.body().is_end_stream() {
        return None;
    }
    let replay: &ReplayBody<B> = in_extensions(request.extensions())?;
    // What a layer above has replaced the body by, while it kept the extensions, is another body.
    (request.body().size_hint().exact() == Some(replay.bytes.len() as u64)).then_some(replay)
}

/// What is said to be the body of `request`, whatever body it has: for looking at what is stored for it.
pub(super) fn said<B: 'static>(request: &Request<B>) -> Option<&[u8]> {
    in_extensions::<B>(request.extensions()).map(|replay| &replay.bytes[..])
}

fn in_extensions<B: 'static>(extensions: &Extensions) -> Option<&ReplayBody<B>> {
    extensions.get()
}
