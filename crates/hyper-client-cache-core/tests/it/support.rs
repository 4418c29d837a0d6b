//! What tests share that are about more than one thing: a clock, entries, and a process of one's own.

use std::future::Future;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::{CacheKey, Entry};

/// Seconds since 1970 that only a test moves.
#[derive(Clone, Debug, Default)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    pub fn shared(&self) -> Arc<dyn Clock> {
        Arc::new(self.clone())
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        at(self.0.load(Ordering::SeqCst))
    }
}

pub fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

pub fn key(name: impl ToString) -> CacheKey {
    CacheKey::new(&name.to_string()).unwrap()
}

pub fn entry(body: impl Into<Vec<u8>>) -> Entry {
    Entry::new("head", body.into())
}

/// Set in a process that runs one test alone.
const ALONE: &str = "HCC_TEST_ALONE";

/// Whether the test named `name` (with its modules) runs in a process without other tests. If not, it is run in one, and
/// fails here if it fails there.
///
/// For what concerns the whole process: its memory, and who listens to its log. (`tracing` remembers for each event
/// whether anybody listens, and where there is one listener it asks only the thread that meets the event first: another
/// test's thread, which has none, switches the event off for all.)
pub fn is_alone(name: &str) -> bool {
    is_alone_with(name, &[])
}

/// The same, with these variables in the environment of that process.
pub fn is_alone_with(name: &str, variables: &[(&str, &str)]) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let output = alone
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "yes")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{name}\n{said}\n{told}");
    false
}

/// Polls a future at most `polls` times; the result, if that was enough.
pub async fn poll_times<F: Future + ?Sized>(mut future: Pin<&mut F>, polls: usize) -> Option<F::Output> {
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Time of a runtime of one thread that stands still, also while a socket is waited for, and passes when the test says
/// so: a limit of time is met, or not, however busy the machine is.
///
/// What hangs meanwhile would never be told so by a time-out; after a minute the time runs again.
pub struct StillTime {
    _held: std::sync::mpsc::Sender<()>,
}

impl StillTime {
    /// From now on, until this is dropped.
    pub fn begin() -> Self {
        let (held, hold) = std::sync::mpsc::channel();
        // Paused time jumps to the next timer when every task waits, be it for a socket; not while anything blocks.
        tokio::task::spawn_blocking(move || hold.recv_timeout(Duration::from_secs(60)));
        tokio::time::pause();
        Self { _held: held }
    }

    /// Lets time pass, and whoever waited for that go on.
    pub async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

impl Drop for StillTime {
    fn drop(&mut self) {
        tokio::time::resume();
    }
}
