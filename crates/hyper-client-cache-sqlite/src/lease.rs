//! A connection that reads, for as long as somebody uses it, and what can be read on it in one statement.
//!
//! It comes back whatever happens to its holder, because the lease does that when dropped.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use hyper_client_cache_core::storage::CacheKey;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row as _, Sqlite, ValueRef};

use crate::connect::Conn;
use crate::error::{Result, SqliteError};
use crate::reader::Readers;
use crate::sql::{self, Table, hash_of};

/// A body over this many bytes stays in SQLite's own allocation instead of being copied once more.
const COPY_LIMIT: usize = 16 * 1024;

/// A connection for a while.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Option<Conn>,
    generation: u64,
    /// `None` only where the lease was dissolved.
    readers: Option<Arc<Readers>>,
}

impl Lease {
    /// A lease of a connection, or of the place of one that is to be made.
    pub(crate) const fn new(connection: Option<Conn>, generation: u64, readers: Arc<Readers>) -> Self {
        Self { connection, generation, readers: Some(readers) }
    }

    /// Puts a connection into its place.
    pub(crate) fn fill(&mut self, connection: Conn) {
        self.connection = Some(connection);
    }

    /// The connection, which then does not come back by itself.
    pub(crate) fn dissolve(mut self) -> Option<Conn> {
        self.readers = None;
        self.connection.take()
    }

    /// The connection; an error where it is gone, which it is not before the lease is dropped.
    pub(crate) fn sqlite(&mut self) -> Result<&mut SqliteConnection> {
        self.connection.as_mut().map(Conn::sqlite).ok_or(SqliteError::Closed)
    }

    pub(crate) async fn read_one(&mut self, table: Table, key: &CacheKey) -> Result<Option<Row>> {
        let query = sqlx::query(table.read()).bind(hash_of(key)).bind(key.to_string());
        match query.fetch_optional(self.sqlite()?).await? {
            Some(row) => Ok(Some(Row::new(row)?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn read_both(&mut self, key: &CacheKey) -> Result<(Option<Row>, Option<Row>)> {
        let (mut response, mut redirect) = (None, None);
        let query = sqlx::query(sql::read_both()).bind(hash_of(key)).bind(key.to_string());
        for row in query.fetch_all(self.sqlite()?).await? {
            let place = if row.try_get::<bool, _>(2)? { &mut redirect } else { &mut response };
            *place = Some(Row::new(row)?);
        }
        Ok((response, redirect))
    }

    /// The rows under at most [`MAX_ROWS`](sql::MAX_ROWS) keys.
    pub(crate) async fn read_many(&mut self, table: Table, keys: &[CacheKey]) -> Result<HashMap<CacheKey, Row>> {
        let mut query = sqlx::query::<Sqlite>(table.read_many(keys.len()));
        for key in keys {
            query = query.bind(hash_of(key));
        }
        let rows = query.fetch_all(self.sqlite()?).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let key = row.try_get::<&str, _>(2)?;
            if let Ok(key) = CacheKey::new(key) {
                found.insert(key, Row::new(row)?);
            }
        }
        Ok(found)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(readers) = self.readers.take() {
            readers.take_back(self.connection.take(), self.generation);
        }
    }
}

/// A row as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) block: Bytes,
    /// `None` where it is absurdly long.
    pub(crate) body: Option<Bytes>,
}

impl Row {
    fn new(row: SqliteRow) -> Result<Self> {
        let block = Bytes::copy_from_slice(row.try_get::<&[u8], _>(0)?);
        let body = if row.try_get_raw(1)?.is_null() {
            None
        } else {
            let bytes = row.try_get::<&[u8], _>(1)?;
            Some(if bytes.len() <= COPY_LIMIT { Bytes::copy_from_slice(bytes) } else { Bytes::from_owner(BodyOf(row)) })
        };
        Ok(Self { block, body })
    }
}

/// Keeps a row for the sake of its body.
struct BodyOf(SqliteRow);

impl AsRef<[u8]> for BodyOf {
    fn as_ref(&self) -> &[u8] {
        self.0.try_get::<&[u8], _>(1).unwrap_or_default()
    }
}
