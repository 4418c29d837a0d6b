//! A storage whose answers are those of no order of the calls.

use async_trait::async_trait;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};

use super::Twist;
use crate::reference::ReferenceStorage;

/// Writes once more what it has written, whatever came meanwhile: as a driver does that tries again what was done already.
#[derive(Debug, Default)]
pub(super) struct WritesAgain;

#[async_trait]
impl Twist for WritesAgain {
    const NAME: &'static str = "writes again what it has written";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, entry: Entry) -> Result<()> {
        good.write(key, entry.clone()).await?;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        good.write(key, entry).await
    }
}
