//! Who changes a key when: one after the other, in the order of the calls, in this process.
//!
//! A change goes on to its end on its thread where its future is dropped. Whoever changes the same key after that waits
//! for it, so that a write that somebody gave up does not come after the deletion that followed it (case 239).
//! Between processes the last one to change a name wins, as everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::layout::Id;

/// Keys share turns by their number modulo this.
const TURNS: usize = 128;

/// Locks that are handed out in the order in which they were asked for.
#[derive(Debug)]
pub(crate) struct Turns(Vec<Arc<Mutex<()>>>);

/// Held until the change is done.
pub(crate) type Turn = Vec<OwnedMutexGuard<()>>;

impl Turns {
    pub(crate) fn new() -> Self {
        Self((0..TURNS).map(|_| Arc::default()).collect())
    }

    /// Waits until nobody else changes one of these.
    pub(crate) async fn take(&self, ids: impl IntoIterator<Item = Id>) -> Turn {
        // In order, so that two who want the same ones do not wait for each other.
        let places: BTreeSet<usize> = ids.into_iter().map(|id| id.number() % TURNS).collect();
        let mut turn = Vec::with_capacity(places.len());
        for place in places {
            if let Some(lock) = self.0.get(place) {
                turn.push(Arc::clone(lock).lock_owned().await);
            }
        }
        turn
    }

    /// Waits until nobody else changes anything.
    pub(crate) async fn take_all(&self) -> Turn {
        let mut turn = Vec::with_capacity(TURNS);
        for lock in &self.0 {
            turn.push(Arc::clone(lock).lock_owned().await);
        }
        turn
    }
}
