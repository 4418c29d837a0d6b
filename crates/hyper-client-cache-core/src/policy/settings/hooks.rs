//! The functions of a rule or of a request that go before the session's.

use http::Uri;

use super::{RequestSettings, Settings};
use crate::policy::filter::{BeforeStore, ResponseFilter};

/// Functions that decide about responses, for certain URLs or for one request. What is not set is as below: in the rule,
/// then in the session.
///
/// Two are equal if they are the same functions, not if they do the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hooks {
    /// Which responses are stored, of those that could be: [`Settings::filter_write`].
    pub filter_write: Option<ResponseFilter>,
    /// Which stored responses are used, of those that the request selects: [`Settings::filter_read`].
    pub filter_read: Option<ResponseFilter>,
    /// What changes the header lines that are stored with a response: [`Settings::before_store`].
    pub before_store: Option<BeforeStore>,
}

impl Hooks {
    pub(super) const fn is_empty(&self) -> bool {
        self.filter_write.is_none() && self.filter_read.is_none() && self.before_store.is_none()
    }

    fn lay_over(&self, settings: &mut Settings) {
        let Self { filter_write, filter_read, before_store } = self.clone();
        settings.filter_write = filter_write.or(settings.filter_write.take());
        settings.filter_read = filter_read.or(settings.filter_read.take());
        settings.before_store = before_store.or(settings.before_store.take());
    }
}

impl Settings {
    /// These settings with the functions that hold for a request to `uri`; `None` where neither it nor its rule has any.
    pub(crate) fn hooked_for(&self, request: Option<&RequestSettings>, uri: &Uri) -> Option<Self> {
        let has_rule = self.rules.as_slice().iter().any(|rule| !rule.hooks.is_empty());
        let of_rule = if has_rule { self.rules.first_match(uri).map(|rule| &rule.hooks) } else { None };
        let of_request = request.map(|request| &request.hooks);
        let mut own = None;
        for hooks in [of_rule, of_request].into_iter().flatten().filter(|hooks| !hooks.is_empty()) {
            hooks.lay_over(own.get_or_insert_with(|| self.clone()));
        }
        own
    }
}
