//! Content codings, undone above the cache: what is stored is what came over the wire.
//!
//! A body may pretend to be small. Each coding is undone piece by piece, in bounded memory, and each is held to the
//! limits of [`Decompression`], not only the last: what swells in the middle of a chain costs time as well.

use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method};
use http_body::Body;
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};
use tokio_util::io::{StreamReader, poll_read_buf};

use crate::error::{Error, ErrorKind, Result};
use crate::layer::CacheBody;

/// What a session says that it can decode.
pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

/// How much is decoded at once, in bytes.
const PIECE: usize = 16 * 1024;

/// From how much on the ratio counts, in bytes: a short body of one letter is no bomb.
const RATIO_COUNTS_FROM: u64 = 1024 * 1024;

/// How much may follow the end of what is coded, in bytes.
const MAX_AFTER_END: u64 = 64 * 1024;

/// The largest window of zstd, as a power of two (RFC 8878 section 3.1.1.1.2 recommends 8 MiB).
const ZSTD_WINDOW_LOG: u32 = 23;

/// How response bodies are decoded: gzip, deflate, br and zstd, up to limits. Over one of them, reading the body is an
/// error of the kind [`Decode`](ErrorKind::Decode).
///
/// ```
/// use hyper_client_cache_core::CachedSession;
/// use hyper_client_cache_core::session::Decompression;
///
/// # fn main() -> hyper_client_cache_core::Result<()> {
/// let limits = Decompression::default().max_len(10 * 1024 * 1024).max_ratio(50);
/// let session = CachedSession::builder().decompression(limits).build()?;
/// // Bodies as they come over the wire, and no `Accept-Encoding`.
/// let raw = CachedSession::builder().decompression(None).build()?;
/// # let _ = (session, raw);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decompression {
    /// The longest body, decoded, in bytes. Default: 1 GiB; `None`: no limit.
    pub max_len: Option<u64>,
    /// How many times longer than on the wire a body may be, once it is longer than 1 MiB. Default: 250; `None`: no
    /// limit.
    pub max_ratio: Option<u32>,
    /// How many codings may lie one upon the other. Default: 5.
    pub max_codings: usize,
}

impl Decompression {
    /// Sets [`max_len`](Self::max_len).
    #[must_use]
    pub fn max_len(mut self, len: impl Into<Option<u64>>) -> Self {
        self.max_len = len.into();
        self
    }

    /// Sets [`max_ratio`](Self::max_ratio).
    #[must_use]
    pub fn max_ratio(mut self, ratio: impl Into<Option<u32>>) -> Self {
        self.max_ratio = ratio.into();
        self
    }

    /// Sets [`max_codings`](Self::max_codings).
    #[must_use]
    pub const fn max_codings(mut self, codings: usize) -> Self {
        self.max_codings = codings;
        self
    }

    pub(super) fn validate(&self) -> Result<()> {
        let problem = if self.max_len == Some(0) {
            "`max_len` of `decompression` is 0; use `None` for no limit, or `decompression(None)` for no decoding"
        } else if self.max_ratio == Some(0) {
            "`max_ratio` of `decompression` is 0; use `None` for no limit"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Config, problem))
    }

    /// The decoded body of a response, whose head is changed to describe it; `None` where there is nothing to decode.
    pub(super) fn decode(&self, method: &Method, head: &mut Parts, body: CacheBody) -> Result<Decoded> {
        // A part of a coded body cannot be decoded, and what has no body describes another.
        if *method == Method::HEAD || matches!(head.status.as_u16(), 204 | 206 | 304) {
            return Ok(Decoded::Not(body));
        }
        let Some(codings) = self.codings(&head.headers)? else { return Ok(Decoded::Not(body)) };
        head.headers.remove(CONTENT_ENCODING);
        head.headers.remove(CONTENT_LENGTH);
        Ok(Decoded::Decoded(Box::new(Decoder::new(body, codings, self.clone()))))
    }

    /// What lies upon the body, the outermost first; `None` for nothing, or for what is not known here.
    fn codings(&self, headers: &HeaderMap) -> Result<Option<Vec<Coding>>> {
        let mut found = Vec::new();
        let mut is_known = true;
        for line in headers.get_all(CONTENT_ENCODING) {
            for name in line.as_bytes().split(|byte| *byte == b',') {
                match Coding::named(name.trim_ascii()) {
                    Named::Coding(coding) => found.push(coding),
                    Named::Identity => {}
                    Named::Unknown => is_known = false,
                }
                if found.len() > self.max_codings {
                    let problem = format!("more than {} codings lie one upon the other", self.max_codings);
                    return Err(Error::new(ErrorKind::Decode, problem));
                }
            }
        }
        found.reverse();
        Ok(Some(found).filter(|found| is_known && !found.is_empty()))
    }
}

impl Default for Decompression {
    fn default() -> Self {
        Self { max_len: Some(1024 * 1024 * 1024), max_ratio: Some(250), max_codings: 5 }
    }
}

/// A body that is decoded, or one that is not.
pub(super) enum Decoded {
    Not(CacheBody),
    Decoded(Box<Decoder>),
}

#[derive(Clone, Copy, Debug)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

enum Named {
    Coding(Coding),
    Identity,
    Unknown,
}

impl Coding {
    fn named(name: &[u8]) -> Named {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("gzip") || is("x-gzip") {
            Named::Coding(Self::Gzip)
        } else if is("deflate") {
            Named::Coding(Self::Deflate)
        } else if is("br") {
            Named::Coding(Self::Brotli)
        } else if is("zstd") {
            Named::Coding(Self::Zstd)
        } else if is("identity") || name.is_empty() {
            Named::Identity
        } else {
            Named::Unknown
        }
    }

    fn reader(self, coded: impl AsyncBufRead + Send + Unpin + 'static, is_bare: bool) -> Reader {
        match self {
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(coded);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            Self::Deflate if is_bare => Box::pin(DeflateDecoder::new(coded)),
            Self::Deflate => Box::pin(ZlibDecoder::new(coded)),
            Self::Brotli => Box::pin(BrotliDecoder::new(coded)),
            Self::Zstd => {
                let mut decoder = ZstdDecoder::with_params(coded, &[DParameter::window_log_max(ZSTD_WINDOW_LOG)]);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
        }
    }
}

type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// A body that is decoded while it is read.
pub(super) struct Decoder {
    wire: Wire,
    limits: Decompression,
    state: State,
}

enum State {
    /// Nothing was read yet.
    Start(Vec<Coding>),
    Reading(Reader, BytesMut),
    /// What is coded has ended; the rest of the body is read so that it is known to be complete, and stored.
    Ended(u64),
    Done,
}

impl Decoder {
    fn new(body: CacheBody, codings: Vec<Coding>, limits: Decompression) -> Self {
        let wire = Wire { body: Arc::new(Mutex::new(body)), count: Arc::default(), first: None };
        Self { wire, limits, state: State::Start(codings) }
    }

    /// The next decoded bytes.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            match &mut self.state {
                State::Start(_) => match ready!(Pin::new(&mut self.wire).poll_next(cx)) {
                    // A body of no bytes is none, whatever it is said to be coded with.
                    None => self.state = State::Done,
                    Some(Err(error)) => return self.fail(error),
                    Some(Ok(bytes)) if bytes.is_empty() => {}
                    Some(Ok(first)) => {
                        let State::Start(codings) = mem::replace(&mut self.state, State::Done) else { continue };
                        let reader = self.open(&codings, first);
                        self.state = State::Reading(reader, BytesMut::new());
                    }
                },
                State::Reading(reader, buffer) => {
                    buffer.reserve(PIECE);
                    match ready!(poll_read_buf(reader.as_mut(), cx, buffer)) {
                        Ok(0) => self.state = State::Ended(0),
                        Ok(_) => return Poll::Ready(Some(Ok(buffer.split().freeze()))),
                        Err(error) => return self.fail(error),
                    }
                }
                State::Ended(after) => match ready!(Pin::new(&mut self.wire).poll_next(cx)) {
                    None => self.state = State::Done,
                    Some(Err(error)) => return self.fail(error),
                    Some(Ok(bytes)) => {
                        *after = after.saturating_add(bytes.len() as u64);
                        if *after > MAX_AFTER_END {
                            return self.fail(io::Error::other(over("too much follows the end of what is coded")));
                        }
                    }
                },
                State::Done => return Poll::Ready(None),
            }
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn open(&self, codings: &[Coding], first: Bytes) -> Reader {
        let is_bare = !is_zlib(&first);
        let wire = StreamReader::new(Wire { first: Some(first), ..self.wire.clone() });
        let metered = |reader| Metered {
            reader,
            wire: self.wire.count.clone(),
            decoded: 0,
            max_len: self.limits.max_len.unwrap_or(u64::MAX),
            max_ratio: self.limits.max_ratio.map_or(u64::MAX, u64::from),
        };
        let (outermost, inner) = match codings {
            [] => return Box::pin(wire),
            [outermost, inner @ ..] => (outermost, inner),
        };
        let mut reader: Reader = Box::pin(metered(outermost.reader(wire, is_bare)));
        for coding in inner {
            reader = Box::pin(metered(coding.reader(BufReader::with_capacity(PIECE, reader), false)));
        }
        reader
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<Result<Bytes>>> {
        self.state = State::Done;
        let kind = error.kind();
        let error = match error.into_inner().map(|inner| inner.downcast::<Error>()) {
            Some(Ok(ours)) => *ours,
            Some(Err(other)) => Error::new(ErrorKind::Decode, "its content coding is damaged").with_source(other),
            None if kind == io::ErrorKind::UnexpectedEof => Error::new(ErrorKind::Decode, "what is coded ends early"),
            None => Error::new(ErrorKind::Decode, "its content coding is damaged"),
        };
        Poll::Ready(Some(Err(error)))
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What came over the wire, counted.
#[derive(Clone)]
struct Wire {
    // Locked for one poll at a time, by whichever of the reader and the decoder reads at the moment.
    body: Arc<Mutex<CacheBody>>,
    count: Arc<AtomicU64>,
    first: Option<Bytes>,
}

impl Stream for Wire {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.count.fetch_add(data.len() as u64, Ordering::Relaxed);
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}

/// One undone coding, held to the limits.
struct Metered {
    reader: Reader,
    wire: Arc<AtomicU64>,
    decoded: u64,
    max_len: u64,
    max_ratio: u64,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.reader.as_mut().poll_read(cx, buf))?;
        let read = buf.filled().len().saturating_sub(before) as u64;
        self.decoded = self.decoded.saturating_add(read);
        if self.decoded > self.max_len {
            return Poll::Ready(Err(io::Error::other(over("it is longer than `max_len` allows"))));
        }
        let wire = self.wire.load(Ordering::Relaxed);
        if self.decoded > RATIO_COUNTS_FROM && self.decoded > wire.saturating_mul(self.max_ratio) {
            return Poll::Ready(Err(io::Error::other(over("it swells more than `max_ratio` allows"))));
        }
        Poll::Ready(Ok(()))
    }
}

fn over(problem: &'static str) -> Error {
    Error::new(ErrorKind::Decode, problem)
}

/// Whether what is called `deflate` begins as zlib, as RFC 9110 section 8.4.1.2 has it, and not bare, as some servers do.
fn is_zlib(first: &[u8]) -> bool {
    match first {
        [method, flags, ..] => {
            let header = u16::from_be_bytes([*method, *flags]);
            method & 0x0f == 8 && header.is_multiple_of(31)
        }
        _ => true,
    }
}
