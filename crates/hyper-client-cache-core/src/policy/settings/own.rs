//! What a URL rule and a single request may both say in place of the session: the setters of these options, once for both.

/// The setters of the fields that [`UrlRule`](super::UrlRule) and [`RequestSettings`](super::RequestSettings) have in
/// common, each of which may be left out. To be used within the `impl` of a struct with these fields.
macro_rules! own_setters {
    () => {
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
    };
}

pub(super) use own_setters;
