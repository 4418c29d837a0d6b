//! Which entries were read since when: noted in memory on the hot path, written into the files' times off it.
//!
//! The time of a file's last change is that of its last use, so the order of use survives the process without a journal
//! that could be cut or grow (cases 136, 137 and 231 have nothing to happen to).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Shared;
use crate::layout::Id;

/// How many entries may be noted before they are written down.
const MOST: usize = 4096;

/// How long a note may stay in memory while the cache is in use.
const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Uses(Mutex<Noted>);

#[derive(Debug)]
struct Noted {
    /// Not known to the index yet.
    fresh: HashMap<Id, u64>,
    /// Known to the index, not written down yet.
    unsaved: HashMap<Id, u64>,
    saved: Instant,
}

impl Uses {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Noted { fresh: HashMap::new(), unsaved: HashMap::new(), saved: Instant::now() }))
    }

    /// Notes a use; `true` where it is time to write down what was noted.
    pub(crate) fn note(&self, id: Id, stamp: u64) -> bool {
        let mut noted = self.noted();
        let is_new = noted.fresh.insert(id, stamp).is_none();
        is_new && (noted.fresh.len() >= MOST || noted.saved.elapsed() >= INTERVAL)
    }

    /// What the index does not know yet.
    pub(crate) fn take_fresh(&self) -> HashMap<Id, u64> {
        let mut noted = self.noted();
        let fresh = std::mem::take(&mut noted.fresh);
        if noted.unsaved.len() < MOST.saturating_mul(4) {
            noted.unsaved.extend(&fresh);
        }
        fresh
    }

    /// What is to be written down, in the order of the files.
    pub(crate) fn take_unsaved(&self) -> Vec<(Id, u64)> {
        let mut noted = self.noted();
        noted.saved = Instant::now();
        let mut all: Vec<_> = std::mem::take(&mut noted.unsaved).into_iter().collect();
        drop(noted);
        all.sort_unstable();
        all
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Tells the index what was read.
    pub(crate) fn apply_uses(&self) {
        let fresh = self.uses.take_fresh();
        if !fresh.is_empty() {
            let mut index = self.index();
            for (id, used) in fresh {
                index.touch(id, used);
            }
        }
    }

    /// Writes down what was read since the last time.
    pub(crate) fn save_uses(&self) {
        self.apply_uses();
        crate::ops::save_uses(&self.folder(), &self.uses.take_unsaved());
    }
}
