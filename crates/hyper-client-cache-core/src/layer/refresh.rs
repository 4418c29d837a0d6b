//! Revalidation in the background, for what was served stale (RFC 5861 section 3).
//!
//! One refresh per key at a time, a bounded number at once, and after a failure none for a while; they end when the last
//! service of the layer is dropped, or when the layer is closed.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::task::JoinSet;

use super::backoff::Place;
use super::body::CacheBody;
use super::exchange::{self, Ticket};
use super::flight::{self, Role};
use super::service::{Origin, once_more};
use super::{Engine, Handle, hosts};
use crate::error::Error;
use crate::policy::{CacheInfo, Outcome, Storing};

/// The background tasks of a layer.
#[derive(Debug)]
pub(super) struct Tasks {
    running: Mutex<JoinSet<()>>,
    most: usize,
}

impl Tasks {
    /// At most `most` at once.
    pub(super) fn new(most: usize) -> Self {
        Self { running: Mutex::default(), most }
    }

    /// Ends all tasks and waits until they are gone.
    pub(super) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.shutdown().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Refreshes what `ticket` found, unless somebody is asking the origin for it already, or that has failed a moment
    /// ago.
    pub(super) fn refresh<S, B>(&self, inner: S, request: &Request<B>, ticket: Box<Ticket>)
    where
        S: Origin<B>,
        B: Body + Default + Send + 'static,
    {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let places = Places { key: Place::Key(ticket.identity.primary), host: Place::Host(hosts::name(request.uri())) };
        let began = self.engine.clock.now();
        if [&places.key, &places.host].into_iter().any(|place| self.engine.backoff.rests(place, began)) {
            return;
        }
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= self.tasks.most {
            return;
        }
        let (keyer, primary) = (ticket.settings.keyer(&ticket.matching), ticket.identity.primary);
        let group = keyer.group(request.uri());
        let generation = self.engine.ledger.generation(&group);
        // One refresh for what answers several URLs, which share no generation but that of their path.
        let (refreshed, watched) = match ticket.found.elsewhere() {
            Some(elsewhere) => (*elsewhere, self.engine.ledger.generation(&keyer.search_rule(request.uri()))),
            None => (primary, generation),
        };
        let flight = flight::key_of(&refreshed, request.headers(), &ticket.settings, &keyer, &ticket.found);
        let Role::Lead(leader) = self.engine.flights.join(flight, primary, watched) else { return };
        let again = once_more(request);
        let engine = Arc::clone(&self.engine);
        let refresh = async move {
            let exchanged = pin!(exchange::ask(&engine, inner, again, ticket, Some(leader), generation)).await;
            let end = read(exchanged).await;
            engine.note(&places, began, end);
        };
        tasks.spawn_on(refresh, &runtime);
    }
}

/// What is left alone where a refresh fails.
struct Places {
    key: Place,
    host: Place,
}

/// How a refresh ended.
enum End {
    /// What is stored is fresh again, or was replaced.
    Renewed,
    /// The origin has answered with something that is of no use, such as an error.
    Useless,
    /// The origin has not answered.
    Silence,
}

/// Reads an answer to its end, for it is stored as it is read.
async fn read(exchanged: Result<Response<CacheBody>, Error>) -> End {
    let response = match exchanged {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%error, "a refresh in the background failed");
            return End::Silence;
        }
    };
    let info = response.extensions().get::<CacheInfo>();
    let is_of_use = info.is_some_and(|info| info.outcome == Outcome::Revalidated || info.storing == Storing::Yes);
    let mut body = response.into_body();
    body.never_detach();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return End::Useless;
        }
    }
    if is_of_use { End::Renewed } else { End::Useless }
}

impl Engine {
    fn note(&self, places: &Places, began: std::time::SystemTime, end: End) {
        let (backoff, now) = (&self.backoff, self.clock.now());
        match end {
            End::Renewed => {
                backoff.succeeded(&places.host);
                backoff.succeeded(&places.key);
            }
            End::Useless => {
                backoff.succeeded(&places.host);
                backoff.failed(places.key.clone(), began, now);
            }
            End::Silence => backoff.failed(places.host.clone(), began, now),
        }
    }
}
