//! The way of one call through a guard: may it be made, is there room for it, how long does it take, how did it end.
//!
//! Each guarded storage has a gate of its own, with its counters and its order of keys; breaker and room are the
//! guard's, which several gates share.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use super::breaker::{Admission, Breaker, Verdict};
use super::order::{Changes, Order, Turn};
use super::stats::{Counters, GuardStats};
use crate::error::{Error, ErrorKind, Result};

/// How long what was left behind goes on after the last handle on the storage is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a call is for, which decides how long it may take and what it may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A request waits for it.
    Look,
    /// It must not get lost where that can be helped.
    Delete,
    /// Nobody waits for it, and it may be dropped.
    Write,
    /// It takes as long as there is something in the store.
    Bulk,
}

/// One call, in what the guard has to know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) class: Class,
    pub(crate) changes: Changes<'a>,
    /// How much memory it holds while it waits.
    pub(crate) bytes: u64,
}

/// Asks the store for anything, to see whether it answers.
pub(crate) type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

pub(crate) struct Gate {
    desk: Arc<Desk>,
    order: Arc<Order>,
    closed: AtomicBool,
    probe: Probe,
    // Its end tells those who run on after their callers that nobody is left.
    _alive: watch::Sender<()>,
}

/// What a call needs to the end, also where nobody has the storage any more.
pub(super) struct Desk {
    guard: Arc<Shared>,
    counters: Counters,
    store: &'static str,
    alive: watch::Receiver<()>,
}

impl Gate {
    pub(crate) fn new(guard: Arc<Shared>, store: &'static str, probe: Probe) -> Self {
        let (_alive, alive) = watch::channel(());
        let desk = Arc::new(Desk { guard, counters: Counters::default(), store, alive });
        Self { desk, order: Arc::default(), closed: AtomicBool::new(false), probe, _alive }
    }

    /// Whether calls run on in tasks of their own.
    pub(crate) fn detaches(&self) -> bool {
        self.desk.guard.settings.detach
    }

    /// How long a look-up takes at most.
    pub(crate) fn deadline(&self) -> Duration {
        self.desk.guard.settings.deadline
    }

    pub(super) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    pub(crate) fn stats(&self) -> GuardStats {
        self.desk.counters.read()
    }

    /// Makes a call, if it may be made, and returns its result at the deadline at the latest.
    ///
    /// Outside of a Tokio runtime there are no deadlines, and the call is made as it is.
    pub(crate) async fn run<T, F>(&self, call: Call<'_>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let pass = self.admit(call.class)?;
        let Ok(runtime) = Handle::try_current() else { return work.await };
        let desk = &self.desk;
        let allowed = desk.guard.settings.deadline(call.class);
        let until = Instant::now().checked_add(allowed);
        let permit = desk.room(call, until).await?;
        let turn = if desk.guard.settings.detach { self.order.enter(call.changes) } else { None };
        let mut work = Box::pin(sound(permit, turn, work));
        let attempt = Attempt { desk: desk.clone(), pass, class: call.class, began: Some(Instant::now()), allowed };
        if !desk.guard.settings.detach {
            return attempt.judge(within(until, work).await);
        }
        // What is done at once (a tier in memory, a closed storage) needs no task.
        if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return attempt.judge(Some(result));
        }
        let (answer, answered) = oneshot::channel();
        runtime.spawn(async move {
            let desk = attempt.desk.clone();
            let result = within(until, work.as_mut()).await;
            let in_time = result.is_some();
            // Whoever asked may be gone; that the store was slow is counted all the same.
            let _ = answer.send(attempt.judge(result));
            if !in_time {
                desk.run_on(work).await;
            }
        });
        // The sender is lost only with the runtime.
        answered.await.unwrap_or_else(|_| Err(unavailable("the runtime is shutting down")))
    }

    /// Whether a call may begin that makes its own way from there (a listing).
    pub(crate) fn check(&self) -> Result<()> {
        self.admit(Class::Bulk).map(drop)
    }

    /// Counts and reports what became of one item of a listing; `None` where it did not come in time.
    pub(crate) fn note<T>(&self, result: Option<Result<T>>) -> Result<T> {
        let pass = Pass { breaker: Side::Server, admission: Admission::Go };
        let desk = self.desk.clone();
        Attempt { desk, pass, class: Class::Bulk, began: None, allowed: Duration::ZERO }.judge(result)
    }

    /// Closes what `work` closes, within the deadline for that. Every later call is refused.
    pub(crate) async fn close<F>(&self, work: F) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.shut();
        let Ok(runtime) = Handle::try_current() else { return work.await };
        let allowed = self.desk.guard.settings.close_deadline;
        let desk = self.desk.clone();
        let mut turn = self.order.enter(Changes::All);
        let (answer, answered) = oneshot::channel();
        runtime.spawn(async move {
            let mut work = Box::pin(async move {
                if let Some(turn) = &mut turn {
                    turn.comes().await;
                }
                work.await
            });
            match timeout(allowed, work.as_mut()).await {
                Ok(result) => drop(answer.send(result)),
                Err(_) => {
                    desk.count(|counters| &counters.timed_out);
                    let _ = answer.send(Err(unavailable("the store was not closed in time")));
                    desk.run_on(work).await;
                }
            }
        });
        answered.await.unwrap_or_else(|_| Err(unavailable("the runtime is shutting down")))
    }

    /// Refuses every later call.
    pub(crate) fn shut(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn admit(&self, class: Class) -> Result<Pass> {
        if self.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "the guarded storage is closed"));
        }
        let desk = &self.desk;
        match desk.guard.server.admit() {
            Admission::Go => {}
            admission => {
                if admission == Admission::Probe {
                    self.send_probe();
                }
                desk.count(|counters| &counters.refused);
                return Err(unavailable("the store failed before and is left alone for now"));
            }
        }
        if class != Class::Write {
            return Ok(Pass { breaker: Side::Server, admission: Admission::Go });
        }
        match desk.guard.writes.admit() {
            Admission::Refused => {
                desk.count(|counters| &counters.refused);
                Err(unavailable("the store took no writes before and is given none for now"))
            }
            admission => Ok(Pass { breaker: Side::Writes, admission }),
        }
    }

    /// Probes the store without anybody waiting for it.
    fn send_probe(&self) {
        let pass = Pass { breaker: Side::Server, admission: Admission::Probe };
        let desk = self.desk.clone();
        let allowed = desk.guard.settings.deadline(Class::Look);
        // Without a runtime it is dropped, and given up.
        let attempt = Attempt { desk: desk.clone(), pass, class: Class::Look, began: None, allowed };
        let Ok(runtime) = Handle::try_current() else { return };
        let probe = self.probe.clone();
        runtime.spawn(async move {
            // Calls into the storage, which may panic.
            let mut work = Box::pin(sound(None, None, async move { probe().await }));
            let result = timeout(allowed, work.as_mut()).await.ok();
            let in_time = result.is_some();
            attempt.probed(result);
            if !in_time && desk.guard.settings.detach {
                desk.run_on(work).await;
            }
        });
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let server = self.desk.guard.server.state();
        f.debug_struct("Gate").field("server", &server).field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl Desk {
    /// Room for a call under way. Where there is none, it is waited for until the call's deadline.
    async fn room(&self, call: Call<'_>, until: Option<Instant>) -> Result<Option<OwnedSemaphorePermit>> {
        let (room, waiting) = match call.class {
            Class::Look | Class::Delete => (&self.guard.calls, None),
            Class::Write => (&self.guard.writing, Some(&self.guard.queue)),
            Class::Bulk => return Ok(None),
        };
        if let Ok(permit) = room.clone().try_acquire_owned() {
            return Ok(Some(permit));
        }
        let in_time = match waiting.map(|queue| queue.enter(call.bytes, &self.guard)) {
            Some(None) => None,
            place => {
                let permit = within(until, Box::pin(room.clone().acquire_owned())).await;
                drop(place);
                permit
            }
        };
        // The semaphore is never closed.
        if let Some(Ok(permit)) = in_time {
            return Ok(Some(permit));
        }
        if waiting.is_some() {
            self.count(|counters| &counters.dropped);
            return Err(unavailable("too many writes wait for the store"));
        }
        self.count(|counters| &counters.overloaded);
        Err(unavailable("too much is under way to the store"))
    }

    /// Lets a call end that must not be dropped half-way, for as long as that is worth it.
    pub(super) async fn run_on<T>(&self, work: impl Future<Output = T>) {
        let mut alive = self.alive.clone();
        let orphaned = async {
            while alive.changed().await.is_ok() {}
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            _ = timeout(self.guard.settings.run_on, work) => {}
            () = orphaned => {}
        }
    }

    fn count(&self, counter: impl Fn(&Counters) -> &super::stats::Counter) {
        counter(&self.counters).add();
        counter(&self.guard.counters).add();
    }
}

/// The writes that wait for room.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Waiting {
    fn enter<'a>(&'a self, bytes: u64, guard: &Shared) -> Option<Place<'a>> {
        self.entries.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        // Leaves again when dropped.
        let place = Place { queue: self, bytes };
        let settings = &guard.settings;
        let fits = self.entries.load(Ordering::Acquire) <= settings.queue_entries
            && self.bytes.load(Ordering::Acquire) <= settings.queue_bytes;
        fits.then_some(place)
    }
}

struct Place<'a> {
    queue: &'a Waiting,
    bytes: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.entries.fetch_sub(1, Ordering::AcqRel);
        self.queue.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Leave to make a call.
#[derive(Clone, Copy, Debug)]
struct Pass {
    breaker: Side,
    admission: Admission,
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Server,
    Writes,
}

/// A call under way. Dropped without a verdict, it lets another probe begin.
struct Attempt {
    desk: Arc<Desk>,
    pass: Pass,
    class: Class,
    // When the call was made, where it may have waited for room before.
    began: Option<Instant>,
    allowed: Duration,
}

impl Attempt {
    /// Counts a result and tells the breaker; no result is one that did not come in time.
    fn judge<T>(mut self, result: Option<Result<T>>) -> Result<T> {
        match result {
            Some(Ok(value)) => {
                self.report(Verdict::Answered);
                Ok(value)
            }
            Some(Err(error)) => {
                match error.kind() {
                    // What is said of an entry, or of the storage by its owner.
                    ErrorKind::TooLarge | ErrorKind::Config | ErrorKind::Closed => {}
                    _ => self.desk.count(|counters| &counters.failed),
                }
                self.report(if is_fault(&error) { Verdict::Fault } else { Verdict::Answered });
                Err(error)
            }
            None => {
                // Most of the time may have gone by before the call was made: that is not the store's fault.
                if self.began.is_none_or(|began| began.elapsed().saturating_mul(2) >= self.allowed) {
                    self.desk.count(|counters| &counters.timed_out);
                    self.report(Verdict::Fault);
                } else if self.class == Class::Write {
                    self.desk.count(|counters| &counters.dropped);
                } else {
                    self.desk.count(|counters| &counters.overloaded);
                }
                Err(unavailable("the store did not answer in time"))
            }
        }
    }

    /// What a probe has found. It is nobody's call, so that it is not counted.
    fn probed(mut self, result: Option<Result<()>>) {
        let answered = result.is_some_and(|result| !result.is_err_and(|error| is_fault(&error)));
        self.report(if answered { Verdict::Answered } else { Verdict::Fault });
    }

    fn report(&mut self, verdict: Verdict) {
        let what = match self.pass.breaker {
            Side::Server => "calls",
            Side::Writes => "writes",
        };
        if self.breaker().report(self.pass.admission, verdict, self.desk.store, what) {
            self.desk.count(|counters| &counters.opened);
        }
        self.pass.admission = Admission::Go;
    }

    fn breaker(&self) -> &Breaker {
        match self.pass.breaker {
            Side::Server => &self.desk.guard.server,
            Side::Writes => &self.desk.guard.writes,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.breaker().give_up(self.pass.admission);
    }
}

/// `work`, once its turn has come; a panic in it is an error of it.
async fn sound<T>(
    permit: Option<OwnedSemaphorePermit>,
    mut turn: Option<Turn>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let _permit = permit;
    if let Some(turn) = &mut turn {
        turn.comes().await;
    }
    let mut work = pin!(work);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(Error::new(ErrorKind::Storage, "the storage has panicked"))))
    })
    .await
}

/// The result of `work`, if it comes until then.
async fn within<F: Future + Unpin>(until: Option<Instant>, work: F) -> Option<F::Output> {
    match until {
        Some(until) => timeout_at(until, work).await.ok(),
        None => Some(work.await),
    }
}

/// Whether an error says that the store as a whole is in trouble.
fn is_fault(error: &Error) -> bool {
    error.is_transient() || matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Connect)
}

pub(super) fn unavailable(context: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, context).transient()
}
