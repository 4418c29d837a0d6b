//! Whether a response is stored, and on which terms: decided from its header section, before the body is there
//! (RFC 9111 section 3).
//!
//! Read next: `lifetime`, then `revalidate` for what a 304 changes.

use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use super::directives::{ResponseDirectives, trim};
use super::freshness::{explicit_lifetime, initial_age};
use super::headers::{content_length, has_validator, storable};
use super::lifetime::{bounded, chosen_lifetime, jittered, retain_until};
use super::plan::Lookup;
use super::reason::Reason;
use super::settings::{Settings, is_storable};
use super::vary::vary_names;
use crate::cache::{Freshness, LifetimeSource};

/// An exchange whose response has come: what [`admit`] and [`merge`](super::merge) decide by.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs)] // an argument list with names: whoever calls must give each
pub struct Admit<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The request's URI.
    pub uri: &'a Uri,
    /// The request's headers as they were sent.
    pub request_headers: &'a HeaderMap,
    /// The response's status.
    pub status: StatusCode,
    /// The response's version.
    pub version: Version,
    /// The response's headers as they were received.
    pub response_headers: &'a HeaderMap,
    /// When the request was sent.
    pub requested_at: SystemTime,
    /// When the response's headers were received.
    pub received_at: SystemTime,
    /// The session's settings.
    pub settings: &'a Settings,
    /// What [`plan`](super::plan) said about the request, with the settings that hold for it.
    pub lookup: &'a Lookup,
}

/// Whether a response is stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Admission {
    /// It is, on these terms.
    Store(Box<Terms>),
    /// It is not.
    Refuse(Reason),
}

/// What is stored with a response.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Terms {
    /// Age and lifetime.
    pub freshness: Freshness,
    /// The moment after which the response is of no use, not even for revalidation; `None`: it is kept until deleted.
    pub retain_until: Option<SystemTime>,
    /// The header lines to store, in order.
    ///
    /// Left out are the fields of the connection and those that `Connection` names, `Age`, the fields that a qualified
    /// `no-cache` names (the rest is served without them rather than never without revalidation), and in a shared cache
    /// `Set-Cookie` and the fields that a qualified `private` names.
    /// A private cache stores `Set-Cookie`; whether a hit gives it to a cookie jar is the session's business.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The request header fields that select among variants, in lower case, sorted, each once; empty: none do.
    pub vary: Vec<HeaderName>,
}

/// Decides whether a response is stored.
///
/// The lifetime is decided by the response's headers (`s-maxage` in a shared cache, `max-age`, `Expires`), else by the
/// request's `max-age`, else by the request's own setting, else by the first matching rule, else by the session's. A request's `max-age` never makes a
/// response last longer than its origin says: it limits what that request accepts, each time it is made.
/// With [`CacheControl::Ignore`](super::CacheControl::Ignore) or [`force_ttl`](super::Effective::force_ttl) the settings decide.
#[must_use]
pub fn admit(exchange: &Admit<'_>) -> Admission {
    match framing(exchange).and_then(|()| terms(exchange, exchange.status, exchange.response_headers)) {
        Ok(terms) => Admission::Store(Box::new(terms)),
        Err(reason) => Admission::Refuse(reason),
    }
}

/// Whether the response may be written at all, the end of its body will be known, and is within the limit.
fn framing(exchange: &Admit<'_>) -> Result<(), Reason> {
    let headers = exchange.response_headers;
    if !exchange.lookup.write {
        return Err(Reason::Mode);
    }
    if exchange.status == StatusCode::PARTIAL_CONTENT {
        return Err(Reason::PartialContent);
    }
    let announced = content_length(headers)?;
    let bodiless = *exchange.method == Method::HEAD || exchange.status == StatusCode::NO_CONTENT;
    if bodiless {
        return Ok(());
    }
    if let (Some(announced), Some(limit)) = (announced, exchange.settings.max_body_len)
        && announced > limit
    {
        return Err(Reason::TooLarge);
    }
    // Case 171: without TLS's close_notify, which a client may not get to see, a cut looks like an end.
    let http1 = matches!(exchange.version, Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11);
    if http1 && exchange.uri.scheme() == Some(&Scheme::HTTPS) && announced.is_none() && !is_chunked(headers) {
        return Err(Reason::CloseDelimited);
    }
    Ok(())
}

/// Whether `chunked` is the last transfer coding, so that the body says where it ends (RFC 9112 section 6.3).
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    last.and_then(|line| line.as_bytes().rsplit(|byte| *byte == b',').next())
        .is_some_and(|coding| trim(coding).eq_ignore_ascii_case(b"chunked"))
}

/// The terms for a response with this status and these headers, whether it came like that or by a 304.
pub(super) fn terms(exchange: &Admit<'_>, status: StatusCode, headers: &HeaderMap) -> Result<Terms, Reason> {
    let (settings, effective) = (exchange.settings, &exchange.lookup.effective);
    if !is_storable(status) {
        return Err(Reason::Status(status));
    }
    let obeyed = effective.obeys_response();
    let directives = ResponseDirectives::parse(headers);
    if settings.shared {
        permit_sharing(exchange, &directives)?;
    }
    let vary = vary_names(headers)?;

    let initial_age = initial_age(headers, exchange.requested_at, exchange.received_at);
    let mut freshness = Freshness::new(exchange.received_at, None, LifetimeSource::Session);
    freshness.requested_at = exchange.requested_at;
    freshness.initial_age = initial_age;
    if obeyed {
        permit_storing(status, &directives)?;
        freshness.no_cache = directives.no_cache.is_whole();
        // RFC 9111 section 5.2.2.10: `s-maxage` implies `proxy-revalidate`.
        freshness.must_revalidate = directives.must_revalidate
            || (settings.shared && (directives.proxy_revalidate || directives.s_maxage.is_some()));
        freshness.immutable = directives.immutable;
        freshness.stale_while_revalidate = directives.stale_while_revalidate;
        freshness.stale_if_error = directives.stale_if_error;
    }

    let explicit =
        if obeyed { explicit_lifetime(headers, &directives, settings.shared, exchange.received_at) } else { None };
    let by_status = settings.status_expire_after.iter().find(|(code, _)| *code == status).map(|(_, setting)| *setting);
    if explicit.is_none() && by_status.is_none() && !settings.allowed_codes.contains(&status) {
        return Err(Reason::Status(status));
    }
    let decided = match explicit {
        Some((lifetime, source)) => {
            let bounded = bounded(lifetime, initial_age, settings);
            let source = if bounded == lifetime { source } else { LifetimeSource::Forced };
            Some((Some(jittered(bounded, initial_age, exchange)), source))
        }
        None => chosen_lifetime(exchange, by_status, status, headers, &directives, initial_age)?,
    };
    // Without any lifetime the response is stale at once; it may still be worth storing for its validator.
    let (lifetime, source) = decided.unwrap_or((Some(Duration::ZERO), LifetimeSource::Heuristic));
    freshness.lifetime = lifetime;
    freshness.source = source;

    let retain_until = retain_until(&freshness, has_validator(headers), settings, effective)
        .map_err(|stale| if decided.is_some() { stale } else { Reason::NoFreshness })?;
    let headers = storable(headers, obeyed.then_some(&directives), &directives, settings.shared, exchange.received_at)?;
    Ok(Terms { freshness, retain_until, headers, vary })
}

/// What a shared cache must not store for others, whatever the settings say about lifetimes (RFC 9111 section 3).
fn permit_sharing(exchange: &Admit<'_>, directives: &ResponseDirectives) -> Result<(), Reason> {
    if directives.private.is_whole() {
        return Err(Reason::ResponsePrivate);
    }
    // Case 2: an empty value is a value.
    if exchange.request_headers.contains_key(AUTHORIZATION) && !directives.permits_authorized {
        return Err(Reason::Authorization);
    }
    Ok(())
}

/// What the origin forbids any cache to store.
fn permit_storing(status: StatusCode, directives: &ResponseDirectives) -> Result<(), Reason> {
    if directives.must_understand {
        // RFC 9111 section 5.2.2.3: then `no-store` is for caches that do not know the directive or the status.
        return if is_understood(status) { Ok(()) } else { Err(Reason::ResponseMustUnderstand) };
    }
    if directives.no_store { Err(Reason::ResponseNoStore) } else { Ok(()) }
}

/// Statuses whose rules about caching (RFC 9110 section 15) are all kept here.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300..=303 | 307 | 308 | 404 | 405 | 410 | 414 | 451 | 501)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // an overflow would fail the test
mod tests;
