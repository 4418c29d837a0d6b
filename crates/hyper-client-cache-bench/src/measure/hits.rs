//! Hits: one after the other (the median time), and from many tasks at once (the rate).
//!
//! The origin's counter stands still while they are taken, or the sample is an error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Client, drain, fetch};
use crate::origin::Counter;
use crate::runner::Measure;
use crate::stats::p50;

/// How many tasks ask at once where a rate is measured.
pub(crate) const TASKS: usize = 64;

/// A hit that never waits never lets another task in either; it does after this many.
const YIELD_EVERY: u64 = 16;

/// What the hits are for, and for how long they are taken.
#[derive(Clone)]
pub(crate) struct Targets {
    pub(crate) urls: Arc<[String]>,
    pub(crate) counter: Counter,
    /// How long a sample takes, about.
    pub(crate) budget: Duration,
}

impl Targets {
    /// Fetches each URL, so that it is in the client's cache.
    pub(crate) async fn fill<C: Client>(&self, client: &C) -> Result<()> {
        let before = self.counter.requests();
        for url in self.urls.iter() {
            fetch(client, url).await?;
        }
        self.counter.expect(before, self.urls.len() as u64)
    }
}

/// The median time of a hit, in nanoseconds.
pub(crate) struct HitTime<C> {
    pub(crate) client: Arc<C>,
    pub(crate) targets: Targets,
    pub(crate) until: Until,
}

/// When a hit is over.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// When the response is there; its body is dropped, because reading a large one would leave the processor's caches
    /// cold for the next hit.
    Response,
    /// When the body was read to its end.
    End,
}

#[async_trait]
impl<C: Client> Measure for HitTime<C> {
    async fn sample(&mut self) -> Result<f64> {
        let before = self.targets.counter.requests();
        // In a task, where a program's requests are: the thread that blocks on the runtime wakes up more slowly.
        let times = tokio::spawn(times(self.client.clone(), self.targets.clone(), self.until));
        let mut times = times.await??;
        self.targets.counter.expect(before, 0)?;
        Ok(p50(&mut times))
    }
}

/// Hits a second from [`TASKS`] tasks.
pub(crate) struct HitRate<C> {
    pub(crate) client: Arc<C>,
    pub(crate) targets: Targets,
}

#[async_trait]
impl<C: Client> Measure for HitRate<C> {
    async fn sample(&mut self) -> Result<f64> {
        let before = self.targets.counter.requests();
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            tasks.spawn(count(self.client.clone(), self.targets.clone(), task, start));
        }
        let mut hits: u64 = 0;
        while let Some(done) = tasks.join_next().await {
            hits = hits.saturating_add(done??);
        }
        let elapsed = start.elapsed();
        self.targets.counter.expect(before, 0)?;
        Ok(hits as f64 / elapsed.as_secs_f64())
    }
}

async fn times<C: Client>(client: Arc<C>, targets: Targets, until: Until) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(1 << 16);
    let start = Instant::now();
    let mut last = start;
    for url in targets.urls.iter().cycle() {
        let body = client.send(url).await?;
        match until {
            Until::Response => drop(body),
            Until::End => {
                drain(body).await?;
            }
        }
        // One look at the clock is the end of this hit and the beginning of the next.
        let now = Instant::now();
        times.push(now.duration_since(last));
        if now.duration_since(start) >= targets.budget {
            break;
        }
        last = now;
    }
    Ok(times)
}

async fn count<C: Client>(client: Arc<C>, targets: Targets, task: usize, start: Instant) -> Result<u64> {
    // Tasks begin at different URLs, so that they do not march in step.
    let first = targets.urls.len().saturating_mul(task) / TASKS;
    let mut hits: u64 = 0;
    for url in targets.urls.iter().cycle().skip(first) {
        fetch(&*client, url).await?;
        hits = hits.saturating_add(1);
        if hits.is_multiple_of(YIELD_EVERY) {
            if start.elapsed() >= targets.budget {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    Ok(hits)
}
