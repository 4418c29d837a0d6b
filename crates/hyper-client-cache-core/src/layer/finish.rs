//! Bodies that are read to their end although nobody asks for them any more, because little of them is missing (case 178).
//!
//! Only where that was asked for: by itself the cache leaves nothing running behind a caller who has gone away.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::stream::Reader;

/// How long an origin may take for what is missing.
const WITHIN: Duration = Duration::from_secs(10);

/// How many bodies are read so at once.
const MOST: usize = 32;

/// What is read on, and how much that may be of each.
#[derive(Debug)]
pub(super) struct Finish {
    limit: u64,
    running: Mutex<JoinSet<()>>,
}

impl Finish {
    /// Of each body at most `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, running: Mutex::default() }
    }

    /// Whether a body of which `missing` bytes have not come is read to its end; `None` where nobody knows how many.
    pub(super) fn wants(&self, missing: Option<u64>) -> bool {
        missing.unwrap_or(u64::MAX) <= self.limit
    }

    /// Reads the rest in the background. Gives the body up where there is no runtime, or too many are read already.
    pub(super) fn read(&self, mut rest: Reader) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut running = self.lock();
        while running.try_join_next().is_some() {}
        if running.len() >= MOST {
            drop(running);
            return;
        }
        let to_the_end = async move { while let Some(Ok(_)) = poll_fn(|cx| rest.poll_frame(cx)).await {} };
        running.spawn_on(async move { drop(timeout(WITHIN, to_the_end).await) }, &runtime);
    }

    /// Gives up what is still read, and waits until it is gone.
    pub(super) async fn end(&self) {
        let mut running = std::mem::take(&mut *self.lock());
        running.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
