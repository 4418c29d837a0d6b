//! What the writer is asked to do.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use hyper_client_cache_core::storage::{CacheKey, Entry, frame};
use tokio::sync::oneshot;

use crate::error::Result;
use crate::sql::Table;

/// How many tasks may wait for the writer before the next one waits to be let in.
pub(crate) const CAPACITY: usize = 1024;

/// The upkeep of an entry in bytes, which counts against the bound: its key, the columns of its row and its index entries.
pub const ENTRY_OVERHEAD: u64 = 256;

/// A task in the queue.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) task: Task,
    /// When it was queued: its budget for locks of other processes begins here.
    pub(crate) since: Instant,
    /// Where the outcome goes: a number whose meaning depends on the task.
    pub(crate) reply: Option<oneshot::Sender<Result<u64>>>,
}

/// A task. The outcome is how many live entries there were, unless said otherwise.
#[derive(Debug)]
pub(crate) enum Task {
    /// Insert or replace. Outcome: nothing.
    Write(Table, CacheKey, NewRow),
    /// Replace the head where the body is the same, the whole where it is not. Outcome: 1 where an entry was there.
    Refresh(Table, CacheKey, NewRow),
    /// Remove one entry.
    Delete(Table, CacheKey),
    /// Remove every entry of a table.
    Clear(Table),
    /// Remove what does not verify, if it is still the same. Outcome: nothing.
    DropDamaged(Table, CacheKey, Bytes),
    /// All of these in one transaction of their own.
    Together(Vec<Self>),
    /// Remove what is dead. Outcome: how many went.
    Expire(Table, SystemTime),
    /// A reader met damage in the file of this generation: set it aside. Outcome: nothing.
    Damaged(u64),
    /// A reader found another file than that of this generation: open what is there now. Outcome: nothing.
    Moved(u64),
    /// Ask whether another process has written. Outcome: nothing.
    LookForChanges,
    /// Finish. Outcome: nothing.
    Close,
}

/// A row to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub(crate) retain_until: Option<i64>,
    /// Bytes of head and body.
    pub(crate) len: u64,
    pub(crate) used: i64,
    pub(crate) block: Bytes,
    pub(crate) body: Bytes,
}

impl NewRow {
    /// The row of an entry; `used` is its place in the order of use.
    pub(crate) fn new(entry: Entry, used: i64) -> Self {
        let block = frame::block(&entry);
        Self { retain_until: deadline_of(&block), len: entry.len(), used, block, body: entry.body }
    }

    /// What the row counts against the bound.
    pub(crate) const fn charge(&self) -> u64 {
        self.len.saturating_add(ENTRY_OVERHEAD)
    }
}

/// The deadline as the block has it, so that column and block cannot differ by a rounding.
fn deadline_of(block: &[u8]) -> Option<i64> {
    const NONE: i64 = i64::MAX;
    let bytes = block.get(16..24)?.first_chunk::<8>()?;
    Some(i64::from_be_bytes(*bytes)).filter(|millis| *millis != NONE)
}

/// The bytes of a block that say what body belongs to it: its length and its checksum.
pub(crate) fn body_mark(block: &[u8]) -> Option<(&[u8], &[u8])> {
    Some((block.get(8..16)?, block.get(32..40)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_column_has_the_deadline_of_the_block() {
        let entry = Entry::new("head", "body");
        assert_eq!(NewRow::new(entry.clone(), 0).retain_until, None);
        let entry = entry.retain_until(UNIX_EPOCH + Duration::from_micros(1500));
        assert_eq!(NewRow::new(entry, 0).retain_until, Some(2));
    }

    #[test]
    fn the_mark_changes_with_the_body_and_not_with_the_head() {
        let mark = |head: &'static str, body: &'static str| {
            let block = frame::block(&Entry::new(head, body));
            let (len, sum) = body_mark(&block).unwrap();
            (len.to_vec(), sum.to_vec())
        };
        assert_eq!(mark("a", "body"), mark("b", "body"));
        assert_ne!(mark("a", "body"), mark("a", "bodY"));
    }
}
