//! The algorithm of one request, from the plan to the answer (RFC 9111 section 4).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower_service::Service;

use super::body::{CacheBody, Upstream};
use super::exchange::{self, Ticket};
use super::explain::Explanation;
use super::lookup::{Asked, Found};
use super::mend::{Head, Refetch};
use super::replay::ReplayBody;
use super::route::{Past, Route, Step};
use super::{Engine, Handle, bypass, replay};
use crate::cache::Stored;
use crate::error::{BoxError, Error, ErrorKind};
use crate::policy::{self, CacheInfo, Judgement, Lookup, Outcome, Reason};

/// A service with a cache before it: answers what it can, asks the inner service for the rest.
///
/// The inner service takes requests whose body has a default (the empty one, for refreshes in the background) and
/// answers with any body of [`Bytes`]. A request with a body is looked up where it carries a [`ReplayBody`].
/// It is asked for readiness only when a request goes to it, so that its limits do not slow hits down.
/// Per-request settings travel as [`RequestSettings`](crate::policy::RequestSettings) in the request's extensions; the response's extensions hold a
/// [`CacheInfo`].
///
/// The future of a call may be dropped at any point: nothing half-written stays behind, and whoever waits for the same
/// answer goes on.
#[derive(Clone, Debug)]
pub struct CacheService<S> {
    inner: S,
    handle: Arc<Handle>,
}

impl<S> CacheService<S> {
    pub(super) const fn new(inner: S, handle: Arc<Handle>) -> Self {
        Self { inner, handle }
    }

    /// What would become of `request`, and why: [`CacheLayer::explain`](super::CacheLayer::explain).
    pub fn explain<'a, B: Body + 'static>(
        &'a self,
        request: &'a Request<B>,
    ) -> impl Future<Output = Explanation> + Send + use<'a, S, B> {
        self.handle.engine.explanation(request)
    }
}

/// What the layer asks of the service beneath: the bounds of [`CacheService`], written once.
pub(crate) trait Origin<B>: Clone + Send + 'static {
    /// Sends a request when the service is ready for it.
    fn send(&mut self, request: Request<B>) -> impl Future<Output = Result<Response<Upstream>, Error>> + Send;
}

impl<S, B, RB> Origin<B> for S
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
    RB: Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    #[expect(clippy::manual_async_fn)] // which would hold its arguments twice
    fn send(&mut self, request: Request<B>) -> impl Future<Output = Result<Response<Upstream>, Error>> + Send {
        async move {
            poll_fn(|cx| self.poll_ready(cx)).await.map_err(into_error)?;
            let response = self.call(request).await.map_err(into_error)?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        }
    }
}

/// An error of ours passes as it is; another's becomes the source of one.
fn into_error(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => Error::new(ErrorKind::Transport, "").with_source(other),
    }
}

impl<S, B, RB> Service<Request<B>> for CacheService<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Default + Send + 'static,
    RB: Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    type Response = Response<CacheBody>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (handle, inner) = (self.handle.clone(), self.inner.clone());
        Box::pin(async move {
            let result = pin!(answer(&handle, inner, request, None)).await;
            match &result {
                Ok(response) => handle.engine.count(response),
                Err(error) => handle.engine.count_error(error),
            }
            result
        })
    }
}

#[cfg(feature = "client")]
impl<S> CacheService<S> {
    /// The same as `call`, without its allocation, and without [counting](Self::count). At `deadline` the origin is not
    /// waited for any longer.
    pub(crate) fn run<'a, B>(
        &'a self,
        request: Request<B>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<Response<CacheBody>, Error>> + Send + use<'a, S, B>
    where
        S: Origin<B>,
        B: Body + Default + Send + 'static,
    {
        answer(&self.handle, self.inner.clone(), request, deadline)
    }

    /// Counts and logs what was [answered](Self::run).
    pub(crate) fn count(&self, response: &Response<CacheBody>) {
        self.handle.engine.count(response);
    }

    /// Counts and logs that nothing was answered.
    pub(crate) fn count_error(&self, error: &Error) {
        self.handle.engine.count_error(error);
    }
}

/// Answers a request. Whoever calls this counts the answer, so that a request counts once and a refresh in the background
/// does not count.
#[expect(clippy::manual_async_fn)] // which would hold its arguments twice
fn answer<'a, S, B>(
    handle: &'a Arc<Handle>,
    inner: S,
    request: Request<B>,
    deadline: Option<Instant>,
) -> impl Future<Output = Result<Response<CacheBody>, Error>> + Send + use<'a, S, B>
where
    S: Origin<B>,
    B: Body + Default + Send + 'static,
{
    async move {
        handle.begin();
        let engine = &handle.engine;
        // From here to the end, whatever is changed meanwhile.
        let settings = engine.settings.load_full();
        let settings = settings.hooked_for(request.extensions().get(), request.uri()).map_or(settings, Arc::new);

        let matching = settings.matching_for(request.extensions().get(), request.uri());

        // 1. Is the cache to be used at all, and what is the request's key?
        let (lookup, identity) = match engine.plan(&request, &settings, &matching) {
            Ok(planned) => planned,
            Err(Past { reason, offline: true, .. }) => return Ok(engine.offline(reason, None)),
            Err(past) => {
                return Box::pin(bypass::send(engine, inner, request, past, &settings.keyer(&matching))).await;
            }
        };

        // 2. What is stored under it, and may that be served?
        let asked = Asked::of(&request, &settings, &matching);
        let Route { landed, found, step } = pin!(engine.route(asked, &lookup, &identity.primary)).await;
        if let Some(fault) = &found.fault {
            engine.may_fail(fault, "the look-up failed")?;
        }
        let reason = match step {
            Step::Serve { outcome, reason, refresh } => {
                let Some(stored) = &found.selected else { return Ok(engine.offline(reason, identity.primary)) };
                let renewed = match outcome {
                    Outcome::Hit => engine.slide(asked, &found, &lookup),
                    _ => None,
                };
                let stored = renewed.as_ref().unwrap_or(stored);
                let mut response = engine.serve(stored, &lookup, outcome, reason, engine.clock.now());
                if outcome == Outcome::Hit && !lookup.only_if_cached {
                    let head = Head::of_stored(response.status());
                    response.body_mut().mend_with(|| refetch(engine, inner, once_more(&request), head));
                } else if refresh {
                    let deadline = None;
                    let ticket = Box::new(Ticket { settings, matching, lookup, identity, found, landed, deadline });
                    handle.refresh(inner, &request, ticket);
                }
                return Ok(response);
            }
            Step::ServeGet(get) => {
                let now = engine.clock.now();
                let judged = get.record.as_response().map(|record| policy::judge(&lookup, record, now));
                let (outcome, reason) = match judged {
                    Some(Judgement::ServeStale { reason, .. }) => (Outcome::Stale, reason),
                    _ => (Outcome::Hit, Reason::Fresh),
                };
                let response = engine.serve(&get, &lookup, outcome, reason, now);
                return Ok(response.map(|_| CacheBody::empty()));
            }
            Step::Offline(reason) => return Ok(engine.offline(reason, identity.primary)),
            Step::Ask(reason) => reason,
        };

        // 3. Ask the origin, or whoever is asking it already.
        let found = Found { reason, ..found };
        let ticket = Box::new(Ticket { settings, matching, lookup, identity, found, landed, deadline });
        Box::pin(exchange::fetch(engine, inner, request, ticket)).await
    }
}

/// Sends `again` when it is asked to, past the cache, and wants `head`.
pub(super) fn refetch<S, B>(engine: &Arc<Engine>, mut inner: S, again: Request<B>, head: Head) -> Refetch
where
    S: Origin<B>,
    B: Body + Default + Send + 'static,
{
    let engine = engine.clone();
    Box::new(move || {
        Box::pin(async move {
            let place = engine.hosts.enter(again.uri()).await;
            head.check(inner.send(again).await?.map(|body| place.hold(body)))
        })
    })
}

/// A request like `request`, with its body: one that has a key has none, or one that is known.
pub(super) fn once_more<B: Body + Default + 'static>(request: &Request<B>) -> Request<B> {
    let mut again = Request::new(replay::of(request).map_or_else(B::default, ReplayBody::body));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    again
}

impl Engine {
    /// The answer that `stored` is at `now`, for a request like `lookup`.
    ///
    /// Costs one insertion for each header line; the body is a slice of what was read.
    pub(super) fn serve(
        &self,
        stored: &Stored,
        lookup: &Lookup,
        outcome: Outcome,
        reason: Reason,
        now: std::time::SystemTime,
    ) -> Response<CacheBody> {
        let Some(record) = stored.record.as_response() else { return self.offline(Reason::RecordMismatch, None) };
        let mut response = Response::new(CacheBody::stored(&self.ledger, record, stored.body.clone(), lookup.write));
        *response.status_mut() = record.status;
        *response.version_mut() = record.version;
        *response.headers_mut() = record.header_map();
        let info = CacheInfo::of_record(outcome, reason, record, now);
        // RFC 9111 section 5.1: what is not fetched for this request says how old it is.
        let age = info.age.map_or(0, |age| age.as_secs());
        response.headers_mut().insert(header::AGE, HeaderValue::from(age));
        self.explain(info, &mut response);
        response
    }

    /// The 504 of a request that only the cache may answer (RFC 9111 section 5.2.1.7).
    pub(super) fn offline(
        &self,
        reason: Reason,
        key: impl Into<Option<crate::storage::CacheKey>>,
    ) -> Response<CacheBody> {
        let mut response = Response::new(CacheBody::empty());
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        self.explain(CacheInfo::new(Outcome::Offline, reason).with_key(key), &mut response);
        response
    }
}
