//! The one task that writes: it drains its queue into one transaction after the other.
//!
//! It ends when every handle is gone or the cache is closed, with what is queued written. While another process holds
//! the lock it waits in short turns, and fails what has waited for longer than the budget (case 153). A damaged file
//! is set aside by this task and nobody else in this process, so that it happens once (case 141): see `upkeep`.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{collections::VecDeque, mem};

use hyper_client_cache_core::clock::to_millis;
use tokio::sync::{mpsc, oneshot};

use crate::batch::{self, Batch, Outcomes, Totals, is_busy};
use crate::census::Census;
use crate::error::{Result, SqliteError};
use crate::queue::{Queued, Task};
use crate::rows;
use crate::shared::Shared;
use crate::sql::Table;
use crate::upkeep::Access;

/// The most tasks in one transaction.
const MAX_BATCH: usize = 512;

/// The most bytes in one transaction, beyond the first task.
const MAX_BATCH_BYTES: u64 = 16 * 1024 * 1024;

/// How often uses are written down while there is something else to write.
const FOLD_EVERY: Duration = Duration::from_secs(1);

/// Works until the queue ends.
pub(crate) async fn run(shared: Arc<Shared>, access: Access, queue: mpsc::Receiver<Queued>) {
    let writer = Writer {
        census: Census::new(shared.config().absent_limit()),
        shared,
        access,
        queue,
        totals: None,
        freed: false,
        orphaned: false,
        unsettled: Vec::new(),
        folded: Instant::now(),
        sweeps: VecDeque::new(),
        held_back: None,
        data_version: None,
    };
    writer.work().await;
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) access: Access,
    queue: mpsc::Receiver<Queued>,
    /// What the tables held after the last transaction; `None` before the first.
    pub(crate) totals: Option<Totals>,
    /// Whether rows were removed since pages were last given back.
    pub(crate) freed: bool,
    /// Whether heads may be in memory whose parts are gone from the database.
    orphaned: bool,
    /// The tables whose recent places have become many.
    pub(crate) unsettled: Vec<Table>,
    folded: Instant,
    /// Removals of what is dead, done a chunk at a time between other work.
    sweeps: VecDeque<Sweep>,
    /// Taken from the queue and too large for the transaction that was being put together.
    held_back: Option<Queued>,
    pub(crate) data_version: Option<i64>,
    pub(crate) census: Census,
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
            let next = if self.sweeps.is_empty() && !self.census.is_busy(&self.shared.absent) {
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
                self.go_on_counting().await;
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
            self.settle().await;
        };
        self.finish(closing).await;
    }

    /// Adds what else is queued, within the limits of one transaction.
    fn drain_into(&mut self, batch: &mut Vec<Queued>) {
        // What is written together must fit together, so it is kept far below the bound.
        let limit = self.shared.max_bytes().map_or(MAX_BATCH_BYTES, |bound| MAX_BATCH_BYTES.min(bound / 4));
        let mut bytes: u64 = batch.iter().map(|queued| rows::added(&queued.task)).fold(0, u64::saturating_add);
        while batch.len() < MAX_BATCH {
            let Ok(queued) = self.queue.try_recv() else { break };
            bytes = bytes.saturating_add(rows::added(&queued.task));
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
        let Self { shared, access, totals, freed, orphaned, unsettled, census, .. } = self;
        let mut held = access.connection().await?;
        census.add(tasks);
        let mut batch = Batch { connection: held.sqlite(), shared, totals, freed, orphaned, unsettled, whole };
        batch.run(tasks, fold).await
    }

    /// One chunk of the first sweep.
    async fn sweep(&mut self) {
        let Some(mut sweep) = self.sweeps.pop_front() else { return };
        let outcome = async {
            self.follow_file().await?;
            let Self { shared, access, totals, freed, orphaned, unsettled, .. } = &mut *self;
            let mut held = access.connection().await?;
            let connection = held.sqlite();
            let mut batch = Batch { connection, shared, totals, freed, orphaned, unsettled, whole: false };
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

    /// Writes what is left, lets go of the file, and refuses what still comes.
    async fn finish(mut self, closing: Option<Reply>) {
        self.queue.close();
        while !self.sweeps.is_empty() {
            self.sweep().await;
        }
        if !self.shared.uses.is_empty() {
            let result = async {
                let Self { shared, access, totals, freed, orphaned, unsettled, .. } = &mut self;
                let mut held = access.connection().await?;
                let connection = held.sqlite();
                let mut batch = Batch { connection, shared, totals, freed, orphaned, unsettled, whole: false };
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

fn answer(reply: Option<Reply>, outcome: Result<u64>) {
    if let Some(reply) = reply {
        // Who asked may have been dropped.
        drop(reply.send(outcome));
    }
}
