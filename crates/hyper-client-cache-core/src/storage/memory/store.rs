//! The bounded map beneath the memory backend: quick_cache, kept counters, and an index of deadlines.
//!
//! One store serves up to three storages, its spaces, under one budget.
//! Each entry gets a number when it enters and leaves through exactly one door (`leave`), whatever made it go: so the
//! counters and the index are exact, and overwriting one key for ever lets nothing grow.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Equivalent, Lifecycle, OptionsBuilder, Weighter};

use super::limits::Limits;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{CacheKey, Entry, Memo};

/// How many spaces a store has: responses, redirects, parts of bodies.
pub(crate) const SPACES: usize = 3;

// Up to this length, head and body are copied into one block of their own when stored: a slice of a network buffer
// would keep the whole buffer, and a hit copies nothing either way.
const COMPACT: usize = 16 * 1024;

// How many dead entries are looked up under one lock of the index.
const BATCH: usize = 256;

/// Entries of several spaces under one budget.
pub(crate) struct Store {
    cache: Cache<Name, Item, Weigher, DefaultHashBuilder, Collect>,
    spaces: [Space; SPACES],
    limits: Limits,
    clock: Arc<dyn Clock>,
    ids: AtomicU64,
}

#[derive(Default)]
struct Space {
    closed: AtomicBool,
    count: AtomicU64,
    bytes: AtomicU64,
    evicted: AtomicU64,
    // By deadline and number; entries without a deadline are not in it.
    deadlines: Mutex<BTreeMap<(SystemTime, u64), Dated>>,
}

#[derive(Clone)]
struct Dated {
    text: Arc<str>,
    len: u64,
}

impl Store {
    pub(crate) fn new(limits: Limits, clock: Arc<dyn Clock>) -> Result<Self> {
        let options = OptionsBuilder::new()
            .weight_capacity(limits.capacity)
            .estimated_items_capacity(limits.estimated_entries)
            .shards(limits.shards)
            .hot_allocation(limits.hot_allocation)
            .build()
            .map_err(|error| Error::new(ErrorKind::Config, "the bounds of the memory storage").with_source(error))?;
        let weigher = Weigher { least: limits.least_weight, by_bytes: limits.by_bytes };
        let cache = Cache::with_options(options, weigher, DefaultHashBuilder::default(), Collect);
        Ok(Self { cache, spaces: Default::default(), limits, clock, ids: AtomicU64::new(0) })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The live entry under `key`.
    pub(crate) fn read(&self, space: u8, key: &CacheKey) -> Result<Option<Entry>> {
        self.open_space(space)?;
        let found = self.cache.get(&Lookup { space, text: key.as_str() });
        Ok(found.map(|item| item.entry).filter(|entry| !self.is_dead(entry)))
    }

    /// Whether a live entry is under `key`; does not count as a use of it.
    pub(crate) fn contains(&self, space: u8, key: &CacheKey) -> Result<bool> {
        self.open_space(space)?;
        let found = self.cache.peek(&Lookup { space, text: key.as_str() });
        Ok(found.is_some_and(|item| !self.is_dead(&item.entry)))
    }

    pub(crate) fn write(&self, space: u8, key: &CacheKey, entry: Entry) -> Result<()> {
        let (name, item) = self.enter(space, key, entry)?;
        let (text, id) = (Arc::clone(&name.text), item.id);
        let mut gone = Gone::default();
        self.cache.insert_with_lifecycle(name, item, &mut gone);
        self.settle(gone, space, &text, id);
        Ok(())
    }

    /// Replaces a live entry; `false` where there is none.
    pub(crate) fn replace(&self, space: u8, key: &CacheKey, entry: Entry) -> Result<bool> {
        if !self.contains(space, key)? {
            return Ok(false);
        }
        let (name, item) = self.enter(space, key, entry)?;
        let (text, id) = (Arc::clone(&name.text), item.id);
        let mut gone = Gone::default();
        let refused = self.cache.replace_with_lifecycle(name, item, false, &mut gone);
        self.settle(gone, space, &text, id);
        if let Err((name, item)) = refused {
            self.leave(&name, &item);
            return Ok(false);
        }
        Ok(true)
    }

    /// Removes what is under `key`; `true` where it was live.
    pub(crate) fn delete(&self, space: u8, key: &CacheKey) -> Result<bool> {
        self.open_space(space)?;
        let Some((name, item)) = self.cache.remove(&Lookup { space, text: key.as_str() }) else { return Ok(false) };
        self.leave(&name, &item);
        Ok(!self.is_dead(&item.entry))
    }

    /// Removes every entry that is in the space when the call begins.
    pub(crate) fn clear(&self, space: u8) -> Result<()> {
        self.open_space(space)?;
        self.empty(space);
        Ok(())
    }

    /// Removes what is dead at `now`, oldest deadline first, and says how many. Touches nothing else.
    pub(crate) fn delete_expired(&self, space: u8, now: SystemTime) -> Result<u64> {
        let held = self.open_space(space)?;
        let mut removed: u64 = 0;
        let mut after = Bound::Unbounded;
        loop {
            let dead: Vec<_> = {
                let deadlines = lock(&held.deadlines);
                let range = deadlines.range((after, Bound::Included((now, u64::MAX))));
                range.take(BATCH).map(|(at, dated)| (*at, Arc::clone(&dated.text))).collect()
            };
            let Some((last, _)) = dead.last() else { return Ok(removed) };
            after = Bound::Excluded(*last);
            for ((_, id), text) in dead {
                // Overwritten meanwhile, or not yet inserted: whoever does that keeps the index.
                if let Some((name, item)) = self.cache.remove_if(&Name { space, text }, |item| item.id == id) {
                    self.leave(&name, &item);
                    removed = removed.saturating_add(1);
                }
            }
        }
    }

    /// The live entries of a space, one at a time: no lock is held between two of them, nothing is collected.
    pub(crate) fn iter(&self, space: u8) -> impl Iterator<Item = (CacheKey, Entry)> + Send + '_ {
        self.cache
            .iter()
            .filter(move |(name, item)| name.space == space && !self.is_dead(&item.entry))
            .filter_map(|(name, item)| Some((CacheKey::new(&name.text).ok()?, item.entry)))
    }

    /// How many live entries there are. Costs what the dead ones cost that are still held.
    pub(crate) fn size(&self, space: u8) -> Result<u64> {
        let held = self.open_space(space)?;
        let now = self.clock.now();
        let dead = lock(&held.deadlines).range(..=(now, u64::MAX)).count();
        Ok(held.count.load(Ordering::Relaxed).saturating_sub(dead as u64))
    }

    /// The bytes of heads and bodies of the live entries.
    pub(crate) fn bytes(&self, space: u8) -> Result<u64> {
        let held = self.open_space(space)?;
        let now = self.clock.now();
        let dead =
            lock(&held.deadlines).range(..=(now, u64::MAX)).map(|(_, dated)| dated.len).fold(0, u64::saturating_add);
        Ok(held.bytes.load(Ordering::Relaxed).saturating_sub(dead))
    }

    /// Live entries removed to stay within the bounds.
    pub(crate) fn evicted(&self, space: u8) -> u64 {
        self.space(space).evicted.load(Ordering::Relaxed)
    }

    /// Lets go of the space's entries; every later call on it fails.
    pub(crate) fn close(&self, space: u8) {
        self.space(space).closed.store(true, Ordering::Release);
        self.empty(space);
    }

    /// Fails where the space is closed.
    pub(crate) fn check_open(&self, space: u8) -> Result<()> {
        self.open_space(space).map(drop)
    }

    fn enter(&self, space: u8, key: &CacheKey, entry: Entry) -> Result<(Name, Item)> {
        let held = self.open_space(space)?;
        if self.limits.max_entry_len.is_some_and(|limit| entry.len() > limit) {
            return Err(Error::new(ErrorKind::TooLarge, "for the memory storage's max_entry_len"));
        }
        let entry = compact(entry).with_memo(Memo::shared());
        let name = Name { space, text: Arc::from(key.as_str()) };
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        held.count.fetch_add(1, Ordering::Relaxed);
        held.bytes.fetch_add(entry.len(), Ordering::Relaxed);
        if let Some(deadline) = entry.retain_until {
            let dated = Dated { text: Arc::clone(&name.text), len: entry.len() };
            lock(&held.deadlines).insert((deadline, id), dated);
        }
        Ok((name, Item { id, entry }))
    }

    /// Accounts for what an insertion of entry `id` under `text` pushed out: the one that it replaced, and evictions.
    fn settle(&self, gone: Gone, space: u8, text: &str, id: u64) {
        for (name, item) in gone.0 {
            self.leave(&name, &item);
            let replaced = name.space == space && *name.text == *text && item.id != id;
            if !replaced && !self.is_dead(&item.entry) {
                self.space(name.space).evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The only way out for an entry that has entered.
    fn leave(&self, name: &Name, item: &Item) {
        let held = self.space(name.space);
        held.count.fetch_sub(1, Ordering::Relaxed);
        held.bytes.fetch_sub(item.entry.len(), Ordering::Relaxed);
        if let Some(deadline) = item.entry.retain_until {
            lock(&held.deadlines).remove(&(deadline, item.id));
        }
    }

    fn empty(&self, space: u8) {
        for (name, item) in self.cache.iter().filter(|(name, _)| name.space == space) {
            if let Some((name, item)) = self.cache.remove_if(&name, |now| now.id == item.id) {
                self.leave(&name, &item);
            }
        }
    }

    fn is_dead(&self, entry: &Entry) -> bool {
        // Most entries of a session without `expire_after` have no deadline: they ask no clock.
        entry.retain_until.is_some() && entry.is_dead(self.clock.now())
    }

    fn open_space(&self, space: u8) -> Result<&Space> {
        let held = self.space(space);
        if held.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the memory storage"));
        }
        Ok(held)
    }

    #[allow(clippy::indexing_slicing)] // the callers are in this module's parent and say 0, 1 or 2
    fn space(&self, space: u8) -> &Space {
        &self.spaces[usize::from(space)]
    }
}

// Whole entries of any number must not end up in a log.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("entries", &self.cache.len())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Head and body in one block of exactly their length, where they are small.
fn compact(entry: Entry) -> Entry {
    let (head, body) = (&entry.head, &entry.body);
    let small = |bytes: &Bytes| bytes.len() <= COMPACT;
    let (head, body) = if small(head) && small(body) {
        let whole = Bytes::from([&**head, &**body].concat());
        (whole.slice(..head.len()), whole.slice(head.len()..))
    } else {
        (Bytes::copy_from_slice(head), body.clone())
    };
    Entry { head, body, ..entry }
}

/// An entry's name in the map: its space and its key.
#[derive(Clone, PartialEq, Eq)]
struct Name {
    space: u8,
    text: Arc<str>,
}

/// A name that is only looked up.
struct Lookup<'a> {
    space: u8,
    text: &'a str,
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Lookup { space: self.space, text: &self.text }.hash(state);
    }
}

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.space);
        state.write(self.text.as_bytes());
    }
}

impl Equivalent<Name> for Lookup<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.space == name.space && *self.text == *name.text
    }
}

#[derive(Clone)]
struct Item {
    id: u64,
    entry: Entry,
}

#[derive(Clone, Debug)]
struct Weigher {
    least: u64,
    by_bytes: bool,
}

impl Weighter<Name, Item> for Weigher {
    fn weight(&self, name: &Name, item: &Item) -> u64 {
        if !self.by_bytes {
            return self.least;
        }
        Limits::cost(name.text.len(), &item.entry).max(self.least)
    }
}

/// Hands what an insertion pushed out to the one who inserted, who accounts for it after the map's lock is released.
#[derive(Clone, Debug)]
struct Collect;

#[derive(Default)]
struct Gone(Vec<(Name, Item)>);

impl Lifecycle<Name, Item> for Collect {
    type RequestState = Gone;

    fn on_evict(&self, gone: &mut Gone, name: Name, item: Item) {
        gone.0.push((name, item));
    }
}
