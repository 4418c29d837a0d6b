//! What a session sends with: its own transport, or a service that it was given.
//!
//! The kind is chosen at run time, so that a session has no type parameter; the box is paid for by what goes out, never
//! by a hit.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::{HeaderMap, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower_service::Service;

use super::{RequestBody, Transport, TransportBody};
use crate::error::{BoxError, Error, ErrorKind, Result};

/// Sees the head of each response that really came in.
pub(crate) type Observer = Arc<dyn Fn(&Uri, &HeaderMap) + Send + Sync>;

/// A transport of either kind. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbound(Arc<Inner>);

struct Inner {
    sender: Sender,
    observer: Option<Observer>,
}

#[allow(clippy::large_enum_variant)] // there is one for each session
enum Sender {
    Own(Transport),
    Given(Box<dyn Given>),
}

impl Outbound {
    pub(crate) fn own(transport: Transport, observer: Option<Observer>) -> Self {
        Self(Arc::new(Inner { sender: Sender::Own(transport), observer }))
    }

    pub(crate) fn given(given: Box<dyn Given>, observer: Option<Observer>) -> Self {
        Self(Arc::new(Inner { sender: Sender::Given(given), observer }))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.sender {
            Sender::Own(_) => "Outbound(own)",
            Sender::Given(_) => "Outbound(given)",
        })
    }
}

impl Service<Request<RequestBody>> for Outbound {
    type Response = Response<OutboundBody>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        // A given service is asked in its call, for this handle is not the one that it would be ready on.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            let uri = inner.observer.is_some().then(|| request.uri().clone());
            let response = match &inner.sender {
                Sender::Own(transport) => transport.send(request).await?.map(OutboundBody::Own),
                Sender::Given(given) => given.send(request).await?.map(OutboundBody::Given),
            };
            if let (Some(observer), Some(uri)) = (&inner.observer, &uri) {
                observer(uri, response.headers());
            }
            Ok(response)
        })
    }
}

/// Any service that sends requests, behind a pointer.
pub(crate) trait Given: Send + Sync {
    fn send(
        &self,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Result<Response<UnsyncBoxBody<Bytes, BoxError>>>>;
}

impl<S, B> Given for S
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn send(
        &self,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Result<Response<UnsyncBoxBody<Bytes, BoxError>>>> {
        let mut service = self.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(of_given)?;
            let response = service.call(request).await.map_err(of_given)?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// An error of ours passes as it is; another's becomes the source of one.
fn of_given(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => Error::new(ErrorKind::Transport, "").with_source(other),
    }
}

/// The body of a response that came in.
pub(crate) enum OutboundBody {
    Own(TransportBody),
    Given(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body for OutboundBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Own(body) => Pin::new(body).poll_frame(cx),
            Self::Given(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Given(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Given(body) => body.size_hint(),
        }
    }
}
