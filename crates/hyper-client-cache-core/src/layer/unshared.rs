//! Which requests have waited in vain a moment ago: the answer was for nobody else.
//!
//! Where an origin forbids that its answers are shared, whoever waits for another's asks after that all the same, and has
//! lost the time. So for a little while nobody waits where somebody has done so in vain.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::storage::CacheKey;

/// How long that is remembered. Short, because an answer that can be shared by then is fetched by each meanwhile.
const FOR: Duration = Duration::from_secs(5);

/// How many keys are remembered at most. One that takes another's place only costs that one a wait.
const MANY: u64 = 1024;

/// The half of a word that says when.
const SECONDS: u64 = u32::MAX as u64;

/// The keys of flights, by their hash: half a word says which, the other half when, in seconds.
pub(super) struct Unshared(Box<[AtomicU64]>);

impl Unshared {
    /// Somebody has waited for the flight of `key`, whose answer was for nobody else.
    pub(super) fn note(&self, key: &CacheKey, now: SystemTime) {
        let (which, slot) = self.place(key);
        if let Some(slot) = slot {
            slot.store(which << 32 | seconds(now), Ordering::Relaxed);
        }
    }

    /// Whether that was a moment ago. Asks for the time only where that counts.
    pub(super) fn has(&self, key: &CacheKey, now: impl FnOnce() -> SystemTime) -> bool {
        let (which, slot) = self.place(key);
        let noted = slot.map_or(0, |slot| slot.load(Ordering::Relaxed));
        // A clock that was put back forgets.
        let passed = || seconds(now()).checked_sub(noted & SECONDS);
        noted != 0 && noted >> 32 == which && passed().is_some_and(|passed| passed < FOR.as_secs())
    }

    fn place(&self, key: &CacheKey) -> (u64, Option<&AtomicU64>) {
        // The key is a digest: its beginning tells it from others, once what is the same in all characters is mixed up.
        let [first, second] = halves(key).map(u64::from_le_bytes);
        let hash = (first ^ second.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (hash >> 32, usize::try_from((hash >> 8) % MANY).ok().and_then(|at| self.0.get(at)))
    }
}

impl Default for Unshared {
    fn default() -> Self {
        Self(std::iter::repeat_with(AtomicU64::default).take(usize::try_from(MANY).unwrap_or(0)).collect())
    }
}

impl fmt::Debug for Unshared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unshared").finish_non_exhaustive()
    }
}

fn halves(key: &CacheKey) -> [[u8; 8]; 2] {
    let bytes = key.as_bytes().first_chunk::<16>().copied().unwrap_or_default();
    let (first, second) = bytes.split_at(8);
    [first, second].map(|half| half.try_into().unwrap_or_default())
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() & SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_by_key_and_for_a_little_while() {
        let (unshared, began) = (Unshared::default(), UNIX_EPOCH + Duration::from_secs(1 << 31));
        let [key, other] = [1, 2].map(|byte| CacheKey::from_digest([byte; 32]));
        assert!(!unshared.has(&key, || unreachable!("nothing is remembered")));
        unshared.note(&key, began);
        for (passed, is_known) in [(0, true), (4, true), (5, false), (500, false)] {
            assert_eq!(unshared.has(&key, || began + Duration::from_secs(passed)), is_known, "{passed}");
        }
        assert!(!unshared.has(&key, || began - Duration::from_secs(1)), "the clock was put back");
        assert!(!unshared.has(&other, || began));
        // However many there are.
        (0..=255).for_each(|byte| unshared.note(&CacheKey::from_digest([byte; 32]), began));
        assert!(unshared.has(&CacheKey::from_digest([255; 32]), || began));
    }
}
