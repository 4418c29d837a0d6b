//! Where an entry lies: from a key to a name, and the folders above it.
//!
//! ```text
//! <cache directory>/v1/             the version of this layout
//!   responses/ redirects/ bodies/   a folder for each storage
//!     a/b/                          two levels, by the first two digits of the name
//!       abc...                      30 hexadecimal digits: an entry
//!   tmp/<16 digits>/                what one process is just writing
//! ```
//!
//! A name is a hash, so it has one length and one alphabet whatever the key is (case 116), and says nothing about it.

use std::fmt::{self, Write as _};
use std::io;

use hyper_client_cache_core::storage::CacheKey;
use sha2::{Digest, Sha256};

use crate::sys::Dir;

/// The folder of this layout's version. A later version has another, and neither looks into the other's.
pub(crate) const VERSION_FOLDER: &str = "v1";

/// The folder of what is being written.
pub(crate) const TMP_FOLDER: &str = "tmp";

/// The bits of a half of a name: 15 hexadecimal digits.
const HALF: u64 = (1 << 60) - 1;

/// One of the three storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Store {
    Responses,
    Redirects,
    Bodies,
}

impl Store {
    pub(crate) const ALL: [Self; 3] = [Self::Responses, Self::Redirects, Self::Bodies];

    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Redirects => "redirects",
            Self::Bodies => "bodies",
        }
    }

    /// This storage's of three things.
    pub(crate) const fn of<T>(self, three: &[T; 3]) -> &T {
        let [responses, redirects, bodies] = three;
        match self {
            Self::Responses => responses,
            Self::Redirects => redirects,
            Self::Bodies => bodies,
        }
    }

    /// This storage's of three things.
    pub(crate) const fn of_mut<T>(self, three: &mut [T; 3]) -> &mut T {
        let [responses, redirects, bodies] = three;
        match self {
            Self::Responses => responses,
            Self::Redirects => redirects,
            Self::Bodies => bodies,
        }
    }

    const fn tag(self) -> u64 {
        match self {
            Self::Responses => 0,
            Self::Redirects => 1 << 60,
            Self::Bodies => 2 << 60,
        }
    }
}

/// A storage and a name in it, in 16 bytes. The order is that of storages, then folders, then names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    /// The storage, and the first 15 digits.
    high: u64,
    /// The last 15 digits.
    low: u64,
}

impl Id {
    pub(crate) fn new(store: Store, key: &CacheKey) -> Self {
        let (first, low) = halves(key.as_bytes());
        // Parts of one body lie together, where its head's name leads to them.
        let first = match (store, owner(key)) {
            (Store::Bodies, Some(owner)) => halves(owner.as_bytes()).0,
            _ => first,
        };
        Self { high: store.tag() | first, low }
    }

    /// The entry of this name in a storage's folder; `None` where it is not a name of ours.
    pub(crate) fn parse(store: Store, leaf: u8, name: &str) -> Option<Self> {
        let (first, last) = name.split_at_checked(15)?;
        let digits = |text: &str| {
            let ours = text.len() == 15 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            ours.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        };
        let id = Self { high: store.tag() | digits(first)?, low: digits(last)? };
        (id.leaf() == leaf).then_some(id)
    }

    pub(crate) const fn store(self) -> Store {
        match self.high >> 60 {
            0 => Store::Responses,
            1 => Store::Redirects,
            _ => Store::Bodies,
        }
    }

    /// The number of the folder of the second level.
    pub(crate) const fn leaf(self) -> u8 {
        ((self.high >> 52) & 0xFF) as u8
    }

    /// A number that spreads names evenly.
    pub(crate) const fn number(self) -> usize {
        (self.low & 0xFFFF_FFFF) as usize
    }

    pub(crate) fn name(self) -> Text<30> {
        Text::new(format_args!("{:015x}{:015x}", self.high & HALF, self.low))
    }

    /// From the storage's folder.
    pub(crate) fn path(self) -> Text<34> {
        let leaf = self.leaf();
        Text::new(format_args!("{:x}/{:x}/{:015x}{:015x}", leaf >> 4, leaf & 0xF, self.high & HALF, self.low))
    }

    /// The first and the last that an entry of a folder can have.
    pub(crate) const fn of_leaf(store: Store, leaf: u8) -> (Self, Self) {
        let first = store.tag() | ((leaf as u64) << 52);
        (Self { high: first, low: 0 }, Self { high: first | 0xF_FFFF_FFFF_FFFF, low: HALF })
    }

    /// The first and the last that a part of this head's bodies can have.
    pub(crate) const fn of_parts(self) -> (Self, Self) {
        let high = Store::Bodies.tag() | (self.high & HALF);
        (Self { high, low: 0 }, Self { high, low: HALF })
    }

    /// The first and the last that the head of this part can have in `store`.
    pub(crate) const fn of_heads(self, store: Store) -> (Self, Self) {
        let high = store.tag() | (self.high & HALF);
        (Self { high, low: 0 }, Self { high, low: HALF })
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.store().folder(), self.name().as_str())
    }
}

/// The path of a folder of the second level, from its storage's.
pub(crate) fn leaf_path(leaf: u8) -> Text<3> {
    Text::new(format_args!("{:x}/{:x}", leaf >> 4, leaf & 0xF))
}

/// Opens a folder of the second level.
pub(crate) fn open_leaf(store: &Dir, leaf: u8) -> io::Result<Dir> {
    store.open(leaf_path(leaf).as_str())
}

/// Opens a folder of the second level, and makes it where it is missing. `durable`: so that it is there after a crash.
pub(crate) fn make_leaf(store: &Dir, leaf: u8, durable: bool) -> io::Result<Dir> {
    match open_leaf(store, leaf) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let (first, second) = (Text::<1>::new(format_args!("{:x}", leaf >> 4)), leaf_path(leaf));
    let second = second.as_str().get(2..).unwrap_or_default();
    if store.make(first.as_str())? && durable {
        store.sync()?;
    }
    let above = store.open(first.as_str())?;
    if above.make(second)? && durable {
        above.sync()?;
    }
    above.open(second)
}

/// Removes a folder of the second level, and the one above it, where they are empty. Whoever is about to put something
/// there finds it gone and makes it again.
pub(crate) fn remove_leaf(store: &Dir, leaf: u8) {
    let (first, second) = (Text::<1>::new(format_args!("{:x}", leaf >> 4)), leaf_path(leaf));
    let Ok(above) = store.open(first.as_str()) else { return };
    if above.remove_dir(second.as_str().get(2..).unwrap_or_default()).is_ok() {
        drop(above);
        drop(store.remove_dir(first.as_str()));
    }
}

/// The folders of the second level that there are, in order.
pub(crate) fn leaves(store: &Dir) -> io::Result<Vec<u8>> {
    let mut leaves = Vec::new();
    for (first, is_dir) in store.names()? {
        let Some(high) = digit(&first).filter(|_| is_dir) else { continue };
        let above = match store.open(&first) {
            Ok(above) => above,
            // Gone meanwhile, or a link.
            Err(_) => continue,
        };
        for (second, is_dir) in above.names()? {
            leaves.extend(digit(&second).filter(|_| is_dir).map(|low| (high << 4) | low));
        }
    }
    leaves.sort_unstable();
    Ok(leaves)
}

/// A short text without an allocation: names are made at each hit.
#[derive(Clone, Copy)]
pub(crate) struct Text<const LEN: usize> {
    bytes: [u8; LEN],
    len: usize,
}

impl<const LEN: usize> Text<LEN> {
    fn new(text: fmt::Arguments<'_>) -> Self {
        let mut new = Self { bytes: [0; LEN], len: 0 };
        // Fails where it is too long, and every caller's has the length that it says.
        let _ = new.write_fmt(text);
        new
    }

    pub(crate) fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl<const LEN: usize> fmt::Write for Text<LEN> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len.saturating_add(text.len());
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

fn halves(bytes: &[u8]) -> (u64, u64) {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let half = |at: usize| {
        digest.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |half| u64::from_be_bytes(*half) >> 4)
    };
    (half(0), half(8))
}

/// The key of the head to which a part with this key belongs: parts are named `<owner>-<id>-<number>`.
fn owner(part: &CacheKey) -> Option<&str> {
    let (rest, _) = part.as_str().rsplit_once('-')?;
    rest.rsplit_once('-').map(|(owner, _)| owner)
}

fn digit(text: &str) -> Option<u8> {
    let ours = text.len() == 1 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ours.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_client_cache_core::cache::parts;

    fn key(text: &str) -> CacheKey {
        CacheKey::new(text).unwrap()
    }

    /// Case 116: whatever the key, a name is hexadecimal and has one length.
    #[test]
    fn a_name_is_hexadecimal_and_is_read_back() {
        for text in ["con", "nul", "-", "a", &"z".repeat(128), "a-b-c"] {
            for store in Store::ALL {
                let id = Id::new(store, &key(text));
                let name = id.name();
                assert_eq!(name.as_str().len(), 30, "{text}");
                assert_eq!(Id::parse(store, id.leaf(), name.as_str()), Some(id));
                assert_eq!(Id::parse(store, id.leaf() ^ 1, name.as_str()), None);
                assert_eq!(id.path().as_str(), format!("{}/{}", leaf_path(id.leaf()).as_str(), name.as_str()));
                assert_eq!(id.store(), store);
                let (first, last) = Id::of_leaf(store, id.leaf());
                assert!(first <= id && id <= last);
            }
        }
        for name in ["", "x", "..", &"g".repeat(30), &"A".repeat(30), &"0".repeat(31), "+0000000000000000000000000000a"]
        {
            assert_eq!(Id::parse(Store::Responses, 0, name), None, "{name}");
        }
    }

    #[test]
    fn the_parts_of_a_body_are_found_by_their_head() {
        let owner = CacheKey::from_digest([7; 32]);
        let head = Id::new(Store::Redirects, &owner);
        let (first, last) = head.of_parts();
        for number in [0, 1, 4095] {
            let part = Id::new(Store::Bodies, &parts::key(&owner, "0123456789abcdef", number).unwrap());
            assert!(first <= part && part <= last);
            let (first, last) = part.of_heads(Store::Redirects);
            assert!(first <= head && head <= last);
        }
        let other = Id::new(Store::Bodies, &parts::key(&CacheKey::from_digest([8; 32]), "aa", 0).unwrap());
        assert!(!(first..=last).contains(&other));
    }
}
