//! What is on its way to the store without being an action on a key: it is waited for, and has its share of the memory.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::timeout;

use super::{Ledger, MAX_WAITING_BYTES};

/// How long the end of a program waits at most for what is on its way to the store.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

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

    /// Waits until nothing is on its way to the store where that is lost otherwise: in the `main` of a program, at whose
    /// end the runtime takes all its tasks with it. At most [`LAST_PATIENCE`], and not at all where nothing is under way.
    ///
    /// It blocks the thread. So it does nothing inside of a task, which has the runtime around it still and keeps others
    /// from running, nor on a runtime of one thread, where nobody else could do the work.
    pub(crate) fn flush_before_the_end(self: &Arc<Self>) {
        if self.lock().running == 0 || tokio::task::try_id().is_some() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
            return;
        }
        let ledger = Arc::clone(self);
        let wait = move || drop(runtime.block_on(async { timeout(LAST_PATIENCE, ledger.flush()).await }));
        // By a thread of its own: this one is inside of the runtime, and may not wait for a future there.
        if let Ok(waiting) = std::thread::Builder::new().name("last-writes".into()).spawn(wait) {
            // It does not panic, and if it did there would be nothing to do about it here.
            let _ = waiting.join();
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
