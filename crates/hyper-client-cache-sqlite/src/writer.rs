//! The one task that writes: it drains its queue into one transaction after the other.
//!
//! It ends when every handle is gone or the cache is closed, with what is queued written. While another process holds
//! the lock it waits in short turns, and fails what has waited for longer than the budget (case 153). A damaged file
//! is set aside here and nowhere else in this process, so that it happens once (case 141).

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{collections::VecDeque, mem};

use hyper_client_cache_core::clock::to_millis;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot};

use crate::batch::{self, Batch, Outcomes, Totals, is_busy};
use crate::connect::{Conn, FileSource};
use crate::engine::Shared;
use crate::error::{Fault, Result, SqliteError};
use crate::open::{self, Opened};
use crate::path::{Identity, identity};
use crate::quarantine;
use crate::queue::{Queued, Task};
use crate::sql::Table;

/// The most tasks in one transaction.
const MAX_BATCH: usize = 512;

/// The most bytes in one transaction, beyond the first task.
const MAX_BATCH_BYTES: u64 = 16 * 1024 * 1024;

/// How often uses are written down while there is something else to write.
const FOLD_EVERY: Duration = Duration::from_secs(1);

/// The free pages, of 4 KiB, that are left in the file for what is written next.
const SPARE_PAGES: i64 = 256;

/// How the writer reaches the database.
#[derive(Debug)]
pub(crate) enum Access {
    File { source: Arc<FileSource>, connection: Option<Conn>, identity: Option<Identity> },
    Pool(SqlitePool),
}

/// Works until the queue ends.
pub(crate) async fn run(shared: Arc<Shared>, access: Access, queue: mpsc::Receiver<Queued>) {
    let writer = Writer {
        shared,
        access,
        queue,
        totals: None,
        freed: false,
        orphaned: false,
        folded: Instant::now(),
        sweeps: VecDeque::new(),
        held_back: None,
        data_version: None,
    };
    writer.work().await;
}

struct Writer {
    shared: Arc<Shared>,
    access: Access,
    queue: mpsc::Receiver<Queued>,
    /// What the tables held after the last transaction; `None` before the first.
    totals: Option<Totals>,
    /// Whether rows were removed since pages were last given back.
    freed: bool,
    /// Whether heads may be in memory whose parts are gone from the database.
    orphaned: bool,
    folded: Instant,
    /// Removals of what is dead, done a chunk at a time between other work.
    sweeps: VecDeque<Sweep>,
    /// Taken from the queue and too large for the transaction that was being put together.
    held_back: Option<Queued>,
    data_version: Option<i64>,
}

struct Sweep {
    table: Table,
    now: i64,
    removed: u64,
    since: Instant,
    reply: Option<Reply>,
}

type Reply = oneshot::Sender<Result<u64>>;

impl Writer {
    async fn work(mut self) {
        let closing = loop {
            let next = if self.sweeps.is_empty() {
                match self.next_queued() {
                    Ok(task) => task,
                    Err(_) if self.freed => {
                        self.give_back_pages().await;
                        continue;
                    }
                    Err(_) => match self.queue.recv().await {
                        Some(task) => task,
                        None => break None,
                    },
                }
            } else {
                self.sweep().await;
                match self.next_queued() {
                    Ok(task) => task,
                    Err(mpsc::error::TryRecvError::Empty) => continue,
                    Err(mpsc::error::TryRecvError::Disconnected) if self.sweeps.is_empty() => break None,
                    Err(mpsc::error::TryRecvError::Disconnected) => continue,
                }
            };
            // Those whom the last transaction has answered are about to queue more: a larger group costs less for each.
            tokio::task::yield_now().await;
            let mut batch = vec![next];
            self.drain_into(&mut batch);
            if let Some(closing) = self.handle(batch).await {
                break closing.reply;
            }
        };
        self.finish(closing).await;
    }

    /// Adds what else is queued, within the limits of one transaction.
    fn drain_into(&mut self, batch: &mut Vec<Queued>) {
        // What is written together must fit together, so it is kept far below the bound.
        let limit = self.shared.max_bytes().map_or(MAX_BATCH_BYTES, |bound| MAX_BATCH_BYTES.min(bound / 4));
        let mut bytes: u64 = batch.iter().map(|queued| batch::added(&queued.task)).fold(0, u64::saturating_add);
        while batch.len() < MAX_BATCH {
            let Ok(queued) = self.queue.try_recv() else { break };
            bytes = bytes.saturating_add(batch::added(&queued.task));
            if bytes > limit {
                self.held_back = Some(queued);
                break;
            }
            batch.push(queued);
        }
    }

    /// The next task without waiting for it.
    fn next_queued(&mut self) -> std::result::Result<Queued, mpsc::error::TryRecvError> {
        self.held_back.take().map_or_else(|| self.queue.try_recv(), Ok)
    }

    /// Does what is not part of a common transaction by itself, and what is in one. Returns the request to close.
    async fn handle(&mut self, batch: Vec<Queued>) -> Option<Queued> {
        let mut common = Vec::with_capacity(batch.len());
        for queued in batch {
            match queued.task {
                Task::Close => {
                    self.transact(mem::take(&mut common)).await;
                    return Some(queued);
                }
                Task::Expire(table, now) => {
                    let (now, since, reply) = (to_millis(now), queued.since, queued.reply);
                    // After what was queued before it.
                    self.transact(mem::take(&mut common)).await;
                    self.sweeps.push_back(Sweep { table, now, removed: 0, since, reply });
                }
                Task::Damaged(generation) => {
                    self.transact(mem::take(&mut common)).await;
                    let outcome = if generation == self.shared.readers.generation() {
                        self.replace_file(true).await
                    } else {
                        Ok(())
                    };
                    answer(queued.reply, outcome.map(|()| 0));
                }
                Task::Moved(generation) => {
                    self.transact(mem::take(&mut common)).await;
                    let outcome = if generation == self.shared.readers.generation() {
                        self.replace_file(false).await
                    } else {
                        Ok(())
                    };
                    answer(queued.reply, outcome.map(|()| 0));
                }
                Task::LookForChanges => {
                    self.transact(mem::take(&mut common)).await;
                    self.look_for_changes().await;
                    answer(queued.reply, Ok(0));
                }
                Task::Together(_) => {
                    self.transact(mem::take(&mut common)).await;
                    self.transact_together(queued).await;
                }
                _ => common.push(queued),
            }
        }
        self.transact(common).await;
        None
    }

    /// One transaction for `batch`, tried until it succeeds or every task's budget is spent.
    async fn transact(&mut self, mut batch: Vec<Queued>) {
        let mut repaired = false;
        while !batch.is_empty() {
            let tasks: Vec<&Task> = batch.iter().map(|queued| &queued.task).collect();
            match self.attempt(&tasks, false).await {
                Ok(outcomes) => {
                    if mem::take(&mut self.orphaned) {
                        self.shared.forget().await;
                    }
                    for (queued, outcome) in batch.into_iter().zip(outcomes) {
                        answer(queued.reply, outcome);
                    }
                    return;
                }
                Err(error) if is_busy(&error) => self.fail_expired(&mut batch),
                Err(error) if !repaired && self.is_repaired(&error).await => repaired = true,
                Err(error) => {
                    for queued in batch {
                        answer(queued.reply, Err(error.clone()));
                    }
                    return;
                }
            }
        }
    }

    /// One transaction for a bulk of tasks, whole or not at all.
    async fn transact_together(&mut self, queued: Queued) {
        let Task::Together(tasks) = &queued.task else { return };
        let tasks: Vec<&Task> = tasks.iter().collect();
        let mut repaired = false;
        let outcome = loop {
            match self.attempt(&tasks, true).await {
                Ok(_) => {
                    // A bulk goes past the memory before the table, and nothing that it replaced may be served from there.
                    self.shared.forget().await;
                    break Ok(0);
                }
                Err(error) if is_busy(&error) => {
                    if queued.since.elapsed() >= self.shared.config().busy_timeout {
                        break Err(SqliteError::Busy);
                    }
                }
                Err(error) if !repaired && self.is_repaired(&error).await => repaired = true,
                Err(error) => break Err(error),
            }
        };
        answer(queued.reply, outcome);
    }

    fn fail_expired(&self, batch: &mut Vec<Queued>) {
        let budget = self.shared.config().busy_timeout;
        for queued in batch.extract_if(.., |queued| queued.since.elapsed() >= budget) {
            answer(queued.reply, Err(SqliteError::Busy));
        }
    }

    async fn attempt(&mut self, tasks: &[&Task], whole: bool) -> Result<Outcomes> {
        self.follow_file().await?;
        let fold = self.folded.elapsed() >= FOLD_EVERY && !self.shared.uses.is_empty();
        if fold {
            self.folded = Instant::now();
        }
        let Self { shared, access, totals, freed, orphaned, .. } = self;
        let mut held = access.connection().await?;
        let mut batch = Batch { connection: held.sqlite(), shared, totals, freed, orphaned, whole };
        batch.run(tasks, fold).await
    }

    /// One chunk of the first sweep.
    async fn sweep(&mut self) {
        let Some(mut sweep) = self.sweeps.pop_front() else { return };
        let outcome = async {
            self.follow_file().await?;
            let Self { shared, access, totals, freed, orphaned, .. } = &mut *self;
            let mut held = access.connection().await?;
            let mut batch = Batch { connection: held.sqlite(), shared, totals, freed, orphaned, whole: false };
            batch::expire_chunk(&mut batch, sweep.table, sweep.now).await
        }
        .await;
        match outcome {
            Ok(0) => answer(sweep.reply, Ok(sweep.removed)),
            Ok(removed) => {
                sweep.removed = sweep.removed.saturating_add(removed);
                sweep.since = Instant::now();
                self.sweeps.push_back(sweep);
            }
            Err(error) if is_busy(&error) && sweep.since.elapsed() < self.shared.config().busy_timeout => {
                self.sweeps.push_back(sweep);
            }
            Err(error) => {
                let repaired = self.is_repaired(&error).await;
                answer(sweep.reply, if repaired { Ok(sweep.removed) } else { Err(error) });
            }
        }
    }

    /// Whether a fault was one of the file, and there is a sound file now.
    async fn is_repaired(&mut self, error: &SqliteError) -> bool {
        match error.fault() {
            Some(Fault::Corrupt) => self.replace_file(true).await.is_ok(),
            Some(Fault::Moved) => self.replace_file(false).await.is_ok(),
            _ => false,
        }
    }

    /// Somebody may have removed or replaced the file (case 149): then what is there now is opened.
    async fn follow_file(&mut self) -> Result<()> {
        if let Access::File { source, connection, identity: ours } = &self.access
            && (connection.is_none() || identity(&source.path) != *ours)
        {
            self.replace_file(false).await?;
        }
        Ok(())
    }

    /// Lets go of the file, sets it aside where it is `broken`, and opens what is there then, or a new one.
    async fn replace_file(&mut self, broken: bool) -> Result<()> {
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
        Ok(())
    }

    async fn look_for_changes(&mut self) {
        let at = self.shared.changes.elapsed();
        let found = async {
            self.follow_file().await?;
            let mut held = self.access.connection().await?;
            let row = sqlx::query("PRAGMA data_version").fetch_one(held.sqlite()).await?;
            Ok::<i64, SqliteError>(row.try_get(0)?)
        }
        .await;
        // What cannot be asked counts as changed.
        let version = found.ok();
        if version.is_none() || (self.data_version.is_some() && version != self.data_version) {
            self.shared.forget().await;
        }
        self.data_version = version;
        self.shared.changes.looked(at);
    }

    /// Gives one step of free pages back to the file system; the next step follows when nothing is queued.
    async fn give_back_pages(&mut self) {
        let result = async {
            let mut held = self.access.connection().await?;
            let connection = held.sqlite();
            let row = sqlx::query("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
            let free: i64 = row.try_get(0)?;
            if free <= SPARE_PAGES {
                return Ok(false);
            }
            sqlx::query("PRAGMA incremental_vacuum(256)").fetch_all(&mut *connection).await?;
            let row = sqlx::query("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
            // A database made without incremental vacuum gives nothing back.
            Ok::<bool, SqliteError>(row.try_get::<i64, _>(0)? < free)
        }
        .await;
        self.freed = result.unwrap_or(false);
    }

    /// Writes what is left, lets go of the file, and refuses what still comes.
    async fn finish(mut self, closing: Option<Reply>) {
        self.queue.close();
        while !self.sweeps.is_empty() {
            self.sweep().await;
        }
        if !self.shared.uses.is_empty() {
            let result = async {
                let Self { shared, access, totals, freed, orphaned, .. } = &mut self;
                let mut held = access.connection().await?;
                let mut batch = Batch { connection: held.sqlite(), shared, totals, freed, orphaned, whole: false };
                batch.run(&[], true).await
            }
            .await;
            if let Err(error) = result {
                tracing::debug!(%error, "the order of use since the last write is lost");
            }
        }
        // Readers first: the last connection empties the journal, and only a writing one can.
        for connection in self.shared.readers.close() {
            connection.close().await;
        }
        if let Access::File { connection, .. } = &mut self.access
            && let Some(connection) = connection.take()
        {
            connection.close().await;
        }
        answer(closing, Ok(0));
        while let Ok(queued) = self.next_queued() {
            let outcome = if matches!(queued.task, Task::Close) { Ok(0) } else { Err(SqliteError::Closed) };
            answer(queued.reply, outcome);
        }
    }
}

impl Access {
    async fn connection(&mut self) -> Result<Held<'_>> {
        match self {
            Self::File { connection: Some(connection), .. } => Ok(Held::Own(connection)),
            Self::File { connection: None, .. } => Err(SqliteError::Closed),
            Self::Pool(pool) => Ok(Held::Lent(Conn::Lent(pool.acquire().await?))),
        }
    }
}

enum Held<'a> {
    Own(&'a mut Conn),
    Lent(Conn),
}

impl Held<'_> {
    fn sqlite(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Own(connection) => connection.sqlite(),
            Self::Lent(connection) => connection.sqlite(),
        }
    }
}

fn answer(reply: Option<Reply>, outcome: Result<u64>) {
    if let Some(reply) = reply {
        // Who asked may have been dropped.
        drop(reply.send(outcome));
    }
}
