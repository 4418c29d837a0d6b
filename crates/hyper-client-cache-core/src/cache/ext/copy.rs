//! From one cache to another, of whatever kind.

use futures_util::TryStreamExt;

use super::contents::Contents;
use crate::cache::{BodyPlace, Cache, Record, Stored, parts};
use crate::error::{ErrorKind, Result};

/// What was copied from one cache to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Responses that the other cache has now.
    pub responses: u64,
    /// Responses that it could not take: too large for it, or damaged or gone here.
    pub skipped: u64,
}

/// Copies every live record with its body and its deadline. What the other cache has under the same key is replaced.
pub(super) async fn copy(from: Contents<'_>, to: &dyn Cache) -> Result<Copied> {
    let mut copied = Copied::default();
    let mut keys = from.keys();
    while let Some(key) = keys.try_next().await? {
        // Gone meanwhile: nothing to copy.
        let Some(stored) = from.get(&key).await? else { continue };
        let is_response = stored.record.as_response().is_some();
        let done = copy_one(from.cache(), to, stored).await?;
        match (is_response, done) {
            (true, true) => copied.responses = copied.responses.saturating_add(1),
            (true, false) => copied.skipped = copied.skipped.saturating_add(1),
            (false, _) => {}
        }
    }
    Ok(copied)
}

/// Whether the record could be copied. What was copied of a body that could not be is removed again.
async fn copy_one(from: &dyn Cache, to: &dyn Cache, stored: Stored) -> Result<bool> {
    let key = *stored.record.key();
    let replaced = to.get(&key).await?;
    let whole = match &*stored.record {
        Record::Response(response) if matches!(response.body, BodyPlace::Parts { .. }) => {
            copy_parts(from, to, &stored.record).await
        }
        _ => Ok(true),
    };
    let put = match whole {
        Ok(true) => to.put(&key, stored.clone(), replaced.as_ref()).await.map(|()| true),
        other => other,
    };
    // Those of an earlier copy belong to what is there.
    let is_there = replaced.is_some_and(|old| old.record.parts_id() == stored.record.parts_id());
    if !matches!(put, Ok(true)) && !is_there {
        to.delete_parts(&stored.record).await?;
    }
    match put {
        Err(error) if error.kind() == ErrorKind::TooLarge => Ok(false),
        other => other,
    }
}

async fn copy_parts(from: &dyn Cache, to: &dyn Cache, record: &Record) -> Result<bool> {
    let (Some(source), Some(target), Some(keys)) = (from.bodies(), to.bodies(), parts::keys_of(record)) else {
        return Ok(false);
    };
    for key in keys {
        let Some(part) = source.read(&key).await? else { return Ok(false) };
        target.write(&key, part).await?;
    }
    Ok(true)
}
