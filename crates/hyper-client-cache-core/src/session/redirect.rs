//! Redirects: each hop is a request of its own, so that each passes through the cache.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout};

use super::request::{Options, without_query};
use super::response::Sent;
use super::url::resolve;
use super::{CachedSession, Inner, Response};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::CacheBody;
use crate::policy::{CacheInfo, RequestSettings};
use crate::transport::RequestBody;

/// How much of a redirect's body is read so that the redirect can be stored, in bytes.
const MAX_DRAINED: usize = 64 * 1024;

/// How long that may take. Generous: it is for bodies that do not come.
const DRAINING: Duration = Duration::from_secs(1);

/// How many redirects are followed where nothing else is said.
const DEFAULT_LIMIT: usize = 10;

/// What describes a body that a redirect drops.
const ABOUT_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::TRANSFER_ENCODING,
];

/// Which redirects are followed.
///
/// Whatever the policy: what is no redirect by RFC 9110 section 15.4 is not followed, credentials do not go to another
/// origin and do not come back from there, and what is not followed is the response.
///
/// ```
/// use hyper_client_cache_core::CachedSession;
/// use hyper_client_cache_core::session::{RedirectAction, RedirectPolicy};
///
/// # fn main() -> hyper_client_cache_core::Result<()> {
/// let only_secure = RedirectPolicy::custom(|redirect| match redirect.to.scheme_str() {
///     Some("https") => RedirectAction::Follow,
///     _ => RedirectAction::Stop,
/// });
/// let session = CachedSession::builder().redirects(only_secure.max(5)).build()?;
/// # let _ = session;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedirectPolicy {
    limit: usize,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Any,
    SameOrigin,
    Custom(Arc<Decide>),
}

type Decide = dyn Fn(&Redirect<'_>) -> RedirectAction + Send + Sync;

impl RedirectPolicy {
    /// Follows none: the redirect is the response.
    pub const fn none() -> Self {
        Self::limited(0)
    }

    /// Follows this many, one after the other; one more is an error. 0: none. The default is 10.
    pub const fn limited(limit: usize) -> Self {
        Self { limit, kind: Kind::Any }
    }

    /// Follows those that stay with scheme, host and port, up to 10; one that does not is the response.
    pub const fn same_origin() -> Self {
        Self { limit: DEFAULT_LIMIT, kind: Kind::SameOrigin }
    }

    /// Asks `decide` about each, up to 10. If it panics, the request fails with [`ErrorKind::Redirect`].
    pub fn custom(decide: impl Fn(&Redirect<'_>) -> RedirectAction + Send + Sync + 'static) -> Self {
        Self { limit: DEFAULT_LIMIT, kind: Kind::Custom(Arc::new(decide)) }
    }

    /// Sets how many are followed, one after the other.
    pub const fn max(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    fn decide(&self, redirect: &Redirect<'_>) -> Result<RedirectAction> {
        match &self.kind {
            Kind::Any => Ok(RedirectAction::Follow),
            Kind::SameOrigin if is_same_origin(redirect.from, redirect.to) => Ok(RedirectAction::Follow),
            Kind::SameOrigin => Ok(RedirectAction::Stop),
            // What it saw may be half changed, but is ours to read again only if it is given to it again.
            Kind::Custom(decide) => catch_unwind(AssertUnwindSafe(|| decide(redirect)))
                .map_err(|_| Error::new(ErrorKind::Redirect, "the policy's function panicked")),
        }
    }
}

impl Default for RedirectPolicy {
    fn default() -> Self {
        Self::limited(DEFAULT_LIMIT)
    }
}

impl fmt::Debug for RedirectPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Any => "any",
            Kind::SameOrigin => "same origin",
            Kind::Custom(_) => "custom",
        };
        write!(f, "RedirectPolicy({kind}, at most {})", self.limit)
    }
}

/// What a [custom policy](RedirectPolicy::custom) says about one redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectAction {
    /// It is followed.
    Follow,
    /// It is the response.
    Stop,
    /// It is an error, [`ErrorKind::Redirect`].
    Fail,
}

/// A redirect that is about to be followed.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Redirect<'a> {
    /// The URL that answered with it.
    pub from: &'a Uri,
    /// Where it leads.
    pub to: &'a Uri,
    /// Its status: 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// Those that were followed before, oldest first.
    pub history: &'a [Hop],
}

impl fmt::Debug for Redirect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirect")
            .field("from", &without_query(self.from))
            .field("to", &without_query(self.to))
            .field("status", &self.status)
            .field("before", &self.history.len())
            .finish()
    }
}

/// One redirect on the way to a response.
#[derive(Clone)]
#[non_exhaustive]
pub struct Hop {
    /// The URL that answered with the redirect.
    pub url: Uri,
    /// The redirect's status.
    pub status: StatusCode,
    /// The redirect's headers.
    pub headers: HeaderMap,
    /// What the cache did for it.
    pub cache_info: Option<CacheInfo>,
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop")
            .field("url", &without_query(&self.url))
            .field("status", &self.status)
            .field("cache_info", &self.cache_info)
            .finish_non_exhaustive()
    }
}

/// Sends a request, and what it is redirected to, each through the cache.
pub(super) async fn send(
    session: &CachedSession,
    options: &Options,
    request: Request<RequestBody>,
    deadline: Option<Instant>,
) -> Result<Response> {
    let inner = &session.inner;
    let policy = options.redirects.as_ref().unwrap_or(&inner.redirects);
    let mut history = Vec::new();
    let mut next = request;
    loop {
        let uri = next.uri().clone();
        // Before what is for this hop only is added.
        let kept = Kept::of(&next);
        inner.dress(&mut next, options);
        let response = inner.service.run(next, deadline).await?;
        inner.learn_from_cache(&uri, &response);
        let Some(location) = location(&response, policy.limit) else {
            return Response::new(response, kept.sent(uri), history, session.clone(), options.decompress);
        };
        let target = resolve(&uri, location)?;
        let status = response.status();
        let redirect = Redirect { from: &uri, to: &target.uri, status, history: &history };
        match policy.decide(&redirect)? {
            RedirectAction::Follow => {}
            RedirectAction::Stop => {
                return Response::new(response, kept.sent(uri), history, session.clone(), options.decompress);
            }
            RedirectAction::Fail => return Err(Error::new(ErrorKind::Redirect, "the policy forbids it")),
        }
        if history.len() >= policy.limit {
            return Err(Error::new(ErrorKind::Redirect, format!("more than {} one after the other", policy.limit)));
        }
        next = kept.follow(&uri, target.uri, status, inner)?;
        let (head, body) = response.into_parts();
        let cache_info = head.extensions.get().cloned();
        history.push(Hop { url: uri, status: head.status, headers: head.headers, cache_info });
        drain(body).await;
    }
}

/// Where a response leads, if it is a redirect and may be followed.
fn location(response: &http::Response<CacheBody>, limit: usize) -> Option<&[u8]> {
    let is_redirect = limit > 0 && matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    is_redirect.then(|| response.headers().get(header::LOCATION))?.map(|location| location.as_bytes())
}

/// What of a request is needed after it was sent.
struct Kept {
    method: Method,
    headers: HeaderMap,
    extensions: http::Extensions,
    body: Option<RequestBody>,
}

impl Kept {
    fn of(request: &Request<RequestBody>) -> Self {
        Self {
            method: request.method().clone(),
            headers: request.headers().clone(),
            extensions: request.extensions().clone(),
            body: request.body().try_clone(),
        }
    }

    fn sent(self, url: Uri) -> Sent {
        Sent { method: self.method, url, headers: self.headers }
    }

    /// The request for `target`, to which a response of `status` from `uri` redirects.
    fn follow(self, uri: &Uri, target: Uri, status: StatusCode, inner: &Inner) -> Result<Request<RequestBody>> {
        let Self { mut method, mut headers, mut extensions, body } = self;
        // RFC 9110 sections 15.4.2 to 15.4.4: a 303 is fetched, and a POST that was moved becomes a GET by custom.
        let becomes_get = match status.as_u16() {
            303 => method != Method::HEAD,
            301 | 302 => method == Method::POST,
            _ => false,
        };
        let body = if becomes_get {
            method = Method::GET;
            ABOUT_THE_BODY.iter().for_each(|name| drop(headers.remove(name)));
            RequestBody::default()
        } else {
            body.ok_or_else(|| {
                let problem = "it needs the request's body again, and one from `body_stream` can be read only once";
                Error::new(ErrorKind::Redirect, problem)
            })?
        };
        if !is_same_origin(uri, &target) {
            // They do not come back where a later hop returns (case 61).
            let secret: Vec<_> = headers.keys().filter(|name| inner.defaults.is_secret(name)).cloned().collect();
            secret.iter().for_each(|name| drop(headers.remove(name)));
            // What a layer beneath reads from them may be meant for the first origin only (case 60).
            let settings = extensions.remove::<RequestSettings>();
            extensions.clear();
            if let Some(settings) = settings {
                extensions.insert(settings);
            }
        }
        refer(&mut headers, uri, &target, inner.referer);
        // User information in a `Location` is the other side's choice: it is not sent.
        headers.remove(header::HOST);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        *request.extensions_mut() = extensions;
        Ok(request)
    }
}

/// Says where a redirect comes from, if that is wanted, and never more than a browser does: to another origin its origin
/// only, and nothing from `https` to `http` (RFC 9110 section 10.1.3). What the caller set is cut down the same way.
fn refer(headers: &mut HeaderMap, from: &Uri, to: &Uri, is_wanted: bool) {
    let set = headers.remove(header::REFERER);
    let from = match set.as_ref().map(|set| set.to_str().ok().and_then(|set| set.parse::<Uri>().ok())) {
        _ if is_wanted => from.clone(),
        Some(Some(set)) if set.scheme().is_some() => set,
        _ => return,
    };
    if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
        return;
    }
    let shown = crate::key::shown_url(&from);
    let text = if is_same_origin(&from, to) {
        shown
    } else {
        let host = shown.split('/').nth(2).unwrap_or_default();
        format!("{}://{host}/", from.scheme_str().unwrap_or_default())
    };
    if let Ok(value) = http::HeaderValue::try_from(text) {
        headers.insert(header::REFERER, value);
    }
}

fn is_same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| {
        uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        })
    };
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    one.scheme_str() == other.scheme_str() && host(one) == host(other) && port(one) == port(other)
}

/// Reads a redirect's body, which stores it. One that is long, or does not come, is dropped and not stored (case 106).
async fn drain(body: CacheBody) {
    if body.size_hint().lower() <= MAX_DRAINED as u64 {
        // The hop is over either way.
        let _ = timeout(DRAINING, Limited::new(body, MAX_DRAINED).collect()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionBuilder;

    #[derive(Clone)]
    struct Token;

    fn followed(from: &str, to: &str, change: fn(SessionBuilder) -> SessionBuilder) -> Request<RequestBody> {
        let mut request = Request::get(from).header("authorization", "canary").header("cookie", "canary");
        request = request.header("proxy-authorization", "canary").header("x-plain", "1").header("host", "other");
        request = request.header("x-api-key", "canary");
        let mut request = request.body(RequestBody::default()).unwrap();
        request.extensions_mut().insert(Token);
        request.extensions_mut().insert(RequestSettings::default());
        let session = change(CachedSession::builder().secret_headers(["x-api-key"])).build().unwrap();
        let target = resolve(request.uri(), to.as_bytes()).unwrap().uri;
        Kept::of(&request).follow(request.uri(), target, StatusCode::PERMANENT_REDIRECT, &session.inner).unwrap()
    }

    /// Cases 59 and 60: credentials and extensions stay with scheme, host and port.
    #[test]
    fn credentials_stay_with_their_origin() {
        for (from, to, same) in [
            ("https://host/a", "/b", true),
            ("https://host/a", "https://HOST:443/b", true),
            ("http://host:80/a", "http://host/b", true),
            ("https://host/a", "http://host/b", false),
            ("http://host/a", "https://host/b", false),
            ("https://host/a", "https://host:8443/b", false),
            ("https://host/a", "https://host.example/b", false),
            ("https://host/a", "//other/b", false),
            ("https://host/a", "https://user:word@other/b", false),
        ] {
            let next = followed(from, to, |builder| builder);
            for name in ["authorization", "cookie", "proxy-authorization", "x-api-key"] {
                assert_eq!(next.headers().contains_key(name), same, "{name}: {from} {to}");
            }
            assert_eq!(next.extensions().get::<Token>().is_some(), same, "{from} {to}");
            assert!(next.extensions().get::<RequestSettings>().is_some());
            assert!(next.headers().contains_key("x-plain") && !next.headers().contains_key("host"));
            assert!(!next.uri().to_string().contains('@'));
        }
    }

    #[test]
    fn a_referer_says_no_more_than_it_must() {
        let referer = |from: &str, to: &str| {
            let next = followed(from, to, |builder| builder.referer(true));
            next.headers().get("referer").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(referer("https://u:p@host/a?b", "/c").as_deref(), Some("https://host/a?b"));
        assert_eq!(referer("https://host/a?b", "https://other/").as_deref(), Some("https://host/"));
        assert_eq!(referer("http://host:81/a?b", "https://host/").as_deref(), Some("http://host:81/"));
        assert_eq!(referer("https://host/a?b", "http://host/"), None);
        assert!(!followed("https://host/a", "/c", |builder| builder).headers().contains_key("referer"));
        let own = |set: &'static str, to: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("referer", http::HeaderValue::from_static(set));
            refer(&mut headers, &"https://host/".parse().unwrap(), &to.parse().unwrap(), false);
            headers.get("referer").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(own("https://host/x?canary", "https://host/y").as_deref(), Some("https://host/x?canary"));
        assert_eq!(own("https://host/x?canary", "https://other/y").as_deref(), Some("https://host/"));
        assert_eq!(own("https://host/x?canary", "http://host/y"), None);
        assert_eq!(own("about:canary", "https://other/"), None);
    }
}
