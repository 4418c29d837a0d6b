//! Settings for certain URLs: ordered rules, of which the first that matches counts.

use std::fmt;
use std::sync::OnceLock;

use http::Uri;
use regex::bytes::{RegexSet, RegexSetBuilder};

use super::own::own_setters;
use super::pattern::{Pattern, subject};
use super::{CacheControl, ExpireAfter, Hooks, Mode, StaleWindow};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Matching;
use crate::policy::filter::{BeforeStore, ResponseFilter};

/// What holds for certain URLs in place of the session's settings. A request's own settings go before it.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_core::policy::{ExpireAfter, Settings, UrlRule};
///
/// let settings = Settings::default()
///     .rule(UrlRule::glob("*.site.com").expire_after(Duration::from_secs(60)))
///     .rule(UrlRule::regex(r"^https://api\.site\.com/v[0-9]+/").expire_after(ExpireAfter::Never).force_ttl(true))
///     // Nothing else is stored: the rules are a list of what is.
///     .rule(UrlRule::glob("*").expire_after(ExpireAfter::DoNotStore));
/// assert!(settings.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlRule {
    pattern: Pattern,
    /// How long responses are good for where their headers do not say. With [`ExpireAfter::DoNotStore`] such requests go
    /// past the cache, whatever the headers say.
    pub expire_after: Option<ExpireAfter>,
    /// Whether [`expire_after`](Self::expire_after) overrides `Cache-Control` and `Expires` of responses, `no-store`
    /// included. What a shared cache must not store it still does not.
    pub force_ttl: Option<bool>,
    /// How the cache is used.
    pub mode: Option<Mode>,
    /// Whether headers about caching are obeyed.
    pub cache_control: Option<CacheControl>,
    /// How long past its freshness a response may be served instead of an error, where it does not say.
    pub stale_if_error: Option<StaleWindow>,
    /// How long past its freshness a response may be served while it is refreshed, where it does not say.
    pub stale_while_revalidate: Option<StaleWindow>,
    /// Which requests are answered by the same entry; what is not set there is as in the session.
    pub matching: Option<Matching>,
    /// Functions that go before those of the session.
    pub hooks: Hooks,
}

impl UrlRule {
    /// A rule for the URLs that begin like `glob`, in which `*` stands for any characters, none included; no other
    /// character has a meaning.
    ///
    /// A glob is a host, then perhaps a port and the beginning of a path: `site.com`, `*.site.com`, `site.com/static`,
    /// `site.com/*/images`, `localhost:8080/api`. The host must match as a whole, and its `*` ends before the path;
    /// without a port, any port does. It may begin with `http://` or `https://`, and is about both without. Hosts ignore
    /// case, paths do not. The empty glob and `*` match every URL.
    pub fn glob(glob: impl Into<String>) -> Self {
        Self::new(Pattern::Glob(glob.into()))
    }

    /// A rule for the URLs in which the regular expression `regex` finds something, in the syntax of the `regex` crate
    /// for ASCII. `^` and `$` bind it to the beginning and the end.
    ///
    /// It sees `https://host/path?query`: without user information, scheme and host in lower case, the port only where
    /// it is not the default one, path and query as they are sent. It takes linear time, whatever it is.
    pub fn regex(regex: impl Into<String>) -> Self {
        Self::new(Pattern::Regex(regex.into()))
    }

    const fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            expire_after: None,
            force_ttl: None,
            mode: None,
            cache_control: None,
            stale_if_error: None,
            stale_while_revalidate: None,
            matching: None,
            hooks: Hooks { filter_write: None, filter_read: None, before_store: None },
        }
    }

    /// The glob or regular expression as it was written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    own_setters!();
}

/// Rules in their order. All are tried at once, in one pass over the URL; without any nothing is done.
#[derive(Clone, Default)]
pub struct Rules {
    rules: Vec<UrlRule>,
    // Made when the settings are checked, or else at the first request.
    compiled: OnceLock<Result<RegexSet>>,
}

impl Rules {
    /// The rules in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[UrlRule] {
        &self.rules
    }

    /// The first rule that matches `uri`. None does where one of them is broken.
    #[must_use]
    pub fn first_match(&self, uri: &Uri) -> Option<&UrlRule> {
        if self.rules.is_empty() {
            return None;
        }
        let set = self.compiled().as_ref().ok()?;
        let first = set.matches(subject(uri).as_bytes()).iter().next()?;
        self.rules.get(first)
    }

    /// Checks that each rule can be understood.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the first that cannot.
    pub fn validate(&self) -> Result<()> {
        self.rules.iter().filter_map(|rule| rule.matching.as_ref()).try_for_each(Matching::validate)?;
        self.compiled().as_ref().map(drop).map_err(Clone::clone)
    }

    pub(super) fn push(&mut self, rule: UrlRule) {
        self.rules.push(rule);
        self.compiled = OnceLock::new();
    }

    fn compiled(&self) -> &Result<RegexSet> {
        self.compiled.get_or_init(|| {
            let mut patterns = Vec::with_capacity(self.rules.len());
            for rule in &self.rules {
                let pattern = rule.pattern.to_regex().map_err(|problem| broken(rule, problem))?;
                // Alone first, because the set does not say which of them is broken.
                compile([&pattern]).map_err(|error| broken(rule, "it is no regular expression").with_source(error))?;
                patterns.push(pattern);
            }
            compile(&patterns).map_err(|error| {
                Error::new(ErrorKind::Config, "`rules` are too large together; write fewer or simpler ones")
                    .with_source(error)
            })
        })
    }
}

impl FromIterator<UrlRule> for Rules {
    fn from_iter<I: IntoIterator<Item = UrlRule>>(rules: I) -> Self {
        Self { rules: rules.into_iter().collect(), compiled: OnceLock::new() }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.rules).finish()
    }
}

fn compile(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<RegexSet, regex::Error> {
    // URLs are ASCII as they are sent.
    RegexSetBuilder::new(patterns).unicode(false).build()
}

fn broken(rule: &UrlRule, problem: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`rules` has `{}`: {problem}", rule.pattern()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn matches(rule: &UrlRule, url: &str) -> bool {
        let rules: Rules = [rule.clone()].into_iter().collect();
        rules.validate().unwrap();
        rules.first_match(&url.parse().unwrap()).is_some()
    }

    fn glob(glob: &str, url: &str) -> bool {
        matches(&UrlRule::glob(glob), url)
    }

    /// Seed lines 23 and 36, feature 55: the beginning matches, `*` inside and alone, with a scheme or without one.
    #[test]
    fn a_glob_matches_what_begins_like_it() {
        for (pattern, url, expected) in [
            ("", "http://site.com/", true),
            ("*", "https://site.com/a?b", true),
            ("**", "https://site.com:8080/", true),
            ("site.com", "http://site.com", true),
            ("site.com", "https://site.com/a/b?c=d", true),
            ("site.com", "https://SITE.com/", true),
            ("SITE.com", "https://site.com/", true),
            ("site.com/", "https://site.com/a", true),
            ("site.com*", "https://site.com/a", true),
            ("site.com", "https://img.site.com/", false),
            ("*.site.com", "https://img.site.com/a.jpg", true),
            ("*.site.com", "https://a.b.site.com/", true),
            ("*.site.com", "https://site.com/", false),
            ("*site.com", "https://site.com/", true),
            ("site.*", "https://site.org/a", true),
            ("site.com/static", "http://site.com/static/", true),
            ("site.com/static", "http://site.com/static/img.jpg", true),
            ("site.com/static", "http://site.com/static?a=b", true),
            ("site.com/static", "http://site.com/Static", false),
            ("site.com/static", "http://site.com/a/static", false),
            ("site.com/static/*", "http://site.com/static/img.jpg", true),
            ("site.com/static/*", "http://site.com/static", false),
            ("site.com/*/1", "https://site.com/stream/1", true),
            ("site.com/*/1", "https://site.com/stream/2", false),
            ("site.com/*/1", "https://site.com/a/b/1/c", true),
            ("*/api", "https://any.example/api/v1", true),
            ("site.com?a=1", "https://site.com/?a=1&b", true),
            ("site.com/a?b=*&c", "https://site.com/a?b=2&c=3", true),
            ("site.com/a.b", "https://site.com/axb", false),
            ("https://site.com", "https://site.com/", true),
            ("https://site.com", "http://site.com/", false),
            ("HTTP://site.com", "http://site.com/", true),
            ("http://*", "http://site.com/", true),
            ("http://*", "https://site.com/", false),
        ] {
            assert_eq!(glob(pattern, url), expected, "{pattern} {url}");
        }
    }

    /// A rule for one host is not about another whose name, path or user information contains it.
    #[test]
    fn a_glob_cannot_be_met_by_another_host() {
        for (pattern, url) in [
            ("site.com", "https://site.com.example.org/"),
            ("site.com", "https://site.community/"),
            ("site.com", "https://site.com@example.org/"),
            ("*.site.com", "https://example.org/x.site.com"),
            ("*.site.com", "https://example.org/?x.site.com"),
            ("*.site.com", "https://x.site.com@example.org/"),
            ("*.site.com/a", "https://example.org/.site.com/a"),
            ("site.com/a", "https://sitexcom/a"),
        ] {
            assert!(!glob(pattern, url), "{pattern} {url}");
        }
    }

    #[test]
    fn a_port_is_any_or_the_one_given() {
        for (pattern, url, expected) in [
            ("site.com", "https://site.com:8443/", true),
            ("site.com/a", "https://site.com:8443/a", true),
            ("site.com:8443", "https://site.com:8443/", true),
            ("site.com:8443", "https://site.com/", false),
            ("site.com:8443", "https://site.com:84433/", false),
            ("site.com:443", "https://site.com/", true),
            ("site.com:443", "https://site.com:443/", true),
            ("site.com:443", "http://site.com/", false),
            ("site.com:443", "http://site.com:443/", true),
            ("site.com:80/a", "http://site.com/a", true),
            ("*:8080", "http://any.example:8080/", true),
            ("[::1]", "http://[::1]:8080/", true),
            ("[::1]:8080/a", "http://[::1]:8080/a", true),
            ("[::1]:8081", "http://[::1]:8080/a", false),
        ] {
            assert_eq!(glob(pattern, url), expected, "{pattern} {url}");
        }
    }

    /// Feature 56.
    #[test]
    fn a_regex_finds_something_in_the_url_as_it_is_sent() {
        for (pattern, url, expected) in [
            (r"/v[0-9]+/", "https://site.com/v12/a", true),
            (r"/v[0-9]+/", "https://site.com/va/a", false),
            (r"^https://site\.com/$", "https://SITE.com:443", true),
            (r"^https://site\.com/$", "https://site.com:444", false),
            (r"(?i)\.JPE?G$", "http://site.com/a.jpg", true),
            (r"\w+\.example", "http://any.example/", true),
            (r"word", "http://user:word@site.com/", false),
        ] {
            assert_eq!(matches(&UrlRule::regex(pattern), url), expected, "{pattern} {url}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let seconds = Duration::from_secs;
        let rules: Rules = [
            UrlRule::glob("site.com/a").expire_after(seconds(1)),
            UrlRule::regex("^https?://site").expire_after(seconds(2)),
            UrlRule::glob("*").expire_after(seconds(3)),
        ]
        .into_iter()
        .collect();
        for (url, expected) in [("http://site.com/a", 1), ("http://site.com/b", 2), ("http://other/", 3)] {
            let rule = rules.first_match(&url.parse().unwrap()).unwrap();
            assert_eq!(rule.expire_after, Some(seconds(expected).into()), "{url}");
        }
        assert!(Rules::default().first_match(&"http://site.com/".parse().unwrap()).is_none());
    }

    #[test]
    fn a_broken_rule_is_an_error_that_names_the_setting_and_the_rule() {
        for rule in [
            UrlRule::regex("a("),
            UrlRule::regex(r"\p{Greek}"),
            UrlRule::regex("(a{1000}){1000}"),
            UrlRule::glob("/static"),
            UrlRule::glob("?a=b"),
            UrlRule::glob("site.com/a#b"),
            UrlRule::glob("site.com/a b"),
            UrlRule::glob("b\u{fc}cher.example"),
            UrlRule::glob("ftp://site.com"),
            UrlRule::glob("site.com:http"),
            UrlRule::glob("site.com:"),
            UrlRule::glob("user@site.com/a"),
        ] {
            let rules: Rules = [UrlRule::glob("*"), rule.clone()].into_iter().collect();
            let error = rules.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains("`rules`") && text.contains(rule.pattern()), "{text}");
            // Not even those that could be understood.
            assert!(rules.first_match(&"http://site.com/".parse().unwrap()).is_none());
        }
    }
}
