//! What every contender is to the measurements: something that is given a URL and hands out a body in chunks.
//!
//! The work is the same for all: build the request, look up, judge, build the response, read the body to its end.
//! Bodies are drained chunk by chunk, so that nobody is charged for a copy that was not asked for.

use std::future::Future;

use bytes::Bytes;
use http_body_util::BodyExt;

use crate::{BoxError, Result};

/// A client, with or without a cache.
pub(crate) trait Client: Send + Sync + 'static {
    /// The body of a response.
    type Body: Body;

    /// Sends a GET request and returns when the head of the response is there.
    fn send(&self, url: &str) -> impl Future<Output = Result<Self::Body>> + Send;

    /// Waits until nothing of earlier requests goes on any more. Whoever stores before the body ends has nothing to
    /// wait for.
    fn settle(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// A body that is being read.
pub(crate) trait Body: Send {
    /// The next bytes, `None` at the end.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>>> + Send;
}

/// Fetches `url`, reads the body to its end, and returns its length.
pub(crate) async fn fetch<C: Client>(client: &C, url: &str) -> Result<u64> {
    drain(client.send(url).await?).await
}

/// Reads a body to its end and returns the length of what was left of it.
pub(crate) async fn drain(mut body: impl Body) -> Result<u64> {
    let mut len: u64 = 0;
    while let Some(chunk) = body.chunk().await? {
        len = len.saturating_add(chunk.len() as u64);
    }
    Ok(len)
}

/// Any [`http_body::Body`] as a [`Body`].
pub(crate) struct HttpBody<B>(pub(crate) B);

impl<B> Body for HttpBody<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.0.frame().await {
            if let Ok(data) = frame.map_err(Into::into)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}
