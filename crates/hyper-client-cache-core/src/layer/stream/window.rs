//! What is in memory of a shared body: the bytes from its base to its end, in the pieces that they came in.
//!
//! An origin may send any number of pieces of a single byte. So a piece is found by its place and not by walking there,
//! and small ones are put together: what a body costs goes by its length, in time and in memory.

use std::collections::VecDeque;

use bytes::Bytes;

/// Pieces shorter than this are put together.
const SMALL: usize = 1024;

/// How many of them at a time: a copy of each byte, so not before it is worth it.
const MANY: usize = 256;

/// The bytes of a body from [`base`](Self::base) to [`end`](Self::end).
#[derive(Default)]
pub(super) struct Window {
    pieces: VecDeque<Piece>,
    base: u64,
    end: u64,
    // How many of the last pieces are small and not put together yet.
    loose: usize,
}

struct Piece {
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// The offset of the first byte that is there.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// How long the body is so far.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes are there.
    pub(super) const fn len(&self) -> u64 {
        self.end.saturating_sub(self.base)
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.loose = if bytes.len() < SMALL { self.loose.saturating_add(1) } else { 0 };
        let start = self.end;
        self.end = start.saturating_add(bytes.len() as u64);
        self.pieces.push_back(Piece { start, bytes });
        if self.loose >= MANY {
            self.put_together();
        }
    }

    fn put_together(&mut self) {
        let small = self.pieces.split_off(self.pieces.len().saturating_sub(self.loose));
        self.loose = 0;
        let Some(start) = small.front().map(|piece| piece.start) else { return };
        let mut bytes = Vec::with_capacity(usize::try_from(self.end.saturating_sub(start)).unwrap_or(0));
        small.iter().for_each(|piece| bytes.extend_from_slice(&piece.bytes));
        self.pieces.push_back(Piece { start, bytes: bytes.into() });
    }

    /// The piece at `offset`, from there to its end.
    pub(super) fn at(&self, offset: u64) -> Option<Bytes> {
        let piece = self.pieces.get(self.place(offset)?)?;
        let skip = usize::try_from(offset.saturating_sub(piece.start)).ok()?;
        (skip < piece.bytes.len()).then(|| piece.bytes.slice(skip..))
    }

    /// What is there from `offset` on; nothing where that is past the end, or is not there any more.
    pub(super) fn from(&self, offset: u64) -> impl Iterator<Item = &[u8]> {
        let first = self.place(offset).unwrap_or(self.pieces.len());
        self.pieces.range(first..).map(move |piece| {
            let skip = usize::try_from(offset.saturating_sub(piece.start)).unwrap_or(usize::MAX);
            piece.bytes.get(skip..).unwrap_or_default()
        })
    }

    /// Which piece begins last at `offset` or before.
    fn place(&self, offset: u64) -> Option<usize> {
        self.pieces.partition_point(|piece| piece.start <= offset).checked_sub(1)
    }

    /// Where the first piece ends, and whether it is the only one.
    pub(super) fn first(&self) -> Option<(u64, bool)> {
        let first = self.pieces.front()?;
        Some((first.start.saturating_add(first.bytes.len() as u64), self.pieces.len() == 1))
    }

    /// Lets go of the first piece.
    pub(super) fn pop(&mut self) {
        if let Some(first) = self.pieces.pop_front() {
            self.base = first.start.saturating_add(first.bytes.len() as u64);
            self.loose = self.loose.min(self.pieces.len());
        }
    }

    /// Lets go of all pieces.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.base = self.end;
        self.loose = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(lens: impl IntoIterator<Item = usize>) -> (Window, Vec<u8>) {
        let (mut window, mut all) = (Window::default(), Vec::new());
        for len in lens {
            let piece: Vec<u8> = (all.len()..).take(len).map(|at| (at % 251) as u8).collect();
            all.extend_from_slice(&piece);
            window.push(piece.into());
        }
        (window, all)
    }

    #[test]
    fn every_byte_is_found_where_it_is_whatever_the_pieces() {
        for lens in [vec![1; 1000], vec![3000, 1, 2, 3000, 7], [vec![1; 600], vec![2000], vec![2; 300]].concat()] {
            let (mut window, all) = window(lens);
            for popped in 0..3 {
                let base = usize::try_from(window.base()).unwrap();
                for offset in base..all.len() {
                    let piece = window.at(offset as u64).unwrap();
                    assert!(!piece.is_empty() && all[offset..].starts_with(&piece), "{offset}, {popped} popped");
                    let rest: Vec<u8> = window.from(offset as u64).flatten().copied().collect();
                    assert_eq!(rest, all[offset..]);
                }
                assert!(window.at(all.len() as u64).is_none());
                assert!((0..base).all(|gone| window.at(gone as u64).is_none()));
                window.pop();
            }
        }
    }

    /// Whoever sends single bytes makes the body no longer in memory than it is.
    #[test]
    fn small_pieces_are_put_together() {
        let (window, all) = window(std::iter::repeat_n(1, 256 * 1024));
        assert_eq!(window.len(), all.len() as u64);
        assert!(window.pieces.len() <= all.len() / MANY + MANY, "{} pieces", window.pieces.len());
    }

    #[test]
    fn large_pieces_are_kept_as_they_came() {
        let (window, _) = window(std::iter::repeat_n(SMALL, 300));
        assert_eq!(window.pieces.len(), 300);
    }

    #[test]
    fn what_is_popped_meanwhile_is_not_put_together() {
        let mut window = Window::default();
        for at in 0..2000_u64 {
            window.push(Bytes::from_static(b"x"));
            assert_eq!((window.at(at).unwrap().len(), window.len()), (1, 1));
            window.pop();
        }
        window.clear();
        assert_eq!((window.base(), window.end(), window.first()), (2000, 2000, None));
    }
}
