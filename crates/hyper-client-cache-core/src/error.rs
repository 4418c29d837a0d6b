//! The one public error: what kind it is, where it happened, what lies beneath.
//!
//! Backends keep a precise private enum and convert it here once (`error.rs` of each backend).

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of everything in these crates that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of any kind, as a boxed trait object: what a wrapped service may fail with.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong, in terms that a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is impossible; the message names it and says what to do.
    Config,
    /// The request cannot be sent as it is: its URL, a header, or its body.
    Request,
    /// The origin could not be connected to.
    Connect,
    /// The exchange with the origin failed after the connection stood.
    Transport,
    /// A time-out of the request ran out.
    Timeout,
    /// More redirects than allowed, or a redirect that cannot be followed.
    Redirect,
    /// The body ended early, was longer than announced, or could not be read from the store.
    Body,
    /// A body was not what the caller asked to have it decoded as.
    Decode,
    /// The response's status is an error (only where the caller asked for that to be an error).
    Status,
    /// A storage: the entry is over its limit. What was stored before is untouched.
    TooLarge,
    /// The cache failed a request, and its owner wants to know
    /// ([`OnCacheError::Fail`](crate::layer::OnCacheError::Fail)); the source is the storage's error.
    Cache,
    /// The storage, cache or session was closed.
    Closed,
    /// A storage: the bytes are not ours, damaged, or of a newer format.
    Corrupt,
    /// A storage: it cannot be reached, is busy, full, read-only or failed.
    Storage,
    /// A storage behind a guard: it did not answer in time, or was not asked because of that before.
    Unavailable,
}

impl ErrorKind {
    const fn describe(self) -> &'static str {
        match self {
            Self::Config => "impossible setting",
            Self::Request => "invalid request",
            Self::Connect => "cannot connect",
            Self::Transport => "the exchange failed",
            Self::Timeout => "timed out",
            Self::Redirect => "redirect not followed",
            Self::Body => "the body is incomplete",
            Self::Decode => "the body cannot be decoded",
            Self::Status => "the status is an error",
            Self::TooLarge => "the entry is over the storage's limit",
            Self::Cache => "the cache failed",
            Self::Closed => "already closed",
            Self::Corrupt => "stored bytes are damaged or not ours",
            Self::Storage => "the store failed",
            Self::Unavailable => "the store is not available",
        }
    }
}

/// What every fallible call returns: a [kind](Error::kind), a context in words, and the source beneath.
///
/// Cheap to clone, because one failed request may have several callers waiting for it.
/// Neither `Display` nor `Debug` shows a secret: contexts are written by these crates, and a header's value or a
/// URL's user information never enters one.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    context: Cow<'static, str>,
    transient: bool,
    source: Option<BoxError>,
}

impl Error {
    /// An error of `kind`; `context` says where or with what, in a few words and without secrets.
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { kind, context: context.into(), transient: false, source: None }))
    }

    /// The same error with what caused it beneath. `Display` does not repeat the source.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        let Inner { kind, context, transient, .. } = &*self.0;
        Self(Arc::new(Inner {
            kind: *kind,
            context: context.clone(),
            transient: *transient,
            source: Some(source.into()),
        }))
    }

    /// The same error, marked as one that may be gone at the next try (a busy or unreachable store).
    #[must_use]
    pub fn transient(mut self) -> Self {
        match Arc::get_mut(&mut self.0) {
            Some(inner) => {
                inner.transient = true;
                self
            }
            // Only an error that is already shared gets here, and its classification was its maker's.
            None => self,
        }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the next try may succeed: decided where the error arose, by its code.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.describe())?;
        if !self.0.context.is_empty() {
            write!(f, ": {}", self.0.context)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("context", &self.0.context);
        if self.0.transient {
            out.field("transient", &true);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_kind_and_context_but_not_the_source() {
        let error = Error::new(ErrorKind::Config, "`max_bytes` is 0").with_source("beneath");
        assert_eq!(error.to_string(), "impossible setting: `max_bytes` is 0");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("beneath"));
    }
}
