//! A body that several callers read while it comes, and that is stored on the way.
//!
//! [`Shared`] owns the origin's body. Each [`Reader`] has its own position; whichever of them needs bytes that are not
//! there yet polls the origin for all. So no reader depends on another: one that is dropped, slow, or never polled
//! stops nobody (cases 177, 190 and 196).
//!
//! What was received is kept for the others in one of two ways. A body up to the inline limit is kept whole until it
//! is complete. Over that, its parts go to the store ([`Spool`]) while only the last [`WINDOW`] bytes stay in memory;
//! a reader who falls behind them goes on from the store, or, where the body is not stored, by a request of its own
//! ([`Mend`](super::mend::Mend)). So memory is bounded, whatever the readers do (case 197).
//!
//! A body that ends early, fails, is longer or shorter than announced, or that all readers drop, is never stored
//! (cases 169 to 174).

mod deciding;

mod leaves;

mod places;

mod reader;

mod window;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;

use self::deciding::Deciding;
use self::places::Place;
pub(super) use self::reader::{Reader, Stop};
use self::window::Window;
use super::body::{Upstream, of_origin};
use super::deposit::Deposit;
use super::finish::Finish;
use super::flight::Landing;
use super::spool::Spool;
use super::wakers::Wakers;
use crate::error::Error;

/// How much of a spooled body stays in memory for readers who are close together.
const WINDOW: u64 = 512 * 1024;

/// A body on its way from the origin to its readers and the store.
pub(super) struct Shared {
    core: Mutex<Core>,
    /// Whether it is or may be too long to be kept whole.
    is_long: bool,
    /// Reads what little is missing when nobody else does any more.
    finish: Option<Weak<Finish>>,
    wakers: Arc<Wakers>,
}

struct Core {
    // `None` once it has ended or was given up.
    upstream: Option<Upstream>,
    outcome: Option<Result<(), Error>>,
    window: Window,
    // What the store was given ends here; for a body that is kept whole this says nothing.
    filed: u64,
    announced: Option<u64>,
    readers: Vec<Place>,
    // The furthest that one who has gone had come, and the hash of that.
    furthest: Option<(u64, u64)>,
    next_reader: u64,
    keep: Keep,
}

/// What becomes of the bytes besides being read.
enum Keep {
    /// Kept whole until complete; then stored, if there is a deposit.
    Whole { limit: u64, deposit: Option<Box<Deposit>>, landing: Option<Landing> },
    /// Parts go to the store.
    Spool(Box<Spool>),
    /// All is there, and a filter decides whether it is stored; until then the readers do not see the end. `None` while
    /// one of them asks the filter.
    Deciding(Option<Box<Deciding>>),
    /// Nothing.
    Nothing,
}

impl Shared {
    /// Begins to share `upstream`, which was announced to have `announced` bytes. Up to `inline_limit` bytes are kept
    /// whole for `deposit`; without one they are only shared.
    pub(super) fn new(
        upstream: Upstream,
        announced: Option<u64>,
        inline_limit: u64,
        deposit: Option<Deposit>,
        finish: Option<Weak<Finish>>,
    ) -> Arc<Self> {
        let keep = Keep::Whole { limit: inline_limit, deposit: deposit.map(Box::new), landing: None };
        let core = Core {
            upstream: Some(upstream),
            outcome: None,
            window: Window::default(),
            filed: 0,
            announced,
            readers: Vec::new(),
            furthest: None,
            next_reader: 0,
            keep,
        };
        let is_long = announced.is_none_or(|len| len > inline_limit);
        Arc::new(Self { core: Mutex::new(core), is_long, finish, wakers: Arc::default() })
    }

    /// Holds `landing` until the body is stored or given up. Called before anyone reads.
    pub(super) fn hold(&self, landing: Landing) {
        let mut core = self.lock();
        if let Keep::Whole { landing: place, .. } = &mut core.keep {
            *place = Some(landing);
        }
    }

    pub(super) fn wakers(&self) -> &Arc<Wakers> {
        &self.wakers
    }

    /// A reader from the first byte; `None` where that is neither in memory nor in the store any more.
    pub(super) fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut core = self.lock();
        let reachable = core.window.base() == 0 || core.spool().is_some();
        if !reachable || matches!(core.outcome, Some(Err(_))) {
            return None;
        }
        let id = core.add_reader(0);
        if !matches!(core.keep, Keep::Whole { .. }) {
            core.note_hashes();
        }
        Some(Reader { shared: self.clone(), id, offset: 0, part: None, is_last: false, again: None, leaves: None })
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What is to be done once the lock is released, because it reaches into the store or the flights.
enum After {
    Nothing,
    Deposit { deposit: Option<Box<Deposit>>, body: Bytes, landing: Option<Landing> },
    // Asked outside of the lock, because it is the user's.
    Decide(Box<Deciding>),
    // Dropped outside of the lock for what their `Drop` does.
    Drop(#[allow(dead_code)] Keep),
}

impl After {
    fn run(self) {
        match self {
            Self::Deposit { deposit, body, landing } => {
                if let Some(deposit) = deposit {
                    deposit.inline(body);
                }
                // Only now: who comes next finds the record.
                drop(landing);
            }
            Self::Decide(_) | Self::Drop(_) | Self::Nothing => {}
        }
    }
}

impl Core {
    /// What the parts go to the store by, if they do.
    fn spool(&self) -> Option<&Spool> {
        match &self.keep {
            Keep::Spool(spool) if !spool.has_failed() => Some(spool),
            _ => None,
        }
    }

    /// Whether it has not ended and would be stored; then also how much of it is missing, where that is known.
    fn missing(&self) -> Option<Option<u64>> {
        let is_stored = match &self.keep {
            Keep::Whole { deposit, .. } => deposit.is_some(),
            Keep::Spool(spool) => !spool.has_failed(),
            Keep::Deciding(_) | Keep::Nothing => false,
        };
        let is_coming = self.outcome.is_none() && self.upstream.is_some() && is_stored;
        is_coming.then(|| self.announced.map(|announced| announced.saturating_sub(self.window.end())))
    }

    /// Asks the origin for the next bytes and files them. `Ready` means that something has changed.
    fn drive(&mut self, shared: &Arc<Shared>, cx: &mut Context<'_>) -> Poll<After> {
        if let Keep::Deciding(deciding) = &mut self.keep {
            return deciding.take().map_or(Poll::Pending, |deciding| Poll::Ready(After::Decide(deciding)));
        }
        loop {
            match self.file(shared, false) {
                After::Nothing => {}
                after => return Poll::Ready(after),
            }
            // Before the origin is asked: the connection reads into the same memory again once nobody holds it.
            self.trim();
            let Keep::Spool(spool) = &mut self.keep else { break };
            if spool.poll_room(self.window.end(), cx).is_pending() {
                return Poll::Pending;
            }
            if spool.has_failed() {
                // The readers go on without the store.
                return Poll::Ready(self.give_up());
            }
            if self.filed == self.window.end() {
                break;
            }
        }
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(After::Nothing) };
        let frame = match Pin::new(upstream).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        Poll::Ready(match frame {
            // Trailers are neither stored nor merged into the headers (case 182): a shared body has none.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => match self.append(data) {
                    // Complete although nobody has asked for the end yet: not every reader does.
                    After::Nothing if self.is_at_its_end() => match self.file(shared, true) {
                        After::Nothing => self.complete(),
                        after => after,
                    },
                    after => after,
                },
                _ => After::Nothing,
            },
            Some(Err(error)) => {
                self.upstream = None;
                self.outcome = Some(Err(of_origin(error)));
                self.give_up()
            }
            None => self.complete(),
        })
    }

    fn is_at_its_end(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| upstream.is_end_stream())
    }

    fn append(&mut self, data: Bytes) -> After {
        self.window.push(data);
        if self.announced.is_some_and(|announced| self.window.end() > announced) {
            self.give_up()
        } else {
            After::Nothing
        }
    }

    /// Gives the store what it has not got yet, as far as there is room for it, or all of it where it is the `last`. Not at
    /// once when it comes, because that is a copy, and whoever asked for the bytes shall have them first.
    fn file(&mut self, shared: &Arc<Shared>, last: bool) -> After {
        match &mut self.keep {
            Keep::Whole { limit, deposit, landing } if self.window.end() > *limit => {
                // Over the inline limit: from now on in parts, if the body may be stored so.
                let spool =
                    deposit.take().and_then(|deposit| Spool::begin(deposit, self.window.end(), landing, shared));
                let Some(spool) = spool else { return self.give_up() };
                self.note_hashes();
                self.keep = Keep::Spool(Box::new(spool));
                self.filed = self.window.base();
            }
            Keep::Whole { deposit: Some(deposit), .. }
                if deposit.max_body_len.is_some_and(|limit| self.window.end() > limit) =>
            {
                return self.give_up();
            }
            Keep::Spool(spool) if !spool.may_hold(self.window.end()) => return self.give_up(),
            Keep::Spool(_) | Keep::Whole { .. } | Keep::Deciding(_) | Keep::Nothing => {}
        }
        let Keep::Spool(spool) = &mut self.keep else { return After::Nothing };
        for new in self.window.from(self.filed) {
            let taken = spool.push(new, last);
            self.filed = self.filed.saturating_add(taken as u64);
            if taken < new.len() {
                break;
            }
        }
        After::Nothing
    }

    fn give_up(&mut self) -> After {
        self.note_hashes();
        After::Drop(std::mem::replace(&mut self.keep, Keep::Nothing))
    }

    fn complete(&mut self) -> After {
        self.upstream = None;
        let keep = std::mem::replace(&mut self.keep, Keep::Nothing);
        let is_announced = self.announced.is_none_or(|announced| announced == self.window.end());
        if let (Keep::Whole { deposit: Some(deposit), .. }, true) = (&keep, is_announced)
            && deposit.filter.is_some()
        {
            self.keep = Keep::Deciding(None);
        } else {
            self.outcome = Some(Ok(()));
        }
        if self.announced.is_some_and(|announced| announced != self.window.end()) {
            return After::Drop(keep);
        }
        match keep {
            Keep::Whole { deposit, landing, .. } => {
                // One copy into memory of its own: a slice of the connection's buffer would hold all of that.
                let mut body = Vec::with_capacity(usize::try_from(self.window.end()).unwrap_or(0));
                if deposit.is_some() {
                    self.window.from(0).for_each(|piece| body.extend_from_slice(piece));
                }
                match (deposit, &self.keep) {
                    (Some(deposit), Keep::Deciding(_)) => {
                        After::Decide(Box::new(Deciding { deposit, body: body.into(), landing, said: None }))
                    }
                    (deposit, _) => After::Deposit { deposit, body: body.into(), landing },
                }
            }
            Keep::Spool(mut spool) => {
                spool.finish(self.window.end());
                if spool.has_failed() {
                    return After::Drop(Keep::Spool(spool));
                }
                // Stays, because readers who are behind read from it.
                self.keep = Keep::Spool(spool);
                After::Nothing
            }
            Keep::Deciding(_) | Keep::Nothing => After::Nothing,
        }
    }

    /// Lets go of what nobody needs in memory any more.
    fn trim(&mut self) {
        if matches!(self.keep, Keep::Whole { .. } | Keep::Deciding(_)) {
            return;
        }
        let slowest = self.readers.iter().map(|place| place.offset).min().unwrap_or(self.window.end());
        while let Some((after, is_only)) = self.window.first() {
            if after > self.filed && matches!(self.keep, Keep::Spool(_)) {
                return;
            }
            // The newest piece stays however long it is: the reader it was fetched for has not seen it yet.
            let may_stay = is_only || self.window.len() <= WINDOW;
            if after > slowest && may_stay {
                return;
            }
            self.window.pop();
        }
    }
}
