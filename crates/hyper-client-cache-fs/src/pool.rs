//! Blocking work on a bounded number of threads of the runtime's blocking pool.
//!
//! One hop per operation: where a thread is free the work starts on it at once; where all are busy it waits in a queue,
//! and whoever gets done takes the next. So ten thousand operations at once neither start ten thousand threads nor wake
//! a task for each (case 241). The order is that of arrival.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::error::{FsError, Result};

type Job = Box<dyn FnOnce() + Send>;

/// How many pieces of work without haste wait for one more thread.
const CROWD: usize = 64;

/// How soon work is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// As soon as there is a thread.
    Some,
    /// It may wait behind others, so that not every processor is taken from whoever asks for something meanwhile.
    None,
}

/// A bound on threads, and what waits for one. No thread is kept while there is nothing to do.
pub(crate) struct Pool {
    limit: usize,
    /// How many threads begin without haste.
    few: usize,
    state: Mutex<State>,
    idle: Notify,
}

#[derive(Default)]
struct State {
    active: usize,
    waiting: VecDeque<Job>,
}

impl Pool {
    /// At most `limit` threads; for work without haste `few`, and one more for each [`CROWD`] that waits.
    pub(crate) fn new(limit: usize, few: usize) -> Arc<Self> {
        let limit = limit.max(1);
        Arc::new(Self { limit, few: few.clamp(1, limit), state: Mutex::default(), idle: Notify::new() })
    }

    /// Runs `work` to its end, also where the future is dropped half-way.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        haste: Haste,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        self.submit(haste, move || {
            // Nobody waits any more: the work was done all the same.
            drop(done.send(work()));
        })?;
        result.await.map_err(|_| FsError::NoRuntime)
    }

    /// Runs `work` without anybody waiting for it.
    pub(crate) fn submit(self: &Arc<Self>, haste: Haste, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let runtime = Handle::try_current().map_err(|_| FsError::NoRuntime)?;
        let mut state = self.state();
        let most = match haste {
            Haste::Some => self.limit,
            Haste::None => self.limit.min(self.few.saturating_add(state.waiting.len() / CROWD)),
        };
        if state.active >= most {
            state.waiting.push_back(Box::new(work));
            return Ok(());
        }
        state.active = state.active.saturating_add(1);
        drop(state);
        let mut slot = Slot { pool: Arc::clone(self), held: true };
        drop(runtime.spawn_blocking(move || {
            work();
            while let Some(next) = slot.next() {
                next();
            }
        }));
        Ok(())
    }

    /// Waits until nothing runs or waits.
    pub(crate) async fn until_idle(&self) {
        loop {
            let mut notified = pin!(self.idle.notified());
            // Enabled before the look, so that no notice is missed.
            notified.as_mut().enable();
            if self.state().active == 0 {
                return;
            }
            notified.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (active, waiting) = {
            let state = self.state();
            (state.active, state.waiting.len())
        };
        f.debug_struct("Pool")
            .field("limit", &self.limit)
            .field("active", &active)
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

/// One of the threads, while it is at work or about to be.
struct Slot {
    pool: Arc<Pool>,
    held: bool,
}

impl Slot {
    /// The next piece of work; where there is none the slot is given back in the same moment, so that nothing can be
    /// put into the queue that nobody will look into.
    fn next(&mut self) -> Option<Job> {
        let mut state = self.pool.state();
        let next = state.waiting.pop_front();
        if next.is_none() {
            self.held = false;
            state.active = state.active.saturating_sub(1);
            if state.active == 0 {
                self.pool.idle.notify_waiters();
            }
        }
        next
    }
}

impl Drop for Slot {
    // Only where the work panicked, or the runtime ended before this thread began.
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let mut state = self.pool.state();
        state.active = state.active.saturating_sub(1);
        // With nobody left to take it, whoever waits for what is queued hears that nobody will.
        let lost = if state.active == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
        if state.active == 0 {
            self.pool.idle.notify_waiters();
        }
        drop(state);
        drop(lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Case 241: ten thousand at once use no more threads than allowed, and all get done.
    #[tokio::test(flavor = "multi_thread")]
    async fn ten_thousand_at_once_stay_within_the_bound() {
        let pool = Pool::new(3, 3);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..10_000)
            .map(|number| {
                let (pool, running, most) = (pool.clone(), running.clone(), most.clone());
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        number
                    };
                    pool.run(Haste::Some, work).await.unwrap()
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), number);
        }
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
        pool.until_idle().await;
    }

    /// Work without haste takes one thread after the other as it piles up; what is in haste does not wait behind it.
    #[tokio::test(flavor = "multi_thread")]
    async fn work_without_haste_leaves_threads_to_others() {
        let pool = Pool::new(4, 1);
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let wait = |_| {
            let gate = gate.clone();
            pool.submit(Haste::None, move || assert!(gate.lock().unwrap().recv().is_err())).unwrap();
        };
        (0..CROWD).for_each(wait);
        assert_eq!(pool.state().active, 1);
        assert!(pool.run(Haste::Some, || true).await.unwrap());
        (0..2 * CROWD).for_each(wait);
        assert_eq!(pool.state().active, 3);
        (0..10 * CROWD).for_each(wait);
        assert_eq!(pool.state().active, 4);
        drop(release);
        pool.until_idle().await;
    }

    #[test]
    fn without_a_runtime_it_is_an_error() {
        let pool = Pool::new(1, 1);
        assert!(matches!(pool.submit(Haste::Some, || ()), Err(FsError::NoRuntime)));
    }

    /// What waits behind a runtime that ends is told, and the next runtime starts anew.
    #[test]
    fn a_runtime_that_ends_leaves_no_slot_taken() {
        let pool = Pool::new(1, 1);
        for _ in 0..3 {
            let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
            let (pool, blocker) = (pool.clone(), Arc::new(Mutex::new(())));
            let held = blocker.lock().unwrap();
            let wait = blocker.clone();
            let _guard = runtime.enter();
            // The only thread is busy with something else, so that ours does not begin before the runtime ends.
            drop(runtime.spawn_blocking(move || drop(wait.lock().unwrap())));
            pool.submit(Haste::Some, || ()).unwrap();
            pool.submit(Haste::Some, || ()).unwrap();
            drop(_guard);
            runtime.shutdown_background();
            drop(held);
            for _ in 0..1000 {
                if pool.state().active == 0 {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            assert_eq!(pool.state().active, 0);
        }
    }
}
