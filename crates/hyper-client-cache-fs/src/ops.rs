//! What is done to files, each operation in one piece on a blocking thread.
//!
//! A reader takes no lock: it opens the file that has the name at that moment and reads it whole, and whatever becomes
//! of the name meanwhile does not concern it (case 150). Whoever changes a name holds the lock of its folder, in which
//! every change of a file and of what the index knows of it is one step for all others, in this process and in others.

use std::io::ErrorKind as IoKind;
use std::time::SystemTime;

use hyper_client_cache_core::clock::{from_millis, to_millis};
use hyper_client_cache_core::storage::frame::FrameError;
use hyper_client_cache_core::storage::{CacheKey, Entry};

use crate::engine::{MAX_ENTRY_LEN, Shared};
use crate::error::{FsError, Result};
use crate::folder::Folder;
use crate::format::{self, Beginning, Outline};
use crate::layout::{self, Id, Store};
use crate::publish::publish;
use crate::sys::{self, AtOnce, Dir};

/// How many of the dead are looked up in the index at once.
const BATCH: usize = 256;

/// The live entry under a key.
pub(crate) fn read(shared: &Shared, store: Store, key: &CacheKey) -> Result<Option<Entry>> {
    let id = Id::new(store, key);
    let Some((mut file, found)) = open(shared, &shared.folder(), id)? else { return Ok(None) };
    let len = usize::try_from(found.len).unwrap_or(usize::MAX);
    let bytes = sys::read_up_to(&mut file, len).map_err(FsError::io("a file cannot be read"))?;
    match format::decode(key, &bytes.into()) {
        Ok(entry) if entry.is_dead(shared.now()) => Ok(None),
        Ok(entry) => {
            shared.used(id);
            Ok(Some(entry))
        }
        Err(error) => {
            reject(shared, id, found.identity, error);
            Ok(None)
        }
    }
}

/// The live entry under a key, where the system has its file in memory or knows that there is none. `None`: where that
/// is not so, or anything is odd about the file: then [`read`] says what is there.
///
/// Waits for nothing, so it may be called where nothing may block.
pub(crate) fn read_at_once(shared: &Shared, store: Store, key: &CacheKey) -> Option<Option<Entry>> {
    let id = Id::new(store, key);
    match shared.folder_at_once()?.read_at_once(id) {
        AtOnce::Whole(bytes) => {
            let entry = format::decode(key, &bytes.into()).ok()?;
            if entry.is_dead(shared.now()) {
                return Some(None);
            }
            shared.used(id);
            Some(Some(entry))
        }
        AtOnce::Absent => Some(None),
        AtOnce::Unknown | AtOnce::Never => None,
    }
}

/// Key and head of the live entry under a name.
pub(crate) fn peek(shared: &Shared, folder: &Folder, id: Id) -> Result<Option<Beginning>> {
    let Some((mut file, found)) = open(shared, folder, id)? else { return Ok(None) };
    let beginning = format::read_beginning(&mut file, found.len, id, id.store());
    match beginning.map_err(FsError::io("a file cannot be read"))? {
        Ok(beginning) if beginning.entry.is_dead(shared.now()) => Ok(None),
        Ok(beginning) => Ok(Some(beginning)),
        Err(error) => {
            reject(shared, id, found.identity, error);
            Ok(None)
        }
    }
}

/// Stores an entry, in place of whatever is there.
pub(crate) fn write(shared: &Shared, store: Store, key: &CacheKey, entry: &Entry) -> Result<()> {
    publish(shared, store, key, entry, false).map(drop)
}

/// Stores an entry in place of a live one; `false` where there is none.
pub(crate) fn refresh(shared: &Shared, store: Store, key: &CacheKey, entry: &Entry) -> Result<bool> {
    let id = Id::new(store, key);
    // Looked at again under the lock; this first look saves writing for nothing.
    if peek(shared, &shared.folder(), id)?.is_none() {
        return Ok(false);
    }
    publish(shared, store, key, entry, true)
}

/// Removes what is under a key; `true` where it was a live entry.
pub(crate) fn delete(shared: &Shared, store: Store, key: &CacheKey) -> Result<bool> {
    let id = Id::new(store, key);
    let folder = shared.folder();
    let Some(leaf) = lock_leaf(shared, &folder, id)? else { return Ok(false) };
    let is_live = is_live(&leaf, id, shared.now());
    match leaf.unlink(id.name().as_str()) {
        Ok(()) => {
            shared.index().remove(id);
            if shared.is_durable() {
                leaf.sync().map_err(FsError::io("a folder cannot be synced"))?;
            }
            Ok(is_live)
        }
        Err(error) if error.kind() == IoKind::NotFound => {
            shared.index().remove(id);
            Ok(false)
        }
        // Something else has the name, a folder for instance: it is not ours.
        Err(_) if leaf.look(id.name().as_str()).is_ok_and(|found| !found.is_file) => Ok(false),
        Err(error) => Err(FsError::io("a file cannot be removed")(error)),
    }
}

/// Removes the files that are entries of this storage, and nothing else.
pub(crate) fn clear(shared: &Shared, store: Store) -> Result<()> {
    let folder = shared.folder();
    let dir = folder.store(store);
    let mut failed = None;
    let mut leaves = layout::leaves(dir).map_err(FsError::io("a folder cannot be listed"))?;
    leaves.extend(shared.index().leaves(store));
    leaves.sort_unstable();
    leaves.dedup();
    for leaf in leaves {
        if let Err(error) = clear_leaf(shared, dir, store, leaf) {
            failed = Some(error);
        }
        layout::remove_leaf(dir, leaf);
    }
    failed.map_or(Ok(()), |error| Err(FsError::io("a file cannot be removed")(error)))
}

/// Removes what is dead at `now`, and says how many.
pub(crate) fn delete_expired(shared: &Shared, store: Store, now: SystemTime) -> Result<u64> {
    let folder = shared.folder();
    let mut deleted: u64 = 0;
    let mut failed = None;
    loop {
        let dead = shared.index().dead(store, to_millis(now), BATCH);
        let mut progress = false;
        for id in dead {
            shared.visit();
            match expire(shared, &folder, id, now) {
                Ok(true) => {
                    deleted = deleted.saturating_add(1);
                    progress = true;
                }
                Ok(false) => progress = true,
                Err(error) => failed = Some(error),
            }
        }
        // Where nothing of a batch could be removed the next one would be the same.
        if !progress {
            break;
        }
    }
    failed.map_or(Ok(deleted), Err)
}

/// The names in a folder of the second level.
pub(crate) fn names(folder: &Folder, store: Store, leaf: u8) -> Result<Vec<Id>> {
    let dir = match layout::open_leaf(folder.store(store), leaf) {
        Ok(dir) => dir,
        Err(error) if error.kind() == IoKind::NotFound || sys::is_something_else(&error) => return Ok(Vec::new()),
        Err(error) => return Err(FsError::io("a folder cannot be opened")(error)),
    };
    // So that nothing is listed twice or left out that is just being replaced. Whoever holds the lock for long does not
    // stop the listing.
    drop(dir.lock(false));
    let mut ids: Vec<_> = dir
        .names()
        .map_err(FsError::io("a folder cannot be listed"))?
        .into_iter()
        .filter(|(_, is_dir)| !is_dir)
        .filter_map(|(name, _)| Id::parse(store, leaf, &name))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Writes the times of last use into the files.
pub(crate) fn save_uses(folder: &Folder, uses: &[(Id, u64)]) {
    let mut leaf: Option<((Store, u8), Dir)> = None;
    for (id, used) in uses {
        let place = (id.store(), id.leaf());
        if leaf.as_ref().is_none_or(|(open, _)| *open != place) {
            leaf = layout::open_leaf(folder.store(id.store()), id.leaf()).ok().map(|dir| (place, dir));
        }
        // What is gone meanwhile needs no place in the order.
        if let Some((_, dir)) = &leaf {
            drop(dir.touch(id.name().as_str(), *used));
        }
    }
}

/// Opens a file that may be an entry. `None`: there is none, or something that is counted and not read.
fn open(shared: &Shared, folder: &Folder, id: Id) -> Result<Option<(std::fs::File, sys::Found)>> {
    let file = match folder.store(id.store()).file(id.path().as_str()) {
        Ok(file) => file,
        Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
        Err(error) if sys::is_something_else(&error) => {
            shared.count_corrupt(id.store());
            return Ok(None);
        }
        Err(error) => return Err(FsError::io("a file cannot be opened")(error)),
    };
    let found = sys::look_at(&file).map_err(FsError::io("a file cannot be looked at"))?;
    if !found.is_file || found.len > MAX_ENTRY_LEN.saturating_add(format::MAX_OVERHEAD) {
        shared.count_corrupt(id.store());
        return Ok(None);
    }
    Ok(Some((file, found)))
}

/// Counts what is no entry, and removes it unless a newer version wrote it.
fn reject(shared: &Shared, id: Id, identity: (u64, u64), error: FrameError) {
    shared.count_corrupt(id.store());
    if error == FrameError::Newer || shared.config.read_only {
        return;
    }
    let folder = shared.folder();
    // What cannot be removed is a miss again next time.
    if let Ok(Some(leaf)) = lock_leaf(shared, &folder, id)
        // Only the very file that was read: a newer one may have taken its place (case 239).
        && leaf.look(id.name().as_str()).is_ok_and(|found| found.identity == identity)
        && leaf.unlink(id.name().as_str()).is_ok()
    {
        shared.index().remove(id);
    }
}

/// The folder of an entry, locked for changes; `None` where there is none.
fn lock_leaf(shared: &Shared, folder: &Folder, id: Id) -> Result<Option<Dir>> {
    match layout::open_leaf(folder.store(id.store()), id.leaf()) {
        Ok(leaf) => {
            leaf.lock(true).map_err(FsError::io("a folder cannot be locked"))?;
            Ok(Some(leaf))
        }
        Err(error) if error.kind() == IoKind::NotFound || sys::is_something_else(&error) => {
            shared.index().remove(id);
            Ok(None)
        }
        Err(error) => Err(FsError::io("a folder cannot be opened")(error)),
    }
}

fn outline_of(leaf: &Dir, id: Id) -> Option<Outline> {
    let mut file = leaf.file(id.name().as_str()).ok()?;
    sys::look_at(&file).ok().filter(|found| found.is_file)?;
    Outline::read(&mut file, id, id.store()).ok()?.ok()
}

pub(crate) fn is_live(leaf: &Dir, id: Id, now: SystemTime) -> bool {
    outline_of(leaf, id).is_some_and(|outline| !is_dead(outline, now))
}

fn is_dead(outline: Outline, now: SystemTime) -> bool {
    outline.deadline != i64::MAX && from_millis(outline.deadline) <= now
}

/// Removes an entry that the index believes to be dead, if its file says so too.
fn expire(shared: &Shared, folder: &Folder, id: Id, now: SystemTime) -> Result<bool> {
    let Some(leaf) = lock_leaf(shared, folder, id)? else { return Ok(false) };
    match outline_of(&leaf, id) {
        Some(outline) if is_dead(outline, now) => {
            leaf.unlink(id.name().as_str()).map_err(FsError::io("a file cannot be removed"))?;
            shared.index().remove(id);
            Ok(true)
        }
        // Another process has replaced it since.
        _ => {
            let mut index = shared.index();
            match crate::scan::meta_of(&leaf, id) {
                Some(meta) => index.insert(id, meta),
                None => drop(index.remove(id)),
            }
            Ok(false)
        }
    }
}

fn clear_leaf(shared: &Shared, dir: &Dir, store: Store, number: u8) -> std::io::Result<()> {
    let leaf = match layout::open_leaf(dir, number) {
        Ok(leaf) => leaf,
        // A link, or gone: nothing of ours is there.
        Err(error) if error.kind() == IoKind::NotFound || sys::is_something_else(&error) => {
            shared.index().replace_leaf(store, number, &[]);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    leaf.lock(true)?;
    let mut failed = None;
    let mut left = Vec::new();
    for (name, is_dir) in leaf.names()? {
        let Some(id) = Id::parse(store, number, &name).filter(|_| !is_dir) else { continue };
        if let Err(error) = leaf.unlink(&name) {
            failed = Some(error);
            left.extend(shared.index().get(id).map(|meta| (id, meta)));
        }
    }
    left.sort_unstable_by_key(|(id, _)| *id);
    shared.index().replace_leaf(store, number, &left);
    if shared.is_durable() {
        leaf.sync()?;
    }
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FsCache;
    use hyper_client_cache_core::storage::Storage;

    /// Case 239: whoever met a damaged file removes that one, and none that took its place meanwhile.
    #[tokio::test]
    async fn only_the_file_that_was_damaged_is_removed() {
        let storage = FsCache::builder("x").use_temp(true).open_storage().await.unwrap();
        let shared = &storage.engine.shared;
        let (key, newer) = (CacheKey::new("key").unwrap(), Entry::new("newer", "body"));
        let id = Id::new(Store::Responses, &key);
        storage.write(&key, Entry::new("older", "body")).await.unwrap();
        // Held open, so that the newer one is another file for sure.
        let (_held, met) = open(shared, &shared.folder(), id).unwrap().unwrap();
        storage.write(&key, newer.clone()).await.unwrap();
        reject(shared, id, met.identity, FrameError::Damaged);
        assert_eq!(storage.read(&key).await.unwrap(), Some(newer));
        let (_, met) = open(shared, &shared.folder(), id).unwrap().unwrap();
        reject(shared, id, met.identity, FrameError::Newer);
        assert!(storage.contains(&key).await.unwrap());
        reject(shared, id, met.identity, FrameError::Damaged);
        assert!(!storage.contains(&key).await.unwrap());
    }
}
