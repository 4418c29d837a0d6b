//! A request that does not use the cache: it is sent as it is, and what its answer makes invalid is removed.

use std::sync::Arc;

use http::{Method, Request, Response};

use super::Engine;
use super::body::CacheBody;
use super::invalidate::Removed;
use super::lookup::with_cookies;
use super::route::Past;
use super::service::Origin;
use crate::error::Result;
use crate::key::{self, Keyer};
use crate::policy::{self, CacheInfo, Outcome, Reason};

/// Sends a request past the cache, and removes what its answer makes invalid.
pub(super) async fn send<S, B>(
    engine: &Arc<Engine>,
    mut inner: S,
    request: Request<B>,
    past: Past,
    keyer: &Keyer<'_>,
) -> Result<Response<CacheBody>>
where
    S: Origin<B>,
    B: Send + 'static,
{
    let method = key::effective_method(request.method(), request.headers(), keyer.matching);
    let uri = request.uri().clone();
    let partition = with_cookies(*keyer, request.extensions().get()).partition(request.headers());
    let place = engine.hosts.enter(&uri).await;
    let response = inner.send(request).await?.map(|body| place.hold(body));
    let reason = past.reason;
    if !past.read_only && (!method.is_safe() || reason == Reason::MethodOverride) {
        // What overrides the method could be any (case 31).
        let method = if method.is_safe() { Method::POST } else { method };
        let targets = policy::invalidation_targets(&method, &uri, response.status(), response.headers());
        if let Err(error) = engine.invalidate(targets, partition, keyer, Removed::All).await {
            engine.may_fail(&error, "the origin has answered, but what that makes invalid is not removed")?;
        }
    }
    let mut response = response.map(CacheBody::untouched);
    engine.explain(CacheInfo::new(Outcome::Bypass, reason), &mut response);
    Ok(response)
}
