//! How long a response is good for.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};

/// How long a response is good for, counted from when it was received.
///
/// Made from a [`Duration`], a [`SystemTime`], an `Option<Duration>` (`None`: [`Never`](Self::Never)), from the text of
/// an HTTP date, or by [`seconds`](Self::seconds) and its like. No number has a meaning of its own.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_core::policy::ExpireAfter;
///
/// assert_eq!(ExpireAfter::from(Duration::from_secs(60)), ExpireAfter::minutes(1));
/// let until: ExpireAfter = "Fri, 31 Dec 2027 23:59:59 GMT".parse()?;
/// assert!(matches!(until, ExpireAfter::At(_)));
/// assert!("in an hour".parse::<ExpireAfter>().is_err());
/// # Ok::<(), hyper_client_cache_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpireAfter {
    /// It is good until it is deleted.
    #[default]
    Never,
    /// For this long.
    After(Duration),
    /// Until this moment.
    At(SystemTime),
    /// For a tenth of the time since `Last-Modified`, at most a day; not at all without it (RFC 9111 section 4.2.2).
    Heuristic,
    /// It is not stored.
    DoNotStore,
}

impl ExpireAfter {
    /// It is stale at once: stored only where it can be revalidated, or where a [stale window](super::StaleWindow) lets
    /// it be served all the same.
    pub const AT_ONCE: Self = Self::After(Duration::ZERO);

    /// For this many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self::After(Duration::from_secs(seconds))
    }

    /// For this many minutes.
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes.saturating_mul(60))
    }

    /// For this many hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours.saturating_mul(60))
    }

    /// For this many days of 24 hours.
    #[must_use]
    pub const fn days(days: u64) -> Self {
        Self::hours(days.saturating_mul(24))
    }
}

impl From<Duration> for ExpireAfter {
    fn from(duration: Duration) -> Self {
        Self::After(duration)
    }
}

impl From<SystemTime> for ExpireAfter {
    fn from(moment: SystemTime) -> Self {
        Self::At(moment)
    }
}

impl From<Option<Duration>> for ExpireAfter {
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::Never, Self::After)
    }
}

impl FromStr for ExpireAfter {
    type Err = Error;

    /// Parses an HTTP date in any of the three forms of RFC 9110 section 5.6.7.
    fn from_str(text: &str) -> Result<Self> {
        httpdate::parse_http_date(text).map(Self::At).map_err(|error| {
            let shown: String = text.chars().take(40).collect();
            Error::new(
                ErrorKind::Config,
                format!("`expire_after`: {shown:?} is no HTTP date, like \"Fri, 31 Dec 2027 23:59:59 GMT\""),
            )
            .with_source(error)
        })
    }
}

impl TryFrom<&str> for ExpireAfter {
    type Error = Error;

    /// As [`from_str`](FromStr::from_str).
    fn try_from(text: &str) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Features 52 and 54: no number stands for "never" or "not at all".
    #[test]
    fn a_lifetime_may_be_counted_in_any_unit() {
        assert_eq!(ExpireAfter::days(2), ExpireAfter::hours(48));
        assert_eq!(ExpireAfter::hours(1), ExpireAfter::minutes(60));
        assert_eq!(ExpireAfter::minutes(1), ExpireAfter::seconds(60));
        assert_eq!(ExpireAfter::days(u64::MAX), ExpireAfter::seconds(u64::MAX));
        assert_eq!(ExpireAfter::AT_ONCE, ExpireAfter::seconds(0));
        assert_eq!(ExpireAfter::from(None), ExpireAfter::Never);
        assert_eq!(ExpireAfter::from(Some(Duration::from_secs(1))), ExpireAfter::seconds(1));
    }

    /// Features 52 and 53, seed lines 29 to 31 and 33: what cannot be understood is an error, not "never".
    #[test]
    fn a_lifetime_may_be_a_duration_a_moment_or_an_http_date() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(ExpireAfter::from(Duration::from_secs(5)), ExpireAfter::After(Duration::from_secs(5)));
        assert_eq!(ExpireAfter::from(moment), ExpireAfter::At(moment));
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(date.parse::<ExpireAfter>().unwrap(), ExpireAfter::At(moment), "{date}");
        }
        for garbage in ["", "3600", "tomorrow", "Sun, 06 Nov 1994", "P12Y34M56DT78H90M12.345S"] {
            let error = ExpireAfter::try_from(garbage).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("`expire_after`: {garbage:?}")), "{error}");
        }
    }
}
