//! The first half of the algorithm: whether a request uses the cache, under which key, what is found there, and what
//! may be done with that. It serves and sends nothing.
//!
//! `service` carries out what comes of it.

use std::sync::atomic::Ordering;

use http::{Method, Request};
use http_body::Body;

use super::lookup::{Asked, Found, with_cookies};
use super::{Engine, replay};
use crate::cache::Stored;
use crate::key::{self, Identity, KeyRequest, Matching};
use crate::policy::filter::Panicked;
use crate::policy::{
    self, Effective, Judgement, Lookup, Outcome, Plan, Reason, RequestSettings, RequestView, Settings,
};
use crate::storage::CacheKey;

/// A request that does not use the cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub(super) reason: Reason,
    /// Whether the origin is not to be asked either, so that nobody answers.
    pub(super) offline: bool,
    /// Whether what is stored stays, also what the request makes invalid.
    pub(super) read_only: bool,
}

/// What is known of a request once the store was asked.
#[derive(Debug)]
pub(super) struct Route {
    /// How many flights [had landed](super::flight::Flights::landed) before the look-up.
    pub(super) landed: u64,
    pub(super) found: Found,
    pub(super) step: Step,
}

/// How a request goes on.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// It is answered with what was [selected](Found::selected).
    Serve { outcome: Outcome, reason: Reason, refresh: bool },
    /// A HEAD that is answered with a stored GET.
    ServeGet(Stored),
    /// Nobody may answer it.
    Offline(Reason),
    /// The origin is asked, or whoever is asking it already.
    Ask(Reason),
}

impl Engine {
    /// Is the cache to be used at all, and what is the request's key?
    pub(super) fn plan<B: Body + 'static>(
        &self,
        request: &Request<B>,
        settings: &Settings,
        matching: &Matching,
    ) -> Result<(Lookup, Identity), Past> {
        let (uri, headers) = (request.uri(), request.headers());
        let none = RequestSettings::default();
        let of_request = request.extensions().get().unwrap_or(&none);
        let effective = Effective::of(settings, of_request, uri);
        let method = key::effective_method(request.method(), headers, matching);
        let reason = match policy::plan(&method, uri, headers, settings, &effective) {
            _ if self.disabled.load(Ordering::Acquire) > 0 => Reason::Disabled,
            _ if of_request.matching.as_ref().is_some_and(|matching| matching.validate().is_err()) => Reason::Setting,
            Plan::Lookup(lookup) => {
                match self.refuses(request, settings).map_or_else(|| self.identify(request, settings, matching), Err) {
                    Ok(identity) => return Ok((lookup, identity)),
                    Err(reason) => reason,
                }
            }
            Plan::Bypass(reason) => reason,
        };
        Err(Past { reason, offline: policy::forbids_origin(headers, &effective), read_only: effective.read_only })
    }

    /// Why the user's filter keeps a request from using the cache.
    fn refuses<B>(&self, request: &Request<B>, settings: &Settings) -> Option<Reason> {
        let view = RequestView::new(request.method(), request.uri(), request.headers());
        match settings.filter_request.as_ref()?.decide(view) {
            Ok(true) => None,
            Ok(false) => Some(Reason::Filter),
            Err(Panicked) => {
                self.ledger.counters.callback_panicked.add();
                Some(Reason::CallbackPanicked)
            }
        }
    }

    fn identify<B: Body + 'static>(
        &self,
        request: &Request<B>,
        settings: &Settings,
        matching: &Matching,
    ) -> Result<Identity, Reason> {
        let mut keyed = KeyRequest::new(request.method(), request.uri(), request.headers());
        keyed.body = replay::keyed(request, matching.body_limit())?;
        with_cookies(settings.keyer(matching), request.extensions().get()).identify(&keyed).ok_or_else(|| {
            self.ledger.counters.callback_panicked.add();
            Reason::CallbackPanicked
        })
    }

    /// What is stored under the request's key, and may that be served?
    pub(super) async fn route(&self, request: Asked<'_>, lookup: &Lookup, primary: &CacheKey) -> Route {
        let landed = self.flights.landed(primary);
        let found = if lookup.read { self.find(request, primary, lookup).await } else { Found::not_asked() };
        let get = if *request.method == Method::HEAD && lookup.read && found.judgement != Judgement::Fresh {
            Box::pin(self.get_for_head(request, lookup)).await
        } else {
            None
        };
        let step = match (get, &found.selected, found.judgement) {
            (Some(get), ..) => Step::ServeGet(get),
            (None, Some(_), Judgement::Fresh) => {
                Step::Serve { outcome: Outcome::Hit, reason: Reason::Fresh, refresh: false }
            }
            (None, Some(_), Judgement::ServeStale { reason, refresh }) => {
                Step::Serve { outcome: Outcome::Stale, reason, refresh }
            }
            (None, Some(_), Judgement::Revalidate(why) | Judgement::Unusable(why)) => ask(lookup, why),
            (None, None, _) => ask(lookup, found.reason),
        };
        Route { landed, found, step }
    }
}

const fn ask(lookup: &Lookup, reason: Reason) -> Step {
    if lookup.only_if_cached { Step::Offline(reason) } else { Step::Ask(reason) }
}
