//! A hash over fields that each begin with their length, so that no two lists of fields are written alike (case 33).

use http::Uri;
use http::uri::Scheme;
use sha2::{Digest, Sha256};

use crate::storage::CacheKey;

pub(super) struct Fields(Sha256);

impl Fields {
    pub(super) fn new(domain: &[u8]) -> Self {
        let mut fields = Self(Sha256::new());
        fields.field(domain);
        fields
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    pub(super) fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// The URL with `path_and_query` in place of its own.
    pub(super) fn url(&mut self, uri: &Uri, path_and_query: &str) {
        let scheme = uri.scheme().unwrap_or(&Scheme::HTTP);
        self.field(scheme.as_str().as_bytes());
        let host = uri.host().unwrap_or("");
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.field(host.to_ascii_lowercase().as_bytes());
        } else {
            self.field(host.as_bytes());
        }
        self.number(u64::from(port(uri)));
        // User information is a credential: different ones never share (case 36).
        self.field(user_information(uri).as_bytes());
        self.field(path_and_query.as_bytes());
    }

    pub(super) fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    pub(super) fn key(self) -> CacheKey {
        CacheKey::from_digest(self.digest())
    }
}

/// The port that is connected to.
pub(super) fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 })
}

/// What stands before the `@` of a URL; empty where nothing does.
pub(super) fn user_information(uri: &Uri) -> &str {
    uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map_or("", |(user, _)| user)
}
