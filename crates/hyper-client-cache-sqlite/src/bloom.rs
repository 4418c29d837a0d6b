//! A set of hashes that may say "perhaps" where it should say no, and never no where it should say "perhaps": a Bloom
//! filter of a size that follows how many hashes are expected, and which knows when it is full.

use std::sync::atomic::{AtomicU64, Ordering};

use fastbloom::AtomicBloomFilter;

/// How many bits stand for a hash. With the ten to twenty bits that each has room for, one in a hundred hashes that are
/// not there is mistaken at most.
const BITS_EACH: u32 = 6;

/// The hashes of some rows. All of it may be done by any number of threads at once.
#[derive(Debug)]
pub(crate) struct Bloom {
    bits: AtomicBloomFilter,
    /// How many different hashes there are, about.
    len: AtomicU64,
}

impl Bloom {
    /// The smallest size in bytes.
    pub(crate) const SMALLEST: u64 = 16 * 1024;

    /// A set for `expected` hashes and as many again, where `limit` bytes suffice for as many as are expected, with ten
    /// bits for each.
    pub(crate) fn new(expected: u64, limit: u64) -> Option<Self> {
        if limit < Self::SMALLEST || expected.saturating_mul(10) > limit.saturating_mul(8) {
            return None;
        }
        let bytes = expected.saturating_mul(20).div_ceil(8).clamp(Self::SMALLEST, limit);
        let bits = usize::try_from(bytes.checked_mul(8)?).ok()?;
        Some(Self { bits: AtomicBloomFilter::with_num_bits(bits).hashes(BITS_EACH), len: AtomicU64::new(0) })
    }

    /// Adds a hash.
    pub(crate) fn insert(&self, hash: u64) {
        if !self.bits.insert_hash(hash) {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a hash was perhaps added.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        self.bits.contains_hash(hash)
    }

    /// Whether there are so many that three in a hundred are mistaken: a larger one, or one without what has gone, is
    /// due.
    pub(crate) fn is_full(&self) -> bool {
        self.len.load(Ordering::Relaxed) > self.bytes()
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        self.bits.num_bits() as u64 / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twox_hash::XxHash3_64;

    /// More than any of these tests needs.
    const AMPLE: u64 = 4 << 20;

    fn hashes(name: &str, number: u64) -> impl Iterator<Item = u64> {
        (0..number).map(move |at| XxHash3_64::oneshot(format!("{name}-{at}").as_bytes()))
    }

    #[test]
    fn what_was_added_is_found_and_hardly_anything_else() {
        for number in [100, 30_000, 300_000] {
            let set = Bloom::new(number, AMPLE).unwrap();
            hashes("in", number).for_each(|hash| set.insert(hash));
            hashes("in", number).for_each(|hash| set.insert(hash));
            assert!(hashes("in", number).all(|hash| set.may_contain(hash)));
            assert!(!set.is_full());
            let mistaken = hashes("out", 10_000).filter(|hash| set.may_contain(*hash)).count();
            assert!(mistaken < 100, "{mistaken} of 10,000 with {number}");
        }
    }

    #[test]
    fn a_set_is_as_large_as_is_expected_and_allowed() {
        let bytes = |expected, limit| {
            let set: Option<Bloom> = Bloom::new(expected, limit);
            set.map(|set| set.bytes())
        };
        assert_eq!(bytes(0, 2 << 20), Some(16 << 10));
        assert_eq!(bytes(100_000, 2 << 20), Some(250_000));
        assert_eq!(bytes(1_000_000, 2 << 20), Some(2 << 20));
        assert_eq!(bytes(1_000_000, 3 << 20), Some(2_500_000));
        assert_eq!(bytes(2_000_000, 2 << 20), None);
        assert_eq!(bytes(0, 1000), None);
        assert_eq!(bytes(u64::MAX, u64::MAX / 8), None);
    }

    #[test]
    fn a_set_is_full_in_the_end() {
        let set = Bloom::new(0, Bloom::SMALLEST).unwrap();
        hashes("in", 13_000).for_each(|hash| set.insert(hash));
        assert!(!set.is_full());
        hashes("more", 6_000).for_each(|hash| set.insert(hash));
        assert!(set.is_full());
        assert!(hashes("in", 13_000).all(|hash| set.may_contain(hash)));
    }
}
