//! Fills a cache past its session, with what a session would have stored: a million requests would take too long.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use hyper_client_cache_core::cache::{
    BodyPlace, Cache, Freshness, LifetimeSource, Record, ResponseRecord, Stored, codec,
};
use hyper_client_cache_core::clock::system_clock;
use hyper_client_cache_core::key;
use hyper_client_cache_core::storage::{CacheKey, Entry};

use super::Bench;
use crate::Result;
use crate::measure::stores::Answer;
use crate::origin::url;

/// Bytes of a body: small, so that a million entries fit anywhere.
pub(super) const SIZE: u64 = 200;

/// How many entries the small store has.
pub(super) const FEW: u64 = 1_000;

/// How many entries are stored at once.
const CHUNK: u64 = 1_000;

/// How long a response is fresh, as the origin says, and how long it is kept.
const FRESH: Duration = Duration::from_secs(3_600);
const KEPT: Duration = Duration::from_secs(100 * 3_600);

/// What the origin would answer, as entries. Their names are numbers.
pub(super) struct Entries {
    origin: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    now: SystemTime,
}

impl Entries {
    /// The entries of the bench's origin, received now.
    pub(super) fn new(bench: &Bench) -> Self {
        let answer = Answer::new(SIZE as usize);
        let headers = answer.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { origin: bench.origin.base().to_owned(), headers, body: answer.body, now: system_clock().now() }
    }

    /// The moment after which an entry is dead that is kept for `time`.
    pub(super) fn in_time(&self, time: Duration) -> Result<SystemTime> {
        Ok(self.now.checked_add(time).ok_or("the clock is at its end")?)
    }

    /// Entry `number`, which is kept for `time`.
    pub(super) fn entry(&self, number: u64, time: Duration) -> Result<(CacheKey, Entry)> {
        let url = url(&self.origin, SIZE, number);
        let key = key::primary(&Method::GET, &url.parse()?, None);
        let freshness = Freshness::new(self.now, Some(FRESH), LifetimeSource::MaxAge);
        let mut record = ResponseRecord::new(key, Method::GET, url, StatusCode::OK, freshness);
        record.headers = self.headers.clone();
        record.body = BodyPlace::Inline { len: self.body.len() as u64 };
        let stored = Stored::new(Record::Response(record), self.body.clone(), Some(self.in_time(time)?));
        Ok((key, codec::encode(stored)?))
    }

    /// Stores the entries of these numbers, which live longer than the bench.
    pub(super) async fn store(&self, cache: &dyn Cache, numbers: Range<u64>) -> Result<()> {
        for first in numbers.clone().step_by(CHUNK as usize) {
            let chunk = first..first.saturating_add(CHUNK).min(numbers.end);
            let chunk = chunk.map(|number| self.entry(number, KEPT)).collect::<Result<Vec<_>>>()?;
            cache.responses().write_many(chunk).await?;
        }
        Ok(())
    }
}
