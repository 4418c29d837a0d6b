//! The way of one call through a guard: may it be made, is there room for it, how long does it take, how did it end.
//!
//! Each guarded storage has a gate of its own, with its counters and its order of keys; breaker and room are the
//! guard's, which several gates share.

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use super::attempt::{Attempt, Side};
use super::breaker::Admission;
use super::look::{Look, UnderWay};
use super::order::{Changes, Order, Turn};
use super::room::{Full, Permit};
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
    pub(super) guard: Arc<Shared>,
    counters: Counters,
    pub(super) store: &'static str,
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
        let desk = &self.desk;
        let mut attempt = self.admit(desk.clone(), call.class)?;
        let Ok(runtime) = Handle::try_current() else { return work.await };
        let until = Instant::now().checked_add(attempt.allowed);
        let permit = desk.enter(call, until).await?;
        let turn = if desk.guard.settings.detach { self.order.enter(call.changes) } else { None };
        let work = Box::pin(sound(turn, work));
        attempt.began = Some(Instant::now());
        if !desk.guard.settings.detach {
            return attempt.judge(within(until, work).await);
        }
        let mut under_way = UnderWay { attempt, permit, until, work };
        if call.class == Class::Look {
            return Look { runtime, under_way: Some(under_way) }.answer().await;
        }
        // What is done at once (a tier in memory, a closed storage) needs no task.
        if let Poll::Ready(result) = under_way.work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return under_way.attempt.judge(Some(result));
        }
        let (answer, answered) = oneshot::channel();
        // Whoever asked may be gone; that the store was slow is counted all the same.
        runtime.spawn(under_way.finish(|result| drop(answer.send(result))));
        // The sender is lost only with the runtime.
        answered.await.unwrap_or_else(|_| Err(unavailable("the runtime is shutting down")))
    }

    /// A look-up that ends with its caller, for a guard whose calls do not run on. Otherwise as [`run`](Self::run).
    ///
    /// It needs nothing of its own: many at once do not write to what they all share but for their room.
    pub(crate) async fn look<T>(&self, work: BoxFuture<'_, Result<T>>) -> Result<T> {
        let desk = &*self.desk;
        let mut attempt = self.admit(desk, Class::Look)?;
        if !is_in_runtime() {
            return work.await;
        }
        let mut began = Instant::now();
        let until = began.checked_add(attempt.allowed);
        let at_once = desk.guard.room.look();
        let _waited_for = if at_once.is_none() {
            let permit = desk.enter(Call { class: Class::Look, changes: Changes::Nothing, bytes: 0 }, until).await?;
            began = Instant::now();
            permit
        } else {
            None
        };
        attempt.began = Some(began);
        attempt.judge(within(until, pin!(sound(None, work))).await)
    }

    /// Whether a call may begin that makes its own way from there (a listing).
    pub(crate) fn check(&self) -> Result<()> {
        self.admit(&*self.desk, Class::Bulk).map(drop)
    }

    /// Counts and reports what became of one item of a listing; `None` where it did not come in time.
    pub(crate) fn note<T>(&self, result: Option<Result<T>>) -> Result<T> {
        self.attempt(&*self.desk, Class::Bulk, Side::Server, Admission::Go).judge(result)
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
        let turn = self.order.enter(Changes::All);
        let (answer, answered) = oneshot::channel();
        runtime.spawn(async move {
            let mut work = Box::pin(sound(turn, work));
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

    fn admit<D: Deref<Target = Desk>>(&self, desk: D, class: Class) -> Result<Attempt<D>> {
        if self.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "the guarded storage is closed"));
        }
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
            return Ok(self.attempt(desk, class, Side::Server, Admission::Go));
        }
        match desk.guard.writes.admit() {
            Admission::Refused => {
                desk.count(|counters| &counters.refused);
                Err(unavailable("the store took no writes before and is given none for now"))
            }
            admission => Ok(self.attempt(desk, class, Side::Writes, admission)),
        }
    }

    fn attempt<D: Deref<Target = Desk>>(
        &self,
        desk: D,
        class: Class,
        breaker: Side,
        admission: Admission,
    ) -> Attempt<D> {
        let allowed = self.desk.guard.settings.deadline(class);
        Attempt { desk, class, breaker, admission, began: None, allowed }
    }

    /// Probes the store without anybody waiting for it.
    fn send_probe(&self) {
        // Without a runtime it is dropped, and given up.
        let attempt = self.attempt(self.desk.clone(), Class::Look, Side::Server, Admission::Probe);
        let Ok(runtime) = Handle::try_current() else { return };
        let (probe, desk) = (self.probe.clone(), self.desk.clone());
        runtime.spawn(async move {
            // Calls into the storage, which may panic.
            let mut work = Box::pin(sound(None, async move { probe().await }));
            let result = timeout(attempt.allowed, work.as_mut()).await.ok();
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
    /// Room for a call; where there is none until then, that is counted.
    async fn enter(&self, call: Call<'_>, until: Option<Instant>) -> Result<Permit> {
        self.guard.room.enter(call, until, &self.guard.settings).await.map_err(|full| self.no(call, full))
    }

    /// Counts a call for which there was no room.
    fn no(&self, call: Call<'_>, _: Full) -> Error {
        if call.class == Class::Write {
            self.count(|counters| &counters.dropped);
            return unavailable("too many writes wait for the store");
        }
        self.count(|counters| &counters.overloaded);
        unavailable("too much is under way to the store")
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

    pub(super) fn count(&self, counter: impl Fn(&Counters) -> &super::stats::Counter) {
        counter(&self.counters).add();
        counter(&self.guard.counters).add();
    }
}

/// `work`, once its turn has come; a panic in it is an error of it.
async fn sound<T>(mut turn: Option<Turn>, work: impl Future<Output = Result<T>>) -> Result<T> {
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
pub(super) async fn within<F: Future + Unpin>(until: Option<Instant>, work: F) -> Option<F::Output> {
    match until {
        Some(until) => timeout_at(until, work).await.ok(),
        None => Some(work.await),
    }
}

/// Whether there is a runtime; in a task of one it is there without its handle, which all tasks share.
fn is_in_runtime() -> bool {
    tokio::task::try_id().is_some() || Handle::try_current().is_ok()
}

pub(super) fn unavailable(context: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, context).transient()
}
