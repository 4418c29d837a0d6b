//! What is stored: two byte strings and a deadline.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

/// A head, a body, and the moment after which both are useless.
///
/// Cloning shares the bytes. Two entries are equal when head, body and deadline are; the [memo](Entry::memo) does not
/// count.
#[derive(Clone)]
#[non_exhaustive]
pub struct Entry {
    /// Metadata, opaque to the storage.
    pub head: Bytes,
    /// The body as it came over the wire, or a part of one.
    pub body: Bytes,
    /// The moment from which the entry is invisible; `None`: kept until deleted.
    ///
    /// This is not freshness: it is the end of freshness plus whatever grace the entry has for being served stale or
    /// being revalidated.
    pub retain_until: Option<SystemTime>,
    /// What the head was decoded to, where somebody already did. Lost in any store but memory.
    pub memo: Memo,
}

impl Entry {
    /// An entry that is kept until it is deleted.
    #[must_use]
    pub fn new(head: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        Self { head: head.into(), body: body.into(), retain_until: None, memo: Memo::default() }
    }

    /// Sets the deadline.
    #[must_use]
    pub fn retain_until(mut self, deadline: impl Into<Option<SystemTime>>) -> Self {
        self.retain_until = deadline.into();
        self
    }

    /// Attaches what the head decodes to.
    #[must_use]
    pub fn with_memo(mut self, memo: Arc<dyn Any + Send + Sync>) -> Self {
        self.memo = Memo(Some(memo));
        self
    }

    /// Whether the entry is past its deadline at `now` (rule S5).
    #[must_use]
    pub fn is_dead(&self, now: SystemTime) -> bool {
        self.retain_until.is_some_and(|deadline| deadline <= now)
    }

    /// The bytes of head and body together.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.head.len() as u64).saturating_add(self.body.len() as u64)
    }

    /// Whether head and body are both empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }

    /// The same entry with an empty body.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.body = Bytes::new();
        self
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head && self.body == other.body && self.retain_until == other.retain_until
    }
}

impl Eq for Entry {}

// Contents may be anybody's: lengths only.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("head", &format_args!("{} bytes", self.head.len()))
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("retain_until", &self.retain_until)
            .finish()
    }
}

/// A decoded head that travels with its entry through storages that keep entries as values, so that a hit in memory
/// decodes nothing. Opaque to storages, which only hand it on.
#[derive(Clone, Default)]
pub struct Memo(Option<Arc<dyn Any + Send + Sync>>);

impl Memo {
    /// What was attached, if it is a `T`.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.clone()?.downcast().ok()
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Memo(..)" } else { "Memo" })
    }
}
