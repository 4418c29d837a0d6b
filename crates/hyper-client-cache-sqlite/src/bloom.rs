//! A set of hashes that may say "perhaps" where it should say no, and never no where it should say "perhaps": a Bloom
//! filter of blocks, each a line of the processor's cache, so that a question is one access to memory.
//!
//! The hashes are even ones of 64 bits, so that their bits serve as they are: the highest say which block, the lowest
//! which bit of each of its words.

use std::sync::atomic::{AtomicU64, Ordering};

/// A block: a bit in each of its words stands for a hash.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Block([AtomicU64; 8]);

const BLOCK_BYTES: u64 = 64;

/// The hashes of some rows. All of it may be done by any number of threads at once.
#[derive(Debug)]
pub(crate) struct Bloom {
    blocks: Box<[Block]>,
    /// By how much a hash is shifted to become the number of its block.
    shift: u32,
    /// How many different hashes there are, about.
    len: AtomicU64,
}

impl Bloom {
    /// The smallest size in bytes.
    pub(crate) const SMALLEST: u64 = 16 * 1024;

    /// The largest size in bytes: there are no more bits in a hash.
    pub(crate) const LARGEST: u64 = BLOCK_BYTES << 16;

    /// A set for `expected` hashes and as many again, where `limit` bytes suffice for as many as are expected: with
    /// ten bits for each, one in a hundred that is not there is taken for one that perhaps is.
    pub(crate) fn new(expected: u64, limit: u64) -> Option<Self> {
        let limit = limit.min(Self::LARGEST).checked_ilog2().and_then(|log| 1_u64.checked_shl(log))?;
        if limit < Self::SMALLEST || expected.saturating_mul(10) > limit.saturating_mul(8) {
            return None;
        }
        let wanted = expected.saturating_mul(20).div_ceil(8).clamp(Self::SMALLEST, limit);
        let number = wanted.next_power_of_two() / BLOCK_BYTES;
        let blocks = (0..number).map(|_| Block::default()).collect();
        Some(Self { blocks, shift: number.leading_zeros().saturating_add(1), len: AtomicU64::new(0) })
    }

    /// Adds a hash.
    pub(crate) fn insert(&self, hash: u64) {
        let mut new = false;
        for (word, bit) in self.bits(hash) {
            // Most bits are there already where a hash is, and a look costs less than a change.
            new |= word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        }
        if new {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a hash was perhaps added.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        self.bits(hash).all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Whether there are so many that three in a hundred are mistaken: a larger one, or one without what has gone, is
    /// due.
    pub(crate) fn is_full(&self) -> bool {
        self.len.load(Ordering::Relaxed) > self.bytes()
    }

    /// Its size.
    pub(crate) const fn bytes(&self) -> u64 {
        BLOCK_BYTES.saturating_mul(self.blocks.len() as u64)
    }

    fn bits(&self, hash: u64) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let block = usize::try_from(hash.checked_shr(self.shift).unwrap_or(0)).ok().and_then(|at| self.blocks.get(at));
        let words = block.map_or(&[][..], |block| &block.0);
        words.iter().scan(hash, |rest, word| {
            let bit = 1_u64.rotate_left(u32::try_from(*rest % 64).unwrap_or(0));
            *rest /= 64;
            Some((word, bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twox_hash::XxHash3_64;

    fn hashes(name: &str, number: u64) -> impl Iterator<Item = u64> {
        (0..number).map(move |at| XxHash3_64::oneshot(format!("{name}-{at}").as_bytes()))
    }

    #[test]
    fn what_was_added_is_found_and_hardly_anything_else() {
        for number in [100, 30_000, 300_000] {
            let set = Bloom::new(number, Bloom::LARGEST).unwrap();
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
        assert_eq!(bytes(100_000, 2 << 20), Some(256 << 10));
        assert_eq!(bytes(1_000_000, 2 << 20), Some(2 << 20));
        assert_eq!(bytes(1_000_000, 3 << 20), Some(2 << 20));
        assert_eq!(bytes(2_000_000, 2 << 20), None);
        assert_eq!(bytes(0, 1000), None);
        assert_eq!(bytes(3_000_000, u64::MAX), Some(4 << 20));
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
