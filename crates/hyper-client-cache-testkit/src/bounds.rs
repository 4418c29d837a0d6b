//! What a cache with a bound gives up, and in which order: for backends that remove the least recently used.
//!
//! Each function is a test of one promise, on a cache whose bound the caller has chosen; what a backend counts, and how
//! its counts are told from what is there, is its own to show.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{Method, StatusCode};
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::{
    BodyPlace, Cache, Freshness, LifetimeSource, Record, ResponseRecord, Stored, parts,
};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};

use crate::ManualClock;
use crate::contract::Violation;

/// How many bytes head and body of an entry have where nothing else is said.
pub const LEN: usize = 1000;

const PART_LEN: u32 = 1000;

/// The least recently used goes first, and a read counts as a use. `cache` has room for three entries of [`LEN`] bytes.
///
/// # Errors
/// What went, and should not have.
pub async fn the_least_recently_used_goes_first(cache: &dyn Cache) -> Result<(), Violation> {
    let responses = cache.responses();
    fill(responses).await?;
    responses.read(&key(1)?).await?;
    responses.write(&key(4)?, entry(LEN)).await?;
    expect(responses, [1, 3, 4]).await?;
    responses.write(&key(3)?, entry(900)).await?;
    responses.write(&key(5)?, entry(LEN)).await?;
    expect(responses, [3, 4, 5]).await?;
    expect_evicted(responses, 2)
}

/// What has expired goes before what is alive, whatever its use, and does not count as evicted. `cache` has this `clock`
/// and room for three entries of [`LEN`] bytes.
///
/// # Errors
/// What went, and should not have.
pub async fn the_dead_go_before_the_living(cache: &dyn Cache, clock: &ManualClock) -> Result<(), Violation> {
    const LIFETIME: Duration = Duration::from_secs(60);

    let responses = cache.responses();
    fill(responses).await?;
    responses.write(&key(3)?, entry(LEN).retain_until(clock.now().checked_add(LIFETIME))).await?;
    clock.advance(LIFETIME);
    responses.write(&key(4)?, entry(LEN)).await?;
    expect(responses, [1, 2, 4]).await?;
    expect_evicted(responses, 0)
}

/// An entry over the whole bound is refused and displaces nothing. `cache` has room for three entries of [`LEN`] bytes,
/// and not for one of thirteen times as many.
///
/// # Errors
/// What went, and should not have.
pub async fn what_is_over_the_bound_is_refused(cache: &dyn Cache) -> Result<(), Violation> {
    let responses = cache.responses();
    fill(responses).await?;
    match responses.write(&key(1)?, entry(LEN.saturating_mul(13))).await {
        Err(error) if error.kind() == ErrorKind::TooLarge => {}
        other => return Err(Violation::new(format!("more than the bound was written: {other:?}"))),
    }
    expect(responses, [1, 2, 3]).await?;
    if responses.read(&key(1)?).await? != Some(entry(LEN)) {
        return Err(Violation::new("what was refused took the place of what was there"));
    }
    expect_evicted(responses, 0)
}

/// A body's parts go with its head, and nobody else's do, not even others of the same owner. `cache` has this `clock`
/// and room for 24 parts of [`LEN`] bytes and two heads, and for nine thousand bytes more only without one of the bodies.
///
/// # Errors
/// What went or stayed, and should not have.
pub async fn parts_go_with_their_head(cache: &dyn Cache, clock: &ManualClock) -> Result<(), Violation> {
    let Some(bodies) = cache.bodies() else { return Err(Violation::new("the cache stores no bodies in parts")) };
    // Who counts in the background has begun.
    cache.responses().size().await?;
    let (old, young) = (CacheKey::from_digest([1; 32]), CacheKey::from_digest([2; 32]));
    for (owner, id) in [(old, "aa"), (old, "ab"), (young, "aa")] {
        for number in 0..8 {
            let Some(name) = parts::key(&owner, id, number) else { return Err(Violation::new("a part has no key")) };
            bodies.write(&name, parts::entry(&name, vec![b'x'; LEN].into(), None)).await?;
        }
    }
    cache.put(&old, in_parts(clock, old), None).await?;
    cache.put(&young, in_parts(clock, young), None).await?;
    cache.responses().write(&key(1)?, entry(LEN.saturating_mul(9))).await?;
    let heads = (cache.responses().contains(&old).await?, cache.responses().contains(&young).await?);
    if heads != (false, true) {
        return Err(Violation::new(format!("the older head is there: {}, the younger: {}", heads.0, heads.1)));
    }
    let left: Vec<_> = bodies.keys().try_collect().await?;
    if left.len() != 16 || left.iter().any(|name| name.as_str().starts_with(&format!("{old}-aa-"))) {
        return Err(Violation::new(format!("{} parts are left: {left:?}", left.len())));
    }
    Ok(())
}

/// Parts whose writer ended before it wrote their head make room once they are older than the grace. `cache` has this
/// `clock` and room for four entries of [`LEN`] bytes.
///
/// # Errors
/// What went or stayed, and should not have.
pub async fn orphaned_parts_make_room_after_the_grace(cache: &dyn Cache, clock: &ManualClock) -> Result<(), Violation> {
    let Some(bodies) = cache.bodies() else { return Err(Violation::new("the cache stores no bodies in parts")) };
    cache.responses().size().await?;
    let (owner, id) = (CacheKey::from_digest([1; 32]), parts::new_id(clock.now())?);
    for number in 0..4 {
        let Some(name) = parts::key(&owner, &id, number) else { return Err(Violation::new("a part has no key")) };
        bodies.write(&name, entry(LEN)).await?;
    }
    for wait in [Duration::ZERO, Duration::from_secs(1800)] {
        clock.advance(wait);
        if cache.responses().write(&key(1)?, entry(LEN)).await.is_ok() {
            return Err(Violation::new("parts made room whose writer may be at work"));
        }
    }
    clock.advance(parts::GRACE);
    cache.responses().write(&key(1)?, entry(LEN)).await?;
    match bodies.size().await? {
        0..=3 => Ok(()),
        left => Err(Violation::new(format!("{left} parts are left, and there is no room for them"))),
    }
}

/// A record of a body that is in eight parts with the id `aa`.
fn in_parts(clock: &ManualClock, owner: CacheKey) -> Stored {
    let freshness = Freshness::new(clock.now(), None, LifetimeSource::Session);
    let mut response = ResponseRecord::new(owner, Method::GET, "http://host/", StatusCode::OK, freshness);
    response.body = BodyPlace::Parts {
        id: "aa".to_owned(),
        count: 8,
        part_len: PART_LEN,
        len: (LEN as u64).saturating_mul(8),
        checksum: 0,
        retain_until: None,
    };
    Stored::new(Record::Response(response), Bytes::new(), None)
}

async fn fill(responses: &dyn Storage) -> Result<(), Violation> {
    responses.size().await?;
    for number in 1..=3 {
        responses.write(&key(number)?, entry(LEN)).await?;
    }
    Ok(())
}

#[track_caller]
fn expect_evicted(responses: &dyn Storage, expected: u64) -> Result<(), Violation> {
    let evicted = responses.stats().evicted;
    if evicted == expected { Ok(()) } else { Err(Violation::new(format!("{evicted} evicted, {expected} expected"))) }
}

async fn expect(responses: &dyn Storage, numbers: [u64; 3]) -> Result<(), Violation> {
    let mut found: Vec<_> = responses.keys().try_collect().await?;
    found.sort();
    let expected = numbers.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
    if found == expected { Ok(()) } else { Err(Violation::new(format!("left are {found:?}, not {expected:?}"))) }
}

fn entry(len: usize) -> Entry {
    Entry::new("", vec![b'x'; len])
}

fn key(number: u64) -> Result<CacheKey, Violation> {
    CacheKey::new(&format!("key-{number:08}")).map_err(|error| Violation::new(format!("a key: {error}")))
}
