//! The body of a request, which knows whether it can be sent twice.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::error::BoxError;

/// The body of a request: nothing, bytes, or a stream.
#[derive(Default)]
pub struct RequestBody(Content);

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Full(Full<Bytes>, Bytes),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

impl RequestBody {
    /// A body that is sent as it comes. It cannot be sent twice, so that a redirect that needs it again is an error.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Content::Stream(body.map_err(Into::into).boxed_unsync()))
    }

    /// The same body once more; `None` for a stream.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Content::Empty => Some(Self::default()),
            Content::Full(_, bytes) => Some(Self::from(bytes.clone())),
            Content::Stream(_) => None,
        }
    }

    /// The bytes, where they are known and there are any.
    pub(crate) const fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Content::Full(_, bytes) => Some(bytes),
            Content::Empty | Content::Stream(_) => None,
        }
    }

    /// The whole body, where it is in memory; `None` for a stream.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Content::Empty => Some(b""),
            Content::Full(_, bytes) => Some(bytes),
            Content::Stream(_) => None,
        }
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        Self(Content::Full(Full::new(bytes.clone()), bytes))
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<String> for RequestBody {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<&'static str> for RequestBody {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl From<&'static [u8]> for RequestBody {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from(Bytes::from_static(bytes))
    }
}

impl From<()> for RequestBody {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Content::Empty => Poll::Ready(None),
            Content::Full(body, _) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Content::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Empty => true,
            Content::Full(body, _) => body.is_end_stream(),
            Content::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(body, _) => body.size_hint(),
            Content::Stream(body) => body.size_hint(),
        }
    }
}

// What is sent may be a password: only how much it is, is shown (case 75).
impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Empty => f.write_str("RequestBody(empty)"),
            Content::Full(_, bytes) => write!(f, "RequestBody({} bytes)", bytes.len()),
            Content::Stream(_) => f.write_str("RequestBody(stream)"),
        }
    }
}
