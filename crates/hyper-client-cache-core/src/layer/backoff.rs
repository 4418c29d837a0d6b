//! When a refresh in the background that failed may be tried again (case 201): an origin that is down is not asked with
//! every response that is served stale.
//!
//! An origin that does not answer at all is left alone as a whole, one that answers with an error for what that was the
//! answer to. The pause is a second and doubles up to a minute while failure follows failure; one success ends it. Time
//! is the engine's clock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::storage::CacheKey;

/// The pause after the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// How many failures are remembered. Where there are more, those whose pause is over are forgotten, then all.
const REMEMBERED: usize = 4096;

/// What is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// What has this primary key.
    Key(CacheKey),
    /// All of a host, by its [name](super::hosts::name).
    Host(String),
}

#[derive(Debug, Default)]
pub(super) struct Backoff(Mutex<HashMap<Place, Pause>>);

#[derive(Clone, Copy, Debug)]
struct Pause {
    since: SystemTime,
    length: Duration,
}

impl Pause {
    fn is_over(&self, now: SystemTime) -> bool {
        // A clock that was set back does not prolong it.
        now.duration_since(self.since).map_or(true, |passed| passed >= self.length)
    }
}

impl Backoff {
    /// Whether `place` is to be left alone.
    pub(super) fn rests(&self, place: &Place, now: SystemTime) -> bool {
        self.lock().get(place).is_some_and(|pause| !pause.is_over(now))
    }

    /// What began at `began` has failed by `now`. Of several that were under way together one counts.
    pub(super) fn failed(&self, place: Place, began: SystemTime, now: SystemTime) {
        let mut pauses = self.lock();
        let length = match pauses.get(&place) {
            Some(last) if began <= last.since && now >= last.since => return,
            Some(last) => last.length.saturating_mul(2).min(LONGEST),
            None => FIRST,
        };
        if pauses.len() >= REMEMBERED && !pauses.contains_key(&place) {
            pauses.retain(|_, pause| !pause.is_over(now));
            if pauses.len() >= REMEMBERED {
                pauses.clear();
            }
        }
        pauses.insert(place, Pause { since: now, length });
    }

    pub(super) fn succeeded(&self, place: &Place) {
        self.lock().remove(place);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn place(number: usize) -> Place {
        Place::Key(CacheKey::new(&number.to_string()).unwrap())
    }

    /// Case 201.
    #[test]
    fn a_pause_doubles_up_to_a_minute_and_ends_with_a_success() {
        let backoff = Backoff::default();
        let mut now = 0;
        for length in [1, 2, 4, 8, 16, 32, 60, 60] {
            backoff.failed(place(0), at(now), at(now));
            assert!(backoff.rests(&place(0), at(now + length - 1)));
            assert!(!backoff.rests(&place(1), at(now)));
            now += length;
            assert!(!backoff.rests(&place(0), at(now)));
        }
        backoff.failed(place(0), at(now), at(now));
        backoff.succeeded(&place(0));
        assert!(!backoff.rests(&place(0), at(now)));
        backoff.failed(place(0), at(now), at(now));
        assert!(!backoff.rests(&place(0), at(now + 1)), "it begins anew");
    }

    #[test]
    fn what_failed_together_counts_once_and_a_clock_set_back_does_no_harm() {
        let backoff = Backoff::default();
        for _ in 0..32 {
            backoff.failed(place(0), at(10), at(10));
        }
        assert!(!backoff.rests(&place(0), at(11)));
        assert!(!backoff.rests(&place(0), at(0)));
    }

    #[test]
    fn failures_are_remembered_within_a_bound() {
        let backoff = Backoff::default();
        for number in 0..3 * REMEMBERED {
            backoff.failed(place(number), at(0), at(0));
            assert!(backoff.rests(&place(number), at(0)));
        }
        assert!(backoff.lock().len() <= REMEMBERED);
    }
}
