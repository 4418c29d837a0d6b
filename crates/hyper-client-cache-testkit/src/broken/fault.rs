//! What caches lose or change of what sessions give them, and what sessions do that they were not told: one fault each.
//!
//! Read next: `session`, which has them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use hyper_client_cache_core::cache::{Record, ResponseRecord, Stored};
use hyper_client_cache_core::key::Matching;
use hyper_client_cache_core::policy::{CacheControl, Mode, RequestFilter, ResponseFilter};
use hyper_client_cache_core::session::{RedirectPolicy, SessionBuilder};

const MILLISECOND: Duration = Duration::from_millis(1);

/// What the cache of a [`BrokenSessionHarness`](super::BrokenSessionHarness), or a session over it, does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionFault {
    /// What is stored is not found.
    FindsNothing,
    /// Whatever is asked for, the first record that was stored is given.
    GivesAnother,
    /// Who reads an entry changes its deadline.
    WritesOnReading,
    /// A body is given without its last byte.
    CutsBodies,
    /// A part of a large body is kept without its last byte.
    CutsParts,
    /// An empty body is not stored.
    LosesEmptyBodies,
    /// Of several lines of one header field the last is kept.
    LosesRepeatedLines,
    /// Validators are not stored.
    LosesValidators,
    /// Each status becomes 200.
    ForgetsStatus,
    /// Whatever is stored is good for ever.
    ForgetsLifetimes,
    /// A lifetime ends a millisecond early.
    ShortensLifetimes,
    /// A lifetime ends a millisecond late.
    LengthensLifetimes,
    /// What is there is not replaced.
    KeepsTheFirst,
    /// An index names its newest variant alone.
    ForgetsVariants,
    /// Redirects are not stored.
    LosesRedirects,
    /// Redirects lie among the responses.
    MixesRedirects,
    /// No more than ten entries are stored.
    HoldsTen,
    /// What a 304 says is not stored.
    DropsRefreshes,
    /// After a 304 the header lines are gone.
    EmptiesOnRefresh,
    /// Deleting leaves all as it is.
    DeletesNothing,
    /// Deleting brings back what was there before.
    BringsBack,
    /// Past their deadline entries are seen as before.
    ShowsTheExpired,
    /// What has expired is not removed.
    KeepsTheExpired,
    /// With what has expired everything is removed.
    RemovesTheLiving,
    /// One more is said to be removed than was.
    MiscountsTheExpired,
    /// Clearing leaves all as it is.
    ClearsNothing,
    /// Clearing leaves the redirects.
    ClearsOnlyResponses,
    /// Nothing is listed.
    ListsNothing,
    /// What is listed first is listed again.
    ListsTwice,
    /// It stays open.
    ClosesNothing,

    /// The session: every request goes past the cache.
    BypassesAlways,
    /// The session: what is stored is served without asking.
    AsksNever,
    /// The session: what is stored is never served without asking.
    AsksAlways,
    /// The session: what servers and callers say does not count.
    IgnoresHeaders,
    /// The session: credentials do not tell callers apart.
    MergesCallers,
    /// The session: every header field tells requests apart.
    MatchesEverything,
    /// The session: parameters do not count.
    IgnoresParameters,
    /// The session: the order of parameters does not count.
    SortsQueries,
    /// The session: a header field may change the method.
    BelievesOverrides,
    /// The session: errors are stored like answers.
    StoresErrors,
    /// The session: answers to all methods are stored.
    StoresEveryMethod,
    /// The session: no filter lets anything be stored.
    RefusesAll,
    /// The session: what is stale is served however old it is.
    ServesStale,
    /// The session: what has no lifetime is over at once.
    ForgetsAtOnce,
    /// The session: use renews each lifetime.
    RenewsAlways,
    /// The session: no lifetime is longer than a second.
    CutsLifetimes,
    /// The session: a body of more than three bytes is not stored.
    LimitsBodies,
    /// The session: stored cookies reach every jar.
    KeepsCookies,
    /// The session: redirects are not followed.
    FollowsNothing,
}

impl SessionFault {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::FindsNothing,
        Self::GivesAnother,
        Self::WritesOnReading,
        Self::CutsBodies,
        Self::CutsParts,
        Self::LosesEmptyBodies,
        Self::LosesRepeatedLines,
        Self::LosesValidators,
        Self::ForgetsStatus,
        Self::ForgetsLifetimes,
        Self::ShortensLifetimes,
        Self::LengthensLifetimes,
        Self::KeepsTheFirst,
        Self::ForgetsVariants,
        Self::LosesRedirects,
        Self::MixesRedirects,
        Self::HoldsTen,
        Self::DropsRefreshes,
        Self::EmptiesOnRefresh,
        Self::DeletesNothing,
        Self::BringsBack,
        Self::ShowsTheExpired,
        Self::KeepsTheExpired,
        Self::RemovesTheLiving,
        Self::MiscountsTheExpired,
        Self::ClearsNothing,
        Self::ClearsOnlyResponses,
        Self::ListsNothing,
        Self::ListsTwice,
        Self::ClosesNothing,
        Self::BypassesAlways,
        Self::AsksNever,
        Self::AsksAlways,
        Self::IgnoresHeaders,
        Self::MergesCallers,
        Self::MatchesEverything,
        Self::IgnoresParameters,
        Self::SortsQueries,
        Self::BelievesOverrides,
        Self::StoresErrors,
        Self::StoresEveryMethod,
        Self::RefusesAll,
        Self::ServesStale,
        Self::ForgetsAtOnce,
        Self::RenewsAlways,
        Self::CutsLifetimes,
        Self::LimitsBodies,
        Self::KeepsCookies,
        Self::FollowsNothing,
    ];

    /// What becomes of a record on its way into the store.
    pub(super) fn twist(self, stored: &mut Stored) {
        let Record::Response(record) = Arc::make_mut(&mut stored.record) else {
            if let (Self::ForgetsVariants, Record::Variants(index)) = (self, Arc::make_mut(&mut stored.record)) {
                let newest = index.variants.pop();
                index.variants.clear();
                index.variants.extend(newest);
            }
            return;
        };
        let ResponseRecord { headers, freshness, status, .. } = record;
        match self {
            Self::LosesRepeatedLines => {
                let lines: HashMap<_, _> = headers.drain(..).collect();
                headers.extend(lines);
            }
            Self::LosesValidators => headers.retain(|(name, _)| name != "etag" && name != "last-modified"),
            Self::ForgetsStatus => *status = StatusCode::OK,
            Self::ForgetsLifetimes => freshness.lifetime = None,
            Self::ShortensLifetimes => {
                freshness.lifetime = freshness.lifetime.map(|lifetime| lifetime.saturating_sub(MILLISECOND));
            }
            Self::LengthensLifetimes => {
                freshness.lifetime = freshness.lifetime.map(|lifetime| lifetime.saturating_add(MILLISECOND));
                stored.retain_until = stored.retain_until.and_then(|until| until.checked_add(MILLISECOND));
            }
            _ => {}
        }
    }

    /// The options of a session that does wrong; as they are where only the cache does.
    pub(super) fn mislead(self, session: SessionBuilder) -> SessionBuilder {
        match self {
            Self::BypassesAlways => session.filter_request(RequestFilter::new(|_| false)),
            Self::AsksNever => session.mode(Mode::ForceCache).stale_if_error(true),
            Self::AsksAlways => session.always_revalidate(true),
            Self::IgnoresHeaders => session.cache_control(CacheControl::Ignore),
            Self::MergesCallers => session.matching(Matching::default().separate_credentials(false)),
            Self::MatchesEverything => session.match_headers(["*"]),
            Self::IgnoresParameters => session.ignored_params(["*"]),
            Self::SortsQueries => session.sort_query(true),
            Self::BelievesOverrides => session.method_override(true),
            Self::StoresErrors => session.allowed_codes(
                [200, 404, 410, 500, 503].into_iter().filter_map(|code| StatusCode::from_u16(code).ok()),
            ),
            Self::StoresEveryMethod => session.allowed_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
                Method::OPTIONS,
            ]),
            Self::RefusesAll => session.filter(ResponseFilter::new(|_| false)),
            Self::ServesStale => session.stale_if_error(true).stale_while_revalidate(true),
            Self::ForgetsAtOnce => session.expire_after(MILLISECOND),
            Self::RenewsAlways => session.sliding(MILLISECOND),
            Self::CutsLifetimes => session.max_ttl(Duration::from_secs(1)),
            Self::LimitsBodies => session.max_body_len(3),
            Self::KeepsCookies => session.cookies_from_cache(true),
            Self::FollowsNothing => session.redirects(RedirectPolicy::none()),
            _ => session,
        }
    }
}
