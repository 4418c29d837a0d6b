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
                && !found.contains(&named)
            {
                found.push(named);
            }
        }
    }
    found
}

/// Whether a method is registered as safe. One that is not known is not safe (case 51).
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "PROPFIND" | "REPORT" | "SEARCH")
}

/// Resolves a reference against an absolute URI (RFC 3986 section 5.2); `None` where either is not what it should be or
/// the result is of another origin. The result has scheme and authority as the base spells them.
fn resolve(base: &Uri, reference: &[u8]) -> Option<Uri> {
    let reference = std::str::from_utf8(reference).ok()?;
    let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
    if !reference.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let absolute: Option<Uri> = if has_scheme(reference) {
        Some(reference.parse().ok()?)
    } else if let Some(rest) = reference.strip_prefix("//") {
        Some(format!("{}://{rest}", base.scheme_str()?).parse().ok()?)
    } else {
        None
    };
    if let Some(absolute) = absolute {
        return same_origin(base, &absolute)
            .then(|| with_path(base, &without_dots(absolute.path()), absolute.query()))
            .flatten();
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
    if path.split('/').next().is_some_and(|first| first.contains(':')) {
        return None;
    }
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    with_path(base, &without_dots(&format!("{folder}/{path}")), query)
}

/// Scheme, host and port are the same, a default port being one that is left out.
fn same_origin(a: &Uri, b: &Uri) -> bool {
    let scheme = |uri: &Uri| uri.scheme_str().map(str::to_ascii_lowercase);
    let port = |uri: &Uri| {
        uri.port_u16().or(match scheme(uri).as_deref() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        })
    };
    let same_host = match (a.host(), b.host()) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => false,
    };
    same_host && scheme(a) == scheme(b) && port(a) == port(b)
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn found(method: &str, status: u16, lines: &[(http::HeaderName, &[u8])]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.clone(), HeaderValue::from_bytes(value).unwrap());
        }
        let uri = Uri::from_static("https://Example.org:443/shop/cart?id=1");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        targets(&method, &uri, status, &headers).iter().map(ToString::to_string).collect()
    }

    fn located(location: &str) -> Option<String> {
        let found = found("POST", 201, &[(LOCATION, location.as_bytes())]);
        assert_eq!(found[0], "https://Example.org:443/shop/cart?id=1");
        assert!(found.len() <= 2);
        found.get(1).cloned()
    }

    /// Case 51 (the target): whatever is not known to be safe invalidates.
    #[test]
    fn an_unsafe_method_invalidates_its_target() {
        for method in ["POST", "PUT", "PATCH", "DELETE", "FROBNICATE", "get"] {
            for status in [200, 201, 204, 301, 303] {
                assert_eq!(found(method, status, &[]).len(), 1, "{method} {status}");
            }
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"] {
            assert!(found(method, 200, &[(LOCATION, b"/x")]).is_empty(), "{method}");
        }
    }

    /// Case 52: an error invalidates nothing.
    #[test]
    fn an_error_invalidates_nothing() {
        for status in [100, 400, 404, 412, 500, 503, 599, 999] {
            assert!(found("POST", status, &[(LOCATION, b"/x")]).is_empty(), "{status}");
        }
    }

    /// Case 53: another scheme, host or port is none of this origin's business.
    #[test]
    fn another_origin_is_passed_over() {
        for location in [
            "http://example.org/x",
            "https://example.com/x",
            "https://sub.example.org/x",
            "https://example.org:444/x",
            "//example.com/x",
            "https://example.org@example.com/x",
        ] {
            assert_eq!(located(location), None, "{location}");
        }
    }

    /// Case 54: references of every form are resolved.
    #[test]
    fn the_same_origin_is_invalidated_too() {
        let origin = "https://Example.org:443";
        for (location, path) in [
            ("/orders/7", "/orders/7"),
            ("/orders/7#top", "/orders/7"),
            ("orders/7", "/shop/orders/7"),
            ("../orders/./7", "/orders/7"),
            ("../../../orders/..", "/"),
            ("./", "/shop/"),
            ("?id=2", "/shop/cart?id=2"),
            ("x?y=a:b", "/shop/x?y=a:b"),
            ("https://example.org/orders?a=b#c", "/orders?a=b"),
            ("HTTPS://EXAMPLE.ORG:443/a/../b", "/b"),
            ("//example.org/x", "/x"),
            ("https://example.org", "/"),
        ] {
            assert_eq!(located(location), Some(format!("{origin}{path}")), "{location}");
        }
        assert_eq!(
            found("PUT", 200, &[(LOCATION, b"/a"), (CONTENT_LOCATION, b"/b"), (CONTENT_LOCATION, b"/a")])[1..],
            [format!("{origin}/a"), format!("{origin}/b")]
        );
        // The target itself is not named twice.
        assert_eq!(located("#fragment"), None);
        assert_eq!(located(""), None);
    }

    /// Case 55: what is no reference is passed over.
    #[test]
    fn a_malformed_location_is_passed_over() {
        let long = format!("/{}", "x".repeat(64 * 1024));
        for location in [
            "javascript:alert(1)",
            "https://",
            "https://[/",
            "/a b",
            "\t/x\ty",
            ":",
            "1:2",
            "/\u{e9}",
            "mailto:a@b",
            &long,
        ] {
            assert_eq!(located(location), None, "{}", location.get(..20.min(location.len())).unwrap_or_default());
        }
        assert_eq!(found("POST", 200, &[(LOCATION, b"/\xff")]).len(), 1);
    }

    #[test]
    fn a_target_without_an_origin_names_only_itself() {
        let mut headers = HeaderMap::new();
        headers.append(LOCATION, HeaderValue::from_static("https://example.org/x"));
        let uri = Uri::from_static("/x");
        assert_eq!(targets(&Method::POST, &uri, StatusCode::OK, &headers), [uri]);
    }
}
