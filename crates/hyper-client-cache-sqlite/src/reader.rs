//! Reading: a few read-only connections, and the gathering of reads that find none idle.
//!
//! A read that finds a connection idle runs its own select on it, without any other task.
//! One that finds none waits in a queue; a connection that becomes free is handed to the first who waits, and that one
//! reads for all of them with one `IN (..)` statement. Whoever is dropped while it reads for others only makes those
//! ask again; a connection comes back whatever happens to its holder, because its [`Lease`] does that when dropped.
//!
//! Nobody need drop or poll a future that has begun, so connections may be held by reads that do not go on, while
//! whoever keeps those waits for another read. So a read that waits for long gets a connection beyond the usual number,
//! and an error where there are too many of those.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_client_cache_core::storage::CacheKey;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::connect::{Conn, Source};
use crate::error::{Result, SqliteError};
use crate::lease::{Lease, Row};
use crate::sql::{MAX_ROWS, Table};

/// How long a read waits for a connection before it gets one beyond the usual number.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many times the usual number of connections there may be.
const MOST: usize = 3;

/// How long a read waits for a connection where there are no more.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// The connections that read.
#[derive(Debug)]
pub(crate) struct Readers {
    state: Mutex<State>,
    limit: usize,
}

#[derive(Debug)]
struct State {
    source: Source,
    immutable: bool,
    /// Counts how often the file was replaced; a connection of an earlier count is not used again.
    generation: u64,
    closed: bool,
    /// How many connections there are or are being made.
    open: usize,
    idle: Vec<Conn>,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    /// What is wanted; `None`: a connection.
    want: Option<(Table, CacheKey)>,
    reply: oneshot::Sender<Reply>,
}

#[derive(Debug)]
enum Reply {
    /// Somebody read it.
    Row(Result<Option<Row>>),
    /// Use this connection, for yourself and for who else waits.
    Lead(Lease),
    /// There is room for one more connection, or the readers are closed: ask again.
    Again,
}

impl Readers {
    pub(crate) fn new(source: Source, limit: usize, immutable: bool) -> Self {
        let state = State {
            source,
            immutable,
            generation: 0,
            closed: false,
            open: 0,
            idle: Vec::with_capacity(limit),
            waiting: VecDeque::new(),
        };
        Self { state: Mutex::new(state), limit }
    }

    /// The row under `key`.
    pub(crate) async fn row(self: &Arc<Self>, table: Table, key: &CacheKey) -> Result<Option<Row>> {
        loop {
            match self.acquire(Some((table, *key))).await? {
                Acquired::Row(row) => return row,
                Acquired::Lease { mut lease, leads: false } => return lease.read_one(table, key).await,
                Acquired::Lease { mut lease, leads: true } => return self.lead(&mut lease, table, key).await,
                Acquired::Again => {}
            }
        }
    }

    /// The row under `key` of responses, and that of redirects, unless the latter was not looked at: in one statement
    /// where a connection is idle, for a hop to its thread is what a read costs.
    pub(crate) async fn row_and_redirect(
        self: &Arc<Self>,
        key: &CacheKey,
    ) -> Result<(Option<Row>, Option<Option<Row>>)> {
        let response = match self.acquire(Some((Table::Responses, *key))).await? {
            Acquired::Lease { mut lease, leads: false } => {
                let (response, redirect) = lease.read_both(key).await?;
                return Ok((response, Some(redirect)));
            }
            Acquired::Row(row) => row?,
            Acquired::Lease { mut lease, leads: true } => self.lead(&mut lease, Table::Responses, key).await?,
            Acquired::Again => self.row(Table::Responses, key).await?,
        };
        match response {
            Some(response) => Ok((Some(response), None)),
            None => Ok((None, Some(self.row(Table::Redirects, key).await?))),
        }
    }

    /// A connection for whatever takes more than one row.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease> {
        loop {
            match self.acquire(None).await? {
                Acquired::Lease { lease, .. } => return Ok(lease),
                Acquired::Row(_) | Acquired::Again => {}
            }
        }
    }

    /// Adds a connection that was opened elsewhere.
    pub(crate) fn add(&self, connection: Conn) {
        let mut state = self.lock();
        state.open = state.open.saturating_add(1);
        state.idle.push(connection);
    }

    /// Lets go of the file: connections in use end with their use. Those that were idle are returned, to be closed.
    pub(crate) fn retire(&self) -> Vec<Conn> {
        let mut state = self.lock();
        state.generation = state.generation.wrapping_add(1);
        let idle = mem::take(&mut state.idle);
        state.open = state.open.saturating_sub(idle.len());
        idle
    }

    /// As [`retire`](Self::retire), and every later read is refused.
    pub(crate) fn close(&self) -> Vec<Conn> {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            mem::take(&mut state.waiting)
        };
        for waiter in waiting {
            drop(waiter.reply.send(Reply::Again));
        }
        self.retire()
    }

    /// Which file the connections read: changes when it is replaced.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Takes a connection back where its lease ends, or the place of one that there is not: it goes to who waits.
    pub(crate) fn take_back(self: &Arc<Self>, mut connection: Option<Conn>, generation: u64) {
        let mut state = self.lock();
        let usable = connection
            .as_ref()
            .is_some_and(|connection| !state.closed && state.generation == generation && !connection.is_lent());
        if !usable {
            state.open = state.open.saturating_sub(1);
            // Whoever waits may make a new one.
            while let Some(waiter) = state.waiting.pop_front() {
                if waiter.reply.send(Reply::Again).is_ok() {
                    break;
                }
            }
            drop(state);
            drop(connection);
            return;
        }
        while let Some(waiter) = state.waiting.pop_front() {
            let lease = Lease::new(connection.take(), generation, self.clone());
            match waiter.reply.send(Reply::Lead(lease)) {
                // Its own drop would ask for the lock, which is held here.
                Err(Reply::Lead(refused)) => connection = refused.dissolve(),
                _ => return,
            }
        }
        if state.open <= self.limit {
            state.idle.extend(connection);
            return;
        }
        // One beyond the usual number.
        state.open = state.open.saturating_sub(1);
        drop(state);
        drop(connection);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn acquire(self: &Arc<Self>, want: Option<(Table, CacheKey)>) -> Result<Acquired> {
        enum Turn {
            Use(Lease),
            Connect(Attempt),
            Wait(oneshot::Receiver<Reply>),
        }
        let turn = {
            let mut state = self.lock();
            if state.closed {
                return Err(SqliteError::Closed);
            }
            if let Some(connection) = state.idle.pop() {
                Turn::Use(self.lease_of(&state, Some(connection)))
            } else if let Some(attempt) = self.attempt(&mut state, self.limit) {
                Turn::Connect(attempt)
            } else {
                let (reply, answer) = oneshot::channel();
                state.waiting.push_back(Waiter { want, reply });
                Turn::Wait(answer)
            }
        };
        match turn {
            Turn::Use(lease) => Ok(Acquired::Lease { lease, leads: false }),
            Turn::Connect(attempt) => attempt.connect().await,
            Turn::Wait(answer) => self.wait(answer).await,
        }
    }

    async fn wait(self: &Arc<Self>, mut answer: oneshot::Receiver<Reply>) -> Result<Acquired> {
        // A timer, but only for those who find all connections in use.
        let mut answered = timeout(PATIENCE, &mut answer).await;
        if answered.is_err() {
            let attempt = self.attempt(&mut self.lock(), self.limit.saturating_mul(MOST));
            if let Some(attempt) = attempt {
                answer.close();
                match answer.try_recv() {
                    // Just now. The place is given back.
                    Ok(reply) => answered = Ok(Ok(reply)),
                    Err(_) => return attempt.connect().await,
                }
            } else {
                answered = timeout(LAST_PATIENCE, answer).await;
            }
        }
        match answered {
            Ok(Ok(Reply::Row(row))) => Ok(Acquired::Row(row)),
            Ok(Ok(Reply::Lead(lease))) => Ok(Acquired::Lease { lease, leads: true }),
            Ok(Ok(Reply::Again) | Err(_)) => Ok(Acquired::Again),
            Err(_) => Err(SqliteError::Crowded),
        }
    }

    /// A place for one more connection, where there are fewer than `limit`.
    fn attempt(self: &Arc<Self>, state: &mut State, limit: usize) -> Option<Attempt> {
        if state.closed || state.open >= limit {
            return None;
        }
        // A lease without a connection keeps the place, and gives it back where the attempt fails or is dropped.
        state.open = state.open.saturating_add(1);
        Some(Attempt { lease: self.lease_of(state, None), source: state.source.clone(), immutable: state.immutable })
    }

    fn lease_of(self: &Arc<Self>, state: &State, connection: Option<Conn>) -> Lease {
        Lease::new(connection, state.generation, self.clone())
    }

    /// Reads for oneself and for all who wait.
    async fn lead(&self, lease: &mut Lease, table: Table, key: &CacheKey) -> Result<Option<Row>> {
        let others = self.take_waiting();
        if others.is_empty() {
            return lease.read_one(table, key).await;
        }
        let mut own = Ok(None);
        let mut others = others;
        for of in Table::ALL {
            let group: Vec<_> = others.extract_if(.., |(waiting, _, _)| *waiting == of).collect();
            let mut keys: Vec<CacheKey> = group.iter().map(|(_, key, _)| *key).collect();
            if of == table {
                keys.push(*key);
            }
            if keys.is_empty() {
                continue;
            }
            let found = lease.read_many(of, &keys).await;
            if of == table {
                own = found.as_ref().map(|rows| rows.get(key).cloned()).map_err(Clone::clone);
            }
            for (_, key, reply) in group {
                let row = found.as_ref().map(|rows| rows.get(&key).cloned()).map_err(Clone::clone);
                drop(reply.send(Reply::Row(row)));
            }
        }
        own
    }

    fn take_waiting(&self) -> Vec<(Table, CacheKey, oneshot::Sender<Reply>)> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        let mut kept = VecDeque::new();
        while let Some(Waiter { want, reply }) = state.waiting.pop_front() {
            match want {
                Some((table, key)) if taken.len() < MAX_ROWS.saturating_sub(1) => {
                    if !reply.is_closed() {
                        taken.push((table, key, reply));
                    }
                }
                _ => kept.push_back(Waiter { want, reply }),
            }
        }
        state.waiting = kept;
        taken
    }
}

enum Acquired {
    Row(Result<Option<Row>>),
    Lease { lease: Lease, leads: bool },
    Again,
}

/// A connection that is to be made.
struct Attempt {
    lease: Lease,
    source: Source,
    immutable: bool,
}

impl Attempt {
    async fn connect(self) -> Result<Acquired> {
        let Self { mut lease, source, immutable } = self;
        let connection = match source {
            Source::File(file) if immutable => Conn::Own(file.immutable_reader().await?),
            Source::File(file) => Conn::Own(file.reader().await?),
            Source::Pool(pool) => Conn::Lent(pool.acquire().await?),
        };
        lease.fill(connection);
        Ok(Acquired::Lease { lease, leads: false })
    }
}
