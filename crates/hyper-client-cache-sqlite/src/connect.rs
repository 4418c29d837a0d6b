//! Connections: how ours are opened, and the choice between ours and those of somebody's pool.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::config::Driver;
use crate::error::{Result, SqliteError};
use crate::schema::Patience;

/// How long SQLite itself waits for a lock on the writer's connection before the writer looks at its queue again.
const WRITER_WAIT: Duration = Duration::from_millis(5);

/// The page of a new database, in bytes: three of the usual entries fit where SQLite's default of 4,096 holds one and
/// wastes the rest, and half as many pages are written.
const PAGE_SIZE: u32 = 8192;

/// The pages in the journal from which on it is copied back into the database: 16 MiB. A page that several transactions
/// change is copied once, so fewer copies make many small writes cheaper; SQLite's own default is a quarter of it.
const CHECKPOINT_PAGES: &str = "2000";

/// The journal's size after a checkpoint, in bytes: a burst of writes does not leave a large file behind.
const JOURNAL_SIZE_LIMIT: &str = "17825792";

/// The writer's page cache, in KiB (negative means that): SQLite's own default. A large body that is stored in parts fills
/// it, so that more would be memory that grows with bodies.
const WRITER_CACHE: &str = "-2048";

/// Where connections come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(Arc<FileSource>),
    Pool(SqlitePool),
}

/// Connections of our own to one file.
#[derive(Clone)]
pub(crate) struct FileSource {
    pub(crate) path: PathBuf,
    options: SqliteConnectOptions,
    busy_timeout: Duration,
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource").field("path", &self.path).finish_non_exhaustive()
    }
}

impl FileSource {
    /// `options` are the user's; `fast_save` and what safety calls for go on top.
    pub(crate) fn new(
        path: &Path,
        options: SqliteConnectOptions,
        given: bool,
        fast_save: bool,
        busy_timeout: Duration,
    ) -> Self {
        let mut options = options
            .filename(path)
            .create_if_missing(false)
            .foreign_keys(false)
            .shared_cache(false)
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            // A file that others may cut must not be mapped: reading past its end would be a signal, not an error.
            .pragma("mmap_size", "0")
            // What a statement may have to undo is kept in memory: no contents in temporary files, and no time for them.
            .pragma("temp_store", "MEMORY")
            .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
            .disable_statement_logging();
        if fast_save {
            options = options.synchronous(SqliteSynchronous::Off);
        } else if !given {
            options = options.synchronous(SqliteSynchronous::Normal);
        }
        if !given {
            options = options.page_size(PAGE_SIZE);
        }
        Self { path: path.to_owned(), options, busy_timeout }
    }

    /// For reading alone, while a writer is there (so that the journal exists).
    pub(crate) async fn reader(&self) -> Result<SqliteConnection> {
        let patience = Patience::new();
        let options = self.options.clone().read_only(true).busy_timeout(self.busy_timeout);
        loop {
            match options.connect().await.map_err(SqliteError::from) {
                Err(error) if patience.allows(&error) => {}
                outcome => return outcome,
            }
        }
    }

    /// For reading a file that nobody can write: no journal can be made beside it, so none is looked for.
    pub(crate) async fn immutable_reader(&self) -> Result<SqliteConnection> {
        Ok(self.options.clone().read_only(true).immutable(true).connect().await?)
    }

    /// For writing.
    pub(crate) async fn writer(&self) -> Result<SqliteConnection> {
        let options = self.options.clone().read_only(false).busy_timeout(WRITER_WAIT);
        let options = options.pragma("wal_autocheckpoint", CHECKPOINT_PAGES).pragma("cache_size", WRITER_CACHE);
        Ok(options.connect().await?)
    }
}

/// A connection, ours or lent.
#[derive(Debug)]
pub(crate) enum Conn {
    Own(SqliteConnection),
    Lent(PoolConnection<Driver>),
}

impl Conn {
    pub(crate) fn sqlite(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Own(connection) => connection,
            Self::Lent(connection) => connection,
        }
    }

    /// Whether the connection goes back where it came from after each use.
    pub(crate) const fn is_lent(&self) -> bool {
        matches!(self, Self::Lent(_))
    }

    /// Waits until the connection's thread has let go of the file.
    pub(crate) async fn close(self) {
        if let Self::Own(connection) = self {
            drop(connection.close().await);
        }
    }
}
