//! The floor of storing in SQLite: a thread that owns the one connection commits whatever is queued as one transaction.
//!
//! Through rusqlite, which has no hop between caller and SQLite inside that thread.

use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::message::encode;
use super::sqlite::{CREATE, UPSERT, spread_key};
use crate::Result;
use crate::measure::stores::{Answer, Store};

/// At most this many rows a transaction.
const GROUP: usize = 256;

/// A queue into a thread that writes.
pub(crate) struct Grouped {
    queue: mpsc::Sender<Row>,
}

struct Row {
    key: String,
    head: Vec<u8>,
    body: Bytes,
    stored: oneshot::Sender<()>,
}

impl Grouped {
    /// Makes the table in the file `path` and starts the thread, which ends when this is dropped.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute(CREATE, ())?;
        let (queue, rows) = mpsc::channel();
        std::thread::Builder::new().name("grouped-writes".into()).spawn(move || write(&connection, &rows))?;
        Ok(Self { queue })
    }
}

impl Store for Grouped {
    async fn put(&self, number: u64, answer: &Answer) -> Result<()> {
        let (stored, acknowledged) = oneshot::channel();
        let (head, body) = (encode(&answer.headers), answer.body.clone());
        self.queue.send(Row { key: spread_key(number), head, body, stored })?;
        Ok(acknowledged.await?)
    }
}

/// Returns when the queue is closed. An error ends the thread: whoever waits for it sees its rows dropped.
fn write(connection: &Connection, rows: &mpsc::Receiver<Row>) -> rusqlite::Result<()> {
    while let Ok(first) = rows.recv() {
        let mut group = vec![first];
        group.extend(rows.try_iter().take(GROUP));
        connection.execute_batch("BEGIN IMMEDIATE")?;
        {
            let mut upsert = connection.prepare_cached(UPSERT)?;
            for row in &group {
                upsert.execute((&row.key, &row.head, &*row.body, None::<i64>))?;
            }
        }
        connection.execute_batch("COMMIT")?;
        for row in group {
            // Whoever does not wait any more does not want to know.
            let _gone = row.stored.send(());
        }
    }
    Ok(())
}
