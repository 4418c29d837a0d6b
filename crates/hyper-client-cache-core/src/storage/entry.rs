//! What is stored: two byte strings and a deadline.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
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
    /// What the head was decoded to, where somebody already did: for storages that keep entries as values.
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

    /// Sets the [memo](Self::memo): a storage in memory gives each entry that it keeps a [shared](Memo::shared) one.
    #[must_use]
    pub fn with_memo(mut self, memo: Memo) -> Self {
        self.memo = memo;
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

/// A place for the decoded head, which travels with its entry through storages that keep entries as values, so that
/// only the first hit in memory decodes. Opaque to storages.
///
/// By default there is no such place: an entry that is read from a store's bytes costs no allocation for it.
#[derive(Clone, Default)]
pub struct Memo(Option<Arc<OnceLock<Arc<dyn Any + Send + Sync>>>>);

impl Memo {
    /// An empty place that all clones of the entry share: what the first reader decodes, the others find.
    #[must_use]
    pub fn shared() -> Self {
        Self(Some(Arc::default()))
    }

    /// What was put here, if it is a `T`.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.as_ref()?.get()?).downcast().ok()
    }

    /// What was put here, else what `decode` makes, which is put here if there is a place; `None` where `decode` fails.
    ///
    /// Two readers at once may both decode; one result is kept.
    pub fn get_or_decode<T: Any + Send + Sync>(&self, decode: impl FnOnce() -> Option<T>) -> Option<Arc<T>> {
        if let Some(found) = self.get() {
            return Some(found);
        }
        let made = Arc::new(decode()?);
        if let Some(place) = &self.0 {
            // Occupied meanwhile, or by another type: what was made is as good.
            let _ = place.set(made.clone());
        }
        self.get().or(Some(made))
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filled = self.0.as_ref().is_some_and(|place| place.get().is_some());
        f.write_str(if filled { "Memo(..)" } else { "Memo" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_first_reader_decodes_the_others_find() {
        let entry = Entry::new("head", "").with_memo(Memo::shared());
        let clone = entry.clone();
        assert_eq!(entry.memo.get_or_decode::<u32>(|| None), None);
        let first = entry.memo.get_or_decode(|| Some(1_u32)).unwrap();
        let second = clone.memo.get_or_decode::<u32>(|| unreachable!("decoded already")).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(*clone.memo.get_or_decode(|| Some("another type")).unwrap(), "another type");
    }

    #[test]
    fn an_entry_without_a_place_decodes_each_time() {
        let memo = Memo::default();
        assert_eq!(memo.get_or_decode(|| Some(1)).as_deref(), Some(&1));
        assert_eq!(memo.get_or_decode(|| Some(2)).as_deref(), Some(&2));
    }
}
