//! The way to the server: when to connect, whether there is a connection, and what commands cost at most.
//!
//! One connection to each server, on which commands follow one another as they were asked for: a deletion that comes
//! after a write can never overtake it. The driver matches replies to commands by their order, in a task of its own,
//! whoever still waits for them; so a future may be dropped at any point, and the next one does not get its reply.
//!
//! A cache asks a server that is there, or does without: nothing waits for a connection but the first use.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::{Client, Pipeline, WithOptions};
use fred::interfaces::{ClientLike, ClusterInterface, FredResult, KeysInterface, MetricsInterface};
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, CustomCommand, Expiration, Resp3Frame, SetOptions, Value};
use fred::util::redis_keyslot;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::connection::{Ending, State, hold};
use crate::error::{Fault, RedisError, Result};
use crate::silence::{Silence, Waiting};

/// How long a failed try to connect is the answer to whoever asks, before another is made.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The most calls that wait to be sent. The driver would hold any number, also for callers who have gone.
pub(crate) const MAX_QUEUED: usize = 4096;

/// The least that a command is given: none at all means any time to the driver.
const LEAST_TIMEOUT: Duration = Duration::from_millis(1);

/// The most keys that one `UNLINK` removes.
const UNLINKED: usize = 256;

/// How long closing waits for what is under way.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection, or the lack of one. Closed and stopped when it is dropped.
pub(crate) struct Link {
    /// The driver's client with what our commands want: no second try, for the caller has its origin to ask.
    /// Another one after each try to connect that failed, because the driver's counters do not survive that.
    calls: RwLock<WithOptions<Client>>,
    /// Whether the client is ours to connect and to close.
    owned: bool,
    clustered: bool,
    closed: AtomicBool,
    state: Arc<watch::Sender<State>>,
    silence: Silence,
    /// The task that connects and then waits for the connection to end.
    task: Mutex<Option<AbortHandle>>,
}

/// A command that goes to the server with others.
pub(crate) enum Command {
    /// The whole value.
    Get(String),
    /// The first bytes of a value.
    Beginning { key: String, len: usize },
    /// Stores a value.
    Set(Set),
    /// Removes keys, which lie in one slot where there is a cluster; see [`Link::unlinks`].
    Unlink(Vec<String>),
}

/// What `SET` is told.
pub(crate) struct Set {
    pub(crate) key: String,
    pub(crate) value: Bytes,
    /// `PXAT`, in milliseconds since 1970.
    pub(crate) until: Option<i64>,
    /// `XX`.
    pub(crate) only_if_there: bool,
}

impl Link {
    /// A link over `client`, which it connects and closes if it is `owned`.
    pub(crate) fn new(client: Client, owned: bool, command_timeout: Duration) -> Self {
        let options = Options { timeout: Some(command_timeout), fail_fast: true, ..Options::default() };
        Self {
            clustered: client.is_clustered(),
            calls: RwLock::new(client.with_options(&options)),
            owned,
            closed: AtomicBool::new(false),
            state: Arc::new(watch::Sender::new(State::Idle)),
            silence: Silence::new(command_timeout),
            task: Mutex::default(),
        }
    }

    /// Whether keys lie on several servers, so that one command takes those of one slot.
    pub(crate) const fn is_clustered(&self) -> bool {
        self.clustered
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(RedisError::Closed) } else { Ok(()) }
    }

    /// Fails where there was a connection and is none at present, or where nobody is let in any more.
    pub(crate) fn check_connected(&self) -> Result<()> {
        self.check_open()?;
        let is_connected = self.calls.read().unwrap_or_else(PoisonError::into_inner).is_connected();
        let was_connected = || !self.owned || matches!(*self.state.borrow(), State::Made);
        if !is_connected && was_connected() { Err(RedisError::NotConnected(None)) } else { Ok(()) }
    }

    /// The client, once it has connected for the first time; where it was connected and is no more, an error at once, and
    /// the driver goes on trying.
    async fn ready(&self) -> Result<(WithOptions<Client>, Waiting)> {
        self.check_open()?;
        if self.owned && !matches!(*self.state.borrow(), State::Made) {
            self.dial()?;
            let mut state = self.state.subscribe();
            // The sender is in `self`, so there is always an answer.
            let state = state.wait_for(|state| !matches!(state, State::Pending)).await;
            if let Ok(State::Failed { why, .. }) = state.as_deref() {
                return Err(RedisError::NotConnected(why.clone()));
            }
        }
        let calls = self.calls();
        if !calls.is_connected() {
            return Err(RedisError::NotConnected(None));
        }
        if calls.command_queue_len() >= MAX_QUEUED {
            return Err(RedisError::Crowded);
        }
        let (silent, doubted) = (self.silence.asked(), self.silence.doubted());
        if self.owned && (silent || doubted) {
            // Where nothing comes from anywhere, one server speaks for all.
            let servers = if silent { vec![calls.clone()] } else { servers(&calls) };
            self.silence.probe(servers, lock(&self.task).clone(), silent);
        }
        Ok((calls, self.silence.wait()))
    }

    /// The result of a command; any answer of the server shows that it is there.
    fn heard<T>(waiting: Waiting, result: FredResult<T>) -> Result<T> {
        let result = result.map_err(RedisError::from);
        if has_come(&result) {
            waiting.answered();
        }
        result
    }

    fn calls(&self) -> WithOptions<Client> {
        self.calls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects, and waits until the server answers to a command of ours.
    pub(crate) async fn connect(&self) -> Result<()> {
        let (calls, waiting) = match self.ready().await {
            Ok(ready) => ready,
            // What the driver said is the answer here, not that there is no connection.
            Err(RedisError::NotConnected(Some(why))) => {
                let fault = why.fault();
                return Err(RedisError::Failed { fault, source: why });
            }
            Err(error) => return Err(error),
        };
        // Credentials that are missing are noticed only now.
        Self::heard(waiting, calls.ping::<()>(None).await)
    }

    /// The value under `key`.
    pub(crate) async fn get(&self, key: String) -> Result<Option<Bytes>> {
        let (calls, waiting) = self.ready().await?;
        Self::heard(waiting, calls.get(key).await)
    }

    /// The values under any number of keys of one slot, by one command, for which somebody has `waited` already.
    pub(crate) async fn get_all(&self, keys: Vec<Value>, waited: Duration) -> Result<Vec<Option<Bytes>>> {
        let count = keys.len();
        let (mut calls, waiting) = self.ready().await?;
        if !waited.is_zero() {
            let allowed = calls.options().timeout.map(|timeout| timeout.saturating_sub(waited).max(LEAST_TIMEOUT));
            calls = Client::with_options(&calls, &Options { timeout: allowed, ..calls.options().clone() });
        }
        // As it comes: the driver's `mget` makes two more lists of it.
        let command = CustomCommand::new_static("MGET", ClusterHash::FirstKey, false);
        let frame = Self::heard(waiting, calls.custom_raw(command, keys).await)?;
        match frame {
            Resp3Frame::Array { data, .. } if data.len() == count => data.into_iter().map(value).collect(),
            // An error, if it is one.
            other => Value::try_from(other).map_err(RedisError::from).and(Err(RedisError::Unexpected("MGET"))),
        }
    }

    /// The first `len` bytes of the value under `key`; none where there is none.
    pub(crate) async fn beginning(&self, key: String, len: usize) -> Result<Bytes> {
        let (calls, waiting) = self.ready().await?;
        Self::heard(waiting, calls.getrange(key, 0, len.saturating_sub(1)).await)
    }

    /// Stores a value; `false` where it was to be there and is not.
    pub(crate) async fn set(&self, set: Set) -> Result<bool> {
        let (calls, waiting) = self.ready().await?;
        let (expire, options) = set.options();
        let done = calls.set::<Value, _, _>(set.key, set.value, expire, options, false).await;
        Ok(!Self::heard(waiting, done)?.is_null())
    }

    /// Removes a key; whether it was there.
    pub(crate) async fn unlink(&self, key: String) -> Result<bool> {
        let (calls, waiting) = self.ready().await?;
        Ok(Self::heard(waiting, calls.unlink::<u64, _>(key).await)? > 0)
    }

    /// The commands that remove `keys`: one for [`UNLINKED`] of them; on a cluster, one for those of a slot.
    pub(crate) fn unlinks(&self, keys: Vec<String>) -> Vec<Command> {
        let groups = if self.clustered {
            let mut slots = BTreeMap::<u16, Vec<String>>::new();
            for key in keys {
                slots.entry(redis_keyslot(key.as_bytes())).or_default().push(key);
            }
            slots.into_values().collect()
        } else {
            vec![keys]
        };
        groups.iter().flat_map(|keys| keys.chunks(UNLINKED)).map(|keys| Command::Unlink(keys.to_vec())).collect()
    }

    /// Sends all commands at once, in this order for each server; each has a result of its own.
    pub(crate) async fn run(&self, commands: Vec<Command>) -> Result<Vec<Result<Value>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let count = commands.len();
        let (calls, waiting) = self.ready().await?;
        let pipeline = Pipeline::from(calls);
        for command in commands {
            // Only queued here: nothing waits.
            match command {
                Command::Get(key) => pipeline.get::<(), _>(key).await?,
                Command::Beginning { key, len } => {
                    pipeline.getrange::<(), _>(key, 0, len.saturating_sub(1)).await?;
                }
                Command::Set(set) => {
                    let (expire, options) = set.options();
                    pipeline.set::<(), _, _>(set.key, set.value, expire, options, false).await?;
                }
                Command::Unlink(keys) => pipeline.unlink::<(), _>(keys).await?,
            }
        }
        let results = pipeline.try_all::<Value>().await;
        let mut results: Vec<_> = results.into_iter().map(|result| result.map_err(RedisError::from)).collect();
        if results.iter().all(has_come) {
            waiting.answered();
        }
        if results.len() == count {
            return Ok(results);
        }
        // One error for all.
        Err(results.pop().and_then(Result::err).unwrap_or(RedisError::Unexpected("a pipeline")))
    }

    /// The servers that keys are spread over; `None` stands for the only one.
    pub(crate) async fn nodes(&self) -> Result<Vec<Option<Server>>> {
        let (calls, waiting) = self.ready().await?;
        waiting.never_mind();
        if !self.clustered {
            return Ok(vec![None]);
        }
        let state = calls.cached_cluster_state().ok_or(RedisError::NotConnected(None))?;
        Ok(state.unique_primary_nodes().into_iter().map(Some).collect())
    }

    /// A page of the keys on `node` that match, and the cursor of the next; `None` after the last.
    pub(crate) async fn scan(
        &self,
        node: Option<&Server>,
        cursor: String,
        pattern: String,
        count: u32,
    ) -> Result<(Option<String>, Vec<Bytes>)> {
        let (calls, waiting) = self.ready().await?;
        let calls = on(&calls, node.cloned());
        let page = calls.scan_page::<(String, Vec<Bytes>), _, _>(cursor, pattern, Some(count), None).await;
        let (next, keys) = Self::heard(waiting, page)?;
        Ok(((next != "0").then_some(next), keys))
    }

    /// The server's clock, in milliseconds since 1970.
    pub(crate) async fn time(&self) -> Result<i64> {
        let (calls, waiting) = self.ready().await?;
        let command = CustomCommand::new_static("TIME", ClusterHash::Random, false);
        let time = calls.custom::<(i64, i64), _>(command, Vec::<Value>::new()).await;
        let (seconds, micros) = Self::heard(waiting, time)?;
        Ok(seconds.saturating_mul(1000).saturating_add(micros.checked_div(1000).unwrap_or_default()))
    }

    /// Lets nobody in any more, waits for what was sent, and lets go of the connection if it is ours.
    pub(crate) async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) || !self.owned {
            return;
        }
        let calls = self.calls();
        if calls.is_connected() {
            // Goes after all that was sent before; a server that does not answer is not waited for. Not with our options:
            // the driver calls itself disconnected from here on, and what is to fail fast would fail.
            let client = Client::clone(&calls);
            let _ = timeout(QUIT_TIMEOUT, client.quit()).await;
            let mut state = self.state.subscribe();
            let _ = timeout(QUIT_TIMEOUT, state.wait_for(|state| !matches!(state, State::Made))).await;
        }
        self.stop();
    }

    /// Begins to connect, unless that is under way or was tried a moment ago.
    fn dial(&self) -> Result<()> {
        let mut task = lock(&self.task);
        match &*self.state.borrow() {
            State::Pending | State::Made => return Ok(()),
            State::Failed { at, .. } if at.elapsed() < RETRY_AFTER => return Ok(()),
            State::Failed { .. } | State::Idle => {}
        }
        let runtime = Handle::try_current().map_err(|_| RedisError::NoRuntime)?;
        let client = {
            let mut calls = self.calls.write().unwrap_or_else(PoisonError::into_inner);
            if task.is_some() {
                *calls = calls.clone_new().with_options(calls.options());
            }
            Client::clone(&calls)
        };
        self.state.send_replace(State::Pending);
        *task = Some(runtime.spawn(hold(client, Ending::new(&self.state))).abort_handle());
        Ok(())
    }

    fn stop(&self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Set {
    fn options(&self) -> (Option<Expiration>, Option<SetOptions>) {
        (self.until.map(Expiration::PXAT), self.only_if_there.then_some(SetOptions::XX))
    }
}

/// The same client, for each of the servers that it is connected to.
fn servers(calls: &WithOptions<Client>) -> Vec<WithOptions<Client>> {
    if !calls.is_clustered() {
        return vec![calls.clone()];
    }
    let state = calls.cached_cluster_state();
    let nodes = state.map(|state| state.unique_primary_nodes()).unwrap_or_default();
    nodes.into_iter().map(|node| on(calls, Some(node))).collect()
}

/// The same client for one node of a cluster.
fn on(calls: &WithOptions<Client>, node: Option<Server>) -> WithOptions<Client> {
    let options = Options { cluster_node: node, ..calls.options().clone() };
    // Of the client itself: options around options are overruled by the inner ones.
    Client::with_options(calls, &options)
}

/// A value of a list as it comes.
fn value(frame: Resp3Frame) -> Result<Option<Bytes>> {
    match frame {
        Resp3Frame::BlobString { data, .. } => Ok(Some(data)),
        Resp3Frame::Null => Ok(None),
        other => Ok(Value::try_from(other)?.convert()?),
    }
}

/// Whether a result is the server's.
fn has_come<T>(result: &Result<T>) -> bool {
    let fault = result.as_ref().err().and_then(RedisError::fault);
    !matches!(fault, Some(Fault::Unreachable | Fault::Timeout | Fault::Crowded))
}

/// Whether a failure is that of a key, and the rest of a batch is fine.
pub(crate) fn is_of_the_key(error: &RedisError) -> bool {
    error.fault() == Some(Fault::WrongType)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
