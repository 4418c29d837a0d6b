//! Looking up: what waits for the store comes before what is in it.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use super::action::{Action, united};
use super::{INVALIDATION_PATIENCE, Ledger};
use crate::cache::Stored;
use crate::cache::record::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::CacheKey;

/// How long a look-up waits for such a store before it is a miss. Generous: it is for stores that hang.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);

impl Ledger {
    /// What is stored under `key`, or is about to be.
    ///
    /// # Errors
    /// The storage's own.
    pub async fn lookup(&self, key: &CacheKey) -> Result<Option<Stored>> {
        if self.waiting.load(Ordering::Acquire) != 0 {
            let waiting = self.lock().actions.get(key).map(|waiting| waiting.action.clone());
            match waiting {
                Some(Action::Put { stored, alone: true, .. }) => return Ok(Some(stored)),
                Some(Action::Put { stored, .. } | Action::Refresh { stored, .. }) => {
                    return Ok(Some(self.with_older_names(key, stored).await));
                }
                Some(Action::Delete) => return Ok(None),
                None => {}
            }
        }
        self.get(key).await
    }

    /// Asks the cache, and waits for it no longer than it is worth.
    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        let mut get = self.cache.get(key);
        if self.deadline.is_some() {
            return get.await;
        }
        // What answers at once needs no timer, nor a runtime to have one from.
        if let Poll::Ready(found) = poll_fn(|cx| Poll::Ready(get.as_mut().poll(cx))).await {
            return found;
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return get.await;
        }
        match tokio::time::timeout(LOOKUP_PATIENCE, get).await {
            Ok(found) => found,
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the store did not answer in time").transient()),
        }
    }

    /// How long who invalidates waits for the store.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline.unwrap_or(INVALIDATION_PATIENCE)
    }

    /// An index or group that waits for the store names only what is new: what the store names besides is to be found,
    /// and invalidated, too.
    async fn with_older_names(&self, key: &CacheKey, stored: Stored) -> Stored {
        if matches!(*stored.record, Record::Response(_) | Record::Search(_)) {
            return stored;
        }
        let Ok(Some(older)) = self.get(key).await else { return stored };
        match united(&stored.record, &older.record) {
            Some(both) => Stored::new(both, stored.body, stored.retain_until),
            None => stored,
        }
    }
}
