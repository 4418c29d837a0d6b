//! An entry as a document, and what finds it.
//!
//! ```text
//! _id           the key, a string
//! block         fixed part and head (core's frame), binary
//! body          the body as it came over the wire, binary
//! sum           the checksum of the body (as in the block), for a refresh to know whose head it replaces
//! len           head and body together, in bytes
//! retain_until  the deadline as a date; absent where there is none
//! ```
//!
//! Every value from outside is bound as a string or as binary: none can be read as an operator (case 120).

use std::time::SystemTime;

use bytes::Bytes;
use hyper_client_cache_core::clock::to_millis;
use hyper_client_cache_core::storage::{CacheKey, Entry, frame};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, RawBinaryRef, RawDocument, RawDocumentBuf, cstr, doc};

use crate::error::MongoError;

pub(crate) const KEY: &str = "_id";
pub(crate) const BLOCK: &str = "block";
pub(crate) const BODY: &str = "body";
pub(crate) const SUM: &str = "sum";
pub(crate) const LEN: &str = "len";
pub(crate) const RETAIN_UNTIL: &str = "retain_until";

/// Where the frame keeps the checksum of the body.
const SUM_AT: std::ops::Range<usize> = 32..40;

/// The document of an entry. Copies head and body once, into the message that is sent.
pub(crate) fn encode(key: &CacheKey, entry: &Entry) -> RawDocumentBuf {
    fn binary(bytes: &[u8]) -> RawBinaryRef<'_> {
        RawBinaryRef { subtype: BinarySubtype::Generic, bytes }
    }
    let block = frame::block(entry);
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), key.as_str());
    document.append(cstr!("sum"), binary(sum_of(&block)));
    document.append(cstr!("block"), binary(&block));
    document.append(cstr!("len"), length(entry));
    if let Some(deadline) = entry.retain_until {
        document.append(cstr!("retain_until"), date(deadline));
    }
    document.append(cstr!("body"), binary(&entry.body));
    document
}

/// What a refresh changes, and the checksum of the body that it is meant for.
pub(crate) fn refresh(entry: &Entry) -> (Document, Bson) {
    let block = frame::block(entry);
    let sum = binary(sum_of(&block));
    let mut set = doc! { BLOCK: binary(&block), LEN: length(entry) };
    let update = match entry.retain_until {
        Some(deadline) => {
            set.insert(RETAIN_UNTIL, date(deadline));
            doc! { "$set": set }
        }
        None => doc! { "$set": set, "$unset": { RETAIN_UNTIL: "" } },
    };
    (update, sum.into())
}

/// What was found, as far as it can be read.
#[derive(Debug)]
pub(crate) enum Found {
    /// A whole entry.
    Entry(Entry),
    /// Bytes that are no entry of ours; the block tells which document it was.
    Damaged { block: Option<Bytes> },
    /// Written by a newer version: left alone.
    Newer,
}

/// Reads a document; `with_body` where the body was asked for. Head and body are slices of the document: nothing is
/// copied.
pub(crate) fn decode(document: RawDocumentBuf, with_body: bool) -> Result<Found, MongoError> {
    let whole = Bytes::from(document.into_bytes());
    let raw = RawDocument::from_bytes(&whole).map_err(|_| MongoError::Malformed)?;
    let part = |name: &str| Some(whole.slice_ref(raw.get_binary(name).ok()?.bytes));
    let Some(block) = part(BLOCK) else { return Ok(Found::Damaged { block: None }) };
    let entry = if with_body {
        match part(BODY) {
            Some(body) => frame::unblock(&block, body),
            None => Err(frame::FrameError::Damaged),
        }
    } else {
        frame::unblock_head(&block)
    };
    Ok(match entry {
        Ok(entry) => Found::Entry(entry),
        Err(frame::FrameError::Newer) => Found::Newer,
        Err(_) => Found::Damaged { block: Some(block) },
    })
}

/// The key of a document; `None` where it is none of ours.
pub(crate) fn key(document: &RawDocument) -> Option<CacheKey> {
    CacheKey::new(document.get_str(KEY).ok()?).ok()
}

/// Whether a document that was read with its deadline is dead.
pub(crate) fn is_dead(document: &RawDocument, now: SystemTime) -> bool {
    document.get_datetime(RETAIN_UNTIL).is_ok_and(|deadline| deadline <= date(now))
}

/// One entry, whether alive or dead.
pub(crate) fn is_key(key: &CacheKey) -> Document {
    doc! { KEY: key.as_str() }
}

/// Any of these.
pub(crate) fn is_any_of(keys: &[CacheKey]) -> Document {
    doc! { KEY: { "$in": keys.iter().map(|key| Bson::from(key.as_str())).collect::<Vec<_>>() } }
}

/// What `filter` finds, as far as it is alive. A missing date counts as null.
pub(crate) fn alive(mut filter: Document, now: SystemTime) -> Document {
    filter.insert("$or", vec![doc! { RETAIN_UNTIL: Bson::Null }, doc! { RETAIN_UNTIL: { "$gt": date(now) } }]);
    filter
}

/// What is dead at `now`: found in the index of deadlines.
pub(crate) fn dead(now: SystemTime) -> Document {
    doc! { RETAIN_UNTIL: { "$lte": date(now) } }
}

pub(crate) fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

/// The resolution of a date, and of the frame, is a millisecond.
fn date(moment: SystemTime) -> DateTime {
    DateTime::from_millis(to_millis(moment))
}

fn sum_of(block: &[u8]) -> &[u8] {
    block.get(SUM_AT).unwrap_or_default()
}

fn length(entry: &Entry) -> i64 {
    i64::try_from(entry.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document.clone()).unwrap()
    }

    fn entry() -> Entry {
        Entry::new("head", "body").retain_until(SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123))
    }

    #[test]
    fn an_entry_survives_the_document() {
        let key = CacheKey::new("key").unwrap();
        for entry in [entry(), Entry::new("", ""), Entry::new("h", vec![0_u8; 70_000])] {
            let document = encode(&key, &entry);
            assert_eq!(super::key(&document), Some(key));
            let Found::Entry(found) = decode(document.clone(), true).unwrap() else { panic!("an entry") };
            assert_eq!(found, entry);
            let Found::Entry(found) = decode(document, false).unwrap() else { panic!("an entry") };
            assert_eq!(found, entry.without_body());
        }
    }

    #[test]
    fn a_refresh_names_the_body_it_is_for() {
        let key = CacheKey::new("key").unwrap();
        let stored = Document::try_from(encode(&key, &entry())).unwrap();
        let (update, sum) = refresh(&Entry::new("other head", "body"));
        assert_eq!(stored.get(SUM), Some(&sum));
        assert!(update.contains_key("$unset"), "the deadline goes");
        assert_ne!(refresh(&Entry::new("head", "other body")).1, sum);
    }

    /// Cases 120 and 142: whatever stands in the database is a miss.
    #[test]
    fn what_is_no_entry_is_damaged() {
        for document in [doc! {}, doc! { BLOCK: "text" }, doc! { BLOCK: { "$ne": 1 } }, doc! { BLOCK: binary(b"hcc") }]
        {
            assert!(matches!(decode(raw(&document), true).unwrap(), Found::Damaged { .. }), "{document}");
            assert_eq!(key(&raw(&document)), None);
        }
        assert_eq!(key(&raw(&doc! { KEY: { "$ne": 1 } })), None);
    }
}
