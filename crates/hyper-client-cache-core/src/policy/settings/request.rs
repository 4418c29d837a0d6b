//! What one request asks of the cache.

use super::own::own_setters;
use super::{CacheControl, ExpireAfter, Hooks, Mode, StaleWindow};
use crate::key::Matching;
use crate::policy::filter::{BeforeStore, ResponseFilter};

/// What one request asks of the cache. Travels in the request's extensions and never reaches the origin.
///
/// What is left out is decided by the first URL rule that matches, then by the session.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_core::policy::{Mode, RequestSettings};
///
/// let mut request = http::Request::get("https://example.org/").body(()).unwrap();
/// request.extensions_mut().insert(RequestSettings::default().expire_after(Duration::from_secs(60)).mode(Mode::NoCache));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestSettings {
    /// How long the response is good for where its headers do not say.
    pub expire_after: Option<ExpireAfter>,
    /// Whether the lifetime of the settings overrides `Cache-Control` and `Expires` of the response, `no-store`
    /// included. What a shared cache must not store it still does not. Default: as the rule says, else `false`.
    pub force_ttl: Option<bool>,
    /// How the cache is used.
    pub mode: Option<Mode>,
    /// Whether headers about caching are obeyed.
    pub cache_control: Option<CacheControl>,
    /// Overrides what the response, the rule and the session say about serving stale instead of an error.
    pub stale_if_error: Option<StaleWindow>,
    /// Overrides what the response, the rule and the session say about serving stale while refreshing.
    pub stale_while_revalidate: Option<StaleWindow>,
    /// Which requests are answered by the same entry as this; what is not set there is as in the rule and the session.
    /// A request with an impossible one goes past the cache.
    pub matching: Option<Matching>,
    /// Functions that go before those of the rule and the session. Of requests that share an exchange, those of the one
    /// that began it decide what is stored.
    pub hooks: Hooks,
}

impl RequestSettings {
    own_setters!();
}
