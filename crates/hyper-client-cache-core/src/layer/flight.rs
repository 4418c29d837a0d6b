//! One exchange with the origin per key: who else asks for the same thing meanwhile joins it.
//!
//! A [`Flight`] begins with a [`Leader`], who asks the origin. A [`Waiter`] learns at header time what becomes of it:
//! the answer is shared, or is stored and may be looked up, or is not for others, or the exchange failed. A leader
//! that is dropped before that leaves the flight vacant, and one of the waiters takes it over (case 190).
//! Once an answer is shared the flight is held by its [`Landing`], until the body is stored or given up; so a request
//! that comes after the body has begun still gets all of it (case 198).
//!
//! A flight belongs to a generation of its URL: what is asked for after an invalidation never joins an exchange from
//! before it. The map is empty when nothing is under way.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, StatusCode, Version, header};
use tokio::sync::Notify;

use super::lookup::Found;
use super::stream::{Reader, Shared};
use super::unshared::Unshared;
use crate::cache::ledger::Generation;
use crate::cache::{ResponseRecord, Selecting, Stored};
use crate::error::Error;
use crate::key::{self, Keyer};
use crate::policy::{Settings, vary};
use crate::storage::CacheKey;

/// The flights of one layer.
#[derive(Debug)]
pub(super) struct Flights {
    map: Mutex<HashMap<CacheKey, Arc<Flight>>>,
    // Counts flights that have ended, by a hash of their primary key.
    landed: [AtomicU64; 64],
    // Where nobody need wait.
    unshared: Unshared,
}

/// What a request is to a flight.
pub(super) enum Role {
    Lead(Leader),
    Follow(Waiter),
}

impl Default for Flights {
    fn default() -> Self {
        Self { map: Mutex::default(), landed: [const { AtomicU64::new(0) }; 64], unshared: Unshared::default() }
    }
}

impl Flights {
    /// How many flights of requests with this primary key (and of some others) have ended.
    ///
    /// Who takes the count before a look-up, and finds it changed when beginning a flight, may have missed what that
    /// one has stored in between.
    pub(super) fn landed(&self, primary: &CacheKey) -> u64 {
        self.count(primary).map_or(0, |count| count.load(Ordering::Acquire))
    }

    fn count(&self, primary: &CacheKey) -> Option<&AtomicU64> {
        let hash =
            primary.as_bytes().iter().take(8).fold(0_usize, |sum, byte| sum.wrapping_mul(31) ^ usize::from(*byte));
        self.landed.get(hash % 64)
    }

    /// Joins the flight of `key` in `generation`, or begins one. The flights of a `primary` key are those of its
    /// variants and of different credentials.
    pub(super) fn join(self: &Arc<Self>, key: CacheKey, primary: CacheKey, generation: Generation) -> Role {
        let mut map = self.lock();
        match map.get(&key) {
            Some(flight) if flight.generation == generation => {
                let flight = flight.clone();
                let mut state = flight.lock();
                state.waiters = state.waiters.saturating_add(1);
                drop(state);
                Role::Follow(Waiter { flights: self.clone(), key, flight })
            }
            _ => {
                let state = State { stage: Stage::Leading, waiters: 0, held: None };
                let flight = Arc::new(Flight { primary, generation, state: Mutex::new(state), changed: Notify::new() });
                map.insert(key, flight.clone());
                Role::Lead(Leader { landing: Some(Landing { flights: self.clone(), key, flight, armed: true }) })
            }
        }
    }

    /// Whether [`join`](Self::join) would find a flight of `key` in `generation`.
    pub(super) fn has(&self, key: &CacheKey, generation: Generation) -> bool {
        self.lock().get(key).is_some_and(|flight| flight.generation == generation)
    }

    /// Whether somebody has waited for a flight of `key` in vain a moment ago, so that nobody should now.
    pub(super) fn is_unshared(&self, key: &CacheKey, now: impl FnOnce() -> SystemTime) -> bool {
        self.unshared.has(key, now)
    }

    /// How many flights there are.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Flight>>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of the flight that a request joins first: its primary key, its credentials, and where it is known which
/// fields select, what it has of these.
///
/// In a private cache the primary key has the credentials already; in a shared one it has not, because what may be stored
/// is the response's decision, but while that is not known nobody waits for an answer to another's credentials (case 194).
/// So it is with the fields: nobody waits for a variant of which it can be seen that it is another's (case 193).
pub(super) fn key_of(
    primary: &CacheKey,
    headers: &HeaderMap,
    settings: &Settings,
    keyer: &Keyer<'_>,
    found: &Found,
) -> CacheKey {
    let has = |name| headers.contains_key(name);
    let selected = |key: &CacheKey, names: &[HeaderName]| key::variant(key, &vary::selecting(names, headers, keyer));
    let key = match settings.shared && (has(header::AUTHORIZATION) || has(header::COOKIE)) {
        true => selected(primary, &[header::AUTHORIZATION, header::COOKIE]),
        false => *primary,
    };
    match found.variants().filter(|_| found.elsewhere().is_none()) {
        Some(index) => selected(&key, &names_of(index.variants.iter().flat_map(|variant| &variant.selecting))),
        None => key,
    }
}

/// The names of fields that select, as the header `Vary` would name them.
pub(super) fn names_of<'a>(selecting: impl IntoIterator<Item = &'a Selecting>) -> Vec<HeaderName> {
    let names = selecting.into_iter().filter_map(|field| field.name.parse::<HeaderName>().ok());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

#[derive(Debug)]
struct Flight {
    primary: CacheKey,
    generation: Generation,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    waiters: usize,
    // Keeps a shared body from its first byte until each of those who waited for it has a reader of its own: the one
    // who leads may have read or dropped it before the others wake up.
    held: Option<Reader>,
}

#[derive(Debug)]
enum Stage {
    Leading,
    Vacant,
    Over(Verdict),
}

/// What a flight came to.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// The answer is for whoever selects it.
    Shared(Arc<Answer>),
    /// The answer is complete, and on its way to the store.
    Stored(Stored),
    /// The answer is for nobody else: ask the origin oneself.
    Alone,
    /// The exchange failed, and would fail again.
    Failed(Error),
}

/// A response as those get it who share it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// The header lines where there is no record, which has them otherwise.
    pub(super) headers: HeaderMap,
    /// What a request must have to be given this answer (cases 193 and 194).
    pub(super) selecting: Vec<Selecting>,
    /// How it will be stored, if it will.
    pub(super) record: Option<ResponseRecord>,
    pub(super) body: Weak<Shared>,
}

impl Answer {
    /// A reader of the whole body; `None` where its beginning cannot be had any more. Never so for a waiter that
    /// waited already when the answer came.
    pub(super) fn reader(&self) -> Option<Reader> {
        Shared::reader(&self.body.upgrade()?)
    }
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the flight out of the map, unless one of a later generation has its place.
    fn leave(self: &Arc<Self>, flights: &Flights, map: &mut HashMap<CacheKey, Arc<Self>>, key: &CacheKey) {
        if let Some(count) = flights.count(&self.primary) {
            count.fetch_add(1, Ordering::AcqRel);
        }
        if map.get(key).is_some_and(|other| Arc::ptr_eq(other, self)) {
            map.remove(key);
        }
    }

    fn set(&self, stage: Stage) {
        self.lock().stage = stage;
        self.changed.notify_waiters();
    }
}

/// The request that asks the origin.
pub(super) struct Leader {
    // Taken when the flight is decided.
    landing: Option<Landing>,
}

impl Leader {
    /// Gives the answer to whoever waits, and to whoever comes until `body` is stored or given up.
    pub(super) fn share(mut self, answer: Answer, body: &Arc<Shared>) {
        let Some(landing) = self.landing.take() else { return };
        let flight = landing.flight.clone();
        // First, so that a waiter who reads it to its end at once finds the landing there to be dropped.
        body.hold(landing);
        let mut state = flight.lock();
        if state.waiters > 0 {
            state.held = body.reader();
        }
        state.stage = Stage::Over(Verdict::Shared(Arc::new(answer)));
        drop(state);
        flight.changed.notify_waiters();
    }

    /// Whether anybody waits by now for what becomes of it.
    pub(super) fn has_waiters(&self) -> bool {
        self.landing.as_ref().is_some_and(|landing| landing.flight.lock().waiters > 0)
    }

    /// Ends the flight with an answer that is for nobody else, and that the next will be too: whoever has waited for it
    /// has done so in vain.
    pub(super) fn land_unshared(self, now: SystemTime) {
        if let Some(landing) = self.landing.as_ref().filter(|_| self.has_waiters()) {
            landing.flights.unshared.note(&landing.key, now);
        }
        self.land(Verdict::Alone);
    }

    /// Ends the flight with `verdict`.
    pub(super) fn land(mut self, verdict: Verdict) {
        if let Some(landing) = self.landing.take() {
            landing.flight.set(Stage::Over(verdict));
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let Some(mut landing) = self.landing.take() else { return };
        {
            // The map first, then the flight: the order of `join`.
            let mut map = landing.flights.lock();
            let mut state = landing.flight.lock();
            state.stage = Stage::Vacant;
            if state.waiters == 0 {
                landing.flight.leave(&landing.flights, &mut map, &landing.key);
            }
            landing.armed = false;
        }
        landing.flight.changed.notify_waiters();
    }
}

/// Keeps a flight in the map: held until a shared body is stored or given up.
#[derive(Debug)]
pub(super) struct Landing {
    flights: Arc<Flights>,
    key: CacheKey,
    flight: Arc<Flight>,
    // False where a waiter takes the flight over, or nobody does.
    armed: bool,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.armed {
            self.flight.leave(&self.flights, &mut self.flights.lock(), &self.key);
        }
    }
}

/// A request that waits for another's answer.
pub(super) struct Waiter {
    flights: Arc<Flights>,
    key: CacheKey,
    flight: Arc<Flight>,
}

impl Waiter {
    /// What the flight comes to, or its leadership, where the leader is gone.
    ///
    /// The body of a shared answer is held for this waiter until it is dropped.
    pub(super) async fn verdict(&self) -> Result<Verdict, Leader> {
        loop {
            let mut changed = pin!(self.flight.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.flight.lock();
                match &state.stage {
                    Stage::Leading => {}
                    Stage::Vacant => {
                        state.stage = Stage::Leading;
                        drop(state);
                        let (flights, flight) = (self.flights.clone(), self.flight.clone());
                        let landing = Landing { flights, key: self.key, flight, armed: true };
                        return Err(Leader { landing: Some(landing) });
                    }
                    Stage::Over(verdict) => return Ok(verdict.clone()),
                }
            }
            changed.await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let held = {
            let mut map = self.flights.lock();
            let mut state = self.flight.lock();
            state.waiters = state.waiters.saturating_sub(1);
            if state.waiters > 0 {
                return;
            }
            if matches!(state.stage, Stage::Vacant) {
                self.flight.leave(&self.flights, &mut map, &self.key);
            }
            state.held.take()
        };
        // Outside of the locks: it may be the last reader, and take the landing with it.
        drop(held);
    }
}
