//! Which of the settings hold for one request.

use std::time::Duration;

use http::Uri;

use super::{CacheControl, ExpireAfter, Mode, RequestSettings, Settings, StaleWindow};
use crate::cache::LifetimeSource;
use crate::key::Matching;

/// The settings that hold for one request: its own before those of the first rule that matches its URL, before those of
/// the session.
///
/// Computed once at the beginning of a request, so that all decisions about it go by the same settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effective {
    /// How the cache is used.
    pub mode: Mode,
    /// Whether nothing is written: by whoever of session, rule and request says [`Mode::ReadOnly`].
    pub read_only: bool,
    /// Whether [`Settings::offline`] is on.
    pub offline: bool,
    /// Whether the headers of request and response count.
    pub cache_control: CacheControl,
    /// How long a response is good for where its headers do not say.
    pub expire_after: ExpireAfter,
    /// Whose [`expire_after`](Self::expire_after) that is: the request's, a rule's, or the session's.
    pub source: LifetimeSource,
    /// Whether [`expire_after`](Self::expire_after) overrides what the response's headers say.
    pub force_ttl: bool,
    /// Whether the request's [mode](Self::mode) lets [`Settings::always_revalidate`] count, and it is on.
    pub always_revalidate: bool,
    /// Whether fields that override the method are believed.
    pub method_override: bool,
    /// When a stale response is served instead of an error.
    pub stale_if_error: StaleOption,
    /// When a stale response is served while it is refreshed.
    pub stale_while_revalidate: StaleOption,
}

impl Effective {
    /// What holds for a request to `uri` with these settings of its own.
    ///
    /// Allocates nothing where there are no rules.
    #[must_use]
    pub fn of(settings: &Settings, request: &RequestSettings, uri: &Uri) -> Self {
        let rule = settings.rules.first_match(uri);
        let mode = request.mode.or(rule.and_then(|rule| rule.mode)).unwrap_or(settings.mode);
        let (expire_after, source) = match (request.expire_after, rule.and_then(|rule| rule.expire_after)) {
            (Some(own), _) => (own, LifetimeSource::Request),
            (None, Some(of_rule)) => (of_rule, LifetimeSource::Rule),
            (None, None) => (settings.expire_after, LifetimeSource::Session),
        };
        let cache_control = request.cache_control.or(rule.and_then(|rule| rule.cache_control));
        Self {
            mode,
            read_only: [Some(settings.mode), rule.and_then(|rule| rule.mode), request.mode]
                .contains(&Some(Mode::ReadOnly)),
            offline: settings.offline,
            cache_control: cache_control.unwrap_or(settings.cache_control),
            expire_after,
            source,
            force_ttl: request.force_ttl.or(rule.and_then(|rule| rule.force_ttl)).unwrap_or_default(),
            always_revalidate: settings.always_revalidate && matches!(mode, Mode::Default | Mode::ReadOnly),
            method_override: [request.matching.as_ref(), rule.and_then(|rule| rule.matching.as_ref())]
                .into_iter()
                .flatten()
                .find_map(Matching::method_override_option)
                .unwrap_or(settings.matching.believes_override()),
            stale_if_error: StaleOption {
                own: request.stale_if_error,
                otherwise: rule.and_then(|rule| rule.stale_if_error).unwrap_or(settings.stale_if_error),
            },
            stale_while_revalidate: StaleOption {
                own: request.stale_while_revalidate,
                otherwise: rule.and_then(|rule| rule.stale_while_revalidate).unwrap_or(settings.stale_while_revalidate),
            },
        }
    }

    /// Whether what the headers say about caching counts for the lifetime.
    pub(in super::super) fn obeys_response(&self) -> bool {
        self.cache_control == CacheControl::Honor && !self.force_ttl
    }
}

/// When stale responses may be served, as request and session say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaleOption {
    /// What the request says: it counts before what the response says.
    pub own: Option<StaleWindow>,
    /// What the rule or the session says: it counts where the response says nothing.
    pub otherwise: StaleWindow,
}

impl StaleOption {
    /// Whether a setting permits it, whatever responses say.
    pub(in super::super) fn is_set(self) -> bool {
        self.own.unwrap_or(self.otherwise) != StaleWindow::Never
    }

    /// The window for a response whose headers say `by_response`.
    pub(in super::super) fn window(self, by_response: Option<Duration>) -> Duration {
        match (self.own, by_response) {
            (Some(own), _) => own.as_duration(),
            (None, Some(window)) => window,
            (None, None) => self.otherwise.as_duration(),
        }
    }
}
