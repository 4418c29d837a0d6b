//! What this process knows of the files, in memory: how large each is, when it was used last, when it dies.
//!
//! The files are the truth and this is a hint: it decides what goes first and keeps the counts, and never whether a
//! key is there. It is built from the files in the background ([`scan`](crate::scan)), costs about 130 bytes an entry,
//! and is never written down; the order of use lies in the files' own times.

use std::collections::{BTreeMap, BTreeSet};

use crate::layout::{Id, Store};

/// Files are counted in blocks of this many bytes, as most file systems give them room.
pub(crate) const BLOCK: u64 = 4096;

/// What is known about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// When it was used last, in microseconds since 1970: its place in the order.
    pub(crate) used: u64,
    /// Milliseconds since 1970; `i64::MAX`: never.
    pub(crate) deadline: i64,
    /// The length of the file.
    pub(crate) len: u32,
    /// The part of it that is neither head nor body.
    pub(crate) overhead: u8,
}

impl Meta {
    /// What it takes of the bound.
    pub(crate) const fn cost(&self) -> u64 {
        cost(self.len as u64)
    }

    fn bytes(&self) -> u64 {
        u64::from(self.len).saturating_sub(u64::from(self.overhead))
    }
}

/// What a file of `len` bytes takes of the bound.
pub(crate) const fn cost(len: u64) -> u64 {
    len.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Entries by name, by last use, by deadline, and their sums.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: BTreeMap<Id, Meta>,
    /// Responses and redirects. Parts of bodies have no place of their own: they go with their head.
    order: BTreeSet<(u64, Id)>,
    deadlines: [BTreeSet<(i64, Id)>; 3],
    counts: [u64; 3],
    bytes: [u64; 3],
    cost: u64,
}

impl Index {
    pub(crate) fn get(&self, id: Id) -> Option<Meta> {
        self.entries.get(&id).copied()
    }

    /// Puts an entry in place of what was known under its name.
    pub(crate) fn insert(&mut self, id: Id, meta: Meta) {
        self.remove(id);
        self.entries.insert(id, meta);
        if id.store() != Store::Bodies {
            self.order.insert((meta.used, id));
        }
        if meta.deadline != i64::MAX {
            id.store().of_mut(&mut self.deadlines).insert((meta.deadline, id));
        }
        let (count, bytes) = (id.store().of_mut(&mut self.counts), id.store().of_mut(&mut self.bytes));
        *count = count.saturating_add(1);
        *bytes = bytes.saturating_add(meta.bytes());
        self.cost = self.cost.saturating_add(meta.cost());
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<Meta> {
        let meta = self.entries.remove(&id)?;
        self.order.remove(&(meta.used, id));
        id.store().of_mut(&mut self.deadlines).remove(&(meta.deadline, id));
        let (count, bytes) = (id.store().of_mut(&mut self.counts), id.store().of_mut(&mut self.bytes));
        *count = count.saturating_sub(1);
        *bytes = bytes.saturating_sub(meta.bytes());
        self.cost = self.cost.saturating_sub(meta.cost());
        Some(meta)
    }

    /// Notes a use, unless a later one is known.
    pub(crate) fn touch(&mut self, id: Id, used: u64) {
        let Some(meta) = self.entries.get_mut(&id) else { return };
        if meta.used < used {
            if self.order.remove(&(meta.used, id)) {
                self.order.insert((used, id));
            }
            meta.used = used;
        }
    }

    /// Replaces what is known of a folder by what lies in it.
    pub(crate) fn replace_leaf(&mut self, store: Store, leaf: u8, found: &[(Id, Meta)]) {
        let (first, last) = Id::of_leaf(store, leaf);
        let known: Vec<_> = self.entries.range(first..=last).map(|(id, meta)| (*id, meta.used)).collect();
        for (id, used) in known {
            match found.binary_search_by_key(&id, |(id, _)| *id) {
                // A use that was not written down yet is later than what the file says.
                Ok(at) => {
                    if let Some((_, meta)) = found.get(at) {
                        self.insert(id, Meta { used: meta.used.max(used), ..*meta });
                    }
                }
                Err(_) => drop(self.remove(id)),
            }
        }
        for (id, meta) in found {
            if !self.entries.contains_key(id) {
                self.insert(*id, *meta);
            }
        }
    }

    /// The folders of a storage in which entries are known.
    pub(crate) fn leaves(&self, store: Store) -> BTreeSet<u8> {
        let mut leaves = BTreeSet::new();
        let (mut next, (_, end)) = (Id::of_leaf(store, 0).0, Id::of_leaf(store, 0xFF));
        while let Some((id, _)) = self.entries.range(next..=end).next() {
            leaves.insert(id.leaf());
            if id.leaf() == 0xFF {
                break;
            }
            next = Id::of_leaf(store, id.leaf().saturating_add(1)).0;
        }
        leaves
    }

    /// What is dead at `now` (milliseconds), at most `limit` of it, soonest first.
    pub(crate) fn dead(&self, store: Store, now: i64, limit: usize) -> Vec<Id> {
        let deadlines = store.of(&self.deadlines);
        deadlines.iter().take_while(|(deadline, _)| *deadline <= now).take(limit).map(|(_, id)| *id).collect()
    }

    /// How many live entries there are, and their bytes.
    pub(crate) fn totals(&self, store: Store, now: i64) -> (u64, u64) {
        let (mut count, mut bytes) = (*store.of(&self.counts), *store.of(&self.bytes));
        for (_, id) in store.of(&self.deadlines).iter().take_while(|(deadline, _)| *deadline <= now) {
            count = count.saturating_sub(1);
            bytes = bytes.saturating_sub(self.entries.get(id).map_or(0, Meta::bytes));
        }
        (count, bytes)
    }

    /// What all files take of the bound.
    pub(crate) const fn cost(&self) -> u64 {
        self.cost
    }

    /// The responses and redirects from the least recently used on.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = Id> {
        self.order.iter().map(|(_, id)| *id)
    }

    /// Parts whose head is not known and that are older than `before`, at most `limit`.
    pub(crate) fn orphans(&self, before: u64, limit: usize) -> Vec<Id> {
        let (first, last) = (Id::of_leaf(Store::Bodies, 0).0, Id::of_leaf(Store::Bodies, 0xFF).1);
        let old = self.entries.range(first..=last).filter(|(id, meta)| meta.used < before && !self.has_head(**id));
        old.take(limit).map(|(id, _)| *id).collect()
    }

    /// Whether any part of the head's body is known.
    pub(crate) fn has_parts(&self, head: Id) -> bool {
        let (first, last) = head.of_parts();
        self.entries.range(first..=last).next().is_some()
    }

    fn has_head(&self, part: Id) -> bool {
        [Store::Responses, Store::Redirects].into_iter().any(|store| {
            let (first, last) = part.of_heads(store);
            self.entries.range(first..=last).next().is_some()
        })
    }

    /// Everything that is known, for a look from outside.
    #[cfg(test)]
    fn recount(&self) -> (u64, u64, u64) {
        let all = self.entries.values();
        (all.len() as u64, self.entries.values().map(Meta::bytes).sum(), self.entries.values().map(Meta::cost).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_client_cache_core::storage::CacheKey;

    fn id(store: Store, number: u32) -> Id {
        Id::new(store, &CacheKey::new(&format!("key-{number}")).unwrap())
    }

    fn meta(used: u64, deadline: i64, len: u32) -> Meta {
        Meta { used, deadline, len, overhead: 50 }
    }

    /// Case 229: after any history the sums are those of what is there.
    #[test]
    fn the_sums_are_those_of_the_entries() {
        let mut index = Index::default();
        let mut random = fastrand::Rng::with_seed(7);
        for step in 0..20_000 {
            let id = id(Store::ALL[random.usize(0..3)], random.u32(0..200));
            match random.u32(0..4) {
                0 => drop(index.remove(id)),
                1 => index.touch(id, step),
                _ => {
                    let deadline = if random.bool() { i64::MAX } else { random.i64(0..1000) };
                    index.insert(id, meta(step, deadline, random.u32(50..20_000)));
                }
            }
        }
        let (count, bytes, cost) = index.recount();
        assert_eq!(index.counts.iter().sum::<u64>(), count);
        assert_eq!(index.bytes.iter().sum::<u64>(), bytes);
        assert_eq!(index.cost(), cost);
        let heads = count - index.counts[2];
        assert_eq!(index.order.len() as u64, heads);
        let (live, _) = index.totals(Store::Responses, 500);
        assert_eq!(live + index.dead(Store::Responses, 500, usize::MAX).len() as u64, index.counts[0]);
    }

    #[test]
    fn the_order_is_that_of_use() {
        let mut index = Index::default();
        for number in 1..=3 {
            index.insert(id(Store::Responses, number), meta(u64::from(number), i64::MAX, 100));
        }
        index.touch(id(Store::Responses, 1), 10);
        index.touch(id(Store::Responses, 1), 5);
        let order: Vec<_> = index.oldest().collect();
        assert_eq!(order, [2, 3, 1].map(|number| id(Store::Responses, number)));
    }

    #[test]
    fn a_folder_that_is_looked_at_again_shows_what_others_did() {
        let mut index = Index::default();
        let (gone, kept, new) = (id(Store::Responses, 1), id(Store::Responses, 2), id(Store::Responses, 3));
        for id in [gone, kept] {
            index.insert(id, meta(10, i64::MAX, 100));
        }
        index.replace_leaf(Store::Responses, gone.leaf(), &[]);
        index.replace_leaf(Store::Responses, kept.leaf(), &[(kept, meta(5, i64::MAX, 200))]);
        index.replace_leaf(Store::Responses, new.leaf(), &[(new, meta(7, i64::MAX, 300))]);
        assert_eq!(index.get(gone), None);
        assert_eq!(index.get(kept), Some(meta(10, i64::MAX, 200)));
        assert_eq!(index.totals(Store::Responses, 0), (2, 400));
        assert_eq!(index.leaves(Store::Responses), [kept.leaf(), new.leaf()].into());
    }

    #[test]
    fn parts_without_a_head_are_orphans() {
        let mut index = Index::default();
        let owner = CacheKey::from_digest([1; 32]);
        let part = Id::new(Store::Bodies, &hyper_client_cache_core::cache::parts::key(&owner, "aa", 0).unwrap());
        let head = Id::new(Store::Responses, &owner);
        index.insert(part, meta(1, i64::MAX, 100));
        assert_eq!(index.orphans(2, 10), [part]);
        assert_eq!(index.orphans(1, 10), []);
        index.insert(head, meta(1, i64::MAX, 100));
        assert!(index.has_parts(head));
        assert_eq!(index.orphans(2, 10), []);
    }
}
