//! The time between two reads of a response's body.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::error::{BoxError, Error, ErrorKind};

/// The body of a response that a [`Transport`](super::Transport) got: an error where the time between two reads is up.
#[derive(Debug)]
pub struct TransportBody {
    body: Incoming,
    limit: Option<Duration>,
    /// Made at the first wait, and set anew at each; a body that is always there first needs none.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl TransportBody {
    pub(super) const fn new(body: Incoming, limit: Option<Duration>) -> Self {
        Self { body, limit, timer: None, waiting: false }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(limit) = self.limit else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            let now = Instant::now();
            timer.as_mut().reset(now.checked_add(limit).unwrap_or(now));
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

impl Body for TransportBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending if self.is_late(cx) => Poll::Ready(Some(Err(late().into()))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(frame) => {
                self.waiting = false;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pub(super) fn late() -> Error {
    Error::new(ErrorKind::Timeout, "`read_timeout` between two reads")
}
