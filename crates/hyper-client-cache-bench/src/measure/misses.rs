//! Misses: what storing adds to a request, and when the first byte of a large body is there.
//!
//! Each miss is for a URL that nobody has asked for before; the origin's counter says that it was one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::Result;
use crate::client::{Body, Client, drain, fetch};
use crate::origin::{Counter, url};
use crate::runner::Measure;
use crate::stats::p50;

/// URLs that are new each time. Clones never give the same one.
#[derive(Clone)]
pub(crate) struct FreshUrls {
    base: Arc<str>,
    size: u64,
    next: Arc<AtomicU64>,
    counter: Counter,
    /// How long the origin takes before it answers, in milliseconds.
    delay: Option<u64>,
}

impl FreshUrls {
    /// URLs of bodies of `size` bytes at the origin `base`.
    pub(crate) fn new(base: &str, size: u64, counter: Counter) -> Self {
        Self { base: base.into(), size, next: Arc::default(), counter, delay: None }
    }

    /// The same, of an origin that takes `delay` milliseconds before it answers.
    pub(crate) fn delayed(&self, delay: u64) -> Self {
        Self { delay: Some(delay), ..self.clone() }
    }

    fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match self.delay {
            Some(delay) => url(&self.base, self.size, format_args!("fresh-{number}?{delay}")),
            None => url(&self.base, self.size, format_args!("fresh-{number}")),
        }
    }
}

/// The time that a miss takes over a request without a cache, in nanoseconds: the difference of two medians.
///
/// Both are taken in turn, one request each, since what crosses a socket is bimodal.
pub(crate) struct AddedTime<C, B> {
    pub(crate) cached: Arc<C>,
    /// The same client without a cache.
    pub(crate) bare: Arc<B>,
    pub(crate) urls: FreshUrls,
    /// Pairs of requests in a sample.
    pub(crate) pairs: usize,
}

#[async_trait]
impl<C: Client, B: Client> Measure for AddedTime<C, B> {
    async fn sample(&mut self) -> Result<f64> {
        let (cached, bare, urls, pairs) = (self.cached.clone(), self.bare.clone(), self.urls.clone(), self.pairs);
        let before = self.urls.counter.requests();
        let added = tokio::spawn(async move {
            let (mut with, mut without) = (Vec::with_capacity(pairs), Vec::with_capacity(pairs));
            for _ in 0..pairs {
                without.push(time(&*bare, &urls.next()).await?);
                with.push(time(&*cached, &urls.next()).await?);
            }
            Result::Ok(p50(&mut with) - p50(&mut without))
        });
        let added = added.await??;
        self.urls.counter.expect(before, self.pairs.saturating_mul(2) as u64)?;
        Ok(added)
    }
}

/// How long everything rests before a request whose first byte is timed: threads that have just worked are quicker to
/// wake than those that wait for something, whoever they wait for.
const REST: Duration = Duration::from_millis(2);

/// The time until the first bytes of a body are there, in nanoseconds, of one request. The rest is read, but not timed,
/// and whatever is still stored of it ends before the next request: on few cores that would be timed too.
pub(crate) struct FirstByte<C> {
    pub(crate) client: Arc<C>,
    pub(crate) urls: FreshUrls,
}

#[async_trait]
impl<C: Client> Measure for FirstByte<C> {
    async fn sample(&mut self) -> Result<f64> {
        let (client, urls) = (self.client.clone(), self.urls.clone());
        let before = self.urls.counter.requests();
        let time = tokio::spawn(async move {
            let url = urls.next();
            let start = Instant::now();
            let mut body = client.send(&url).await?;
            let first = body.chunk().await?.map_or(0, |chunk| chunk.len());
            let time = start.elapsed();
            let rest = drain(body).await?;
            if rest.saturating_add(first as u64) != urls.size {
                return Err("a body was cut short".into());
            }
            client.settle().await;
            tokio::time::sleep(REST).await;
            Result::Ok(time)
        });
        let time = time.await??;
        self.urls.counter.expect(before, 1)?;
        Ok(time.as_nanos() as f64)
    }
}

async fn time<C: Client>(client: &C, url: &str) -> Result<Duration> {
    let start = Instant::now();
    fetch(client, url).await?;
    Ok(start.elapsed())
}
