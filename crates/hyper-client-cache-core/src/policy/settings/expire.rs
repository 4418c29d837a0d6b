//! How long a response is good for.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};

/// How long a response is good for, counted from when it was received.
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

impl FromStr for ExpireAfter {
    type Err = Error;

    /// Parses an HTTP date in any of the three forms of RFC 9110 section 5.6.7.
    fn from_str(text: &str) -> Result<Self> {
        httpdate::parse_http_date(text)
            .map(Self::At)
            .map_err(|error| Error::new(ErrorKind::Config, "`expire_after` is no HTTP date").with_source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_may_be_a_duration_a_moment_or_an_http_date() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(ExpireAfter::from(Duration::from_secs(5)), ExpireAfter::After(Duration::from_secs(5)));
        assert_eq!(ExpireAfter::from(moment), ExpireAfter::At(moment));
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(date.parse::<ExpireAfter>().unwrap(), ExpireAfter::At(moment), "{date}");
        }
        for garbage in ["", "3600", "tomorrow", "Sun, 06 Nov 1994"] {
            assert_eq!(garbage.parse::<ExpireAfter>().unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
