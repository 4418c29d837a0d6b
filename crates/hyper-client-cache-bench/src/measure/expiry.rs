//! How long it takes to remove what is dead: each sample puts the dead back first, which is not timed.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry};

use crate::Result;
use crate::runner::Measure;

/// The time of one `delete_expired`, in nanoseconds.
pub(crate) struct ExpiryTime {
    pub(crate) cache: Arc<dyn Cache>,
    /// What is dead at `now`.
    pub(crate) dead: Vec<(CacheKey, Entry)>,
    pub(crate) now: SystemTime,
}

#[async_trait]
impl Measure for ExpiryTime {
    async fn sample(&mut self) -> Result<f64> {
        self.cache.responses().write_many(self.dead.clone()).await?;
        let start = Instant::now();
        let deleted = self.cache.delete_expired(self.now).await?;
        let elapsed = start.elapsed();
        if deleted == self.dead.len() as u64 {
            return Ok(elapsed.as_nanos() as f64);
        }
        Err(format!("{deleted} entries were removed where {} were dead", self.dead.len()).into())
    }
}
