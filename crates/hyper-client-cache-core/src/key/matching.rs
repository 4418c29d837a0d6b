//! What a user may say about which requests are answered by the same entry: plain data, checked by
//! [`Matching::validate`].
//!
//! Read next: [`Keyer`](super::Keyer), which makes keys by it.

use std::fmt;
use std::sync::{Arc, LazyLock};

use super::KeyRequest;
use super::names::{NamePattern, Names};
use super::options::{KeyFn, Options};
use super::secrets::{is_usual_header, is_usual_param};
use crate::error::{Error, ErrorKind, Result};

/// The longest request body that is part of a key by default, in bytes.
const MAX_KEYED_BODY: u64 = 64 * 1024;

/// Which requests are answered by the same entry.
///
/// By default those with the same method, the same URL byte by byte as it is sent, the same credentials and, where the
/// method is allowed and has a body, the same body. Every option that merges more requests than that, or tells more of
/// them apart, is asked for by name here; what reaches the origin is the same with and without it.
///
/// All options that change which requests are merged are part of each key: an entry that was stored under other options
/// is not found.
/// Cheap to clone. An option that is not set is taken from what is less specific: the request's from the URL rule's,
/// that from the session's, that from the default ([`over`](Self::over)).
///
/// ```
/// use hyper_client_cache_core::key::Matching;
///
/// let matching = Matching::default()
///     .sort_query(true)
///     .ignored_params(["utm_*", "request_id"])
///     .match_headers(["accept-language"]);
/// assert!(matching.validate().is_ok());
/// ```
#[derive(Clone, Default)]
pub struct Matching(Arc<Options>);

impl Matching {
    /// Whether the order of parameters with different names in a query or a form does not count. Parameters of one name
    /// keep their order, empty ones (`?`, `a=1&`) do not count, and escapes are left as they are. Default: `false`, for
    /// an origin can tell the orders apart.
    #[must_use]
    pub fn sort_query(self, on: bool) -> Self {
        self.change(|options| options.sort_query = Some(on))
    }

    /// Parameters that do not count: of the query, of a form, parts of a multipart body by name, and members of JSON at
    /// any depth. Names are compared decoded, case counts. Their values are not shown or stored either, as those of
    /// [`secret_params`](Self::secret_params). Default: none.
    ///
    /// Whoever differs in an ignored parameter only is answered by the same entry. For what tells callers apart, use
    /// `secret_params`.
    #[must_use]
    pub fn ignored_params(self, names: impl IntoIterator<Item = impl Into<NamePattern>>) -> Self {
        let names = Names::new(names, false);
        self.change(|options| options.ignored_params = Some(names))
    }

    /// Request header fields that do not count: neither for [`match_headers`](Self::match_headers) nor where a response
    /// names them in `Vary`. A credential counts all the same, unless
    /// [`separate_credentials`](Self::separate_credentials) is off. Default: none.
    #[must_use]
    pub fn ignored_headers(self, names: impl IntoIterator<Item = impl Into<NamePattern>>) -> Self {
        let names = Names::new(names, true);
        self.change(|options| options.ignored_headers = Some(names))
    }

    /// Request header fields that count, whatever a response says about them; `"*"` is all of them. A field that is
    /// absent is not one that is empty. Default: none but those of `Vary`.
    #[must_use]
    pub fn match_headers(self, names: impl IntoIterator<Item = impl Into<NamePattern>>) -> Self {
        let names = Names::new(names, true);
        self.change(|options| options.match_headers = Some(names))
    }

    /// More parameters whose values are secret: they count, as a keyed hash, and are never shown or stored. Names are
    /// compared however they are escaped, without regard to case. Default: none but the usual ones, such as `api_key`,
    /// `access_token` and `password`, which always are.
    #[must_use]
    pub fn secret_params(self, names: impl IntoIterator<Item = impl Into<NamePattern>>) -> Self {
        let names = Names::new(names, true);
        self.change(|options| options.secret_params = Some(names))
    }

    /// More request header fields that are credentials: callers who differ in one never share an entry, and values are
    /// stored as keyed hashes only, where `Vary` names one (cases 6 and 8). Unlike `Authorization` they separate in a
    /// shared cache too, where no directive would. Default: none but `Authorization`, `Proxy-Authorization`, `Cookie`,
    /// `X-API-Key`, `X-Auth-Token` and a few like them, which always are.
    #[must_use]
    pub fn secret_headers(self, names: impl IntoIterator<Item = impl Into<NamePattern>>) -> Self {
        let names = Names::new(names, true);
        self.change(|options| options.secret_headers = Some(names))
    }

    /// These names besides those that are set.
    #[cfg(feature = "client")]
    pub(crate) fn more_secret_headers(self, names: &[http::HeaderName]) -> Self {
        if names.is_empty() {
            return self;
        }
        let set = self.0.secret_headers.as_ref().map(|names| names.written().to_vec()).unwrap_or_default();
        self.secret_headers(set.into_iter().chain(names.iter().cloned().map(NamePattern::from)))
    }

    /// Whether callers with different credentials have different entries. Default: `true`. With `false`, whoever uses
    /// the session is given what anybody has fetched with it, unless a response's `Vary` prevents that.
    #[must_use]
    pub fn separate_credentials(self, on: bool) -> Self {
        self.change(|options| options.separate_credentials = Some(on))
    }

    /// The longest request body that can be part of a key, in bytes. A request with a longer one bypasses the cache.
    /// Default: 64 KiB.
    #[must_use]
    pub fn max_keyed_body(self, limit: u64) -> Self {
        self.change(|options| options.max_keyed_body = Some(limit))
    }

    /// Whether a request with `X-HTTP-Method-Override`, `X-HTTP-Method` or `X-Method-Override` is taken for one with
    /// that method. It still shares no entry with one that has the method by itself, for an origin may not know the
    /// field. Default: `false`: it bypasses the cache and invalidates (case 31).
    #[must_use]
    pub fn method_override(self, on: bool) -> Self {
        self.change(|options| options.method_override = Some(on))
    }

    /// Whether an origin is believed that says in `No-Vary-Search` which parameters of a query do not matter
    /// (draft-ietf-httpbis-no-vary-search): a response with it answers URLs that differ in nothing else. A secret
    /// parameter counts all the same, and so does a query with a `;` in it as a whole. Default: `false`.
    ///
    /// It is about GET and HEAD, and not where a [`key_fn`](Self::key_fn) decides. What is stored under its own URL is
    /// found as without this; only where nothing is does it cost up to three reads more. It is no part of a key: entries
    /// are the same with and without.
    #[must_use]
    pub fn no_vary_search(self, on: bool) -> Self {
        self.change(|options| options.no_vary_search = Some(on))
    }

    /// Makes keys in the place of URL, headers and body. What `function` returns is hashed, together with the method and
    /// the partition, so that callers are kept apart all the same; `None` is the key that the request has by itself.
    ///
    /// `name` stands for the function in each key: give another when the function changes, so that nothing is found
    /// that an earlier one has stored. A function that panics lets only that request bypass the cache. Default: none.
    ///
    /// ```
    /// use hyper_client_cache_core::key::Matching;
    ///
    /// // One entry for all hosts of a pool.
    /// let matching = Matching::default().key_fn("path-1", |request| Some(request.uri.path().into()));
    /// ```
    #[must_use]
    pub fn key_fn(
        self,
        name: impl Into<String>,
        function: impl Fn(&KeyRequest<'_>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let key_fn = KeyFn { name: name.into(), function: Arc::new(function) };
        self.change(|options| options.key_fn = Some(key_fn))
    }

    /// Separates entries from those of other partitions. Default: that of the settings.
    #[must_use]
    pub fn partition(self, partition: impl Into<String>) -> Self {
        let partition = partition.into();
        self.change(|options| options.partition = Some(partition))
    }

    /// What of the way to the origin counts, such as that certificates are not checked (case 72): entries that were
    /// fetched in another way are not found. Default: nothing.
    #[must_use]
    pub fn transport(self, way: impl Into<String>) -> Self {
        let way = way.into();
        self.change(|options| options.transport = Some(way))
    }

    /// These options, and those of `base` where they are not set. Allocates only where both have some.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        if self.0.is_unset() || Arc::ptr_eq(&self.0, &base.0) {
            return base.clone();
        }
        if base.0.is_unset() {
            return self.clone();
        }
        let merged = self.0.over(&base.0);
        Self::default().change(|options| *options = merged)
    }

    /// Checks that the options are possible.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the first option that is not.
    pub fn validate(&self) -> Result<()> {
        let options = &*self.0;
        for (names, setting) in [
            (&options.ignored_params, "ignored_params"),
            (&options.ignored_headers, "ignored_headers"),
            (&options.match_headers, "match_headers"),
            (&options.secret_params, "secret_params"),
            (&options.secret_headers, "secret_headers"),
        ] {
            names.as_ref().map_or(Ok(()), |names| names.check(setting))?;
        }
        let problem = if options.partition.as_deref() == Some("") {
            "`partition` is empty; name one, or leave it out"
        } else if options.max_keyed_body == Some(0) {
            "`max_keyed_body` is 0; leave the methods with bodies out of `allowed_methods` instead"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Config, problem))
    }

    /// The longest request body that can be part of a key, in bytes.
    #[must_use]
    pub fn body_limit(&self) -> u64 {
        self.0.max_keyed_body.unwrap_or(MAX_KEYED_BODY)
    }

    /// Whether fields that override the method are believed.
    #[must_use]
    pub fn believes_override(&self) -> bool {
        self.0.method_override.unwrap_or(false)
    }

    /// Whether [`no_vary_search`](Self::no_vary_search) is on.
    #[must_use]
    pub fn believes_no_vary_search(&self) -> bool {
        self.0.no_vary_search.unwrap_or(false)
    }

    /// Whether fields that override the method are believed, where that is set at all.
    #[must_use]
    pub(crate) fn method_override_option(&self) -> Option<bool> {
        self.0.method_override
    }

    /// Whether a request header field is left out wherever fields are compared.
    #[must_use]
    pub fn ignores_header(&self, name: &str) -> bool {
        self.0.ignored_headers.as_ref().is_some_and(|names| names.contains(name))
            && !(self.0.separate_credentials.unwrap_or(true) && self.is_secret_header(name))
    }

    /// Whether a request header field, in lower case, is a credential.
    #[must_use]
    pub fn is_secret_header(&self, name: &str) -> bool {
        is_usual_header(name) || self.0.secret_headers.as_ref().is_some_and(|names| names.contains(name))
    }

    /// Whether the value of a parameter is not shown: its name as it is decoded.
    pub(super) fn hides_param(&self, name: &str) -> bool {
        self.is_secret_param(name) || self.0.ignored_params.as_ref().is_some_and(|names| names.contains(name))
    }

    pub(super) fn is_secret_param(&self, name: &str) -> bool {
        is_usual_param(name) || self.0.secret_params.as_ref().is_some_and(|names| names.contains(name))
    }

    pub(super) fn options(&self) -> &Options {
        &self.0
    }

    fn change(self, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Arc::unwrap_or_clone(self.0);
        change(&mut options);
        options.fingerprint = options.fingerprint();
        Self(Arc::new(options))
    }
}

/// The options of who sets none.
pub(super) fn default() -> &'static Matching {
    static DEFAULT: LazyLock<Matching> = LazyLock::new(Matching::default);
    &DEFAULT
}

/// Two are equal when they merge, separate and hide the same. Functions are told apart by their names.
impl PartialEq for Matching {
    fn eq(&self, other: &Self) -> bool {
        let names = |names: &Option<Names>| names.as_ref().map(|names| names.written().to_vec());
        let (a, b) = (&*self.0, &*other.0);
        Arc::ptr_eq(&self.0, &other.0)
            || (a.fingerprint == b.fingerprint
                && names(&a.secret_params) == names(&b.secret_params)
                && names(&a.secret_headers) == names(&b.secret_headers)
                && a.max_keyed_body == b.max_keyed_body
                && a.no_vary_search == b.no_vary_search
                && a.partition == b.partition)
    }
}

impl Eq for Matching {}

impl fmt::Debug for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &Option<Names>| names.as_ref().map(|names| names.written().to_vec());
        let options = &*self.0;
        f.debug_struct("Matching")
            .field("sort_query", &options.sort_query)
            .field("ignored_params", &names(&options.ignored_params))
            .field("ignored_headers", &names(&options.ignored_headers))
            .field("match_headers", &names(&options.match_headers))
            .field("secret_params", &names(&options.secret_params))
            .field("secret_headers", &names(&options.secret_headers))
            .field("separate_credentials", &options.separate_credentials)
            .field("max_keyed_body", &options.max_keyed_body)
            .field("method_override", &options.method_override)
            .field("no_vary_search", &options.no_vary_search)
            .field("key_fn", &options.key_fn.as_ref().map(|key_fn| &key_fn.name))
            .field("partition", &options.partition)
            .field("transport", &options.transport)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_comes_from_below() {
        let session = Matching::default().ignored_params(["a"]).sort_query(true);
        let request = Matching::default().sort_query(false);
        let merged = request.over(&session);
        assert_eq!(merged.options().sort_query, Some(false));
        assert!(merged.hides_param("a"));
        assert_eq!(merged, Matching::default().ignored_params(["a"]));
        assert_eq!(Matching::default().over(&session), session);
        assert_eq!(request.over(&Matching::default()), request);
    }

    /// A change of what merges requests changes the fingerprint; of what does not, does not.
    #[test]
    fn the_fingerprint_is_of_what_merges_requests() {
        let of = |matching: Matching| matching.options().fingerprint;
        let default = Matching::default;
        assert_eq!(of(default()), None);
        for same in [
            default().sort_query(false),
            default().ignored_params([""; 0]),
            default().secret_params(["x"]),
            default().secret_headers(["x"]),
            default().partition("x"),
            default().max_keyed_body(1),
            default().separate_credentials(true),
            default().no_vary_search(true),
        ] {
            assert_eq!(of(same), None);
        }
        let different = [
            default().sort_query(true),
            default().ignored_params(["x"]),
            default().ignored_params([NamePattern::regex("x")]),
            default().ignored_params(["x", "y"]),
            default().ignored_headers(["x"]),
            default().match_headers(["x"]),
            default().separate_credentials(false),
            default().method_override(true),
            default().key_fn("x", |_| None),
            default().key_fn("y", |_| None),
            default().transport("x"),
        ];
        for (at, one) in different.iter().enumerate() {
            assert!(of(one.clone()).is_some());
            assert!(different.iter().skip(at + 1).all(|other| of(one.clone()) != of(other.clone())), "{one:?}");
        }
        assert_eq!(of(default().ignored_params(["x", "y"])), of(default().ignored_params(["y", "x", "y"])));
    }

    #[test]
    fn an_impossible_option_is_an_error_that_names_it() {
        let default = Matching::default;
        for (matching, name) in [
            (default().ignored_params([NamePattern::regex("(")]), "`ignored_params`"),
            (default().ignored_headers([""]), "`ignored_headers`"),
            (default().match_headers([NamePattern::regex("[")]), "`match_headers`"),
            (default().secret_params([NamePattern::regex("*")]), "`secret_params`"),
            (default().secret_headers([""]), "`secret_headers`"),
            (default().partition(""), "`partition`"),
            (default().max_keyed_body(0), "`max_keyed_body`"),
        ] {
            let error = matching.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
