//! A hash over fields that each begin with their length, so that no two lists of fields are written alike (case 33).

use http::Uri;
use http::uri::Scheme;
use sha2::{Digest, Sha256};

use crate::storage::CacheKey;

pub(super) struct Fields {
    hash: Sha256,
    // The hash is given few long pieces: each one costs it as much as the bytes of a short one.
    gathered: [u8; 128],
    len: usize,
}

impl Fields {
    pub(super) fn new(domain: &[u8]) -> Self {
        let mut fields = Self { hash: Sha256::new(), gathered: [0; 128], len: 0 };
        fields.field(domain);
        fields
    }

    pub(super) fn number(&mut self, number: u64) {
        self.write(&number.to_be_bytes());
    }

    pub(super) fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.write(bytes);
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(place) = self.gathered.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        } else {
            self.write_through(bytes);
        }
    }

    fn write_through(&mut self, bytes: &[u8]) {
        self.hash.update(self.gathered.get(..self.len).unwrap_or_default());
        self.hash.update(bytes);
        self.len = 0;
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

    pub(super) fn digest(mut self) -> [u8; 32] {
        self.write_through(b"");
        self.hash.finalize().into()
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
    uri.authority().and_then(|authority| split_user(authority.as_str()).0).unwrap_or("")
}

/// What stands before the last `@` of an authority, and what stands behind it: all of it where there is none.
pub(super) fn split_user(authority: &str) -> (Option<&str>, &str) {
    // Few bytes and most of them without: quicker than a search that is made for many.
    match authority.bytes().any(|byte| byte == b'@') {
        true => authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host)),
        false => (None, authority),
    }
}
