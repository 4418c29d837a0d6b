//! Stores past the client: how many a second are acknowledged, and what a read takes meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use tokio::task::JoinSet;

use super::hits::{HitTime, TASKS};
use crate::Result;
use crate::client::Client;
use crate::origin;
use crate::runner::Measure;

/// How many tasks write while another reads.
const WRITERS: usize = 8;

/// Something that entries are put into.
pub(crate) trait Store: Send + Sync + 'static {
    /// Stores `answer` as entry `number` and returns when it can be read.
    fn put(&self, number: u64, answer: &Answer) -> impl Future<Output = Result<()>> + Send;
}

/// What is stored.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// What the origin answers, with a body of `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Self { headers: origin::whole_headers(size), body: origin::json(size) }
    }
}

/// A store that is being filled: entries are numbered in the order in which they are stored.
pub(crate) struct Filling<S> {
    store: S,
    answer: Answer,
    next: AtomicU64,
}

impl<S: Store> Filling<S> {
    /// Fills `store` with answers of `size` bytes.
    pub(crate) fn new(store: S, size: usize) -> Arc<Self> {
        Arc::new(Self { store, answer: Answer::new(size), next: AtomicU64::new(0) })
    }

    /// Stores one more.
    async fn put(&self) -> Result<()> {
        self.store.put(self.next.fetch_add(1, Ordering::Relaxed), &self.answer).await?;
        // A store that never waits would keep its thread to itself.
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// Stores a second from [`TASKS`] tasks, each acknowledged before its task goes on.
pub(crate) struct StoreRate<S> {
    pub(crate) filling: Arc<Filling<S>>,
    /// How long a sample takes, about.
    pub(crate) budget: Duration,
}

#[async_trait]
impl<S: Store> Measure for StoreRate<S> {
    async fn sample(&mut self) -> Result<f64> {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (filling, budget) = (self.filling.clone(), self.budget);
            tasks.spawn(async move {
                let mut stores: u64 = 0;
                while start.elapsed() < budget {
                    filling.put().await?;
                    stores = stores.saturating_add(1);
                }
                Result::Ok(stores)
            });
        }
        let mut stores: u64 = 0;
        while let Some(done) = tasks.join_next().await {
            stores = stores.saturating_add(done??);
        }
        Ok(stores as f64 / start.elapsed().as_secs_f64())
    }
}

/// The median time of a hit while [`WRITERS`] tasks write other entries to the same store, in nanoseconds.
pub(crate) struct ReadUnderWrites<C, S> {
    pub(crate) reads: HitTime<C>,
    pub(crate) filling: Arc<Filling<S>>,
}

#[async_trait]
impl<C: Client, S: Store> Measure for ReadUnderWrites<C, S> {
    async fn sample(&mut self) -> Result<f64> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let (filling, stop) = (self.filling.clone(), stop.clone());
            writers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    filling.put().await?;
                }
                Result::Ok(())
            });
        }
        let time = self.reads.sample().await;
        stop.store(true, Ordering::Relaxed);
        while let Some(done) = writers.join_next().await {
            done??;
        }
        time
    }
}
