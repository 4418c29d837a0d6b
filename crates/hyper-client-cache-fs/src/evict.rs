//! Making room: what is dead goes first, then what was used longest ago, with the parts of its body.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Duration;

use hyper_client_cache_core::cache::{codec, parts};
use hyper_client_cache_core::clock::to_millis;

use crate::engine::Shared;
use crate::error::{FsError, Result};
use crate::folder::Folder;
use crate::format;
use crate::layout::{self, Id, Store};
use crate::scan::{self, Progress};
use crate::sys::{self, Dir};

/// How many files may refuse to go before making room is given up (case 151).
const MOST_FAILURES: usize = 8;

/// Makes room for a file of `len` bytes under `id`.
///
/// Until the directory has been looked at once nobody knows what there is, and nothing is removed: whoever looks brings
/// it down to the bound.
pub(crate) fn make_room(shared: &Shared, id: Id, len: u64) -> Result<()> {
    let Some(limit) = shared.config.max_bytes else { return Ok(()) };
    if *shared.progress.borrow() != Progress::Loaded {
        return Ok(());
    }
    let replaced = shared.index().get(id).map_or(0, |old| old.cost());
    reduce(shared, limit, crate::index::cost(len).saturating_sub(replaced), Some(id))
}

/// Removes what is over the bound, after a file was added: others may have been added at the same time.
pub(crate) fn keep_bound(shared: &Shared) {
    if let Some(limit) = shared.config.max_bytes
        && *shared.progress.borrow() == Progress::Loaded
    {
        // What cannot be removed now is in the way of the next write.
        drop(reduce(shared, limit, 0, None));
    }
}

/// Removes what is over the bound, after the directory was looked at.
pub(crate) fn down_to_bound(shared: &Shared) {
    if let Some(limit) = shared.config.max_bytes {
        drop(reduce(shared, limit, 0, None));
    }
}

/// Removes what is in the way of `wanted` more.
fn reduce(shared: &Shared, limit: u64, wanted: u64, incoming: Option<Id>) -> Result<()> {
    let is_over = || shared.index().cost().saturating_add(wanted) > limit;
    if !is_over() {
        return Ok(());
    }
    // One after the other, or two would each make the same room.
    let _turn = shared.evicting.lock().unwrap_or_else(PoisonError::into_inner);
    shared.apply_uses();
    let mut stuck = HashSet::new();
    while is_over() {
        let Some((id, is_dead)) = candidate(shared, &stuck, incoming) else { return Err(FsError::NoRoom) };
        match evict(shared, &shared.folder(), id) {
            Ok(true) if !is_dead => shared.count_evicted(id.store()),
            Ok(_) => {}
            Err(error) => {
                stuck.insert(id);
                if stuck.len() >= MOST_FAILURES {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// What goes next, and whether it is dead. `incoming` is about to be replaced and is spared as long as there are others.
fn candidate(shared: &Shared, stuck: &HashSet<Id>, incoming: Option<Id>) -> Option<(Id, bool)> {
    let now = shared.now();
    let index = shared.index();
    let may_go = |id: &Id| !stuck.contains(id);
    for store in Store::ALL {
        let dead = index.dead(store, to_millis(now), MOST_FAILURES.saturating_add(1));
        if let Some(id) = dead.into_iter().find(may_go) {
            return Some((id, true));
        }
    }
    if let Some(id) = index.oldest().find(|id| may_go(id) && Some(*id) != incoming) {
        return Some((id, false));
    }
    // Parts whose writer ended before it wrote their head.
    let grace = sys::to_micros(now).saturating_sub(Duration::as_micros(&parts::GRACE).try_into().unwrap_or(u64::MAX));
    index.orphans(grace, MOST_FAILURES.saturating_add(1)).into_iter().find(may_go).map(|id| (id, false))
}

/// Removes one file and the parts of its body; `false` where it turned out to be another than was known.
fn evict(shared: &Shared, folder: &Folder, id: Id) -> Result<bool> {
    let Some(known) = shared.index().get(id) else { return Ok(false) };
    let leaf = match layout::open_leaf(folder.store(id.store()), id.leaf()) {
        Ok(leaf) => leaf,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            shared.index().remove(id);
            return Ok(false);
        }
        Err(error) => return Err(FsError::io("a folder cannot be opened")(error)),
    };
    leaf.lock(true).map_err(FsError::io("a folder cannot be locked"))?;
    let name = id.name();
    let found = match leaf.look(name.as_str()) {
        Ok(found) => found,
        Err(_) => {
            shared.index().remove(id);
            return Ok(false);
        }
    };
    // Another process has used or replaced it since: it is not the one that was meant (case 239).
    if found.modified > known.used {
        let mut index = shared.index();
        match scan::meta_of(&leaf, id) {
            Some(meta) => index.insert(id, meta),
            None => drop(index.remove(id)),
        }
        return Ok(false);
    }
    let parts = if shared.index().has_parts(id) { parts_of(&leaf, id) } else { Vec::new() };
    leaf.unlink(name.as_str()).map_err(FsError::io("a file cannot be removed"))?;
    shared.index().remove(id);
    drop(leaf);
    for part in parts {
        remove_part(shared, folder, part);
    }
    Ok(true)
}

/// The parts that a head names.
fn parts_of(leaf: &Dir, id: Id) -> Vec<Id> {
    let read = || {
        let mut file = leaf.file(id.name().as_str()).ok()?;
        let len = sys::look_at(&file).ok()?.len;
        let beginning = format::read_beginning(&mut file, len, id, id.store()).ok()?.ok()?;
        let stored = codec::decode(beginning.entry)?;
        Some(parts::keys_of(&stored.record)?.map(|key| Id::new(Store::Bodies, &key)).collect())
    };
    read().unwrap_or_default()
}

fn remove_part(shared: &Shared, folder: &Folder, part: Id) {
    let Ok(leaf) = layout::open_leaf(folder.store(Store::Bodies), part.leaf()) else { return };
    // What stays is an orphan, which is collected later.
    if leaf.lock(true).is_ok() && leaf.unlink(part.name().as_str()).is_ok() {
        shared.index().remove(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FsCache;
    use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};

    /// Case 239: what another process has used since is not what was to go; its new place in the order is noted.
    #[tokio::test]
    async fn what_was_used_since_is_spared() {
        let storage = FsCache::builder("x").use_temp(true).open_storage().await.unwrap();
        let shared = &storage.engine.shared;
        let key = CacheKey::new("key").unwrap();
        let id = Id::new(Store::Responses, &key);
        storage.write(&key, Entry::new("head", "body")).await.unwrap();
        let folder = shared.folder();
        let later = shared.index().get(id).unwrap().used + 1_000_000;
        let leaf = layout::open_leaf(folder.store(Store::Responses), id.leaf()).unwrap();
        leaf.touch(id.name().as_str(), later).unwrap();
        assert!(!evict(shared, &folder, id).unwrap());
        assert!(storage.contains(&key).await.unwrap());
        assert_eq!(shared.index().get(id).unwrap().used, later);
        assert!(evict(shared, &folder, id).unwrap());
        assert!(!storage.contains(&key).await.unwrap());
    }
}
