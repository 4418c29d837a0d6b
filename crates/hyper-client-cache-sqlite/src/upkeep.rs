//! What the writer does for the file: follow it where it was replaced, set it aside where it is damaged, look for changes
//! by others, give free pages back.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use crate::connect::{Conn, FileSource};
use crate::error::{Fault, Result, SqliteError};
use crate::open::{self, Opened};
use crate::path::{Identity, identity};
use crate::quarantine;
use crate::writer::Writer;

/// The free pages, of 8 KiB, that are left in the file for what is written next.
const SPARE_PAGES: i64 = 128;

/// How the writer reaches the database.
#[derive(Debug)]
pub(crate) enum Access {
    File { source: Arc<FileSource>, connection: Option<Conn>, identity: Option<Identity> },
    Pool(SqlitePool),
}

impl Writer {
    /// Whether a fault was one of the file, and there is a sound file now.
    pub(crate) async fn is_repaired(&mut self, error: &SqliteError) -> bool {
        match error.fault() {
            Some(Fault::Corrupt) => self.replace_file(true).await.is_ok(),
            Some(Fault::Moved) => self.replace_file(false).await.is_ok(),
            _ => false,
        }
    }

    /// Somebody may have removed or replaced the file (case 149): then what is there now is opened.
    pub(crate) async fn follow_file(&mut self) -> Result<()> {
        if let Access::File { source, connection, identity: ours } = &self.access
            && (connection.is_none() || identity(&source.path) != *ours)
        {
            self.replace_file(false).await?;
        }
        Ok(())
    }

    /// Lets go of the file, sets it aside where it is `broken`, and opens what is there then, or a new one.
    pub(crate) async fn replace_file(&mut self, broken: bool) -> Result<()> {
        let Access::File { source, connection, identity } = &mut self.access else {
            return Err(SqliteError::Broken);
        };
        for idle in self.shared.readers.retire() {
            idle.close().await;
        }
        if let Some(connection) = connection.take() {
            connection.close().await;
        }
        if broken {
            quarantine::set_aside(&source.path, *identity)?;
        }
        match Box::pin(open::open_writable(source)).await? {
            Opened::Writable { writer, identity: found } => {
                *connection = Some(writer);
                *identity = found;
            }
            Opened::ReadOnly { .. } => return Err(SqliteError::ReadOnly),
        }
        self.totals = None;
        self.data_version = None;
        self.shared.forget().await;
        self.census.forget(&self.shared.absent);
        Ok(())
    }

    pub(crate) async fn look_for_changes(&mut self) {
        let at = self.shared.changes.elapsed();
        let found = async {
            self.follow_file().await?;
            let mut held = self.access.connection().await?;
            let row = sqlx::query("PRAGMA data_version").fetch_one(held.sqlite()).await?;
            Ok::<i64, SqliteError>(row.try_get(0)?)
        }
        .await;
        // What cannot be asked counts as changed, and so does what was never asked: somebody may have read before.
        let version = found.ok();
        if version.is_none() || version != self.data_version {
            self.shared.forget().await;
            self.census.others_wrote(&self.shared.absent);
        }
        self.data_version = version;
        self.shared.changes.looked(at);
        if version.is_some() {
            let Self { shared, access, census, .. } = self;
            if let Ok(mut held) = access.connection().await {
                census.look(held.sqlite(), &shared.absent).await;
            }
        }
    }

    /// Puts recent places to the others where they have become many, in a transaction for each table: some milliseconds.
    pub(crate) async fn settle(&mut self) {
        while let Some(table) = self.unsettled.pop() {
            let outcome = async {
                let mut held = self.access.connection().await?;
                let done = sqlx::query(table.settle()).execute(held.sqlite()).await;
                if done.is_err() {
                    // Also where there is none to roll back.
                    drop(sqlx::query("ROLLBACK").execute(held.sqlite()).await);
                }
                Ok::<_, SqliteError>(done?)
            }
            .await;
            if let Err(error) = outcome {
                // The next write says again that there are many.
                tracing::debug!(%error, table = table.name(), "recent places stay where they are");
                self.is_repaired(&error).await;
            }
        }
    }

    /// Does a piece of what makes absent keys known.
    pub(crate) async fn go_on_counting(&mut self) {
        let Self { shared, access, census, .. } = self;
        match access.connection().await {
            Ok(mut held) => census.go_on(held.sqlite(), &shared.absent).await,
            Err(_) => census.forget(&shared.absent),
        }
    }

    /// Gives one step of free pages back to the file system; the next step follows when nothing is queued.
    pub(crate) async fn give_back_pages(&mut self) {
        let result = async {
            let mut held = self.access.connection().await?;
            let connection = held.sqlite();
            let row = sqlx::query("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
            let free: i64 = row.try_get(0)?;
            if free <= SPARE_PAGES {
                return Ok(false);
            }
            sqlx::query("PRAGMA incremental_vacuum(128)").fetch_all(&mut *connection).await?;
            let row = sqlx::query("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
            // A database made without incremental vacuum gives nothing back.
            Ok::<bool, SqliteError>(row.try_get::<i64, _>(0)? < free)
        }
        .await;
        self.freed = result.unwrap_or(false);
    }
}

impl Access {
    pub(crate) async fn connection(&mut self) -> Result<Held<'_>> {
        match self {
            Self::File { connection: Some(connection), .. } => Ok(Held::Own(connection)),
            Self::File { connection: None, .. } => Err(SqliteError::Closed),
            Self::Pool(pool) => Ok(Held::Lent(Conn::Lent(pool.acquire().await?))),
        }
    }
}

pub(crate) enum Held<'a> {
    Own(&'a mut Conn),
    Lent(Conn),
}

impl Held<'_> {
    pub(crate) fn sqlite(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Own(connection) => connection.sqlite(),
            Self::Lent(connection) => connection.sqlite(),
        }
    }
}
