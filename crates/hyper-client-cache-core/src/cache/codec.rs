//! Heads in MessagePack with named fields, and back.
//!
//! Unknown fields are ignored and missing ones have defaults, so that a later version may add some; what does not
//! decode is a miss. Nothing that is stored names a type or is run (case 124). Header values come out as slices of the head: nothing is copied.

mod wire;

use bytes::Bytes;
use rmp_serde::Serializer;
use serde::Serialize;

use self::wire::WireRecord;
use super::Stored;
use super::record::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Entry;

/// The longest head that is written or read, in bytes (256 KiB): a response with more metadata is not stored.
pub const MAX_HEAD_LEN: usize = 256 * 1024;

/// The most header lines of a response that are written or read: one with more is not stored, and a head with more is
/// a miss. A map of header fields has room for a few ten thousand, and panics where it is given more.
pub const MAX_HEADER_LINES: usize = 1000;

/// What most heads are shorter than, in bytes.
const USUAL_HEAD_LEN: usize = 1024;

/// The entry of a record.
///
/// The record itself does not stay with the entry: its header values may be slices of a network buffer, which a storage
/// in memory would then keep whole.
///
/// # Errors
/// [`ErrorKind::TooLarge`] where the head would be over [`MAX_HEAD_LEN`], or have more than [`MAX_HEADER_LINES`].
pub fn encode(stored: Stored) -> Result<Entry> {
    if stored.record.as_response().is_some_and(|response| response.headers.len() > MAX_HEADER_LINES) {
        return Err(Error::new(ErrorKind::TooLarge, "the response's header lines"));
    }
    // Most heads fit, so that nothing is moved while one is written; what is kept is only as long as it is.
    let mut head = Vec::with_capacity(USUAL_HEAD_LEN);
    WireRecord::from(&*stored.record)
        .serialize(&mut Serializer::new(&mut head).with_struct_map())
        .map_err(|error| Error::new(ErrorKind::Storage, "a record cannot be encoded").with_source(error))?;
    if head.len() > MAX_HEAD_LEN {
        return Err(Error::new(ErrorKind::TooLarge, "the response's metadata"));
    }
    Ok(Entry::new(Bytes::copy_from_slice(&head), stored.body).retain_until(stored.retain_until))
}

/// The record of an entry; `None` where the head is not ours. Whether the body is as long as the head says is for who reads
/// it: entries of a listing have none.
///
/// Decodes only where no earlier reader of the same value in memory has.
#[must_use]
pub fn decode(entry: Entry) -> Option<Stored> {
    let record = entry.memo.get_or_decode(|| decode_head(&entry.head))?;
    Some(Stored { record, body: entry.body, retain_until: entry.retain_until })
}

pub(super) fn decode_head(head: &Bytes) -> Option<Record> {
    if head.len() > MAX_HEAD_LEN {
        return None;
    }
    rmp_serde::from_slice::<WireRecord<'_>>(head).ok()?.into_record(head)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::{HeaderName, HeaderValue, Method, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::cache::{
        BodyPlace, Freshness, Group, LifetimeSource, ResponseRecord, SearchRule, SearchVariance, Selecting, Variant,
        Variants, parts,
    };
    use crate::clock::from_millis;
    use crate::storage::{CacheKey, Memo};

    fn sample() -> Record {
        let received = from_millis(1_700_000_000_123);
        let freshness = Freshness {
            initial_age: Duration::from_secs(3),
            no_cache: true,
            immutable: true,
            stale_if_error: Some(Duration::from_secs(9)),
            ..Freshness::new(received, Some(Duration::from_secs(60)), LifetimeSource::Forced)
        };
        let key = CacheKey::from_digest([7; 32]);
        let mut response = ResponseRecord::new(key, Method::GET, "https://host/a?b", StatusCode::OK, freshness);
        response.selecting.push(Selecting::new("accept", vec![b"a".to_vec(), vec![0xE9]]));
        response.headers.push((http::header::ETAG, HeaderValue::from_static("\"1\"")));
        response.headers.push((http::header::SERVER, HeaderValue::from_bytes(&[0xE9]).unwrap()));
        response.body = BodyPlace::Parts {
            id: "abc".into(),
            count: 3,
            part_len: 10,
            len: 25,
            checksum: 42,
            retain_until: Some(from_millis(5)),
        };
        Record::Response(response)
    }

    fn through_bytes(record: Record) -> Option<Stored> {
        decode(encode(Stored::new(record, Bytes::from_static(b"body"), None)).unwrap())
    }

    #[test]
    fn every_kind_of_record_survives() {
        let key = CacheKey::from_digest([1; 32]);
        let mut variants = Variants::new(key, "http://host/");
        variants.variants.push(Variant::new(key, vec![Selecting::new("accept", vec![])]));
        let mut group = Group::new(key);
        group.members.push(key);
        let rule = SearchRule::new(key, "7", SearchVariance::new(true, false, ["b", "a"]));
        for record in [sample(), Record::Variants(variants), Record::Group(group), Record::Search(rule)] {
            assert_eq!(*through_bytes(record.clone()).unwrap().record, record);
        }
    }

    #[test]
    fn a_value_in_memory_is_not_decoded_again() {
        let entry = encode(Stored::new(sample(), Bytes::new(), None)).unwrap().with_memo(Memo::shared());
        let first = decode(entry.clone()).unwrap();
        let second = decode(entry).unwrap();
        assert!(Arc::ptr_eq(&first.record, &second.record));
    }

    #[test]
    fn garbage_is_a_miss() {
        let good = encode(Stored::new(sample(), Bytes::new(), None)).unwrap().head;
        for len in 0..good.len() {
            let _ = decode(Entry::new(good.slice(..len), Bytes::new()));
        }
        assert!(decode(Entry::new("not ours", "")).is_none());
        assert!(decode(Entry::new(vec![0x93; 100_000], "")).is_none(), "deep nesting (case 101)");
    }

    proptest! {
        /// Case 99: whatever is done to a head, it is a record or a miss, and what it takes is of its own length.
        #[test]
        fn any_head_is_a_record_or_a_miss(
            random in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let good = encode(Stored::new(sample(), Bytes::new(), None)).unwrap().head;
            let (at, cut) = (at.index(good.len()), cut.index(good.len()));
            let replaced = [&good[..at], &random[..], good.get(at + random.len()..).unwrap_or_default()].concat();
            let moved = [&good[..at], &random[..], &good[cut..]].concat();
            for head in [random, replaced, moved] {
                let _ = decode(Entry::new(head, Bytes::new()));
            }
        }
    }

    /// Case 65: a stored line break does not become a header.
    #[test]
    fn a_header_with_a_line_break_is_a_miss() {
        let good = encode(Stored::new(sample(), Bytes::new(), None)).unwrap().head;
        let mut bad = good.to_vec();
        let at = bad.windows(3).position(|window| window == b"\"1\"").unwrap();
        bad[at + 1] = b'\n';
        assert!(decode(Entry::new(bad, "")).is_none());
    }

    /// Case 102.
    #[test]
    fn metadata_over_the_limit_is_refused() {
        let Record::Response(mut response) = sample() else { unreachable!() };
        response.url = "x".repeat(MAX_HEAD_LEN);
        let error = encode(Stored::new(Record::Response(response), Bytes::new(), None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    /// Cases 102 and 111: a head of tiny lines, which may hold more of them than a map of header fields.
    #[test]
    fn header_lines_over_the_limit_are_refused_and_a_miss() {
        let Record::Response(mut response) = sample() else { unreachable!() };
        for (lines, fits) in [(MAX_HEADER_LINES, true), (MAX_HEADER_LINES + 1, false), (25_000, false)] {
            response.headers = (0..lines)
                .map(|line| (HeaderName::try_from(format!("{line:x}")).unwrap(), HeaderValue::from_static("")))
                .collect();
            let mut head = Vec::new();
            WireRecord::from(&Record::Response(response.clone()))
                .serialize(&mut Serializer::new(&mut head).with_struct_map())
                .unwrap();
            assert!(head.len() < MAX_HEAD_LEN, "what follows is about the lines");
            assert_eq!(decode(Entry::new(head, "")).is_some(), fits, "{lines}");
            let encoded = encode(Stored::new(Record::Response(response.clone()), Bytes::new(), None));
            assert_eq!(encoded.is_ok(), fits, "{lines}");
            assert_eq!(response.header_map().len(), lines.min(MAX_HEADER_LINES));
        }
    }

    /// Cases 99 and 102: a number of parts that is not that of the body is no number to allocate or to loop by.
    #[test]
    fn parts_that_do_not_fit_the_body_are_a_miss() {
        let Record::Response(mut response) = sample() else { unreachable!() };
        for (count, part_len, len, fits) in [
            (3, 10, 25, true),
            (3, 10, 30, true),
            (1, u32::MAX, 1, true),
            (0, 10, 0, true),
            (parts::MAX_PARTS, 1, u64::from(parts::MAX_PARTS), true),
            (4, 10, 30, false),
            (2, 10, 25, false),
            (0, 10, 1, false),
            (1, 0, 0, false),
            (0, 0, 0, false),
            (u32::MAX, 10, 25, false),
            (u32::MAX, 1, u64::from(u32::MAX), false),
            (u32::MAX, u32::MAX, u64::MAX, false),
            (1, 1, u64::MAX, false),
        ] {
            response.body =
                BodyPlace::Parts { id: "abc".into(), count, part_len, len, checksum: 0, retain_until: None };
            let decoded = through_bytes(Record::Response(response.clone()));
            assert_eq!(decoded.is_some(), fits, "{count} parts of {part_len} bytes, {len} in all");
        }
    }
}
