//! Whether a request uses the cache at all, and how.
//!
//! Read next: [`judge`](super::judge), which looks at what was found.

use std::time::Duration;

use http::{HeaderMap, Method, Uri};

use super::directives::RequestDirectives;
use super::outcome::Reason;
use super::settings::{CacheControl, ExpireAfter, Mode, RequestSettings, Settings};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// What the request says in its headers; nothing with [`CacheControl::Ignore`].
    pub directives: RequestDirectives,
    /// The request's mode.
    pub mode: Mode,
    /// Whether what is stored is looked at.
    pub read: bool,
    /// Whether what comes is stored.
    pub write: bool,
    /// Whether the origin is not to be asked: by directive or by mode.
    pub only_if_cached: bool,
    /// The request's own setting, before that of response and session.
    pub stale_while_revalidate: Option<Duration>,
    /// Whether nothing but the response's own freshness decides: no directive, no mode. The path of most hits.
    pub(super) plain: bool,
}

/// Decides whether a request uses the cache.
///
/// These bypass it: methods that are not allowed and headers that override the method; requests for a range; requests
/// with conditional headers of their own, whose answers (also the 200s) are the caller's to interpret and are not
/// stored; upgrades; `no-store`; the settings that say so.
/// A request without headers about caching costs one pass over the names of its headers.
#[must_use]
pub fn plan(method: &Method, uri: &Uri, headers: &HeaderMap, settings: &Settings, request: &RequestSettings) -> Plan {
    if !settings.allowed_methods.contains(method) {
        return Plan::Bypass(Reason::Method);
    }
    if uri.scheme().is_some_and(|scheme| !matches!(scheme.as_str(), "http" | "https")) {
        return Plan::Bypass(Reason::Scheme);
    }
    if request.mode == Mode::NoStore {
        return Plan::Bypass(Reason::Mode);
    }
    if request.expire_after == Some(ExpireAfter::DoNotStore) {
        return Plan::Bypass(Reason::Setting);
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
            "x-http-method-override" | "x-http-method" | "x-method-override" => {
                return Plan::Bypass(Reason::MethodOverride);
            }
            _ => {}
        }
    }
    let directives = if directed && settings.cache_control == CacheControl::Honor {
        RequestDirectives::parse(headers)
    } else {
        RequestDirectives::default()
    };
    if directives.no_store {
        return Plan::Bypass(Reason::RequestNoStore);
    }
    let mode = request.mode;
    Plan::Lookup(Lookup {
        directives,
        mode,
        read: mode != Mode::Reload,
        write: mode != Mode::ReadOnly,
        only_if_cached: directives.only_if_cached || mode == Mode::OnlyIfCached,
        stale_while_revalidate: request.stale_while_revalidate,
        plain: directives == RequestDirectives::default() && matches!(mode, Mode::Default | Mode::ReadOnly),
    })
}
