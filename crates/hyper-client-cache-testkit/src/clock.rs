//! A clock that stands still until a test moves it, so that no test sleeps to see something expire.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper_client_cache_core::clock::{Clock, from_millis};

/// 2100-01-01T00:00:00Z, in milliseconds since 1970.
///
/// Far ahead on purpose: a store that also expires entries by its own clock (Redis, MongoDB) does not do so while a
/// test runs, so that only the injected clock decides.
const START: i64 = 4_102_444_800_000;

/// A [`Clock`] that moves only when told to, forwards and backwards. Clones share the time.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_testkit::core::clock::Clock;
/// use hyper_client_cache_testkit::ManualClock;
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().duration_since(before).unwrap(), Duration::from_secs(60));
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<SystemTime>>);

impl ManualClock {
    /// A clock that shows 2100-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self::at(from_millis(START))
    }

    /// A clock that shows `moment`.
    #[must_use]
    pub fn at(moment: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(moment)))
    }

    /// Moves the clock forward. Stays where it is if the platform cannot express the moment.
    pub fn advance(&self, by: Duration) {
        self.set(self.after(by));
    }

    /// Moves the clock back.
    pub fn rewind(&self, by: Duration) {
        let now = self.now();
        self.set(now.checked_sub(by).unwrap_or(now));
    }

    /// Sets the clock to `moment`, which may lie in its past.
    pub fn set(&self, moment: SystemTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }

    /// The moment that lies `by` ahead.
    #[must_use]
    pub fn after(&self, by: Duration) -> SystemTime {
        let now = self.now();
        now.checked_add(by).unwrap_or(now)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_time_and_it_moves_both_ways() {
        let clock = ManualClock::new();
        let other = clock.clone();
        let start = clock.now();
        clock.advance(Duration::from_secs(10));
        assert_eq!(other.now(), start + Duration::from_secs(10));
        other.rewind(Duration::from_secs(20));
        assert_eq!(clock.now(), start - Duration::from_secs(10));
        other.set(start);
        assert_eq!(clock.now(), start);
        assert_eq!(clock.after(Duration::from_secs(1)), start + Duration::from_secs(1));
    }
}
