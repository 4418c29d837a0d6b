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
    deadline: Option<Instant>,
    // Set only where something is waited for.
    timer: Option<Pin<Box<Sleep>>>,
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
        Self { source, deadline: None, timer: None }
    }

    pub(super) fn kept(bytes: Bytes) -> Self {
        let source = Source::Kept(Some(bytes).filter(|bytes| !bytes.is_empty()));
        Self { source, deadline: None, timer: None }
    }

    pub(super) const fn lost() -> Self {
        Self { source: Source::Lost, deadline: None, timer: None }
    }

    /// Fails reads after `deadline`. A body that is in memory already is read at once and needs none.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        let is_there = match &self.source {
            Source::Cache(body) => body.is_inline(),
            Source::Decoded(_) => false,
            Source::Kept(_) | Source::Lost => true,
        };
        if !is_there {
            self.deadline = Some(deadline);
        }
    }

    /// Lets go of what its time is over for.
    fn end(&mut self) -> Error {
        *self = Self::lost();
        Error::new(ErrorKind::Timeout, "the request as a whole")
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
        // Before anything is read: who reads slowly may find something at any time.
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) && !self.is_end_stream() {
            return Poll::Ready(Some(Err(self.end())));
        }
        let frame = match &mut self.source {
            Source::Cache(body) => Pin::new(body).poll_frame(cx),
            Source::Decoded(decoder) => decoder.poll_data(cx).map(|data| data.map(|data| data.map(Frame::data))),
            Source::Kept(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Lost => return Poll::Ready(Some(Err(lost()))),
        };
        // Asked once more: where the time was over before the waker was there, nobody wakes it any more, and what it was
        // told may only be that it is gone.
        if matches!(frame, Poll::Pending | Poll::Ready(Some(Err(_))))
            && self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
        {
            return Poll::Ready(Some(Err(self.end())));
        }
        if frame.is_pending()
            && let Some(deadline) = self.deadline
            && !matches!(&self.source, Source::Cache(body) if body.wakes_in_time())
        {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some(Err(self.end())));
            }
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
