//! An open database as the handles see it: reading, the way to the writer, closing. What they share with it is in `shared`.
//!
//! The writer's task keeps [`Shared`], the handles keep the [`Engine`]: when the last handle is gone the queue ends,
//! and with it the task and every connection (case 233).

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper_client_cache_core::clock::to_millis;
use hyper_client_cache_core::storage::{CacheKey, Entry, frame};
use sqlx::Row as _;
use tokio::sync::{mpsc, oneshot};

use crate::absent::Absent;
use crate::config::SqliteConfig;
use crate::connect::{Conn, FileSource, Source};
use crate::error::{Fault, Result, SqliteError};
use crate::lease::Row;
use crate::open::{self, Opened};
use crate::orphans::Sweep;
use crate::queue::{self, NewRow, Queued, Task};
use crate::reader::Readers;
use crate::schema::Patience;
use crate::shared::{Changes, Shared};
use crate::sql::{MAX_HEAD_LEN, Table};
use crate::upkeep::Access;
use crate::uses::Uses;
use crate::writer;

/// The most bytes that head and body of one entry may have together: 64 MiB.
///
/// SQLite itself takes up to a gigabyte in a row; larger bodies are kept in parts long before.
pub const MAX_ENTRY_LEN: u64 = 64 * 1024 * 1024;

/// An open database. Dropped with the last handle.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    /// `None` where the database is open for reading only.
    queue: Option<mpsc::Sender<Queued>>,
}

impl Engine {
    pub(crate) async fn open(config: SqliteConfig) -> Result<Self> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
            SqliteError::Setting("a cache must be opened inside a Tokio runtime, in which its writer lives".into())
        })?;
        let given = config.connect_options.is_some();
        let (mut config, path) = config.checked()?;
        let folder = if config.use_temp {
            let folder = tempfile::Builder::new().prefix("http-cache-").tempdir();
            Some(folder.map_err(SqliteError::io("no temporary folder can be made"))?)
        } else {
            None
        };
        let path = match (&folder, path) {
            (Some(folder), Some(path)) => Some(folder.path().join(path.file_name().unwrap_or_default())),
            (_, path) => path,
        };
        let source = match (&config.pool, path) {
            (Some(pool), _) => Source::Pool(pool.clone()),
            (None, path) => Source::File(Arc::new(FileSource::new(
                &path.unwrap_or_default(),
                config.connect_options.take().unwrap_or_default(),
                given,
                config.fast_save,
                config.busy_timeout,
            ))),
        };
        let mut immutable = false;
        let mut reader = None;
        let mut access = None;
        match &source {
            Source::Pool(pool) => {
                let mut connection = pool.acquire().await?;
                open::open_lent(&mut connection, config.read_only).await?;
                if !config.read_only {
                    access = Some(Access::Pool(pool.clone()));
                }
            }
            Source::File(file) => {
                let opened = if config.read_only {
                    open::open_read_only(file).await?
                } else {
                    open::open_writable(file).await?
                };
                match opened {
                    Opened::Writable { writer, identity } => {
                        access = Some(Access::File { source: file.clone(), connection: Some(writer), identity });
                        // A second connection now, so that an error is one of `open`.
                        reader = Some(Conn::Own(file.reader().await?));
                    }
                    Opened::ReadOnly { reader: connection, immutable: only } => {
                        immutable = only;
                        reader = Some(connection);
                    }
                }
            }
        }
        let path = match &source {
            Source::File(file) => Some(file.path.clone()),
            Source::Pool(_) => None,
        };
        let readers = Arc::new(Readers::new(source, config.read_connections, immutable));
        if let Some(reader) = reader {
            readers.add(reader);
        }
        config.read_only = access.is_none();
        let shared = Arc::new(Shared {
            config,
            path,
            readers,
            uses: Uses::default(),
            closed: AtomicBool::new(false),
            last_stamp: AtomicI64::new(0),
            corrupt: Default::default(),
            evicted: Default::default(),
            orphans: Sweep::default(),
            changes: Changes { started: Instant::now(), looked_at: AtomicU64::new(0), pending: AtomicBool::new(false) },
            absent: Absent::default(),
            tier: OnceLock::new(),
            _folder: folder,
        });
        let patience = Patience::new();
        while let Err(error) = shared.continue_order().await {
            if !patience.allows(&error) {
                return Err(error);
            }
        }
        let queue = access.map(|access| {
            let (queue, tasks) = mpsc::channel(queue::CAPACITY);
            runtime.spawn(writer::run(shared.clone(), access, tasks));
            queue
        });
        Ok(Self { shared, queue })
    }

    /// The live entry under `key`.
    pub(crate) async fn read(&self, table: Table, key: &CacheKey) -> Result<Option<Entry>> {
        self.shared.check_open()?;
        let generation = self.shared.readers.generation();
        match self.shared.readers.row(table, key).await {
            Ok(row) => Ok(row.and_then(|row| self.decode(table, key, row))),
            Err(error) => self.after_fault(generation, error).await.map(|()| None),
        }
    }

    /// The live entry under `key` of responses, and that of redirects, unless the latter was not looked at.
    pub(crate) async fn read_both(&self, key: &CacheKey) -> Result<(Option<Entry>, Option<Option<Entry>>)> {
        self.shared.check_open()?;
        let generation = self.shared.readers.generation();
        match self.shared.readers.row_and_redirect(key).await {
            Ok((response, redirect)) => Ok((
                response.and_then(|row| self.decode(Table::Responses, key, row)),
                redirect.map(|row| row.and_then(|row| self.decode(Table::Redirects, key, row))),
            )),
            Err(error) => self.after_fault(generation, error).await.map(|()| (None, Some(None))),
        }
    }

    /// The entry of a row: a row that does not verify is a miss, counted, and removed (S15).
    pub(crate) fn decode(&self, table: Table, key: &CacheKey, row: Row) -> Option<Entry> {
        let Row { block, body } = row;
        let decoded = match body {
            Some(body) => frame::unblock(&block, body),
            None => Err(frame::FrameError::Damaged),
        };
        match decoded {
            Ok(entry) if entry.is_dead(self.shared.now()) => None,
            Ok(entry) => {
                self.shared.used(table, *key);
                Some(entry)
            }
            Err(error) => {
                self.found_damaged(table, key, block, error);
                None
            }
        }
    }

    /// The head of a row, under the same conditions as [`decode`](Self::decode).
    pub(crate) fn decode_head(&self, table: Table, key: &CacheKey, block: Bytes) -> Option<Entry> {
        match frame::unblock_head(&block) {
            Ok(entry) => (!entry.is_dead(self.shared.now())).then_some(entry),
            Err(error) => {
                self.found_damaged(table, key, block, error);
                None
            }
        }
    }

    /// The outcome of a task, once it is committed.
    pub(crate) async fn submit(&self, task: Task) -> Result<u64> {
        let outcome = self.enqueue(task).await?;
        outcome.await.map_err(|_| self.gone())?
    }

    /// The sum of the outcomes of many tasks. All are queued, in order, before the first is waited for, so that they
    /// share transactions. On an error each of them may or may not have happened.
    pub(crate) async fn submit_all(&self, tasks: impl Iterator<Item = Result<Task>> + Send) -> Result<u64> {
        self.shared.check_open()?;
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(self.enqueue(task?).await?);
        }
        let mut sum: u64 = 0;
        for outcome in outcomes {
            sum = sum.saturating_add(outcome.await.map_err(|_| self.gone())??);
        }
        Ok(sum)
    }

    async fn enqueue(&self, task: Task) -> Result<oneshot::Receiver<Result<u64>>> {
        self.shared.check_open()?;
        let queue = self.queue.as_ref().ok_or(SqliteError::ReadOnly)?;
        let (reply, outcome) = oneshot::channel();
        let queued = Queued { task, since: Instant::now(), reply: Some(reply) };
        queue.send(queued).await.map_err(|_| self.gone())?;
        Ok(outcome)
    }

    /// A row for `entry`, unless it is too large for any place.
    pub(crate) fn new_row(&self, entry: Entry) -> Result<NewRow> {
        let (len, limit) = (entry.len(), self.shared.max_entry_len());
        if len > limit {
            return Err(SqliteError::TooLarge { len, limit });
        }
        let (len, limit) = (entry.head.len() as u64, MAX_HEAD_LEN);
        if len > limit {
            return Err(SqliteError::TooLarge { len, limit });
        }
        Ok(NewRow::new(entry, self.shared.stamp()))
    }

    /// A number that a statement computes from the present moment.
    pub(crate) async fn number(&self, text: sqlx::SqlStr) -> Result<u64> {
        self.shared.check_open()?;
        let generation = self.shared.readers.generation();
        let read = async {
            let mut lease = self.shared.readers.lease().await?;
            let query = sqlx::query(text).bind(to_millis(self.shared.now()));
            let row = query.fetch_optional(lease.sqlite()?).await?;
            let number: i64 = row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
            Ok(u64::try_from(number).unwrap_or(0))
        };
        match read.await {
            Ok(number) => Ok(number),
            Err(error) => self.after_fault(generation, error).await.map(|()| 0),
        }
    }

    /// `Ok` where the file was damaged and is replaced by now, so that what was asked is not there; the error otherwise.
    pub(crate) async fn after_fault(&self, generation: u64, error: SqliteError) -> Result<()> {
        let task = match error.fault() {
            Some(Fault::Corrupt) => Task::Damaged(generation),
            Some(Fault::Moved) => Task::Moved(generation),
            _ => return Err(error),
        };
        match self.submit(task).await {
            Ok(_) => Ok(()),
            Err(SqliteError::ReadOnly) => Err(error),
            Err(other) => Err(other),
        }
    }

    pub(crate) async fn close(&self) -> Result<()> {
        self.shared.closed.store(true, Ordering::Release);
        for connection in self.shared.readers.close() {
            connection.close().await;
        }
        let Some(queue) = &self.queue else { return Ok(()) };
        let (reply, done) = oneshot::channel();
        let queued = Queued { task: Task::Close, since: Instant::now(), reply: Some(reply) };
        // Where nobody answers it was closed before, or its runtime has ended.
        match queue.send(queued).await {
            Ok(()) => done.await.unwrap_or(Ok(0)).map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Whether nobody else has written since what is kept in memory was read, as far as is known: looked at not longer
    /// ago than `patience`. A look that does not hold up the caller is begun in good time.
    pub(crate) fn is_current(&self, patience: Duration) -> bool {
        let changes = &self.shared.changes;
        let age = u128::from(changes.elapsed().saturating_sub(changes.looked_at.load(Ordering::Acquire)));
        let patience = patience.as_millis();
        if age > patience / 2 {
            self.begin_look();
        }
        age <= patience
    }

    /// Whether there is surely neither a response nor a redirect under `key`, as far as is known as in
    /// [`is_current`](Self::is_current).
    pub(crate) fn is_absent(&self, key: &CacheKey, patience: Duration) -> bool {
        let known = self.shared.absent.says(key);
        if known.is_none() && self.shared.absent.want() {
            self.begin_look();
        }
        known == Some(true) && self.is_current(patience)
    }

    fn begin_look(&self) {
        let changes = &self.shared.changes;
        if let Some(queue) = &self.queue
            && !changes.pending.swap(true, Ordering::AcqRel)
        {
            let queued = Queued { task: Task::LookForChanges, since: Instant::now(), reply: None };
            if queue.try_send(queued).is_err() {
                changes.pending.store(false, Ordering::Release);
            }
        }
    }

    /// The database's file, where it is one of our own.
    pub(crate) fn path(&self) -> Option<std::path::PathBuf> {
        self.shared.path.clone()
    }

    fn found_damaged(&self, table: Table, key: &CacheKey, block: Bytes, error: frame::FrameError) {
        self.shared.count_corrupt(table);
        if error == frame::FrameError::Newer {
            return;
        }
        if let Some(queue) = &self.queue {
            // Not waited for; a full queue leaves it to the next reader.
            let task = Task::DropDamaged(table, *key, block);
            drop(queue.try_send(Queued { task, since: Instant::now(), reply: None }));
        }
    }

    fn gone(&self) -> SqliteError {
        if self.shared.is_closed() { SqliteError::Closed } else { SqliteError::WriterGone }
    }
}
