//! Revalidation in the background, for what was served stale (RFC 5861 section 3).
//!
//! One refresh per key at a time, at most [`MAX_REFRESHES`] at once; they end when the last service of the layer is
//! dropped, or when the layer is closed.

use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::task::JoinSet;

use super::Handle;
use super::exchange::{self, Ticket, flight_key};
use super::flight::Role;
use super::service::{Origin, once_more};

/// How many refreshes a layer runs at once; a request that would begin one more begins none.
const MAX_REFRESHES: usize = 32;

/// The background tasks of a layer.
#[derive(Debug, Default)]
pub(super) struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// Ends all tasks and waits until they are gone.
    pub(super) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.shutdown().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Refreshes what `ticket` found, unless somebody is asking the origin for it already.
    pub(super) fn refresh<S, B>(&self, inner: S, request: &Request<B>, ticket: Ticket)
    where
        S: Origin<B>,
        B: Body + Default + Send + 'static,
    {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= MAX_REFRESHES {
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
        let flight = flight_key(&refreshed, request.headers(), &ticket.settings, &keyer);
        let Role::Lead(leader) = self.engine.flights.join(flight, primary, watched) else { return };
        let again = once_more(request);
        let engine = Arc::clone(&self.engine);
        let refresh = async move {
            let exchanged = exchange::ask(&engine, inner, again, ticket, Some(leader), group, generation).await;
            // The body is stored as it is read.
            match exchanged {
                Ok(response) => {
                    let mut body = response.into_body();
                    while let Some(Ok(_)) = body.frame().await {}
                }
                Err(error) => tracing::debug!(%error, "a refresh in the background failed"),
            }
        };
        tasks.spawn_on(refresh, &runtime);
    }
}
