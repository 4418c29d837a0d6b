//! The bounds of a memory storage, from what was asked for to what the map is told.

use crate::error::{Error, ErrorKind, Result};
use crate::storage::{CacheKey, Entry};

/// The bytes that a memory storage takes unless told otherwise: 128 MiB.
pub(crate) const DEFAULT_MAX_BYTES: u64 = 128 * 1024 * 1024;

/// The least that [`max_bytes`](super::MemoryStorageBuilder::max_bytes) may be.
const MIN_BYTES: u64 = 8 * 1024;

// What an entry takes beside its bytes: slots in the map's slab, its table and the index of deadlines, and four
// allocations. Measured (docs/decisions/0002-memory-backend.md).
const FIXED: u64 = 400;

// What is decoded from a head takes about twice its length; of the longest heads only a part is counted, so that the
// cost of an entry has an upper limit beside its bytes.
const HEAD_FACTOR: u64 = 2;
const HEAD_COUNTED: u64 = 1024;

// The most that `Limits::cost` adds to an entry's length.
const MAX_OVERHEAD: u64 = FIXED + CacheKey::MAX_LEN as u64 + HEAD_FACTOR * HEAD_COUNTED;

// The map keeps this share for entries that were used again, the rest for newcomers; no entry may be larger.
const HOT: f64 = 0.97;
const HOT_PERCENT: u64 = 96;

// Below this many entries in each shard, chance would leave some full and others empty.
const MIN_SHARD_ENTRIES: u64 = 64;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_entries: Option<u64>,
    /// The outer `None`: nothing was said.
    pub(crate) max_entry_len: Option<Option<u64>>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_bytes: Some(DEFAULT_MAX_BYTES), max_entries: None, max_entry_len: None }
    }
}

/// What the map is told.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) capacity: u64,
    pub(crate) least_weight: u64,
    pub(crate) by_bytes: bool,
    pub(crate) shards: usize,
    pub(crate) estimated_entries: usize,
    pub(crate) hot_allocation: f64,
    pub(crate) max_entry_len: Option<u64>,
}

impl Limits {
    /// # Errors
    /// [`ErrorKind::Config`] with the setting's name.
    pub(crate) fn new(bounds: Bounds) -> Result<Self> {
        let zero = |name: &str| {
            Err(Error::new(ErrorKind::Config, format!("{name} is 0: give a number above 0, or None for no limit")))
        };
        match bounds {
            Bounds { max_bytes: Some(0), .. } => return zero("max_bytes"),
            Bounds { max_entries: Some(0), .. } => return zero("max_entries"),
            Bounds { max_entry_len: Some(Some(0)), .. } => return zero("max_entry_len"),
            Bounds { max_bytes: Some(bytes @ ..MIN_BYTES), .. } => {
                let hint =
                    format!("max_bytes is {bytes}: an entry needs room for its key too, give at least {MIN_BYTES}");
                return Err(Error::new(ErrorKind::Config, hint));
            }
            _ => {}
        }
        Ok(match bounds.max_bytes {
            Some(budget) => Self::of_bytes(budget, &bounds),
            None => Self::of_entries(&bounds),
        })
    }

    /// What an entry counts for: its bytes, its key, and what the map and a decoded head take.
    pub(crate) fn cost(key_len: usize, entry: &Entry) -> u64 {
        let head = (entry.head.len() as u64).min(HEAD_COUNTED).saturating_mul(HEAD_FACTOR);
        entry.len().saturating_add(key_len as u64).saturating_add(head).saturating_add(FIXED)
    }

    #[allow(clippy::arithmetic_side_effects)] // divisors are constants or at least 1, and nothing grows
    fn of_bytes(budget: u64, bounds: &Bounds) -> Self {
        let room = |capacity: u64| (capacity / 100).saturating_mul(HOT_PERCENT).saturating_sub(MAX_OVERHEAD);
        let wanted = match bounds.max_entry_len {
            None => (budget / 16).max(8 * 1024 * 1024).min(room(budget)),
            Some(None) => room(budget),
            Some(Some(len)) => len.min(room(budget)),
        };
        let entries = bounds.max_entries.unwrap_or(u64::MAX);
        // A shard has its part of the budget for itself, so the largest entry must fit into one.
        let mut shards = most_shards();
        while shards > 1 && (room(budget / shards) < wanted || entries / shards < MIN_SHARD_ENTRIES) {
            shards /= 2;
        }
        // The bound on entries is kept by letting each count for its share of the budget at least.
        let per_shard = budget / shards;
        // Where it is out of reach it needs nothing; so rounding the capacity to it costs less than one part in 400.
        let (per_shard, least_weight) = match entries / shards {
            many if many >= per_shard / FIXED => (per_shard, 1),
            share => ((per_shard / share) * share, per_shard / share),
        };
        let likely = (budget / 4096).min(entries).max(1);
        Self {
            capacity: per_shard.saturating_mul(shards),
            least_weight,
            by_bytes: true,
            shards: usize::try_from(shards).unwrap_or(1),
            estimated_entries: usize::try_from(likely.max(shards * 32)).unwrap_or(usize::MAX),
            hot_allocation: if entries == 1 { 1.0 } else { HOT },
            max_entry_len: Some(wanted.min(room(per_shard))),
        }
    }

    #[allow(clippy::arithmetic_side_effects)] // as above
    fn of_entries(bounds: &Bounds) -> Self {
        let entries = bounds.max_entries.unwrap_or(u64::MAX >> 8);
        let mut shards = most_shards();
        while shards > 1 && entries / shards < MIN_SHARD_ENTRIES {
            shards /= 2;
        }
        let likely = entries.min(100_000);
        Self {
            capacity: (entries / shards).saturating_mul(shards),
            least_weight: 1,
            by_bytes: false,
            shards: usize::try_from(shards).unwrap_or(1),
            estimated_entries: usize::try_from(likely.max(shards * 32)).unwrap_or(usize::MAX),
            hot_allocation: if entries == 1 { 1.0 } else { HOT },
            max_entry_len: bounds.max_entry_len.flatten(),
        }
    }
}

/// Four shards a core: two tasks seldom meet in one.
fn most_shards() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores as u64).saturating_mul(4).checked_next_power_of_two().unwrap_or(4).min(256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_bound_is_named() {
        let bounds = |max_bytes, max_entries, max_entry_len| Bounds { max_bytes, max_entries, max_entry_len };
        for (bounds, name) in [
            (bounds(Some(0), None, None), "max_bytes"),
            (bounds(Some(100), None, None), "max_bytes"),
            (bounds(None, Some(0), None), "max_entries"),
            (bounds(None, None, Some(Some(0))), "max_entry_len"),
        ] {
            let error = Limits::new(bounds).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn the_largest_entry_fits_into_one_shard_and_the_shards_into_the_budget() {
        for max_bytes in [8 * 1024, 100_000, 16 << 20, 100 << 20, 128 << 20, 1 << 40, u64::MAX] {
            for max_entries in [None, Some(1), Some(2), Some(1000), Some(1_000_000), Some(u64::MAX)] {
                for max_entry_len in [None, Some(None), Some(Some(1)), Some(Some(5 << 20)), Some(Some(u64::MAX))] {
                    let limits =
                        Limits::new(Bounds { max_bytes: Some(max_bytes), max_entries, max_entry_len }).unwrap();
                    assert!(limits.capacity <= max_bytes);
                    assert!(limits.shards.is_power_of_two());
                    let hot = (limits.capacity / limits.shards as u64) as f64 * limits.hot_allocation;
                    let largest = limits.max_entry_len.unwrap() + MAX_OVERHEAD;
                    assert!(largest.max(limits.least_weight) as f64 <= hot, "{limits:?}");
                    let most = limits.capacity / limits.least_weight.max(FIXED);
                    assert!(max_entries.is_none_or(|bound| most <= bound), "{limits:?}");
                }
            }
        }
    }
}
