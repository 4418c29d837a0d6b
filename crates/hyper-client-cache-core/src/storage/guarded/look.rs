//! A call that goes on to its end, and a look-up that its caller makes itself for as long as it waits for it.
//!
//! A task costs two changes of threads, which is much beside the answer of a server nearby. So a look-up has one only for
//! what is left of it, when its deadline has passed or its caller has gone. What changes something has one from the
//! start: others wait for its turn, whether its caller goes on asking or not.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::attempt::Attempt;
use super::gate::{unavailable, within};
use super::room::Permit;
use crate::error::Result;

/// A call that has begun.
pub(super) struct UnderWay<W> {
    pub(super) attempt: Attempt,
    pub(super) permit: Permit,
    pub(super) until: Option<Instant>,
    pub(super) work: Pin<Box<W>>,
}

/// A look-up that has begun. Dropped before its end, it goes on in a task.
pub(super) struct Look<T, W>
where
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    pub(super) runtime: Handle,
    pub(super) under_way: Option<UnderWay<W>>,
}

impl<T, W> UnderWay<W>
where
    W: Future<Output = Result<T>>,
{
    /// Says what came of it at the deadline at the latest, and goes on to its end.
    pub(super) async fn finish(mut self, answer: impl FnOnce(Result<T>)) {
        let result = within(self.until, self.work.as_mut()).await;
        let desk = self.attempt.desk.clone();
        let in_time = result.is_some();
        answer(self.attempt.judge(result));
        if !in_time {
            let _permit = desk.guard.room.stray(self.permit);
            desk.run_on(self.work).await;
        }
    }
}

impl<T, W> Look<T, W>
where
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    /// What came of it, at the deadline at the latest.
    pub(super) async fn answer(mut self) -> Result<T> {
        let result = match &mut self.under_way {
            Some(call) => unless_shutting_down(within(call.until, call.work.as_mut())).await,
            None => None,
        };
        let (Some(result), Some(call)) = (result, self.under_way.take()) else {
            return Err(unavailable("the runtime is shutting down"));
        };
        let UnderWay { attempt, permit, work, .. } = call;
        if result.is_none() {
            let desk = attempt.desk.clone();
            self.runtime.spawn(async move {
                let _permit = desk.guard.room.stray(permit);
                desk.run_on(work).await;
            });
        }
        attempt.judge(result)
    }
}

impl<T, W> Drop for Look<T, W>
where
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    fn drop(&mut self) {
        if let Some(call) = self.under_way.take() {
            self.runtime.spawn(call.finish(drop));
        }
    }
}

/// What comes of `work`; `None` where the runtime has gone in which it was begun, for Tokio's timers panic then.
async fn unless_shutting_down<F: Future>(work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    poll_fn(|cx| catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx).map(Some))).unwrap_or(Poll::Ready(None))).await
}
