//! Removes at an interval what is past its deadline, in the background: no request waits for it.
//!
//! It ends when the last service of the layer is dropped, or when the layer is closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::task::JoinSet;

use super::Engine;

/// The task, and how often it has something to do.
#[derive(Debug)]
pub(super) struct Purge {
    every: Duration,
    began: AtomicBool,
    // Of at most one task, which ends with the set.
    task: Mutex<JoinSet<()>>,
}

impl Purge {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, began: AtomicBool::new(false), task: Mutex::default() }
    }

    /// Begins, unless it has begun already or there is no runtime so far.
    pub(super) fn begin(&self, engine: &Arc<Engine>) {
        if self.began.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Runtime::try_current() else { return };
        if self.began.swap(true, Ordering::AcqRel) {
            return;
        }
        // What waits does not keep the engine, and with it the cache, alive.
        let (engine, every) = (Arc::downgrade(engine), self.every);
        let task = async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(engine) = engine.upgrade() else { return };
                engine.purge().await;
            }
        };
        self.task.lock().unwrap_or_else(PoisonError::into_inner).spawn_on(task, &runtime);
    }

    /// Ends for good, and waits until it has.
    pub(super) async fn end(&self) {
        self.began.store(true, Ordering::Release);
        let mut task = std::mem::take(&mut *self.task.lock().unwrap_or_else(PoisonError::into_inner));
        task.shutdown().await;
    }
}

impl Engine {
    async fn purge(&self) {
        match self.ledger.cache().delete_expired(self.clock.now()).await {
            Ok(removed) => tracing::debug!(removed, "what is past its deadline is removed"),
            // The next time may find the store in a better state.
            Err(error) => tracing::warn!(%error, "what is past its deadline is not removed"),
        }
    }
}
