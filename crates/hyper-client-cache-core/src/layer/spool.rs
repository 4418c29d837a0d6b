//! Writes a large body to the store in parts while it comes.
//!
//! The parts go to one task over a queue of at most [`MAX_IN_FLIGHT`]; the task writes the head last, so nothing is
//! visible before all of it is there. Where the store is slower than the origin, the body may be held back a little
//! ([`PATIENCE`], [`SLOWEST`]); after that it goes on alone and is not stored.
//! If the body is given up before its end, the task stops and removes the parts it has written.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::hash::Hasher;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::future::BoxFuture;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Sleep};
use twox_hash::XxHash3_64;

use super::deposit::Deposit;
use super::flight::Landing;
use super::stream::Shared;
use super::wakers::Wakers;
use crate::cache::ledger::{Busy, Ledger, Room};
use crate::cache::{BodyPlace, parts};
use crate::policy::filter::Decision;
use crate::storage::CacheKey;

/// How many parts may be on their way to the store. One more is being put together meanwhile: four in memory.
const MAX_IN_FLIGHT: usize = 3;

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
    finished: bool,
}

struct State {
    ledger: Arc<Ledger>,
    owner: CacheKey,
    id: String,
    part_len: u64,
    // Parts on their way to the store, where readers who are behind find them, so that none waits for a slow store.
    waiting: Mutex<VecDeque<Waiting>>,
    written: AtomicU32,
    failed: AtomicBool,
    // Wakes the task although the store does not answer.
    abandoned: Notify,
    landing: Mutex<Option<Landing>>,
}

struct Waiting {
    number: u32,
    bytes: Bytes,
    _room: Room,
}

enum Message {
    Part(u32, Bytes),
    // From here on it has an end, and whoever closes the cache waits for that.
    Finish { len: u64, checksum: u64, count: u32, busy: Busy },
    Abandoned(Busy),
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
        let ledger = deposit.ledger.clone();
        let part_len = parts::part_len(ledger.cache().bodies()?);
        let max_body_len = deposit.max_body_len;
        if max_body_len.is_some_and(|limit| so_far > limit) {
            return None;
        }
        let id = parts::new_id(deposit.now).ok()?;
        parts::key(&deposit.key, &id, u32::MAX)?;
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let state = Arc::new(State {
            ledger,
            owner: deposit.key,
            id,
            part_len: part_len as u64,
            waiting: Mutex::default(),
            written: AtomicU32::new(0),
            failed: AtomicBool::new(false),
            abandoned: Notify::new(),
            landing: Mutex::new(landing.take()),
        });
        let (queue, messages) = mpsc::unbounded_channel();
        let task =
            Task { state: state.clone(), messages, deposit, wakers: shared.wakers().clone(), shared: shared.clone() };
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
            finished: false,
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
        while !data.is_empty() && !self.abandoned {
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
        if self.has_failed() {
            return;
        }
        self.finished = true;
        let busy = self.state.ledger.busy();
        // A closed queue means that the task has failed, which it has counted.
        let _ = self.queue.send(Message::Finish { len, checksum: self.hash.finish(), count: self.count, busy });
    }

    fn send(&mut self) {
        let part = std::mem::take(&mut self.assembling).freeze();
        let Some(room) = self.state.ledger.room(part.len()) else {
            self.abandoned = true;
            return;
        };
        self.state.waiting().push_back(Waiting { number: self.count, bytes: part.clone(), _room: room });
        let _ = self.queue.send(Message::Part(self.count, part));
        self.count = self.count.saturating_add(1);
    }

    /// Ready when the store can take more, or has been waited for long enough.
    ///
    /// The waker must be registered with the shared body's wakers, which the task wakes.
    pub(super) fn poll_room(&mut self, received: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_failed() || self.state.waiting().len() < MAX_IN_FLIGHT {
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
        self.state.ledger.counters.store_failed.add();
        self.abandoned = true;
        Poll::Ready(())
    }

    /// Whether the store has failed, or was too slow.
    pub(super) fn has_failed(&self) -> bool {
        self.abandoned || self.state.failed.load(Ordering::Acquire)
    }

    /// A read of the part that holds `offset`; `None` where that is not complete yet.
    pub(super) fn read(&self, offset: u64) -> Option<PartRead> {
        let number = u32::try_from(offset.checked_div(self.state.part_len)?).ok()?;
        let start = u64::from(number).saturating_mul(self.state.part_len);
        // First, because a part is written before it leaves.
        let waiting = self.state.waiting().iter().find(|part| part.number == number).map(|part| part.bytes.clone());
        if let Some(bytes) = waiting {
            return Some(PartRead { start, read: Box::pin(ready(Some(bytes))) });
        }
        if number >= self.state.written.load(Ordering::Acquire) {
            return None;
        }
        let key = parts::key(&self.state.owner, &self.state.id, number)?;
        let cache = self.state.ledger.cache().clone();
        let read = async move {
            let entry = cache.bodies()?.read(&key).await.ok()??;
            parts::bytes_of(&key, entry)
        };
        Some(PartRead { start, read: Box::pin(read) })
    }
}

/// Given up before its end: the task is told at once, whatever the store does.
impl Drop for Spool {
    fn drop(&mut self) {
        if !self.finished || self.abandoned {
            let _ = self.queue.send(Message::Abandoned(self.state.ledger.busy()));
            self.state.abandoned.notify_one();
            self.state.land();
        }
    }
}

impl State {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the flight: nobody joins this body any more.
    fn land(&self) {
        let landing = self.landing.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(landing);
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
    shared: Arc<Shared>,
}

impl Task {
    async fn run(mut self) {
        let (finished, busy) = self.write_parts().await;
        let Self { state, deposit, shared, messages, .. } = self;
        // A filter cannot see a body that is not in memory as a whole.
        let finished = match finished {
            Some(place) => {
                let said = match deposit.decide(None) {
                    Decision::Now(said) => said,
                    Decision::Later(said) => said.await,
                };
                Some(place).filter(|_| deposit.is_allowed(said))
            }
            None => None,
        };
        let is_stored = finished.is_some_and(|place| (*deposit).parts(place));
        // Only now: whoever comes next finds the record.
        state.land();
        drop(shared);
        state.waiting().clear();
        if !is_stored {
            // Before the queue is gone, where there may be one already: a `flush` waits until the parts are removed.
            let _busy = state.ledger.busy();
            drop((busy, messages));
            remove_parts(&state).await;
        }
    }

    /// Writes parts up to the end of the body; says where it is then, or nothing where it is not stored.
    async fn write_parts(&mut self) -> (Option<BodyPlace>, Option<Busy>) {
        let retain_until = self.deposit.parts_retain_until();
        while let Some(message) = self.messages.recv().await {
            match message {
                Message::Part(number, bytes) => {
                    let stored = tokio::select! {
                        biased;
                        () = self.state.abandoned.notified() => return (None, None),
                        stored = self.write(number, bytes, retain_until) => stored,
                    };
                    if !stored {
                        self.deposit.ledger.counters.store_failed.add();
                        self.state.failed.store(true, Ordering::Release);
                        self.wakers.wake_all();
                        return (None, None);
                    }
                    self.state.written.store(number.saturating_add(1), Ordering::Release);
                    self.state.waiting().pop_front();
                    self.wakers.wake_all();
                }
                Message::Finish { len, checksum, count, busy } => {
                    let place = BodyPlace::Parts {
                        id: self.state.id.clone(),
                        count,
                        part_len: u32::try_from(self.state.part_len).unwrap_or(u32::MAX),
                        len,
                        checksum,
                        retain_until,
                    };
                    return (Some(place), Some(busy));
                }
                Message::Abandoned(busy) => return (None, Some(busy)),
            }
        }
        (None, None)
    }

    async fn write(&self, number: u32, bytes: Bytes, retain_until: Option<std::time::SystemTime>) -> bool {
        let (Some(bodies), Some(key)) =
            (self.state.ledger.cache().bodies(), parts::key(&self.state.owner, &self.state.id, number))
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
    let Some(bodies) = state.ledger.cache().bodies() else { return };
    // One more than was confirmed: the last write may have failed after it took effect.
    let written = state.written.load(Ordering::Acquire).saturating_add(1);
    let keys: Vec<_> = (0..written).filter_map(|number| parts::key(&state.owner, &state.id, number)).collect();
    if let Err(error) = bodies.delete_many(&keys).await {
        // They are orphans now, and collected by `delete_expired`.
        tracing::debug!(%error, "parts of an incomplete body are left to be collected");
    }
}
