//! What one request asks of the cache.

use std::time::Duration;

use super::{ExpireAfter, Mode};

/// What one request asks of the cache. Travels in the request's extensions and never reaches the origin.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_core::policy::{Mode, RequestSettings};
///
/// let mut request = http::Request::get("https://example.org/").body(()).unwrap();
/// request.extensions_mut().insert(RequestSettings::default().expire_after(Duration::from_secs(60)).mode(Mode::NoCache));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestSettings {
    /// How long the response is good for where its headers do not say; before the session's. Default: the session's.
    pub expire_after: Option<ExpireAfter>,
    /// Whether the lifetime of the settings overrides `Cache-Control` and `Expires` of the response, `no-store`
    /// included. What a shared cache must not store it still does not. Default: `false`.
    pub force_ttl: bool,
    /// How the cache is used. Default: [`Mode::Default`].
    pub mode: Mode,
    /// Overrides what the response and the session say about serving stale instead of an error. Default: they decide.
    pub stale_if_error: Option<Duration>,
    /// Overrides what the response and the session say about serving stale while refreshing. Default: they decide.
    pub stale_while_revalidate: Option<Duration>,
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
        self.force_ttl = force_ttl;
        self
    }

    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`stale_if_error`](Self::stale_if_error).
    #[must_use]
    pub fn stale_if_error(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.stale_if_error = window.into();
        self
    }

    /// Sets [`stale_while_revalidate`](Self::stale_while_revalidate).
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.stale_while_revalidate = window.into();
        self
    }
}
