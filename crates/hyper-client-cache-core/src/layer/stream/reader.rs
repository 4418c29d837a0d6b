//! One caller's reading of a shared body.

use std::hash::Hasher;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::leaves::Leaves;
use super::{After, Core, Keep, Shared};
use crate::error::{Error, ErrorKind};
use crate::layer::finish::Finish;
use crate::layer::mend::{Mend, Refetch, Same};
use crate::layer::spool::PartRead;

/// One caller's view of a shared body: all of it, from the first byte.
pub(in crate::layer) struct Reader {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u64,
    pub(super) offset: u64,
    // A part that is being read from the store, because memory does not hold it any more.
    pub(super) part: Option<PartRead>,
    /// Whether it reads only so that the body is stored, after all others have gone.
    pub(super) is_last: bool,
    /// How it goes on by a request of its own, where it may.
    pub(super) again: Option<Refetch>,
    // Its time, if that is limited.
    pub(super) leaves: Option<Leaves>,
}

/// Why a reader goes no further.
pub(in crate::layer) enum Stop {
    Failed(Error),
    /// The others are too far ahead: this is where it goes on, without them.
    Behind(Box<Mend>),
}

impl Reader {
    /// Whether others can be so far ahead that it finds nothing in memory any more.
    pub(in crate::layer) fn may_fall_behind(&self) -> bool {
        self.shared.is_long
    }

    /// Says how it goes on without the others.
    pub(in crate::layer) fn detach_with(&mut self, again: Option<Refetch>) {
        self.again = again;
    }

    /// Counts it as gone from `deadline` on, whether or not it is polled or dropped by then: what nobody else reads is
    /// let go of. Whoever polls it later must know that its time is over.
    pub(in crate::layer) fn leave_at(&mut self, deadline: Instant) {
        self.leaves = Leaves::at(deadline, &self.shared, self.id);
    }

    /// Whether who waits for it now is woken when its time is over.
    #[cfg(feature = "client")]
    pub(in crate::layer) const fn wakes_in_time(&self) -> bool {
        self.leaves.is_some() && self.part.is_none()
    }

    pub(in crate::layer) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Stop>>> {
        loop {
            if let Some(part) = &mut self.part {
                let bytes = std::task::ready!(part.poll(cx));
                let start = part.start;
                self.part = None;
                let skip = usize::try_from(self.offset.saturating_sub(start)).unwrap_or(usize::MAX);
                let shared = Arc::clone(&self.shared);
                let mut core = shared.lock();
                return match bytes.filter(|bytes| bytes.len() > skip) {
                    Some(bytes) => self.give(&mut core, bytes.slice(skip..)),
                    None => Poll::Ready(Some(Err(self.detach(core, gone)))),
                };
            }
            let wakers = Arc::clone(&self.shared.wakers);
            let shared = Arc::clone(&self.shared);
            let mut core = shared.lock();
            if let Some(bytes) = core.window.at(self.offset) {
                return self.give(&mut core, bytes);
            }
            // Registered before anything is asked that may become true meanwhile, so that no wake-up is lost.
            wakers.register(self.id, cx.waker());
            if self.offset < core.window.base() {
                let Some(spool) = core.spool() else {
                    return Poll::Ready(Some(Err(self.detach(core, too_slow))));
                };
                if let Some(part) = spool.read(self.offset) {
                    self.part = Some(part);
                    continue;
                }
                if core.outcome.is_some() {
                    return Poll::Ready(Some(Err(self.detach(core, gone))));
                }
            } else if let Some(outcome) = &core.outcome {
                return Poll::Ready(match outcome {
                    Ok(()) => None,
                    Err(error) => Some(Err(Stop::Failed(error.clone()))),
                });
            }
            let everybody = Waker::from(wakers.clone());
            let progress = core.drive(&shared, &mut Context::from_waker(&everybody));
            core.trim();
            drop(core);
            match progress {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(After::Decide(deciding)) => {
                    if deciding.poll(&shared, &mut Context::from_waker(&everybody)).is_pending() {
                        // What has come in the meantime is given all the same; only the end waits.
                        if shared.lock().window.at(self.offset).is_none() {
                            return Poll::Pending;
                        }
                        continue;
                    }
                    wakers.wake_others(self.id);
                }
                Poll::Ready(after) => {
                    after.run();
                    wakers.wake_others(self.id);
                }
            }
        }
    }

    fn give(&mut self, core: &mut Core, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Stop>>> {
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        let (id, offset) = (self.id, self.offset);
        if let Some(place) = core.readers.iter_mut().find(|place| place.reader == id) {
            place.offset = offset;
            if let Some(hash) = &mut place.hash {
                hash.write(&bytes);
            }
        }
        core.trim();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// Goes on by a request of its own, where it may and knows what it has had; the rest is neither in memory nor in the
    /// store.
    fn detach(&mut self, core: MutexGuard<'_, Core>, why: fn() -> Error) -> Stop {
        if let Some(Err(error)) = &core.outcome {
            return Stop::Failed(error.clone());
        }
        let place = core.readers.iter().find(|place| place.reader == self.id);
        let hash = place.and_then(|place| place.hash.as_ref()).map(|hash| hash.finish());
        // What has ended is known as a whole, if somebody has read all of it.
        let ended = core.outcome.is_some().then(|| core.window.end());
        let whole = ended.and_then(|len| core.hash_of(len));
        let len = ended.or(core.announced);
        // What comes now is the user's: the request, its copies, and whoever listens to the log.
        drop(core);
        let (Some(refetch), Some(hash)) = (self.again.take(), hash) else {
            return Stop::Failed(why());
        };
        tracing::debug!(offset = self.offset, "goes on by a request of its own: {}", why());
        let same = Same { delivered: (self.offset, hash), len, hash: whole };
        Stop::Behind(Box::new(Mend::begin(refetch, same)))
    }

    pub(in crate::layer) fn size_hint(&self) -> SizeHint {
        let core = self.shared.lock();
        if let (Some(Ok(())), end) = (&core.outcome, core.window.end()) {
            return SizeHint::with_exact(end.saturating_sub(self.offset));
        }
        let buffered = core.window.end().saturating_sub(self.offset);
        let upstream = core.upstream.as_ref().map(|upstream| upstream.size_hint()).unwrap_or_default();
        let mut hint = SizeHint::new();
        hint.set_lower(upstream.lower().saturating_add(buffered));
        if let Some(upper) = upstream.upper().and_then(|upper| upper.checked_add(buffered)) {
            hint.set_upper(upper);
        }
        hint
    }

    pub(in crate::layer) fn is_end_stream(&self) -> bool {
        let core = self.shared.lock();
        matches!(core.outcome, Some(Ok(()))) && core.window.end() == self.offset
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // First, because what is dropped is not to be woken.
        self.shared.wakers.forget(self.id);
        self.shared.leave(self.id, self.is_last);
    }
}

impl Shared {
    /// Goes on without a reader; where there is none left, lets go of the body. Wakes all who wait, the reader too where it
    /// is still there.
    pub(super) fn leave(self: &Arc<Self>, id: u64, is_last: bool) {
        let (given_up, successor) = {
            let mut core = self.lock();
            core.remove_reader(id);
            let successor = self.successor(&mut core, is_last);
            let given_up = if core.readers.is_empty() && core.outcome.is_none() {
                core.outcome = Some(Err(Error::new(ErrorKind::Body, "nobody reads it any more")));
                core.window.clear();
                Some((core.upstream.take(), std::mem::replace(&mut core.keep, Keep::Nothing)))
            } else {
                core.trim();
                None
            };
            (given_up, successor)
        };
        if let Some((_, Keep::Deciding(Some(deciding)))) = given_up {
            deciding.finish();
        } else {
            drop(given_up);
        }
        if let Some((finish, rest)) = successor {
            finish.read(rest);
        }
        // Whoever is left may have to poll the origin now.
        self.wakers.wake_all();
    }

    /// Somebody who reads in the place of the last reader, where so little is missing that this is wanted.
    fn successor(self: &Arc<Self>, core: &mut Core, is_last: bool) -> Option<(Arc<Finish>, Reader)> {
        let finish = self.finish.as_ref().filter(|_| !is_last)?.upgrade()?;
        let is_wanted = core.readers.is_empty() && core.missing().is_some_and(|missing| finish.wants(missing));
        is_wanted.then(|| {
            let offset = core.window.end();
            let id = core.add_reader(offset);
            let shared = Arc::clone(self);
            (finish, Reader { shared, id, offset, part: None, is_last: true, again: None, leaves: None })
        })
    }
}

fn too_slow() -> Error {
    Error::new(ErrorKind::Body, "read too slowly while others read too")
}

fn gone() -> Error {
    Error::new(ErrorKind::Body, "a part that was spooled is gone")
}
