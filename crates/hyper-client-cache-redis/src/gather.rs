//! Look-ups that are asked for while others are under way go to the server together.
//!
//! What a look-up costs here is not its keys but its command: the way through the driver's task, a timer, a reply that is
//! waited for. So one that finds little under way is sent at once, by itself; the others wait until something comes back,
//! and then go as one `MGET`, for which a task is made. Whoever made a look-up that went by itself reads it himself, and
//! a task that reads for several goes on as long as one of them waits: nobody's leaving is felt by another. Nor is it felt
//! where somebody neither goes on nor leaves: those who wait go on when his answer comes, not when he takes it.
//!
//! On a cluster keys of several requests lie in several slots, and each look-up goes by itself.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fred::types::Value;
use futures_util::future::{Either, select};
use hyper_client_cache_core::storage::CacheKey;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{RedisError, Result};
use crate::keyspace::Keyspace;
use crate::link::{Link, MAX_QUEUED};

/// How many commands are under way before look-ups wait for each other.
const UNDER_WAY: usize = 2;

/// How many look-ups go together at most, each with one key or two.
const GATHERED: usize = 32;

/// How old what was found out about the connection may be for those who are going to wait.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The values under the keys of response and redirect.
pub(crate) type Found = [Option<Bytes>; 2];

/// Which of the two are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Response,
    Both,
}

/// The look-ups of a cache.
pub(crate) struct Gather {
    link: Arc<Link>,
    spaces: [Arc<Keyspace>; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: usize,
    waiting: VecDeque<Waiter>,
    /// When there was a connection, as somebody saw who was going to wait.
    connected: Option<Instant>,
}

struct Waiter {
    key: CacheKey,
    wanted: Wanted,
    since: Instant,
    reply: oneshot::Sender<Result<Found>>,
}

impl Gather {
    /// Looks up under the keys of `spaces`, both of which lie in one slot for each entry.
    pub(crate) fn new(link: Arc<Link>, spaces: [Arc<Keyspace>; 2]) -> Self {
        Self { link, spaces, state: Mutex::default() }
    }

    /// What is stored under `key`.
    pub(crate) async fn read(self: &Arc<Self>, key: &CacheKey, wanted: Wanted) -> Result<Found> {
        // The driver's future is large, and those who wait have none: apart, it takes no room in theirs.
        let alone = || Box::pin(self.alone(key, wanted));
        if self.link.is_clustered() {
            return alone().await;
        }
        match self.enter(key, wanted)? {
            Turn::Now(place) => Passing::new(alone(), place).await,
            // Whoever would have read it is lost only with its runtime.
            Turn::Wait(found) => match found.await {
                Ok(found) => found,
                Err(_) => alone().await,
            },
        }
    }

    /// What is stored under `key`, by a command of its own.
    async fn alone(&self, key: &CacheKey, wanted: Wanted) -> Result<Found> {
        let mut found = self.link.get_all(self.keys([(key, wanted)]), Duration::ZERO).await?.into_iter();
        Ok(wanted.next(&mut found))
    }

    fn enter(self: &Arc<Self>, key: &CacheKey, wanted: Wanted) -> Result<Turn> {
        let mut state = self.lock();
        if state.under_way < UNDER_WAY {
            state.under_way = state.under_way.saturating_add(1);
            return Ok(Turn::Now(Place(Arc::clone(self))));
        }
        let now = Instant::now();
        if state.connected.is_none_or(|seen| now.duration_since(seen) >= LOOK_AGAIN) {
            // Those who are under way when a connection is lost may wait long for the next one.
            self.link.check_connected()?;
            state.connected = Some(now);
        }
        if state.waiting.len() >= MAX_QUEUED {
            state.waiting.retain(|waiter| !waiter.reply.is_closed());
            if state.waiting.len() >= MAX_QUEUED {
                return Err(RedisError::Crowded);
            }
        }
        let (reply, found) = oneshot::channel();
        state.waiting.push_back(Waiter { key: *key, wanted, since: now, reply });
        Ok(Turn::Wait(found))
    }

    /// Those who wait and go next; where nobody does, one less is under way.
    fn next(&self) -> Vec<Waiter> {
        let mut state = self.lock();
        let mut batch = Vec::with_capacity(state.waiting.len().min(GATHERED));
        while batch.len() < GATHERED
            && let Some(waiter) = state.waiting.pop_front()
        {
            if !waiter.reply.is_closed() {
                batch.push(waiter);
            }
        }
        if batch.is_empty() {
            state.under_way = state.under_way.saturating_sub(1);
        }
        batch
    }

    /// Reads for all of `batch`, as long as one of them waits.
    async fn read_all(&self, mut batch: Vec<Waiter>) {
        let keys = self.keys(batch.iter().map(|waiter| (&waiter.key, waiter.wanted)));
        let waited = batch.first().map(|eldest| eldest.since.elapsed()).unwrap_or_default();
        let found = {
            let reading = pin!(self.link.get_all(keys, waited));
            let left = pin!(async {
                for waiter in &mut batch {
                    waiter.reply.closed().await;
                }
            });
            match select(reading, left).await {
                Either::Left((found, _)) => found,
                Either::Right(_) => return,
            }
        };
        match found {
            Ok(values) => {
                let mut values = values.into_iter();
                for Waiter { wanted, reply, .. } in batch {
                    let found = wanted.next(&mut values);
                    // Nobody waits for it any more.
                    let _ = reply.send(Ok(found));
                }
            }
            Err(error) => {
                for Waiter { reply, .. } in batch {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// The keys on the server of what is wanted, in one piece of memory.
    fn keys<'a>(&self, wanted: impl IntoIterator<Item = (&'a CacheKey, Wanted), IntoIter: Clone>) -> Vec<Value> {
        let wanted = wanted.into_iter();
        let each = || wanted.clone().flat_map(|(key, wanted)| wanted.of(&self.spaces).iter().map(move |of| (of, key)));
        let len = each().fold(0, |len: usize, (space, key)| len.saturating_add(space.key_len(key)));
        let mut text = BytesMut::with_capacity(len);
        let keys = each().map(|(space, key)| {
            space.write_owner(key, &mut text);
            Value::Bytes(text.split().freeze())
        });
        keys.collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let (under_way, waiting) = (state.under_way, state.waiting.len());
        drop(state);
        f.debug_struct("Gather").field("under_way", &under_way).field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl Wanted {
    /// Of two things, of which the first is the response's, those that are asked for.
    fn of<T>(self, both: &[T; 2]) -> &[T] {
        match (self, both) {
            (Self::Response, [response, _]) => std::slice::from_ref(response),
            (Self::Both, both) => both,
        }
    }

    /// What was found, from the values of several.
    fn next(self, values: &mut impl Iterator<Item = Option<Bytes>>) -> Found {
        let response = values.next().flatten();
        [response, if self == Self::Both { values.next().flatten() } else { None }]
    }
}

enum Turn {
    Now(Place),
    Wait(oneshot::Receiver<Result<Found>>),
}

/// One of the commands that may be under way. Whoever has it passes it on to those who wait, whatever becomes of him.
struct Place(Arc<Gather>);

impl Drop for Place {
    fn drop(&mut self) {
        let batch = self.0.next();
        if batch.is_empty() {
            return;
        }
        let place = Self(Arc::clone(&self.0));
        // Without a runtime each of them reads for himself.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move { place.0.read_all(batch).await });
    }
}

/// A look-up that has a place, which it gives back when its answer has come, before anybody looks at that: whoever has
/// asked may have begun something else first.
struct Passing<F> {
    work: F,
    hold: Arc<Hold>,
}

/// What is done when the answer comes. One more allocation for a look-up that goes by itself; those that wait have none.
struct Hold(Mutex<(Option<Place>, Option<Waker>)>);

impl<F> Passing<F> {
    fn new(work: F, place: Place) -> Self {
        Self { work, hold: Arc::new(Hold(Mutex::new((Some(place), None)))) }
    }
}

impl<F: Future + Unpin> Future for Passing<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.hold.lock().1 = Some(cx.waker().clone());
        let waker = Waker::from(Arc::clone(&self.hold));
        Pin::new(&mut self.work).poll(&mut Context::from_waker(&waker))
    }
}

impl<F> Drop for Passing<F> {
    fn drop(&mut self) {
        self.hold.release();
    }
}

impl Hold {
    fn lock(&self) -> MutexGuard<'_, (Option<Place>, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self) -> Option<Waker> {
        // Given back after the lock is, because others are sent on their way by that.
        let (place, waker) = std::mem::take(&mut *self.lock());
        drop(place);
        waker
    }
}

impl Wake for Hold {
    fn wake(self: Arc<Self>) {
        if let Some(waker) = self.release() {
            waker.wake();
        }
    }
}
