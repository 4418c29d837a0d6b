//! A response's body, decoded, with the request's deadline on it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::decode::{Decoded, Decoder};
use super::read::lost;
use crate::error::{Error, ErrorKind};
use crate::layer::CacheBody;

/// The body of a [`Response`](super::Response): it streams, from the store or from the origin.
#[derive(Debug)]
pub struct ResponseBody {
    source: Source,
    deadline: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Source {
    Cache(CacheBody),
    /// The same, decoded on the way.
    Decoded(Box<Decoder>),
    /// What was read before.
    Kept(Option<Bytes>),
    Lost,
}

impl ResponseBody {
    pub(super) fn new(body: Decoded) -> Self {
        let source = match body {
            Decoded::Not(body) => Source::Cache(body),
            Decoded::Decoded(decoder) => Source::Decoded(decoder),
        };
        Self { source, deadline: None }
    }

    pub(super) fn kept(bytes: Bytes) -> Self {
        Self { source: Source::Kept(Some(bytes).filter(|bytes| !bytes.is_empty())), deadline: None }
    }

    pub(super) const fn lost() -> Self {
        Self { source: Source::Lost, deadline: None }
    }

    /// Fails reads after `deadline`. A body that is in memory already is read at once and needs none.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        let is_there = match &self.source {
            Source::Cache(body) => body.is_inline(),
            Source::Decoded(_) => false,
            Source::Kept(_) | Source::Lost => true,
        };
        if !is_there {
            self.deadline = Some(Box::pin(tokio::time::sleep_until(deadline)));
        }
    }

    pub(super) fn take_inline(&mut self) -> Option<Bytes> {
        match &mut self.source {
            Source::Cache(body) => body.take_inline(),
            Source::Kept(bytes) => Some(bytes.take().unwrap_or_default()),
            Source::Decoded(_) | Source::Lost => None,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match &mut self.source {
            Source::Cache(body) => Pin::new(body).poll_frame(cx),
            Source::Decoded(decoder) => decoder.poll_data(cx).map(|data| data.map(|data| data.map(Frame::data))),
            Source::Kept(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Lost => return Poll::Ready(Some(Err(lost()))),
        };
        if frame.is_pending()
            && let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(Error::new(ErrorKind::Timeout, "the request as a whole"))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Cache(body) => body.is_end_stream(),
            Source::Decoded(decoder) => decoder.is_done(),
            Source::Kept(bytes) => bytes.is_none(),
            Source::Lost => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Cache(body) => body.size_hint(),
            Source::Kept(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Decoded(_) | Source::Lost => SizeHint::new(),
        }
    }
}
