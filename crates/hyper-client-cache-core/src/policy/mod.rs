//! What may be stored, for how long, and when it may be served: pure decisions (RFC 9111, 5861, 8246).
//!
//! Nothing here does I/O or asks a clock: arguments in, decision out. Everything works on the bytes of header values;
//! what is malformed is read in the way that lets the cache do least.
//!
//! In the order in which a request meets them:
//! [`Effective`] (which settings hold for it), [`plan`] (bypass, or look up), [`judge`] (is what is stored usable), [`add_validators`] (ask the origin about it),
//! [`admit`] (is what came to be stored, and on which [`Terms`]), [`merge`] (what a 304 changes), [`slide`] and [`expire_anew`]
//! (new lifetimes without the origin), [`serve_on_error`]
//! (stale instead of an error), [`invalidation_targets`] (what an unsafe request makes invalid).
//! [`Settings`] and [`RequestSettings`] are what users ask for, [`CacheInfo`] what they are told.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use http::{HeaderMap, Method, StatusCode, Uri, Version};
//! use hyper_client_cache_core::policy::{Admission, Admit, Effective, Plan, RequestSettings, Settings, admit, plan};
//!
//! let (uri, sent) = (Uri::from_static("https://example.org/"), HeaderMap::new());
//! let settings = Settings::default();
//! let effective = Effective::of(&settings, &RequestSettings::default(), &uri);
//! let Plan::Lookup(lookup) = plan(&Method::GET, &uri, &sent, &settings, &effective) else { panic!("bypass") };
//!
//! let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
//! let mut received = HeaderMap::new();
//! received.insert("cache-control", "max-age=60".parse().unwrap());
//! received.insert("content-length", "5".parse().unwrap());
//! let exchange = Admit {
//!     method: &Method::GET, uri: &uri, request_headers: &sent,
//!     status: StatusCode::OK, version: Version::HTTP_11, response_headers: &received,
//!     requested_at: now, received_at: now,
//!     settings: &settings, lookup: &lookup,
//! };
//! let Admission::Store(terms) = admit(&exchange) else { panic!("refused") };
//! assert_eq!(terms.freshness.lifetime, Some(Duration::from_secs(60)));
//! ```

pub mod settings;

pub(crate) mod filter;

pub(crate) mod plan;

pub(crate) mod judge;

pub(crate) mod admit;

mod lifetime;

pub mod directives;

mod freshness;

mod headers;

pub mod vary;

pub(crate) mod renew;

pub(crate) mod revalidate;

pub(crate) mod invalidate;

pub(crate) mod outcome;

pub(crate) mod reason;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // an overflow would fail the test
mod testing;

pub use self::admit::{Admission, Admit, Terms, admit};
pub use self::directives::{RequestDirectives, ResponseDirectives};
pub use self::filter::{BeforeStore, RequestFilter, RequestView, ResponseFilter, ResponseView};
pub use self::invalidate::{is_safe, targets as invalidation_targets};
pub use self::judge::{Judgement, judge, serve_on_error};
pub use self::outcome::{CacheInfo, Outcome, Storing};
pub use self::plan::{Lookup, Plan, forbids_origin, plan};
pub use self::reason::Reason;
pub use self::renew::{Renewed, expire_anew, slide};
pub use self::revalidate::{Merge, add_validators, head_contradicts, merge};
pub use self::settings::{
    CacheControl, Effective, ExpireAfter, Hooks, Mode, RequestSettings, Rules, Secret, Settings, StaleOption,
    StaleWindow, UrlRule,
};
