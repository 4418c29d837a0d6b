//! Noticing that a connection stands and nothing comes over it: a server that hangs, a machine that is gone, a reply that
//! never ends.
//!
//! The driver looks for that too, and begins anew with each command that is sent: on a busy connection it finds nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fred::clients::{Client, WithOptions};
use fred::interfaces::ClientLike;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// How long nothing may come although something was asked, before the server is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(1);

/// How long that may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// When something was asked and when something came.
#[derive(Clone, Debug)]
pub(crate) struct Silence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    /// The moment of the first question since the last reply, in milliseconds after `begun`, plus 1; 0 where there is none.
    waiting_since: AtomicU64,
    is_probing: AtomicBool,
}

impl Silence {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            begun: Instant::now(),
            waiting_since: AtomicU64::new(0),
            is_probing: AtomicBool::new(false),
        }))
    }

    /// Something came.
    pub(crate) fn heard(&self) {
        self.0.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Something is about to be asked; `true` where nothing has come for too long.
    pub(crate) fn asked(&self) -> bool {
        let now = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let first = self.0.waiting_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        first.is_err_and(|since| u128::from(now.saturating_sub(since)) > SILENCE.as_millis())
    }

    /// Asks the server whether it is there, and ends `connection` if it does not say so. A reply may have come for
    /// somebody who had gone, so that silence alone proves nothing.
    pub(crate) fn probe(&self, calls: WithOptions<Client>, connection: Option<AbortHandle>) {
        let (Some(connection), Ok(runtime)) = (connection, Handle::try_current()) else { return };
        if self.0.is_probing.swap(true, Ordering::Relaxed) {
            return;
        }
        let probing = Probing(self.clone());
        runtime.spawn(async move {
            match timeout(PROBE_TIMEOUT, calls.ping::<()>(None)).await {
                Ok(Ok(())) => probing.0.heard(),
                _ => {
                    tracing::warn!("the Redis server does not answer any more: the connection is given up");
                    connection.abort();
                    probing.0.heard();
                }
            }
        });
    }
}

/// A probe that is under way, until it ends or its runtime does.
struct Probing(Silence);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.0.is_probing.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_first_question_after_a_reply() {
        let silence = Silence::new();
        assert!(!silence.asked());
        tokio::time::advance(SILENCE).await;
        assert!(!silence.asked());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(silence.asked());
        silence.heard();
        tokio::time::advance(SILENCE * 10).await;
        assert!(!silence.asked(), "nothing was asked meanwhile");
    }
}
