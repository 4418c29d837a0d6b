//! Storages that delete and list wrongly: S4, S7, S8.

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use hyper_client_cache_core::storage::{CacheKey, Storage};
use hyper_client_cache_core::{Error, ErrorKind, Result};

use super::Twist;
use crate::reference::ReferenceStorage;

/// Finds it an error that there is nothing to delete, as removing a file that is not there is.
#[derive(Debug, Default)]
pub(super) struct FailsOnWhatIsNotThere;

#[async_trait]
impl Twist for FailsOnWhatIsNotThere {
    const NAME: &'static str = "fails to delete what is not there";

    async fn delete(&self, good: &ReferenceStorage, key: &CacheKey) -> Result<bool> {
        let stored = good.disk().raw(good.namespace(), key).is_some();
        let deleted = good.delete(key).await?;
        if stored { Ok(deleted) } else { Err(Error::new(ErrorKind::Storage, "no such entry")) }
    }
}

/// Clears all whose name begins with its own, as deleting `name*` does.
#[derive(Debug, Default)]
pub(super) struct ClearsByPrefix;

#[async_trait]
impl Twist for ClearsByPrefix {
    const NAME: &'static str = "clears every namespace that its name begins";

    async fn clear(&self, good: &ReferenceStorage) -> Result<()> {
        for name in good.disk().namespaces() {
            if name.starts_with(good.namespace()) {
                ReferenceStorage::open(good.disk(), &name, good.clock()).clear().await?;
            }
        }
        good.clear().await
    }
}

/// Yields the last key of a page again at the start of the next.
#[derive(Debug, Default)]
pub(super) struct ListsTheLastTwice;

#[async_trait]
impl Twist for ListsTheLastTwice {
    const NAME: &'static str = "lists a key twice where there are more than a hundred";

    fn keys<'a>(&'a self, good: &'a ReferenceStorage) -> BoxStream<'a, Result<CacheKey>> {
        let repeat = stream::once(async {
            let stored = good.disk().keys(good.namespace());
            stored.get(100..).and_then(<[CacheKey]>::last).copied().map(Ok)
        });
        good.keys().chain(repeat.filter_map(std::future::ready)).boxed()
    }
}
