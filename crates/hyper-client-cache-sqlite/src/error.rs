//! What can go wrong in this backend, told apart by SQLite's result codes, and the one conversion into the public
//! error.
//!
//! Classified where it happens: [`Fault`] says what to do about it (wait, reopen, set the file aside), the conversion
//! at the end only what to tell the caller.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_client_cache_core::{Error, ErrorKind};

/// An error of this backend before it becomes a public one.
#[derive(Clone, Debug)]
pub(crate) enum SqliteError {
    /// A setting is impossible: which, why, and what to do.
    Setting(String),
    /// The path cannot be used: which, and why.
    Path { path: PathBuf, why: String },
    /// The file is a healthy database of another program.
    Foreign { path: PathBuf },
    /// The file was written by a newer version of this crate.
    Newer { path: PathBuf, found: i64, known: i64 },
    /// The file says that it is ours, and its tables are not.
    Broken,
    /// The SQLite library is one that corrupts databases.
    OldLibrary { version: String },
    /// Somebody else held the write lock for longer than the budget.
    Busy,
    /// All connections that read were in use for too long.
    Crowded,
    /// The entry, or the entries written together, cannot fit.
    TooLarge { len: u64, limit: u64 },
    /// The cache was opened for reading only.
    ReadOnly,
    /// The storage was closed.
    Closed,
    /// The writer's task is gone, with the runtime that it ran in.
    WriterGone,
    /// The driver or SQLite failed.
    Driver { fault: Fault, source: Arc<sqlx::Error> },
    /// A file operation beside SQLite failed.
    Io { what: &'static str, source: Arc<std::io::Error> },
}

/// What a result code of SQLite calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Somebody else has the lock: wait, then try again.
    Busy,
    /// The file is damaged or no database: set it aside.
    Corrupt,
    /// The file was moved or removed under us: open what is there now.
    Moved,
    /// There is no room left.
    Full,
    /// The file or its folder may not be written.
    ReadOnly,
    /// The file cannot be opened.
    CannotOpen,
    /// Anything else.
    Other,
}

impl SqliteError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, source: Arc::new(source) }
    }

    pub(crate) fn path(path: &Path, why: impl Into<String>) -> Self {
        Self::Path { path: path.to_owned(), why: why.into() }
    }

    pub(crate) const fn fault(&self) -> Option<Fault> {
        match self {
            Self::Driver { fault, .. } => Some(*fault),
            Self::Busy => Some(Fault::Busy),
            Self::Broken => Some(Fault::Corrupt),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for SqliteError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        let fault = match code {
            // Our statements name our tables only: this is another file, put in place of the one that was checked.
            Some(1) if error.to_string().contains("no such table") => Fault::Moved,
            // A sum of ours: no rows are so many.
            Some(1) if error.to_string().contains("integer overflow") => Fault::Corrupt,
            Some(code) => fault_of(code),
            None => Fault::Other,
        };
        Self::Driver { fault, source: Arc::new(error) }
    }
}

/// Extended codes have the primary code in their low byte: <https://www.sqlite.org/rescode.html>.
const fn fault_of(code: u32) -> Fault {
    const READONLY_DBMOVED: u32 = 1032;
    const IOERR_SHORT_READ: u32 = 522;
    const IOERR_DELETE_NOENT: u32 = 5898;
    const CONSTRAINT_DATATYPE: u32 = 3091;
    match code {
        READONLY_DBMOVED => Fault::Moved,
        // A page beyond the end of the file: somebody cut it.
        IOERR_SHORT_READ => Fault::Corrupt,
        // Our statements bind what the columns take: a counter in the file has become more than an integer holds.
        CONSTRAINT_DATATYPE => Fault::Corrupt,
        // Two connections let go of the journal at once.
        IOERR_DELETE_NOENT => Fault::Busy,
        _ => match code & 0xFF {
            5 | 6 => Fault::Busy,
            8 => Fault::ReadOnly,
            // 20: our statements mix no types, so a number in the file is beyond what rows can be counted with.
            11 | 20 | 26 => Fault::Corrupt,
            13 => Fault::Full,
            14 => Fault::CannotOpen,
            _ => Fault::Other,
        },
    }
}

impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(why) => f.write_str(why),
            Self::Path { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Foreign { path } => write!(
                f,
                "{} is a database of another program: choose another path; the file was not touched",
                path.display()
            ),
            Self::Newer { path, found, known } => write!(
                f,
                "{} has schema version {found}, this program knows {known}: update the program or choose another \
                 path; the file was not touched",
                path.display()
            ),
            Self::Broken => f.write_str("the database's tables are not those of a cache"),
            Self::OldLibrary { version } => write!(
                f,
                "SQLite {version} can corrupt databases in WAL mode: link 3.51.3 or newer (the bundled one is), \
                 or 3.50.7, or 3.44.6"
            ),
            Self::Busy => f.write_str("the database is locked by another process"),
            Self::Crowded => f.write_str(
                "all connections that read were in use for a second: are there reads that were begun and neither polled to \
                 their end nor dropped?",
            ),
            Self::TooLarge { len, limit } => write!(f, "{len} bytes, and {limit} is the most"),
            Self::ReadOnly => f.write_str("the database is open for reading only"),
            Self::Closed => f.write_str("sqlite"),
            Self::WriterGone => f.write_str("the runtime in which the cache was opened has ended"),
            Self::Driver { fault, .. } => f.write_str(match fault {
                Fault::Busy => "the database is locked by another process",
                Fault::Corrupt => "the database file is damaged",
                Fault::Moved => "the database file was moved or removed",
                Fault::Full => "no space left for the database",
                Fault::ReadOnly => "the database file may not be written",
                Fault::CannotOpen => "the database file cannot be opened",
                Fault::Other => "SQLite reports an error",
            }),
            Self::Io { what, .. } => f.write_str(what),
        }
    }
}

impl From<SqliteError> for Error {
    fn from(error: SqliteError) -> Self {
        let kind = match &error {
            SqliteError::Setting(_)
            | SqliteError::Path { .. }
            | SqliteError::Foreign { .. }
            | SqliteError::Newer { .. }
            | SqliteError::OldLibrary { .. } => ErrorKind::Config,
            SqliteError::TooLarge { .. } => ErrorKind::TooLarge,
            SqliteError::Closed => ErrorKind::Closed,
            SqliteError::Broken | SqliteError::Driver { fault: Fault::Corrupt, .. } => ErrorKind::Corrupt,
            _ => ErrorKind::Storage,
        };
        let transient = matches!(error, SqliteError::Crowded)
            || matches!(error.fault(), Some(Fault::Busy | Fault::Full | Fault::Moved));
        let public = Self::new(kind, error.to_string());
        let public = if transient { public.transient() } else { public };
        match error {
            SqliteError::Driver { source, .. } => public.with_source(source),
            SqliteError::Io { source, .. } => public.with_source(source),
            _ => public,
        }
    }
}

/// A result inside this crate.
pub(crate) type Result<T> = std::result::Result<T, SqliteError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_are_classified_by_their_primary_one() {
        for (code, fault) in [
            (5, Fault::Busy),
            (261, Fault::Busy),
            (517, Fault::Busy),
            (262, Fault::Busy),
            (5898, Fault::Busy),
            (11, Fault::Corrupt),
            (267, Fault::Corrupt),
            (26, Fault::Corrupt),
            (3091, Fault::Corrupt),
            (2067, Fault::Other),
            (13, Fault::Full),
            (1032, Fault::Moved),
            (1544, Fault::ReadOnly),
            (14, Fault::CannotOpen),
            (1, Fault::Other),
        ] {
            assert_eq!(fault_of(code), fault, "{code}");
        }
    }

    #[test]
    fn a_busy_database_is_transient_and_a_foreign_one_is_not() {
        assert!(Error::from(SqliteError::Busy).is_transient());
        let foreign = Error::from(SqliteError::Foreign { path: "x".into() });
        assert!(!foreign.is_transient());
        assert_eq!(foreign.kind(), ErrorKind::Config);
    }
}
