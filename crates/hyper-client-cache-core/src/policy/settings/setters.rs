//! The setters of [`Settings`], one for each field.

use std::time::Duration;

use http::{Method, StatusCode};

use super::super::filter::{BeforeStore, RequestFilter, ResponseFilter};
use super::{CacheControl, ExpireAfter, Mode, Secret, Settings, StaleWindow, UrlRule};
use crate::key::Matching;

impl Settings {
    /// Sets [`cache_control`](Self::cache_control).
    #[must_use]
    pub fn cache_control(mut self, cache_control: CacheControl) -> Self {
        self.cache_control = cache_control;
        self
    }

    /// Sets [`shared`](Self::shared).
    #[must_use]
    pub fn shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Sets [`expire_after`](Self::expire_after).
    #[must_use]
    pub fn expire_after(mut self, expire_after: impl Into<ExpireAfter>) -> Self {
        self.expire_after = expire_after.into();
        self
    }

    /// Adds a rule to the end of [`rules`](Self::rules).
    #[must_use]
    pub fn rule(mut self, rule: UrlRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets [`rules`](Self::rules).
    #[must_use]
    pub fn rules(mut self, rules: impl IntoIterator<Item = UrlRule>) -> Self {
        self.rules = rules.into_iter().collect();
        self
    }

    /// Sets [`allowed_methods`](Self::allowed_methods).
    #[must_use]
    pub fn allowed_methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.allowed_methods = methods.into_iter().collect();
        self
    }

    /// Sets [`allowed_codes`](Self::allowed_codes).
    #[must_use]
    pub fn allowed_codes(mut self, codes: impl IntoIterator<Item = StatusCode>) -> Self {
        self.allowed_codes = codes.into_iter().collect();
        self
    }

    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`offline`](Self::offline).
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Sets [`always_revalidate`](Self::always_revalidate).
    #[must_use]
    pub fn always_revalidate(mut self, always_revalidate: bool) -> Self {
        self.always_revalidate = always_revalidate;
        self
    }

    /// Sets [`stale_while_revalidate`](Self::stale_while_revalidate).
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: impl Into<StaleWindow>) -> Self {
        self.stale_while_revalidate = window.into();
        self
    }

    /// Sets [`stale_if_error`](Self::stale_if_error).
    #[must_use]
    pub fn stale_if_error(mut self, window: impl Into<StaleWindow>) -> Self {
        self.stale_if_error = window.into();
        self
    }

    /// Sets [`error_codes`](Self::error_codes).
    #[must_use]
    pub fn error_codes(mut self, codes: impl IntoIterator<Item = StatusCode>) -> Self {
        self.error_codes = codes.into_iter().collect();
        self
    }

    /// Sets [`max_variants`](Self::max_variants).
    #[must_use]
    pub fn max_variants(mut self, max_variants: usize) -> Self {
        self.max_variants = max_variants;
        self
    }

    /// Sets [`max_body_len`](Self::max_body_len).
    #[must_use]
    pub fn max_body_len(mut self, max_body_len: impl Into<Option<u64>>) -> Self {
        self.max_body_len = max_body_len.into();
        self
    }

    /// Sets [`retain_stale`](Self::retain_stale).
    #[must_use]
    pub fn retain_stale(mut self, retain_stale: Duration) -> Self {
        self.retain_stale = retain_stale;
        self
    }

    /// Sets [`partition`](Self::partition).
    #[must_use]
    pub fn partition(mut self, partition: impl Into<String>) -> Self {
        self.partition = Some(partition.into());
        self
    }

    /// Sets [`secret`](Self::secret).
    #[must_use]
    pub fn secret(mut self, secret: impl Into<Secret>) -> Self {
        self.secret = secret.into();
        self
    }

    /// Sets [`matching`](Self::matching).
    #[must_use]
    pub fn matching(mut self, matching: Matching) -> Self {
        self.matching = matching;
        self
    }

    /// Sets [`min_ttl`](Self::min_ttl).
    #[must_use]
    pub fn min_ttl(mut self, min_ttl: impl Into<Option<Duration>>) -> Self {
        self.min_ttl = min_ttl.into();
        self
    }

    /// Sets [`max_ttl`](Self::max_ttl).
    #[must_use]
    pub fn max_ttl(mut self, max_ttl: impl Into<Option<Duration>>) -> Self {
        self.max_ttl = max_ttl.into();
        self
    }

    /// Sets [`ttl_jitter`](Self::ttl_jitter).
    #[must_use]
    pub fn ttl_jitter(mut self, fraction: f64) -> Self {
        self.ttl_jitter = fraction;
        self
    }

    /// Sets [`sliding`](Self::sliding).
    #[must_use]
    pub fn sliding(mut self, sliding: impl Into<Option<Duration>>) -> Self {
        self.sliding = sliding.into();
        self
    }

    /// Sets the lifetime of responses with this status in [`status_expire_after`](Self::status_expire_after).
    #[must_use]
    pub fn expire_status_after(mut self, status: StatusCode, expire_after: impl Into<ExpireAfter>) -> Self {
        self.status_expire_after.retain(|(other, _)| *other != status);
        self.status_expire_after.push((status, expire_after.into()));
        self
    }

    /// Sets [`filter_request`](Self::filter_request).
    #[must_use]
    pub fn filter_request(mut self, filter: RequestFilter) -> Self {
        self.filter_request = Some(filter);
        self
    }

    /// Sets both [`filter_write`](Self::filter_write) and [`filter_read`](Self::filter_read).
    #[must_use]
    pub fn filter(self, filter: ResponseFilter) -> Self {
        self.filter_write(filter.clone()).filter_read(filter)
    }

    /// Sets [`filter_write`](Self::filter_write).
    #[must_use]
    pub fn filter_write(mut self, filter: ResponseFilter) -> Self {
        self.filter_write = Some(filter);
        self
    }

    /// Sets [`filter_read`](Self::filter_read).
    #[must_use]
    pub fn filter_read(mut self, filter: ResponseFilter) -> Self {
        self.filter_read = Some(filter);
        self
    }

    /// Sets [`before_store`](Self::before_store).
    #[must_use]
    pub fn before_store(mut self, change: BeforeStore) -> Self {
        self.before_store = Some(change);
        self
    }
}
