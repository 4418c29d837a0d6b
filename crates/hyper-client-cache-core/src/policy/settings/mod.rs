//! What a session or a single request may ask of the cache: plain data, checked once by [`Settings::validate`].
//!
//! Read next: `directives`, which is what the two ends of the exchange ask by themselves.

mod expire;

mod own;

mod request;

mod effective;

mod mode;

mod window;

mod rules;

mod hooks;

mod pattern;

mod setters;

mod secret;

use std::time::Duration;

use http::{Method, StatusCode, Uri};

pub use self::effective::{Effective, StaleOption};
pub use self::expire::ExpireAfter;
pub use self::hooks::Hooks;
pub use self::mode::{CacheControl, Mode};
pub use self::request::RequestSettings;
pub use self::rules::{Rules, UrlRule};
pub use self::secret::Secret;
pub use self::window::StaleWindow;
use super::filter::{BeforeStore, RequestFilter, ResponseFilter};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Keyer, Matching, NamePattern, Partition, Separation};

/// How long past its freshness a response with a validator is kept, so that it can be revalidated: seven days.
const RETAIN_STALE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many variants of one URL are kept by default (case 48).
const MAX_VARIANTS: usize = 64;

/// The request header fields that do not count by [`Settings::gateway`].
const HARMLESS: [&str; 25] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "proxy-authorization",
    "range",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// What a session caches, for whom, and for how long.
///
/// The default obeys what servers say as a private cache, and keeps what servers say nothing about until it is deleted.
/// Fields are public; the setters of the same names consume and return `Self`.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_core::policy::Settings;
///
/// let settings = Settings::default()
///     .expire_after(Duration::from_secs(3600))
///     .stale_if_error(Duration::from_secs(24 * 3600));
/// assert!(settings.validate().is_ok());
///
/// // The RFC to the letter, for a cache that serves several users.
/// let strict = Settings::rfc9111().shared(true);
/// assert!(strict.validate().is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Whether `Cache-Control`, `Expires` and `Pragma` are obeyed. Default: [`CacheControl::Honor`].
    pub cache_control: CacheControl,
    /// Whether this is a shared cache in the sense of RFC 9111: one whose answers go to several users.
    /// It does not store what is `private`, obeys `s-maxage` and `proxy-revalidate`, stores an answer to a request
    /// with `Authorization` only where the response permits it, and never stores `Set-Cookie`. Default: `false`.
    pub shared: bool,
    /// How long a response is good for where its headers do not say. Default: [`ExpireAfter::Never`].
    pub expire_after: ExpireAfter,
    /// How long responses with these statuses are good for where their headers do not say, before the lifetime of rule
    /// and session but after the request's own. They are stored whether or not they are among
    /// [`allowed_codes`](Self::allowed_codes): so errors can be kept for a short while. Default: none.
    pub status_expire_after: Vec<(StatusCode, ExpireAfter)>,
    /// The shortest lifetime: one that a response's headers give is raised to this, counted from when it was received.
    /// Other directives, such as `no-cache`, still count. Default: none.
    pub min_ttl: Option<Duration>,
    /// The longest lifetime: one that a response's headers give is cut to this, counted from when it was received.
    /// Default: none.
    pub max_ttl: Option<Duration>,
    /// By which fraction of itself a lifetime is shortened at most, so that what was stored together does not expire
    /// together: from 0 to 1. How much of it, the URL decides: always the same for one. [`ExpireAfter::At`] is exact.
    /// Default: 0 (case 202).
    pub ttl_jitter: f64,
    /// Whether a hit renews a lifetime that a setting has given, so that what is used stays. Each renewal writes the
    /// entry's head once more; at most one does for every so long as is given here, or for half the lifetime where that
    /// is shorter. What headers say is not renewed. Default: `None`, no.
    pub sliding: Option<Duration>,
    /// Which requests use the cache, of those that could; the others go past it. Default: all.
    pub filter_request: Option<RequestFilter>,
    /// Which responses are stored, of those that could be. Default: all.
    pub filter_write: Option<ResponseFilter>,
    /// Which stored responses are used, of those that a request selects; for the others the origin is asked in full.
    /// They stay in the store until another takes their place. Default: all.
    pub filter_read: Option<ResponseFilter>,
    /// What changes the header lines that are stored with a response. Default: nothing.
    pub before_store: Option<BeforeStore>,
    /// What holds for certain URLs, in this order: the first rule that matches counts. Default: none.
    pub rules: Rules,
    /// The methods whose responses are stored. Default: GET and HEAD.
    pub allowed_methods: Vec<Method>,
    /// The statuses that are stored without explicit freshness. Default: 200.
    /// With [`CacheControl::Honor`] any other final status is stored too where its headers give explicit freshness,
    /// except 206 and 304.
    pub allowed_codes: Vec<StatusCode>,
    /// How the cache is used, where neither request nor rule say. Default: [`Mode::Default`].
    pub mode: Mode,
    /// Whether no connection is opened at all: whatever is stored is served, however stale and whatever it says about
    /// that, else the answer is 504. Before every [mode](Self::mode). Default: `false`.
    ///
    /// What is past its freshness is there only as long as it is kept: see [`retain_stale`](Self::retain_stale) and
    /// [`stale_if_error`](Self::stale_if_error).
    pub offline: bool,
    /// Whether also what is fresh is revalidated before it is served, where the mode is [`Mode::Default`] or
    /// [`Mode::ReadOnly`]. Unlike with [`Mode::NoCache`] it may still be served instead of an error. Default: `false`.
    pub always_revalidate: bool,
    /// How long past its freshness a response may be served while it is refreshed in the background, where neither
    /// request nor response nor rule say (RFC 5861 section 3). Default: not at all.
    pub stale_while_revalidate: StaleWindow,
    /// How long past its freshness a response may be served instead of an error, where neither request nor response
    /// nor rule say (RFC 5861 section 4). Default: not at all.
    pub stale_if_error: StaleWindow,
    /// The statuses that count as an error for which a stale response may stand in, beside no answer at all; not those
    /// that are also [allowed](Self::allowed_codes), which are answers like any other. Default: 500, 502, 503, 504
    /// (RFC 5861 section 4).
    pub error_codes: Vec<StatusCode>,
    /// How many variants of one URL are kept; the oldest go first. Default: 64.
    pub max_variants: usize,
    /// The longest body that is stored, in bytes. Default: no limit but the storage's own.
    pub max_body_len: Option<u64>,
    /// How long past its freshness a response that can be revalidated is kept. Default: seven days.
    /// One that cannot is kept for its stale windows only.
    pub retain_stale: Duration,
    /// Separates this session's entries from those of other partitions. Default: none.
    pub partition: Option<String>,
    /// The key for the hash that stands in for credentials. Default: a fixed constant, so that entries survive a
    /// restart; a cache that others can read should be given a secret.
    pub secret: Secret,
    /// What keeps the entries of a session apart that no request shows: whom it trusts, and its cookie jar.
    pub(crate) apart: Option<Partition>,
    /// Which requests are answered by the same entry. Default: those that are the same byte by byte.
    pub matching: Matching,
}

impl Settings {
    /// The strict preset: no lifetime but what the headers say and the RFC's heuristic (RFC 9111 section 4.2.2).
    ///
    /// The heuristic applies to 200, 203, 204, 300, 301 and 308; an error is stored on explicit freshness only.
    #[must_use]
    pub fn rfc9111() -> Self {
        Self {
            expire_after: ExpireAfter::Heuristic,
            allowed_codes: vec![
                StatusCode::OK,
                StatusCode::NON_AUTHORITATIVE_INFORMATION,
                StatusCode::NO_CONTENT,
                StatusCode::MULTIPLE_CHOICES,
                StatusCode::MOVED_PERMANENTLY,
                StatusCode::PERMANENT_REDIRECT,
            ],
            ..Self::default()
        }
    }

    /// The preset for a program that passes on the requests of others: a shared cache (RFC 9111 section 1) in whose keys
    /// each request header field counts but those of which the RFC itself says what they do to a cached answer, and those
    /// that describe the caller's software only. So nobody can have an answer stored for all that was made for a field
    /// which only the origin knows, such as `X-Forwarded-Host` (case 29).
    ///
    /// What the response names in `Vary` counts as ever. [`Matching::match_headers`] says it otherwise, with
    /// [`NamePattern::other_than`] for all but some.
    #[must_use]
    pub fn gateway() -> Self {
        let others = NamePattern::other_than(HARMLESS);
        Self { shared: true, matching: Matching::default().match_headers([others]), ..Self::default() }
    }

    /// Whether a stale response may stand in for an answer with this status.
    #[must_use]
    pub fn is_error(&self, status: StatusCode) -> bool {
        self.error_codes.contains(&status) && !self.allowed_codes.contains(&status)
    }

    /// Which requests are answered by the same entry as one to `uri` with these settings of its own.
    #[must_use]
    pub fn matching_for(&self, request: Option<&RequestSettings>, uri: &Uri) -> Matching {
        let has_rule = self.rules.as_slice().iter().any(|rule| rule.matching.is_some());
        let rule = if has_rule { self.rules.first_match(uri).and_then(|rule| rule.matching.as_ref()) } else { None };
        let below = rule.map_or_else(|| self.matching.clone(), |rule| rule.over(&self.matching));
        match request.and_then(|request| request.matching.as_ref()) {
            Some(own) => own.over(&below),
            None => below,
        }
    }

    /// What makes keys by these settings, for a request that goes by `matching`.
    #[must_use]
    pub fn keyer<'a>(&'a self, matching: &'a Matching) -> Keyer<'a> {
        Keyer { matching, separation: self.separation() }
    }

    /// How callers are told apart: by their credentials unless the cache is shared, whose responses say it themselves.
    #[must_use]
    pub fn separation(&self) -> Separation<'_> {
        Separation {
            secret: self.secret.as_bytes(),
            by_hand: self.partition.as_deref(),
            by_credentials: !self.shared,
            apart: self.apart.as_ref(),
            cookies: None,
        }
    }

    /// Checks that the settings are possible.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the first setting that is not and what to do about it.
    pub fn validate(&self) -> Result<()> {
        self.rules.validate()?;
        let problem = if self.max_variants == 0 {
            "`max_variants` is 0, so that nothing that varies could be stored; give at least 1"
        } else if self.allowed_methods.is_empty() {
            "`allowed_methods` is empty, so that nothing could be stored; name one, or use `ExpireAfter::DoNotStore`"
        } else if self.allowed_methods.contains(&Method::CONNECT) {
            "`allowed_methods` has CONNECT, which opens a tunnel and has no response to store; leave it out"
        } else if self.allowed_codes.iter().any(|code| !is_storable(*code)) {
            "`allowed_codes` has 206, 304 or a status outside 200 to 599, none of which is a whole response; leave it out"
        } else if self.status_expire_after.iter().any(|(code, _)| !is_storable(*code)) {
            "`status_expire_after` has 206, 304 or a status outside 200 to 599, none of which is a whole response; \
             leave it out"
        } else if self.min_ttl.zip(self.max_ttl).is_some_and(|(min, max)| min > max) {
            "`min_ttl` is over `max_ttl`; lower the one or raise the other"
        } else if !(0.0..=1.0).contains(&self.ttl_jitter) {
            "`ttl_jitter` is a fraction; give something from 0 to 1"
        } else if self.sliding.is_some_and(|step| step.is_zero()) {
            "`sliding` is zero, so that each hit would be a write; give at least a millisecond, or `None`"
        } else if self.error_codes.iter().any(|code| !matches!(code.as_u16(), 400..=599)) {
            "`error_codes` has a status outside 400 to 599, which is no error; leave it out"
        } else if self.max_body_len == Some(0) {
            "`max_body_len` is 0; use `None` for no limit, or `ExpireAfter::DoNotStore`"
        } else if self.partition.as_deref() == Some("") {
            "`partition` is empty; name one, or leave it out"
        } else if self.secret.as_bytes().is_empty() {
            "`secret` is empty; give some random bytes, or leave it out"
        } else {
            return self.matching.validate();
        };
        Err(Error::new(ErrorKind::Config, problem))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_control: CacheControl::Honor,
            shared: false,
            expire_after: ExpireAfter::Never,
            status_expire_after: Vec::new(),
            min_ttl: None,
            max_ttl: None,
            ttl_jitter: 0.0,
            sliding: None,
            filter_request: None,
            filter_write: None,
            filter_read: None,
            before_store: None,
            rules: Rules::default(),
            allowed_methods: vec![Method::GET, Method::HEAD],
            allowed_codes: vec![StatusCode::OK],
            mode: Mode::Default,
            offline: false,
            always_revalidate: false,
            stale_while_revalidate: StaleWindow::Never,
            stale_if_error: StaleWindow::Never,
            error_codes: vec![
                StatusCode::INTERNAL_SERVER_ERROR,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ],
            max_variants: MAX_VARIANTS,
            max_body_len: None,
            retain_stale: RETAIN_STALE,
            partition: None,
            secret: Secret::default(),
            apart: None,
            matching: Matching::default(),
        }
    }
}

/// Whether a response with this status is a whole one, which may be stored as an answer of its own.
pub(super) fn is_storable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=599) && status != StatusCode::PARTIAL_CONTENT && status != StatusCode::NOT_MODIFIED
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 245 (the part about policy): the default is private, bounded in variants, and caches no errors.
    #[test]
    fn the_default_is_private_and_stores_only_200_by_itself() {
        let settings = Settings::default();
        assert!(!settings.shared);
        assert_eq!(settings.cache_control, CacheControl::Honor);
        assert_eq!(settings.allowed_codes, [StatusCode::OK]);
        assert_eq!(settings.max_variants, 64);
        assert_eq!(settings.stale_if_error, StaleWindow::Never);
        assert!(settings.validate().is_ok());
        assert!(Settings::rfc9111().validate().is_ok());
    }

    #[test]
    fn an_impossible_setting_is_an_error_that_names_it() {
        const SECOND: Duration = Duration::from_secs(1);
        let default = Settings::default;
        for (settings, name) in [
            (default().max_variants(0), "`max_variants`"),
            (default().allowed_methods([]), "`allowed_methods`"),
            (default().allowed_methods([Method::CONNECT]), "`allowed_methods`"),
            (default().allowed_codes([StatusCode::PARTIAL_CONTENT]), "`allowed_codes`"),
            (default().allowed_codes([StatusCode::CONTINUE]), "`allowed_codes`"),
            (default().error_codes([StatusCode::OK]), "`error_codes`"),
            (default().rule(UrlRule::glob("/")), "`rules`"),
            (default().expire_status_after(StatusCode::NOT_MODIFIED, SECOND), "`status_expire_after`"),
            (default().min_ttl(2 * SECOND).max_ttl(SECOND), "`min_ttl`"),
            (default().ttl_jitter(1.01), "`ttl_jitter`"),
            (default().ttl_jitter(-0.1), "`ttl_jitter`"),
            (default().ttl_jitter(f64::NAN), "`ttl_jitter`"),
            (default().sliding(Duration::ZERO), "`sliding`"),
            (default().max_body_len(0), "`max_body_len`"),
            (default().partition(""), "`partition`"),
            (default().secret(Vec::new()), "`secret`"),
        ] {
            let error = settings.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    /// Case 75 (the part about settings): the secret is not shown.
    #[test]
    fn debug_hides_the_secret() {
        let settings = Settings::default().secret(b"canary".to_vec());
        let shown = format!("{settings:?}");
        assert!(!shown.contains("canary") && !shown.contains("99, 97, 110"), "{shown}");
    }
}
