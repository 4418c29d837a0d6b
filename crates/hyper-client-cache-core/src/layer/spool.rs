//! Writes a large body to the store in parts while it comes.
//!
//! The parts go to one task over a queue of at most [`MAX_IN_FLIGHT`]; the task writes the head last, so nothing is
//! visible before all of it is there. Where the store is slower than the origin, the body may be held back a little
//! ([`PATIENCE`], [`SLOWEST`]); after that it goes on alone and is not stored.
//! If the queue is closed before the end, the task removes the parts it has written.

use std::future::Future;
use std::hash::Hasher;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use twox_hash::XxHash3_64;

use super::deposit::Deposit;
use super::flight::Landing;
use super::stream::{Shared, Wakers};
use crate::cache::{BodyPlace, Cache, parts};
use crate::storage::CacheKey;

/// How many parts may be on their way to the store.
const MAX_IN_FLIGHT: usize = 4;

/// How long a body may be held back by the store in any case.
const PATIENCE: Duration = Duration::from_millis(100);

/// The store may slow a body down to this many bytes a second, no further (32 MiB/s).
const SLOWEST: u64 = 32 * 1024 * 1024;

/// The reading side of the spool, held by the shared body.
pub(super) struct Spool {
    state: Arc<State>,
    queue: mpsc::UnboundedSender<Message>,
    assembling: BytesMut,
    part_len: usize,
    count: u32,
    hash: XxHash3_64,
    max_body_len: Option<u64>,
    stall: Option<(Instant, Pin<Box<Sleep>>)>,
    stalled: Duration,
    abandoned: bool,
}

struct State {
    cache: Arc<dyn Cache>,
    owner: CacheKey,
    id: String,
    part_len: u64,
    in_flight: AtomicUsize,
    written: AtomicU32,
    failed: AtomicBool,
}

enum Message {
    Part(u32, Bytes),
    Finish { len: u64, checksum: u64, count: u32 },
}

impl Spool {
    /// Begins to spool; `None` where the cache takes no parts or the body is over its limit already.
    ///
    /// Takes the landing over, and keeps `shared` alive until the head is stored, so that whoever asks meanwhile joins.
    pub(super) fn begin(
        deposit: Box<Deposit>,
        so_far: u64,
        landing: &mut Option<Landing>,
        shared: &Arc<Shared>,
    ) -> Option<Self> {
        let cache = deposit.cache().clone();
        let part_len = parts::part_len(cache.bodies()?);
        let max_body_len = deposit.max_body_len;
        if max_body_len.is_some_and(|limit| so_far > limit) {
            return None;
        }
        let id = parts::new_id(deposit.now).ok()?;
        parts::key(&deposit.key, &id, u32::MAX)?;
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let state = Arc::new(State {
            cache,
            owner: deposit.key,
            id,
            part_len: part_len as u64,
            in_flight: AtomicUsize::new(0),
            written: AtomicU32::new(0),
            failed: AtomicBool::new(false),
        });
        let (queue, messages) = mpsc::unbounded_channel();
        let task = Task {
            state: state.clone(),
            messages,
            deposit,
            wakers: shared.wakers().clone(),
            _landing: landing.take(),
            _shared: shared.clone(),
        };
        runtime.spawn(task.run());
        Some(Self {
            state,
            queue,
            assembling: BytesMut::new(),
            part_len,
            count: 0,
            hash: XxHash3_64::new(),
            max_body_len,
            stall: None,
            stalled: Duration::ZERO,
            abandoned: false,
        })
    }
}

impl Spool {
    /// Whether a body of `len` bytes may be stored.
    pub(super) fn may_hold(&self, len: u64) -> bool {
        self.max_body_len.is_none_or(|limit| len <= limit)
    }

    /// Files the next bytes. Copies them once, into the part that is being assembled.
    pub(super) fn push(&mut self, mut data: &[u8]) {
        self.hash.write(data);
        while !data.is_empty() {
            if self.assembling.capacity() == 0 {
                self.assembling.reserve(self.part_len);
            }
            let room = self.part_len.saturating_sub(self.assembling.len());
            let (now, later) = data.split_at(room.min(data.len()));
            self.assembling.extend_from_slice(now);
            data = later;
            if self.assembling.len() >= self.part_len {
                self.send();
            }
        }
    }

    /// Tells the task that the body is complete.
    pub(super) fn finish(&mut self, len: u64) {
        if !self.assembling.is_empty() {
            self.send();
        }
        // A closed queue means that the task has failed, which it has counted.
        let _ = self.queue.send(Message::Finish { len, checksum: self.hash.finish(), count: self.count });
    }

    fn send(&mut self) {
        let part = std::mem::take(&mut self.assembling).freeze();
        self.state.in_flight.fetch_add(1, Ordering::AcqRel);
        let _ = self.queue.send(Message::Part(self.count, part));
        self.count = self.count.saturating_add(1);
    }

    /// Ready when the store can take more, or has been waited for long enough.
    ///
    /// The waker must be registered with the shared body's wakers, which the task wakes.
    pub(super) fn poll_room(&mut self, received: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.in_flight.load(Ordering::Acquire) < MAX_IN_FLIGHT || self.has_failed() {
            if let Some((since, _)) = self.stall.take() {
                self.stalled = self.stalled.saturating_add(since.elapsed());
            }
            return Poll::Ready(());
        }
        let (_, timer) = self.stall.get_or_insert_with(|| {
            let allowed = PATIENCE.saturating_add(Duration::from_millis(received.saturating_mul(1000) / SLOWEST));
            (Instant::now(), Box::pin(tokio::time::sleep(allowed.saturating_sub(self.stalled))))
        });
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        tracing::debug!(key = %self.state.owner, "the store is too slow for this body");
        self.abandoned = true;
        Poll::Ready(())
    }

    /// Whether the store has failed, or was too slow.
    pub(super) fn has_failed(&self) -> bool {
        self.abandoned || self.state.failed.load(Ordering::Acquire)
    }

    /// A read of the part that holds `offset`; `None` where it is not written yet.
    pub(super) fn read(&self, offset: u64) -> Option<PartRead> {
        let number = u32::try_from(offset.checked_div(self.state.part_len)?).ok()?;
        if number >= self.state.written.load(Ordering::Acquire) {
            return None;
        }
        let key = parts::key(&self.state.owner, &self.state.id, number)?;
        let cache = self.state.cache.clone();
        let read = async move {
            let entry = cache.bodies()?.read(&key).await.ok()??;
            parts::bytes_of(&key, entry)
        };
        Some(PartRead { start: u64::from(number).saturating_mul(self.state.part_len), read: Box::pin(read) })
    }
}

/// A part on its way back from the store.
pub(super) struct PartRead {
    /// The offset of its first byte in the body.
    pub(super) start: u64,
    read: BoxFuture<'static, Option<Bytes>>,
}

impl PartRead {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.read.as_mut().poll(cx)
    }
}

struct Task {
    state: Arc<State>,
    messages: mpsc::UnboundedReceiver<Message>,
    deposit: Box<Deposit>,
    wakers: Arc<Wakers>,
    _landing: Option<Landing>,
    _shared: Arc<Shared>,
}

impl Task {
    async fn run(mut self) {
        let retain_until = self.deposit.parts_retain_until();
        while let Some(message) = self.messages.recv().await {
            match message {
                Message::Part(number, bytes) => {
                    let stored = self.write(number, bytes, retain_until).await;
                    self.state.in_flight.fetch_sub(1, Ordering::AcqRel);
                    if !stored {
                        self.deposit.ledger.counters.store_failed.add();
                        self.state.failed.store(true, Ordering::Release);
                        self.wakers.wake_all();
                        break;
                    }
                    self.state.written.store(number.saturating_add(1), Ordering::Release);
                    self.wakers.wake_all();
                }
                Message::Finish { len, checksum, count } => {
                    let place = BodyPlace::Parts {
                        id: self.state.id.clone(),
                        count,
                        part_len: u32::try_from(self.state.part_len).unwrap_or(u32::MAX),
                        len,
                        checksum,
                        retain_until,
                    };
                    if (*self.deposit).parts(place) {
                        return;
                    }
                    remove_parts(&self.state).await;
                    return;
                }
            }
        }
        remove_parts(&self.state).await;
    }

    async fn write(&self, number: u32, bytes: Bytes, retain_until: Option<std::time::SystemTime>) -> bool {
        let (Some(bodies), Some(key)) =
            (self.state.cache.bodies(), parts::key(&self.state.owner, &self.state.id, number))
        else {
            return false;
        };
        match bodies.write(&key, parts::entry(&key, bytes, retain_until)).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%key, %error, "a part is not stored");
                false
            }
        }
    }
}

/// Removes what was written of a body that will have no head.
async fn remove_parts(state: &State) {
    let Some(bodies) = state.cache.bodies() else { return };
    // One more than was confirmed: the last write may have failed after it took effect.
    let written = state.written.load(Ordering::Acquire).saturating_add(1);
    let keys: Vec<_> = (0..written).filter_map(|number| parts::key(&state.owner, &state.id, number)).collect();
    if let Err(error) = bodies.delete_many(&keys).await {
        // They are orphans now, and collected by `delete_expired`.
        tracing::debug!(%error, "parts of an incomplete body are left to be collected");
    }
}
