//! Heads that were decoded lately, for caches whose store gives bytes each time.
//!
//! To decode a head costs as much as half a look-up on a server nearby. What a server is asked for again and again is the
//! same again and again, to the last byte; so its record is kept here, and found by the bytes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use twox_hash::XxHash3_64;

use super::codec::decode_head;
use super::record::Record;
use super::{Stored, codec};
use crate::storage::Entry;

/// How much memory the records take together, about (2 MiB).
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// How many of the usual kind that is.
const USUAL: usize = 1024;

/// Longer heads are decoded each time.
const MAX_HEAD_LEN: usize = 8 * 1024;

/// The records of the heads that were decoded last, in at most 2 MiB: a help for a [`Cache`](super::Cache) that reads the
/// same entries again and again from a store outside of this process.
///
/// [`decode`](Self::decode) gives what [`codec::decode`] gives. A record is used only for a head that is the same to the
/// last byte, so nothing here can be outdated. Any number of threads may use it at once.
///
/// ```
/// use hyper_client_cache_core::cache::Heads;
/// use hyper_client_cache_core::storage::Entry;
///
/// let heads = Heads::default();
/// assert!(heads.decode(Entry::new("not ours", "")).is_none(), "what cannot be decoded is a miss");
/// ```
pub struct Heads(Cache<u64, Known, ByMemory>);

#[derive(Clone)]
struct Known {
    head: Bytes,
    record: Arc<Record>,
}

impl Heads {
    /// The record of an entry, as [`codec::decode`] has it; decoded only where it is not among the last ones.
    #[must_use]
    pub fn decode(&self, entry: Entry) -> Option<Stored> {
        if entry.head.len() > MAX_HEAD_LEN {
            return codec::decode(entry);
        }
        let sum = XxHash3_64::oneshot(&entry.head);
        let known = self.0.get(&sum).filter(|known| known.head == entry.head);
        let record = match known {
            Some(known) => known.record,
            None => {
                // Its header values are slices of what it was decoded from, which must not be a network buffer here.
                let head = Bytes::copy_from_slice(&entry.head);
                let record = Arc::new(decode_head(&head)?);
                self.0.insert(sum, Known { head, record: record.clone() });
                record
            }
        };
        Some(Stored { record, body: entry.body, retain_until: entry.retain_until })
    }
}

impl Default for Heads {
    fn default() -> Self {
        Self(Cache::with_weighter(USUAL, MAX_BYTES, ByMemory))
    }
}

impl fmt::Debug for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heads").field("records", &self.0.len()).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct ByMemory;

impl Weighter<u64, Known> for ByMemory {
    /// What a head and its record take: each header line is a slice of it, of somewhat under a hundred bytes.
    fn weight(&self, _: &u64, known: &Known) -> u64 {
        (known.head.len() as u64).saturating_mul(3).saturating_add(512)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, StatusCode, header};

    use super::*;
    use crate::cache::{Freshness, LifetimeSource, ResponseRecord};
    use crate::clock::from_millis;
    use crate::storage::CacheKey;

    fn entry(number: u64, etag: &[u8]) -> Entry {
        let key = CacheKey::new(&format!("key-{number}")).unwrap();
        let freshness = Freshness::new(from_millis(1), None, LifetimeSource::Session);
        let mut response = ResponseRecord::new(key, Method::GET, "http://host/", StatusCode::OK, freshness);
        response.headers.push((header::ETAG, HeaderValue::from_bytes(etag).unwrap()));
        codec::encode(Stored::new(Record::Response(response), Bytes::from_static(b"body"), None)).unwrap()
    }

    #[test]
    fn what_was_decoded_once_is_not_decoded_again_as_long_as_it_is_the_same() {
        let heads = Heads::default();
        let first = heads.decode(entry(1, b"a")).unwrap();
        let again = heads.decode(entry(1, b"a").retain_until(from_millis(7))).unwrap();
        assert!(Arc::ptr_eq(&first.record, &again.record));
        assert_eq!((&again.body[..], again.retain_until), (&b"body"[..], Some(from_millis(7))), "its own");
        let other = heads.decode(entry(1, b"b")).unwrap();
        assert_ne!(first.record, other.record);
        assert_eq!(other.record, codec::decode(entry(1, b"b")).unwrap().record);
        assert_eq!(heads.0.len(), 2);
    }

    #[test]
    fn what_cannot_be_decoded_is_a_miss_each_time() {
        let (heads, good) = (Heads::default(), entry(1, b"a").head);
        for _ in 0..2 {
            assert!(heads.decode(Entry::new(good.slice(1..), "")).is_none());
            assert!(heads.decode(Entry::new(vec![0x93; 100_000], "")).is_none());
        }
        assert_eq!(heads.0.len(), 0);
    }

    #[test]
    fn memory_is_bounded_and_no_buffer_is_kept() {
        let heads = Heads::default();
        for number in 0..3000 {
            assert!(heads.decode(entry(number, &[b'x'; 2000])).is_some());
        }
        assert!(heads.0.weight() <= MAX_BYTES);
        let long = entry(1, &[b'x'; 2 * MAX_HEAD_LEN]);
        assert!(!Arc::ptr_eq(&heads.decode(long.clone()).unwrap().record, &heads.decode(long).unwrap().record));

        let buffer = Bytes::from([entry(1, b"a").head.to_vec(), vec![0; 1000]].concat());
        let stored = heads.decode(Entry::new(buffer.slice(..buffer.len() - 1000), "")).unwrap();
        assert!(buffer.is_unique(), "{:?}", stored.record);
    }
}
