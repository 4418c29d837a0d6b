//! What a child does all the time: changes of keys that only it writes, each told before and after.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use futures_util::TryStreamExt;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry};

use super::lost;
use crate::contract::Violation;

/// How many tasks a child has, each with keys of its own.
pub(super) const TASKS: u64 = 4;

/// How many keys each task has.
const KEYS: u64 = 8;

/// Writes, overwrites, refreshes and deletes, and says so. Redirects are one key that everybody writes and clears.
pub(super) async fn work(
    cache: Arc<dyn Cache>,
    name: &str,
    rounds: u64,
    say: fn(String) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let tasks = (0..TASKS).map(|task| {
        let (cache, name) = (cache.clone(), name.to_owned());
        tokio::spawn(async move {
            // Versions go on across restarts of the child, so that a stale one is told from a current one.
            let mut version = u64::from(std::process::id()) << 32;
            for round in 0..rounds {
                version = version.saturating_add(1);
                change(&*cache, &key(&name, task, round % KEYS)?, round, version, say).await?;
                beside(&*cache, round, version).await?;
            }
            Ok::<_, Violation>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.map_err(|error| lost("a task", &error))??;
    }
    Ok(cache.close().await?)
}

/// One change of a key that nobody else writes.
async fn change(
    cache: &dyn Cache,
    key: &CacheKey,
    round: u64,
    version: u64,
    say: fn(String) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let responses = cache.responses();
    if round % 5 == 4 {
        say(format!("try {key} 0"))?;
        responses.delete(key).await?;
        return say(format!("ack {key} 0"));
    }
    say(format!("try {key} {version}"))?;
    let new = entry(key, version);
    if round.is_multiple_of(3) && responses.contains(key).await? {
        responses.refresh(key, new).await?;
    } else {
        responses.write(key, new).await?;
    }
    say(format!("ack {key} {version}"))
}

/// What goes on beside: one key that everybody writes, and reads by others; a listing, a clean-up and a clearing.
async fn beside(cache: &dyn Cache, round: u64, version: u64) -> Result<(), Violation> {
    let redirects = cache.redirects();
    let shared = key("shared", 0, 0)?;
    redirects.write(&shared, entry(&shared, version)).await?;
    if let Some(found) = redirects.read(&shared).await? {
        whole(&shared, &found)?;
    }
    match round % 16 {
        3 => drop(cache.responses().keys().try_collect::<Vec<_>>().await?),
        7 => drop(cache.responses().delete_expired(UNIX_EPOCH).await?),
        11 => redirects.clear().await?,
        _ => {}
    }
    Ok(())
}

/// What is stored as version `version` of a key: anybody can compute it.
pub(super) fn entry(key: &CacheKey, version: u64) -> Entry {
    let len = usize::try_from(version.wrapping_mul(7919) % 20_000).unwrap_or_default();
    let body: Vec<u8> = key.as_str().bytes().chain(version.to_be_bytes()).cycle().take(len).collect();
    Entry::new(format!("{key} {version}"), body)
}

/// The version of an entry that is whole.
pub(super) fn whole(key: &CacheKey, found: &Entry) -> Result<u64, Violation> {
    let text = std::str::from_utf8(&found.head).ok();
    let version = text.and_then(|text| text.rsplit_once(' ')).and_then(|(_, version)| version.parse().ok());
    match version {
        Some(version) if *found == entry(key, version) => Ok(version),
        _ => Err(Violation::new(format!("{key} is a mix"))),
    }
}

pub(super) fn key(name: &str, task: u64, number: u64) -> Result<CacheKey, Violation> {
    CacheKey::new(&format!("{name}-{task}-{number}")).map_err(|error| lost("a key", &error))
}
