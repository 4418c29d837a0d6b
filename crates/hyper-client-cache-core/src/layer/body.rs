//! The body of every response that comes out of the layer.

use std::hash::Hasher;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;
use twox_hash::XxHash3_64;

use super::mend::{Head, Mend, Refetch, Same};
use super::stream::{Reader, Stop};
use crate::cache::ledger::Ledger;
use crate::cache::{BodyPlace, ResponseRecord, parts};
use crate::error::{BoxError, Error, ErrorKind};
use crate::storage::CacheKey;

/// The origin's body, whatever its type: one allocation for each response that is not a hit.
pub(crate) type Upstream = UnsyncBoxBody<Bytes, BoxError>;

/// A response's body: from the store, from the origin while it is being stored, or from the origin untouched.
///
/// Dropping it early is always safe: what was not received to its end is not stored.
#[derive(Debug)]
pub struct CacheBody(Source);

enum Source {
    /// A stored body, or a part of a live response: handed out in one piece.
    Inline(Option<Bytes>),
    /// A stored body in parts: each is read when the one before was taken.
    Parts(Box<PartsBody>),
    /// The origin's body, read by this caller and perhaps others, and stored on the way.
    Shared(Box<Reader>),
    /// The rest of a body that others read too, by a request of this caller's own.
    Alone(Box<Mend>),
    /// The origin's body as it is.
    Untouched(Upstream),
}

impl CacheBody {
    pub(crate) const fn empty() -> Self {
        Self(Source::Inline(None))
    }

    /// The body of a stored response: a slice of what was read, with no copy. Where it comes in parts of which one turns
    /// out to be gone, the record is removed, unless the request may not `write`.
    pub(super) fn stored(ledger: &Arc<Ledger>, record: &ResponseRecord, inline: Bytes, write: bool) -> Self {
        Self(match &record.body {
            BodyPlace::Inline { .. } => Source::Inline(Some(inline).filter(|bytes| !bytes.is_empty())),
            BodyPlace::Parts { id, count, part_len, len, checksum, .. } => Source::Parts(Box::new(PartsBody {
                ledger: ledger.clone(),
                owner: record.key,
                id: id.clone(),
                part_len: u64::from(*part_len),
                count: *count,
                next: 0,
                len: *len,
                left: *len,
                checksum: *checksum,
                hash: XxHash3_64::new(),
                read: None,
                write,
                refetch: None,
                mend: None,
            })),
        })
    }

    /// Where the body comes in parts, `refetch` makes what goes on if one of them is gone.
    pub(super) fn mend_with(&mut self, refetch: impl FnOnce() -> Refetch) {
        if let Source::Parts(parts) = &mut self.0 {
            parts.refetch = Some(refetch());
        }
    }

    pub(super) fn shared(reader: Reader) -> Self {
        Self(Source::Shared(Box::new(reader)))
    }

    /// Where others read the body of `response` too, `refetch` makes what goes on for this caller if they are too fast for
    /// it.
    pub(super) fn detach_with(response: &mut Response<Self>, refetch: impl FnOnce(Head) -> Refetch) {
        if matches!(&response.body().0, Source::Shared(reader) if reader.may_fall_behind()) {
            let head = Head::of(response);
            if let Source::Shared(reader) = &mut response.body_mut().0 {
                reader.detach_with(Some(refetch(head)));
            }
        }
    }

    /// What others may read too is let go of at `deadline`, if nobody else reads it then.
    pub(super) fn leave_at(&mut self, deadline: Option<Instant>) {
        if let (Source::Shared(reader), Some(deadline)) = (&mut self.0, deadline) {
            reader.leave_at(deadline);
        }
    }

    /// Whoever reads it only so that it is stored asks for nothing more.
    pub(super) fn never_detach(&mut self) {
        if let Source::Shared(reader) = &mut self.0 {
            reader.detach_with(None);
        }
    }

    pub(super) const fn untouched(body: Upstream) -> Self {
        Self(Source::Untouched(body))
    }

    /// Whether the body is in memory already.
    #[cfg(feature = "client")]
    pub(crate) const fn is_inline(&self) -> bool {
        matches!(self.0, Source::Inline(_))
    }

    /// Whether who waits for it now is woken at the request's deadline, without a timer of its own.
    #[cfg(feature = "client")]
    pub(crate) const fn wakes_in_time(&self) -> bool {
        matches!(&self.0, Source::Shared(reader) if reader.wakes_in_time())
    }

    /// The whole body, if it is in memory already.
    #[cfg(feature = "client")]
    pub(crate) fn take_inline(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Source::Inline(bytes) => Some(bytes.take().unwrap_or_default()),
            _ => None,
        }
    }
}

impl Default for CacheBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl Body for CacheBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Source::Inline(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Parts(parts) => parts.poll_frame(cx),
            Source::Shared(reader) => {
                let mut mend = match ready!(reader.poll_frame(cx)) {
                    Some(Err(Stop::Behind(mend))) => mend,
                    Some(Err(Stop::Failed(error))) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                    None => return Poll::Ready(None),
                };
                let frame = mend.poll_frame(cx);
                // The others go on without this reader.
                self.0 = Source::Alone(mend);
                frame
            }
            Source::Alone(mend) => mend.poll_frame(cx),
            Source::Untouched(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(of_origin)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Inline(bytes) => bytes.is_none(),
            Source::Parts(parts) => parts.left == 0 && parts.mend.is_none(),
            Source::Shared(reader) => reader.is_end_stream(),
            Source::Alone(_) => false,
            Source::Untouched(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Inline(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Parts(parts) if parts.mend.is_some() => SizeHint::new(),
            Source::Parts(parts) => SizeHint::with_exact(parts.left),
            Source::Shared(reader) => reader.size_hint(),
            Source::Alone(_) => SizeHint::new(),
            Source::Untouched(body) => body.size_hint(),
        }
    }
}

/// Why the origin's body ended early. A time that ran out says so.
pub(super) fn of_origin(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) if ours.kind() == ErrorKind::Timeout => *ours,
        Ok(ours) => Error::new(ErrorKind::Body, "the origin's body").with_source(*ours),
        Err(other) => Error::new(ErrorKind::Body, "the origin's body").with_source(other),
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Inline(_) => "Inline",
            Self::Parts(_) => "Parts",
            Self::Shared(_) => "Shared",
            Self::Alone(_) => "Alone",
            Self::Untouched(_) => "Untouched",
        })
    }
}

/// A stored body in parts. At most one part is in memory.
struct PartsBody {
    ledger: Arc<Ledger>,
    owner: CacheKey,
    id: String,
    part_len: u64,
    count: u32,
    next: u32,
    len: u64,
    left: u64,
    checksum: u64,
    hash: XxHash3_64,
    read: Option<BoxFuture<'static, Option<Bytes>>>,
    write: bool,
    refetch: Option<Refetch>,
    mend: Option<Mend>,
}

impl PartsBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(mend) = &mut self.mend {
            return mend.poll_frame(cx);
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let read = match &mut self.read {
            Some(read) => read,
            None => {
                let read = self.begin_read();
                self.read.insert(read)
            }
        };
        let bytes = ready!(read.as_mut().poll(cx));
        self.read = None;
        let expected = self.left.min(self.part_len);
        let Some(bytes) = bytes.filter(|bytes| bytes.len() as u64 == expected) else {
            return self.lost(cx, self.hash.finish());
        };
        let before = self.hash.finish();
        self.hash.write(&bytes);
        // The last part is held back where the whole is not what was stored: never a clean end of a wrong body.
        if self.left == expected && self.hash.finish() != self.checksum {
            return self.lost(cx, before);
        }
        self.left = self.left.saturating_sub(expected);
        self.next = self.next.saturating_add(1);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn begin_read(&self) -> BoxFuture<'static, Option<Bytes>> {
        let key = (self.next < self.count).then(|| parts::key(&self.owner, &self.id, self.next)).flatten();
        let cache = self.ledger.cache().clone();
        Box::pin(async move {
            let key = key?;
            let entry = cache.bodies()?.read(&key).await.ok()??;
            parts::bytes_of(&key, entry)
        })
    }

    /// A part is missing or damaged: the record is useless. Goes on from the origin, if that can be asked.
    fn lost(&mut self, cx: &mut Context<'_>, delivered_hash: u64) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.ledger.counters.body_lost.add();
        if self.write {
            self.ledger.forget_body(self.owner, self.id.clone());
        }
        let left = std::mem::take(&mut self.left);
        let mend = match self.refetch.take() {
            Some(refetch) => {
                let delivered = (self.len.saturating_sub(left), delivered_hash);
                let (len, hash) = (Some(self.len), Some(self.checksum));
                Mend::begin(refetch, Same { delivered, len, hash })
            }
            None => Mend::failed(Error::new(ErrorKind::Body, "a part of the stored body is gone or damaged")),
        };
        self.mend.insert(mend).poll_frame(cx)
    }
}
