//! The time of a call that is not a request.

use std::future::Future;
use std::time::Instant;

use async_trait::async_trait;

use crate::Result;
use crate::runner::Measure;
use crate::stats::p50;

/// The median time of `calls` calls, in nanoseconds.
pub(crate) struct CallTime<F> {
    pub(crate) call: F,
    pub(crate) calls: usize,
}

#[async_trait]
impl<F, C> Measure for CallTime<F>
where
    F: Fn() -> C + Send + Sync,
    C: Future<Output = Result<()>> + Send,
{
    async fn sample(&mut self) -> Result<f64> {
        let mut times = Vec::with_capacity(self.calls);
        for _ in 0..self.calls {
            let start = Instant::now();
            (self.call)().await?;
            times.push(start.elapsed());
        }
        Ok(p50(&mut times))
    }
}
