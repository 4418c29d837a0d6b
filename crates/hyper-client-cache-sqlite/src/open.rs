//! Opening: from a file of unknown origin to connections on a database that is ours and current.
//!
//! The order matters. A look through a connection that can change nothing comes first, so that somebody else's
//! database is refused untouched; only then a writing connection, which looks again, because only it sees what is
//! still in the journal.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::connect::{Conn, FileSource};
use crate::error::{Fault, Result, SqliteError};
use crate::path::{self, Found, Identity, identity};
use crate::quarantine;
use crate::schema::{self, Patience, Verdict};

/// A database that was opened.
#[derive(Debug)]
pub(crate) enum Opened {
    /// For reading and writing.
    Writable { writer: Conn, identity: Option<Identity> },
    /// For reading only. `immutable`: by connections that expect no journal.
    ReadOnly { reader: Conn, immutable: bool },
}

/// Opens what is at the source's path, makes it where nothing is, sets aside what is broken.
pub(crate) async fn open_writable(source: &FileSource) -> Result<Opened> {
    // A second and third attempt for a file that was set aside, by us or meanwhile by another process.
    for _ in 0..3 {
        match path::prepare(&source.path, true)? {
            Found::NotWritable => return degrade(source).await,
            Found::Existing => peek(source).await?,
            Found::New => {}
        }
        let found = identity(&source.path);
        if path::is_too_short(&source.path) {
            quarantine::set_aside(&source.path, found)?;
            continue;
        }
        match open_patiently(source).await {
            Ok(writer) => {
                path::restrict(&source.path);
                return Ok(Opened::Writable { writer: Conn::Own(writer), identity: found });
            }
            Err(error) => match error.fault() {
                Some(Fault::Corrupt) => drop(quarantine::set_aside(&source.path, found)?),
                Some(Fault::ReadOnly | Fault::CannotOpen) => return degrade(source).await,
                _ => return Err(error),
            },
        }
    }
    Err(SqliteError::path(&source.path, "the database was found damaged again and again: choose another path"))
}

/// Opens an existing database for reading.
pub(crate) async fn open_read_only(source: &FileSource) -> Result<Opened> {
    path::prepare(&source.path, false)?;
    let (mut reader, immutable) = match source.reader().await {
        Ok(reader) => (reader, false),
        Err(_) => (source.immutable_reader().await?, true),
    };
    schema::check_library(&mut reader).await?;
    match schema::judge(&mut reader).await {
        // No journal can be made in a folder that may not be written, and so nobody has one there.
        Err(error) if !immutable && matches!(error.fault(), Some(Fault::CannotOpen | Fault::ReadOnly)) => {
            let mut reader = source.immutable_reader().await?;
            accept(source, schema::judge(&mut reader).await?)?;
            Ok(Opened::ReadOnly { reader: Conn::Own(reader), immutable: true })
        }
        verdict => {
            accept(source, verdict?)?;
            Ok(Opened::ReadOnly { reader: Conn::Own(reader), immutable })
        }
    }
}

/// Checks a connection from somebody's pool and makes the tables where there are none.
pub(crate) async fn open_lent(connection: &mut SqliteConnection, read_only: bool) -> Result<()> {
    schema::check_library(connection).await?;
    let refuse = |why: &str| Err(SqliteError::Setting(format!("the database of `pool` {why}")));
    match schema::judge(connection).await? {
        Verdict::Ours => Ok(()),
        Verdict::Older if read_only => refuse("holds no cache"),
        Verdict::Older => {
            use_journal(connection).await?;
            schema::migrate(connection).await
        }
        Verdict::Newer(_) => refuse("was written by a newer version of this program: update it"),
        Verdict::Foreign | Verdict::Broken => refuse("holds other tables than a cache's: give it one of its own"),
    }
}

/// A file that may not be written is still read (case 147).
async fn degrade(source: &FileSource) -> Result<Opened> {
    let opened = open_read_only(source).await?;
    tracing::warn!(
        database = %source.path.display(),
        "the cache's database may not be written: it is read, and nothing is stored"
    );
    Ok(opened)
}

/// How often a file that looks like another program's is looked at again, 20 ms apart, before it is refused.
const LOOKS: usize = 25;

/// Refuses what is healthy and not ours before anything could change it. What cannot be judged this way, because it
/// is damaged or being written, is left to the second look.
async fn peek(source: &FileSource) -> Result<()> {
    let mut verdict = Verdict::Ours;
    for look in 0..LOOKS {
        if look > 0 {
            // This connection takes no lock: a cache that somebody is just making may look like a stranger's database.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let Ok(mut connection) = source.immutable_reader().await else { return Ok(()) };
        let judged = schema::judge(&mut connection).await;
        Conn::Own(connection).close().await;
        verdict = match judged {
            Ok(verdict @ (Verdict::Newer(_) | Verdict::Foreign)) => verdict,
            _ => return Ok(()),
        };
    }
    accept(source, verdict)
}

async fn open_patiently(source: &FileSource) -> Result<SqliteConnection> {
    let patience = Patience::new();
    loop {
        match try_open(source).await {
            Err(error) if patience.allows(&error) => {}
            outcome => return outcome,
        }
    }
}

async fn try_open(source: &FileSource) -> Result<SqliteConnection> {
    let mut connection = source.writer().await?;
    schema::check_library(&mut connection).await?;
    let verdict = schema::judge(&mut connection).await?;
    if verdict == Verdict::Older {
        // Counts only while the file is empty, and only before the journal's mode is chosen.
        sqlx::query("PRAGMA auto_vacuum = INCREMENTAL").execute(&mut connection).await?;
    } else if verdict != Verdict::Ours {
        Conn::Own(connection).close().await;
        accept(source, verdict)?;
        return Err(SqliteError::Closed);
    }
    use_journal(&mut connection).await?;
    if verdict == Verdict::Older {
        schema::migrate(&mut connection).await?;
        accept(source, schema::judge(&mut connection).await?)?;
    }
    Ok(connection)
}

fn accept(source: &FileSource, verdict: Verdict) -> Result<()> {
    let path = source.path.clone();
    match verdict {
        Verdict::Ours => Ok(()),
        Verdict::Newer(found) => Err(SqliteError::Newer { path, found, known: schema::VERSION }),
        Verdict::Foreign => Err(SqliteError::Foreign { path }),
        Verdict::Older => Err(SqliteError::path(&path, "this holds no cache yet: open it for writing once")),
        Verdict::Broken => Err(SqliteError::Broken),
    }
}

async fn use_journal(connection: &mut SqliteConnection) -> Result<()> {
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    if row.try_get::<&str, _>(0)? != "wal" {
        sqlx::query("PRAGMA journal_mode = WAL").fetch_all(connection).await?;
    }
    Ok(())
}
