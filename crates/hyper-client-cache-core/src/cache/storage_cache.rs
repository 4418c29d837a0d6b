//! A [`Cache`] out of any storages.

use std::sync::Arc;

use super::Cache;
use crate::storage::Storage;

/// A cache made of the storages it is given. Cheap to clone; clones share them.
///
/// ```
/// use hyper_client_cache_core::cache::StorageCache;
/// use hyper_client_cache_core::storage::MemoryStorage;
///
/// let cache = StorageCache::new(MemoryStorage::default(), MemoryStorage::default())
///     .with_bodies(MemoryStorage::default());
/// # let _ = cache;
/// ```
#[derive(Clone, Debug)]
pub struct StorageCache {
    responses: Arc<dyn Storage>,
    redirects: Arc<dyn Storage>,
    bodies: Option<Arc<dyn Storage>>,
}

impl StorageCache {
    /// A cache that keeps responses and redirects in these storages, and no body over the inline limit.
    pub fn new(responses: impl Storage, redirects: impl Storage) -> Self {
        Self { responses: Arc::new(responses), redirects: Arc::new(redirects), bodies: None }
    }

    /// Keeps the parts of large bodies in `bodies`.
    #[must_use]
    pub fn with_bodies(mut self, bodies: impl Storage) -> Self {
        self.bodies = Some(Arc::new(bodies));
        self
    }
}

impl Cache for StorageCache {
    fn responses(&self) -> &dyn Storage {
        &*self.responses
    }

    fn redirects(&self) -> &dyn Storage {
        &*self.redirects
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        self.bodies.as_deref()
    }
}
