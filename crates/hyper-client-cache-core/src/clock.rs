//! Where time comes from: a [`Clock`] is injected wherever a decision depends on it, so that tests
//! never sleep to see something expire.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the wall-clock time.
///
/// Everything that expires asks its clock; nothing in these crates calls [`SystemTime::now`] elsewhere.
/// Implementations must be cheap: a hit asks once or twice.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> SystemTime;
}

/// The operating system's clock: the default everywhere.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs)] // a unit struct that is meant to be written out
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}

/// The default clock, ready to share.
#[must_use]
pub fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// Milliseconds since 1970, saturating at both ends: the form in which moments are stored.
#[must_use]
pub fn to_millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| ms.saturating_neg()),
    }
}

/// The moment that [`to_millis`] was given, to the millisecond; one that the platform cannot express becomes the
/// nearest that it can.
#[must_use]
pub fn from_millis(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    if millis >= 0 {
        UNIX_EPOCH.checked_add(distance).unwrap_or(UNIX_EPOCH)
    } else {
        UNIX_EPOCH.checked_sub(distance).unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_survive_the_stored_form() {
        for millis in [0, 1, -1, 1_700_000_000_123, -62_135_596_800_000, 316_000_000_000_000] {
            assert_eq!(to_millis(from_millis(millis)), millis);
        }
    }
}
