//! Which answer a request gets, and what is remembered of it.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use tokio::sync::watch;

use super::Answer;

/// A request as the origin received it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// The method.
    pub method: Method,
    /// Path and query; host and port of a CONNECT.
    pub target: String,
    /// The HTTP version.
    pub version: Version,
    /// The header lines.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Which connection it came over, counted from 1.
    pub connection: u64,
}

impl Recorded {
    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The first line of a header field as text; `None` where it is missing or not ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What answers the requests of one path: an [`Answer`], several of them in sequence (the last one repeats), or a
/// closure that is given the request.
pub trait Respond: Send + Sync + 'static {
    /// The answer to `request`, before which this one has answered `earlier` others.
    fn respond(&self, request: &Recorded, earlier: usize) -> Answer;
}

impl<F: Fn(&Recorded) -> Answer + Send + Sync + 'static> Respond for F {
    fn respond(&self, request: &Recorded, _earlier: usize) -> Answer {
        self(request)
    }
}

impl Respond for Answer {
    fn respond(&self, _request: &Recorded, _earlier: usize) -> Answer {
        self.clone()
    }
}

impl<const N: usize> Respond for [Answer; N] {
    fn respond(&self, _request: &Recorded, earlier: usize) -> Answer {
        in_sequence(self, earlier)
    }
}

impl Respond for Vec<Answer> {
    fn respond(&self, _request: &Recorded, earlier: usize) -> Answer {
        in_sequence(self, earlier)
    }
}

fn in_sequence(answers: &[Answer], earlier: usize) -> Answer {
    answers.get(earlier).or(answers.last()).cloned().unwrap_or_else(|| Answer::status(404))
}

/// Everything that the connections share.
pub(super) struct Script {
    state: Mutex<State>,
    fallback: Option<Arc<dyn Respond>>,
    // Requests so far, for those who wait for one.
    pub(super) arrivals: watch::Sender<u64>,
    // Connections that have ended.
    pub(super) disconnections: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    routes: HashMap<String, Route>,
    fallback_used: usize,
    requests: Vec<Recorded>,
    connections: u64,
    goaways: u64,
    panic: Option<Box<dyn Any + Send>>,
}

struct Route {
    respond: Arc<dyn Respond>,
    used: usize,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("requests", &*self.arrivals.borrow()).finish_non_exhaustive()
    }
}

/// The handler panicked; the test will hear of it from the origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panicked;

impl Script {
    pub(super) fn new(fallback: Option<Arc<dyn Respond>>) -> Self {
        Self {
            state: Mutex::default(),
            fallback,
            arrivals: watch::Sender::new(0),
            disconnections: watch::Sender::new(0),
        }
    }

    pub(super) fn state_requests<T>(&self, look: impl FnOnce(&[Recorded]) -> T) -> T {
        look(&self.lock().requests)
    }

    pub(super) fn on(&self, path: &str, respond: Arc<dyn Respond>) {
        self.lock().routes.insert(path.to_owned(), Route { respond, used: 0 });
    }

    pub(super) fn connections(&self) -> u64 {
        self.lock().connections
    }

    /// Counts a connection and says its number.
    pub(super) fn connected(&self) -> u64 {
        let mut state = self.lock();
        state.connections = state.connections.saturating_add(1);
        state.connections
    }

    pub(super) fn set_goaways(&self, connections: u64) {
        self.lock().goaways = connections;
    }

    /// Whether a connection that has just come is to be ended at its first request.
    pub(super) fn takes_goaway(&self) -> bool {
        let mut state = self.lock();
        let takes = state.goaways > 0;
        state.goaways = state.goaways.saturating_sub(1);
        takes
    }

    pub(super) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.lock().panic.take()
    }

    pub(super) fn keep_panic(&self, payload: Box<dyn Any + Send>) {
        self.lock().panic.get_or_insert(payload);
    }

    /// Records the request and decides the answer.
    pub(super) fn answer(&self, request: Recorded) -> Result<Answer, Panicked> {
        let found = {
            let mut state = self.lock();
            state.requests.push(request.clone());
            state.choose(&request, self.fallback.as_ref())
        };
        self.arrivals.send_modify(|count| *count = count.saturating_add(1));
        let Some((respond, earlier)) = found else { return Ok(Answer::status(404)) };
        // Outside the lock, because a closure may ask the origin for its counts.
        let answer = catch_unwind(AssertUnwindSafe(|| respond.respond(&request, earlier).validated(&request)));
        answer.map_err(|payload| {
            self.keep_panic(payload);
            Panicked
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn choose(&mut self, request: &Recorded, fallback: Option<&Arc<dyn Respond>>) -> Option<(Arc<dyn Respond>, usize)> {
        let name = if self.routes.contains_key(&request.target) { &request.target } else { request.path() };
        let (respond, used) = match self.routes.get_mut(name) {
            Some(route) => (Arc::clone(&route.respond), &mut route.used),
            None => (Arc::clone(fallback?), &mut self.fallback_used),
        };
        let earlier = *used;
        *used = used.saturating_add(1);
        Some((respond, earlier))
    }
}
