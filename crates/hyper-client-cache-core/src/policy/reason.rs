//! Everything that can decide what happens to a request: the one list behind [`CacheInfo`](super::CacheInfo), the
//! counters and the `Cache-Status` header.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// What decided: the directive, rule, limit or fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    // What is stored.
    /// The stored response is fresh.
    Fresh,
    /// Nothing is stored under the key.
    NotFound,
    /// The stored response is past its freshness.
    Expired {
        /// For how long.
        by: Duration,
    },
    /// The URL is stored, but no variant of it that this request selects (`Vary`).
    VariantNotFound,
    /// The clock stands before the moment at which the stored response was received, so that its age is not known.
    ClockSetBack,
    /// The origin confirmed the stored response.
    Revalidated,
    /// Another request for the same thing was on its way; this is its answer.
    LeaderAnswer,
    /// Served past its freshness while it is refreshed.
    StaleWhileRevalidate,
    /// Served past its freshness instead of an error.
    StaleIfError,

    // What the request asks.
    /// The request says `no-store`.
    RequestNoStore,
    /// The request says `no-cache`.
    RequestNoCache,
    /// The stored response is older than the request's `max-age`.
    RequestMaxAge,
    /// The stored response is not fresh for as long as the request's `min-fresh`.
    RequestMinFresh,
    /// The request's `max-stale` accepts the stored response.
    RequestMaxStale,
    /// The request says `only-if-cached` and nothing usable is stored.
    RequestOnlyIfCached,
    /// The method is not among those whose responses are stored.
    Method,
    /// A header overrides the method.
    MethodOverride,
    /// The URL's scheme is neither `http` nor `https`.
    Scheme,
    /// The request asks for a part of the body.
    Range,
    /// The request has conditional headers of its own.
    Conditional,
    /// The request asks for another protocol.
    Upgrade,
    /// The request's body cannot be part of a key, because it cannot be sent twice.
    RequestBody,
    /// The request's body is too long to be part of a key.
    RequestBodyTooLong,

    // What the settings ask.
    /// The mode of the request.
    Mode,
    /// A setting, such as [`ExpireAfter::DoNotStore`](super::ExpireAfter::DoNotStore).
    Setting,
    /// The URL rule that matches says [`ExpireAfter::DoNotStore`](super::ExpireAfter::DoNotStore).
    Rule,
    /// A filter of the user's says no.
    Filter,
    /// A function of the user's panicked.
    CallbackPanicked,
    /// The cache is not used for the time being.
    Disabled,
    /// Everything is revalidated before it is served.
    SettingAlwaysRevalidate,
    /// The session is offline: served however stale.
    SettingOffline,

    // What the response says.
    /// The response says `no-store`.
    ResponseNoStore,
    /// The response says `private`, and the cache is shared.
    ResponsePrivate,
    /// The response says `no-cache`.
    ResponseNoCache,
    /// The response says `must-revalidate`, or what implies it.
    ResponseMustRevalidate,
    /// The response says `must-understand` with a status that the cache has no rules for.
    ResponseMustUnderstand,
    /// The response sets a cookie.
    SetCookie,
    /// The response redirects to a URL with a secret in it, which is not stored in clear.
    SecretLocation,
    /// The request has `Authorization`, and the response does not permit a shared cache to store the answer.
    Authorization,
    /// The response varies on more than headers (`Vary: *`).
    VaryStar,
    /// `Vary` is malformed or too long.
    VaryMalformed,
    /// The status is not stored.
    Status(StatusCode),
    /// Neither headers nor settings give a lifetime, and the response cannot be revalidated.
    NoFreshness,
    /// The response is stale when it comes, and cannot be revalidated.
    StaleOnArrival,
    /// The response is a part of the whole (206).
    PartialContent,
    /// The body ended early, or was longer than announced.
    Incomplete,
    /// Nothing but the end of the connection marks the end of the body.
    CloseDelimited,
    /// `Content-Length` is repeated or malformed.
    ContentLength,
    /// `Connection` names a field that the response cannot be used without.
    MalformedHeaders,
    /// The body or the headers are over a limit.
    TooLarge,
    /// The origin's selected representation is another than the one stored.
    OriginChanged,
    /// The origin answered a revalidation with a new response.
    OriginReplaced,

    // What happened to the store.
    /// The entry was invalidated while the response was on its way.
    Invalidated,
    /// The store failed or did not answer in time.
    StoreFault,
    /// The store has too much to do.
    StoreBusy,
    /// What is stored under the key was stored for another request.
    RecordMismatch,
    /// What is stored is damaged.
    Corrupt,
    /// The caller did not read the body to its end.
    Abandoned,
    /// The request to the origin failed.
    OriginFailed,
}

impl Reason {
    /// The name in kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::NotFound => "not-found",
            Self::Expired { .. } => "expired",
            Self::VariantNotFound => "variant-not-found",
            Self::ClockSetBack => "clock-set-back",
            Self::Revalidated => "revalidated",
            Self::LeaderAnswer => "leader-answer",
            Self::StaleWhileRevalidate => "stale-while-revalidate",
            Self::StaleIfError => "stale-if-error",
            Self::RequestNoStore => "request-no-store",
            Self::RequestNoCache => "request-no-cache",
            Self::RequestMaxAge => "request-max-age",
            Self::RequestMinFresh => "request-min-fresh",
            Self::RequestMaxStale => "request-max-stale",
            Self::RequestOnlyIfCached => "request-only-if-cached",
            Self::Method => "method",
            Self::MethodOverride => "method-override",
            Self::Scheme => "scheme",
            Self::Range => "range",
            Self::Conditional => "conditional",
            Self::Upgrade => "upgrade",
            Self::RequestBody => "request-body",
            Self::RequestBodyTooLong => "request-body-too-long",
            Self::Mode => "mode",
            Self::Setting => "setting",
            Self::Rule => "rule",
            Self::Filter => "filter",
            Self::CallbackPanicked => "callback-panicked",
            Self::Disabled => "disabled",
            Self::SettingAlwaysRevalidate => "setting-always-revalidate",
            Self::SettingOffline => "setting-offline",
            Self::ResponseNoStore => "response-no-store",
            Self::ResponsePrivate => "response-private",
            Self::ResponseNoCache => "response-no-cache",
            Self::ResponseMustRevalidate => "response-must-revalidate",
            Self::ResponseMustUnderstand => "response-must-understand",
            Self::SetCookie => "set-cookie",
            Self::SecretLocation => "secret-location",
            Self::Authorization => "authorization",
            Self::VaryStar => "vary-star",
            Self::VaryMalformed => "vary-malformed",
            Self::Status(_) => "status",
            Self::NoFreshness => "no-freshness",
            Self::StaleOnArrival => "stale-on-arrival",
            Self::PartialContent => "partial-content",
            Self::Incomplete => "incomplete",
            Self::CloseDelimited => "close-delimited",
            Self::ContentLength => "content-length",
            Self::MalformedHeaders => "malformed-headers",
            Self::TooLarge => "too-large",
            Self::OriginChanged => "origin-changed",
            Self::OriginReplaced => "origin-replaced",
            Self::Invalidated => "invalidated",
            Self::StoreFault => "store-fault",
            Self::StoreBusy => "store-busy",
            Self::RecordMismatch => "record-mismatch",
            Self::Corrupt => "corrupt",
            Self::Abandoned => "abandoned",
            Self::OriginFailed => "origin-failed",
        }
    }

    /// The `fwd` parameter of a request that went to the origin for this reason (RFC 9211 section 2.2).
    pub(super) const fn forward(self) -> &'static str {
        match self {
            Self::VariantNotFound => "; fwd=vary-miss",
            Self::RequestNoCache | Self::RequestMaxAge | Self::RequestMinFresh | Self::Mode => "; fwd=request",
            Self::Expired { .. }
            | Self::ClockSetBack
            | Self::SettingAlwaysRevalidate
            | Self::ResponseNoCache
            | Self::ResponseMustRevalidate
            | Self::OriginChanged
            | Self::OriginReplaced => "; fwd=stale",
            Self::NotFound => "; fwd=uri-miss",
            _ => "; fwd=miss",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_in_kebab_case() {
        for reason in [
            Reason::Fresh,
            Reason::Expired { by: Duration::MAX },
            Reason::Status(StatusCode::OK),
            Reason::RequestOnlyIfCached,
            Reason::StoreFault,
        ] {
            let name = reason.to_string();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!(reason.forward().starts_with("; fwd="), "{name}");
        }
    }
}
