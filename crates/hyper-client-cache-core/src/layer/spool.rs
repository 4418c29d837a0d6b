//! Writes a large body to the store in parts while it comes.
//!
//! The parts go to one [task](filing::Filing), at most [`MAX_IN_FLIGHT`] at a time; it writes them side by side and the
//! head last, so nothing is visible before all of it is there. Where the store is slower than the origin, the body may
//! be held back a little ([`PATIENCE`], [`SLOWEST`]); after that it goes on alone and is not stored.
//! If the body is given up before its end, the task stops and removes the parts it has written.

mod filing;

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::hash::Hasher;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::future::BoxFuture;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Sleep};
use twox_hash::XxHash3_64;

use self::filing::Filing;
use super::deposit::Deposit;
use super::flight::Landing;
use super::stream::Shared;
use crate::cache::ledger::{Busy, Ledger, Room};
use crate::cache::parts;
use crate::storage::CacheKey;

/// How many parts may be on their way to the store; the next is put together when one of them is there. A store may hold
/// a copy of one beside them, and the last bytes of a body go there at once.
const MAX_IN_FLIGHT: usize = 2;

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
    // The turns that the task had had before the last part was sent.
    turns: u64,
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
    // How many parts from the first on are written.
    written: AtomicU32,
    failed: AtomicBool,
    // How often the task had its turn.
    turns: AtomicU64,
    // Wakes the task although the store does not answer.
    abandoned: Notify,
    landing: Mutex<Option<Landing>>,
}

struct Waiting {
    number: u32,
    bytes: Bytes,
    // It stays until all before it are, so that `written` says where to look for a part.
    is_written: bool,
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
        let holds = u64::from(parts::MAX_PARTS).saturating_mul(part_len as u64);
        let max_body_len = Some(deposit.max_body_len.map_or(holds, |limit| limit.min(holds)));
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
            turns: AtomicU64::new(0),
            abandoned: Notify::new(),
            landing: Mutex::new(landing.take()),
        });
        let (queue, messages) = mpsc::unbounded_channel();
        runtime.spawn(Filing::new(state.clone(), messages, deposit, shared.clone()).run());
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
            turns: 0,
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

    /// Files as many of the next bytes as there is room for, and says how many these are; all of them where they are the
    /// `last`. Copies them once, into the part that is being assembled.
    pub(super) fn push(&mut self, data: &[u8], last: bool) -> usize {
        let mut rest = data;
        while !rest.is_empty() && !self.abandoned && (last || self.has_room()) {
            if self.assembling.capacity() == 0 {
                self.assembling.reserve(self.part_len);
            }
            let room = self.part_len.saturating_sub(self.assembling.len());
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.hash.write(now);
            self.assembling.extend_from_slice(now);
            rest = later;
            if self.assembling.len() >= self.part_len {
                self.send();
            }
        }
        data.len().saturating_sub(rest.len())
    }

    /// Of all bytes that were filed.
    pub(super) const fn hash(&self) -> &XxHash3_64 {
        &self.hash
    }

    fn has_room(&self) -> bool {
        self.state.waiting().len() < MAX_IN_FLIGHT
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
        self.state.waiting().push_back(Waiting {
            number: self.count,
            bytes: part.clone(),
            is_written: false,
            _room: room,
        });
        self.turns = self.state.turns.load(Ordering::Acquire);
        let _ = self.queue.send(Message::Part(self.count, part));
        self.count = self.count.saturating_add(1);
    }

    /// Ready when the store can take more, or has been waited for long enough.
    ///
    /// The waker must be registered with the shared body's wakers, which the task wakes.
    pub(super) fn poll_room(&mut self, received: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_failed() || self.has_room() {
            if let Some((since, _)) = self.stall.take() {
                self.stalled = self.stalled.saturating_add(since.elapsed());
            }
            return Poll::Ready(());
        }
        let (_, timer) = self.stall.get_or_insert_with(|| {
            let allowed = PATIENCE.saturating_add(Duration::from_millis(received.saturating_mul(1000) / SLOWEST));
            (Instant::now(), Box::pin(tokio::time::sleep(allowed.saturating_sub(self.stalled))))
        });
        let mut is_late = timer.as_mut().poll(cx).is_ready();
        if is_late && self.state.turns.load(Ordering::Acquire) == self.turns {
            // Not the store is slow, but the runtime: the task has had no time to hand it the part.
            let now = Instant::now();
            timer.as_mut().reset(now.checked_add(PATIENCE).unwrap_or(now));
            is_late = timer.as_mut().poll(cx).is_ready();
        }
        if !is_late {
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

    /// Notes that a part is written, and lets go of those that are no longer needed in memory.
    fn note_written(&self, number: u32) {
        let mut waiting = self.waiting();
        if let Some(part) = waiting.iter_mut().find(|part| part.number == number) {
            part.is_written = true;
        }
        while waiting.front().is_some_and(|part| part.is_written) {
            // Under the lock, so that a reader finds every part here or in the store.
            self.written.fetch_add(1, Ordering::Release);
            waiting.pop_front();
        }
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
