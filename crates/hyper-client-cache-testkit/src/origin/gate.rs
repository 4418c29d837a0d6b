//! A gate that a test opens: what replaces sleeping wherever an answer must come late.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

/// Holds whoever comes to it until the test lets them pass.
///
/// A gate is closed when made.
/// Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    // Closed for good means open: nobody needs a permit any more.
    permits: Semaphore,
    arrivals: watch::Sender<u64>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner { permits: Semaphore::new(0), arrivals: watch::Sender::new(0) }))
    }

    /// Lets everyone pass, now and later.
    pub fn open(&self) {
        self.0.permits.close();
    }

    /// Lets `n` pass, those who wait already first.
    pub fn release(&self, n: usize) {
        self.0.permits.add_permits(n);
    }

    /// Returns once the gate lets the caller pass.
    pub async fn pass(&self) {
        self.0.arrivals.send_modify(|count| *count = count.saturating_add(1));
        if let Ok(permit) = self.0.permits.acquire().await {
            permit.forget();
        }
    }

    /// How many have come to the gate so far, whether or not they passed.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        *self.0.arrivals.borrow()
    }

    /// Returns once `n` have come to the gate since it was made.
    pub async fn arrived(&self, n: u64) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.arrivals.subscribe().wait_for(|count| *count >= n).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
