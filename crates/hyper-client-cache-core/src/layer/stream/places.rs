//! How far the readers of a shared body are, and the hash of what each has had.

use std::hash::Hasher;

use twox_hash::XxHash3_64;

use super::{Core, Keep};

/// How far a reader is.
pub(super) struct Place {
    pub(super) reader: u64,
    pub(super) offset: u64,
    // Of what it has had: noted only where it may fall behind.
    pub(super) hash: Option<Box<XxHash3_64>>,
}

impl Core {
    pub(super) fn add_reader(&mut self, offset: u64) -> u64 {
        let id = self.next_reader;
        self.next_reader = id.wrapping_add(1);
        self.readers.push(Place { reader: id, offset, hash: None });
        id
    }

    pub(super) fn remove_reader(&mut self, id: u64) {
        let Some(at) = self.readers.iter().position(|place| place.reader == id) else { return };
        let place = self.readers.swap_remove(at);
        if let Some(hash) = place.hash
            && self.furthest.is_none_or(|(offset, _)| offset < place.offset)
        {
            self.furthest = Some((place.offset, hash.finish()));
        }
    }

    /// The hash of the first `len` bytes, where it happens to be known.
    pub(super) fn hash_of(&self, len: u64) -> Option<u64> {
        let of_readers = self.readers.iter().filter_map(|place| Some((place.offset, place.hash.as_ref()?.finish())));
        // Whether or not the store has failed: it is of what came.
        let of_spool = match &self.keep {
            Keep::Spool(spool) => Some((self.filed, spool.hash().finish())),
            Keep::Whole { .. } | Keep::Deciding(_) | Keep::Nothing => None,
        };
        let mut known = of_readers.chain(of_spool).chain(self.furthest);
        known.find(|(offset, _)| *offset == len).map(|(_, hash)| hash)
    }

    /// Begins to note the hash of what each reader has had, so that whoever falls behind can go on by a request of its own.
    /// As long as one reads alone, and as long as all is in memory, that is not needed and costs nothing. Who comes when the
    /// others have gone is behind already.
    pub(super) fn note_hashes(&mut self) {
        if self.readers.len() < 2 && self.readers.iter().all(|place| place.offset >= self.filed) {
            return;
        }
        for place in self.readers.iter_mut().filter(|place| place.hash.is_none()) {
            let (from, mut hash) = match &self.keep {
                _ if self.window.base() == 0 => (0, XxHash3_64::new()),
                // Who has read alone is not behind what the store was given.
                Keep::Spool(spool) if place.offset >= self.filed => (self.filed, spool.hash().clone()),
                _ if place.offset == 0 => (0, XxHash3_64::new()),
                _ => continue,
            };
            let mut missing = usize::try_from(place.offset.saturating_sub(from)).unwrap_or(usize::MAX);
            for piece in self.window.from(from) {
                let piece = piece.get(..missing).unwrap_or(piece);
                hash.write(piece);
                missing = missing.saturating_sub(piece.len());
            }
            place.hash = Some(Box::new(hash));
        }
    }
}
