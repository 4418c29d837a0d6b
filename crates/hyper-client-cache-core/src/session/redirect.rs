//! Redirects: each hop is a request of its own, so that each passes through the cache.

use std::fmt;

use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::request::without_query;
use super::url::resolve;
use super::{CachedSession, Response, ResponseBody};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::CacheBody;
use crate::policy::{CacheInfo, RequestSettings};
use crate::transport::RequestBody;

/// How much of a redirect's body is read so that the redirect can be stored.
const MAX_DRAINED: usize = 64 * 1024;

/// What a request to another origin must not carry (case 59).
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// What describes a body that a redirect drops.
const ABOUT_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::TRANSFER_ENCODING,
];

/// How redirects are followed.
#[derive(Clone, Debug)]
pub(super) struct Redirects {
    pub(super) limit: usize,
}

impl Default for Redirects {
    fn default() -> Self {
        Self { limit: 10 }
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

impl Redirects {
    pub(super) async fn send(
        &self,
        session: &CachedSession,
        request: Request<RequestBody>,
        deadline: Option<Instant>,
    ) -> Result<Response> {
        let mut history = Vec::new();
        let mut next = request;
        loop {
            let uri = next.uri().clone();
            // What is needed to go on is kept only where that may happen.
            let kept = (self.limit > 0).then(|| Kept::of(&next));
            let response = session.inner.service.run(next, deadline).await?;
            let following = kept.and_then(|kept| kept.follow(&uri, &response));
            let Some(following) = following else {
                return Ok(Response::new(response.map(ResponseBody::new), uri, history, session.clone()));
            };
            if history.len() >= self.limit {
                return Err(Error::new(ErrorKind::Redirect, format!("more than {} one after the other", self.limit)));
            }
            next = following?;
            let (head, body) = response.into_parts();
            let cache_info = head.extensions.get().cloned();
            history.push(Hop { url: uri, status: head.status, headers: head.headers, cache_info });
            drain(body).await;
        }
    }
}

/// What the next request of a chain takes over from this one.
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

    /// The request that `response` redirects to; `None` where it is no redirect, or one that needs a body again that
    /// cannot be sent twice.
    fn follow(self, uri: &Uri, response: &http::Response<CacheBody>) -> Option<Result<Request<RequestBody>>> {
        let status = response.status();
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = response.headers().get(header::LOCATION)?;
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
            body?
        };
        Some(resolve(uri, location.as_bytes()).map(|target| {
            if !is_same_origin(uri, &target.uri) {
                // They do not come back where a later hop returns (case 61).
                CREDENTIALS.iter().for_each(|name| drop(headers.remove(name)));
                // What a layer beneath reads from them may be meant for the first origin only (case 60).
                let settings = extensions.remove::<RequestSettings>();
                extensions.clear();
                if let Some(settings) = settings {
                    extensions.insert(settings);
                }
            }
            // User information in a `Location` is the other side's choice: it is not sent.
            headers.remove(header::HOST);
            let mut request = Request::new(body);
            *request.method_mut() = method;
            *request.uri_mut() = target.uri;
            *request.headers_mut() = headers;
            *request.extensions_mut() = extensions;
            request
        }))
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

/// Reads a redirect's body, which stores it. One that is long is dropped, and not stored.
async fn drain(mut body: CacheBody) {
    let mut read: usize = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read = read.saturating_add(frame.data_ref().map_or(0, bytes::Bytes::len));
        if read > MAX_DRAINED {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Token;

    fn followed(from: &str, to: &str) -> Request<RequestBody> {
        let mut request = Request::get(from).header("authorization", "canary").header("cookie", "canary");
        request = request.header("proxy-authorization", "canary").header("x-plain", "1").header("host", "other");
        let mut request = request.body(RequestBody::default()).unwrap();
        request.extensions_mut().insert(Token);
        request.extensions_mut().insert(RequestSettings::default());
        let answer = http::Response::builder().status(308).header("location", to).body(CacheBody::empty()).unwrap();
        Kept::of(&request).follow(request.uri(), &answer).unwrap().unwrap()
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
            let next = followed(from, to);
            for name in CREDENTIALS {
                assert_eq!(next.headers().contains_key(&name), same, "{name}: {from} {to}");
            }
            assert_eq!(next.extensions().get::<Token>().is_some(), same, "{from} {to}");
            assert!(next.extensions().get::<RequestSettings>().is_some());
            assert!(next.headers().contains_key("x-plain") && !next.headers().contains_key("host"));
            assert!(!next.uri().to_string().contains('@'));
        }
    }
}
