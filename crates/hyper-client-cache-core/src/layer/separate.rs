//! What tells callers apart that is not simply in the request's headers.

use http::HeaderValue;

/// In a request's extensions: the `Cookie` lines that the caller set, where a cookie jar added others. Only the caller's
/// own tell its entries from others' ([`key::partition`](crate::key::partition)).
#[derive(Clone)]
pub(crate) struct CallersCookies(Vec<HeaderValue>);

impl CallersCookies {
    #[cfg(feature = "client")]
    pub(crate) const fn new(lines: Vec<HeaderValue>) -> Self {
        Self(lines)
    }

    pub(super) fn lines(&self) -> &[HeaderValue] {
        &self.0
    }
}
