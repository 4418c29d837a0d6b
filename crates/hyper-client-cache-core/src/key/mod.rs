//! From a request to the keys of its entries.
//!
//! A key is the SHA-256 of length-prefixed fields, so that no two different requests are written alike (cases 33 and
//! 195). Fields are taken from the request exactly as it will be sent; only what HTTP itself declares equal is made
//! equal: the case of scheme and host, and a default port that is written out. What else is to be equal says
//! [`Matching`].
//!
//! - [`Keyer::identify`]: all that counts of a request. What a lookup reads first.
//! - [`variant`]: a primary key and the header fields that `Vary` names.
//! - [`Keyer::group`]: a URL alone. Lists the primary keys that cannot be computed from the URL, for invalidation.
//! - [`Keyer::listed_by`]: what answers several URLs, because their origin says so ([`search_variance`]).
//! - [`primary`], [`group`] and [`shown_url`] are those of a request without anything but a URL, by the default.
//!
//! Credentials, secret parameters and bodies enter as keyed hashes, and never in clear.
//!
//! ```
//! use http::{HeaderMap, Method};
//! use hyper_client_cache_core::key::{self, KeyRequest, Keyer, Matching, Separation};
//!
//! let matching = Matching::default().sort_query(true);
//! let keyer = Keyer { matching: &matching, separation: Separation::default() };
//! let (one, other) = ("https://example.org/?a=1&b=2".parse().unwrap(), "https://example.org/?b=2&a=1".parse().unwrap());
//! let key = |uri| keyer.identify(&KeyRequest::new(&Method::GET, uri, &HeaderMap::new())).unwrap().primary;
//! assert_eq!(key(&one), key(&other));
//! assert_ne!(key::primary(&Method::GET, &one, None), key::primary(&Method::GET, &other, None));
//! ```

mod matching;

mod options;

mod secrets;

mod names;

mod partition;

mod shown;

mod body;

mod json;

mod multipart;

mod query;

pub(crate) mod accept;

mod fields;

mod search;

mod rekey;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use self::fields::Fields;
pub use self::matching::Matching;
pub use self::names::NamePattern;
pub use self::rekey::Rekey;
pub use self::search::search_variance;
use crate::cache::Selecting;
use crate::storage::CacheKey;

/// A keyed hash of whatever separates one caller's entries from another's.
pub type Partition = [u8; 32];

/// The key of keyed hashes where a user sets none: a constant, so that entries survive a restart.
pub const DEFAULT_SECRET: &[u8] = b"hyper-client-cache credentials 1";

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

impl Default for Separation<'_> {
    /// As by the default settings: a private cache.
    fn default() -> Self {
        Self { secret: DEFAULT_SECRET, by_hand: None, by_credentials: true, apart: None, cookies: None }
    }
}

/// A request as far as it may count in a key.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct KeyRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The URL as it is sent.
    pub uri: &'a Uri,
    /// The headers as they are sent.
    pub headers: &'a HeaderMap,
    /// The body, where the request has one.
    pub body: Option<&'a [u8]>,
}

impl<'a> KeyRequest<'a> {
    /// A request without a body.
    #[must_use]
    pub const fn new(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        Self { method, uri, headers, body: None }
    }

    /// With this body.
    #[must_use]
    pub const fn with_body(mut self, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self
    }
}

// Query, headers and body may be secrets.
impl std::fmt::Debug for KeyRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body_len = self.body.map(<[u8]>::len);
        f.debug_struct("KeyRequest").field("method", self.method).field("body_len", &body_len).finish_non_exhaustive()
    }
}

/// Which entry a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// What a lookup reads first.
    pub primary: CacheKey,
    /// Whose it is; `None` for the common partition.
    pub partition: Option<Partition>,
    /// Whether [`primary`] cannot make the key from the URL alone, so that the entry is to be listed in its [`group`].
    pub is_listed: bool,
}

/// Makes keys by the settings of a session. Costs nothing to make.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs)] // an argument list with names
pub struct Keyer<'a> {
    /// What counts of a request.
    pub matching: &'a Matching,
    /// How callers are told apart.
    pub separation: Separation<'a>,
}

impl Default for Keyer<'_> {
    fn default() -> Self {
        Self { matching: matching::default(), separation: Separation::default() }
    }
}

impl Keyer<'_> {
    /// All that counts of a request; `None` where the user's key function panicked.
    ///
    /// By the default, a request without a body costs one SHA-256 over the URL's length plus about 60 bytes, and
    /// allocates only where the host has capitals.
    #[must_use]
    pub fn identify(&self, request: &KeyRequest<'_>) -> Option<Identity> {
        self.identify_in(request, self.partition(request.headers))
    }

    /// The same, where the partition is known.
    #[must_use]
    pub fn identify_in(&self, request: &KeyRequest<'_>, partition: Option<Partition>) -> Option<Identity> {
        let options = self.matching.options();
        let overriding = self.overriding(request.headers);
        if options.fingerprint.is_none() && request.body.is_none() {
            let is_listed = partition.is_some() || !matches!(*request.method, Method::GET | Method::HEAD);
            let primary = self.of_url(request.method, request.uri, partition.as_ref());
            return Some(Identity { primary, partition, is_listed });
        }
        // Nothing of ours is left half-changed by a panic in there (case 236).
        let chosen = match &options.key_fn {
            Some(key_fn) => catch_unwind(AssertUnwindSafe(|| (key_fn.function)(request))).ok()?,
            None => None,
        };
        let mut hash = Fields::new(b"primary-2");
        hash.field(self.separation.secret);
        hash.field(request.method.as_str().as_bytes());
        hash.field(overriding.map_or(&b""[..], |value| value));
        hash.field(partition.as_ref().map_or(&b""[..], |partition| partition));
        hash.field(options.fingerprint.as_ref().map_or(&b""[..], |fingerprint| fingerprint));
        hash.number(u64::from(chosen.is_some()));
        match chosen {
            Some(chosen) => hash.field(&chosen),
            None => {
                hash.url(request.uri, &self.path_and_query(request.uri));
                self.matched_headers(&mut hash, request.headers);
                hash.number(u64::from(request.body.is_some()));
                if let Some(body) = request.body {
                    body::hash(&mut hash, request.headers, body, options);
                }
            }
        }
        Some(Identity { primary: hash.key(), partition, is_listed: true })
    }

    /// The primary key of a request with nothing but a URL, whatever else the settings say.
    #[must_use]
    pub fn of_url(&self, method: &Method, uri: &Uri, partition: Option<&Partition>) -> CacheKey {
        let mut hash = Fields::new(b"primary-1");
        hash.field(method.as_str().as_bytes());
        hash.url(uri, &self.path_and_query(uri));
        hash.field(partition.map_or(&b""[..], |partition| partition));
        self.add_secret(&mut hash, uri);
        hash.key()
    }

    /// The key of the [`Group`](crate::cache::Group) of a URL, which is the same by all settings that take the same
    /// parameters for the URL.
    #[must_use]
    pub fn group(&self, uri: &Uri) -> CacheKey {
        let mut hash = Fields::new(b"group-1");
        hash.url(uri, &self.path_and_query(uri));
        self.add_secret(&mut hash, uri);
        hash.key()
    }

    /// The path and what counts of the query.
    fn path_and_query<'u>(&self, uri: &'u Uri) -> Cow<'u, str> {
        let Some(whole) = uri.path_and_query() else { return Cow::Borrowed("/") };
        let Some(query) = whole.query() else { return Cow::Borrowed(whole.as_str()) };
        let options = self.matching.options();
        let sort = options.sort_query.unwrap_or(false);
        let counted = match &options.ignored_params {
            Some(ignored) => query::counted(query, sort, ignored),
            None if sort => query::counted(query, sort, &names::Names::default()),
            None => return Cow::Borrowed(whole.as_str()),
        };
        match counted {
            counted if counted.is_empty() && (sort || !query.is_empty()) => Cow::Borrowed(whole.path()),
            Cow::Borrowed(_) => Cow::Borrowed(whole.as_str()),
            Cow::Owned(counted) => Cow::Owned(format!("{}?{counted}", whole.path())),
        }
    }

    /// The field by which a request overrides its method, where that is believed.
    fn overriding<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        if !self.matching.believes_override() {
            return None;
        }
        OVERRIDES.iter().find_map(|name| headers.get(*name)).map(|value| value.as_bytes())
    }

    fn matched_headers(&self, hash: &mut Fields, headers: &HeaderMap) {
        let Some(matched) = &self.matching.options().match_headers else {
            return hash.number(0);
        };
        let counts =
            |name: &&HeaderName| matched.contains(name.as_str()) && !self.matching.ignores_header(name.as_str());
        let mut names: Vec<_> = headers.keys().filter(counts).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        hash.number(names.len() as u64);
        for name in names {
            hash.field(name.as_str().as_bytes());
            match accept::normalized(name.as_str(), headers.get_all(name).iter()) {
                Some(value) => {
                    hash.number(1);
                    hash.field(&value);
                }
                None => lines(hash, headers, name),
            }
        }
    }
}

/// The fields by which a request overrides its method.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// The method that a request is to be treated as having: what it says in a field that overrides it, where `matching`
/// believes that and it is a method.
#[must_use]
pub fn effective_method(method: &Method, headers: &HeaderMap, matching: &Matching) -> Method {
    let keyer = Keyer { matching, separation: Separation::default() };
    let overriding = keyer.overriding(headers).map(|value| value.trim_ascii().to_ascii_uppercase());
    overriding.and_then(|value| Method::from_bytes(&value).ok()).unwrap_or_else(|| method.clone())
}

/// The primary key of a request that has only a URL, by the default [`Matching`].
#[must_use]
pub fn primary(method: &Method, uri: &Uri, partition: Option<&Partition>) -> CacheKey {
    Keyer::default().of_url(method, uri, partition)
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

/// The key of the [`Group`](crate::cache::Group) of a URL, by the default [`Matching`].
#[must_use]
pub fn group(uri: &Uri) -> CacheKey {
    Keyer::default().group(uri)
}

/// Which partition a request belongs to by the default [`Matching`]: [`Keyer::partition`].
#[must_use]
pub fn partition(headers: &HeaderMap, separation: Separation<'_>) -> Option<Partition> {
    Keyer { separation, ..Keyer::default() }.partition(headers)
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

/// The URL as it is shown and stored by the default [`Matching`].
#[must_use]
pub fn shown_url(uri: &Uri) -> String {
    Keyer::default().shown_url(uri)
}

/// Whether `stored` is the [`shown_url`] of `uri`, or of one that counts as the same.
#[must_use]
pub fn is_shown_url(uri: &Uri, stored: &str) -> bool {
    Keyer::default().is_shown_url(uri, stored)
}

/// How many lines a field has, and each.
fn lines(hash: &mut Fields, headers: &HeaderMap, name: &HeaderName) {
    let lines = headers.get_all(name);
    hash.number(lines.iter().count() as u64);
    for line in lines {
        hash.field(line.as_bytes());
    }
}

#[cfg(test)]
mod tests;
