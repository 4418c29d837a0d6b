//! Bodies of any length that look random, are never held as a whole, and can be checked byte for byte.

use std::sync::LazyLock;

use bytes::Bytes;

// A prime, so that no usual part, page or frame length is a multiple of it: a piece that is lost, repeated or out of
// place shifts the bytes to where they do not fit.
const PERIOD: usize = 65_521;

static BLOCK: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = || {
        // xorshift64: no cipher, only nothing that compresses or repeats within the block.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut block = Vec::with_capacity(PERIOD.next_multiple_of(8));
    while block.len() < PERIOD {
        block.extend_from_slice(&next());
    }
    block.truncate(PERIOD);
    Bytes::from(block)
});

/// The bytes of the pattern from `offset` on: at least one, at most 65,521 and at most `max`; empty where `max` is 0.
///
/// All slices share one block of memory, so a body of any length costs nothing to make.
#[must_use]
pub fn pattern(offset: u64, max: u64) -> Bytes {
    #[allow(clippy::arithmetic_side_effects)] // the period is not 0
    let from = usize::try_from(offset % PERIOD as u64).unwrap_or(0);
    let len = usize::try_from(max).unwrap_or(usize::MAX).min(PERIOD.saturating_sub(from));
    BLOCK.slice(from..from.saturating_add(len))
}

/// Checks that what it is given in pieces is the [`pattern`] from its beginning.
///
/// ```
/// use hyper_client_cache_testkit::origin::{PatternChecker, pattern};
///
/// let mut checker = PatternChecker::new();
/// assert!(checker.update(&pattern(0, 1000)));
/// assert!(checker.update(&pattern(1000, 24)));
/// assert_eq!(checker.len(), 1024);
/// assert!(!checker.update(b"something else"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct PatternChecker {
    offset: u64,
    failed: bool,
}

impl PatternChecker {
    /// A checker that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes; `false` where they, or any before them, do not fit.
    pub fn update(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() && !self.failed {
            let expected = pattern(self.offset, bytes.len() as u64);
            let (piece, rest) = bytes.split_at(expected.len());
            self.failed = piece != expected;
            self.offset = self.offset.saturating_add(piece.len() as u64);
            bytes = rest;
        }
        !self.failed
    }

    /// How many bytes were taken.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.offset
    }

    /// Whether nothing was taken yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offset == 0
    }
}
