//! What an origin has said about the queries of its URLs (`No-Vary-Search`), as it is stored. Plain data: `key` reads it
//! out of a response and makes keys by it.

use crate::storage::CacheKey;

/// Which parameters of a query do not matter, as a response says in `No-Vary-Search`.
///
/// At least one of the three says something: a response that says nothing has none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchVariance {
    /// Whether the order of parameters with different names does not matter.
    pub any_order: bool,
    /// Whether the parameters in [`names`](Self::names) are those that do matter, and all others do not.
    pub all_but: bool,
    /// Names of parameters as they are decoded, sorted, each once.
    pub names: Vec<String>,
}

impl SearchVariance {
    /// One by which the parameters `names` do not matter, or with `all_but` all others; with `any_order` the order of
    /// names does not either.
    #[must_use]
    pub fn new(any_order: bool, all_but: bool, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        Self { any_order, all_but, names }
    }

    /// Whether it makes no difference, so that URLs match exactly or not at all.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.any_order && !self.all_but && self.names.is_empty()
    }

    /// Whether a parameter with this name, as it is decoded, does not matter.
    #[must_use]
    pub fn drops(&self, name: &str) -> bool {
        self.names.binary_search_by(|other| other.as_str().cmp(name)).is_ok() != self.all_but
    }
}

/// What was said last about the URLs with one path, whatever their query, and the id under which what answers several
/// of them is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchRule {
    /// The key that this was stored under.
    pub key: CacheKey,
    /// Made anew with each rule: what was listed by an earlier one of the path, which may have missed an invalidation
    /// when it was gone, is not found by this one.
    pub id: String,
    /// What was said.
    pub variance: SearchVariance,
}

impl SearchRule {
    /// A rule.
    #[must_use]
    pub fn new(key: CacheKey, id: impl Into<String>, variance: SearchVariance) -> Self {
        Self { key, id: id.into(), variance }
    }
}
