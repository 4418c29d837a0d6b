//! The rows of a batch's writes: each key once, in statements of a bounded length.

use std::collections::HashMap;

use hyper_client_cache_core::storage::CacheKey;
use sqlx::sqlite::SqliteArguments;
use sqlx::{SqlStr, Sqlite};

use crate::queue::{NewRow, Task};
use crate::sql::{MAX_ROWS, hash_of, padded};

/// The most bytes in one statement, beyond the first row: arguments are copied into the connection. So parts of large
/// bodies, of 256 KiB, are copied one after the other, while a hundred entries of the usual size go together.
const MAX_STATEMENT_BYTES: u64 = 384 * 1024;

pub(crate) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Binds an upsert. No two rows may have one place.
pub(crate) fn bind_rows<'q>(text: SqlStr, rows: &[(CacheKey, &NewRow)]) -> Query<'q> {
    let bytes = rows.iter().map(|(_, row)| row.len).fold(0, u64::saturating_add);
    let mut query = sqlx::query(text).bind(signed(rows.len() as u64)).bind(signed(bytes));
    for (key, _) in rows {
        query = query.bind(hash_of(key));
    }
    for _ in rows.len()..padded(rows.len()) {
        query = query.bind(None::<i64>);
    }
    for (key, row) in rows {
        query = query
            .bind(hash_of(key))
            .bind(key.to_string())
            .bind(row.retain_until)
            .bind(signed(row.len))
            .bind(row.used)
            .bind(row.block.to_vec())
            .bind(row.body.to_vec());
    }
    query
}

/// The rows of a group's members, each place once: of several writes the last.
///
/// By hash, for within one statement a place that is new is not seen yet.
pub(crate) fn rows_of<'t>(tasks: &[&'t Task], members: &[usize]) -> Vec<(CacheKey, &'t NewRow)> {
    let mut places: HashMap<i64, usize> = HashMap::with_capacity(members.len());
    let mut rows: Vec<(CacheKey, &NewRow)> = Vec::with_capacity(members.len());
    for at in members {
        let Some(Task::Write(_, key, row)) = tasks.get(*at) else { continue };
        let hash = hash_of(key);
        match places.get(&hash).and_then(|place| rows.get_mut(*place)) {
            Some(earlier) => *earlier = (*key, row),
            None => {
                places.insert(hash, rows.len());
                rows.push((*key, row));
            }
        }
    }
    rows
}

pub(crate) fn fits_one_statement(tasks: &[&Task], members: &[usize]) -> bool {
    members.len() <= MAX_ROWS
        && members.iter().filter_map(|at| tasks.get(*at)).map(|task| added(task)).sum::<u64>() <= MAX_STATEMENT_BYTES
}

/// Splits rows by number and by bytes.
pub(crate) fn chunks<'r, 't>(rows: &'r [(CacheKey, &'t NewRow)]) -> Vec<&'r [(CacheKey, &'t NewRow)]> {
    let mut chunks = Vec::new();
    let mut rest = rows;
    while !rest.is_empty() {
        let mut bytes: u64 = 0;
        let fitting = rest
            .iter()
            .take(MAX_ROWS)
            .take_while(|(_, row)| {
                bytes = bytes.saturating_add(row.len);
                bytes <= MAX_STATEMENT_BYTES
            })
            .count()
            .max(1);
        let (chunk, after) = rest.split_at(fitting.min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

/// The most that a task can add to what counts against the bound.
pub(crate) fn added(task: &Task) -> u64 {
    match task {
        Task::Write(_, _, row) | Task::Refresh(_, _, row) => row.charge(),
        _ => 0,
    }
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
