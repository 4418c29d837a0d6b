//! One transaction: what the writer drained from its queue, in few statements.
//!
//! The counters in `usage` change in the same transaction as the rows they count, so that every process agrees on them
//! and a crash cannot make them wrong. What has to go to make room goes first ([`eviction`](crate::eviction)).

use std::collections::HashMap;

use hyper_client_cache_core::clock::to_millis;
use hyper_client_cache_core::storage::CacheKey;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row as _, SqlStr};

use crate::error::{Fault, Result, SqliteError};
use crate::eviction;
use crate::plan::{Group, plan};
use crate::queue::{ENTRY_OVERHEAD, NewRow, Task, body_mark};
use crate::rows::{added, bind_rows, chunks, fits_one_statement, rows_of, signed};
use crate::shared::Shared;
use crate::sql::{MAX_ROWS, TOTALS, Table, hash_of, padded};

/// How many recent places there may be in a table before they are put to the others.
///
/// Fewer and larger: the recent ones take more pages, of which a transaction changes most. More often: each time most
/// pages of the others change, too.
pub(crate) const RECENT: i64 = 4096;

/// The outcome of each task, in their order.
pub(crate) type Outcomes = Vec<Result<u64>>;

/// What all tables hold together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl Totals {
    /// What counts against the bound.
    pub(crate) const fn charge(self) -> u64 {
        self.bytes.saturating_add(self.entries.saturating_mul(ENTRY_OVERHEAD))
    }

    pub(crate) fn of(row: &SqliteRow) -> Result<Self> {
        Ok(Self { entries: unsigned(row.try_get(0)?), bytes: unsigned(row.try_get(1)?) })
    }
}

/// A transaction in the making.
pub(crate) struct Batch<'a> {
    pub(crate) connection: &'a mut SqliteConnection,
    pub(crate) shared: &'a Shared,
    /// The most that the tables held after our last transaction; `None` before the first.
    pub(crate) totals: &'a mut Option<Totals>,
    /// Whether rows were removed, so that pages may be given back.
    pub(crate) freed: &'a mut bool,
    /// Whether parts of bodies were removed, whose heads may still be in the memory before the table.
    pub(crate) orphaned: &'a mut bool,
    /// The tables whose recent places have become many.
    pub(crate) unsettled: &'a mut Vec<Table>,
    /// Whether nothing is to happen where one task is refused.
    pub(crate) whole: bool,
}

impl Batch<'_> {
    /// Executes `tasks`. On an error nothing of it has happened.
    ///
    /// # Errors
    /// With the fault [`Fault::Busy`], the lock was not to be had at once, and trying again is right.
    pub(crate) async fn run(&mut self, tasks: &[&Task], fold: bool) -> Result<Outcomes> {
        let groups = plan(tasks);
        let added = tasks.iter().map(|task| added(task)).fold(0, u64::saturating_add);
        // What others wrote since is noticed by the next transaction.
        let crowded = self.is_crowded(added);
        let result = match groups.as_slice() {
            [Group::Write(table, members)] if !fold && !crowded && fits_one_statement(tasks, members) => {
                self.write_at_once(*table, &rows_of(tasks, members)).await.map(|()| vec![Ok(0); tasks.len()])
            }
            _ => self.run_groups(tasks, &groups, added, fold).await,
        };
        if result.is_err() {
            // Also where there is none to roll back.
            drop(sqlx::query("ROLLBACK").execute(&mut *self.connection).await);
        }
        result
    }

    /// The usual case in one trip to the connection's thread.
    async fn write_at_once(&mut self, table: Table, rows: &[(CacheKey, &NewRow)]) -> Result<()> {
        self.upsert(table, table.upsert_and_commit(rows.len()), rows).await?;
        // At most this much more: exact figures are read where the bound may be near.
        if let Some(totals) = self.totals {
            totals.entries = totals.entries.saturating_add(rows.len() as u64);
            totals.bytes = rows.iter().fold(totals.bytes, |sum, (_, row)| sum.saturating_add(row.len));
        }
        Ok(())
    }

    /// Executes a text that ends with an upsert's, and notes what it says of the recent places.
    async fn upsert(&mut self, table: Table, text: SqlStr, rows: &[(CacheKey, &NewRow)]) -> Result<()> {
        let found = bind_rows(text, rows).fetch_all(&mut *self.connection).await?;
        // Without its row in `usage` no row of the table would get a place.
        let recent: i64 = found.first().ok_or(SqliteError::Broken)?.try_get(0)?;
        if recent >= RECENT && !self.unsettled.contains(&table) {
            self.unsettled.push(table);
        }
        Ok(())
    }

    async fn run_groups(&mut self, tasks: &[&Task], groups: &[Group], added: u64, fold: bool) -> Result<Outcomes> {
        self.execute("BEGIN IMMEDIATE").await?;
        self.read_totals().await?;
        let mut outcomes: Outcomes = vec![Ok(0); tasks.len()];
        let crowded = self.is_crowded(added);
        if fold || crowded {
            self.fold_uses().await?;
        }
        let refused = if crowded { eviction::make_room(self, tasks).await? } else { Vec::new() };
        for (at, error) in refused {
            if self.whole {
                return Err(error);
            }
            set(&mut outcomes, at, Err(error));
        }
        for group in groups {
            match group {
                Group::Write(table, members) => self.write_group(*table, tasks, members, &outcomes).await?,
                Group::Delete(table, members) => self.delete_group(*table, tasks, members, &mut outcomes).await?,
                Group::One(at) => {
                    if let Some(task) = tasks.get(*at) {
                        let outcome = self.one(task).await?;
                        set(&mut outcomes, *at, Ok(outcome));
                    }
                }
            }
        }
        self.read_totals().await?;
        self.execute("COMMIT").await?;
        Ok(outcomes)
    }

    pub(crate) async fn execute(&mut self, text: &'static str) -> Result<()> {
        sqlx::query(text).execute(&mut *self.connection).await?;
        Ok(())
    }

    pub(crate) async fn read_totals(&mut self) -> Result<Totals> {
        let totals = Totals::of(&sqlx::query(TOTALS).fetch_one(&mut *self.connection).await?)?;
        *self.totals = Some(totals);
        Ok(totals)
    }

    /// Whether `added` more bytes may be over the bound.
    fn is_crowded(&self, added: u64) -> bool {
        self.shared
            .max_bytes()
            .is_some_and(|limit| self.totals.is_none_or(|totals| totals.charge().saturating_add(added) > limit))
    }

    /// What the entries that `tasks` will write count against the bound, less what they replace.
    pub(crate) async fn incoming(&mut self, tasks: &[&Task]) -> Result<(u64, u64)> {
        let mut written: HashMap<(Table, CacheKey), u64> = HashMap::new();
        for task in tasks {
            if let Task::Write(table, key, row) | Task::Refresh(table, key, row) = task {
                written.insert((*table, *key), row.charge());
            }
        }
        let mut replaced: u64 = 0;
        for table in Table::ALL {
            let keys: Vec<_> = written.keys().filter(|(of, _)| *of == table).map(|(_, key)| *key).collect();
            for chunk in keys.chunks(MAX_ROWS) {
                let mut query = sqlx::query(table.held(chunk.len()));
                for key in chunk {
                    query = query.bind(hash_of(key));
                }
                let held = Totals::of(&query.fetch_one(&mut *self.connection).await?)?;
                replaced = replaced.saturating_add(held.charge());
            }
        }
        Ok((written.values().fold(0, |sum, charge| sum.saturating_add(*charge)), replaced))
    }

    async fn write_group(&mut self, table: Table, tasks: &[&Task], members: &[usize], done: &Outcomes) -> Result<()> {
        let accepted: Vec<usize> =
            members.iter().copied().filter(|at| done.get(*at).is_none_or(Result::is_ok)).collect();
        for chunk in chunks(&rows_of(tasks, &accepted)) {
            self.upsert(table, table.upsert(chunk.len()), chunk).await?;
        }
        Ok(())
    }

    async fn delete_group(
        &mut self,
        table: Table,
        tasks: &[&Task],
        members: &[usize],
        outcomes: &mut Outcomes,
    ) -> Result<()> {
        // Of several deletions of one key the first finds it.
        let mut first: HashMap<CacheKey, usize> = HashMap::with_capacity(members.len());
        for at in members {
            if let Some(Task::Delete(_, key)) = tasks.get(*at) {
                first.entry(*key).or_insert(*at);
            }
        }
        let keys: Vec<CacheKey> = first.keys().copied().collect();
        for (key, live) in self.delete_keys(table, &keys).await? {
            if let Some(at) = first.get(&key) {
                set(outcomes, *at, Ok(u64::from(live)));
            }
        }
        Ok(())
    }

    /// Removes the rows of some keys and says which were there, and whether they were live.
    async fn delete_keys(&mut self, table: Table, keys: &[CacheKey]) -> Result<Vec<(CacheKey, bool)>> {
        let hashes: Vec<i64> = keys.iter().map(hash_of).collect();
        let found = self.delete_rows(table, |rows| table.delete(rows), &hashes).await?;
        Ok(found.into_iter().filter_map(|(key, live)| Some((key?, live))).collect())
    }

    /// As [`delete_keys`](Self::delete_keys), by whatever numbers `text` takes. No key: the row's is none of ours.
    pub(crate) async fn delete_rows(
        &mut self,
        table: Table,
        text: impl Fn(usize) -> SqlStr,
        numbers: &[i64],
    ) -> Result<Vec<(Option<CacheKey>, bool)>> {
        let now = to_millis(self.shared.now());
        let mut found = Vec::new();
        for chunk in numbers.chunks(MAX_ROWS) {
            let mut query = sqlx::query(text(chunk.len()));
            for number in chunk {
                query = query.bind(*number);
            }
            let rows = query.fetch_all(&mut *self.connection).await?;
            self.count_removed(table, &rows).await?;
            for row in rows {
                let deadline: Option<i64> = row.try_get(2)?;
                let key = CacheKey::new(row.try_get(3)?).ok();
                found.push((key, deadline.is_none_or(|deadline| deadline > now)));
            }
        }
        Ok(found)
    }

    /// Takes removed rows, whose first columns are their length and their hash, off the counters, and their places with
    /// them; says what they counted against the bound.
    pub(crate) async fn count_removed(&mut self, table: Table, rows: &[SqliteRow]) -> Result<u64> {
        let mut sum = Totals::default();
        for chunk in rows.chunks(MAX_ROWS) {
            let mut bytes: i64 = 0;
            let mut hashes: Vec<Option<i64>> = Vec::with_capacity(padded(chunk.len()));
            for row in chunk {
                bytes = bytes.saturating_add(row.try_get(0)?);
                hashes.push(row.try_get(1)?);
            }
            hashes.resize(padded(chunk.len()), None);
            let mut query = sqlx::query(table.removed(chunk.len())).bind(signed(chunk.len() as u64)).bind(bytes);
            for hash in hashes.iter().chain(&hashes) {
                query = query.bind(*hash);
            }
            query.execute(&mut *self.connection).await?;
            *self.freed = true;
            sum.entries = sum.entries.saturating_add(chunk.len() as u64);
            sum.bytes = sum.bytes.saturating_add(unsigned(bytes));
        }
        Ok(sum.charge())
    }

    async fn one(&mut self, task: &Task) -> Result<u64> {
        match task {
            Task::Refresh(table, key, row) => self.refresh(*table, key, row).await,
            Task::Clear(table) => {
                sqlx::query(table.clear()).execute(&mut *self.connection).await?;
                *self.freed = true;
                Ok(0)
            }
            Task::DropDamaged(table, key, block) => {
                let query =
                    sqlx::query(table.delete_damaged()).bind(hash_of(key)).bind(key.to_string()).bind(block.to_vec());
                let rows = query.fetch_all(&mut *self.connection).await?;
                self.count_removed(*table, &rows).await?;
                Ok(0)
            }
            // The writer keeps the others to itself; writes and deletions are in groups.
            _ => Ok(0),
        }
    }

    async fn refresh(&mut self, table: Table, key: &CacheKey, row: &NewRow) -> Result<u64> {
        let now = to_millis(self.shared.now());
        let query = sqlx::query(table.look()).bind(hash_of(key)).bind(key.to_string()).bind(now);
        let Some(found) = query.fetch_optional(&mut *self.connection).await? else { return Ok(0) };
        let old_len: i64 = found.try_get(0)?;
        let prefix: &[u8] = found.try_get(1)?;
        if body_mark(prefix) != body_mark(&row.block) {
            // Another body came meanwhile: head and body belong together, so the whole entry is the later one.
            self.upsert(table, table.upsert(1), &[(*key, row)]).await?;
            return Ok(1);
        }
        let len = signed(row.len);
        let query = sqlx::query(table.refresh()).bind(hash_of(key)).bind(key.to_string()).bind(row.retain_until);
        query.bind(len).bind(row.used).bind(row.block.to_vec()).execute(&mut *self.connection).await?;
        if len != old_len {
            let query = sqlx::query(table.add()).bind(len.saturating_sub(old_len));
            query.execute(&mut *self.connection).await?;
        }
        Ok(1)
    }

    /// Removes up to [`MAX_ROWS`] dead rows.
    pub(crate) async fn expire(&mut self, table: Table, now: i64) -> Result<u64> {
        let rows = sqlx::query(table.expire()).bind(now).fetch_all(&mut *self.connection).await?;
        self.count_removed(table, &rows).await?;
        Ok(rows.len() as u64)
    }

    /// Writes down which entries were read since the last time.
    pub(crate) async fn fold_uses(&mut self) -> Result<()> {
        let uses = self.shared.uses.take();
        for table in [Table::Responses, Table::Redirects] {
            let of_table: Vec<_> = uses.iter().filter(|((of, _), _)| *of == table).collect();
            for chunk in of_table.chunks(MAX_ROWS) {
                let mut query = sqlx::query(table.touch(chunk.len()));
                for ((_, key), used) in chunk {
                    query = query.bind(hash_of(key)).bind(*used);
                }
                query.execute(&mut *self.connection).await?;
            }
        }
        Ok(())
    }
}

/// Removes what is dead in one table, a chunk to a transaction, so that other work is not held up.
pub(crate) async fn expire_chunk(batch: &mut Batch<'_>, table: Table, now: i64) -> Result<u64> {
    let result = async {
        batch.execute("BEGIN IMMEDIATE").await?;
        let removed = batch.expire(table, now).await?;
        batch.read_totals().await?;
        batch.execute("COMMIT").await?;
        Ok(removed)
    }
    .await;
    if result.is_err() {
        drop(sqlx::query("ROLLBACK").execute(&mut *batch.connection).await);
    }
    result
}

fn set(outcomes: &mut Outcomes, at: usize, outcome: Result<u64>) {
    if let Some(place) = outcomes.get_mut(at) {
        *place = outcome;
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Whether trying again after a while may help.
pub(crate) fn is_busy(error: &SqliteError) -> bool {
    error.fault() == Some(Fault::Busy)
}
