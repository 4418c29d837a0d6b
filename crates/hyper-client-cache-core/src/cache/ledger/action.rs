//! What a key's job is to do, and what it becomes where another was to be done first.

use std::sync::Arc;

use crate::cache::Stored;
use crate::cache::record::Record;

#[derive(Clone)]
pub(super) enum Action {
    Put {
        stored: Stored,
        replaced: Replaced,
        limit: usize,
        // Whether what the store still has under the key was to be removed, so that an index must not take it up again.
        alone: bool,
    },
    /// A new head for a body that stays as it is.
    Refresh {
        stored: Stored,
        // What was counted before the look-up that found the old head.
        seen: u64,
        // Whether another record may have taken its place since.
        verify: bool,
    },
    Delete,
}

impl Action {
    /// What this becomes where `earlier` may or may not have been carried out.
    pub(super) fn after(self, earlier: &Self) -> Self {
        // What a look-up has found is no longer what is there.
        let replaced = Replaced::Unknown;
        match (self, earlier) {
            // The record that a new head belongs to may not be stored yet: then all of it is to be.
            (Self::Refresh { stored, .. }, Self::Put { stored: earlier, limit, alone, .. }) => {
                let stored = if has_same_body(&stored, earlier) { stored } else { earlier.clone() };
                Self::Put { stored, replaced, limit: *limit, alone: *alone }
            }
            (Self::Refresh { stored, seen, .. }, Self::Refresh { .. }) => Self::Refresh { stored, seen, verify: true },
            // Nor does a new head bring back what is to be deleted.
            (Self::Refresh { .. }, Self::Delete) => Self::Delete,
            (Self::Put { mut stored, limit, alone, .. }, earlier) => {
                // Two variants that were fetched at once: the index names both.
                if let Some(both) = earlier.record().and_then(|earlier| united(&stored.record, earlier)) {
                    stored.record = Arc::new(both);
                }
                let alone = alone || matches!(earlier, Self::Delete | Self::Put { alone: true, .. });
                Self::Put { stored, replaced, limit, alone }
            }
            (action, _) => action,
        }
    }

    /// The same, without the knowledge that is out of date by now.
    pub(super) fn if_current(self, changes: u64) -> Self {
        match self {
            Self::Put { stored, replaced: Replaced::Known(_, then), limit, alone } if then != changes => {
                Self::Put { stored, replaced: Replaced::Unknown, limit, alone }
            }
            Self::Refresh { stored, seen, .. } => Self::Refresh { stored, seen, verify: seen != changes },
            action => action,
        }
    }

    pub(super) fn record(&self) -> Option<&Arc<Record>> {
        match self {
            Self::Put { stored, .. } | Self::Refresh { stored, .. } => Some(&stored.record),
            Self::Delete => None,
        }
    }

    pub(super) fn parts_id(&self) -> Option<&str> {
        self.record()?.parts_id()
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put { stored, .. } | Self::Refresh { stored, .. } => stored.body.len().saturating_add(1024),
            Self::Delete => 0,
        }
    }
}

/// What a record takes the place of: parts of its body and a redirect are removed with it.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums)] // there is no third
pub enum Replaced {
    /// What a look-up has found, and [what was counted](super::Ledger::changes) before it. Where the count has moved on, this
    /// is the same as `Unknown`.
    Known(Option<Stored>, u64),
    /// It is looked up when it is replaced.
    Unknown,
}

/// Whether a new head of one is one of the other.
pub(super) fn has_same_body(one: &Stored, other: &Stored) -> bool {
    one.record.parts_id() == other.record.parts_id() && one.body == other.body
}

/// Both indexes or groups as one; `None` where they are not of one kind.
pub(super) fn united(newer: &Record, older: &Record) -> Option<Record> {
    match (newer, older) {
        (Record::Variants(newer), Record::Variants(older)) => {
            let mut both = newer.clone();
            both.add_older(older);
            Some(Record::Variants(both))
        }
        (Record::Group(newer), Record::Group(older)) => {
            let mut both = newer.clone();
            both.add_older(older);
            Some(Record::Group(both))
        }
        _ => None,
    }
}
