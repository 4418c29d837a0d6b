//! Making room: what is dead first, then parts without a head, as far as they are found in time
//! ([`orphans`](crate::orphans)), then the least recently used, each with the parts of its body.
//!
//! Parts that a head names are never judged by themselves: a head whose parts are gone would be an error to whoever
//! reads it.

use hyper_client_cache_core::cache::{Record, codec};
use hyper_client_cache_core::clock::to_millis;
use hyper_client_cache_core::storage::frame;
use sqlx::Row as _;

use crate::batch::Batch;
use crate::error::{Result, SqliteError};
use crate::orphans;
use crate::queue::Task;
use crate::rows::added;
use crate::sql::{AGREES, MAX_ROWS, Table};

/// A bound from which on a little more is removed than needed, so that not every write has to remove something.
const LARGE: u64 = 64 * 1024 * 1024;

/// Removes entries until what `tasks` write fits; says which tasks have to be refused because they never will.
pub(crate) async fn make_room(batch: &mut Batch<'_>, tasks: &[&Task]) -> Result<Vec<(usize, SqliteError)>> {
    let Some(limit) = batch.shared.max_bytes() else { return Ok(Vec::new()) };
    let slack = if limit >= LARGE { limit / 256 } else { 0 };
    let target = limit.saturating_sub(slack);
    let now = to_millis(batch.shared.now());
    let mut tables = Table::ALL.iter();
    let mut next = tables.next();
    let mut looks: usize = 0;
    loop {
        // Asked anew each time, because what goes may be what would have been replaced.
        let excess = excess(batch, tasks, limit).await?;
        if excess == 0 {
            return Ok(Vec::new());
        }
        let excess = excess.saturating_add(limit.saturating_sub(target));
        let went = match next {
            Some(table) => batch.expire(*table, now).await? > 0,
            None => match orphans::collect(batch).await? {
                Some(1..) => true,
                Some(0) if looks < orphans::LOOKS => {
                    looks = looks.saturating_add(1);
                    true
                }
                // As long as bodies have not been looked at there is more to try.
                looked => evict_some(batch, excess).await? || looked.is_some(),
            },
        };
        match (went, next) {
            (true, _) => {}
            (false, Some(_)) => next = tables.next(),
            (false, None) => return refuse(batch, tasks, limit).await,
        }
    }
}

/// How many bytes too many there would be.
async fn excess(batch: &mut Batch<'_>, tasks: &[&Task], limit: u64) -> Result<u64> {
    let (written, replaced) = batch.incoming(tasks).await?;
    let held = batch.read_totals().await?.charge();
    Ok(held.saturating_add(written).saturating_sub(replaced).saturating_sub(limit))
}

/// Removes the least recently used heads that are needed, at most [`MAX_ROWS`]; `false` where none is left.
async fn evict_some(batch: &mut Batch<'_>, mut excess: u64) -> Result<bool> {
    let mut candidates = Vec::new();
    for table in [Table::Responses, Table::Redirects] {
        let query = sqlx::query(table.oldest()).bind(i64::try_from(MAX_ROWS).unwrap_or(1));
        for row in query.fetch_all(&mut *batch.connection).await? {
            let len: i64 = row.try_get(1)?;
            let used: i64 = row.try_get(2)?;
            let id: i64 = row.try_get(0)?;
            let block: Vec<u8> = row.try_get(3)?;
            let key: String = row.try_get(4)?;
            candidates.push((used, table, id, u64::try_from(len).unwrap_or(0), block, key));
        }
    }
    candidates.sort_by_key(|(used, ..)| *used);
    let mut chosen: [Vec<i64>; 2] = [Vec::new(), Vec::new()];
    let mut opaque = Vec::new();
    for (_, table, id, len, block, key) in candidates.into_iter().take(MAX_ROWS) {
        if excess == 0 {
            break;
        }
        let [responses, redirects] = &mut chosen;
        match table {
            Table::Redirects => redirects.push(id),
            _ => responses.push(id),
        }
        excess = excess.saturating_sub(len.saturating_add(crate::ENTRY_OVERHEAD));
        let Some(stored) = frame::unblock_head(&block.into()).ok().and_then(codec::decode) else {
            opaque.push(key);
            continue;
        };
        if let Some((after, before)) = parts_of(&stored.record) {
            let query = sqlx::query(Table::Bodies.delete_range()).bind(after).bind(before);
            let rows = query.fetch_all(&mut *batch.connection).await?;
            excess = excess.saturating_sub(batch.count_removed(Table::Bodies, &rows).await?);
            *batch.orphaned = true;
        }
    }
    let [responses, redirects] = chosen;
    let mut went = false;
    for (table, ids) in [(Table::Responses, responses), (Table::Redirects, redirects)] {
        let removed = batch.delete_rows(table, |rows| table.evict(rows), &ids).await?;
        went |= !removed.is_empty();
        batch.shared.count_evicted(table, removed.iter().filter(|(_, live)| *live).count() as u64);
    }
    // Once the heads are gone.
    for owner in opaque {
        orphans::collect_of(batch, &owner).await?;
    }
    Ok(went)
}

/// Between which keys the parts of a record's body lie.
fn parts_of(record: &Record) -> Option<(String, String)> {
    let id = record.parts_id()?;
    let owner = record.key();
    // `.` follows `-`, and no key has it.
    Some((format!("{owner}-{id}-"), format!("{owner}-{id}.")))
}

/// The tasks that do not fit although everything that may go has gone: the last ones first.
///
/// # Errors
/// [`SqliteError::Broken`] where it is the counters that are wrong: nothing would ever fit again.
async fn refuse(batch: &mut Batch<'_>, tasks: &[&Task], limit: u64) -> Result<Vec<(usize, SqliteError)>> {
    let mut excess = excess(batch, tasks, limit).await?;
    if excess > 0 && !sqlx::query(AGREES).fetch_one(&mut *batch.connection).await?.try_get(0)? {
        return Err(SqliteError::Broken);
    }
    let mut refused = Vec::new();
    for (at, task) in tasks.iter().enumerate().rev() {
        if excess == 0 {
            break;
        }
        let (Task::Write(..), len @ 1..) = (task, added(task)) else { continue };
        excess = excess.saturating_sub(len);
        refused.push((at, SqliteError::TooLarge { len, limit }));
    }
    Ok(refused)
}
