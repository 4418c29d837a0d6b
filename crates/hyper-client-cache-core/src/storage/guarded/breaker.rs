//! A circuit breaker: after repeated faults nobody asks any more, but for one probe now and then.
//!
//! Time is that of the runtime ([`tokio::time`]), which no change of the wall clock moves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The longest wait between two probes: recovery is noticed within this and one probe.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(2);

/// How often at most the log says that a breaker has opened.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What a breaker thinks of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls are made.
    Closed,
    /// Calls are refused at once.
    Open,
    /// Calls are refused, and one that probes the store is under way.
    HalfOpen,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Go,
    /// One call is needed that probes the store; whoever is told so must [report](Breaker::report) or
    /// [give up](Breaker::give_up).
    Probe,
    Refused,
}

/// What an admitted call has to say about the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Answered,
    Fault,
}

#[derive(Debug)]
pub(super) struct Breaker {
    faults: u32,
    probe_after: Duration,
    // Closed without a fault since the last answer: the usual case takes no lock.
    healthy: AtomicBool,
    state: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    warned: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { faults: u32 },
    Open { until: Instant, wait: Duration },
    Probing { wait: Duration },
}

impl Breaker {
    /// Opens after `faults` faults in a row, and probes `probe_after` later, then at growing distances.
    pub(super) fn new(faults: u32, probe_after: Duration) -> Self {
        let state = Mutex::new(Inner { state: State::Closed { faults: 0 }, warned: None });
        Self { faults, probe_after, healthy: AtomicBool::new(true), state }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.lock().state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Probing { .. } => BreakerState::HalfOpen,
        }
    }

    pub(super) fn admit(&self) -> Admission {
        if self.healthy.load(Ordering::Acquire) {
            return Admission::Go;
        }
        let mut inner = self.lock();
        match inner.state {
            State::Closed { .. } => Admission::Go,
            State::Open { until, wait } if until <= Instant::now() => {
                inner.state = State::Probing { wait };
                Admission::Probe
            }
            State::Open { .. } | State::Probing { .. } => Admission::Refused,
        }
    }

    /// Takes note of how a call went; `true` where that has opened the breaker.
    pub(super) fn report(&self, admission: Admission, verdict: Verdict, store: &str, what: &str) -> bool {
        if verdict == Verdict::Answered && self.healthy.load(Ordering::Acquire) {
            return false;
        }
        let mut inner = self.lock();
        match (admission, verdict, inner.state) {
            (Admission::Go, Verdict::Answered, State::Closed { .. }) => {
                inner.state = State::Closed { faults: 0 };
                self.healthy.store(true, Ordering::Release);
            }
            (Admission::Go, Verdict::Fault, State::Closed { faults }) => {
                let faults = faults.saturating_add(1);
                self.healthy.store(false, Ordering::Release);
                if faults < self.faults {
                    inner.state = State::Closed { faults };
                    return false;
                }
                inner.open(self.probe_after);
                let now = Instant::now();
                let may_warn = inner.warned.is_none_or(|at| now.duration_since(at) >= WARN_EVERY);
                if may_warn {
                    inner.warned = Some(now);
                }
                drop(inner);
                if may_warn {
                    tracing::warn!(store, faults, "{what} fail: the store is left alone until a probe succeeds");
                } else {
                    tracing::debug!(store, faults, "{what} fail again: the store is left alone");
                }
                return true;
            }
            (Admission::Probe, Verdict::Answered, State::Probing { .. }) => {
                inner.state = State::Closed { faults: 0 };
                self.healthy.store(true, Ordering::Release);
                drop(inner);
                tracing::info!(store, "{what} succeed again");
            }
            (Admission::Probe, Verdict::Fault, State::Probing { wait }) => {
                inner.open(wait.saturating_mul(2).min(MAX_PROBE_WAIT).max(self.probe_after));
            }
            // A call that began before the breaker changed its mind says nothing about the store now.
            _ => {}
        }
        false
    }

    /// Lets another probe begin, where one has ended without a word.
    pub(super) fn give_up(&self, admission: Admission) {
        if admission != Admission::Probe {
            return;
        }
        let mut inner = self.lock();
        if let State::Probing { wait } = inner.state {
            inner.open(wait);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn open(&mut self, wait: Duration) {
        let now = Instant::now();
        self.state = State::Open { until: now.checked_add(wait).unwrap_or(now), wait };
    }
}
