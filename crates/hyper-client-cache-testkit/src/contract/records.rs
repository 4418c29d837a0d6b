//! What the tests of caches put into them.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use hyper_client_cache_core::cache::{
    BodyPlace, Cache, Freshness, LifetimeSource, Record, ResponseRecord, Selecting, Stored, parts,
};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::{CacheKey, Storage};

use twox_hash::XxHash3_64;

use super::outcome::Violation;
use super::support::sorted;
use crate::ManualClock;

pub(super) fn response(clock: &ManualClock, name: CacheKey) -> Stored {
    stored(clock, name, StatusCode::OK, header::CONTENT_TYPE, "text/plain")
}

pub(super) fn redirect(clock: &ManualClock, name: CacheKey) -> Stored {
    stored(clock, name, StatusCode::FOUND, header::LOCATION, "/elsewhere")
}

pub(super) fn stored(
    clock: &ManualClock,
    name: CacheKey,
    status: StatusCode,
    field: HeaderName,
    value: &'static str,
) -> Stored {
    let body = Bytes::from(format!("body of {name}"));
    let mut record = ResponseRecord::new(name, Method::GET, "http://host/path?query", status, freshness(clock.now()));
    record.headers.push((field, HeaderValue::from_static(value)));
    record.selecting.push(Selecting::new("accept", vec![b"*/*".to_vec(), Vec::new()]));
    record.body = BodyPlace::Inline { len: body.len() as u64 };
    Stored::new(Record::Response(record), body, None)
}

pub(super) fn make_redirect(response: &mut ResponseRecord) {
    response.status = StatusCode::FOUND;
    response.headers.push((header::LOCATION, HeaderValue::from_static("/elsewhere")));
}

pub(super) fn freshness(now: SystemTime) -> Freshness {
    Freshness::new(now, Some(Duration::from_secs(60)), LifetimeSource::Session)
}

/// The same with something else in its record.
pub(super) fn changed(stored: &Stored, change: impl FnOnce(&mut ResponseRecord)) -> Stored {
    let mut record = Record::clone(&stored.record);
    if let Record::Response(response) = &mut record {
        change(response);
    }
    Stored::new(record, stored.body.clone(), stored.retain_until)
}

pub(super) fn is(found: &Option<Stored>, expected: &Stored) -> bool {
    found.as_ref().is_some_and(|found| found.record == expected.record && found.body == expected.body)
}

pub(super) async fn listed(cache: &dyn Cache) -> Result<Vec<CacheKey>, Violation> {
    let entries: Vec<_> = cache.records().try_collect().await?;
    Ok(sorted(entries.into_iter().map(|(name, _)| name)))
}

/// Writes the parts of a body and returns its head, which is not written yet.
pub(super) async fn split(
    bodies: &dyn Storage,
    clock: &ManualClock,
    name: CacheKey,
    body: &[u8],
) -> Result<Stored, Violation> {
    let id = parts::new_id(clock.now())?;
    let part_len = parts::part_len(bodies);
    let mut count = 0;
    for bytes in body.chunks(part_len) {
        let Some(part) = parts::key(&name, &id, count) else { return Err(Violation::new("the key is too long")) };
        bodies.write(&part, parts::entry(&part, Bytes::copy_from_slice(bytes), None)).await?;
        count = count.saturating_add(1);
    }
    let mut head = response(clock, name);
    head.body = Bytes::new();
    Ok(changed(&head, |response| {
        response.body = BodyPlace::Parts {
            id,
            count,
            part_len: u32::try_from(part_len).unwrap_or(u32::MAX),
            len: body.len() as u64,
            checksum: XxHash3_64::oneshot(body),
            retain_until: None,
        };
    }))
}

pub(super) fn part_keys(stored: &Stored) -> Result<Vec<CacheKey>, Violation> {
    let keys = parts::keys_of(&stored.record).ok_or_else(|| Violation::new("the record found has no parts"))?;
    Ok(keys.collect())
}

pub(super) async fn part_list(bodies: &dyn Storage) -> Result<Vec<CacheKey>, Violation> {
    Ok(super::support::listed(bodies).await?)
}
