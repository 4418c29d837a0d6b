//! A URL as it is shown and stored, and whether what was stored with it is about another URL than the request's.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Uri, header};

use super::fields::{Fields, port, user_information};
use super::{Keyer, query};

impl Keyer<'_> {
    /// The URL as it is shown and stored: without user information, and with the values hidden of parameters that are
    /// secret or do not count.
    #[must_use]
    pub fn shown_url(&self, uri: &Uri) -> String {
        let mut text = String::with_capacity(64);
        for piece in shown_pieces(uri) {
            text.push_str(piece);
        }
        if let Some(query) = uri.query() {
            text.push('?');
            text.push_str(&self.shown_query(query));
        }
        text
    }

    /// Whether what is stored with the [`shown_url`](Self::shown_url) `stored` may answer a request for `uri`, as far as
    /// the URL tells (case 34). Compares in place where both are written alike.
    #[must_use]
    pub fn is_shown_url(&self, uri: &Uri, stored: &str) -> bool {
        let mut rest = stored;
        let is_same = shown_pieces(uri).iter().all(|piece| match rest.strip_prefix(piece) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        });
        let is_same = is_same
            && match uri.query() {
                Some(query) => rest.strip_prefix('?') == Some(query),
                None => rest.is_empty(),
            };
        is_same || self.is_spelled_differently(uri, stored)
    }

    /// Whether the stored URL is one that counts as the same, though it is not written alike.
    #[cold]
    fn is_spelled_differently(&self, uri: &Uri, stored: &str) -> bool {
        if self.matching.options().key_fn.is_some() {
            // Which URLs are the same is for the function to say: it made the key under which this was found.
            return true;
        }
        let Ok(stored) = stored.parse::<Uri>() else { return false };
        let same_host = uri.host().unwrap_or("").eq_ignore_ascii_case(stored.host().unwrap_or(""));
        let shown = |uri: &Uri| self.path_and_query_shown(uri);
        same_host && uri.scheme() == stored.scheme() && port(uri) == port(&stored) && shown(uri) == shown(&stored)
    }

    /// Whether a URL has a secret in it.
    #[must_use]
    pub fn has_secret(&self, uri: &Uri) -> bool {
        !user_information(uri).is_empty()
            || uri.query().is_some_and(|query| query::has_hidden(query, |name| self.matching.is_secret_param(name)))
    }

    /// Whether a reference to a URL, such as a `Location`, has something in it that is not shown.
    #[must_use]
    pub fn hides_part_of(&self, reference: &[u8]) -> bool {
        let reference = String::from_utf8_lossy(reference);
        let authority =
            reference.split_once("//").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
        let parameters = reference.split_once(['?', '#']).map_or("", |(_, parameters)| parameters);
        authority.contains('@')
            || parameters.split(['?', '#']).any(|part| query::has_hidden(part, |name| self.matching.hides_param(name)))
    }

    /// Takes out of stored header lines what is not shown of a URL: only `Content-Location` describes one.
    pub fn redact(&self, headers: &mut Vec<(HeaderName, HeaderValue)>) {
        headers.retain(|(name, value)| *name != header::CONTENT_LOCATION || !self.hides_part_of(value.as_bytes()));
    }

    /// Keys the hash over a URL with a secret in it, so that the secret cannot be guessed from the key.
    pub(super) fn add_secret(&self, hash: &mut Fields, uri: &Uri) {
        if self.has_secret(uri) {
            hash.field(self.separation.secret);
        }
    }

    pub(super) fn shown_query<'q>(&self, query: &'q str) -> Cow<'q, str> {
        query::shown(query, |name| self.matching.hides_param(name))
    }

    fn path_and_query_shown(&self, uri: &Uri) -> String {
        let counted = self.path_and_query(uri);
        match counted.split_once('?') {
            Some((path, query)) => format!("{path}?{}", self.shown_query(query)),
            None => counted.into_owned(),
        }
    }
}

/// Scheme, host and path; the query follows.
fn shown_pieces(uri: &Uri) -> [&str; 4] {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let separator = if uri.scheme().is_some() { "://" } else { "" };
    [uri.scheme_str().unwrap_or(""), separator, host_and_port, uri.path()]
}
