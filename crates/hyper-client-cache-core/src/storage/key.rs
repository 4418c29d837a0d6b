//! The checked name under which an entry is stored.

use std::fmt;
use std::str::FromStr;

/// A key: 1 to 128 characters of `[0-9a-z-]`, so that it is usable unescaped as a file name, as the end of a Redis
/// key, as a partition key.
///
/// Held in place: making, cloning and comparing one allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheKey {
    // Bytes past `len` are zero, so that the derived order and equality are those of the text.
    bytes: [u8; CacheKey::MAX_LEN],
    len: u8,
}

impl CacheKey {
    /// The longest key, in characters.
    pub const MAX_LEN: usize = 128;

    /// Checks `text`.
    ///
    /// # Errors
    /// [`InvalidKey`] where it is empty, too long, or has another character than `0-9`, `a-z` and `-`.
    pub fn new(text: &str) -> Result<Self, InvalidKey> {
        let mut bytes = [0; Self::MAX_LEN];
        let (Some(target), Ok(len @ 1..)) = (bytes.get_mut(..text.len()), u8::try_from(text.len())) else {
            return Err(InvalidKey(()));
        };
        if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'-')) {
            return Err(InvalidKey(()));
        }
        target.copy_from_slice(text.as_bytes());
        Ok(Self { bytes, len })
    }

    /// The 64 hexadecimal characters of a 256-bit digest.
    #[must_use]
    pub fn from_digest(digest: [u8; 32]) -> Self {
        const HEX: [u8; 16] = *b"0123456789abcdef";
        let mut bytes = [0; Self::MAX_LEN];
        for (pair, byte) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
            // A nibble is below 16, so both look-ups succeed; `get` keeps the lint's promise.
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        Self { bytes, len: 64 }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The key as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl std::hash::Hash for CacheKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({})", self.as_str())
    }
}

impl AsRef<str> for CacheKey {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for CacheKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

/// The text is no [`CacheKey`]. It is not shown, because it may come from anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey(());

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a cache key has 1 to {} characters of 0-9, a-z and -", CacheKey::MAX_LEN)
    }
}

impl std::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_1_to_128_characters_of_a_small_alphabet() {
        for good in ["a", "0", "-", "abc-123", &"z".repeat(128)] {
            assert_eq!(CacheKey::new(good).map(|key| key.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "A", "a b", "a/b", "..", "é", "a\0", "a\n", &"z".repeat(129), &"z".repeat(10_000)] {
            assert_eq!(CacheKey::new(bad), Err(InvalidKey(())));
        }
    }

    #[test]
    fn a_digest_becomes_its_hexadecimal_form() {
        let key = CacheKey::from_digest([0xAB; 32]);
        assert_eq!(key.as_str(), "ab".repeat(32));
    }
}
