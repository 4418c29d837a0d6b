//! The cookie jar: what it sends with a request, and what it learns from a response (RFC 6265).
//!
//! It sends above the cache, so that `Vary: Cookie` sees it, and learns beneath, so that it hears of every answer that
//! really came in, refreshes in the background included.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use cookie_store::{Cookie, CookieDomain, CookieStore};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request, Uri};

use super::IntoUrl;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::CallersCookies;

/// A cookie jar. Cheap to clone; clones are handles on the same jar, which several sessions may use.
///
/// Whether a cookie has expired is decided by the operating system's clock.
///
/// A cookie whose `Domain` is a public suffix, under which anybody may have a name, is refused, or kept for the one host
/// that is named like it (RFC 6265 section 5.3). Top-level domains are known by themselves; suffixes such as `co.uk` and
/// `github.io` are where the feature `public-suffixes` is on, as it is by default: by Mozilla's list as it was when the
/// crate `psl` was made.
///
/// ```
/// use hyper_client_cache_core::CachedSession;
/// use hyper_client_cache_core::session::CookieJar;
///
/// # fn main() -> hyper_client_cache_core::Result<()> {
/// let jar = CookieJar::new();
/// jar.add("https://example.org/", "theme=dark; Path=/")?;
/// let session = CachedSession::builder().cookie_jar(jar.clone()).build()?;
/// assert_eq!(jar.cookies("https://example.org/page")?, [("theme".to_owned(), "dark".to_owned())]);
/// # let _ = session;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct CookieJar {
    store: Arc<RwLock<CookieStore>>,
}

impl CookieJar {
    /// An empty jar.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a cookie in, as if `url` had set it; `cookie` is in the form of `Set-Cookie`.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the URL is none, or may not set this cookie.
    pub fn add(&self, url: impl IntoUrl, cookie: &str) -> Result<()> {
        let url = parsed(&url.into_url(None)?.uri).ok_or_else(|| invalid("the URL of a cookie"))?;
        if self.insert(&url, cookie) { Ok(()) } else { Err(invalid("the cookie, or it is not for its URL: it")) }
    }

    /// Name and value of each cookie that a request for `url` would be sent with.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the URL is none.
    pub fn cookies(&self, url: impl IntoUrl) -> Result<Vec<(String, String)>> {
        let url = parsed(&url.into_url(None)?.uri).ok_or_else(|| invalid("the URL"))?;
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        Ok(store.get_request_values(&url).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// How many cookies there are that have not expired.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.read().unwrap_or_else(PoisonError::into_inner).iter_unexpired().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all.
    pub fn clear(&self) {
        self.store.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes in what a response from `uri` sets.
    pub(super) fn learn(&self, uri: &Uri, headers: &HeaderMap) {
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        let Some(url) = parsed(uri) else { return };
        for line in headers.get_all(SET_COOKIE) {
            // What is no cookie is left out, as a browser does.
            let _ = line.to_str().is_ok_and(|line| self.insert(&url, line));
        }
    }

    /// Adds what the jar has for the request's URL to what the caller set, which wins where both have a name. Unless
    /// `separate`, only the caller's own cookies tell its entries from others'.
    pub(super) fn send<B>(&self, request: &mut Request<B>, separate: bool) {
        let Some(url) = parsed(request.uri()) else { return };
        let own: Vec<HeaderValue> = request.headers().get_all(COOKIE).iter().cloned().collect();
        let mut line = Vec::new();
        for value in &own {
            push(&mut line, value.as_bytes());
        }
        let names: Vec<&[u8]> =
            own.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';')).map(name_of).collect();
        let before = line.len();
        {
            let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
            for (name, value) in store.get_request_values(&url) {
                if !names.contains(&name.as_bytes()) {
                    push(&mut line, name.as_bytes());
                    line.push(b'=');
                    line.extend_from_slice(value.as_bytes());
                }
            }
        }
        if line.len() == before {
            return;
        }
        let Ok(mut value) = HeaderValue::from_bytes(&line) else { return };
        value.set_sensitive(true);
        request.headers_mut().insert(COOKIE, value);
        if !separate {
            request.extensions_mut().insert(CallersCookies::new(own));
        }
    }

    // Not by the store's own way to take in a response: that one logs the values.
    fn insert(&self, url: &url::Url, line: &str) -> bool {
        let Ok(mut cookie) = Cookie::parse(line, url) else { return false };
        if let CookieDomain::Suffix(domain) = &cookie.domain
            && is_public(domain)
        {
            match CookieDomain::host_only(url) {
                Ok(host) if url.host_str() == Some(domain) => cookie.domain = host,
                _ => return false,
            }
        }
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        store.insert(cookie.into_owned(), url).is_ok()
    }
}

// Not even names: some are made of what they stand for.
impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieJar({} cookies)", self.len())
    }
}

/// Whether anybody may have a name under this domain, which is in lower case and in ASCII.
fn is_public(domain: &str) -> bool {
    let domain = domain.trim_matches('.');
    !domain.contains('.') || is_listed(domain)
}

#[cfg(feature = "public-suffixes")]
fn is_listed(domain: &str) -> bool {
    // What is not known is taken for a suffix of one label, which such a domain is not.
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.as_bytes() == domain.as_bytes())
}

#[cfg(not(feature = "public-suffixes"))]
const fn is_listed(_: &str) -> bool {
    false
}

fn push(line: &mut Vec<u8>, cookie: &[u8]) {
    if !line.is_empty() {
        line.extend_from_slice(b"; ");
    }
    line.extend_from_slice(cookie);
}

fn name_of(cookie: &[u8]) -> &[u8] {
    cookie.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn parsed(uri: &Uri) -> Option<url::Url> {
    url::Url::parse(&uri.to_string()).ok()
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Request, format!("{what} is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(jar: &CookieJar, url: &str, own: &[&'static str]) -> String {
        let mut request = Request::get(url).body(()).unwrap();
        for line in own {
            request.headers_mut().append(COOKIE, HeaderValue::from_static(line));
        }
        jar.send(&mut request, false);
        let lines: Vec<_> = request.headers().get_all(COOKIE).iter().map(|line| line.to_str().unwrap()).collect();
        lines.join(" | ")
    }

    #[test]
    fn a_cookie_goes_where_it_belongs() {
        let jar = CookieJar::new();
        jar.add("https://a.example.org/x", "host=1").unwrap();
        jar.add("https://a.example.org/x", "wide=1; Domain=example.org; Path=/").unwrap();
        jar.add("https://a.example.org/x", "safe=1; Secure; Path=/deep").unwrap();
        assert_eq!(sent(&jar, "https://b.example.org/", &[]), "wide=1");
        assert_eq!(sent(&jar, "http://a.example.org/deep", &[]).matches("safe").count(), 0);
        assert_eq!(sent(&jar, "https://other.org/", &["own=1"]), "own=1");
        let both = sent(&jar, "https://a.example.org/deep", &["own=1; wide=2", "more=3"]);
        assert!(
            both.starts_with("own=1; wide=2; more=3; ") && both.contains("safe=1") && !both.contains("wide=1"),
            "{both}"
        );
        jar.add("https://a.example.org/", "host=; Max-Age=0").unwrap_or_default();
        for refused in ["x=1; Domain=org", "x=1; Domain=other.org", ""] {
            let error = jar.add("https://a.example.org/", refused).unwrap_err();
            assert!(!error.to_string().contains("x=1"));
        }
        jar.clear();
        assert!(jar.is_empty() && sent(&jar, "https://a.example.org/", &[]).is_empty());
        assert!(!format!("{jar:?}").contains("host"));
    }
    /// A cookie for a domain that is nobody's is nobody's, or stays with the host that bears its name.
    #[test]
    fn a_cookie_for_a_public_suffix_is_refused() {
        let top_level = [
            ("https://shop.com/", "com"),
            ("https://a.shop.com/", ".COM"),
            ("https://shop.com./", "com."),
            ("https://a.b.internal/", "internal"),
        ];
        let listed = [
            ("https://shop.co.uk/", "co.uk"),
            ("https://a.shop.co.uk/", ".Co.Uk"),
            ("https://shop.co.uk./", "co.uk."),
            ("https://me.github.io/", "github.io"),
            ("https://a.公司.cn/", "公司.cn"),
            ("https://a.公司.cn/", "xn--55qx5d.cn"),
            ("https://a.b.ck/", "b.ck"),
        ];
        let known = top_level.iter().chain(&listed).take(if cfg!(feature = "public-suffixes") { 11 } else { 4 });
        for (url, domain) in known {
            let jar = CookieJar::new();
            assert!(jar.add(*url, &format!("canary=1; Domain={domain}")).is_err(), "{url} {domain}");
            assert!(jar.is_empty());
        }
        for (url, domain, elsewhere) in [
            ("https://a.shop.com/", "shop.com", "https://b.shop.com/"),
            ("https://a.shop.co.uk/", "shop.co.uk", "https://shop.co.uk/"),
            ("https://a.b.ck/", "a.b.ck", "https://c.a.b.ck/"),
        ] {
            let jar = CookieJar::new();
            jar.add(url, &format!("wide=1; Domain={domain}")).unwrap();
            assert_eq!(sent(&jar, elsewhere, &[]), "wide=1", "{url} {domain}");
        }
        // The host itself may have one, which goes no further.
        for (own, under) in [("localhost", "a.localhost"), ("github.io", "me.github.io")] {
            let jar = CookieJar::new();
            jar.add(format!("http://{own}/"), &format!("own=1; Domain={own}")).unwrap();
            assert_eq!(sent(&jar, &format!("http://{own}/"), &[]), "own=1");
            let is_known = own == "localhost" || cfg!(feature = "public-suffixes");
            assert_eq!(sent(&jar, &format!("http://{under}/"), &[]).is_empty(), is_known, "{under}");
        }
        let jar = CookieJar::new();
        jar.add("http://127.0.0.1/", "own=1; Domain=127.0.0.1").unwrap();
        assert_eq!(sent(&jar, "http://127.0.0.1/", &[]), "own=1");
    }
}
