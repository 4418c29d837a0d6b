//! Whether a request uses the cache at all, and how.
//!
//! Read next: `judge`, which looks at what was found.

use http::{HeaderMap, Method, Uri};

use super::directives::RequestDirectives;
use super::reason::Reason;
use super::settings::{CacheControl, Effective, ExpireAfter, Mode, Settings};
use crate::cache::LifetimeSource;

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plan {
    /// Send it as it is; store nothing.
    Bypass(Reason),
    /// Look it up.
    Lookup(Lookup),
}

/// How a request uses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// What the request says in its headers; nothing with [`CacheControl::Ignore`].
    pub directives: RequestDirectives,
    /// The settings that hold for the request.
    pub effective: Effective,
    /// Whether what is stored is looked at.
    pub read: bool,
    /// Whether what comes is stored.
    pub write: bool,
    /// Whether the origin is not to be asked: by directive or by mode.
    pub only_if_cached: bool,
}

impl Lookup {
    /// That of a request of which nothing but its key counts.
    pub(crate) fn plain(effective: Effective) -> Self {
        Self { directives: RequestDirectives::default(), effective, read: true, write: false, only_if_cached: false }
    }

    /// Whether the answer to another's request will do for one with this `method`, or the one that it is
    /// [taken to have](crate::key::effective_method): not for who insists on the origin's own, and not where each request
    /// may change something at the origin (RFC 9110 section 9.2.1).
    pub(crate) fn may_join(&self, method: &Method) -> bool {
        let takes_fresh = matches!(self.effective.mode, Mode::Default | Mode::ForceCache);
        self.read && self.write && takes_fresh && !self.directives.no_cache && method.is_safe()
    }

    /// Whether whatever is fresh will do: nothing asks for more. So it is with most requests.
    pub(super) fn accepts_fresh(&self) -> bool {
        let asked = &self.directives;
        !self.revalidates()
            && self.effective.mode != Mode::NoCache
            && !asked.no_cache
            && asked.max_age.is_none()
            && asked.min_fresh.is_none()
    }

    /// Whether the settings want the origin to be asked about whatever is stored. Not where that is not to be asked.
    pub(super) fn revalidates(&self) -> bool {
        self.effective.always_revalidate && !self.only_if_cached
    }
}

/// Decides whether a request uses the cache.
///
/// These bypass it: methods that are not allowed and headers that override the method; requests for a range; requests
/// with conditional headers of their own, whose answers (also the 200s) are the caller's to interpret and are not
/// stored; upgrades; `no-store`; the settings that say so.
/// `method` is the one that the request is [taken to have](crate::key::effective_method).
/// A request without headers about caching costs one pass over the names of its headers.
#[must_use]
pub fn plan(method: &Method, uri: &Uri, headers: &HeaderMap, settings: &Settings, effective: &Effective) -> Plan {
    if !settings.allowed_methods.contains(method) {
        return Plan::Bypass(Reason::Method);
    }
    if uri.scheme().is_some_and(|scheme| !matches!(scheme.as_str(), "http" | "https")) {
        return Plan::Bypass(Reason::Scheme);
    }
    if effective.mode == Mode::NoStore {
        return Plan::Bypass(Reason::Mode);
    }
    // The session's own is about responses that say nothing: `admit` decides.
    if effective.expire_after == ExpireAfter::DoNotStore && effective.source != LifetimeSource::Session {
        return Plan::Bypass(if effective.source == LifetimeSource::Rule { Reason::Rule } else { Reason::Setting });
    }
    let mut directed = false;
    for name in headers.keys() {
        match name.as_str() {
            "cache-control" | "pragma" => directed = true,
            "range" | "if-range" => return Plan::Bypass(Reason::Range),
            "if-none-match" | "if-modified-since" | "if-match" | "if-unmodified-since" => {
                return Plan::Bypass(Reason::Conditional);
            }
            "upgrade" => return Plan::Bypass(Reason::Upgrade),
            "x-http-method-override" | "x-http-method" | "x-method-override" if !effective.method_override => {
                return Plan::Bypass(Reason::MethodOverride);
            }
            _ => {}
        }
    }
    let directives = if directed && effective.cache_control == CacheControl::Honor {
        RequestDirectives::parse(headers)
    } else {
        RequestDirectives::default()
    };
    if directives.no_store {
        return Plan::Bypass(Reason::RequestNoStore);
    }
    let (mode, offline) = (effective.mode, effective.offline);
    Plan::Lookup(Lookup {
        directives,
        effective: *effective,
        read: mode != Mode::Reload || offline,
        write: !effective.read_only,
        only_if_cached: directives.only_if_cached || mode == Mode::OnlyIfCached || offline,
    })
}

/// Whether a request that [bypasses](Plan::Bypass) the cache says all the same that the origin is not to be asked
/// (RFC 9111 section 5.2.1.7).
#[must_use]
pub fn forbids_origin(headers: &HeaderMap, effective: &Effective) -> bool {
    effective.offline
        || effective.mode == Mode::OnlyIfCached
        || (effective.cache_control == CacheControl::Honor && RequestDirectives::parse(headers).only_if_cached)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Exchange, seconds};
    use super::*;

    fn bypassed(exchange: &Exchange) -> Option<Reason> {
        match exchange.plan() {
            Plan::Bypass(reason) => Some(reason),
            Plan::Lookup(_) => None,
        }
    }

    fn sent(name: &str, value: &str) -> Exchange {
        Exchange::new(&[]).sent(&[(name, value)])
    }

    #[test]
    fn a_plain_request_is_looked_up() {
        let lookup = Exchange::new(&[]).sent(&[("accept", "*/*"), ("user-agent", "x")]).lookup();
        assert!(lookup.read && lookup.write && !lookup.only_if_cached && lookup.accepts_fresh());
    }

    #[test]
    fn a_method_that_is_not_allowed_bypasses() {
        let mut exchange = Exchange::new(&[]);
        exchange.method = Method::POST;
        assert_eq!(bypassed(&exchange), Some(Reason::Method));
        assert_eq!(bypassed(&exchange.with(|all| all.allowed_methods([Method::POST]))), None);
    }

    /// Cases 31 and 183, feature 115: what the cache does not answer itself goes through.
    #[test]
    fn requests_that_the_cache_does_not_answer_bypass() {
        for (name, value, reason) in [
            ("range", "bytes=0-1", Reason::Range),
            ("if-range", "\"a\"", Reason::Range),
            ("if-none-match", "\"a\"", Reason::Conditional),
            ("if-modified-since", "x", Reason::Conditional),
            ("if-match", "*", Reason::Conditional),
            ("if-unmodified-since", "x", Reason::Conditional),
            ("upgrade", "websocket", Reason::Upgrade),
            ("X-HTTP-Method-Override", "DELETE", Reason::MethodOverride),
            ("X-Method-Override", "PUT", Reason::MethodOverride),
        ] {
            assert_eq!(bypassed(&sent(name, value)), Some(reason), "{name}");
        }
        let mut exchange = Exchange::new(&[]);
        exchange.uri = Uri::from_static("ftp://example.org/");
        assert_eq!(bypassed(&exchange), Some(Reason::Scheme));
    }

    /// Case 20 and feature 90: a request's `no-store`, on whichever line.
    #[test]
    fn no_store_bypasses() {
        let exchange = Exchange::new(&[]).sent(&[("cache-control", "max-age=5"), ("cache-control", "x, No-Store")]);
        assert_eq!(bypassed(&exchange), Some(Reason::RequestNoStore));
        assert_eq!(bypassed(&exchange.with(|all| all.cache_control(CacheControl::Ignore))), None);
    }

    #[test]
    fn settings_of_the_request_bypass() {
        let exchange = Exchange::new(&[]);
        assert_eq!(bypassed(&exchange.clone().request(|all| all.mode(Mode::NoStore))), Some(Reason::Mode));
        let not_stored = exchange.request(|all| all.expire_after(ExpireAfter::DoNotStore));
        assert_eq!(bypassed(&not_stored), Some(Reason::Setting));
    }

    #[test]
    fn modes_say_what_is_read_and_written() {
        for (mode, read, write, only) in [
            (Mode::Default, true, true, false),
            (Mode::Reload, false, true, false),
            (Mode::NoCache, true, true, false),
            (Mode::ForceCache, true, true, false),
            (Mode::OnlyIfCached, true, true, true),
            (Mode::ReadOnly, true, false, false),
        ] {
            let lookup = Exchange::new(&[]).request(|all| all.mode(mode)).lookup();
            assert_eq!((lookup.read, lookup.write, lookup.only_if_cached), (read, write, only), "{mode:?}");
        }
        assert!(sent("cache-control", "only-if-cached").lookup().only_if_cached);
    }

    #[test]
    fn directives_of_a_request_are_read_unless_ignored() {
        let exchange = sent("cache-control", "max-age=5");
        assert_eq!(exchange.lookup().directives.max_age, Some(seconds(5)));
        assert!(sent("pragma", "no-cache").lookup().directives.no_cache);
        for exchange in [exchange, sent("pragma", "no-cache")] {
            assert!(exchange.with(|all| all.cache_control(CacheControl::Ignore)).lookup().accepts_fresh());
        }
    }
}
