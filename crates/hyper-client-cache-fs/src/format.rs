//! What is in a file: the entry's key, then core's [`frame`].
//!
//! ```text
//! offset  bytes  what
//!      0      4  "hcf\x01": the last byte is the version of these few bytes
//!      4      1  length of the key
//!      5      n  the key
//!  5 + n      -  the entry, framed: magic, version, lengths, deadline, checksums, head, body
//! ```
//!
//! So each file says by itself what it is. Its name is a hash of the key, which is how the key is checked; listing and
//! counting need the first few hundred bytes of a file at most, and never a body.

use std::fs::File;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use hyper_client_cache_core::clock::{from_millis, to_millis};
use hyper_client_cache_core::storage::frame::{self, FrameError};
use hyper_client_cache_core::storage::{CacheKey, Entry};

use crate::layout::{Id, Store};
use crate::sys;

const MAGIC: [u8; 3] = *b"hcf";
const VERSION: u8 = 1;

/// The bytes before the key.
const FIXED: usize = 5;

/// The most bytes that a file has beside head and body.
pub(crate) const MAX_OVERHEAD: u64 = (FIXED + CacheKey::MAX_LEN + frame::PREFIX_LEN) as u64;

/// What is read of a file whose body is not wanted: most heads fit.
const BEGINNING: usize = 4096;

/// The bytes beside head and body of an entry with this key.
pub(crate) const fn overhead(key_len: u8) -> u64 {
    ((FIXED + frame::PREFIX_LEN) as u64).saturating_add(key_len as u64)
}

/// Everything before the body.
pub(crate) fn encode(key: &CacheKey, entry: &Entry) -> Bytes {
    let block = frame::block(entry);
    let name = key.as_bytes();
    let mut out = BytesMut::with_capacity(FIXED.saturating_add(name.len()).saturating_add(block.len()));
    out.put_slice(&MAGIC);
    out.put_u8(VERSION);
    // A key has at most 128 characters.
    out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.put_slice(name);
    out.put_slice(&block);
    out.freeze()
}

/// The entry in a file's bytes, as slices of them: nothing is copied.
pub(crate) fn decode(key: &CacheKey, bytes: &Bytes) -> Result<Entry, FrameError> {
    let (found, rest) = split_key(bytes)?;
    if found != key.as_bytes() {
        return Err(FrameError::Damaged);
    }
    frame::split(&bytes.slice_ref(rest))
}

/// What the beginning of a file says.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) key: CacheKey,
    /// Its body is empty and unchecked.
    pub(crate) entry: Entry,
}

/// Reads key and head of an open file of `len` bytes that lies under `id`. `None`: it is not an entry, and says why.
pub(crate) fn read_beginning(
    file: &mut File,
    len: u64,
    id: Id,
    store: Store,
) -> io::Result<Result<Beginning, FrameError>> {
    let mut bytes = sys::read_up_to(file, usize::try_from(len).unwrap_or(usize::MAX).min(BEGINNING))?;
    let wanted = match block_end(&bytes, len) {
        Ok(wanted) => wanted,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(missing) = wanted.checked_sub(bytes.len()).filter(|missing| *missing > 0) {
        bytes.append(&mut sys::read_up_to(file, missing)?);
    }
    bytes.truncate(wanted);
    Ok(parse_beginning(&bytes.into(), id, store))
}

/// What is needed to count an entry and to find it dead: nothing of its head is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) key_len: u8,
    /// Milliseconds since 1970; `i64::MAX`: never.
    pub(crate) deadline: i64,
}

impl Outline {
    pub(crate) fn of(key: &CacheKey, entry: &Entry) -> Self {
        Self {
            key_len: u8::try_from(key.as_bytes().len()).unwrap_or(u8::MAX),
            deadline: entry.retain_until.map_or(i64::MAX, |deadline| {
                let millis = to_millis(deadline);
                // As in the frame: rounded up.
                if from_millis(millis) < deadline { millis.saturating_add(1) } else { millis }
            }),
        }
    }

    /// Reads the least of a file that says it.
    pub(crate) fn read(file: &mut File, id: Id, store: Store) -> io::Result<Result<Self, FrameError>> {
        let bytes = sys::read_up_to(file, usize::try_from(MAX_OVERHEAD).unwrap_or(BEGINNING))?;
        Ok(Self::parse(&bytes, id, store))
    }

    fn parse(bytes: &[u8], id: Id, store: Store) -> Result<Self, FrameError> {
        let (name, rest) = split_key(bytes)?;
        let key = checked_key(name, id, store)?;
        let deadline = rest.get(16..).and_then(|rest| rest.first_chunk::<8>()).ok_or(FrameError::Damaged)?;
        match rest.first_chunk::<4>() {
            Some([b'h', b'c', b'c', frame::VERSION]) => {}
            Some([b'h', b'c', b'c', version]) if *version > frame::VERSION => return Err(FrameError::Newer),
            _ => return Err(FrameError::Foreign),
        }
        Ok(Self {
            key_len: u8::try_from(key.as_bytes().len()).unwrap_or(u8::MAX),
            deadline: i64::from_be_bytes(*deadline),
        })
    }
}

fn parse_beginning(bytes: &Bytes, id: Id, store: Store) -> Result<Beginning, FrameError> {
    let (name, rest) = split_key(bytes)?;
    let key = checked_key(name, id, store)?;
    let entry = frame::unblock_head(&bytes.slice_ref(rest))?;
    Ok(Beginning { key, entry })
}

/// Where the head ends, by what the frame says, within a file of `len` bytes.
fn block_end(bytes: &[u8], len: u64) -> Result<usize, FrameError> {
    let (name, rest) = split_key(bytes)?;
    let head_len = rest.get(4..).and_then(|rest| rest.first_chunk::<4>()).map(|len| u32::from_be_bytes(*len));
    let end = FIXED
        .saturating_add(name.len())
        .saturating_add(frame::PREFIX_LEN)
        .saturating_add(head_len.ok_or(FrameError::Damaged)? as usize);
    // What a damaged length asks for is not read (case 100).
    if end as u64 > len { Err(FrameError::Damaged) } else { Ok(end) }
}

fn split_key(bytes: &[u8]) -> Result<(&[u8], &[u8]), FrameError> {
    let (magic, rest) = bytes.split_first_chunk::<3>().ok_or(FrameError::Foreign)?;
    let (version, rest) = rest.split_first().ok_or(FrameError::Foreign)?;
    if *magic != MAGIC || *version == 0 {
        return Err(FrameError::Foreign);
    }
    if *version > VERSION {
        return Err(FrameError::Newer);
    }
    let (len, rest) = rest.split_first().ok_or(FrameError::Damaged)?;
    rest.split_at_checked(usize::from(*len)).ok_or(FrameError::Damaged)
}

/// The key in a file, which must be the one that its name was made of.
fn checked_key(name: &[u8], id: Id, store: Store) -> Result<CacheKey, FrameError> {
    let key = std::str::from_utf8(name).ok().and_then(|text| CacheKey::new(text).ok()).ok_or(FrameError::Damaged)?;
    if Id::new(store, &key) == id { Ok(key) } else { Err(FrameError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn sample() -> (CacheKey, Entry, Vec<u8>) {
        let key = CacheKey::new("some-key").unwrap();
        let entry = Entry::new("head", "the body").retain_until(UNIX_EPOCH + Duration::from_millis(1234));
        let mut bytes = encode(&key, &entry).to_vec();
        bytes.extend_from_slice(&entry.body);
        (key, entry, bytes)
    }

    #[test]
    fn an_entry_survives_and_says_what_it_is() {
        let (key, entry, bytes) = sample();
        let id = Id::new(Store::Responses, &key);
        assert_eq!(decode(&key, &bytes.clone().into()).unwrap(), entry);
        assert_eq!(bytes.len() as u64, overhead(8) + entry.len());
        let outline = Outline::parse(&bytes, id, Store::Responses).unwrap();
        assert_eq!(outline, Outline::of(&key, &entry));
        assert_eq!(outline, Outline { key_len: 8, deadline: 1234 });
    }

    /// Cases 85 and 100: no flipped bit and no cut goes unnoticed, and none leads to more than the file being read.
    #[test]
    fn no_damage_goes_unnoticed() {
        let (key, entry, bytes) = sample();
        let id = Id::new(Store::Responses, &key);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(&key, &bad.clone().into()).is_err(), "byte {at}, bit {bit}");
                let end = block_end(&bad, bad.len() as u64);
                assert!(end.is_err() || end.unwrap() <= bad.len());
                let whole = overhead(8) as usize + entry.head.len();
                // Only the body's checksum does not concern the head.
                if at < whole && !(45..53).contains(&at) {
                    assert!(parse_beginning(&bad[..whole].to_vec().into(), id, Store::Responses).is_err(), "byte {at}");
                }
            }
        }
        for len in 0..bytes.len() {
            assert!(decode(&key, &bytes[..len].to_vec().into()).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let (key, _, bytes) = sample();
        let id = Id::new(Store::Responses, &key);
        for at in [3, 5 + 8 + 3] {
            let mut newer = bytes.clone();
            newer[at] = 2;
            assert_eq!(decode(&key, &newer.clone().into()), Err(FrameError::Newer));
            assert_eq!(Outline::parse(&newer, id, Store::Responses), Err(FrameError::Newer));
        }
    }
}
