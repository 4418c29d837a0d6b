//! The request for the next hop of a redirect, made of what was kept of the last one.

use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri, header};

use crate::error::{Error, ErrorKind, Result};
use crate::policy::RequestSettings;
use crate::session::Inner;
use crate::session::response::Sent;
use crate::transport::RequestBody;

/// What describes a body that a redirect drops.
const ABOUT_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::TRANSFER_ENCODING,
];

/// What of a request is needed after it was sent.
pub(super) struct Kept {
    method: Method,
    headers: HeaderMap,
    extensions: http::Extensions,
    body: Option<RequestBody>,
}

impl Kept {
    pub(super) fn of(request: &Request<RequestBody>) -> Self {
        Self {
            method: request.method().clone(),
            headers: request.headers().clone(),
            extensions: request.extensions().clone(),
            body: request.body().try_clone(),
        }
    }

    pub(super) fn sent(self, url: Uri) -> Sent {
        Sent { method: self.method, url, headers: self.headers }
    }

    /// The request for `target`, to which a response of `status` from `uri` redirects.
    pub(super) fn follow(
        self,
        uri: &Uri,
        target: Uri,
        status: StatusCode,
        inner: &Inner,
    ) -> Result<Request<RequestBody>> {
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

/// Whether scheme, host and port are the same.
pub(super) fn is_same_origin(one: &Uri, other: &Uri) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::url::{Target, resolve};
    use crate::session::{CachedSession, SessionBuilder};

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
        let Target::Web(target) = resolve(request.uri(), to.as_bytes()) else { panic!("{to}") };
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
