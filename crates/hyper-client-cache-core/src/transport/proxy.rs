//! Which requests go through which proxy: from options, or from the environment.

use std::fmt;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::socks;
use crate::error::{Error, ErrorKind, Result};

/// A proxy, and what goes through it.
///
/// Its URL may hold a user name and a password, which are sent to the proxy only and shown nowhere, and begins with the
/// proxy's kind:
///
/// - `http://` and `https://`: an `http` URL is requested from the proxy; for an `https` URL the proxy opens a tunnel.
/// - `socks5h://` and `socks5://` (RFC 1928, port 1080 where none is given): the proxy opens a tunnel for both. It
///   resolves the names of hosts with `socks5h`; with `socks5` they are resolved here. User name and password may have 255
///   bytes each, and about as many together with the host's name.
///
/// ```
/// use hyper_client_cache_core::CachedSession;
/// use hyper_client_cache_core::transport::Proxy;
///
/// # fn main() -> hyper_client_cache_core::Result<()> {
/// let session = CachedSession::builder()
///     .proxy(Proxy::all("http://user:password@proxy.example:3128").except("localhost, 10.0.0.0/8, .internal"))
///     .build()?;
/// # let _ = session;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Proxy {
    url: String,
    scope: Scope,
    except: String,
}

#[derive(Clone, Copy, Debug)]
enum Scope {
    All,
    Http,
    Https,
}

impl Proxy {
    /// A proxy for every request.
    pub fn all(url: impl Into<String>) -> Self {
        Self { url: url.into(), scope: Scope::All, except: String::new() }
    }

    /// A proxy for requests whose scheme is `http`.
    pub fn http(url: impl Into<String>) -> Self {
        Self { scope: Scope::Http, ..Self::all(url) }
    }

    /// A proxy for requests whose scheme is `https`.
    pub fn https(url: impl Into<String>) -> Self {
        Self { scope: Scope::Https, ..Self::all(url) }
    }

    /// Leaves out hosts, in the form of the variable `NO_PROXY`: names, which stand for their subdomains too,
    /// addresses and networks, separated by commas, or `*`.
    pub fn except(mut self, hosts: impl Into<String>) -> Self {
        self.except = hosts.into();
        self
    }

    fn matcher(self) -> Result<Matcher> {
        check(&self.url)?;
        let probe = Matcher::builder().all(self.url.as_str()).build().intercept(&Uri::from_static("http://host/"));
        probe.as_ref().map_or(Ok(None), socks::credentials)?;
        let builder = Matcher::builder().no(self.except);
        Ok(match self.scope {
            Scope::All => builder.all(self.url),
            Scope::Http => builder.http(self.url),
            Scope::Https => builder.https(self.url),
        }
        .build())
    }
}

// The URL holds the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("scope", &self.scope).field("except", &self.except).finish_non_exhaustive()
    }
}

/// All proxies of a transport; the first that matches is taken.
#[derive(Debug, Default)]
pub(super) struct Proxies(Vec<Matcher>);

impl Proxies {
    /// Those that were given; where there are none and `environment` says so, those of the environment.
    pub(super) fn new(given: Vec<Proxy>, environment: bool) -> Result<Self> {
        if given.is_empty() && environment {
            return Ok(Self(Vec::from_iter(of_environment(|name| std::env::var(name).ok()))));
        }
        given.into_iter().map(Proxy::matcher).collect::<Result<_>>().map(Self)
    }

    pub(super) fn find(&self, uri: &Uri) -> Option<Intercept> {
        self.0.iter().find_map(|matcher| matcher.intercept(uri))
    }

    /// What a request to `uri` must carry for the proxy that is told the whole URL; the outer `None`: there is none.
    pub(super) fn credentials(&self, uri: &Uri) -> Option<Option<HeaderValue>> {
        if self.0.is_empty() || uri.scheme_str() != Some("http") {
            return None;
        }
        let proxy = self.find(uri)?;
        matches!(proxy.uri().scheme_str(), Some("http" | "https")).then(|| proxy.basic_auth().cloned())
    }
}

/// The proxies that the usual variables name. In a CGI program `HTTP_PROXY` is a header of the request that it answers,
/// and not believed.
fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Matcher> {
    let first = |names: &[&str]| names.iter().find_map(|name| variable(name)).unwrap_or_default();
    let http = if variable("REQUEST_METHOD").is_some() { &["http_proxy"][..] } else { &["HTTP_PROXY", "http_proxy"] };
    let (all, http, https) = (first(&["ALL_PROXY", "all_proxy"]), first(http), first(&["HTTPS_PROXY", "https_proxy"]));
    if all.is_empty() && http.is_empty() && https.is_empty() {
        return None;
    }
    Some(Matcher::builder().all(all).http(http).https(https).no(first(&["NO_PROXY", "no_proxy"])).build())
}

fn check(url: &str) -> Result<()> {
    let impossible = |why: &str| Err(Error::new(ErrorKind::Config, format!("`proxy` {why}")));
    let Ok(uri) = url.parse::<Uri>() else { return impossible("is no URL; give one like `http://host:port`") };
    match uri.scheme_str() {
        Some("http" | "https" | "socks5" | "socks5h") => {}
        _ => return impossible("begins with none of `http://`, `https://`, `socks5://` and `socks5h://`"),
    }
    if uri.host().is_none_or(str::is_empty) {
        return impossible("has no host; give a URL like `http://host:port`");
    }
    if uri.authority().is_some_and(|authority| authority.port().is_none() && authority.as_str().ends_with(':')) {
        return impossible("has no port after its colon");
    }
    if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
        return impossible("has a path, which a proxy has not; leave it out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_for(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Some(of_environment(variable)?.intercept(&url.parse().unwrap())?.uri().to_string())
    }

    #[test]
    fn the_environment_names_proxies_by_scheme_and_exceptions() {
        let variables =
            [("HTTP_PROXY", "http://a:1"), ("all_proxy", "http://b:2"), ("NO_PROXY", "direct.example,10.0.0.0/8")];
        assert_eq!(proxy_for(&variables, "http://host/").as_deref(), Some("http://a:1/"));
        assert_eq!(proxy_for(&variables, "https://host/").as_deref(), Some("http://b:2/"));
        for direct in ["http://direct.example/", "https://sub.direct.example/", "http://10.1.2.3/"] {
            assert_eq!(proxy_for(&variables, direct), None, "{direct}");
        }
        assert_eq!(proxy_for(&[("https_proxy", "http://c:3")], "http://host/"), None);
        assert_eq!(proxy_for(&[("https_proxy", "http://c:3")], "https://host/").as_deref(), Some("http://c:3/"));
        assert_eq!(proxy_for(&[], "http://host/"), None);
        let socks = proxy_for(&[("all_proxy", "socks5h://u:canary@d:4")], "http://host/");
        assert_eq!(socks.as_deref(), Some("socks5h://d:4/"));
    }

    #[test]
    fn in_a_cgi_program_the_variable_that_a_client_can_set_is_not_believed() {
        let variables = [("HTTP_PROXY", "http://evil:1"), ("REQUEST_METHOD", "GET")];
        assert_eq!(proxy_for(&variables, "http://host/"), None);
        let variables = [("http_proxy", "http://good:1"), ("REQUEST_METHOD", "GET")];
        assert_eq!(proxy_for(&variables, "http://host/").as_deref(), Some("http://good:1/"));
    }

    #[test]
    fn an_impossible_proxy_is_named_and_its_password_is_not_shown() {
        for url in [
            "",
            "canary",
            "ftp://u:canary@host",
            "socks4://u:canary@host:1",
            "http://",
            "http://u:canary@",
            "http://u:canary@host/path",
            "//canary",
        ] {
            let error = Proxies::new(vec![Proxy::all(url)], false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = format!("{error} {error:?} {:?}", Proxy::all(url));
            assert!(shown.contains("`proxy`") && !shown.contains("canary"), "{url}: {shown}");
        }
        let proxies = Proxies::new(vec![Proxy::all("http://u:canary@host:1")], false).unwrap();
        assert!(!format!("{proxies:?}").contains("canary"));
        let credentials = proxies.credentials(&"http://origin/".parse().unwrap()).unwrap().unwrap();
        assert_eq!(credentials.as_bytes(), b"Basic dTpjYW5hcnk=");
        assert!(credentials.is_sensitive());
    }
}
