//! What would become of a request, and why, without sending it.
//!
//! The first half of the algorithm ([`route`](super::route)) is the one that requests go through too, so that what is said
//! here is what would be done.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request};
use http_body::Body;

use super::flight;
use super::lookup::{Asked, Found};
use super::route::{Past, Route, Step};
use super::{Engine, replay};
use crate::cache::{CachedResponse, Stored};
use crate::key::Identity;
use crate::policy::{self, Lookup, Outcome, Reason};
use crate::storage::CacheKey;

/// What would become of a request, and why: see [`CacheLayer::explain`](super::CacheLayer::explain).
///
/// Says what would be done at this moment; what the origin would answer nobody knows.
/// `Display` is for a person, over a few lines; neither it nor `Debug` shows a header's value or the query of the URL.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// What would be done. [`Revalidated`](Outcome::Revalidated) where the origin would be asked about what is stored,
    /// and if it confirms that; [`Coalesced`](Outcome::Coalesced) where another's exchange is under way and its answer
    /// would do; [`Miss`](Outcome::Miss) where the origin would be asked for all of it.
    pub outcome: Outcome,
    /// What decides that. Where the origin would be asked: why what is stored does not do.
    pub reason: Reason,
    /// The key that would be looked up; `None` where the cache would be passed by.
    pub key: Option<CacheKey>,
    /// Whether what is stored is a response to another URL, which says in `No-Vary-Search` that it answers this one too.
    pub by_no_vary_search: bool,
    /// Whether the request has a partition of its own, by its credentials or by a setting.
    pub partitioned: bool,
    /// What the request selects of what is stored, whether or not it may be served.
    pub stored: Option<CachedResponse>,
    /// How many variants of the URL are known; 0 where it does not vary.
    pub variants: usize,
    /// Whether the origin would be asked before there is an answer.
    pub asks_origin: bool,
    /// Whether it would be asked on the condition that what is stored has changed.
    pub conditional: bool,
    /// Whether what is served stale would be refreshed in the background.
    pub refreshes: bool,
    /// Whether what is stored would be the answer if the origin failed (RFC 5861 section 4).
    pub falls_back: bool,
    /// Whether what the origin answers may be stored as far as the request decides it.
    pub may_store: bool,
}

impl Explanation {
    const fn new(outcome: Outcome, reason: Reason) -> Self {
        Self {
            outcome,
            reason,
            key: None,
            by_no_vary_search: false,
            partitioned: false,
            stored: None,
            variants: 0,
            asks_origin: false,
            conditional: false,
            refreshes: false,
            falls_back: false,
            may_store: false,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.outcome {
            Outcome::Hit => "would be answered from the cache",
            Outcome::Stale if self.refreshes => "would be answered with what is stale, and that refreshed meanwhile",
            Outcome::Stale => "would be answered with what is stale",
            Outcome::Revalidated => "would be answered from the cache if the origin confirms it",
            Outcome::Coalesced => "would wait for another's answer that is on its way",
            Outcome::Miss => "would be sent to the origin",
            Outcome::Bypass => "would be sent past the cache",
            Outcome::Offline => "would be answered with 504",
        };
        write!(f, "{}: the request {what} ({})", self.outcome.as_str(), self.reason)?;
        if let Some(key) = self.key {
            write!(f, "\nkey {key}")?;
            if self.by_no_vary_search {
                f.write_str(", of another URL")?;
            }
            if self.partitioned {
                f.write_str(", in a partition of its own")?;
            }
            if self.variants > 0 {
                write!(f, ", {} variants known", self.variants)?;
            }
        }
        match &self.stored {
            None if self.key.is_some() => f.write_str("\nnothing is stored that the request selects"),
            None => Ok(()),
            Some(stored) => {
                write!(f, "\nstored: {}, {} bytes", stored.status().as_u16(), stored.body_len())?;
                write!(f, ", created {}", Date(Some(stored.created_at())))?;
                write!(f, ", expires {}", Date(stored.expires()))?;
                write!(f, ", age {}", Seconds(stored.age()))
            }
        }
    }
}

/// An HTTP date, which every year can be written as that the standard library's can.
struct Date(Option<SystemTime>);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Outside of the years 1970 to 9999 the crate would panic.
        let last = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(253_402_300_799));
        match self.0 {
            None => f.write_str("never"),
            Some(time) if time >= SystemTime::UNIX_EPOCH && last.is_some_and(|last| time <= last) => {
                f.write_str(&httpdate::fmt_http_date(time))
            }
            Some(_) => f.write_str("beyond the calendar"),
        }
    }
}

struct Seconds(Option<Duration>);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(age) => write!(f, "{} s", age.as_secs()),
            None => f.write_str("unknown"),
        }
    }
}

impl Engine {
    /// What would become of `request`. Sends, stores, removes and counts nothing.
    pub(super) fn explanation<'a, B: Body + 'static>(
        &'a self,
        request: &'a Request<B>,
    ) -> impl Future<Output = Explanation> + Send + use<'a, B> {
        // Everything that looks at the body comes first: the future must not hold a reference to it.
        let settings = self.settings.load_full();
        let settings = settings.hooked_for(request.extensions().get(), request.uri()).map_or(settings, Arc::new);
        let matching = settings.matching_for(request.extensions().get(), request.uri());
        let planned = self.plan(request, &settings, &matching);
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let body = replay::of(request).map(|replay| &replay.bytes()[..]);
        let cookies = request.extensions().get();
        async move {
            let (settings, matching) = (&*settings, &matching);
            let only_told = true;
            let asked = Asked { method, uri, headers, body, settings, matching, only_told, cookies, by: None };
            match planned {
                Ok((lookup, identity)) => {
                    let route = self.route(asked, &lookup, &identity.primary).await;
                    self.told(asked, &lookup, &identity, route)
                }
                Err(Past { reason, offline: true, .. }) => Explanation::new(Outcome::Offline, reason),
                Err(Past { reason, offline: false, .. }) => {
                    Explanation { asks_origin: true, ..Explanation::new(Outcome::Bypass, reason) }
                }
            }
        }
    }

    fn told(&self, asked: Asked<'_>, lookup: &Lookup, identity: &Identity, route: Route) -> Explanation {
        let Route { found, step, .. } = route;
        let now = self.clock.now();
        let shown = |stored: &Stored| CachedResponse::new(stored.clone(), true, now);
        let known = Explanation {
            key: Some(*found.elsewhere().unwrap_or(&identity.primary)),
            by_no_vary_search: found.elsewhere().is_some(),
            partitioned: identity.partition.is_some(),
            variants: found.variants().map_or(0, |index| index.variants.len()),
            stored: found.selected.as_ref().and_then(shown),
            ..Explanation::new(Outcome::Miss, found.reason)
        };
        match step {
            Step::Serve { outcome, reason, refresh } => Explanation { outcome, reason, refreshes: refresh, ..known },
            Step::ServeGet(get) => {
                Explanation { outcome: Outcome::Hit, reason: Reason::Fresh, stored: shown(&get), ..known }
            }
            Step::Offline(reason) => Explanation { outcome: Outcome::Offline, reason, ..known },
            Step::Ask(reason) => {
                let record = found.selected.as_ref().and_then(|stored| stored.record.as_response());
                let conditional = record.is_some_and(|record| policy::add_validators(record, &mut HeaderMap::new()));
                let falls_back = record.is_some_and(|record| policy::serve_on_error(lookup, record, now));
                let method = crate::key::effective_method(asked.method, asked.headers, asked.matching);
                let outcome = if lookup.may_join(&method) && self.is_asked_for(asked, &identity.primary, &found) {
                    Outcome::Coalesced
                } else if conditional {
                    Outcome::Revalidated
                } else {
                    Outcome::Miss
                };
                let asks_origin = outcome != Outcome::Coalesced;
                Explanation { outcome, reason, asks_origin, conditional, falls_back, may_store: lookup.write, ..known }
            }
        }
    }

    /// Whether an exchange is under way that the request would join.
    fn is_asked_for(&self, asked: Asked<'_>, primary: &CacheKey, found: &Found) -> bool {
        let keyer = asked.settings.keyer(asked.matching);
        let generation = self.ledger.generation(&keyer.group(asked.uri));
        let key = flight::key_of(primary, asked.headers, asked.settings, &keyer, found);
        self.flights.has(&key, generation) && !self.flights.is_unshared(&key, || self.clock.now())
    }
}
