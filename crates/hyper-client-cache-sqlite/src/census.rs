//! How the writer's task knows the hashes of all rows, so that [`absent`](crate::absent) may answer.
//!
//! - What this process writes is added before it is committed, by the task that commits it.
//! - What others write shows in `PRAGMA data_version`. Nothing is answered from then on until their rows are added: a
//!   row that is inserted gets a number after all that there were, so they are those after the last rows that were seen.
//!   But somebody may put a file back to what it once was; so of the last rows one at least must still be there as it
//!   was. Otherwise all rows are counted anew.
//! - What is removed stays in the set until all rows are counted anew: one look-up more in the database.
//! - All rows are counted in the order of their hashes, a chunk at a time between other work. Each chunk is read from both
//!   tables of places at once, so that it does not matter when a place goes from one to the other. What is inserted
//!   meanwhile is noticed like anything else: the last rows are noted first.
//!
//! Nothing of this happens before a look-up could have used it, and at most one count is begun for each look at the
//! version.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::absent::Absent;
use crate::bloom::Bloom;
use crate::error::{Result, SqliteError};
use crate::queue::Task;
use crate::rows::signed;
use crate::sql::{self, Table, hash_of};

/// The tables that a look-up asks.
const TABLES: [Table; 2] = [Table::Responses, Table::Redirects];

/// How many hashes are read at once: about a millisecond.
const CHUNK: i64 = 4096;

/// How many new rows are read at once.
const NEW: usize = 1024;

/// How many of the last rows are remembered.
const LAST: usize = 32;

/// What the task knows.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// The most bytes of a set; too few for any: there is none.
    limit: u64,
    /// The set, from the end of the first count on.
    rows: Option<Arc<Bloom>>,
    /// The last rows of each table that are in it.
    last: [Vec<Seen>; 2],
    count: Option<Count>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// All rows have to be counted.
    #[default]
    Unknown,
    /// Others have written since.
    Behind,
    /// The set answers.
    Current,
}

/// A count of all rows.
#[derive(Debug)]
struct Count {
    rows: Arc<Bloom>,
    last: [Vec<Seen>; 2],
    /// The tables to go, and the least hash that was not looked at in the first of them.
    tables: &'static [Table],
    from: i64,
}

/// A row as it was seen: another under the same number is another one in its hash or in the checksums of its block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    row: i64,
    hash: i64,
    block: Vec<u8>,
}

impl Census {
    /// With sets of at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Adds the rows that `tasks` may make. Before they are committed.
    pub(crate) fn add(&self, tasks: &[&Task]) {
        let counting = self.count.as_ref().map(|count| &count.rows);
        if self.rows.is_none() && counting.is_none() {
            return;
        }
        for task in tasks {
            if let Task::Write(table, key, _) | Task::Refresh(table, key, _) = task
                && TABLES.contains(table)
            {
                let hash = hash_of(key).cast_unsigned();
                for rows in self.rows.iter().chain(counting) {
                    rows.insert(hash);
                }
            }
        }
    }

    /// Others have written, or may have. Before anybody may ask again.
    pub(crate) fn others_wrote(&mut self, absent: &Absent) {
        absent.set(None);
        if self.state == State::Current {
            self.state = State::Behind;
        }
    }

    /// Nothing is known any more: another file is there.
    pub(crate) fn forget(&mut self, absent: &Absent) {
        absent.set(None);
        *self = Self::new(self.limit);
    }

    /// What is to be done right after a look at the version: new rows are added, or a count is begun.
    pub(crate) async fn look(&mut self, connection: &mut SqliteConnection, absent: &Absent) {
        let outcome = match self.state {
            State::Current if self.rows.as_ref().is_none_or(|rows| rows.is_full()) => self.begin(connection).await,
            State::Unknown if absent.is_wanted() => self.begin(connection).await,
            _ => Ok(()),
        };
        self.check(outcome, absent);
        self.go_on(connection, absent).await;
    }

    /// Whether [`go_on`](Self::go_on) has something to do.
    pub(crate) fn is_busy(&self, absent: &Absent) -> bool {
        self.count.is_some() || (self.state == State::Behind && absent.is_wanted())
    }

    /// Does a piece of what is to be done.
    pub(crate) async fn go_on(&mut self, connection: &mut SqliteConnection, absent: &Absent) {
        let outcome = if self.count.is_some() {
            self.count_some(connection, absent).await
        } else if self.is_busy(absent) {
            self.catch_up(connection, absent).await
        } else {
            Ok(())
        };
        self.check(outcome, absent);
    }

    /// Where the database fails nothing is known: whoever else uses it finds out why.
    fn check(&mut self, outcome: Result<()>, absent: &Absent) {
        if let Err(error) = outcome {
            tracing::debug!(%error, "absent keys are not known");
            self.forget(absent);
        }
    }

    async fn begin(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        if self.limit < Bloom::SMALLEST || self.count.is_some() {
            return Ok(());
        }
        let row = sqlx::query(sql::ENTRIES).fetch_one(&mut *connection).await?;
        let expected = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
        // Where there are too many a set that is full goes on.
        let Some(rows) = Bloom::new(expected, self.limit) else { return Ok(()) };
        let mut last = <[Vec<Seen>; 2]>::default();
        for (table, last) in TABLES.into_iter().zip(&mut last) {
            let found = sqlx::query(table.last()).bind(signed(LAST as u64)).fetch_all(&mut *connection).await?;
            *last = found.iter().rev().map(Seen::new).collect::<Result<_>>()?;
        }
        self.count = Some(Count { rows: Arc::new(rows), last, tables: &TABLES, from: i64::MIN });
        Ok(())
    }

    /// Counts a chunk; at the end of the count new rows are to be added.
    async fn count_some(&mut self, connection: &mut SqliteConnection, absent: &Absent) -> Result<()> {
        let Some(count) = &mut self.count else { return Ok(()) };
        if let Some((table, others)) = count.tables.split_first() {
            let row = sqlx::query(table.hashes()).bind(count.from).bind(CHUNK).fetch_one(connection).await?;
            let hashes: Option<&str> = row.try_get(0)?;
            let mut greatest = None;
            let mut found: i64 = 0;
            for hash in hashes.unwrap_or_default().split(' ').filter_map(|hash| hash.parse::<i64>().ok()) {
                count.rows.insert(hash.cast_unsigned());
                greatest = greatest.max(Some(hash));
                found = found.saturating_add(1);
            }
            match greatest.and_then(|hash| hash.checked_add(1)) {
                Some(next) if found >= CHUNK => count.from = next,
                _ => (count.tables, count.from) = (others, i64::MIN),
            }
        }
        if count.tables.is_empty()
            && let Some(count) = self.count.take()
        {
            tracing::debug!(bytes = count.rows.bytes(), "absent keys are known");
            (self.rows, self.last, self.state) = (Some(count.rows), count.last, State::Behind);
            // What is written from here on is not added to a smaller set that still answers. The rest follows at once.
            absent.set(None);
            absent.want();
        }
        Ok(())
    }

    /// Adds some of the rows that others have inserted.
    async fn catch_up(&mut self, connection: &mut SqliteConnection, absent: &Absent) -> Result<()> {
        let Some(set) = self.rows.clone() else { return Ok(()) };
        for (table, last) in TABLES.into_iter().zip(&mut self.last) {
            // Few rows are all there were: then all that are there are read.
            let all = last.len() < LAST;
            let from = last.first().filter(|_| !all).map_or(i64::MIN, |seen| seen.row);
            let rows =
                sqlx::query(table.after()).bind(from).bind(signed(NEW as u64)).fetch_all(&mut *connection).await?;
            let rows = rows.iter().map(Seen::new).collect::<Result<Vec<_>>>()?;
            if !all && !rows.iter().any(|row| last.contains(row)) {
                // Not even of the rows before is anything certain.
                self.forget(absent);
                return Ok(());
            }
            rows.iter().for_each(|row| set.insert(row.hash.cast_unsigned()));
            let more = rows.len() >= NEW;
            *last = rows.into_iter().rev().take(LAST).rev().collect();
            if more {
                return Ok(());
            }
        }
        self.state = State::Current;
        absent.set(Some(set));
        Ok(())
    }
}

impl Seen {
    fn new(row: &sqlx::sqlite::SqliteRow) -> Result<Self> {
        Ok::<_, SqliteError>(Self { row: row.try_get(0)?, hash: row.try_get(1)?, block: row.try_get(2)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::NewRow;
    use crate::rows::bind_rows;
    use crate::schema;
    use hyper_client_cache_core::storage::{CacheKey, Entry};
    use sqlx::ConnectOptions;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

    /// A database, the connection that counts, and one that is another process's.
    struct Two {
        _folder: tempfile::TempDir,
        own: SqliteConnection,
        other: SqliteConnection,
        absent: Absent,
        census: Census,
        inserted: u32,
    }

    impl Two {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let options = SqliteConnectOptions::new()
                .filename(folder.path().join("x.sqlite"))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal);
            let (mut own, other) = (options.connect().await.unwrap(), options.connect().await.unwrap());
            schema::migrate(&mut own).await.unwrap();
            Self { _folder: folder, own, other, absent: Absent::default(), census: Census::new(1 << 20), inserted: 0 }
        }

        /// What a look finds, and what is done after it until nothing is left to do.
        async fn look(&mut self, others_wrote: bool) {
            if others_wrote {
                self.census.others_wrote(&self.absent);
            }
            self.absent.want();
            self.census.look(&mut self.own, &self.absent).await;
            while self.census.is_busy(&self.absent) {
                self.census.go_on(&mut self.own, &self.absent).await;
            }
        }

        /// As many looks as it takes until absent keys are known.
        async fn know(&mut self, others_wrote: bool) {
            self.look(others_wrote).await;
            self.look(false).await;
            assert!(self.absent.says(&key("never-there")).is_some());
        }

        async fn by_other(&mut self, text: String) {
            sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut self.other).await.unwrap();
        }

        async fn insert_by_other(&mut self, table: Table, names: impl Iterator<Item = String>) {
            sqlx::query("BEGIN").execute(&mut self.other).await.unwrap();
            for name in names {
                // The head makes a block of its own each time, as `randomblob` does.
                self.inserted = self.inserted.saturating_add(1);
                let row = NewRow::new(Entry::new(self.inserted.to_string(), ""), 1);
                let rows = [(key(&name), &row)];
                bind_rows(table.upsert(1), &rows).execute(&mut self.other).await.unwrap();
            }
            sqlx::query("COMMIT").execute(&mut self.other).await.unwrap();
        }

        /// Removes rows as it is done by others: with their places.
        async fn delete_by_other(&mut self, table: Table, condition: String) {
            let name = table.name();
            sqlx::query("BEGIN").execute(&mut self.other).await.unwrap();
            self.by_other(format!("DELETE FROM {name} WHERE {condition}")).await;
            for kind in ["recent", "places"] {
                let rows = format!("SELECT id FROM {name}");
                self.by_other(format!("DELETE FROM {name}_{kind} WHERE id NOT IN ({rows})")).await;
            }
            sqlx::query("COMMIT").execute(&mut self.other).await.unwrap();
        }

        async fn settle_by_other(&mut self, table: Table) {
            sqlx::query(table.settle()).execute(&mut self.other).await.unwrap();
        }

        /// No row that is there is said to be absent.
        async fn check(&mut self) {
            for table in TABLES {
                let text = format!("SELECT key FROM {}", table.name());
                for row in sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut self.other).await.unwrap() {
                    let name: String = row.get(0);
                    assert_eq!(self.absent.says(&key(&name)), Some(false), "{name}");
                }
            }
        }
    }

    fn key(name: &str) -> CacheKey {
        CacheKey::new(name).unwrap()
    }

    fn names(name: &str, number: usize) -> impl Iterator<Item = String> {
        (0..number).map(move |at| format!("{name}-{at}"))
    }

    #[tokio::test]
    async fn nothing_is_counted_before_somebody_asks() {
        let mut two = Two::new().await;
        two.census.others_wrote(&two.absent);
        two.census.look(&mut two.own, &two.absent).await;
        assert!(!two.census.is_busy(&two.absent));
        assert_eq!(two.absent.says(&key("x")), None);
        assert!(two.absent.want());
        assert!(!two.absent.want(), "asked for once");
        two.know(false).await;
        assert_eq!(two.absent.says(&key("x")), Some(true));
    }

    #[tokio::test]
    async fn rows_of_both_tables_are_known_however_many() {
        let mut two = Two::new().await;
        two.insert_by_other(Table::Responses, names("response", 2 * 4096)).await;
        two.insert_by_other(Table::Redirects, names("redirect", 4096 + 1)).await;
        two.know(true).await;
        two.check().await;
        assert!(names("absent", 100).filter(|name| two.absent.says(&key(name)) == Some(true)).count() > 90);
    }

    #[tokio::test]
    async fn what_is_about_to_be_committed_is_not_absent() {
        let mut two = Two::new().await;
        two.know(true).await;
        let write = |name| Task::Write(Table::Responses, key(name), NewRow::new(Entry::new("", ""), 0));
        two.census.add(&[&write("before")]);
        assert_eq!(two.absent.says(&key("before")), Some(false));
        // Also while all rows are counted anew.
        two.census.begin(&mut two.own).await.unwrap();
        two.census.add(&[&write("meanwhile")]);
        two.know(false).await;
        assert_eq!(two.absent.says(&key("meanwhile")), Some(false));
        assert_eq!(two.absent.says(&key("before")), Some(true), "it was never committed");
    }

    #[tokio::test]
    async fn nothing_is_answered_between_a_write_by_others_and_its_discovery() {
        let mut two = Two::new().await;
        two.know(true).await;
        two.insert_by_other(Table::Responses, names("new", 5000)).await;
        two.census.others_wrote(&two.absent);
        assert_eq!(two.absent.says(&key("x")), None);
        two.look(false).await;
        two.check().await;
        assert_eq!(two.absent.says(&key("x")), Some(true));
    }

    #[tokio::test]
    async fn what_others_insert_during_a_count_is_known_after_it() {
        let mut two = Two::new().await;
        two.insert_by_other(Table::Responses, names("old", 3 * 4096)).await;
        two.absent.want();
        two.census.look(&mut two.own, &two.absent).await;
        assert!(two.census.is_busy(&two.absent));
        two.insert_by_other(Table::Responses, names("new", 2000)).await;
        two.know(true).await;
        two.check().await;
    }

    /// Each chunk is read from both tables of places, which others change between two chunks.
    #[tokio::test]
    async fn places_that_are_put_to_the_others_during_a_count_are_known_after_it() {
        let mut two = Two::new().await;
        for round in 0..6 {
            two.insert_by_other(Table::Responses, names(&format!("round-{round}"), 4096)).await;
            two.absent.want();
            two.census.forget(&two.absent);
            two.census.look(&mut two.own, &two.absent).await;
            for _ in 0..round {
                two.census.go_on(&mut two.own, &two.absent).await;
            }
            two.settle_by_other(Table::Responses).await;
            two.know(true).await;
            two.check().await;
        }
    }

    /// Numbers of rows are used again where somebody puts the file back to what it was; `VACUUM` leaves them as they are.
    #[tokio::test]
    async fn numbers_that_are_used_again_hide_nothing() {
        let mut two = Two::new().await;
        two.insert_by_other(Table::Responses, names("old", 500)).await;
        two.know(true).await;
        two.delete_by_other(Table::Responses, "id > 300".into()).await;
        two.by_other("UPDATE usage SET last = 300".into()).await;
        two.insert_by_other(Table::Responses, names("new", 300)).await;
        two.know(true).await;
        two.check().await;
        two.delete_by_other(Table::Responses, "id % 2 = 0".into()).await;
        two.by_other("VACUUM".into()).await;
        two.insert_by_other(Table::Responses, names("newer", 400)).await;
        two.know(true).await;
        two.check().await;
        two.delete_by_other(Table::Responses, "TRUE".into()).await;
        two.by_other("UPDATE usage SET last = 0".into()).await;
        two.insert_by_other(Table::Responses, names("other", 499).chain(["newer-399".to_owned()])).await;
        two.know(true).await;
        two.check().await;
    }

    /// Whatever others do, after the look that finds it no row is absent.
    #[tokio::test]
    async fn no_order_of_changes_hides_a_row() {
        let mut two = Two::new().await;
        let mut state: u64 = 7;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for round in 0..150 {
            for _ in 0..=random(3) {
                let table = if random(3) == 0 { Table::Redirects } else { Table::Responses };
                let name = table.name();
                match random(10) {
                    0 => two.delete_by_other(table, format!("id > {}", random(200))).await,
                    1 => two.delete_by_other(table, format!("id % 3 = {}", random(3))).await,
                    2 if random(4) == 0 => two.by_other("VACUUM".into()).await,
                    3 if random(4) == 0 => two.delete_by_other(table, "TRUE".into()).await,
                    4 => two.by_other(format!("UPDATE {name} SET block = randomblob(40) WHERE id > 20")).await,
                    5 => {
                        // As it once was.
                        let last = format!("UPDATE usage SET last = coalesce((SELECT max(id) FROM {name}), 0)");
                        two.by_other(format!("{last} WHERE store = '{name}'")).await;
                    }
                    6 => two.settle_by_other(table).await,
                    _ => {
                        let (from, number) = (random(400), random(70));
                        two.insert_by_other(table, (from..from + number).map(|at| format!("key-{at}"))).await;
                    }
                }
            }
            two.know(true).await;
            two.check().await;
            assert_eq!(two.absent.says(&key(&format!("absent-{round}"))), Some(true));
        }
    }

    #[tokio::test]
    async fn a_set_that_is_full_is_made_anew() {
        let mut two = Two::new().await;
        two.know(true).await;
        let bytes = |two: &Two| two.census.rows.as_ref().unwrap().bytes();
        assert_eq!(bytes(&two), Bloom::SMALLEST);
        two.insert_by_other(Table::Responses, names("new", 20_000)).await;
        two.by_other("UPDATE usage SET entries = 20000 WHERE store = 'responses'".into()).await;
        two.know(true).await;
        two.know(false).await;
        two.check().await;
        assert!(bytes(&two) > Bloom::SMALLEST);
    }

    #[tokio::test]
    async fn where_it_cannot_be_told_it_is_not_known() {
        let mut two = Two::new().await;
        two.know(true).await;
        two.census.forget(&two.absent);
        assert_eq!(two.absent.says(&key("x")), None);
        two.by_other("DROP TABLE redirects".into()).await;
        two.look(true).await;
        assert_eq!(two.absent.says(&key("x")), None);
        assert!(!two.census.is_busy(&two.absent));
        // Nor where there is no room for it.
        let mut two = Two::new().await;
        two.census = Census::new(1000);
        two.look(true).await;
        assert_eq!(two.absent.says(&key("x")), None);
    }
}
