//! How a large body is kept: in parts of one length under a random id, which the head names.
//!
//! A part's key is `<owner>-<id>-<number>`: the key of the head it belongs to, the id, its number. So an orphan is
//! recognised by its name alone. The id begins with the second it was made in; parts younger than [`GRACE`] are
//! never taken for orphans, because their writer may be at work.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::codec;
use super::record::{BodyPlace, Record};
use crate::clock::to_millis;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{CacheKey, Entry, Storage};

/// The length of a part in bytes (256 KiB), where the storage does not limit entries to less.
pub const PART_LEN: usize = 256 * 1024;

/// How old parts without a head must be before they count as orphans.
pub const GRACE: Duration = Duration::from_secs(3600);

/// The most parts of one body: 256 GiB, where the storage does not limit entries to less than [`PART_LEN`]. A longer body
/// is not stored, and a head that names more is a miss: a number out of a damaged head costs no more than this.
pub const MAX_PARTS: u32 = 1024 * 1024;

/// What the head of a part's entry may take of the storage's limit, in bytes.
const HEAD_ROOM: usize = 1024;

/// The part length for a storage: [`PART_LEN`], or less where it limits its entries.
#[must_use]
pub fn part_len(bodies: &dyn Storage) -> usize {
    let limit = bodies.info().max_entry_len.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    limit.saturating_sub(HEAD_ROOM).clamp(1, PART_LEN)
}

/// A fresh id: 8 digits of the second, 16 of chance.
///
/// # Errors
/// [`ErrorKind::Storage`] where the operating system gives no random bytes.
pub fn new_id(now: SystemTime) -> Result<String> {
    let mut chance = [0; 8];
    getrandom::fill(&mut chance)
        .map_err(|_| Error::new(ErrorKind::Storage, "the operating system gives no random bytes"))?;
    let seconds = u32::try_from(to_millis(now) / 1000).unwrap_or(0);
    Ok(format!("{seconds:08x}{:016x}", u64::from_be_bytes(chance)))
}

/// The key of part `number`. `None` where the owner's key is too long to be part of another.
#[must_use]
pub fn key(owner: &CacheKey, id: &str, number: u32) -> Option<CacheKey> {
    CacheKey::new(&format!("{owner}-{id}-{number:x}")).ok()
}

/// The keys of all parts of a record, each made when it is asked for; `None` where its body is inline.
#[must_use]
pub fn keys_of(record: &Record) -> Option<impl Iterator<Item = CacheKey> + use<'_>> {
    let response = record.as_response()?;
    match &response.body {
        BodyPlace::Inline { .. } => None,
        BodyPlace::Parts { id, count, .. } => Some((0..*count).map_while(|number| key(&response.key, id, number))),
    }
}

/// The entry of a part. Its head repeats the key, so that a part in the wrong place is noticed.
#[must_use]
pub fn entry(key: &CacheKey, bytes: Bytes, retain_until: Option<SystemTime>) -> Entry {
    Entry::new(Bytes::copy_from_slice(key.as_bytes()), bytes).retain_until(retain_until)
}

/// The bytes of a part that was read under `key`; `None` where it is another one's.
#[must_use]
pub fn bytes_of(key: &CacheKey, entry: Entry) -> Option<Bytes> {
    (*entry.head == *key.as_bytes()).then_some(entry.body)
}

/// Removes the parts that no head in `owners` (responses and redirects) refers to, and says how many.
///
/// A head that cannot be decoded may refer to any parts of its owner, as one of a newer version does: they stay until it
/// has gone.
///
/// # Errors
/// The storages' own.
pub async fn delete_orphans(owners: [&dyn Storage; 2], bodies: &dyn Storage, now: SystemTime) -> Result<u64> {
    let mut deleted: u64 = 0;
    // Parts of one body tend to come one after the other: ask for its head once.
    let mut last: Option<(CacheKey, String, bool)> = None;
    let mut keys = bodies.keys();
    while let Some(part) = keys.try_next().await? {
        let Some((owner, id)) = owner_of(&part) else { continue };
        if !is_past_grace(id, now) {
            continue;
        }
        let wanted = match &last {
            Some((of, same, wanted)) if *of == owner && same == id => *wanted,
            _ => {
                let mut wanted = false;
                for heads in owners {
                    let head = heads.read(&owner).await?.map(codec::decode);
                    wanted |= head.is_some_and(|found| found.is_none_or(|stored| stored.record.parts_id() == Some(id)));
                }
                last = Some((owner, id.to_owned(), wanted));
                wanted
            }
        };
        if !wanted {
            deleted = deleted.saturating_add(u64::from(bodies.delete(&part).await?));
        }
    }
    Ok(deleted)
}

/// The key of the head that a part belongs to, and the id of its body; `None` where the key is not that of a part.
#[must_use]
pub fn owner_of(part: &CacheKey) -> Option<(CacheKey, &str)> {
    let (rest, _) = part.as_str().rsplit_once('-')?;
    let (owner, id) = rest.rsplit_once('-')?;
    Some((CacheKey::new(owner).ok()?, id))
}

/// Whether a body with this id was begun longer than [`GRACE`] ago, so that its parts are orphans where no head names
/// them. An id that is none of ours is as old as can be.
#[must_use]
pub fn is_past_grace(id: &str, now: SystemTime) -> bool {
    let Some(Ok(seconds)) = id.get(..8).map(|digits| i64::from_str_radix(digits, 16)) else { return true };
    let age = (to_millis(now) / 1000).saturating_sub(seconds);
    // A part from the future was made before the clock was set back: it cannot be told from a new one.
    u64::try_from(age).is_ok_and(|age| age > GRACE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Cache, MemoryCache};
    use crate::clock::from_millis;

    #[test]
    fn a_part_key_names_owner_and_id() {
        let owner = CacheKey::from_digest([9; 32]);
        let id = new_id(from_millis(1_700_000_000_000)).unwrap();
        let part = key(&owner, &id, 4095).unwrap();
        assert_eq!(owner_of(&part), Some((owner, id.as_str())));
        assert!(!is_past_grace(&id, from_millis(1_700_000_000_000 + 3_600_000)));
        assert!(is_past_grace(&id, from_millis(1_700_000_000_000 + 3_602_000)));
        assert!(!is_past_grace(&id, from_millis(0)));
    }

    /// The head is of a newer version, or sealed by a cache around this one.
    #[tokio::test]
    async fn the_parts_of_a_head_that_cannot_be_decoded_are_no_orphans() {
        let cache = MemoryCache::default();
        let bodies = cache.bodies().unwrap();
        let owner = CacheKey::from_digest([9; 32]);
        let part = key(&owner, "00000000aaaaaaaaaaaaaaaa", 0).unwrap();
        let now = from_millis(1_700_000_000_000);
        for heads in [cache.responses(), cache.redirects()] {
            bodies.write(&part, entry(&part, Bytes::from_static(b"part"), None)).await.unwrap();
            heads.write(&owner, Entry::new("of a version to come", "")).await.unwrap();
            let owners = || [cache.responses(), cache.redirects()];
            assert_eq!(delete_orphans(owners(), bodies, now).await.unwrap(), 0);
            heads.delete(&owner).await.unwrap();
            assert_eq!(delete_orphans(owners(), bodies, now).await.unwrap(), 1);
        }
    }

    #[test]
    fn an_owner_with_the_longest_key_has_no_parts() {
        let owner = CacheKey::new(&"a".repeat(128)).unwrap();
        assert_eq!(key(&owner, "id", 0), None);
    }
}
