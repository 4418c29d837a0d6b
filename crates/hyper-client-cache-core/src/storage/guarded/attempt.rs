//! One call under way: how it ended, what that says of the store, what is counted.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Admission, Breaker, Verdict};
use super::gate::{Class, Desk, unavailable};
use crate::error::{Error, ErrorKind, Result};

/// Which breaker lets a call through, and learns how it went.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Server,
    Writes,
}

/// A call that was let through. Dropped without a verdict, it lets another probe begin.
///
/// One that goes on in a task has the desk; one that ends with its caller borrows it.
pub(super) struct Attempt<D: Deref<Target = Desk> = Arc<Desk>> {
    pub(super) desk: D,
    pub(super) class: Class,
    pub(super) breaker: Side,
    pub(super) admission: Admission,
    // When the call was made, where it may have waited for room before.
    pub(super) began: Option<Instant>,
    pub(super) allowed: Duration,
}

impl<D: Deref<Target = Desk>> Attempt<D> {
    /// Counts a result and tells the breaker; no result is one that did not come in time.
    pub(super) fn judge<T>(mut self, result: Option<Result<T>>) -> Result<T> {
        match result {
            Some(Ok(value)) => {
                self.report(Verdict::Answered);
                Ok(value)
            }
            Some(Err(error)) => {
                match error.kind() {
                    // What is said of an entry, or of the storage by its owner.
                    ErrorKind::TooLarge | ErrorKind::Closed => {}
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
    pub(super) fn probed(mut self, result: Option<Result<()>>) {
        let answered = result.is_some_and(|result| !result.is_err_and(|error| is_fault(&error)));
        self.report(if answered { Verdict::Answered } else { Verdict::Fault });
    }

    fn report(&mut self, verdict: Verdict) {
        let what = match self.breaker {
            Side::Server => "calls",
            Side::Writes => "writes",
        };
        if self.breaker().report(self.admission, verdict, self.desk.store, what) {
            self.desk.count(|counters| &counters.opened);
        }
        self.admission = Admission::Go;
    }

    fn breaker(&self) -> &Breaker {
        match self.breaker {
            Side::Server => &self.desk.guard.server,
            Side::Writes => &self.desk.guard.writes,
        }
    }
}

impl<D: Deref<Target = Desk>> Drop for Attempt<D> {
    fn drop(&mut self) {
        self.breaker().give_up(self.admission);
    }
}

/// Whether an error says that the store as a whole is in trouble.
fn is_fault(error: &Error) -> bool {
    error.is_transient() || matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Connect)
}
