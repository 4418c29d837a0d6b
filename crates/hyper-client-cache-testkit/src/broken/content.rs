//! Storages that change what they are given: S1, S2, S9, S10.

use async_trait::async_trait;
use hyper_client_cache_core::clock::{from_millis, to_millis};
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_core::{ErrorKind, Result};

use super::Twist;
use crate::reference::ReferenceStorage;

/// Keeps deadlines in whole seconds and cuts off the rest, so that entries die early.
#[derive(Debug, Default)]
pub(super) struct RoundsDeadlinesDown;

#[async_trait]
impl Twist for RoundsDeadlinesDown {
    const NAME: &'static str = "rounds deadlines down to the second";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, entry: Entry) -> Result<()> {
        let seconds = entry.retain_until.map(|deadline| to_millis(deadline).div_euclid(1000));
        let rounded = seconds.map(|seconds| from_millis(seconds.saturating_mul(1000)));
        good.write(key, entry.retain_until(rounded)).await
    }
}

/// Stores a body without its last byte.
#[derive(Debug, Default)]
pub(super) struct LosesTheLastByte;

#[async_trait]
impl Twist for LosesTheLastByte {
    const NAME: &'static str = "loses the last byte of a body";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, mut entry: Entry) -> Result<()> {
        entry.body.truncate(entry.body.len().saturating_sub(1));
        good.write(key, entry).await
    }
}

/// Answers `read_many` in the order of its own keys, as `SELECT .. WHERE key IN (..)` does.
#[derive(Debug, Default)]
pub(super) struct AnswersInItsOwnOrder;

#[async_trait]
impl Twist for AnswersInItsOwnOrder {
    const NAME: &'static str = "answers read_many in its own order";

    async fn read_many(&self, good: &ReferenceStorage, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let mut keys = keys.to_vec();
        keys.sort();
        good.read_many(&keys).await
    }
}

/// Leaves the old deadline in force where the new entry has none, as an upsert that sets only what is given.
#[derive(Debug, Default)]
pub(super) struct KeepsTheOldDeadline;

#[async_trait]
impl Twist for KeepsTheOldDeadline {
    const NAME: &'static str = "keeps the old deadline where the new entry has none";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, entry: Entry) -> Result<()> {
        let old = good.read(key).await?.and_then(|old| old.retain_until);
        let deadline = entry.retain_until.or(old);
        good.write(key, entry.retain_until(deadline)).await
    }
}

/// Takes a body for a C string.
#[derive(Debug, Default)]
pub(super) struct CutsAtNul;

#[async_trait]
impl Twist for CutsAtNul {
    const NAME: &'static str = "cuts a body off at its first NUL";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, mut entry: Entry) -> Result<()> {
        let len = entry.body.iter().position(|byte| *byte == 0).unwrap_or(entry.body.len());
        entry.body.truncate(len);
        good.write(key, entry).await
    }
}

/// Removes what was there before it finds out that the new entry is too large.
#[derive(Debug, Default)]
pub(super) struct ForgetsBeforeItRefuses;

#[async_trait]
impl Twist for ForgetsBeforeItRefuses {
    const NAME: &'static str = "removes the old entry when it refuses the new one";

    async fn write(&self, good: &ReferenceStorage, key: &CacheKey, entry: Entry) -> Result<()> {
        let result = good.write(key, entry).await;
        if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::TooLarge) {
            good.delete(key).await?;
        }
        result
    }
}
