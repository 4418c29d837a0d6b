//! Storages that cannot live with damage: S15.

use async_trait::async_trait;
use hyper_client_cache_core::storage::frame::{self, FrameError};
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_core::{Error, ErrorKind, Result};

use super::Twist;
use crate::reference::ReferenceStorage;

/// Makes damage the caller's problem.
#[derive(Debug, Default)]
pub(super) struct FailsOnDamage;

#[async_trait]
impl Twist for FailsOnDamage {
    const NAME: &'static str = "fails where bytes are damaged";

    async fn read(&self, good: &ReferenceStorage, key: &CacheKey) -> Result<Option<Entry>> {
        match good.disk().raw(good.namespace(), key).map(|bytes| frame::split(&bytes)) {
            Some(Err(error)) => Err(Error::new(ErrorKind::Corrupt, "an entry").with_source(error)),
            _ => good.read(key).await,
        }
    }
}

/// Removes what a newer version wrote, so that two versions beside each other have no cache.
#[derive(Debug, Default)]
pub(super) struct RemovesWhatIsNewer;

#[async_trait]
impl Twist for RemovesWhatIsNewer {
    const NAME: &'static str = "removes what a newer version wrote";

    async fn read(&self, good: &ReferenceStorage, key: &CacheKey) -> Result<Option<Entry>> {
        let found = good.read(key).await?;
        let bytes = good.disk().raw(good.namespace(), key);
        if bytes.is_some_and(|bytes| frame::split(&bytes) == Err(FrameError::Newer)) {
            good.delete(key).await?;
        }
        Ok(found)
    }
}
