//! From what a person writes as a URL to what is sent.
//!
//! A URL that is already written as it is sent, as nearly all are, is parsed once and taken as it is. Everything else
//! (spaces, other scripts, dots in the path, a fragment, user information, capitals in the host) goes through the WHATWG
//! rules of the `url` crate first.

use std::fmt;

use base64::Engine as _;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Uri};

use crate::error::{Error, ErrorKind, Result};

/// What can be given as a URL: text, or a [`Uri`] that was parsed elsewhere. A relative one needs a
/// [base URL](super::SessionBuilder::base_url).
pub trait IntoUrl: sealed::Sealed {
    #[doc(hidden)]
    fn into_url(self, base: Option<&url::Url>) -> Result<Url>;
}

/// A URL as it is sent.
#[doc(hidden)]
pub struct Url {
    pub(super) uri: Uri,
    /// The user information, which is not part of what is sent as the URL.
    pub(super) authorization: Option<HeaderValue>,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Url").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl IntoUrl for &str {
    fn into_url(self, base: Option<&url::Url>) -> Result<Url> {
        parse(self, base)
    }
}

impl IntoUrl for &String {
    fn into_url(self, base: Option<&url::Url>) -> Result<Url> {
        parse(self, base)
    }
}

impl IntoUrl for String {
    fn into_url(self, base: Option<&url::Url>) -> Result<Url> {
        parse(&self, base)
    }
}

impl IntoUrl for Uri {
    fn into_url(self, base: Option<&url::Url>) -> Result<Url> {
        (&self).into_url(base)
    }
}

impl IntoUrl for &Uri {
    fn into_url(self, base: Option<&url::Url>) -> Result<Url> {
        let is_plain = matches!(self.scheme_str(), Some("http" | "https"))
            && self.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if is_plain { Ok(Url { uri: self.clone(), authorization: None }) } else { parse(&self.to_string(), base) }
    }
}

/// Makes the URL of a request that was made elsewhere one that can be sent: resolves it against `base`, and moves user
/// information to the headers, where it is a credential like any other (case 36).
pub(super) fn made_sendable<B>(mut request: Request<B>, base: Option<&url::Url>) -> Result<Request<B>> {
    let url = request.uri().into_url(base)?;
    *request.uri_mut() = url.uri;
    if let Some(credentials) = url.authorization {
        request.headers_mut().entry(AUTHORIZATION).or_insert(credentials);
    }
    Ok(request)
}

/// The URL that relative ones are resolved against.
pub(super) fn base(text: &str) -> Result<url::Url> {
    let impossible = |why| Error::new(ErrorKind::Config, format!("`base_url` {why}"));
    let url = url::Url::parse(text).map_err(|_| impossible("is no URL; give one like `https://host/path/`"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(impossible("begins with neither `http://` nor `https://`")),
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for &str {}
    impl Sealed for &String {}
    impl Sealed for String {}
    impl Sealed for http::Uri {}
    impl Sealed for &http::Uri {}
}

/// Where a `Location` leads.
#[derive(Debug, PartialEq)]
pub(super) enum Target {
    /// To what can be asked for by `http` or `https`.
    Web(Uri),
    /// To another scheme, as with `myapp://callback`.
    Other(Uri),
    /// It is no URL, or one that a [`Uri`] cannot say, as with `mailto:`.
    Unknown,
}

/// Resolves `location` against `base` (RFC 9110 section 10.2.2).
pub(super) fn resolve(base: &Uri, location: &[u8]) -> Target {
    let joined = || url::Url::parse(&base.to_string()).ok()?.join(std::str::from_utf8(location).ok()?).ok();
    let Some(target) = joined() else { return Target::Unknown };
    if let Ok(url) = from_whatwg(target.clone()) {
        return Target::Web(url.uri);
    }
    match target.as_str().parse::<Uri>() {
        // Without a scheme it was taken for something else.
        Ok(uri) if uri.scheme_str() == Some(target.scheme()) => Target::Other(uri),
        _ => Target::Unknown,
    }
}

fn parse(text: &str, base: Option<&url::Url>) -> Result<Url> {
    if is_as_sent(text) {
        let uri = text.parse().map_err(|_| invalid("the URL"))?;
        return Ok(Url { uri, authorization: None });
    }
    match url::Url::options().base_url(base).parse(text) {
        Ok(url) => from_whatwg(url),
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            // What follows the path may be a secret, and so may what stands before an `@`.
            let shown = text.split(['?', '#']).next().filter(|path| !path.contains('@')).unwrap_or_default();
            let problem = format!("the URL `{shown}` is relative and the session has no `base_url`");
            Err(Error::new(ErrorKind::Request, problem))
        }
        Err(error) => Err(invalid("the URL").with_source(error)),
    }
}

fn from_whatwg(mut url: url::Url) -> Result<Url> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::new(ErrorKind::Request, "the URL's scheme is neither `http` nor `https`"));
    }
    url.set_fragment(None);
    let authorization = authorization(&url)?;
    if authorization.is_some() {
        // Neither can fail for these schemes.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    let uri = url.as_str().parse().map_err(|_| invalid("the URL"))?;
    Ok(Url { uri, authorization })
}

fn authorization(url: &url::Url) -> Result<Option<HeaderValue>> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decode = |text| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair)))
        .map_err(|_| invalid("the URL's user information"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::Request, format!("{what} is not valid"))
}

/// Whether the WHATWG rules would leave `text` as it is, judged strictly: one pass, nothing allocated.
fn is_as_sent(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let bytes = rest.as_bytes();
    let host_len = bytes.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(bytes.len());
    let (host, path) = bytes.split_at(host_len);
    let plain_host = host.first().is_some_and(u8::is_ascii_alphanumeric)
        && host.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b':'))
        && !host.ends_with(b":");
    // A path that is missing before a query, or with dots between slashes, would be rewritten.
    let plain_path = path.first() != Some(&b'?')
        && path.iter().all(|byte| {
            matches!(byte, b'!' | b'$' | b'%' | b'&' | b'('..=b';' | b'=' | b'?'..=b'[' | b']' | b'_' | b'a'..=b'z' | b'~')
        })
        && !path.windows(2).any(|pair| pair == b"/.")
        && !path.windows(2).any(|pair| pair == b"/%");
    plain_host && plain_path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> String {
        parse(text, None).unwrap().uri.to_string()
    }

    #[test]
    fn what_is_written_as_sent_is_taken_as_it_is() {
        for text in [
            "http://host/",
            "https://host:8443/a/b?c=d&e=%20f",
            "http://127.0.0.1:80/a;b=c?d[]=1",
            "http://host/a//b?x=/y/./z",
        ] {
            assert!(is_as_sent(text) || text.contains("/."), "{text}");
            assert_eq!(sent(text), text);
            let whatwg = url::Url::parse(text).unwrap();
            if !text.contains(":80/") {
                assert_eq!(whatwg.as_str(), text, "the short way agrees with the long one");
            }
        }
    }

    #[test]
    fn everything_else_is_made_sendable() {
        assert_eq!(sent("HTTP://Host"), "http://host/");
        assert_eq!(sent("http://host/a b"), "http://host/a%20b");
        assert_eq!(sent("http://host/ä"), "http://host/%C3%A4");
        assert_eq!(sent("http://bücher.example/"), "http://xn--bcher-kva.example/");
        assert_eq!(sent("http://host/a/../b#fragment"), "http://host/b");
        assert_eq!(sent("http://host?a"), "http://host/?a");
    }

    /// Case 36: user information becomes a header and is gone from the URL.
    #[test]
    fn user_information_becomes_a_header() {
        let url = parse("http://user:p%40ss@host/a", None).unwrap();
        assert_eq!(url.uri.to_string(), "http://host/a");
        let value = url.authorization.unwrap();
        assert_eq!(value.as_bytes(), b"Basic dXNlcjpwQHNz");
        assert!(!format!("{value:?}").contains("dXNl"));
    }

    #[test]
    fn what_is_no_url_is_an_error_that_does_not_repeat_it() {
        for text in [
            "",
            "host",
            "/relative",
            "ftp://host/",
            "http://",
            "http://u:canary@",
            "javascript:canary",
            "http://[::canary/",
        ] {
            let error = parse(text, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Request);
            assert!(!format!("{error} {error:?}").contains("canary"), "{text}");
        }
    }

    #[test]
    fn a_relative_url_needs_a_base_and_says_so() {
        let base = base("https://u:word@host/api/v1/").unwrap();
        for (text, target) in [
            ("items?q=1", "https://host/api/v1/items?q=1"),
            ("/items", "https://host/items"),
            ("", "https://host/api/v1/"),
            ("?q", "https://host/api/v1/?q"),
            ("//other/x", "https://other/x"),
            ("http://other/x", "http://other/x"),
        ] {
            let url = parse(text, Some(&base)).unwrap();
            assert_eq!(url.uri.to_string(), target);
            assert_eq!(url.authorization.is_some(), !target.contains("other"), "{text}");
        }
        let error = parse("/items?canary", None).unwrap_err().to_string();
        assert!(error.contains("`/items`") && error.contains("`base_url`") && !error.contains("canary"), "{error}");
        assert!(!parse("u:canary@host/", None).unwrap_err().to_string().contains("canary"));
    }

    #[test]
    fn a_location_is_resolved_against_its_request() {
        let base: Uri = "http://host/a/b?c".parse().unwrap();
        for (location, target) in [
            ("d", "http://host/a/d"),
            ("/d", "http://host/d"),
            ("//other/d", "http://other/d"),
            ("https://other/", "https://other/"),
            ("?e", "http://host/a/b?e"),
        ] {
            assert_eq!(resolve(&base, location.as_bytes()), Target::Web(target.parse().unwrap()));
        }
        assert_eq!(resolve(&base, b"myapp://callback?a=b"), Target::Other("myapp://callback?a=b".parse().unwrap()));
        for unknown in [&b"javascript:alert(1)"[..], b"mailto:me@host", b"urn:a:b", b"http://[", b"\xff"] {
            assert_eq!(resolve(&base, unknown), Target::Unknown, "{}", unknown.escape_ascii());
        }
    }
}
