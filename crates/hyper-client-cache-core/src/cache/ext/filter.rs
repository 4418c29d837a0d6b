//! Which stored responses somebody is looking for.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use regex::{Regex, RegexBuilder};

use super::CachedResponse;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};

/// The most bytes that a compiled pattern may take: one that takes more is no pattern of URLs.
const MAX_COMPILED: usize = 1 << 20;

/// Which stored responses are meant: all, as long as nothing is asked for; all that is asked for must hold.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_core::cache::Filter;
///
/// // What is past its freshness and more than a day old, of any host of `site.com`.
/// let filter = Filter::new().expired().older_than(Duration::from_secs(86_400)).host("*.site.com")?;
/// # let _ = filter;
/// # Ok::<(), hyper_client_cache_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Filter {
    state: Option<State>,
    older_than: Option<Duration>,
    method: Option<Method>,
    status: Option<StatusCode>,
    redirects: Option<bool>,
    url: Option<String>,
    url_prefix: Option<String>,
    url_glob: Option<Regex>,
    host: Option<Regex>,
    limit: Option<usize>,
    at: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Stale,
    Expired,
}

impl Filter {
    /// All responses.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only what is not past its freshness.
    pub fn fresh(mut self) -> Self {
        self.state = Some(State::Fresh);
        self
    }

    /// Only what is past its freshness but may still be served: see [`CachedResponse::is_stale`].
    pub fn stale(mut self) -> Self {
        self.state = Some(State::Stale);
        self
    }

    /// Only what is past its freshness, whether or not it may still be served.
    pub fn expired(mut self) -> Self {
        self.state = Some(State::Expired);
        self
    }

    /// Only what was received, or last confirmed by the origin, at least `age` ago.
    pub const fn older_than(mut self, age: Duration) -> Self {
        self.older_than = Some(age);
        self
    }

    /// Only answers to requests with this method.
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only answers with this status.
    pub const fn status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// Only redirects, or none of them.
    pub const fn redirects(mut self, only: bool) -> Self {
        self.redirects = Some(only);
        self
    }

    /// Only what is stored under this URL, as [`CachedResponse::url`] shows it.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Only URLs that begin like this, as [`CachedResponse::url`] shows them.
    pub fn url_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.url_prefix = Some(prefix.into());
        self
    }

    /// Only URLs that are, from the scheme to the end, what this glob says: `*` stands for any characters, `?` for one.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the glob is empty or too long.
    pub fn url_glob(mut self, glob: &str) -> Result<Self> {
        self.url_glob = Some(compile("url_glob", glob)?);
        Ok(self)
    }

    /// Only hosts that are, without the port, what this glob says: `*` stands for any characters, `?` for one. The case
    /// of letters does not matter.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the glob is empty or too long.
    pub fn host(mut self, glob: &str) -> Result<Self> {
        self.host = Some(compile("host", &glob.to_ascii_lowercase())?);
        Ok(self)
    }

    /// At most so many, whichever come first.
    pub const fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the moment at which freshness and age are looked at. Default: the session's clock says it, and the operating
    /// system's where there is no session.
    pub const fn at(mut self, now: SystemTime) -> Self {
        self.at = Some(now);
        self
    }

    /// Whether a response is among those that are meant. The [limit](Self::limit) does not count here.
    #[must_use]
    pub fn matches(&self, response: &CachedResponse) -> bool {
        let state = |state| match state {
            State::Fresh => !response.is_expired(),
            State::Stale => response.is_stale(),
            State::Expired => response.is_expired(),
        };
        // What was received in the future is not older than anything.
        let since = |moment| response.seen_at().duration_since(moment).ok();
        self.state.is_none_or(state)
            && self.older_than.is_none_or(|age| since(response.created_at()).is_some_and(|since| since >= age))
            && self.method.as_ref().is_none_or(|method| method == response.method())
            && self.status.is_none_or(|status| status == response.status())
            && self.redirects.is_none_or(|only| only == response.is_redirect())
            && self.matches_url(response.url())
    }

    /// Whether the URL alone does not rule a response out.
    pub(super) fn matches_url(&self, url: &str) -> bool {
        self.url.as_ref().is_none_or(|wanted| wanted == url)
            && self.url_prefix.as_ref().is_none_or(|prefix| url.starts_with(prefix))
            && self.url_glob.as_ref().is_none_or(|glob| glob.is_match(url))
            && self.host.as_ref().is_none_or(|glob| glob.is_match(&host_of(url).to_ascii_lowercase()))
    }

    /// Whether a response that arrives after now may be meant: not where only what is old is.
    pub(super) fn may_mean_new_ones(&self) -> bool {
        self.older_than.is_none_or(|age| age.is_zero()) && matches!(self.state, None | Some(State::Fresh))
    }

    pub(super) const fn at_most(&self) -> usize {
        match self.limit {
            Some(limit) => limit,
            None => usize::MAX,
        }
    }

    pub(super) fn moment(&self) -> SystemTime {
        self.at.unwrap_or_else(|| SystemClock.now())
    }

    /// The same, looked at by `clock` unless a moment was set.
    pub(crate) fn by(mut self, clock: &dyn Clock) -> Self {
        self.at.get_or_insert_with(|| clock.now());
        self
    }
}

fn compile(argument: &str, glob: &str) -> Result<Regex> {
    if glob.is_empty() {
        return Err(Error::new(ErrorKind::Request, format!("`{argument}` is empty; write `*` for any")));
    }
    let mut pattern = String::with_capacity(glob.len().saturating_add(16));
    pattern.push_str("^(?s:");
    for char in glob.chars() {
        match char {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            char => pattern.push_str(&regex::escape(char.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern.push_str(")$");
    RegexBuilder::new(&pattern)
        .size_limit(MAX_COMPILED)
        .build()
        // The source would repeat the pattern, which may be of a URL with a secret in it.
        .map_err(|_| Error::new(ErrorKind::Request, format!("`{argument}` is too long a glob")))
}

/// The host of a URL, without user information and port.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::cache::{Freshness, LifetimeSource, Record, ResponseRecord, Stored};
    use crate::clock::from_millis;
    use crate::storage::CacheKey;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A response received at 1000 s, fresh for a minute and stale for another, looked at `after` so many seconds.
    fn response(url: &str, after: u64) -> CachedResponse {
        let received = from_millis(1_000_000);
        let mut freshness = Freshness::new(received, Some(seconds(60)), LifetimeSource::MaxAge);
        freshness.stale_while_revalidate = Some(seconds(60));
        let record = ResponseRecord::new(CacheKey::from_digest([1; 32]), Method::GET, url, StatusCode::OK, freshness);
        let stored = Stored::new(Record::Response(record), bytes::Bytes::new(), None);
        CachedResponse::new(stored, false, received + seconds(after)).unwrap()
    }

    #[test]
    fn freshness_and_age_are_looked_at_at_one_moment() {
        for (after, fresh, stale, expired) in
            [(0, true, false, false), (59, true, false, false), (60, false, true, true), (120, false, false, true)]
        {
            let found = response("http://host/", after);
            let is = |filter: Filter| filter.matches(&found);
            assert_eq!((is(Filter::new().fresh()), is(Filter::new().stale())), (fresh, stale), "{after}");
            assert_eq!(is(Filter::new().expired()), expired, "{after}");
            assert!(is(Filter::new().older_than(seconds(after))) && !is(Filter::new().older_than(seconds(after + 1))));
        }
    }

    #[test]
    fn a_host_is_compared_as_a_whole_and_without_its_port() {
        let is = |glob, url| Filter::new().host(glob).unwrap().matches(&response(url, 0));
        assert!(is("*.Site.com", "https://api.site.com:8443/a?b=c"));
        assert!(is("site.com", "http://SITE.com") && is("[::1]", "http://[::1]:80/") && is("[::1]", "http://[::1]/"));
        for url in
            ["http://site.com/", "http://site.com.example.org/", "http://example.org/api.site.com", "http://xsite.com/"]
        {
            assert!(!is("*.site.com", url), "{url}");
        }
    }

    #[test]
    fn a_url_is_compared_from_end_to_end() {
        let is = |glob, url| Filter::new().url_glob(glob).unwrap().matches(&response(url, 0));
        assert!(
            is("http://host/a/*", "http://host/a/b?c")
                && is("*", "http://host/")
                && is("http://host/?", "http://host/a")
        );
        assert!(!is("http://host/a", "http://host/ab") && !is("host/a", "http://host/a"));
        assert!(!is("http://host/a.b", "http://host/axb"), "a full stop is one");
        let prefixed = |prefix| Filter::new().url_prefix(prefix).matches(&response("http://host/a/b", 0));
        assert!(prefixed("http://host/a") && !prefixed("http://host/b"));
    }

    #[test]
    fn an_impossible_glob_is_an_error_that_names_the_argument_and_shows_nothing() {
        assert_eq!(
            Filter::new().host("").unwrap_err().to_string(),
            "invalid request: `host` is empty; write `*` for any"
        );
        let error = Filter::new().url_glob(&"canary*".repeat(1 << 20)).unwrap_err();
        assert!(error.to_string().contains("`url_glob`") && !format!("{error:?}").contains("canary"));
    }

    #[test]
    fn what_is_old_is_never_new() {
        assert!(Filter::new().may_mean_new_ones() && Filter::new().fresh().may_mean_new_ones());
        assert!(
            !Filter::new().expired().may_mean_new_ones() && !Filter::new().older_than(seconds(1)).may_mean_new_ones()
        );
    }
}
