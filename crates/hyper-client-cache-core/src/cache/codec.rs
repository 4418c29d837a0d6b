//! Heads in MessagePack with named fields, and back.
//!
//! Unknown fields are ignored and missing ones have defaults, so that a later version may add some; what does not
//! decode is a miss. Header values come out as slices of the head: nothing is copied.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes as ByteSlice};

use super::Stored;
use super::record::{
    BodyPlace, Freshness, Group, LifetimeSource, Record, ResponseRecord, Selecting, Variant, Variants,
};
use super::search::{SearchRule, SearchVariance};
use crate::clock::{from_millis, to_millis};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{CacheKey, Entry};

/// The longest head that is written or read, in bytes (256 KiB): a response with more metadata is not stored.
pub const MAX_HEAD_LEN: usize = 256 * 1024;

/// The entry of a record.
///
/// The record itself does not stay with the entry: its header values may be slices of a network buffer, which a storage
/// in memory would then keep whole.
///
/// # Errors
/// [`ErrorKind::TooLarge`] where the head would be over [`MAX_HEAD_LEN`].
pub fn encode(stored: Stored) -> Result<Entry> {
    let head = rmp_serde::to_vec_named(&WireRecord::from(&*stored.record))
        .map_err(|error| Error::new(ErrorKind::Storage, "a record cannot be encoded").with_source(error))?;
    if head.len() > MAX_HEAD_LEN {
        return Err(Error::new(ErrorKind::TooLarge, "the response's metadata"));
    }
    Ok(Entry::new(head, stored.body).retain_until(stored.retain_until))
}

/// The record of an entry; `None` where the head is not ours or the body's length does not fit.
///
/// Decodes only where no earlier reader of the same value in memory has.
#[must_use]
pub fn decode(entry: Entry) -> Option<Stored> {
    let record = entry.memo.get_or_decode(|| decode_head(&entry.head))?;
    Some(Stored { record, body: entry.body, retain_until: entry.retain_until })
}

fn decode_head(head: &Bytes) -> Option<Record> {
    if head.len() > MAX_HEAD_LEN {
        return None;
    }
    rmp_serde::from_slice::<WireRecord<'_>>(head).ok()?.into_record(head)
}

// The stored names are short: they are in every entry. `docs/stored-format.md` lists them.
#[derive(Serialize, Deserialize)]
enum WireRecord<'a> {
    #[serde(rename = "r", borrow)]
    Response(WireResponse<'a>),
    #[serde(rename = "v", borrow)]
    Variants(WireVariants<'a>),
    #[serde(rename = "g", borrow)]
    Group(WireGroup<'a>),
    #[serde(rename = "s", borrow)]
    Search(WireSearch<'a>),
}

#[derive(Serialize, Deserialize)]
struct WireResponse<'a> {
    key: &'a str,
    method: &'a str,
    url: &'a str,
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    sel: Vec<WireSelecting<'a>>,
    status: u16,
    http: u8,
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a ByteSlice)>,
    req: i64,
    recv: i64,
    age: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    life: Option<u64>,
    src: u8,
    #[serde(default, skip_serializing_if = "is_zero")]
    flags: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    swr: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sie: Option<u64>,
    len: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    parts: Option<WireParts<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireParts<'a> {
    id: &'a str,
    n: u32,
    size: u32,
    sum: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct WireSelecting<'a> {
    name: &'a str,
    values: Vec<ByteBuf>,
}

#[derive(Serialize, Deserialize)]
struct WireVariants<'a> {
    key: &'a str,
    url: &'a str,
    #[serde(borrow)]
    list: Vec<WireVariant<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireVariant<'a> {
    key: &'a str,
    #[serde(borrow)]
    sel: Vec<WireSelecting<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct WireGroup<'a> {
    key: &'a str,
    #[serde(borrow)]
    members: Vec<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct WireSearch<'a> {
    key: &'a str,
    id: &'a str,
    #[serde(default, skip_serializing_if = "is_zero")]
    flags: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    names: Vec<&'a str>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(flags: &u8) -> bool {
    *flags == 0
}

const NO_CACHE: u8 = 1;
const MUST_REVALIDATE: u8 = 2;
const IMMUTABLE: u8 = 4;

const ANY_ORDER: u8 = 1;
const ALL_BUT: u8 = 2;

const fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

impl<'a> From<&'a Record> for WireRecord<'a> {
    fn from(record: &'a Record) -> Self {
        match record {
            Record::Response(response) => Self::Response(WireResponse::from(response)),
            Record::Variants(variants) => Self::Variants(WireVariants {
                key: variants.key.as_str(),
                url: &variants.url,
                list: variants
                    .variants
                    .iter()
                    .map(|variant| WireVariant {
                        key: variant.key.as_str(),
                        sel: wire_selecting(&variant.selecting),
                        until: variant.retain_until.map(to_millis),
                    })
                    .collect(),
            }),
            Record::Group(group) => Self::Group(WireGroup {
                key: group.key.as_str(),
                members: group.members.iter().map(CacheKey::as_str).collect(),
            }),
            Record::Search(rule) => Self::Search(WireSearch {
                key: rule.key.as_str(),
                id: &rule.id,
                flags: flag(rule.variance.any_order, ANY_ORDER) | flag(rule.variance.all_but, ALL_BUT),
                names: rule.variance.names.iter().map(String::as_str).collect(),
            }),
        }
    }
}

impl<'a> From<&'a ResponseRecord> for WireResponse<'a> {
    fn from(response: &'a ResponseRecord) -> Self {
        let fresh = &response.freshness;
        Self {
            key: response.key.as_str(),
            method: response.method.as_str(),
            url: &response.url,
            sel: wire_selecting(&response.selecting),
            status: response.status.as_u16(),
            http: version_number(response.version),
            headers: response
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), ByteSlice::new(value.as_bytes())))
                .collect(),
            req: to_millis(fresh.requested_at),
            recv: to_millis(fresh.received_at),
            age: millis(fresh.initial_age),
            life: fresh.lifetime.map(millis),
            src: source_number(fresh.source),
            flags: flag(fresh.no_cache, NO_CACHE)
                | flag(fresh.must_revalidate, MUST_REVALIDATE)
                | flag(fresh.immutable, IMMUTABLE),
            swr: fresh.stale_while_revalidate.map(millis),
            sie: fresh.stale_if_error.map(millis),
            len: response.body_len(),
            parts: match &response.body {
                BodyPlace::Inline { .. } => None,
                BodyPlace::Parts { id, count, part_len, checksum, retain_until, .. } => Some(WireParts {
                    id,
                    n: *count,
                    size: *part_len,
                    sum: *checksum,
                    until: retain_until.map(to_millis),
                }),
            },
        }
    }
}

impl WireRecord<'_> {
    fn into_record(self, head: &Bytes) -> Option<Record> {
        Some(match self {
            Self::Response(wire) => Record::Response(wire.into_response(head)?),
            Self::Variants(wire) => Record::Variants(Variants {
                key: CacheKey::new(wire.key).ok()?,
                url: wire.url.to_owned(),
                variants: wire
                    .list
                    .into_iter()
                    .map(|variant| {
                        Some(Variant {
                            key: CacheKey::new(variant.key).ok()?,
                            selecting: selecting(variant.sel),
                            retain_until: variant.until.map(from_millis),
                        })
                    })
                    .collect::<Option<_>>()?,
            }),
            Self::Group(wire) => Record::Group(Group {
                key: CacheKey::new(wire.key).ok()?,
                members: wire.members.into_iter().map(|key| CacheKey::new(key).ok()).collect::<Option<_>>()?,
            }),
            Self::Search(wire) => {
                let (any_order, all_but) = (wire.flags & ANY_ORDER != 0, wire.flags & ALL_BUT != 0);
                let variance = SearchVariance::new(any_order, all_but, wire.names);
                Record::Search(SearchRule::new(CacheKey::new(wire.key).ok()?, wire.id, variance))
            }
        })
    }
}

impl WireResponse<'_> {
    fn into_response(self, head: &Bytes) -> Option<ResponseRecord> {
        let headers = self
            .headers
            .into_iter()
            .map(|(name, value)| {
                // Checked as on the wire: a stored CR, LF or NUL is a miss (case 65).
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).ok()?;
                Some((name, value))
            })
            .collect::<Option<_>>()?;
        Some(ResponseRecord {
            key: CacheKey::new(self.key).ok()?,
            method: Method::from_bytes(self.method.as_bytes()).ok()?,
            url: self.url.to_owned(),
            selecting: selecting(self.sel),
            status: StatusCode::from_u16(self.status).ok()?,
            version: version(self.http)?,
            headers,
            freshness: Freshness {
                requested_at: from_millis(self.req),
                received_at: from_millis(self.recv),
                initial_age: Duration::from_millis(self.age),
                lifetime: self.life.map(Duration::from_millis),
                source: source(self.src)?,
                no_cache: self.flags & NO_CACHE != 0,
                must_revalidate: self.flags & MUST_REVALIDATE != 0,
                immutable: self.flags & IMMUTABLE != 0,
                stale_while_revalidate: self.swr.map(Duration::from_millis),
                stale_if_error: self.sie.map(Duration::from_millis),
            },
            body: match self.parts {
                None => BodyPlace::Inline { len: self.len },
                Some(parts) => BodyPlace::Parts {
                    id: parts.id.to_owned(),
                    count: parts.n,
                    part_len: parts.size,
                    len: self.len,
                    checksum: parts.sum,
                    retain_until: parts.until.map(from_millis),
                },
            },
        })
    }
}

fn wire_selecting(list: &[Selecting]) -> Vec<WireSelecting<'_>> {
    list.iter()
        .map(|field| WireSelecting {
            name: &field.name,
            values: field.values.iter().map(|value| ByteBuf::from(value.as_slice())).collect(),
        })
        .collect()
}

fn selecting(list: Vec<WireSelecting<'_>>) -> Vec<Selecting> {
    list.into_iter()
        .map(|field| Selecting::new(field.name, field.values.into_iter().map(ByteBuf::into_vec).collect()))
        .collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn version_number(version: Version) -> u8 {
    match version {
        Version::HTTP_09 => 9,
        Version::HTTP_10 => 10,
        Version::HTTP_2 => 20,
        Version::HTTP_3 => 30,
        _ => 11,
    }
}

fn version(number: u8) -> Option<Version> {
    Some(match number {
        9 => Version::HTTP_09,
        10 => Version::HTTP_10,
        11 => Version::HTTP_11,
        20 => Version::HTTP_2,
        30 => Version::HTTP_3,
        _ => return None,
    })
}

const SOURCES: [LifetimeSource; 8] = [
    LifetimeSource::MaxAge,
    LifetimeSource::SMaxAge,
    LifetimeSource::Expires,
    LifetimeSource::Heuristic,
    LifetimeSource::Session,
    LifetimeSource::Rule,
    LifetimeSource::Request,
    LifetimeSource::Forced,
];

fn source_number(source: LifetimeSource) -> u8 {
    SOURCES.iter().zip(0..).find(|(other, _)| **other == source).map_or(0, |(_, number)| number)
}

fn source(number: u8) -> Option<LifetimeSource> {
    SOURCES.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::Memo;

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

    /// Case 65: a stored line break does not become a header.
    #[test]
    fn a_header_with_a_line_break_is_a_miss() {
        let good = encode(Stored::new(sample(), Bytes::new(), None)).unwrap().head;
        let mut bad = good.to_vec();
        let at = bad.windows(3).position(|window| window == b"\"1\"").unwrap();
        bad[at + 1] = b'\n';
        assert!(decode(Entry::new(bad, "")).is_none());
    }

    #[test]
    fn metadata_over_the_limit_is_refused() {
        let Record::Response(mut response) = sample() else { unreachable!() };
        response.url = "x".repeat(MAX_HEAD_LEN);
        let error = encode(Stored::new(Record::Response(response), Bytes::new(), None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}
