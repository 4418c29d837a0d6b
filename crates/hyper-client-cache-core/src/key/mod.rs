//! From a request to the keys of its entries.
//!
//! A key is the SHA-256 of length-prefixed fields, so that no two different requests are written alike (cases 33 and
//! 195). Fields are taken from the request exactly as it will be sent; only what HTTP itself declares equal is made
//! equal: the case of scheme and host, and a default port that is written out.
//!
//! - [`primary`]: method, URL and partition. What a lookup reads first.
//! - [`variant`]: a primary key and the header fields that `Vary` names.
//! - [`group`]: a URL alone. Lists the primary keys that cannot be computed from the URL, for invalidation.
//!
//! Credentials enter as keyed hashes, here and in [`partition`], and never in clear.

use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use sha2::{Digest, Sha256};

use crate::cache::Selecting;
use crate::storage::CacheKey;

/// A keyed hash of whatever separates one caller's entries from another's.
pub type Partition = [u8; 32];

/// The key under which the answer to a request is looked up first.
///
/// Costs one SHA-256 over the URL's length plus about 60 bytes; allocates only where the host has capitals.
#[must_use]
pub fn primary(method: &Method, uri: &Uri, partition: Option<&Partition>) -> CacheKey {
    let mut hash = Fields::new(b"primary-1");
    hash.field(method.as_str().as_bytes());
    hash.url(uri);
    match partition {
        Some(partition) => hash.field(partition),
        None => hash.field(b""),
    }
    hash.key()
}

/// The key of one variant under `primary`.
#[must_use]
pub fn variant(primary: &CacheKey, selecting: &[Selecting]) -> CacheKey {
    let mut hash = Fields::new(b"variant-1");
    hash.field(primary.as_bytes());
    for field in selecting {
        hash.field(field.name.as_bytes());
        hash.number(field.values.len() as u64);
        for value in &field.values {
            hash.field(value);
        }
    }
    hash.key()
}

/// The key of the [`Group`](crate::cache::Group) of a URL.
#[must_use]
pub fn group(uri: &Uri) -> CacheKey {
    let mut hash = Fields::new(b"group-1");
    hash.url(uri);
    hash.key()
}

/// How callers are told apart: what the settings say about it.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs)] // an argument list with names
pub struct Separation<'a> {
    /// The key of the hashes in which credentials enter.
    pub secret: &'a [u8],
    /// A partition set by hand.
    pub by_hand: Option<&'a str>,
    /// Whether each set of credentials has a partition of its own.
    pub by_credentials: bool,
    /// What separates all requests of a session from those of others, whatever they are: whom it trusts (case 72), and
    /// its cookie jar.
    pub apart: Option<&'a Partition>,
    /// The `Cookie` lines that count, where not all of the request's do: those that the caller set, not a cookie jar.
    pub cookies: Option<&'a [HeaderValue]>,
}

/// Which partition a request belongs to; `None` for the common one.
///
/// In a private cache, requests with an `Authorization` or `Cookie` field each have a partition by their values
/// (cases 4, 5, 7). In a shared cache the response's directives decide (RFC 9111 section 3.5), so credentials do not
/// separate there. A partition set by hand separates in both.
#[must_use]
pub fn partition(headers: &HeaderMap, separation: Separation<'_>) -> Option<Partition> {
    let of_request: Vec<_>;
    let cookies = match separation.cookies {
        Some(lines) => lines,
        None if headers.contains_key(header::COOKIE) => {
            of_request = headers.get_all(header::COOKIE).iter().cloned().collect();
            &of_request
        }
        None => &[],
    };
    let has_credentials =
        separation.by_credentials && (headers.contains_key(header::AUTHORIZATION) || !cookies.is_empty());
    if separation.by_hand.is_none() && !has_credentials {
        return separation.apart.copied();
    }
    let mut hash = Fields::new(b"partition-1");
    hash.field(separation.secret);
    hash.number(u64::from(separation.by_hand.is_some()));
    hash.field(separation.by_hand.unwrap_or_default().as_bytes());
    if has_credentials {
        let authorization = headers.get_all(header::AUTHORIZATION);
        hash.number(authorization.iter().count() as u64);
        authorization.iter().for_each(|line| hash.field(line.as_bytes()));
        hash.number(cookies.len() as u64);
        cookies.iter().for_each(|line| hash.field(line.as_bytes()));
    }
    if let Some(apart) = separation.apart {
        hash.field(apart);
    }
    Some(hash.digest())
}

/// The keyed hash that stands for a secret value where it selects a variant (case 8).
#[must_use]
pub fn hash_secret(secret: &[u8], name: &str, value: &[u8]) -> Vec<u8> {
    let mut hash = Fields::new(b"selecting-1");
    hash.field(secret);
    hash.field(name.as_bytes());
    hash.field(value);
    hash.digest().to_vec()
}

/// The URL as it is shown and stored: without user information.
#[must_use]
pub fn shown_url(uri: &Uri) -> String {
    let mut text = String::with_capacity(64);
    for piece in shown_pieces(uri) {
        text.push_str(piece);
    }
    text
}

/// Whether `stored` is the [`shown_url`] of `uri`. Compares in place.
#[must_use]
pub fn is_shown_url(uri: &Uri, stored: &str) -> bool {
    let mut rest = stored;
    for piece in shown_pieces(uri) {
        match rest.strip_prefix(piece) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

fn shown_pieces(uri: &Uri) -> [&str; 4] {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let separator = if uri.scheme().is_some() { "://" } else { "" };
    [uri.scheme_str().unwrap_or(""), separator, host_and_port, uri.path_and_query().map_or("/", |path| path.as_str())]
}

/// A hash over fields that each begin with their length.
struct Fields(Sha256);

impl Fields {
    fn new(domain: &[u8]) -> Self {
        let mut fields = Self(Sha256::new());
        fields.field(domain);
        fields
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn url(&mut self, uri: &Uri) {
        let scheme = uri.scheme().unwrap_or(&Scheme::HTTP);
        self.field(scheme.as_str().as_bytes());
        let host = uri.host().unwrap_or("");
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.field(host.to_ascii_lowercase().as_bytes());
        } else {
            self.field(host.as_bytes());
        }
        let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        self.number(u64::from(uri.port_u16().unwrap_or(default_port)));
        // User information is a credential: different ones never share (case 36).
        let userinfo =
            uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map_or("", |(user, _)| user);
        self.field(userinfo.as_bytes());
        self.field(uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    }

    fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    fn key(self) -> CacheKey {
        CacheKey::from_digest(self.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str) -> CacheKey {
        primary(&Method::GET, &url.parse().unwrap(), None)
    }

    /// Case 35.
    #[test]
    fn scheme_host_and_port_separate_and_a_default_port_does_not() {
        assert_eq!(key("http://host/"), key("http://host:80/"));
        assert_eq!(key("https://host/"), key("https://host:443/"));
        assert_eq!(key("http://HOST/"), key("http://host/"));
        let different = ["http://host/", "https://host/", "http://other/", "http://host:443/", "https://host:80/"];
        all_differ(&different);
    }

    /// Cases 37 and 38: the bytes as sent decide.
    #[test]
    fn path_and_query_are_taken_as_sent() {
        all_differ(&[
            "http://host/a/../b",
            "http://host/b",
            "http://host/%2e%2e/b",
            "http://host//b",
            "http://host/%7Eb",
            "http://host/%7eb",
            "http://host/~b",
            "http://host/b?",
            "http://host/b?a=1;b=2",
            "http://host/b?a=1&b=2",
            "http://host/b?a[]=1",
            "http://host/b?a",
            "http://host/b?a=",
            "http://host/b?a=1&a=2",
        ]);
        assert_eq!(key("http://host"), key("http://host/"));
    }

    /// Case 33: equal when concatenated, different when split.
    #[test]
    fn fields_cannot_be_moved_from_one_to_the_next() {
        let name = Selecting::new("a", vec![b"x:b=y".to_vec()]);
        let both = [Selecting::new("a", vec![b"x".to_vec()]), Selecting::new("b", vec![b"y".to_vec()])];
        let base = key("http://host/");
        assert_ne!(variant(&base, &[name]), variant(&base, &both));
        let one = [Selecting::new("a", vec![b"xy".to_vec()])];
        let two = [Selecting::new("a", vec![b"x".to_vec(), b"y".to_vec()])];
        assert_ne!(variant(&base, &one), variant(&base, &two));
        assert_ne!(
            variant(&base, &[Selecting::new("a", vec![])]),
            variant(&base, &[Selecting::new("a", vec![vec![]])]),
            "absent and empty (case 40)"
        );
    }

    /// Case 36.
    #[test]
    fn user_information_separates_and_is_never_shown() {
        all_differ(&["http://u:p@host/", "http://u:q@host/", "http://host/"]);
        let uri: Uri = "http://u:canary@host:8080/a?b".parse().unwrap();
        assert_eq!(shown_url(&uri), "http://host:8080/a?b");
        assert!(is_shown_url(&uri, "http://host:8080/a?b"));
        assert!(!is_shown_url(&uri, "http://host:8080/a?bc"));
        assert!(!is_shown_url(&uri, "http://host:8080/a"));
    }

    /// Cases 4, 5 and 7.
    #[test]
    fn credentials_separate_in_a_private_cache() {
        let separation =
            Separation { secret: b"secret", by_hand: None, by_credentials: true, apart: None, cookies: None };
        let with = |name, value| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            partition(&headers, separation)
        };
        let seen = [
            partition(&HeaderMap::new(), separation),
            with(header::AUTHORIZATION, "a"),
            with(header::AUTHORIZATION, "b"),
            with(header::AUTHORIZATION, ""),
            with(header::COOKIE, "a"),
        ];
        for (at, one) in seen.iter().enumerate() {
            assert!(seen.iter().skip(at + 1).all(|other| other != one));
        }
    }

    /// Case 72: what keeps a session apart does so with and without credentials and a partition by hand.
    #[test]
    fn a_session_that_is_apart_shares_nothing() {
        let mut headers = HeaderMap::new();
        let mut seen = Vec::new();
        for apart in [None, Some(&[1; 32]), Some(&[2; 32])] {
            for by_hand in [None, Some("by hand")] {
                headers.clear();
                seen.push(partition(
                    &headers,
                    Separation { secret: b"s", by_hand, by_credentials: true, apart, cookies: None },
                ));
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static("a"));
                seen.push(partition(
                    &headers,
                    Separation { secret: b"s", by_hand, by_credentials: true, apart, cookies: None },
                ));
            }
        }
        for (at, one) in seen.iter().enumerate() {
            assert!(seen.iter().skip(at + 1).all(|other| other != one));
        }
    }

    fn all_differ(urls: &[&str]) {
        for (at, one) in urls.iter().enumerate() {
            for other in urls.iter().skip(at + 1) {
                assert_ne!(key(one), key(other), "{one} {other}");
            }
        }
    }
}
