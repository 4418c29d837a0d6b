//! What a session stores and uses, and for how long: the options of [`Settings`], by the same names.

use std::time::Duration;

use http::{Method, StatusCode};

use super::SessionBuilder;
use crate::policy::{
    BeforeStore, CacheControl, ExpireAfter, Mode, RequestFilter, ResponseFilter, Settings, StaleWindow, UrlRule,
};

impl SessionBuilder {
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

    /// Sets which responses are stored and which stored ones are used; see [`Settings::filter_write`] and
    /// [`Settings::filter_read`]. Default: all that may be.
    pub fn filter(mut self, filter: ResponseFilter) -> Self {
        self.settings = self.settings.filter(filter);
        self
    }

    /// Sets which requests use the cache; the others go past it. Default: all that may.
    pub fn filter_request(mut self, filter: RequestFilter) -> Self {
        self.settings = self.settings.filter_request(filter);
        self
    }

    /// Changes the header lines that are stored with responses; see [`BeforeStore`]. Default: nothing.
    pub fn before_store(mut self, change: BeforeStore) -> Self {
        self.settings = self.settings.before_store(change);
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
}
