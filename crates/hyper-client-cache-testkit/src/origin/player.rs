//! The steps of a body, played back one after the other: what both the hyper path and the hand-written path send.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Gate;
use super::pattern::pattern;

/// One step of a body.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    Pattern(u64),
    Wait(Gate),
    Pause(Duration),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern(len) => *len,
            Self::Wait(_) | Self::Pause(_) => 0,
        }
    }
}

/// The pieces of a body, played back one after the other.
#[derive(Clone, Debug)]
pub(super) struct Player {
    pieces: Arc<[Piece]>,
    at: usize,
    // Within the present pattern, and of all patterns together.
    within: u64,
    offset: u64,
    budget: u64,
}

impl Player {
    /// Plays `pieces` up to `limit` bytes.
    pub(super) fn new(pieces: &[Piece], limit: Option<u64>) -> Self {
        Self { pieces: pieces.into(), at: 0, within: 0, offset: 0, budget: limit.unwrap_or(u64::MAX) }
    }

    pub(super) fn total(pieces: &[Piece]) -> u64 {
        pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.len()))
    }

    /// The next bytes, never empty; waits where the script says so.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        while self.budget > 0 {
            let piece = self.pieces.get(self.at)?.clone();
            let bytes = match piece {
                Piece::Bytes(bytes) => {
                    self.at = self.at.saturating_add(1);
                    bytes
                }
                Piece::Pattern(len) => {
                    let bytes = pattern(self.offset, len.saturating_sub(self.within));
                    self.within = self.within.saturating_add(bytes.len() as u64);
                    self.offset = self.offset.saturating_add(bytes.len() as u64);
                    if bytes.is_empty() {
                        self.at = self.at.saturating_add(1);
                        self.within = 0;
                    }
                    bytes
                }
                Piece::Wait(gate) => {
                    gate.pass().await;
                    self.at = self.at.saturating_add(1);
                    continue;
                }
                Piece::Pause(time) => {
                    tokio::time::sleep(time).await;
                    self.at = self.at.saturating_add(1);
                    continue;
                }
            };
            let len = usize::try_from(self.budget).unwrap_or(usize::MAX).min(bytes.len());
            if len > 0 {
                self.budget = self.budget.saturating_sub(len as u64);
                return Some(bytes.slice(..len));
            }
        }
        None
    }
}
