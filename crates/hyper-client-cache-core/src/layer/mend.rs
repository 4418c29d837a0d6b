//! Goes on with a body from the origin, where the cache cannot: a part of a stored one is gone, or others were too fast
//! for who reads a shared one with them. The cache is never why a body ends early.
//!
//! The response is fetched once more, past the cache. What the caller has already is skipped, but only if it is the same
//! to the last bit; and the end is given only if the whole is what it was, as far as that is known. Otherwise the origin
//! has something else by now, and the body ends in an error rather than as a mix, or as another body under the headers
//! that the caller has.

use std::hash::Hasher;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};
use twox_hash::XxHash3_64;

use super::body::{Upstream, of_origin};
use crate::error::{Error, ErrorKind, Result};

/// Asks the origin for a response again, and [checks](Head::check) its head.
pub(super) type Refetch = Box<dyn FnOnce() -> BoxFuture<'static, Result<Response<Upstream>>> + Send>;

/// What the head of the origin's response must be to go on with.
pub(super) struct Head {
    status: StatusCode,
    lines: Option<Lines>,
}

struct Lines {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
    encoding: Option<HeaderValue>,
}

/// What its body must be.
#[derive(Clone, Copy)]
pub(super) struct Same {
    /// How much the caller has, and the hash of that.
    pub(super) delivered: (u64, u64),
    /// How long the whole is, and its hash, where these are known.
    pub(super) len: Option<u64>,
    pub(super) hash: Option<u64>,
}

impl Head {
    /// For a body that is known by its hash.
    pub(super) const fn of_stored(status: StatusCode) -> Self {
        Self { status, lines: None }
    }

    /// For a body of which perhaps nothing is known but what has come of it.
    pub(super) fn of<B>(response: &Response<B>) -> Self {
        let line = |name| response.headers().get(name).cloned();
        let (etag, last_modified) = (line(header::ETAG), line(header::LAST_MODIFIED));
        let lines = Lines { etag, last_modified, encoding: line(header::CONTENT_ENCODING) };
        Self { status: response.status(), lines: Some(lines) }
    }

    /// Gives the response back if it may be gone on with.
    ///
    /// # Errors
    /// [`ErrorKind::Body`].
    pub(super) fn check<B>(&self, response: Response<B>) -> Result<Response<B>> {
        let has = |name| response.headers().get(name);
        let is_like = self.lines.as_ref().is_none_or(|lines| {
            lines.etag.as_ref().is_none_or(|etag| has(header::ETAG) == Some(etag))
                && lines.last_modified.as_ref().is_none_or(|date| has(header::LAST_MODIFIED) == Some(date))
                && lines.encoding.as_ref() == has(header::CONTENT_ENCODING)
        });
        if is_like && response.status() == self.status { Ok(response) } else { Err(differs()) }
    }
}

/// The rest of a body, from the origin.
pub(super) struct Mend {
    stage: Stage,
    same: Same,
}

enum Stage {
    Asking(BoxFuture<'static, Result<Response<Upstream>>>),
    Skipping { body: Upstream, skipped: u64, hash: Box<XxHash3_64> },
    Giving { body: Upstream, given: u64, hash: Box<XxHash3_64> },
    Over,
    // Said again whenever it is asked: who logs an error and reads on must not take the body for a whole one.
    Failed(Error),
}

impl Same {
    /// Whether a body may be gone on with of which `given` bytes with the hash `hash` have come.
    fn allows(&self, given: u64, hash: &XxHash3_64) -> bool {
        match self.len {
            Some(len) if given == len => self.hash.is_none_or(|whole| whole == hash.finish()),
            Some(len) => given < len,
            None => true,
        }
    }
}

impl Mend {
    /// Begins to ask.
    pub(super) fn begin(refetch: Refetch, same: Same) -> Self {
        Self { stage: Stage::Asking(refetch()), same }
    }

    /// What cannot be gone on with.
    pub(super) const fn failed(error: Error) -> Self {
        Self { stage: Stage::Failed(error), same: Same { delivered: (0, 0), len: None, hash: None } }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let result = ready!(self.poll_next(cx));
        match &result {
            Ok(Some(_)) => {}
            Ok(None) => self.stage = Stage::Over,
            Err(error) => self.stage = Stage::Failed(error.clone()),
        }
        Poll::Ready(result.map(|bytes| bytes.map(Frame::data)).transpose())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            match &mut self.stage {
                Stage::Asking(asking) => {
                    let body = ready!(asking.as_mut().poll(cx))?.into_body();
                    self.stage = Stage::Skipping { body, skipped: 0, hash: Box::default() };
                }
                Stage::Skipping { body, skipped, hash } => {
                    let (delivered, expected) = self.same.delivered;
                    let mut rest = Bytes::new();
                    if *skipped < delivered {
                        let Some(mut data) = ready!(poll_data(body, cx))? else { return Poll::Ready(Err(differs())) };
                        let missing = usize::try_from(delivered.saturating_sub(*skipped)).unwrap_or(usize::MAX);
                        rest = data.split_off(missing.min(data.len()));
                        hash.write(&data);
                        *skipped = skipped.saturating_add(data.len() as u64);
                        if *skipped < delivered {
                            continue;
                        }
                    }
                    if hash.finish() != expected {
                        return Poll::Ready(Err(differs()));
                    }
                    hash.write(&rest);
                    let given = delivered.saturating_add(rest.len() as u64);
                    if !self.same.allows(given, hash) {
                        return Poll::Ready(Err(differs()));
                    }
                    if let Stage::Skipping { body, hash, .. } = std::mem::replace(&mut self.stage, Stage::Over) {
                        self.stage = Stage::Giving { body, given, hash };
                    }
                    if !rest.is_empty() {
                        return Poll::Ready(Ok(Some(rest)));
                    }
                }
                Stage::Giving { body, given, hash } => {
                    let data = ready!(poll_data(body, cx))?;
                    let fits = match &data {
                        Some(data) => {
                            hash.write(data);
                            *given = given.saturating_add(data.len() as u64);
                            // What completes it is held back where the whole is not what was stored.
                            self.same.allows(*given, hash)
                        }
                        None => self.same.len.is_none_or(|len| *given == len),
                    };
                    return Poll::Ready(if fits { Ok(data) } else { Err(differs()) });
                }
                Stage::Over => return Poll::Ready(Ok(None)),
                Stage::Failed(error) => return Poll::Ready(Err(error.clone())),
            }
        }
    }
}

/// The next bytes that are not empty.
fn poll_data(body: &mut Upstream, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => return Poll::Ready(Ok(None)),
            Some(Err(error)) => {
                return Poll::Ready(Err(of_origin(error)));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
                _ => {}
            },
        }
    }
}

fn differs() -> Error {
    Error::new(ErrorKind::Body, "the cache does not have the rest of the body, and the origin has another by now")
}
