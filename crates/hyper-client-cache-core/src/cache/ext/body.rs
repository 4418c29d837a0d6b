//! The body of a stored response.

use std::hash::Hasher;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use twox_hash::XxHash3_64;

use super::CachedResponse;
use super::contents::Contents;
use crate::cache::{BodyPlace, Cache, parts};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::CacheKey;

/// The body of `response`, a part at a time: it ends in an error where it is not whole, and where another response has
/// taken its place meanwhile.
pub(super) fn read<'a>(contents: Contents<'a>, response: &CachedResponse) -> BoxStream<'a, Result<Bytes>> {
    if let BodyPlace::Parts { id, count, len, checksum, .. } = &response.record().body {
        let expected = Expected { len: *len, checksum: *checksum };
        return in_parts(contents.cache(), *response.key(), id.clone(), *count, expected);
    }
    if let Some(inline) = &response.inline {
        return stream::iter([Ok(inline.clone())]).boxed();
    }
    let (key, record) = (*response.key(), response.record().clone());
    stream::once(async move {
        match contents.get(&key).await? {
            Some(stored) if stored.record.as_response() == Some(&record) => Ok(stored.body),
            _ => Err(Error::new(ErrorKind::Body, "the stored response has gone, or was replaced")),
        }
    })
    .boxed()
}

struct Expected {
    len: u64,
    checksum: u64,
}

fn in_parts<'a>(
    cache: &'a dyn Cache,
    owner: CacheKey,
    id: String,
    count: u32,
    expected: Expected,
) -> BoxStream<'a, Result<Bytes>> {
    let lost = || Error::new(ErrorKind::Body, "a part of the stored body is gone or damaged");
    let begin = (0_u32, 0_u64, XxHash3_64::new(), id, expected);
    stream::try_unfold(begin, move |(number, len, mut hash, id, expected)| async move {
        if number >= count {
            return Ok(None);
        }
        let key = parts::key(&owner, &id, number).ok_or_else(lost)?;
        let bodies = cache.bodies().ok_or_else(lost)?;
        let bytes = bodies.read(&key).await?.and_then(|entry| parts::bytes_of(&key, entry)).ok_or_else(lost)?;
        hash.write(&bytes);
        let (number, len) = (number.saturating_add(1), len.saturating_add(bytes.len() as u64));
        // The last part is held back where the whole is not what was stored: never a clean end of a wrong body.
        if number == count && (len != expected.len || hash.finish() != expected.checksum) {
            return Err(lost());
        }
        Ok(Some((bytes, (number, len, hash, id, expected))))
    })
    .boxed()
}
