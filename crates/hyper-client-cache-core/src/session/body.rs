//! A response's body with the request's deadline on it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::error::{Error, ErrorKind};
use crate::layer::CacheBody;

/// The body of a [`Response`](super::Response): it streams, from the store or from the origin.
#[derive(Debug)]
pub struct ResponseBody {
    body: CacheBody,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    pub(super) const fn new(body: CacheBody) -> Self {
        Self { body, deadline: None }
    }

    /// Fails reads after `deadline`. A body that is in memory already is read at once and needs none.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        if !self.body.is_inline() {
            self.deadline = Some(Box::pin(tokio::time::sleep_until(deadline)));
        }
    }

    pub(super) fn take_inline(&mut self) -> Option<Bytes> {
        self.body.take_inline()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending()
            && let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(Error::new(ErrorKind::Timeout, "the request as a whole"))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
