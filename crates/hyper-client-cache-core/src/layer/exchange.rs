//! Asking the origin: once for all who ask for the same thing, conditionally where something is stored, and with the
//! answer on its way to the store while the caller reads it.

use std::pin::pin;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use tokio::time::{Instant, timeout_at};

use super::answer::Admitted;
use super::body::CacheBody;
use super::flight::{self, Leader, Role, Verdict};
use super::invalidate::Removed;
use super::lookup::{Asked, Found, selects};
use super::replay::ReplayBody;
use super::service::{Origin, refetch};
use super::{Engine, replay};
use crate::cache::ledger::Generation;
use crate::cache::{Record, Stored};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{self, Identity, KeyRequest, Keyer, Matching};
use crate::policy::{self, Admission, Admit, Judgement, Lookup, Merge, Outcome, Reason, Settings, Terms};

/// How often a request looks at what others are doing before it asks the origin itself.
const MAX_JOINS: usize = 4;

/// What is known of a request by the time the origin must be asked.
pub(super) struct Ticket {
    /// The settings that the request goes by, whatever is changed meanwhile.
    pub(super) settings: Arc<Settings>,
    /// Which of its kind the request is answered like.
    pub(super) matching: Matching,
    pub(super) lookup: Lookup,
    pub(super) identity: Identity,
    pub(super) found: Found,
    /// How many flights [had landed](super::flight::Flights::landed) before the look-up.
    pub(super) landed: u64,
    /// When the caller gives up.
    pub(super) deadline: Option<Instant>,
}

impl Ticket {
    /// Which URLs the answer makes invalid, where the request may write.
    fn made_invalid(&self, exchange: &Admit<'_>) -> Vec<Uri> {
        if !self.lookup.write {
            return Vec::new();
        }
        let method = key::effective_method(exchange.method, exchange.request_headers, &self.matching);
        policy::invalidation_targets(&method, exchange.uri, exchange.status, exchange.response_headers)
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// Answers a request that the store cannot: with the answer of whoever is asking already, or by asking.
#[expect(clippy::manual_async_fn)] // which would hold its arguments twice
pub(super) fn fetch<S, B>(
    engine: &Arc<Engine>,
    inner: S,
    request: Request<B>,
    mut ticket: Box<Ticket>,
) -> impl Future<Output = Result<Response<CacheBody>>> + Send + use<'_, S, B>
where
    S: Origin<B>,
    B: Body + Default + Send + 'static,
{
    async move {
        let (settings, matching, primary) = (ticket.settings.clone(), ticket.matching.clone(), ticket.identity.primary);
        let keyer = settings.keyer(&matching);
        let group = keyer.group(request.uri());
        let mut flight_key = flight::key_of(&primary, request.headers(), &settings, &keyer, &ticket.found);
        let method = key::effective_method(request.method(), request.headers(), &matching);
        let may_join =
            ticket.lookup.may_join(&method) && !engine.flights.is_unshared(&flight_key, || engine.clock.now());
        let joins = if may_join { MAX_JOINS } else { 0 };
        for _ in 0..joins {
            let generation = engine.ledger.generation(&group);
            let waiter = match engine.flights.join(flight_key, primary, generation) {
                Role::Follow(waiter) => waiter,
                Role::Lead(leader) => {
                    let landed = engine.flights.landed(&primary);
                    if std::mem::replace(&mut ticket.landed, landed) != landed
                        && let Some(response) =
                            Box::pin(engine.look_again(Asked::of(&request, &settings, &matching), &mut ticket)).await
                    {
                        if let Some(stored) = ticket.found.selected {
                            leader.land(Verdict::Stored(stored));
                        }
                        return Ok(response);
                    }
                    return pin!(ask(engine, inner, request, ticket, Some(leader), generation)).await;
                }
            };
            let patience = [ticket.deadline, Instant::now().checked_add(engine.flight_timeout)];
            match within(patience.into_iter().flatten().min(), waiter.verdict()).await {
                None if ticket.is_late() => return engine.stale_instead(&ticket).ok_or_else(too_late),
                // The leader hangs: go alone (case 199).
                None => break,
                Some(Err(leader)) => {
                    drop(waiter);
                    return pin!(ask(engine, inner, request, ticket, Some(leader), generation)).await;
                }
                Some(Ok(Verdict::Shared(answer))) => {
                    if selects(&answer.selecting, request.headers(), &keyer) {
                        if !engine.may_share(&answer, &ticket.lookup) {
                            break;
                        }
                        if let Some(reader) = answer.reader() {
                            let mut response = engine.coalesced(&answer, CacheBody::shared(reader));
                            response.body_mut().leave_at(ticket.deadline);
                            if *request.method() != Method::HEAD {
                                CacheBody::detach_with(&mut response, |head| refetch(engine, inner, request, head));
                            }
                            return Ok(response);
                        }
                        // Too late for the body; by now it is stored, or given up.
                        drop(waiter);
                        if let Some(response) =
                            Box::pin(engine.look_again(Asked::of(&request, &settings, &matching), &mut ticket)).await
                        {
                            return Ok(response);
                        }
                        continue;
                    }
                    // Another variant. Now that the fields are known, those who want the same one can share (case 193).
                    let names = flight::names_of(&answer.selecting);
                    let variant =
                        key::variant(&flight_key, &policy::vary::selecting(&names, request.headers(), &keyer));
                    flight_key = variant;
                }
                Some(Ok(Verdict::Stored(stored))) => {
                    if let Some(Judgement::Fresh) =
                        engine.accept(&stored, Asked::of(&request, &settings, &matching), &ticket.lookup)
                    {
                        return Ok(engine.leaders(&stored, &ticket.lookup));
                    }
                    drop(waiter);
                    if let Some(response) =
                        Box::pin(engine.look_again(Asked::of(&request, &settings, &matching), &mut ticket)).await
                    {
                        return Ok(response);
                    }
                }
                Some(Ok(Verdict::Alone)) => break,
                Some(Ok(Verdict::Failed(error))) => match engine.stale_instead(&ticket) {
                    Some(response) => return Ok(response),
                    // The leader served something stale where this request may not.
                    None if error.kind() == ErrorKind::Status => break,
                    None => return Err(error),
                },
            }
        }
        let generation = engine.ledger.generation(&group);
        pin!(ask(engine, inner, request, ticket, None, generation)).await
    }
}

/// Asks the origin. With a leader, whoever waits for the same learns what becomes of it.
#[expect(clippy::manual_async_fn)] // which would hold its arguments twice
pub(super) fn ask<S, B>(
    engine: &Arc<Engine>,
    mut inner: S,
    request: Request<B>,
    mut ticket: Box<Ticket>,
    leader: Option<Leader>,
    mut generation: Generation,
) -> impl Future<Output = Result<Response<CacheBody>>> + Send + use<'_, S, B>
where
    S: Origin<B>,
    B: Body + Default + Send + 'static,
{
    async move {
        let replay = replay::of(&request).cloned();
        let (parts, body) = request.into_parts();
        let mut body = Some(body);
        let again = || replay.as_ref().map_or_else(B::default, ReplayBody::body);
        let by_rule = match ticket.matching.believes_no_vary_search() {
            true => Box::pin(engine.watch_rule(&parts.uri, &mut ticket)).await,
            false => None,
        };
        loop {
            let mut outgoing = Request::from_parts(parts.clone(), body.take().unwrap_or_else(again));
            let stale = ticket.found.selected.as_ref().and_then(|stored| stored.record.as_response());
            let conditional = stale.is_some_and(|record| policy::add_validators(record, outgoing.headers_mut()));
            // Others may have more time: whoever waits takes over.
            let Some(place) = within(ticket.deadline, pin!(engine.hosts.enter(&parts.uri))).await else {
                return engine.stale_instead(&ticket).ok_or_else(too_late);
            };
            let requested_at = engine.clock.now();
            let response = match within(ticket.deadline, pin!(inner.send(outgoing))).await {
                Some(Ok(response)) => response.map(|body| place.hold(body)),
                None => return engine.stale_instead(&ticket).ok_or_else(too_late),
                Some(Err(error)) => {
                    land(leader, Verdict::Failed(error.clone()));
                    return engine.stale_instead(&ticket).ok_or(error);
                }
            };
            let received_at = engine.clock.now();
            let exchange = Admit {
                method: &parts.method,
                uri: &parts.uri,
                request_headers: &parts.headers,
                status: response.status(),
                version: response.version(),
                response_headers: response.headers(),
                requested_at,
                received_at,
                settings: &ticket.settings,
                lookup: &ticket.lookup,
            };

            if response.status() == StatusCode::NOT_MODIFIED {
                let (Some(stored), true) = (&ticket.found.selected, conditional) else {
                    // Never given to a caller who did not ask for it (case 181).
                    let error =
                        Error::new(ErrorKind::Transport, "the origin answered 304 to a request without conditions");
                    land(leader, Verdict::Failed(error.clone()));
                    return Err(error);
                };
                let keyer = ticket.settings.keyer(&ticket.matching);
                // What was found by a rule goes by the invalidations of its whole path.
                let generation = by_rule.filter(|_| ticket.found.elsewhere().is_some()).unwrap_or(generation);
                match engine.refreshed(stored, &exchange, &ticket.found, generation, &keyer) {
                    Ok(stored) => {
                        land(leader, Verdict::Stored(stored.clone()));
                        let (outcome, reason) = (Outcome::Revalidated, Reason::Revalidated);
                        let mut answer = engine.serve(&stored, &ticket.lookup, outcome, reason, received_at);
                        // A cookie that the 304 sets is for this caller (case 23).
                        for cookie in response.headers().get_all(header::SET_COOKIE) {
                            answer.headers_mut().append(header::SET_COOKIE, cookie.clone());
                        }
                        return Ok(answer);
                    }
                    Err(reason) => {
                        // What is stored may not be used any more (cases 24 and 25): ask again, for all of it.
                        if ticket.lookup.write {
                            engine.ledger.forget(*stored.record.key());
                        }
                        ticket.found = Found { selected: None, reason, ..ticket.found };
                        continue;
                    }
                }
            }
            if ticket.settings.is_error(response.status())
                && let Some(answer) = engine.stale_instead(&ticket)
            {
                land(leader, Verdict::Failed(Error::new(ErrorKind::Status, "the origin failed")));
                return Ok(answer);
            }
            if parts.method == Method::HEAD && response.status() == StatusCode::OK {
                let body = replay.as_ref().map(|replay| &replay.bytes()[..]);
                Box::pin(engine.compare_with_get(&parts, body, &ticket, response.headers())).await;
            }
            let others = ticket.made_invalid(&exchange);
            if !others.is_empty() {
                generation = Box::pin(engine.invalidate_others(others, &exchange, &ticket, generation)).await?;
            }
            let terms = match policy::admit(&exchange) {
                Admission::Store(_) if !ticket.lookup.write => Err(Reason::Mode),
                Admission::Store(terms) if leads_to_secret(&terms, &ticket) => Err(Reason::SecretLocation),
                Admission::Store(terms) => engine.fits(&parts.method, &response, &ticket.settings).map(|()| terms),
                Admission::Refuse(reason) => Err(reason),
            };
            let mut admitted = match terms {
                Ok(terms) => {
                    let mut keyed = KeyRequest::new(&parts.method, &parts.uri, &parts.headers);
                    keyed.body = replay.as_ref().map(|replay| &replay.bytes()[..]);
                    let listing = match by_rule {
                        Some(generation) => {
                            Box::pin(engine.listing(&keyed, response.headers(), &ticket, generation)).await
                        }
                        None => None,
                    };
                    engine.record(&parts, &response, &ticket, *terms, listing)
                }
                Err(reason) => Err(reason),
            };
            if let Ok(Admitted { record, filter: Some(filter), waits: false, body, .. }) = &admitted
                && let Err(reason) = Box::pin(engine.filtered(filter, record, body.as_ref())).await
            {
                admitted = Err(reason);
            }
            // Who asks alone reads alone; so does whoever's request may not be sent twice.
            let method = key::effective_method(&parts.method, &parts.headers, &ticket.matching);
            let is_shared = leader.is_some() && method.is_safe() && parts.method != Method::HEAD;
            let deadline = ticket.deadline;
            let mut response = match admitted {
                Ok(admitted) => engine.store(&parts, response, ticket, admitted, leader, generation, received_at),
                Err(reason) => engine.hand_on(&parts, response, ticket, reason, leader),
            };
            response.body_mut().leave_at(deadline);
            if is_shared {
                let again = || Request::from_parts(parts, again());
                CacheBody::detach_with(&mut response, |head| refetch(engine, inner, again(), head));
            }
            return Ok(response);
        }
    }
}

/// What `future` comes to; `None` where that takes until `deadline`.
async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

fn too_late() -> Error {
    Error::new(ErrorKind::Timeout, "the request as a whole")
}

pub(super) fn land(leader: Option<Leader>, verdict: Verdict) {
    if let Some(leader) = leader {
        leader.land(verdict);
    }
}

/// Whether a response points to a URL that must not be stored as it is.
fn leads_to_secret(terms: &Terms, ticket: &Ticket) -> bool {
    let keyer = ticket.settings.keyer(&ticket.matching);
    terms.headers.iter().any(|(name, value)| *name == header::LOCATION && keyer.hides_part_of(value.as_bytes()))
}

impl Engine {
    /// The answer that another's exchange has left in the store meanwhile, if this request may have it.
    async fn look_again(&self, request: Asked<'_>, ticket: &mut Ticket) -> Option<Response<CacheBody>> {
        ticket.found = self.find(request, &ticket.identity.primary, &ticket.lookup).await;
        let stored = ticket.found.selected.as_ref().filter(|_| ticket.found.judgement == Judgement::Fresh)?;
        Some(self.leaders(stored, &ticket.lookup))
    }

    /// What a stored response becomes by a 304.
    fn refreshed(
        &self,
        stored: &Stored,
        exchange: &Admit<'_>,
        found: &Found,
        generation: Generation,
        keyer: &Keyer<'_>,
    ) -> Result<Stored, Reason> {
        let Some(record) = stored.record.as_response() else { return Err(Reason::RecordMismatch) };
        match policy::merge(record, exchange) {
            Merge::Refreshed { mut record, retain_until, .. } => {
                self.change_record(&mut record, exchange.settings)?;
                keyer.redact(&mut record.headers);
                let still_answers = found.still_answers(&record);
                let fresh = Stored::new(Record::Response(record), stored.body.clone(), retain_until);
                match exchange.lookup.write {
                    true if still_answers => self.store_head(found, fresh.clone(), exchange.settings, generation),
                    // It was confirmed for this URL, and says of another by now that it does not answer it.
                    true => self.ledger.forget(*fresh.record.key()),
                    false => {}
                }
                Ok(fresh)
            }
            Merge::Forbidden(reason) => Err(reason),
        }
    }

    /// Removes what a request makes invalid whose answer is stored though it is not safe, such as a POST where the user
    /// allows that: what was stored for safe requests. Says in which generation its own answer may be stored.
    async fn invalidate_others(
        self: &Arc<Self>,
        targets: Vec<Uri>,
        exchange: &Admit<'_>,
        ticket: &Ticket,
        generation: Generation,
    ) -> Result<Generation> {
        let keyer = ticket.settings.keyer(&ticket.matching);
        let group = keyer.group(exchange.uri);
        // Somebody else's invalidation meanwhile goes for this answer too.
        if self.ledger.generation(&group) != generation {
            return Ok(generation);
        }
        if let Err(error) = self.invalidate(targets, ticket.identity.partition, &keyer, Removed::OfSafeMethods).await {
            self.may_fail(&error, "the origin has answered, but what that makes invalid is not removed")?;
        }
        Ok(self.ledger.generation(&group))
    }

    /// The stored response, where it may be served instead of an error.
    fn stale_instead(&self, ticket: &Ticket) -> Option<Response<CacheBody>> {
        let stored = ticket.found.selected.as_ref()?;
        let (record, now) = (stored.record.as_response()?, self.clock.now());
        policy::serve_on_error(&ticket.lookup, record, now)
            .then(|| self.serve(stored, &ticket.lookup, Outcome::Stale, Reason::StaleIfError, now))
    }
}
