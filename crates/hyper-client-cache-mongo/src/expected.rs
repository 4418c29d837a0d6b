//! Where a response is expected, so that a look-up costs one round trip whether it finds one or not.
//!
//! Responses and redirects are two collections, and no one command reads both as cheaply as two reads by `_id`. So a
//! look-up asks for both at once where nothing is known of a key, and for the response alone where one is expected,
//! which spares the server half of its work for what is used again and again. An expectation is a bit a key, shared by
//! keys of one hash: where it is wrong, a read more is made, or two come one after the other; no answer changes.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper_client_cache_core::storage::CacheKey;

/// How many bits there are, 64 in each word: 8 KiB for a cache.
const WORDS: usize = 1024;

/// For each key, whether this process saw or stored a response under it last.
#[derive(Debug)]
pub(crate) struct Expected(Vec<AtomicU64>);

impl Expected {
    pub(crate) fn is(&self, key: &CacheKey) -> bool {
        self.bit(key).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    pub(crate) fn set(&self, key: &CacheKey, expected: bool) {
        match self.bit(key) {
            Some((word, bit)) if expected => drop(word.fetch_or(bit, Ordering::Relaxed)),
            Some((word, bit)) => drop(word.fetch_and(!bit, Ordering::Relaxed)),
            None => {}
        }
    }

    fn bit(&self, key: &CacheKey) -> Option<(&AtomicU64, u64)> {
        let hash = hash(key);
        Some((self.0.get(hash % WORDS)?, 1 << ((hash / WORDS) % 64)))
    }
}

impl Default for Expected {
    fn default() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::default()).collect())
    }
}

/// Keys are digests or numbered: any sum that mixes all places is even enough.
pub(crate) fn hash(key: &CacheKey) -> usize {
    key.as_bytes().iter().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte)))
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
