//! What is on its way to the store without being an action on a key: it is waited for, and has its share of the memory.

use std::pin::pin;
use std::sync::Arc;

use super::{Ledger, MAX_WAITING_BYTES};

impl Ledger {
    /// Counts as something on its way to the store until dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        let mut pending = self.lock();
        pending.running = pending.running.saturating_add(1);
        Busy(self.clone())
    }

    /// Room in memory for `bytes` that wait for the store; `None`, and counted, where too much is waiting.
    pub(crate) fn room(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut pending = self.lock();
        if pending.bytes.saturating_add(bytes) > MAX_WAITING_BYTES {
            drop(pending);
            self.counters.store_refused.add();
            return None;
        }
        pending.bytes = pending.bytes.saturating_add(bytes);
        Some(Room { ledger: self.clone(), bytes })
    }

    /// Waits until nothing is on its way to the store.
    pub async fn flush(&self) {
        loop {
            let mut quiet = pin!(self.quiet.notified());
            quiet.as_mut().enable();
            if self.lock().running == 0 {
                return;
            }
            quiet.await;
        }
    }
}

/// Something on its way to the store that [`Ledger::flush`] waits for.
pub(crate) struct Busy(Arc<Ledger>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut pending = self.0.lock();
        pending.running = pending.running.saturating_sub(1);
        drop(pending);
        self.0.quiet.notify_waiters();
    }
}

/// Memory that waits for the store, given back when dropped.
pub(crate) struct Room {
    ledger: Arc<Ledger>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut pending = self.ledger.lock();
        pending.bytes = pending.bytes.saturating_sub(self.bytes);
    }
}
