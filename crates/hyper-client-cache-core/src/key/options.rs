//! What [`Matching`](super::Matching) holds: the options as they were set, how they are laid over others, and the hash of
//! them that is part of each key.

use std::sync::Arc;

use super::KeyRequest;
use super::fields::Fields;
use super::names::{NamePattern, Names};

#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) sort_query: Option<bool>,
    pub(super) ignored_params: Option<Names>,
    pub(super) ignored_headers: Option<Names>,
    pub(super) match_headers: Option<Names>,
    pub(super) secret_params: Option<Names>,
    pub(super) secret_headers: Option<Names>,
    pub(super) separate_credentials: Option<bool>,
    pub(super) max_keyed_body: Option<u64>,
    pub(super) method_override: Option<bool>,
    pub(super) no_vary_search: Option<bool>,
    pub(super) key_fn: Option<KeyFn>,
    pub(super) partition: Option<String>,
    pub(super) transport: Option<String>,
    /// Of what is above; `None` where it is as by default.
    pub(super) fingerprint: Option<[u8; 32]>,
}

/// What makes keys in the place of the URL, the headers and the body.
#[derive(Clone)]
pub(super) struct KeyFn {
    pub(super) name: String,
    pub(super) function: Arc<Function>,
}

pub(super) type Function = dyn Fn(&KeyRequest<'_>) -> Option<Vec<u8>> + Send + Sync;

impl Options {
    /// These options, and those of `base` where they are not set; without a fingerprint so far.
    pub(super) fn over(&self, base: &Self) -> Self {
        fn first<T: Clone>(one: &Option<T>, other: &Option<T>) -> Option<T> {
            one.as_ref().or(other.as_ref()).cloned()
        }
        Self {
            sort_query: self.sort_query.or(base.sort_query),
            ignored_params: first(&self.ignored_params, &base.ignored_params),
            ignored_headers: first(&self.ignored_headers, &base.ignored_headers),
            match_headers: first(&self.match_headers, &base.match_headers),
            secret_params: first(&self.secret_params, &base.secret_params),
            secret_headers: first(&self.secret_headers, &base.secret_headers),
            separate_credentials: self.separate_credentials.or(base.separate_credentials),
            max_keyed_body: self.max_keyed_body.or(base.max_keyed_body),
            method_override: self.method_override.or(base.method_override),
            no_vary_search: self.no_vary_search.or(base.no_vary_search),
            key_fn: first(&self.key_fn, &base.key_fn),
            partition: first(&self.partition, &base.partition),
            transport: first(&self.transport, &base.transport),
            fingerprint: None,
        }
    }

    /// Whether none is set.
    pub(super) fn is_unset(&self) -> bool {
        let Self { sort_query, ignored_params, ignored_headers, match_headers, secret_params, secret_headers, .. } =
            self;
        let Self { separate_credentials, max_keyed_body, method_override, no_vary_search, .. } = self;
        let Self { key_fn, partition, transport, .. } = self;
        sort_query.is_none()
            && [ignored_params, ignored_headers, match_headers, secret_params, secret_headers]
                .iter()
                .all(|names| names.is_none())
            && [separate_credentials, method_override, no_vary_search].iter().all(|option| option.is_none())
            && max_keyed_body.is_none()
            && key_fn.is_none()
            && partition.is_none()
            && transport.is_none()
    }

    /// A hash of the options by which requests are merged or told apart; `None` where those are as by default.
    ///
    /// Left out is what is in a key anyway or changes only what is shown (partition, secrets, limits), and
    /// `no_vary_search`, with which entries are the same as without.
    pub(super) fn fingerprint(&self) -> Option<[u8; 32]> {
        let on = |option: Option<bool>| option.unwrap_or(false);
        let lists = [&self.ignored_params, &self.ignored_headers, &self.match_headers];
        let is_listed = lists.iter().any(|names| names.as_ref().is_some_and(|names| !names.is_empty()));
        let is_plain = !on(self.sort_query)
            && !is_listed
            && self.separate_credentials.unwrap_or(true)
            && !on(self.method_override)
            && self.key_fn.is_none()
            && self.transport.is_none();
        if is_plain {
            return None;
        }
        let mut hash = Fields::new(b"matching-1");
        hash.number(u64::from(on(self.sort_query)));
        for names in lists {
            let mut written: Vec<_> =
                names.iter().flat_map(|names| names.written()).map(NamePattern::written).collect();
            written.sort_unstable();
            written.dedup();
            hash.number(written.len() as u64);
            for (kind, text) in written {
                hash.number(kind);
                hash.field(text.as_bytes());
            }
        }
        hash.number(u64::from(self.separate_credentials.unwrap_or(true)));
        hash.number(u64::from(on(self.method_override)));
        for name in [self.key_fn.as_ref().map(|key_fn| &key_fn.name), self.transport.as_ref()] {
            hash.number(u64::from(name.is_some()));
            hash.field(name.map_or(&b""[..], |name| name.as_bytes()));
        }
        Some(hash.digest())
    }
}
