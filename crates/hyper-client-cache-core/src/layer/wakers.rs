//! Who waits for the next bytes of a shared body.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Wakes every reader: the origin's body remembers only who polled it last, and that one may be gone.
///
/// By the reader's number and not by the waker's identity: two readers in one task have the same waker, and each must
/// be woken for the other.
#[derive(Default)]
pub(super) struct Wakers(Mutex<Vec<(u64, Waker)>>);

impl Wakers {
    pub(super) fn register(&self, reader: u64, waker: &Waker) {
        let mut list = self.lock();
        match list.iter_mut().find(|(other, _)| *other == reader) {
            Some((_, old)) => old.clone_from(waker),
            None => list.push((reader, waker.clone())),
        }
    }

    pub(super) fn forget(&self, reader: u64) {
        self.lock().retain(|(other, _)| *other != reader);
    }

    pub(super) fn wake_all(&self) {
        let list = std::mem::take(&mut *self.lock());
        list.into_iter().for_each(|(_, waker)| waker.wake());
    }

    pub(super) fn wake_others(&self, me: u64) {
        let list = std::mem::take(&mut *self.lock());
        list.into_iter().filter(|(reader, _)| *reader != me).for_each(|(_, waker)| waker.wake());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}
