//! What an unsafe request makes invalid (RFC 9111 section 4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::uri::{Parts, PathAndQuery};
use http::{HeaderMap, Method, StatusCode, Uri};

/// The longest `Location` that is looked at, in bytes.
const MAX_LOCATION_LEN: usize = 8 * 1024;

/// The URIs whose stored responses an exchange makes invalid: none for safe methods and for errors, else the target
/// itself and what `Location` and `Content-Location` name on the same origin.
///
/// The target is as it was given; the others are resolved against it. Fragments are dropped. What is malformed, too
/// long or of another origin is passed over.
#[must_use]
pub fn targets(method: &Method, uri: &Uri, status: StatusCode, response_headers: &HeaderMap) -> Vec<Uri> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut found = vec![uri.clone()];
    for name in [LOCATION, CONTENT_LOCATION] {
        for line in response_headers.get_all(name) {
            let named = Some(line.as_bytes()).filter(|bytes| bytes.len() <= MAX_LOCATION_LEN);
            if let Some(named) = named.and_then(|bytes| resolve(uri, bytes))
                && same_origin(uri, &named)
                && !found.contains(&named)
            {
                found.push(named);
            }
        }
    }
    found
}

/// Methods that are registered as safe. One that is not known is not safe (case 51).
fn is_safe(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "PROPFIND" | "REPORT" | "SEARCH")
}

/// Scheme, host and port are the same, a default port being one that is left out.
fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| {
        uri.port_u16().or(match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        })
    };
    match (a.host(), b.host()) {
        (Some(one), Some(other)) => a.scheme() == b.scheme() && one.eq_ignore_ascii_case(other) && port(a) == port(b),
        _ => false,
    }
}

/// Resolves a reference against an absolute URI (RFC 3986 section 5.2); `None` where either is not what it should be.
fn resolve(base: &Uri, reference: &[u8]) -> Option<Uri> {
    let reference = std::str::from_utf8(reference).ok()?;
    let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
    if !reference.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    if has_scheme(reference) {
        let absolute: Uri = reference.parse().ok()?;
        let path = without_dots(absolute.path());
        return with_path(&absolute, &path, absolute.query());
    }
    if let Some(rest) = reference.strip_prefix("//") {
        let absolute: Uri = format!("{}://{rest}", base.scheme_str()?).parse().ok()?;
        let path = without_dots(absolute.path());
        return with_path(&absolute, &path, absolute.query());
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    if path.is_empty() {
        return with_path(base, base.path(), query.or(base.query()));
    }
    if path.starts_with('/') {
        return with_path(base, &without_dots(path), query);
    }
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    with_path(base, &without_dots(&format!("{folder}/{path}")), query)
}

/// Whether a reference begins with a scheme, so that it is absolute (RFC 3986 section 4.2).
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else {
        return false;
    };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn with_path(base: &Uri, path: &str, query: Option<&str>) -> Option<Uri> {
    let path_and_query: PathAndQuery = match query {
        Some(query) => format!("{path}?{query}").parse().ok()?,
        None => path.parse().ok()?,
    };
    let mut parts = Parts::default();
    parts.scheme = base.scheme().cloned();
    parts.authority = base.authority().cloned();
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).ok()
}

/// Removes the segments `.` and `..` from an absolute path (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}
