//! The head of an entry as it is written: its fields under their stored names, and both ways between them and a record.
//!
//! `docs/stored-format.md` says what each field is.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes as ByteSlice};

use super::MAX_HEADER_LINES;
use crate::cache::parts::MAX_PARTS;
use crate::cache::record::{
    BodyPlace, Freshness, Group, LifetimeSource, Record, ResponseRecord, Selecting, Variant, Variants,
};
use crate::cache::search::{SearchRule, SearchVariance};
use crate::clock::{from_millis, to_millis};
use crate::storage::CacheKey;

// The stored names are short: they are in every entry. `docs/stored-format.md` lists them.
#[derive(Serialize, Deserialize)]
pub(super) enum WireRecord<'a> {
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
pub(super) struct WireResponse<'a> {
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
pub(super) struct WireParts<'a> {
    id: &'a str,
    n: u32,
    size: u32,
    sum: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireSelecting<'a> {
    name: &'a str,
    values: Vec<ByteBuf>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireVariants<'a> {
    key: &'a str,
    url: &'a str,
    #[serde(borrow)]
    list: Vec<WireVariant<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireVariant<'a> {
    key: &'a str,
    #[serde(borrow)]
    sel: Vec<WireSelecting<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireGroup<'a> {
    key: &'a str,
    #[serde(borrow)]
    members: Vec<&'a str>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireSearch<'a> {
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
    pub(super) fn into_record(self, head: &Bytes) -> Option<Record> {
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
        if self.headers.len() > MAX_HEADER_LINES {
            return None;
        }
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
                Some(parts) if !parts.fits(self.len) => return None,
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

impl WireParts<'_> {
    /// Whether these are the parts of a body of `len` bytes: the number is for loops over them.
    fn fits(&self, len: u64) -> bool {
        self.n <= MAX_PARTS && self.size > 0 && len.div_ceil(u64::from(self.size)) == u64::from(self.n)
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
