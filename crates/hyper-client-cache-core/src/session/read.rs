//! How a response's body is read: as a whole, as often as wanted, or piece by piece.

use std::mem;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Response, ResponseBody};
use crate::error::{Error, ErrorKind, Result};

/// What a response has of its body.
pub(super) enum Content {
    /// All that was not given out in pieces.
    Unread(ResponseBody),
    /// All of it, and from where on it was not given out in pieces.
    Kept(Bytes, Bytes),
    /// Somebody reads it, or stopped reading it half-way.
    Lost,
}

impl Content {
    pub(super) const fn unread(body: ResponseBody) -> Mutex<Self> {
        Mutex::new(Self::Unread(body))
    }

    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        if let Self::Unread(body) = self {
            body.set_deadline(deadline);
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Unread(body) => next_of(body).await,
            Self::Kept(_, rest) => Ok(Some(mem::take(rest)).filter(|rest| !rest.is_empty())),
            Self::Lost => Err(lost()),
        }
    }
}

impl Response {
    /// Waits for the whole body, and keeps it: further calls give the same bytes again, with no copy.
    /// What [`chunk`](Self::chunk) gave out before is not part of it.
    ///
    /// A body that is stored inline is handed out as it was read from the store.
    ///
    /// # Errors
    /// [`ErrorKind::Body`] where it ends early, where another call is reading it at this moment, and where one before was
    /// dropped or failed half-way; [`ErrorKind::Decode`] where its content coding is damaged, or it is over a limit of
    /// [`Decompression`](super::Decompression); [`ErrorKind::Timeout`] where the request's time runs out.
    pub async fn bytes(&self) -> Result<Bytes> {
        // On a line of its own, so that the lock is free again before the arms below take it.
        let content = mem::replace(&mut *self.lock(), Content::Lost);
        let body = match content {
            Content::Unread(body) => body,
            Content::Kept(whole, rest) => {
                *self.lock() = Content::Kept(whole.clone(), rest);
                return Ok(whole);
            }
            Content::Lost => return Err(lost()),
        };
        // Not under the lock: a second caller gets an error at once rather than waiting for the network.
        let whole = whole_of(body).await?;
        *self.lock() = Content::Kept(whole.clone(), whole.clone());
        Ok(whole)
    }

    /// Waits for the whole body as text in the charset that a byte order mark or `Content-Type` names, else in UTF-8.
    /// What is not valid in it becomes U+FFFD.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub async fn text(&self) -> Result<String> {
        self.text_with_charset("utf-8").await
    }

    /// Waits for the whole body as text, in the charset of this label where nothing else is named. An unknown label
    /// stands for UTF-8.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub async fn text_with_charset(&self, default: &str) -> Result<String> {
        let bytes = self.bytes().await?;
        let named = self.charset();
        let label = named.as_deref().unwrap_or(default);
        let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap_or(encoding_rs::UTF_8);
        Ok(encoding.decode(&bytes).0.into_owned())
    }

    /// Waits for the whole body as JSON. An empty body, or one of white space, reads as `null`.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] where it is not JSON, or not such a value; else as [`bytes`](Self::bytes).
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let bytes = self.bytes().await?;
        let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let json = if json.trim_ascii().is_empty() { b"null" } else { json };
        // The source says where it stopped, and may quote the value there: it is the caller's own data.
        serde_json::from_slice(json).map_err(|error| Error::new(ErrorKind::Decode, "as JSON").with_source(error))
    }

    /// Waits for the next bytes of the body, never none; `None` at its end, and ever after.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.content_mut().next().await
    }

    /// The body as a stream of bytes, in pieces as they come. It ends with the first error, of which there are those of
    /// [`bytes`](Self::bytes).
    pub fn bytes_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        stream::unfold(Some(self.into_content()), async |content| {
            let mut content = content?;
            match content.next().await {
                Ok(bytes) => Some((Ok(bytes?), Some(content))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// The body as a stream of pieces of `len` bytes, of which the last may be shorter; 0 counts as 1. Errors are as in
    /// [`bytes_stream`](Self::bytes_stream).
    pub fn chunks_of(self, len: usize) -> impl Stream<Item = Result<Bytes>> + Send {
        let len = len.max(1);
        pieces(self.into_content(), move |held: &mut BytesMut, ended| {
            let len = if ended { len.min(held.len()) } else { len };
            (len > 0 && held.len() >= len).then(|| held.split_to(len).freeze())
        })
    }

    /// The body as a stream of lines in UTF-8, without the `\n` or `\r\n` at their ends. A line is held in memory as a
    /// whole. What is not valid becomes U+FFFD. Errors are as in [`bytes_stream`](Self::bytes_stream).
    pub fn lines(self) -> impl Stream<Item = Result<String>> + Send {
        // What was looked at without finding an end is not looked at again.
        let mut seen: usize = 0;
        let lines = pieces(self.into_content(), move |held: &mut BytesMut, ended| {
            let found = held.iter().skip(seen).position(|byte| *byte == b'\n').map(|at| seen.saturating_add(at));
            seen = held.len();
            let line = match found {
                Some(end) => held.split_to(end.saturating_add(1)).freeze(),
                None if ended && !held.is_empty() => held.split().freeze(),
                None => return None,
            };
            seen = 0;
            Some(line)
        });
        futures_util::StreamExt::map(lines, |line| {
            let line = line?;
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            Ok(String::from_utf8_lossy(text).into_owned())
        })
    }

    /// The response in the `http` crate's terms; [`CacheInfo`](crate::policy::CacheInfo) is in its extensions.
    /// A body that somebody stopped reading half-way is an error to read.
    #[must_use]
    pub fn into_http(self) -> http::Response<ResponseBody> {
        let body = match self.content.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Content::Unread(body) => body,
            Content::Kept(_, rest) => ResponseBody::kept(rest),
            Content::Lost => ResponseBody::lost(),
        };
        http::Response::from_parts(self.head, body)
    }

    pub(super) fn content_mut(&mut self) -> &mut Content {
        self.content.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_content(self) -> Content {
        self.content.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn lost() -> Error {
    Error::new(ErrorKind::Body, "it is being read already, or was not read to its end before")
}

async fn next_of(body: &mut ResponseBody) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn whole_of(mut body: ResponseBody) -> Result<Bytes> {
    if let Some(bytes) = body.take_inline() {
        return Ok(bytes);
    }
    let Some(first) = next_of(&mut body).await? else { return Ok(Bytes::new()) };
    // One chunk is handed on; only a second one needs a buffer.
    let Some(second) = next_of(&mut body).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(first.len().saturating_add(second.len()));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(chunk) = next_of(&mut body).await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The body cut anew: `cut` takes the next piece from what is held, if there is one; it is told when no more comes.
fn pieces(
    content: Content,
    cut: impl FnMut(&mut BytesMut, bool) -> Option<Bytes> + Send,
) -> impl Stream<Item = Result<Bytes>> + Send {
    stream::unfold(Some((content, BytesMut::new(), false, cut)), async |state| {
        let (mut content, mut held, mut ended, mut cut) = state?;
        loop {
            if let Some(piece) = cut(&mut held, ended) {
                return Some((Ok(piece), Some((content, held, ended, cut))));
            }
            if ended {
                return None;
            }
            match content.next().await {
                Ok(Some(bytes)) => held.extend_from_slice(&bytes),
                Ok(None) => ended = true,
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
}
