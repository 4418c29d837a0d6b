//! Where a response is expected, for caches that can look it up more cheaply than response and redirect together.
//!
//! Where a store has them apart, a look-up asks for both where nothing is known of a key, in whatever way is one round
//! trip, and for the response alone where one is expected: that is what is used again and again, and the store is
//! spared what it would do for the other.

use std::sync::atomic::{AtomicU64, Ordering};

use twox_hash::XxHash3_64;

use crate::storage::CacheKey;

/// How many bits there are, 64 in each word: 8 KiB for a cache.
const WORDS: usize = 1024;

/// For each key, whether this process saw or stored a response under it last: a help for a [`Cache`](super::Cache)
/// whose [`get`](super::Cache::get) can ask for a response alone, or for response and redirect, in one round trip.
///
/// A bit for each key, which keys of one hash share: 8 KiB, whatever is stored. Where an expectation is wrong a look-up
/// costs more; its answer must not depend on it. All calls are a single access to memory, from any number of threads.
///
/// ```
/// use hyper_client_cache_core::cache::Expected;
/// use hyper_client_cache_core::storage::CacheKey;
///
/// # fn main() -> Result<(), hyper_client_cache_core::storage::InvalidKey> {
/// let (expected, key) = (Expected::default(), CacheKey::new("some-key")?);
/// assert!(!expected.is(&key), "of nothing is anything known: ask for both");
/// expected.set(&key, true);
/// assert!(expected.is(&key), "ask for the response, and for the redirect only where there is none");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Expected(Vec<AtomicU64>);

impl Expected {
    /// Whether a response is expected under `key`.
    #[must_use]
    pub fn is(&self, key: &CacheKey) -> bool {
        self.bit(key).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Notes what is expected under `key` from now on: a response was found or stored there, or was not found or removed.
    pub fn set(&self, key: &CacheKey, expected: bool) {
        let Some((word, bit)) = self.bit(key) else { return };
        // Hits find it set: a word that is only read stays in every processor's cache.
        let is_set = word.load(Ordering::Relaxed) & bit != 0;
        match (is_set, expected) {
            (false, true) => drop(word.fetch_or(bit, Ordering::Relaxed)),
            (true, false) => drop(word.fetch_and(!bit, Ordering::Relaxed)),
            _ => {}
        }
    }

    fn bit(&self, key: &CacheKey) -> Option<(&AtomicU64, u64)> {
        let [low, high, ..] = XxHash3_64::oneshot(key.as_bytes()).to_le_bytes();
        let hash = usize::from(u16::from_le_bytes([low, high]));
        Some((self.0.get(hash % WORDS)?, 1 << ((hash / WORDS) % 64)))
    }
}

impl Default for Expected {
    fn default() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::default()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_last_is_expected() {
        let expected = Expected::default();
        let keys: Vec<_> = (0..200).map(|number| CacheKey::new(&format!("key-{number}")).unwrap()).collect();
        assert!(keys.iter().all(|key| !expected.is(key)), "of nothing is anything known");
        keys.iter().for_each(|key| expected.set(key, true));
        assert!(keys.iter().all(|key| expected.is(key)));
        expected.set(&keys[7], false);
        assert!(!expected.is(&keys[7]));
        assert!(keys.iter().filter(|key| expected.is(key)).count() > 190, "keys rarely share a bit");
    }
}
