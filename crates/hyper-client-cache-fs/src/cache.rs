//! The cache that a session is given: three storages over one directory.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::{Cache, Stored, codec};
use hyper_client_cache_core::storage::{CacheKey, Storage};

use crate::config::{FsConfig, FsLocation};
use crate::engine::Engine;
use crate::error;
use crate::layout::Store;
use crate::ops;
use crate::path;
use crate::storage::FsStorage;

/// A cache in a directory. Cheap to clone; clones are handles on the same thing.
///
/// The directory may be used by several processes at once, and by several caches of one process. See the
/// [crate's documentation](crate) for what is set how and what is durable when.
#[derive(Clone)]
pub struct FsCache(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    responses: FsStorage,
    redirects: FsStorage,
    bodies: FsStorage,
}

impl FsCache {
    /// Opens the cache in the directory `location` with the defaults, and makes it where there is none.
    ///
    /// `~` is the home folder, missing folders are made. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// Those of [`FsConfig::open`].
    pub async fn open(location: impl Into<FsLocation>) -> Result<Self> {
        Self::builder(location).open().await
    }

    /// Options for the cache in the directory `location`.
    pub fn builder(location: impl Into<FsLocation>) -> FsConfig {
        FsConfig::new(location)
    }

    /// `http-cache` in the user's cache folder: what [`FsLocation::user_cache`] stands for.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](hyper_client_cache_core::ErrorKind::Config) where the user has no home folder.
    pub fn default_path() -> Result<PathBuf> {
        Ok(path::default_path()?)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.engine.shared.path
    }

    pub(crate) async fn from_config(config: FsConfig) -> error::Result<Self> {
        let engine = Arc::new(Engine::open(config).await?);
        let storage = |store| FsStorage::new(Arc::clone(&engine), store);
        Ok(Self(Arc::new(Inner {
            responses: storage(Store::Responses),
            redirects: storage(Store::Redirects),
            bodies: storage(Store::Bodies),
            engine,
        })))
    }
}

impl fmt::Debug for FsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FsCache").field(&self.0.engine.shared.config).finish()
    }
}

#[async_trait]
impl Cache for FsCache {
    fn responses(&self) -> &dyn Storage {
        &self.0.responses
    }

    fn redirects(&self) -> &dyn Storage {
        &self.0.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        Some(&self.0.bodies)
    }

    /// At once where the files are in the system's memory; otherwise one hop to a thread, also where nothing is found.
    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        let key = *key;
        let at_once = |shared: &crate::engine::Shared| {
            if let Some(stored) = ops::read_at_once(shared, Store::Responses, &key)?.and_then(codec::decode) {
                return Some(Some(stored));
            }
            Some(ops::read_at_once(shared, Store::Redirects, &key)?.and_then(codec::decode))
        };
        if let Some(found) = self.0.engine.at_once(at_once)? {
            return Ok(found);
        }
        let look_up = move |shared: &crate::engine::Shared| {
            if let Some(stored) = ops::read(shared, Store::Responses, &key)?.and_then(codec::decode) {
                return Ok(Some(stored));
            }
            Ok(ops::read(shared, Store::Redirects, &key)?.and_then(codec::decode))
        };
        Ok(self.0.engine.read(look_up).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Id;
    use crate::sys::AtOnce;
    use futures_util::FutureExt;
    use hyper_client_cache_core::storage::Entry;
    use std::sync::Mutex;

    /// What the system has in memory is read where the call is made, so that threads that are busy hold no hit up; the
    /// rest waits for a thread.
    #[test]
    fn a_small_file_in_memory_is_read_without_a_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        let blocker = Arc::new(Mutex::new(()));
        runtime.block_on(async {
            let cache = FsCache::builder("x").use_temp(true).open().await.unwrap();
            let (small, large) = (CacheKey::new("small").unwrap(), CacheKey::new("large").unwrap());
            let entry = Entry::new("head", vec![b'x'; 2000]);
            cache.responses().write(&small, entry.clone()).await.unwrap();
            cache.responses().write(&large, Entry::new("head", vec![b'x'; 100_000])).await.unwrap();
            let folder = cache.0.engine.shared.folder();
            let is_asked = folder.read_at_once(Id::new(Store::Responses, &small)) != AtOnce::Never;

            let held = blocker.lock().unwrap();
            let wait = blocker.clone();
            let busy = tokio::task::spawn_blocking(move || drop(wait.lock().unwrap()));
            let found = cache.responses().read(&small).now_or_never();
            assert_eq!(found.is_some(), is_asked);
            assert!(found.is_none_or(|found| found.unwrap() == Some(entry)));
            assert!(cache.responses().read(&large).now_or_never().is_none());
            drop(held);
            busy.await.unwrap();
            assert!(cache.responses().read(&large).await.unwrap().is_some());
        });
    }
}
