//! Which requests are answered by the same entry: the options of [`Matching`], set on a session or on a request.

use super::{RequestBuilder, SessionBuilder};
use crate::key::{KeyRequest, Matching, NamePattern};

impl SessionBuilder {
    /// Sets all of which requests are answered by the same entry. Default: those that are the same byte by byte, with
    /// the same credentials.
    pub fn matching(self, matching: Matching) -> Self {
        self.match_by(|_| matching)
    }

    /// Sets whether the order of parameters with different names does not count: [`Matching::sort_query`].
    pub fn sort_query(self, on: bool) -> Self {
        self.match_by(|matching| matching.sort_query(on))
    }

    /// Sets which parameters do not count, of the query and of bodies: [`Matching::ignored_params`].
    pub fn ignored_params(self, names: impl IntoIterator<Item = impl Into<NamePattern>>) -> Self {
        self.match_by(|matching| matching.ignored_params(names))
    }

    /// Sets which request header fields do not count, though a response says they do: [`Matching::ignored_headers`].
    pub fn ignored_headers(self, names: impl IntoIterator<Item = impl Into<NamePattern>>) -> Self {
        self.match_by(|matching| matching.ignored_headers(names))
    }

    /// Sets which request header fields count whatever a response says: [`Matching::match_headers`].
    pub fn match_headers(self, names: impl IntoIterator<Item = impl Into<NamePattern>>) -> Self {
        self.match_by(|matching| matching.match_headers(names))
    }

    /// Sets which parameters are secret besides the usual ones: [`Matching::secret_params`].
    pub fn secret_params(self, names: impl IntoIterator<Item = impl Into<NamePattern>>) -> Self {
        self.match_by(|matching| matching.secret_params(names))
    }

    /// Sets whether fields that override the method are believed: [`Matching::method_override`].
    pub fn method_override(self, on: bool) -> Self {
        self.match_by(|matching| matching.method_override(on))
    }

    /// Sets whether an origin is believed that says which parameters of a query do not matter:
    /// [`Matching::no_vary_search`].
    pub fn no_vary_search(self, on: bool) -> Self {
        self.match_by(|matching| matching.no_vary_search(on))
    }

    /// Sets what makes keys in the place of URL, headers and body: [`Matching::key_fn`].
    pub fn key_fn(
        self,
        name: impl Into<String>,
        function: impl Fn(&KeyRequest<'_>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.match_by(|matching| matching.key_fn(name, function))
    }
}

impl RequestBuilder {
    /// Sets which requests are answered by the same entry as this one; what is not set here is as in the session.
    pub fn matching(self, matching: Matching) -> Self {
        self.match_by(|earlier| matching.over(&earlier))
    }

    /// Sets which partition of the cache this request uses: [`Matching::partition`].
    pub fn partition(self, partition: impl Into<String>) -> Self {
        self.match_by(|matching| matching.partition(partition))
    }
}
