//! What the rules' tests have in common.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use hyper_client_cache_core::Result;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};

use super::outcome::Violation;
use super::{Harness, Opened};
use crate::ManualClock;

/// The key with this text.
pub(super) fn key(text: &str) -> Result<CacheKey, Violation> {
    CacheKey::new(text).map_err(|error| Violation::new(format!("{text:?}: {error}")))
}

/// `count` keys that begin with `prefix`.
pub(super) fn keys(prefix: &str, count: usize) -> Result<Vec<CacheKey>, Violation> {
    (0..count).map(|number| key(&format!("{prefix}-{number}"))).collect()
}

/// An entry whose head and body both name `what`.
pub(super) fn entry(what: &str) -> Entry {
    Entry::new(format!("head of {what}"), format!("body of {what}"))
}

/// The moment `seconds` ahead.
pub(super) fn in_secs(clock: &ManualClock, seconds: u64) -> SystemTime {
    clock.after(Duration::from_secs(seconds))
}

/// The keys that a storage lists, sorted, so that one listed twice shows.
pub(super) async fn listed(storage: &dyn Storage) -> Result<Vec<CacheKey>> {
    let mut keys: Vec<_> = storage.keys().try_collect().await?;
    keys.sort();
    Ok(keys)
}

/// The entries that a storage lists, sorted by key.
pub(super) async fn listed_entries(storage: &dyn Storage) -> Result<Vec<(CacheKey, Entry)>> {
    let mut entries: Vec<_> = storage.entries().try_collect().await?;
    entries.sort_by_key(|(key, _)| *key);
    Ok(entries)
}

/// The keys of the heads that a storage lists, sorted by key.
pub(super) async fn listed_heads(storage: &dyn Storage) -> Result<Vec<(CacheKey, Entry)>> {
    let mut heads: Vec<_> = storage.heads().try_collect().await?;
    heads.sort_by_key(|(key, _)| *key);
    Ok(heads)
}

/// The keys, sorted.
pub(super) fn sorted(keys: impl IntoIterator<Item = CacheKey>) -> Vec<CacheKey> {
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort();
    keys
}

/// Whether `found` is `written` with its deadline at most rounded up by less than a second (rule S1).
pub(super) fn same(found: &Entry, written: &Entry) -> bool {
    let deadline = match (found.retain_until, written.retain_until) {
        (None, None) => true,
        (Some(found), Some(written)) => found.duration_since(written).is_ok_and(|later| later < Duration::from_secs(1)),
        _ => false,
    };
    deadline && found.head == written.head && found.body == written.body
}

/// A storage that knows nothing of `before` but what lies in the store; the same one where nothing survives it.
///
/// Damage done behind a storage's back need not be noticed by one that remembers what it wrote.
pub(super) async fn reopened(harness: &dyn Harness, namespace: &str, before: Opened) -> Result<Opened> {
    if !before.info().persistent {
        return Ok(before);
    }
    before.close().await?;
    drop(before);
    Ok(harness.open(namespace).await)
}
