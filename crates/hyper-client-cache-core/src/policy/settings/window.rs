//! How long past its freshness a response may be served.

use std::time::Duration;

/// How long past its freshness a response may be served: while it is refreshed, or instead of an error (RFC 5861).
///
/// Made from a [`Duration`], from `true` ([`Always`](Self::Always)) and `false` ([`Never`](Self::Never)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaleWindow {
    /// Not at all.
    #[default]
    Never,
    /// For this long.
    For(Duration),
    /// However old it is. What cannot be revalidated is then kept until it is deleted.
    Always,
}

impl StaleWindow {
    /// The window as a length of time: nothing, or the longest there is, at the ends.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        match self {
            Self::Never => Duration::ZERO,
            Self::For(window) => window,
            Self::Always => Duration::MAX,
        }
    }
}

impl From<Duration> for StaleWindow {
    fn from(window: Duration) -> Self {
        Self::For(window)
    }
}

impl From<bool> for StaleWindow {
    fn from(always: bool) -> Self {
        if always { Self::Always } else { Self::Never }
    }
}

impl From<Option<Duration>> for StaleWindow {
    fn from(window: Option<Duration>) -> Self {
        window.map_or(Self::Never, Self::For)
    }
}
