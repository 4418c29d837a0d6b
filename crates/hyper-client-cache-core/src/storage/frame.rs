//! How an entry is laid out in bytes: magic, version, lengths and checksums, then head, then body.
//!
//! ```text
//! offset  bytes  what
//!      0      4  magic "hcc\x01": the last byte is the format version
//!      4      4  length of the head, big endian
//!      8      8  length of the body, big endian
//!     16      8  deadline: milliseconds since 1970, big endian, two's complement; i64::MAX for none
//!     24      8  xxh3-64 of bytes 0 to 24 and the head
//!     32      8  xxh3-64 of the body
//!     40      -  head, then body
//! ```
//!
//! A store with one value per entry keeps the [whole](join); one with columns keeps the [`block`] of fixed part
//! and head apart from the body, so that the head can be read, listed and replaced without the body.
//! The checksums detect accidents, not forgery (case 98).
//! An older version is read or missed, a newer one is missed and left alone (`docs/stored-format.md`).

use bytes::{BufMut, Bytes, BytesMut};
use twox_hash::XxHash3_64;

use super::Entry;
use crate::clock::{from_millis, to_millis};

/// The version that this code writes.
pub const VERSION: u8 = 1;

/// The bytes before the head.
pub const PREFIX_LEN: usize = 40;

const MAGIC: [u8; 3] = *b"hcc";
const NO_DEADLINE: i64 = i64::MAX;

/// Why stored bytes are no entry. Each of them is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// They do not begin as ours do: count, and remove where the place is ours.
    Foreign,
    /// They were written by a newer version of this software: leave them alone.
    Newer,
    /// A length or checksum does not fit: count and remove.
    Damaged,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Foreign => "the bytes are not an entry of this cache",
            Self::Newer => "the entry was written by a newer version",
            Self::Damaged => "a length or checksum does not fit",
        })
    }
}

impl std::error::Error for FrameError {}

/// What the fixed part of an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// The length of the head in bytes.
    pub head_len: u64,
    /// The length of the body in bytes.
    pub body_len: u64,
    /// The deadline; `None`: none.
    pub retain_until: Option<std::time::SystemTime>,
}

/// What the first [`PREFIX_LEN`] bytes of an entry say, unchecked, for the checksum is that of the whole head: for a
/// store that can read the beginning of a value, to list, count and expire entries.
///
/// # Errors
/// [`FrameError`] where they do not begin as an entry of this version does.
pub fn layout(prefix: &[u8]) -> Result<Layout, FrameError> {
    let prefix = Prefix::read(prefix)?;
    Ok(Layout { head_len: prefix.head_len.into(), body_len: prefix.body_len, retain_until: prefix.deadline() })
}

/// Fixed part and head, for a store that keeps the body apart.
#[must_use]
pub fn block(entry: &Entry) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_LEN.saturating_add(entry.head.len()));
    put_block(entry, &mut out);
    out.freeze()
}

/// The whole entry in one piece. Copies head and body once.
#[must_use]
pub fn join(entry: &Entry) -> Bytes {
    let len = PREFIX_LEN.saturating_add(entry.head.len()).saturating_add(entry.body.len());
    let mut out = BytesMut::with_capacity(len);
    put_block(entry, &mut out);
    out.put_slice(&entry.body);
    out.freeze()
}

/// The entry of a [`block`] and its body, each a slice of what was given: nothing is copied.
///
/// # Errors
/// [`FrameError`] where anything does not fit to the last bit.
pub fn unblock(block: &Bytes, body: Bytes) -> Result<Entry, FrameError> {
    let entry = unblock_head(block)?;
    let prefix = Prefix::read(block)?;
    if prefix.body_len != body.len() as u64 || prefix.body_sum != XxHash3_64::oneshot(&body) {
        return Err(FrameError::Damaged);
    }
    Ok(Entry { body, ..entry })
}

/// The entry of a [`block`] alone, its body empty and unchecked: what listings read.
///
/// # Errors
/// [`FrameError`] where fixed part and head do not fit.
pub fn unblock_head(block: &Bytes) -> Result<Entry, FrameError> {
    let prefix = Prefix::read(block)?;
    let head = block.slice(PREFIX_LEN.min(block.len())..);
    if prefix.head_len as usize != head.len() || prefix.head_sum != head_sum(block, &head) {
        return Err(FrameError::Damaged);
    }
    Ok(Entry::new(head, Bytes::new()).retain_until(prefix.deadline()))
}

/// The entry of a [`join`]ed value, as slices of it.
///
/// # Errors
/// [`FrameError`] where anything does not fit to the last bit.
pub fn split(value: &Bytes) -> Result<Entry, FrameError> {
    let prefix = Prefix::read(value)?;
    let body_at = PREFIX_LEN.checked_add(prefix.head_len as usize).ok_or(FrameError::Damaged)?;
    if body_at > value.len() {
        return Err(FrameError::Damaged);
    }
    unblock(&value.slice(..body_at), value.slice(body_at..))
}

struct Prefix {
    head_len: u32,
    body_len: u64,
    deadline: i64,
    head_sum: u64,
    body_sum: u64,
}

impl Prefix {
    fn read(bytes: &[u8]) -> Result<Self, FrameError> {
        let (magic, rest) = bytes.split_first_chunk::<3>().ok_or(FrameError::Foreign)?;
        let (version, rest) = rest.split_first().ok_or(FrameError::Foreign)?;
        if *magic != MAGIC || *version == 0 {
            return Err(FrameError::Foreign);
        }
        if *version > VERSION {
            return Err(FrameError::Newer);
        }
        let (head_len, rest) = rest.split_first_chunk().ok_or(FrameError::Damaged)?;
        let (body_len, rest) = rest.split_first_chunk().ok_or(FrameError::Damaged)?;
        let (deadline, rest) = rest.split_first_chunk().ok_or(FrameError::Damaged)?;
        let (head_sum, rest) = rest.split_first_chunk().ok_or(FrameError::Damaged)?;
        let (body_sum, _) = rest.split_first_chunk().ok_or(FrameError::Damaged)?;
        Ok(Self {
            head_len: u32::from_be_bytes(*head_len),
            body_len: u64::from_be_bytes(*body_len),
            deadline: i64::from_be_bytes(*deadline),
            head_sum: u64::from_be_bytes(*head_sum),
            body_sum: u64::from_be_bytes(*body_sum),
        })
    }

    fn deadline(&self) -> Option<std::time::SystemTime> {
        (self.deadline != NO_DEADLINE).then(|| from_millis(self.deadline))
    }
}

fn put_block(entry: &Entry, out: &mut BytesMut) {
    out.put_slice(&MAGIC);
    out.put_u8(VERSION);
    // A head is bounded far below 4 GiB where it is made (`max_meta`); a longer one would not verify on read.
    out.put_u32(u32::try_from(entry.head.len()).unwrap_or(u32::MAX));
    out.put_u64(entry.body.len() as u64);
    out.put_i64(entry.retain_until.map_or(NO_DEADLINE, round_up_to_millis));
    let sum = head_sum(out, &entry.head);
    out.put_u64(sum);
    out.put_u64(XxHash3_64::oneshot(&entry.body));
    out.put_slice(&entry.head);
}

/// Of the first 24 bytes and the head; the bytes must be there.
fn head_sum(prefix: &[u8], head: &[u8]) -> u64 {
    let seed = XxHash3_64::oneshot(prefix.get(..24).unwrap_or_default());
    XxHash3_64::oneshot_with_seed(seed, head)
}

fn round_up_to_millis(deadline: std::time::SystemTime) -> i64 {
    let millis = to_millis(deadline);
    if from_millis(millis) < deadline { millis.saturating_add(1) } else { millis }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn sample() -> Entry {
        Entry::new("head", "the body").retain_until(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))
    }

    #[test]
    fn an_entry_survives_both_layouts() {
        for entry in [sample(), Entry::new("", ""), Entry::new("\0", vec![0; 5000])] {
            assert_eq!(split(&join(&entry)), Ok(entry.clone()));
            assert_eq!(unblock(&block(&entry), entry.body.clone()), Ok(entry.clone()));
            assert_eq!(unblock_head(&block(&entry)), Ok(entry.without_body()));
        }
    }

    #[test]
    fn the_fixed_part_alone_says_lengths_and_deadline() {
        let value = join(&sample());
        let layout = layout(&value[..PREFIX_LEN]).unwrap();
        assert_eq!((layout.head_len, layout.body_len), (4, 8));
        assert_eq!(layout.retain_until, sample().retain_until);
        assert_eq!(super::layout(&value[..PREFIX_LEN - 1]), Err(FrameError::Damaged));
        assert_eq!(super::layout(b""), Err(FrameError::Foreign));
    }

    #[test]
    fn a_deadline_between_milliseconds_is_rounded_up() {
        let entry = Entry::new("", "").retain_until(UNIX_EPOCH + Duration::from_nanos(1_000_001));
        let read = split(&join(&entry)).unwrap();
        assert_eq!(read.retain_until, Some(UNIX_EPOCH + Duration::from_millis(2)));
    }

    /// Case 85: one flipped bit anywhere is noticed.
    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = join(&sample());
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.to_vec();
                bad[at] ^= 1 << bit;
                assert!(split(&bad.into()).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn every_truncation_and_extension_is_noticed() {
        let good = join(&sample());
        for len in 0..good.len() {
            assert!(split(&good.slice(..len)).is_err(), "cut to {len}");
        }
        let mut longer = good.to_vec();
        longer.push(0);
        assert_eq!(split(&longer.into()), Err(FrameError::Damaged));
    }

    /// Case 97: whatever stands in the place of the version, nothing else is tried.
    #[test]
    fn a_newer_version_is_told_from_damage() {
        for version in (0..=u8::MAX).filter(|version| *version != VERSION) {
            let mut other = join(&sample()).to_vec();
            other[3] = version;
            let expected = if version > VERSION { FrameError::Newer } else { FrameError::Foreign };
            assert_eq!(split(&other.into()), Err(expected), "{version}");
        }
        assert_eq!(split(&Bytes::from_static(b"GIF89a")), Err(FrameError::Foreign));
    }

    /// Case 100: a declared length never leads to an allocation.
    #[test]
    fn absurd_lengths_are_rejected() {
        let mut bad = join(&sample()).to_vec();
        bad[4..16].fill(0xFF);
        assert_eq!(split(&bad.into()), Err(FrameError::Damaged));
    }
}
