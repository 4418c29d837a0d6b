//! Runs the driver's operations to their end.
//!
//! The driver's own documentation warns of futures that are dropped half-way: a connection may be left with an answer
//! that nobody has read. So each operation is a task of its own, and whoever waits for it only waits (cases 175, 210).
//! A task costs about a microsecond, beside a round trip to a server.

use std::future::Future;
use std::sync::Arc;

use hyper_client_cache_core::storage::{CacheKey, Entry};
use mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, cstr};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::{Collection, Database};

use tokio::sync::{Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::document;
use crate::error::MongoError;

/// How many keys may be changed at once, roughly.
const STRIPES: usize = 256;

/// How many entries, and how many bytes of them, one command writes. The command is one document itself, for which the
/// server's limit of 16 MiB counts.
const ENTRIES_AT_ONCE: usize = 500;
const BYTES_AT_ONCE: u64 = 4 << 20;

/// The server's code for two documents with one key: two upserts of a new key ran into each other.
const DUPLICATE_KEY: i32 = 11_000;

/// Runs `operation` to its end, also where the returned future is dropped.
pub(crate) async fn to_the_end<T: Send + 'static>(
    operation: impl Future<Output = Result<T, mongodb::error::Error>> + Send + 'static,
) -> Result<T, MongoError> {
    match tokio::spawn(operation).await {
        Ok(done) => Ok(done?),
        // The task is never aborted by us: the runtime is going away, or the driver panicked.
        Err(error) => Err(MongoError::Task(error.to_string())),
    }
}

/// Keeps what is done to a key in the order of the calls, although a call goes on after its future was dropped: what
/// is asked for later must not be undone by it.
#[derive(Debug)]
pub(crate) struct Order {
    /// Shared by what changes one key, exclusive for what may change any.
    any: Arc<RwLock<()>>,
    /// Keys that share a stripe wait for each other.
    stripes: Vec<Arc<Mutex<()>>>,
}

/// The right to change something; held until the operation has come to its end.
#[derive(Debug)]
#[expect(dead_code, reason = "they are there to be dropped")]
pub(crate) enum Turn {
    One(OwnedRwLockReadGuard<()>, OwnedMutexGuard<()>),
    Any(OwnedRwLockWriteGuard<()>),
}

impl Order {
    /// Waits for what changes `key`.
    pub(crate) async fn one(&self, key: &CacheKey) -> Turn {
        let any = self.any.clone().read_owned().await;
        let stripe = self.stripes.get(stripe(key)).cloned().unwrap_or_default();
        Turn::One(any, stripe.lock_owned().await)
    }

    /// Waits for all that changes anything.
    pub(crate) async fn any(&self) -> Turn {
        Turn::Any(self.any.clone().write_owned().await)
    }
}

impl Default for Order {
    fn default() -> Self {
        Self { any: Arc::default(), stripes: (0..STRIPES).map(|_| Arc::default()).collect() }
    }
}

/// Keys are digests or numbered: any sum that mixes all places is even enough.
fn stripe(key: &CacheKey) -> usize {
    key.as_bytes().iter().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte))) % STRIPES
}

/// Runs a change to its end, as [`to_the_end`] does, and keeps its turn until then.
pub(crate) async fn in_turn<T: Send + 'static>(
    turn: Turn,
    operation: impl Future<Output = Result<T, mongodb::error::Error>> + Send + 'static,
) -> Result<T, MongoError> {
    to_the_end(async move {
        let done = operation.await;
        drop(turn);
        done
    })
    .await
}

/// Writes entries in few commands, each entry in place of what was there. Returns the keys whose upsert lost a race;
/// they are to be written again.
///
/// The `update` command with many statements, and not the newer `bulkWrite`, because every server knows it.
pub(crate) async fn update_many(
    database: &Database,
    collection: &Collection<RawDocumentBuf>,
    order: &Order,
    entries: &[(CacheKey, Entry)],
) -> Result<Vec<CacheKey>, MongoError> {
    let mut lost = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let (batch, _) = rest.split_at(batch_len(rest));
        let statements = batch.iter().map(|(key, entry)| {
            let mut statement = RawDocumentBuf::new();
            let mut filter = RawDocumentBuf::new();
            filter.append(cstr!("_id"), key.as_str());
            statement.append(cstr!("q"), filter);
            statement.append(cstr!("u"), document::encode(key, entry));
            statement.append(cstr!("upsert"), true);
            statement
        });
        let mut updates = RawArrayBuf::new();
        statements.for_each(|statement| updates.push(statement));
        let mut command = RawDocumentBuf::new();
        command.append(cstr!("update"), collection.name());
        // In order: of two entries for one key the later one stays.
        command.append(cstr!("ordered"), true);
        command.append(cstr!("updates"), updates);
        let database = database.clone();
        let turn = order.any().await;
        let answer = in_turn(turn, async move { database.run_raw_command(command).await }).await?;
        let done = match first_error(&answer) {
            None => batch.len(),
            // The first that failed ended the batch.
            Some((at, DUPLICATE_KEY)) => {
                lost.extend(batch.get(at).map(|(key, _)| *key));
                at.saturating_add(1)
            }
            Some((_, code)) => return Err(MongoError::Refused { code }),
        };
        rest = rest.get(done..).unwrap_or_default();
    }
    Ok(lost)
}

/// Whether two upserts of a new key ran into each other.
pub(crate) fn is_duplicate_key(error: &mongodb::error::Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}

fn batch_len(entries: &[(CacheKey, Entry)]) -> usize {
    let mut bytes: u64 = 0;
    let fits = entries.iter().take(ENTRIES_AT_ONCE).take_while(|(_, entry)| {
        bytes = bytes.saturating_add(entry.len());
        bytes <= BYTES_AT_ONCE
    });
    // One that is larger than a batch goes alone.
    fits.count().max(1)
}

/// Position and code of the first statement that failed.
fn first_error(answer: &Document) -> Option<(usize, i32)> {
    let error = answer.get_array("writeErrors").ok()?.first()?.as_document()?;
    let at = error.get_i32("index").ok().and_then(|at| usize::try_from(at).ok())?;
    Some((at, error.get_i32("code").unwrap_or_default()))
}
