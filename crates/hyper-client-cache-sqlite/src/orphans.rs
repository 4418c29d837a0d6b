//! Parts of bodies whose writer ended before it wrote their head: they make room before what is alive does, as far as
//! they are found in time.
//!
//! They are looked for only where there is no room, some bodies at a time, and at most [`LOOKS`] times in a transaction;
//! when all have been looked at, not again for a while, because what a writer of this process leaves it removes itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hyper_client_cache_core::cache::{codec, parts};
use hyper_client_cache_core::clock::to_millis;
use hyper_client_cache_core::storage::{CacheKey, frame};
use sqlx::Row as _;

use crate::batch::Batch;
use crate::error::Result;
use crate::sql::{MAX_ROWS, Table, hash_of};

/// How many times a transaction looks at [`MAX_ROWS`] bodies and finds no orphan before something that is alive goes.
///
/// More would hold up others that write for longer: each body that is alive costs a few look-ups.
pub(crate) const LOOKS: usize = 8;

/// How long after the last look at all bodies they are looked at again.
const EVERY: Duration = Duration::from_secs(15 * 60);

/// How far ahead of the clock a part may have been written and count as written just now: the places in the order of use
/// go on from those of a clock that was ahead, so that for a while nothing tells old parts from new ones.
///
/// Orphans from that time stay for as long; from a clock that was ahead by more, they may go, and so may what is being
/// written.
const AHEAD: Duration = Duration::from_secs(7 * 24 * 3600);

/// The first part of each body after a key, by a step in the index for each. Key to begin after, limit -> key
///
/// A part's key ends in `-` and hexadecimal digits. `.` follows `-`, and no key has it; `max` goes on where a key is none
/// of ours.
const FIRST_PARTS: &str = "WITH RECURSIVE first(part) AS (SELECT min(key) FROM bodies WHERE key > ? UNION ALL \
     SELECT (SELECT min(key) FROM bodies WHERE key > max(part, rtrim(rtrim(part, '0123456789abcdef'), '-') || '.')) \
     FROM first WHERE part IS NOT NULL) SELECT part FROM first WHERE part IS NOT NULL LIMIT ?";

/// When a part of a body was written last, in microseconds. Two keys of parts, both excluded
const LAST_WRITTEN: &str = "SELECT coalesce(max(used), 0) FROM bodies WHERE key > ? AND key < ?";

/// How far the bodies have been looked at.
#[derive(Debug, Default)]
pub(crate) struct Sweep(Mutex<Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// The key to go on after; empty: from the beginning.
    after: String,
    /// When the next look at all begins, in milliseconds since 1970.
    next: i64,
}

impl Sweep {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to go on; `None` where all were looked at a short while ago.
    fn place(&self, now: i64) -> Option<String> {
        let progress = self.lock();
        let rests = progress.after.is_empty() && progress.next > now;
        // A clock that was set back does not make this rest for longer.
        let rests = rests && progress.next.saturating_sub(now) <= every();
        (!rests).then(|| progress.after.clone())
    }

    fn went_on(&self, after: String, now: i64) {
        let mut progress = self.lock();
        if after.is_empty() {
            progress.next = now.saturating_add(every());
        }
        progress.after = after;
    }
}

/// Removes the orphans among the next bodies, and says how many parts went; `None` where there are no next ones.
pub(crate) async fn collect(batch: &mut Batch<'_>) -> Result<Option<u64>> {
    let now = batch.shared.now();
    let Some(after) = batch.shared.orphans.place(to_millis(now)) else { return Ok(None) };
    let query = sqlx::query(FIRST_PARTS).bind(after).bind(i64::try_from(MAX_ROWS).unwrap_or(1));
    let found = query.fetch_all(&mut *batch.connection).await?;
    let (mut went, mut last) = (0_u64, String::new());
    for row in &found {
        last = row.try_get(0)?;
        let Some((end, parts)) = look_at(batch, &last, now).await? else { continue };
        went = went.saturating_add(parts);
        last = end;
    }
    // Whether or not this transaction is committed: what it missed is found by the next look.
    batch.shared.orphans.went_on(if found.len() < MAX_ROWS { String::new() } else { last }, to_millis(now));
    Ok(Some(went))
}

/// Removes the orphans of one owner, whose head has gone and did not say which parts were its own.
pub(crate) async fn collect_of(batch: &mut Batch<'_>, owner: &str) -> Result<()> {
    let now = batch.shared.now();
    let (mut after, end) = (format!("{owner}-"), format!("{owner}."));
    loop {
        let query = sqlx::query(FIRST_PARTS).bind(after).bind(1);
        let Some(row) = query.fetch_optional(&mut *batch.connection).await? else { return Ok(()) };
        let part: String = row.try_get(0)?;
        if part >= end {
            return Ok(());
        }
        after = look_at(batch, &part, now).await?.map_or(part, |(end, _)| end);
    }
}

/// Removes the body with this part where it is an orphan. Says behind which key the next one begins, and how many parts
/// went; `None` where the key is that of no part.
async fn look_at(batch: &mut Batch<'_>, part: &str, now: SystemTime) -> Result<Option<(String, u64)>> {
    let Ok(part) = CacheKey::new(part) else { return Ok(None) };
    let Some((owner, id)) = parts::owner_of(&part) else { return Ok(None) };
    let (first, end) = (format!("{owner}-{id}-"), format!("{owner}-{id}."));
    let is_orphan = parts::is_past_grace(id, now)
        && !is_at_work(batch, &first, &end).await?
        && !is_named(batch, &owner, id).await?;
    if !is_orphan {
        return Ok(Some((end, 0)));
    }
    let query = sqlx::query(Table::Bodies.delete_range()).bind(first).bind(&*end);
    let rows = query.fetch_all(&mut *batch.connection).await?;
    batch.count_removed(Table::Bodies, &rows).await?;
    Ok(Some((end, rows.len() as u64)))
}

/// Whether a part was written so lately that its writer may be at work, as with a body that takes hours to come.
async fn is_at_work(batch: &mut Batch<'_>, first: &str, end: &str) -> Result<bool> {
    let query = sqlx::query(LAST_WRITTEN).bind(first).bind(end);
    let written: i64 = query.fetch_one(&mut *batch.connection).await?.try_get(0)?;
    let now = to_millis(batch.shared.now()).saturating_mul(1000);
    let off = Duration::from_micros(now.abs_diff(written));
    Ok(off <= if written > now { AHEAD } else { parts::GRACE })
}

/// Whether a head names the body, or may: of one that cannot be decoded, as of a newer version or sealed by a cache around
/// this one, nobody can tell. Its turn to go comes as that of any other.
async fn is_named(batch: &mut Batch<'_>, owner: &CacheKey, id: &str) -> Result<bool> {
    for table in [Table::Responses, Table::Redirects] {
        let query = sqlx::query(table.block()).bind(hash_of(owner)).bind(owner.to_string());
        let Some(row) = query.fetch_optional(&mut *batch.connection).await? else { continue };
        let block: Vec<u8> = row.try_get(0)?;
        let stored = frame::unblock_head(&block.into()).ok().and_then(codec::decode);
        if stored.is_none_or(|stored| stored.record.parts_id() == Some(id)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn every() -> i64 {
    i64::try_from(EVERY.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;
    use crate::schema;

    /// The first parts cost a step in the index each, and what is none of ours is no end to them.
    #[tokio::test]
    async fn each_body_is_found_by_its_first_part() {
        let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        schema::migrate(&mut connection).await.unwrap();
        for (number, key) in
            ["", "0", "a", "a--1", "b-x-0", "b-x-1", "b-x-ff", "b-y-3", "c-x-0", "fff", "q-q-q"].iter().enumerate()
        {
            let text = "INSERT INTO bodies (hash, key, len, used, block, body) VALUES (?, ?, 0, 0, x'', x'')";
            sqlx::query(text).bind(number as i64).bind(*key).execute(&mut connection).await.unwrap();
        }
        let rows = sqlx::query(FIRST_PARTS).bind("").bind(100).fetch_all(&mut connection).await.unwrap();
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, ["0", "a", "a--1", "b-x-0", "b-y-3", "c-x-0", "fff", "q-q-q"]);
        for text in [FIRST_PARTS, LAST_WRITTEN] {
            let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
            for row in sqlx::query(plan).fetch_all(&mut connection).await.unwrap() {
                let step: String = row.get(3);
                assert!(!step.starts_with("SCAN bodies"), "{step}");
            }
        }
    }
}
