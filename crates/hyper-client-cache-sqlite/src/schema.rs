//! The tables, how they are made, and how a file is recognised as ours.
//!
//! A database is ours when its application id says so and its schema is, to the letter, the one that we make: no
//! trigger, no view, no further table, because a file may have been put there by somebody else (case 111).
//! `PRAGMA user_version` is the version of the schema; an older one is replaced in one transaction, so that a killed
//! migration never happened and the second of two processes finds nothing to do.

use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::error::{Fault, Result, SqliteError};

/// `hcc1` in ASCII: what `file(1)` and we recognise the database by.
pub(crate) const APPLICATION_ID: i64 = 0x6863_6331;

/// The schema that this code reads and writes.
pub(crate) const VERSION: i64 = 3;

/// What leads from a version to none: the objects of versions 1 and 2, which had no places, go with what is in them.
///
/// The triggers of a table go with it and do not run.
const DROP_SQL: [&str; 4] = [
    "DROP TABLE IF EXISTS usage",
    "DROP TABLE IF EXISTS responses",
    "DROP TABLE IF EXISTS redirects",
    "DROP TABLE IF EXISTS bodies",
];

/// The objects of the current version, as SQLite keeps their text.
///
/// Rows lie in the order in which they came, because entries are large: ordered by key, one would be alone on a page, and
/// each new one would go to another page. They are found by `hash`, 64 bits of their key
/// ([`hash_of`](crate::sql::hash_of)), which is as good as random: each new one would change another page of an index.
/// So their places, from a hash to a row, are in two tables: the last few thousand in a small one, whose pages are shared
/// by the rows of one transaction, and from there they are put to the others all at once and in their order
/// ([`RECENT`](crate::batch::RECENT)). `usage.last` is the greatest id that was ever given to a row, `usage.settled` what
/// it was when that was last done. The deadline's index covers `len`, so that counting the dead reads no row. Parts are
/// also found by key, because those of one body go together.
const OBJECTS_SQL: [&str; 16] = [
    "CREATE TABLE usage (store TEXT NOT NULL PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL, last INTEGER \
     NOT NULL, settled INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE responses (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, key TEXT NOT NULL, retain_until INTEGER, len \
     INTEGER NOT NULL, used INTEGER NOT NULL, block BLOB NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE redirects (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, key TEXT NOT NULL, retain_until INTEGER, len \
     INTEGER NOT NULL, used INTEGER NOT NULL, block BLOB NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE bodies (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, key TEXT NOT NULL, retain_until INTEGER, len \
     INTEGER NOT NULL, used INTEGER NOT NULL, block BLOB NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE responses_places (hash INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT",
    "CREATE TABLE redirects_places (hash INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT",
    "CREATE TABLE bodies_places (hash INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT",
    "CREATE TABLE responses_recent (hash INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT",
    "CREATE TABLE redirects_recent (hash INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT",
    "CREATE TABLE bodies_recent (hash INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT",
    "CREATE INDEX bodies_key ON bodies (key)",
    "CREATE INDEX responses_deadline ON responses (retain_until, len) WHERE retain_until IS NOT NULL",
    "CREATE INDEX redirects_deadline ON redirects (retain_until, len) WHERE retain_until IS NOT NULL",
    "CREATE INDEX bodies_deadline ON bodies (retain_until, len) WHERE retain_until IS NOT NULL",
    "CREATE INDEX responses_used ON responses (used)",
    "CREATE INDEX redirects_used ON redirects (used)",
];

/// One row of counters for each table.
const COUNTERS_SQL: &str =
    "INSERT INTO usage VALUES ('responses', 0, 0, 0, 0), ('redirects', 0, 0, 0, 0), ('bodies', 0, 0, 0, 0)";

/// How long opening waits for others that open or make the same database.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a database turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ours and current.
    Ours,
    /// Empty, or ours and of an older version: to be brought to the current one.
    Older,
    /// Ours, of a version that we do not know.
    Newer(i64),
    /// Somebody else's.
    Foreign,
    /// It says that it is ours, and its schema is not: damaged or hostile.
    Broken,
}

/// Refuses a library that can corrupt a database in WAL mode (case 140).
pub(crate) async fn check_library(connection: &mut SqliteConnection) -> Result<()> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection).await?;
    if is_safe(&version) { Ok(()) } else { Err(SqliteError::OldLibrary { version }) }
}

/// Looks at a database without changing it.
///
/// In one transaction: somebody may be making it a cache at this moment, and half of that looks like a stranger's.
pub(crate) async fn judge(connection: &mut SqliteConnection) -> Result<Verdict> {
    sqlx::query("BEGIN").execute(&mut *connection).await?;
    let verdict = judge_snapshot(connection).await;
    // It has changed nothing, so there is nothing to keep.
    sqlx::query("ROLLBACK").execute(connection).await?;
    verdict
}

async fn judge_snapshot(connection: &mut SqliteConnection) -> Result<Verdict> {
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    if application == APPLICATION_ID && version > VERSION {
        return Ok(Verdict::Newer(version));
    }
    let found = objects(connection).await?;
    Ok(match (application, version) {
        (APPLICATION_ID, VERSION) if is_current(&found) => Verdict::Ours,
        (APPLICATION_ID, VERSION) => Verdict::Broken,
        (APPLICATION_ID, 1..) => Verdict::Older,
        // A file that was made and then left, perhaps because the process was killed.
        (APPLICATION_ID | 0, 0) if found.is_empty() => Verdict::Older,
        (APPLICATION_ID, _) => Verdict::Broken,
        _ => Verdict::Foreign,
    })
}

/// Brings an empty or older database to the current version.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    match replace_objects(connection).await {
        Ok(()) => sqlx::query("COMMIT").execute(connection).await.map(drop).map_err(SqliteError::from),
        Err(error) => {
            drop(sqlx::query("ROLLBACK").execute(connection).await);
            Err(error)
        }
    }
}

async fn replace_objects(connection: &mut SqliteConnection) -> Result<()> {
    // Asked again under the lock: another process may have been faster.
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    if version >= VERSION {
        return Ok(());
    }
    let older = if version > 0 { &DROP_SQL[..] } else { &[] };
    for text in older.iter().chain(&OBJECTS_SQL) {
        sqlx::query(*text).execute(&mut *connection).await?;
    }
    sqlx::query(COUNTERS_SQL).execute(&mut *connection).await?;
    // Both are part of the transaction. The texts are constants, because a pragma takes no parameter.
    sqlx::query("PRAGMA application_id = 1751343921").execute(&mut *connection).await?;
    sqlx::query("PRAGMA user_version = 3").execute(&mut *connection).await?;
    Ok(())
}

/// Trying again while the database is locked, for at most ten seconds.
///
/// Opening may wait longer than a request: it is done once, and each process holds the lock for milliseconds. It is
/// SQLite's thread that sleeps in between, so that no timer is needed.
#[derive(Debug)]
pub(crate) struct Patience(Instant);

impl Patience {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Whether what failed with `error` should be tried again.
    pub(crate) fn allows(&self, error: &SqliteError) -> bool {
        error.fault() == Some(Fault::Busy) && self.0.elapsed() < PATIENCE
    }
}

/// Each object of the schema but SQLite's own.
async fn objects(connection: &mut SqliteConnection) -> Result<Vec<String>> {
    let rows = sqlx::query("SELECT type, name, sql FROM sqlite_schema").fetch_all(connection).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let name: String = row.try_get(1)?;
        let text: Option<String> = row.try_get(2)?;
        match text {
            // What `ANALYZE` leaves behind, which only guides the planner.
            Some(_) if name.starts_with("sqlite_stat") => {}
            Some(text) => found.push(text),
            // The index of a primary key has no text.
            None if name.starts_with("sqlite_autoindex_") => {}
            None => found.push(name),
        }
    }
    Ok(found)
}

fn is_current(found: &[String]) -> bool {
    found.len() == OBJECTS_SQL.len() && OBJECTS_SQL.iter().all(|text| found.iter().any(|found| found == text))
}

/// 3.7.0 to 3.51.2 may corrupt a database when a WAL is reset; the correction went to two older lines as well.
fn is_safe(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version {
        (3, 44, patch) => patch >= 6,
        (3, 50, patch) => patch >= 7,
        _ => version >= (3, 51, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Table;

    /// Case 140: the library's version decides, by line.
    #[test]
    fn libraries_that_corrupt_databases_are_refused() {
        for safe in ["3.51.3", "3.53.0", "3.54.1", "3.50.7", "3.50.12", "3.44.6", "4.0.0"] {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_one in ["3.51.2", "3.50.6", "3.49.9", "3.44.5", "3.40.1", "3.7.0", "", "x"] {
            assert!(!is_safe(unsafe_one), "{unsafe_one}");
        }
    }

    /// What each step of each statement in a text does to find its rows.
    async fn plan_of(connection: &mut SqliteConnection, text: sqlx::SqlStr) -> Vec<String> {
        let mut steps = Vec::new();
        for text in text.as_str().split("; ").filter(|text| !text.starts_with("BEGIN") && *text != "COMMIT") {
            let text = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
            let rows = sqlx::query(text).fetch_all(&mut *connection).await.unwrap();
            steps.extend(rows.iter().map(|row| row.get::<String, _>(3)));
        }
        steps
    }

    /// Rule S6, and counts that cost what the dead cost: no statement that is asked at every size reads a whole table.
    #[tokio::test]
    async fn no_statement_reads_a_whole_table() {
        use sqlx::ConnectOptions;
        let options = sqlx::sqlite::SqliteConnectOptions::new().in_memory(true);
        let mut connection = options.connect().await.unwrap();
        migrate(&mut connection).await.unwrap();
        assert_eq!(judge(&mut connection).await.unwrap(), Verdict::Ours);
        for table in Table::ALL {
            let name = table.name();
            let texts = [
                table.upsert(1),
                table.upsert_and_commit(100),
                table.expire(),
                table.size(),
                table.bytes(),
                table.read(),
                table.read_many(100),
                table.delete(100),
                table.evict(100),
                table.removed(100),
                table.touch(100),
                table.held(100),
                table.block(),
                table.look(),
                table.refresh(),
                table.keys(),
                table.heads(),
                table.delete_damaged(),
                table.hashes(),
                table.last(),
                table.after(),
            ];
            let of_parts = (table == Table::Bodies).then(|| table.delete_range());
            for text in texts.into_iter().chain(of_parts) {
                for step in plan_of(&mut connection, text.clone()).await {
                    // The last rows, and from a row on, are few; so are the last places.
                    let whole = step.starts_with(&format!("SCAN {name}")) && text != table.last();
                    assert!(!whole, "{}: {step}", text.as_str());
                    assert!(!step.contains("AUTOMATIC"), "{}: {step}", text.as_str());
                }
            }
            // Counting the dead reads the index alone.
            for text in [table.size(), table.bytes()] {
                let plan = plan_of(&mut connection, text).await;
                assert!(plan.iter().any(|step| step.contains(&format!("COVERING INDEX {name}_deadline"))), "{plan:?}");
            }
        }
        for table in [Table::Responses, Table::Redirects] {
            // All hashes are read without their rows, and in their order as they lie.
            let plan = plan_of(&mut connection, table.hashes()).await;
            let of_rows = |step: &String| step.contains(&format!("{} ", table.name())) || step.contains("ORDER BY");
            assert!(!plan.iter().any(of_rows), "{plan:?}");
            let plan = plan_of(&mut connection, table.oldest()).await;
            assert_eq!(plan, [format!("SCAN {0} USING INDEX {0}_used", table.name())]);
        }
    }

    #[test]
    fn the_numbers_in_the_pragmas_are_the_constants() {
        assert_eq!(APPLICATION_ID, 1_751_343_921);
        assert_eq!(VERSION, 3);
    }
}
