//! What the origin says to one request: a well-formed response, or one with a fault in it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::player::{Piece, Player};
use super::{Gate, Recorded};

/// One answer: status, headers, a body in pieces, and perhaps a fault.
///
/// Nothing is added that a test did not ask for, no `Date` either: only the framing headers.
/// A body given at once is sent with `Content-Length`, one that was appended to in pieces is chunked on HTTP/1.1.
///
/// ```
/// use hyper_client_cache_testkit::origin::{Answer, Gate};
///
/// let plain = Answer::ok("hello").header("cache-control", "max-age=60").etag("\"v1\"");
/// let gate = Gate::new();
/// let late = Answer::ok("first, ").gate(&gate).chunk("second");
/// let cut = Answer::ok("a body that ends early").cut_after(6);
/// # let _ = (plain, late, cut);
/// ```
///
/// An answer with a fault, and each that HTTP semantics forbid, is written by hand on HTTP/1.1, and its connection is
/// closed afterwards. On HTTP/2 a cut is `RST_STREAM`, and a [declared length](Self::content_length) that is
/// too long is an early `END_STREAM`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) before: Vec<Piece>,
    pub(super) pieces: Vec<Piece>,
    pub(super) trailers: HeaderMap,
    pub(super) informational: Vec<(StatusCode, HeaderMap)>,
    pub(super) framing: Framing,
    pub(super) end: End,
    pub(super) limit: Option<u64>,
    pub(super) extra: Bytes,
    pub(super) goaway: bool,
    pub(super) refused: bool,
    pub(super) tunnel: Option<SocketAddr>,
    conditional: bool,
}

/// How the length of a body is told on HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    Declared(u64),
    Chunked,
    UntilClose,
    // No head at all: the pieces are what goes over the socket.
    Raw,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Proper,
    // The connection is closed although the framing promised more.
    Cut,
    // Closed without the `close_notify` of TLS.
    Abrupt,
    // RST on TCP.
    Reset,
}

impl Answer {
    /// A status without a body.
    ///
    /// # Panics
    /// Where `code` is no status code: a mistake in the test.
    #[allow(clippy::panic)] // a mistake in a test's script shall fail the test
    pub fn status(code: u16) -> Self {
        Self {
            status: StatusCode::from_u16(code).unwrap_or_else(|_| panic!("{code} is no status code")),
            headers: HeaderMap::new(),
            before: Vec::new(),
            pieces: Vec::new(),
            trailers: HeaderMap::new(),
            informational: Vec::new(),
            framing: Framing::Length,
            end: End::Proper,
            limit: None,
            extra: Bytes::new(),
            goaway: false,
            refused: false,
            tunnel: None,
            conditional: false,
        }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::status(200).body(body)
    }

    /// 304 without headers. [`etag`](Self::etag) makes an answer that turns into one by itself.
    pub fn not_modified() -> Self {
        Self::status(304)
    }

    /// A redirect to `location`.
    pub fn redirect(code: u16, location: &str) -> Self {
        Self::status(code).header("location", location)
    }

    /// Exactly these bytes on the socket, then the end of the connection; HTTP/1.1 only.
    ///
    /// [`chunk`](Self::chunk), [`gate`](Self::gate) and the ways to end apply as to any body.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { framing: Framing::Raw, ..Self::ok(bytes) }
    }

    /// 200 whose body is the first `len` bytes of the [`pattern`](super::pattern()), with `Content-Length`. Never held
    /// as a whole.
    pub fn pattern(len: u64) -> Self {
        Self { pieces: vec![Piece::Pattern(len)], ..Self::status(200) }
    }

    /// 200 whose body, the [`pattern`](super::pattern()), never ends; chunked on HTTP/1.1.
    pub fn endless() -> Self {
        Self { framing: Framing::Chunked, ..Self::pattern(u64::MAX) }
    }

    /// Replaces the body by one that is sent at once.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.pieces = vec![Piece::Bytes(body.into())];
        self
    }

    /// Adds a header line.
    ///
    /// # Panics
    /// Where name or value are not allowed in HTTP: a mistake in the test. [`raw`](Self::raw) sends anything.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        append(&mut self.headers, name, value.as_ref());
        self
    }

    /// Adds a trailer, which makes the body chunked on HTTP/1.1. The pieces of the body must be finite.
    ///
    /// # Panics
    /// As [`header`](Self::header).
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        append(&mut self.trailers, name, value.as_ref());
        self.framing = Framing::Chunked;
        self
    }

    /// Sets `ETag` and answers a request with a matching `If-None-Match` with 304 and the same headers.
    ///
    /// # Panics
    /// As [`header`](Self::header).
    pub fn etag(mut self, etag: &str) -> Self {
        self.conditional = true;
        self.header("etag", etag)
    }

    /// Sets `Last-Modified` (an HTTP date) and answers a request with this `If-Modified-Since` with 304.
    ///
    /// # Panics
    /// As [`header`](Self::header).
    pub fn last_modified(mut self, date: &str) -> Self {
        self.conditional = true;
        self.header("last-modified", date)
    }

    /// Appends bytes to the body, which is chunked from here on unless its framing was set.
    pub fn chunk(mut self, bytes: impl Into<Bytes>) -> Self {
        self.pieces.push(Piece::Bytes(bytes.into()));
        self.streamed()
    }

    /// Waits at `gate` before going on with the body.
    pub fn gate(mut self, gate: &Gate) -> Self {
        self.pieces.push(Piece::Wait(gate.clone()));
        self.streamed()
    }

    /// Waits this long before going on with the body. Tests use a [`gate`](Self::gate); this is for examples.
    pub fn pause(mut self, time: Duration) -> Self {
        self.pieces.push(Piece::Pause(time));
        self.streamed()
    }

    /// Waits at `gate` before the header section.
    pub fn after(mut self, gate: &Gate) -> Self {
        self.before.push(Piece::Wait(gate.clone()));
        self
    }

    /// Waits this long before the header section. Tests use [`after`](Self::after); this is for examples.
    pub fn delay(mut self, time: Duration) -> Self {
        self.before.push(Piece::Pause(time));
        self
    }

    /// Sends an interim response (102, 103) first; HTTP/1.1 only.
    ///
    /// # Panics
    /// Where `code` is no status code, and as [`header`](Self::header).
    pub fn informational(mut self, code: u16, headers: &[(&str, &str)]) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            append(&mut map, name, value.as_bytes());
        }
        self.informational.push((Self::status(code).status, map));
        self
    }

    /// Says `Content-Length: len`, whether or not it is true. The body ends where its pieces end, so a length that is
    /// too long is a body cut short, and one that is too short is a body with bytes after its end.
    pub fn content_length(mut self, len: u64) -> Self {
        self.framing = Framing::Declared(len);
        self
    }

    /// Sends the body chunked on HTTP/1.1.
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Ends the body by closing the connection: neither `Content-Length` nor chunks; HTTP/1.1 only.
    pub fn close_delimited(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    /// Sends the whole body chunked, but not the final chunk, and closes the connection; `RST_STREAM` on HTTP/2.
    pub fn without_final_chunk(mut self) -> Self {
        self.end = End::Cut;
        self.chunked()
    }

    /// Sends `len` bytes of the body, then closes the connection; `RST_STREAM` on HTTP/2.
    pub fn cut_after(mut self, len: u64) -> Self {
        self.limit = Some(len);
        self.end = End::Cut;
        self
    }

    /// Sends `len` bytes of the body, then resets the connection. On HTTP/2 the connection is closed with all of its
    /// streams, and the last bytes may be lost.
    pub fn reset_after(mut self, len: u64) -> Self {
        self.limit = Some(len);
        self.end = End::Reset;
        self
    }

    /// Ends the connection after this answer without the `close_notify` of TLS; HTTP/1.1 only.
    pub fn without_close_notify(mut self) -> Self {
        self.end = End::Abrupt;
        self
    }

    /// Sends bytes that nobody asked for right after the answer, then waits for the client to close; HTTP/1.1 only.
    pub fn followed_by(mut self, extra: impl Into<Bytes>) -> Self {
        self.extra = extra.into();
        self
    }

    /// Sends `GOAWAY` with this answer: the connection takes no further requests; HTTP/2 only.
    pub fn goaway(mut self) -> Self {
        self.goaway = true;
        self
    }

    /// Refuses the request with `REFUSED_STREAM`, which says that it was not begun with; HTTP/2 only.
    pub fn refused() -> Self {
        Self { refused: true, ..Self::status(503) }
    }

    /// Opens a tunnel to `address`, for a request with CONNECT (RFC 9110 section 9.3.6), whose target is host and port:
    /// what a proxy does, on HTTP/1.1 with TLS or without.
    ///
    /// ```
    /// # use hyper_client_cache_testkit::origin::{Answer, Origin};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let origin = Origin::builder().tls().start().await;
    /// let proxy = Origin::builder().tls().http1().start().await;
    /// proxy.on(&format!("localhost:{}", origin.address().port()), Answer::tunnel(origin.address()));
    /// # });
    /// ```
    pub fn tunnel(address: SocketAddr) -> Self {
        Self { tunnel: Some(address), ..Self::status(200) }
    }

    fn streamed(mut self) -> Self {
        if self.framing == Framing::Length {
            self.framing = Framing::Chunked;
        }
        self
    }

    /// The answer to `request`: this one, or 304 where a validator matches (RFC 9110 section 13.2.2).
    pub(super) fn validated(self, request: &Recorded) -> Self {
        if !self.conditional || !matches!(request.method, Method::GET | Method::HEAD) || !self.matches(request) {
            return self;
        }
        Self { headers: self.headers, before: self.before, ..Self::not_modified() }
    }

    fn matches(&self, request: &Recorded) -> bool {
        let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let mut asked = request.headers.get_all(header::IF_NONE_MATCH).iter().peekable();
        if asked.peek().is_none() {
            let since = request.headers.get(header::IF_MODIFIED_SINCE);
            return since.is_some() && since == self.headers.get(header::LAST_MODIFIED);
        }
        let Some(etag) = self.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(strong) else {
            return false;
        };
        asked
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .any(|tag| tag.trim() == "*" || strong(tag) == etag)
    }

    /// Whether hyper can send this on HTTP/1.1: everything about it is as it should be.
    pub(super) fn is_plain(&self) -> bool {
        self.end == End::Proper
            && self.tunnel.is_none()
            && self.extra.is_empty()
            && self.informational.is_empty()
            && self.trailers.is_empty()
            && match self.framing {
                Framing::Length | Framing::Chunked => true,
                Framing::Declared(len) => len == Player::total(&self.pieces),
                Framing::UntilClose | Framing::Raw => false,
            }
    }

    /// The length that the head announces.
    pub(super) fn announced(&self) -> Option<u64> {
        match self.framing {
            Framing::Length => Some(Player::total(&self.pieces)),
            Framing::Declared(len) => Some(len),
            Framing::Chunked | Framing::UntilClose | Framing::Raw => None,
        }
    }
}

#[allow(clippy::panic)] // a mistake in a test's script shall fail the test
fn append(map: &mut HeaderMap, name: &str, value: &[u8]) {
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
        (Ok(name), Ok(value)) => {
            map.append(name, value);
        }
        _ => panic!("the header {name:?} is not allowed in HTTP"),
    }
}
