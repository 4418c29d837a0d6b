//! What one request asks of the cache.

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
    /// Sets [`expire_after`](Self::expire_after).
    #[must_use]
    pub fn expire_after(mut self, expire_after: impl Into<ExpireAfter>) -> Self {
        self.expire_after = Some(expire_after.into());
        self
    }

    /// Sets [`force_ttl`](Self::force_ttl).
    #[must_use]
    pub fn force_ttl(mut self, force_ttl: bool) -> Self {
        self.force_ttl = Some(force_ttl);
        self
    }

    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets [`cache_control`](Self::cache_control).
    #[must_use]
    pub fn cache_control(mut self, cache_control: CacheControl) -> Self {
        self.cache_control = Some(cache_control);
        self
    }

    /// Sets [`stale_if_error`](Self::stale_if_error).
    #[must_use]
    pub fn stale_if_error(mut self, window: impl Into<StaleWindow>) -> Self {
        self.stale_if_error = Some(window.into());
        self
    }

    /// Sets [`stale_while_revalidate`](Self::stale_while_revalidate).
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: impl Into<StaleWindow>) -> Self {
        self.stale_while_revalidate = Some(window.into());
        self
    }

    /// Sets [`matching`](Self::matching).
    #[must_use]
    pub fn matching(mut self, matching: Matching) -> Self {
        self.matching = Some(matching);
        self
    }

    /// Sets which responses are stored and which stored ones are used: both filters of [`hooks`](Self::hooks).
    #[must_use]
    pub fn filter(self, filter: ResponseFilter) -> Self {
        self.filter_write(filter.clone()).filter_read(filter)
    }

    /// Sets which responses are stored, in [`hooks`](Self::hooks).
    #[must_use]
    pub fn filter_write(mut self, filter: ResponseFilter) -> Self {
        self.hooks.filter_write = Some(filter);
        self
    }

    /// Sets which stored responses are used, in [`hooks`](Self::hooks).
    #[must_use]
    pub fn filter_read(mut self, filter: ResponseFilter) -> Self {
        self.hooks.filter_read = Some(filter);
        self
    }

    /// Sets what changes the header lines that are stored, in [`hooks`](Self::hooks).
    #[must_use]
    pub fn before_store(mut self, change: BeforeStore) -> Self {
        self.hooks.before_store = Some(change);
        self
    }
}
