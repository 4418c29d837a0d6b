//! The floor of a hit in SQLite through sqlx: a prepared point select through a pool of four read connections, and a
//! response built from the row.
//!
//! A second pool with the one connection that writes stands beside it, one row a statement.

use std::path::Path;

use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, Full};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::message::{encode, response};
use crate::Result;
use crate::client::{Client, HttpBody};
use crate::measure::stores::{Answer, Store};
use crate::origin;

/// How many connections read.
const READERS: u32 = 4;

pub(crate) const CREATE: &str = "CREATE TABLE IF NOT EXISTS entry \
     (key TEXT PRIMARY KEY NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL, retain_until INTEGER)";

pub(crate) const UPSERT: &str = "INSERT INTO entry (key, head, body, retain_until) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (key) DO UPDATE SET head = excluded.head, body = excluded.body, retain_until = excluded.retain_until";

/// A key as a cache has them, the digest of what is asked for: as long, and spread as evenly over the index. With keys in
/// ascending order the floor would append to an index that a cache has to insert into.
pub(crate) fn spread_key(number: u64) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(number.to_be_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A table of responses by URL.
pub(crate) struct Sqlite {
    readers: SqlitePool,
    writer: SqlitePool,
}

impl Sqlite {
    /// Makes the table in the file `path`.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("mmap_size", "0");
        let pool = |connections| {
            SqlitePoolOptions::new()
                .min_connections(connections)
                .max_connections(connections)
                .test_before_acquire(false)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        sqlx::query(CREATE).execute(&writer).await?;
        let readers = pool(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self { readers, writer })
    }

    /// Stores what the origin would answer for `urls`: `size` bytes each.
    pub(crate) async fn fill(&self, urls: &[String], size: usize) -> Result<()> {
        let (head, body) = (encode(&origin::whole_headers(size)), origin::json(size));
        let mut transaction = self.writer.begin().await?;
        for url in urls {
            sqlx::query(UPSERT)
                .bind(url)
                .bind(&*head)
                .bind(&*body)
                .bind(None::<i64>)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// How many entries there are.
    pub(crate) async fn count(&self) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM entry").fetch_one(&self.readers).await?)
    }
}

impl Client for Sqlite {
    type Body = HttpBody<Full<Bytes>>;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let (head, body): (Vec<u8>, Vec<u8>) = sqlx::query_as("SELECT head, body FROM entry WHERE key = ?1")
            .bind(request.uri().to_string())
            .fetch_one(&self.readers)
            .await?;
        Ok(HttpBody(response(&head, body.into())?.into_body()))
    }
}

impl Store for Sqlite {
    async fn put(&self, number: u64, answer: &Answer) -> Result<()> {
        sqlx::query(UPSERT)
            .bind(spread_key(number))
            .bind(encode(&answer.headers))
            .bind(&*answer.body)
            .bind(None::<i64>)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
