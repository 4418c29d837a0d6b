//! From an entry to a file: written under another name, synced where that is wanted, then moved to its own.

use std::cell::Cell;
use std::io::ErrorKind as IoKind;
use std::sync::Arc;

use bytes::Bytes;
use hyper_client_cache_core::storage::{CacheKey, Entry};

use crate::engine::Shared;
use crate::error::{FsError, Result};
use crate::evict;
use crate::folder::{Folder, Tmp};
use crate::format::{self, Outline};
use crate::index::Meta;
use crate::layout::{self, Id, Store};
use crate::ops::is_live;
use crate::sys::{self, Dir};

/// How often a write is tried again where somebody removes the folders under it.
const ATTEMPTS: usize = 4;

/// How often a folder is made again that others remove because it is empty.
const ATTEMPTS_AT_LEAF: usize = 32;

/// Stores an entry; where `only_if_there`, in place of a live one: `false` where there is none.
pub(crate) fn publish(
    shared: &Shared,
    store: Store,
    key: &CacheKey,
    entry: &Entry,
    only_if_there: bool,
) -> Result<bool> {
    let id = Id::new(store, key);
    let draft = Draft { id, outline: Outline::of(key, entry), before: format::encode(key, entry), body: &entry.body };
    evict::make_room(shared, id, draft.len())?;
    let mut attempts = ATTEMPTS;
    loop {
        let folder = shared.folder();
        match draft.publish(shared, &folder, only_if_there) {
            // The folders were removed while we were at it (case 149).
            Err(error) if error.is_not_found() && attempts > 1 => {
                attempts = attempts.saturating_sub(1);
                shared.renew(&folder)?;
            }
            outcome => {
                evict::keep_bound(shared);
                return outcome;
            }
        }
    }
}

/// An entry that is to become a file.
struct Draft<'a> {
    id: Id,
    outline: Outline,
    before: Bytes,
    body: &'a Bytes,
}

impl Draft<'_> {
    fn len(&self) -> u64 {
        (self.before.len() as u64).saturating_add(self.body.len() as u64)
    }

    /// Writes a file beside the others, then gives it its name: what has the name is whole at any time.
    fn publish(&self, shared: &Shared, folder: &Folder, only_if_there: bool) -> Result<bool> {
        let failed = FsError::io("a file cannot be written");
        let tmp = shared.writer(folder)?;
        let pending = Pending::new(tmp);
        let stamp = shared.stamp();
        let write = || {
            let mut file = pending.tmp.dir.create(&pending.name)?;
            sys::write_all(&mut file, &self.before, self.body)?;
            sys::set_modified(&file, stamp)?;
            // Before the rename, so that no crash leaves the name with less than the whole. An error is final: the
            // system may have dropped what it could not write, and the next sync would not say so (case 132).
            if shared.is_durable() { sys::sync_file(&file) } else { Ok(()) }
        };
        write().map_err(failed)?;
        let name = self.id.name();
        let Some(leaf) = self.rename(shared, folder, &pending, only_if_there)? else { return Ok(false) };
        shared.index().insert(
            self.id,
            Meta {
                used: stamp,
                deadline: self.outline.deadline,
                len: u32::try_from(self.len()).unwrap_or(u32::MAX),
                overhead: u8::try_from(format::overhead(self.outline.key_len)).unwrap_or(u8::MAX),
            },
        );
        if shared.is_durable()
            && let Err(error) = leaf.sync()
        {
            // Not on the disk is not stored (case 132).
            drop(leaf.unlink(name.as_str()));
            shared.index().remove(self.id);
            return Err(FsError::io("a folder cannot be synced")(error));
        }
        Ok(true)
    }

    /// Gives the file its name, and returns the folder that it is in, still locked; `None` where it was to replace a live
    /// entry and there is none.
    fn rename(&self, shared: &Shared, folder: &Folder, pending: &Pending, only_if_there: bool) -> Result<Option<Dir>> {
        let mut attempts = ATTEMPTS_AT_LEAF;
        loop {
            let moved = layout::make_leaf(folder.store(self.id.store()), self.id.leaf(), shared.is_durable()).and_then(
                |leaf| {
                    leaf.lock(true)?;
                    if only_if_there && !is_live(&leaf, self.id, shared.now()) {
                        return Ok(None);
                    }
                    pending.rename(&leaf, self.id.name().as_str())?;
                    Ok(Some(leaf))
                },
            );
            match moved {
                // Whoever clears the cache removed the folder before it was locked.
                Err(error) if error.kind() == IoKind::NotFound && attempts > 1 && pending.is_there() => {
                    attempts = attempts.saturating_sub(1);
                }
                // Some file systems say so while another process moves a file to the same name.
                Err(error) if error.kind() == IoKind::ResourceBusy && attempts > 1 && pending.is_there() => {
                    attempts = attempts.saturating_sub(1);
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                outcome => return outcome.map_err(FsError::io("a file cannot be moved to its place")),
            }
        }
    }
}

/// A file that is being written, removed unless it gets its name.
struct Pending {
    tmp: Arc<Tmp>,
    name: String,
    done: Cell<bool>,
}

impl Pending {
    fn new(tmp: Arc<Tmp>) -> Self {
        let name = tmp.next_name();
        Self { tmp, name, done: Cell::new(false) }
    }

    fn is_there(&self) -> bool {
        self.tmp.dir.look(&self.name).is_ok()
    }

    fn rename(&self, leaf: &Dir, name: &str) -> std::io::Result<()> {
        self.tmp.dir.rename(&self.name, leaf, name)?;
        self.done.set(true);
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done.get() {
            // Where even this fails, it is swept later.
            drop(self.tmp.dir.unlink(&self.name));
        }
    }
}
