//! How a session is set up.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tower_layer::Layer;

use super::redirect::Redirects;
use super::{CachedSession, Inner, IntoUrl};
use crate::cache::{Cache, MemoryCache};
use crate::clock::{Clock, system_clock};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{CacheLayer, OnCacheError};
use crate::policy::{CacheControl, ExpireAfter, Mode, Settings, StaleWindow, UrlRule};
use crate::transport::{Transport, TransportBuilder};

/// Options of a [`CachedSession`]. Each has a default; [`build`](Self::build) says what is impossible.
#[derive(Debug)]
#[must_use]
pub struct SessionBuilder {
    cache: Option<Arc<dyn Cache>>,
    closes_cache: bool,
    settings: Settings,
    clock: Arc<dyn Clock>,
    cache_status: Option<String>,
    on_cache_error: OnCacheError,
    timeout: Option<Duration>,
    transport: TransportBuilder,
    redirects: Redirects,
}

impl SessionBuilder {
    pub(super) fn new() -> Self {
        Self {
            cache: None,
            closes_cache: true,
            settings: Settings::default(),
            clock: system_clock(),
            cache_status: None,
            on_cache_error: OnCacheError::default(),
            timeout: Some(Duration::from_secs(300)),
            transport: Transport::builder(),
            redirects: Redirects::default(),
        }
    }

    /// Keeps responses in `cache`, which is closed when the session is. Default: in memory, at most 128 MiB.
    pub fn cache(mut self, cache: impl Cache) -> Self {
        self.cache = Some(Arc::new(cache));
        self.closes_cache = true;
        self
    }

    /// Keeps responses in a cache that others use too, and that closing the session leaves open.
    pub fn shared_cache(mut self, cache: Arc<dyn Cache>) -> Self {
        self.cache = Some(cache);
        self.closes_cache = false;
        self
    }

    /// Sets all of what is cached and for how long.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets how long responses are kept whose headers do not say. Default: until deleted.
    pub fn expire_after(mut self, expire_after: impl Into<ExpireAfter>) -> Self {
        self.settings = self.settings.expire_after(expire_after);
        self
    }

    /// Sets whether the headers of responses and requests decide ([`CacheControl::Honor`], the default) or settings
    /// alone.
    pub fn cache_control(mut self, cache_control: CacheControl) -> Self {
        self.settings = self.settings.cache_control(cache_control);
        self
    }

    /// Sets how long responses with this status are kept whose headers do not say, so that errors can be kept for a
    /// short while; see [`Settings::status_expire_after`]. Default: as any other, where they are stored at all.
    pub fn expire_status_after(mut self, status: StatusCode, expire_after: impl Into<ExpireAfter>) -> Self {
        self.settings = self.settings.expire_status_after(status, expire_after);
        self
    }

    /// Raises lifetimes that headers give to at least this. Default: not at all.
    pub fn min_ttl(mut self, min_ttl: impl Into<Option<Duration>>) -> Self {
        self.settings = self.settings.min_ttl(min_ttl);
        self
    }

    /// Cuts lifetimes that headers give to at most this. Default: not at all.
    pub fn max_ttl(mut self, max_ttl: impl Into<Option<Duration>>) -> Self {
        self.settings = self.settings.max_ttl(max_ttl);
        self
    }

    /// Shortens lifetimes by up to this fraction of themselves, from 0 to 1, so that what was stored together does not
    /// expire together; see [`Settings::ttl_jitter`]. Default: 0.
    pub fn ttl_jitter(mut self, fraction: f64) -> Self {
        self.settings = self.settings.ttl_jitter(fraction);
        self
    }

    /// Renews lifetimes that settings give whenever what is stored is used, with at most one write for every so long as
    /// is given here; see [`Settings::sliding`]. Default: no.
    pub fn sliding(mut self, sliding: impl Into<Option<Duration>>) -> Self {
        self.settings = self.settings.sliding(sliding);
        self
    }

    /// Sets the longest body that is stored, in bytes. Default: no limit but the storage's own.
    pub fn max_body_len(mut self, max_body_len: impl Into<Option<u64>>) -> Self {
        self.settings = self.settings.max_body_len(max_body_len);
        self
    }

    /// Sets the statuses for which a stale response may stand in; see [`Settings::error_codes`]. Default: 500, 502, 503
    /// and 504.
    pub fn error_codes(mut self, codes: impl IntoIterator<Item = StatusCode>) -> Self {
        self.settings = self.settings.error_codes(codes);
        self
    }

    /// Adds a rule for certain URLs, after those that are there: the first that matches counts. Default: none.
    pub fn rule(mut self, rule: UrlRule) -> Self {
        self.settings = self.settings.rule(rule);
        self
    }

    /// Sets all rules for certain URLs, in their order: the first that matches counts. Default: none.
    pub fn rules(mut self, rules: impl IntoIterator<Item = UrlRule>) -> Self {
        self.settings = self.settings.rules(rules);
        self
    }

    /// Sets how requests use the cache that do not say. Default: [`Mode::Default`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.settings = self.settings.mode(mode);
        self
    }

    /// Answers from what is stored and opens no connection; see [`Settings::offline`]. Default: `false`.
    pub fn offline(mut self, offline: bool) -> Self {
        self.settings = self.settings.offline(offline);
        self
    }

    /// Revalidates also what is fresh; see [`Settings::always_revalidate`]. Default: `false`.
    pub fn always_revalidate(mut self, always_revalidate: bool) -> Self {
        self.settings = self.settings.always_revalidate(always_revalidate);
        self
    }

    /// Sets the methods whose responses are stored. Default: GET and HEAD.
    pub fn allowed_methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.settings = self.settings.allowed_methods(methods);
        self
    }

    /// Sets the statuses that are stored without explicit freshness. Default: 200.
    pub fn allowed_codes(mut self, codes: impl IntoIterator<Item = StatusCode>) -> Self {
        self.settings = self.settings.allowed_codes(codes);
        self
    }

    /// Sets for how long past its freshness a response is served instead of an error, where its headers do not say
    /// (RFC 5861 section 4). Default: not at all.
    pub fn stale_if_error(mut self, window: impl Into<StaleWindow>) -> Self {
        self.settings = self.settings.stale_if_error(window);
        self
    }

    /// Sets for how long past its freshness a response is served while it is refreshed in the background, where its
    /// headers do not say (RFC 5861 section 3). Default: not at all.
    pub fn stale_while_revalidate(mut self, window: impl Into<StaleWindow>) -> Self {
        self.settings = self.settings.stale_while_revalidate(window);
        self
    }

    /// Adds a `Cache-Status` line (RFC 9211) with this cache name to each response. Off by default.
    pub fn cache_status(mut self, cache_name: impl Into<String>) -> Self {
        self.cache_status = Some(cache_name.into());
        self
    }

    /// Sets what becomes of a request when the store fails it. Default: [`OnCacheError::Ignore`], which answers as if
    /// there were no cache.
    pub fn on_cache_error(mut self, on_cache_error: OnCacheError) -> Self {
        self.on_cache_error = on_cache_error;
        self
    }

    /// Sets the clock that decides about freshness. Default: the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how long a request may take from its beginning to the end of its body. Default: 5 minutes; `None`: for
    /// ever.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sets how long connecting may take, TLS included. Default: 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.transport = self.transport.connect_timeout(timeout);
        self
    }

    /// Sets how many redirects are followed, one after the other. Default: 10; 0: none, the redirect is the response.
    pub fn max_redirects(mut self, limit: usize) -> Self {
        self.redirects.limit = limit;
        self
    }

    /// Trusts a certificate authority in addition to Mozilla's, given in DER form.
    pub fn root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.transport = self.transport.root_certificate(der);
        self
    }

    /// Speaks HTTP/2 from the first byte, also without TLS. Off by default: TLS negotiates it.
    pub fn http2_prior_knowledge(mut self, on: bool) -> Self {
        self.transport = self.transport.http2_prior_knowledge(on);
        self
    }

    /// Makes the session. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a setting is impossible; the message names it.
    pub fn build(self) -> Result<CachedSession> {
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::new(ErrorKind::Config, "`timeout` is zero: give at least a millisecond, or `None`"));
        }
        let cache = match self.cache {
            Some(cache) => cache,
            None => Arc::new(MemoryCache::builder().clock(self.clock.clone()).build()?),
        };
        let mut layer = CacheLayer::builder_shared(cache)
            .settings(self.settings)
            .clock(self.clock)
            .on_cache_error(self.on_cache_error);
        if let Some(name) = self.cache_status {
            layer = layer.cache_status(name);
        }
        let layer = layer.build()?;
        let inner = Inner {
            service: layer.layer(self.transport.build()?),
            cache: layer.cache().parsing(|url| Ok(url.into_url()?.uri)),
            layer,
            closes_cache: self.closes_cache,
            closed: false.into(),
            timeout: self.timeout,
            redirects: self.redirects,
        };
        Ok(CachedSession { inner: Arc::new(inner) })
    }
}
