//! Hits all over a large store: each is for an entry that is drawn by lot, so that what a store keeps at hand is of no
//! more use than it is to a program that comes back to any of its pages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::Result;
use crate::client::{Client, fetch};
use crate::origin::{Counter, url};
use crate::runner::Measure;
use crate::stats::p50;

/// The median time of a hit on one of `entries` entries, in nanoseconds.
pub(crate) struct SpreadHits<C> {
    pub(crate) client: Arc<C>,
    /// The origin's URL without a path.
    pub(crate) origin: String,
    /// Bytes of each body.
    pub(crate) size: u64,
    /// How many entries there are; their names are the numbers from 0.
    pub(crate) entries: u64,
    pub(crate) counter: Counter,
    /// How long a sample takes, about.
    pub(crate) budget: Duration,
}

#[async_trait]
impl<C: Client> Measure for SpreadHits<C> {
    async fn sample(&mut self) -> Result<f64> {
        let before = self.counter.requests();
        let (client, origin, size, entries) = (self.client.clone(), self.origin.clone(), self.size, self.entries);
        let budget = self.budget;
        let times = tokio::spawn(async move {
            let mut times = Vec::with_capacity(1 << 16);
            let start = Instant::now();
            while start.elapsed() < budget {
                let url = url(&origin, size, fastrand::u64(..entries));
                let sent = Instant::now();
                fetch(&*client, &url).await?;
                times.push(sent.elapsed());
            }
            Result::Ok(times)
        });
        let mut times = times.await??;
        self.counter.expect(before, 0)?;
        Ok(p50(&mut times))
    }
}
