//! Noticing that a connection stands and nothing comes over it: a server that hangs, a machine that is gone, a reply that
//! never ends.
//!
//! Or that what comes is not what was asked for, because a reply ended later than its server meant it to.
//!
//! The driver looks for silence too, and begins anew with each command that is sent: on a busy connection it finds nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fred::clients::{Client, WithOptions};
use fred::interfaces::ClientLike;
use fred::types::Value;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// How long nothing may come although something was asked, before the server is asked whether it is there; and how long it
/// may take to answer that. At least: a server that may take longer for a command may do so here too.
const SILENCE: Duration = Duration::from_secs(1);

/// When something was asked and when something came.
#[derive(Clone, Debug)]
pub(crate) struct Silence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    /// [`SILENCE`], or what a command may take, where that is longer.
    patience: Duration,
    /// The moment of the first question since the last reply, in milliseconds after `begun`, plus 1; 0 where there is none.
    waiting_since: AtomicU64,
    is_probing: AtomicBool,
    is_doubted: AtomicBool,
    /// When doubts were last looked into, as above.
    looked: AtomicU64,
    /// How many words were asked for.
    words: AtomicU64,
}

impl Silence {
    /// For a server that may take `command_timeout` for a command.
    pub(crate) fn new(command_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            begun: Instant::now(),
            patience: command_timeout.max(SILENCE),
            waiting_since: AtomicU64::new(0),
            is_probing: AtomicBool::new(false),
            is_doubted: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            words: AtomicU64::new(0),
        }))
    }

    /// Something came.
    pub(crate) fn heard(&self) {
        self.0.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Something is about to be asked; `true` where nothing has come for too long.
    pub(crate) fn asked(&self) -> bool {
        let now = self.now();
        let first = self.0.waiting_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        first.is_err_and(|since| u128::from(now.saturating_sub(since)) > self.0.patience.as_millis())
    }

    /// Somebody waits for a reply from now on.
    pub(crate) fn wait(&self) -> Waiting {
        Waiting { silence: self.clone(), answered: false }
    }

    /// Whether a reply has failed to come since this was asked, and nobody has looked into it for a while.
    pub(crate) fn doubted(&self) -> bool {
        if !self.0.is_doubted.load(Ordering::Relaxed) {
            return false;
        }
        let now = self.now();
        let last = self.0.looked.load(Ordering::Relaxed);
        let is_due = last == 0 || u128::from(now.saturating_sub(last)) > SILENCE.as_millis();
        if is_due {
            self.0.looked.store(now, Ordering::Relaxed);
            self.0.is_doubted.store(false, Ordering::Relaxed);
        }
        is_due
    }

    /// Asks each of `servers` for something that nobody else asks for, and ends `connection` where the answer is another,
    /// or, if it is `silent`, does not come. A reply may have come for somebody who had gone, so that silence alone
    /// proves nothing.
    pub(crate) fn probe(&self, servers: Vec<WithOptions<Client>>, connection: Option<AbortHandle>, silent: bool) {
        let (Some(connection), Ok(runtime)) = (connection, Handle::try_current()) else { return };
        if self.0.is_probing.swap(true, Ordering::Relaxed) {
            return;
        }
        let probing = Probing(self.clone());
        runtime.spawn(async move {
            for calls in servers {
                let word = format!("hcc-{}", probing.0.0.words.fetch_add(1, Ordering::Relaxed));
                match timeout(probing.0.0.patience, calls.ping::<Value>(Some(word.clone()))).await {
                    Ok(Ok(reply)) if reply.as_bytes() == Some(word.as_bytes()) => continue,
                    Ok(Ok(_)) => {
                        tracing::warn!("a Redis server's replies have lost their order: the connection is given up")
                    }
                    _ if silent => {
                        tracing::warn!("the Redis server does not answer any more: the connection is given up")
                    }
                    // It is slow, or the driver is connecting anew already.
                    _ => return,
                }
                connection.abort();
                break;
            }
            probing.0.heard();
        });
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// A wait for a reply. One that ends without the reply raises doubts: should the server not be done with it, the next
/// reply could be taken for a part of it, and each after that for the one before.
#[must_use = "to drop this is to say that no reply has come"]
pub(crate) struct Waiting {
    silence: Silence,
    answered: bool,
}

impl Waiting {
    /// It came.
    pub(crate) fn answered(mut self) {
        self.answered = true;
        self.silence.heard();
    }

    /// Nothing was asked after all.
    pub(crate) fn never_mind(mut self) {
        self.answered = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.answered {
            self.silence.0.is_doubted.store(true, Ordering::Relaxed);
        }
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
    async fn a_reply_that_did_not_come_raises_doubts_that_are_looked_into_now_and_then() {
        let silence = Silence::new(SILENCE);
        silence.wait().answered();
        assert!(!silence.doubted());
        drop(silence.wait());
        assert!(silence.doubted());
        assert!(!silence.doubted(), "looked into");
        drop(silence.wait());
        assert!(!silence.doubted(), "a moment ago");
        tokio::time::advance(SILENCE + Duration::from_millis(1)).await;
        assert!(silence.doubted());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_first_question_after_a_reply() {
        // As long as a command may take, and at least so long.
        for (command_timeout, patience) in [(SILENCE / 5, SILENCE), (SILENCE * 30, SILENCE * 30)] {
            let silence = Silence::new(command_timeout);
            assert!(!silence.asked());
            tokio::time::advance(patience).await;
            assert!(!silence.asked());
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(silence.asked());
            silence.heard();
            tokio::time::advance(patience * 10).await;
            assert!(!silence.asked(), "nothing was asked meanwhile");
        }
    }
}
