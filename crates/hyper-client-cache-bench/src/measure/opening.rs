//! How long it takes to open a store that was closed.

use std::future::Future;
use std::time::Instant;

use async_trait::async_trait;
use hyper_client_cache_core::cache::Cache;

use crate::Result;
use crate::runner::Measure;

/// The time of one opening, in nanoseconds. What was opened is closed again, which is not timed.
pub(crate) struct OpeningTime<F> {
    pub(crate) open: F,
}

#[async_trait]
impl<F, O, C> Measure for OpeningTime<F>
where
    F: Fn() -> O + Send + Sync,
    O: Future<Output = Result<C>> + Send,
    C: Cache,
{
    async fn sample(&mut self) -> Result<f64> {
        let start = Instant::now();
        let cache = (self.open)().await?;
        let elapsed = start.elapsed();
        cache.close().await?;
        Ok(elapsed.as_nanos() as f64)
    }
}
