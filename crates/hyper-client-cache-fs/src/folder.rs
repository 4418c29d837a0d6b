//! The open directories of a cache, and the folder in which this process writes.

use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper_client_cache_core::clock::{Clock, SystemClock};

use crate::error::{FsError, Result};
use crate::layout::{Id, Store, TMP_FOLDER, VERSION_FOLDER};
use crate::path;
use crate::sys::{self, AtOnce, Dir, Found, Lock, to_micros};

/// How old what somebody was writing must be to count as left behind, where the file system has no locks to ask.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);

/// The directories, open as long as somebody uses them.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    root: Dir,
    version: Dir,
    stores: [Dir; 3],
    /// Whether the system may be asked for what it can say without waiting.
    at_once: AtomicBool,
}

impl Folder {
    /// Opens the directories; makes those that are missing where `create`.
    pub(crate) fn open(path: &Path, create: bool) -> Result<Arc<Self>> {
        let root = path::open(path, create)?;
        let version = below(&root, VERSION_FOLDER, create, path)?;
        let version_path = path.join(VERSION_FOLDER);
        path::check(&version, &version_path)?;
        let mut stores = Vec::with_capacity(3);
        for store in Store::ALL {
            stores.push(below(&version, store.folder(), create, &version_path)?);
        }
        let stores = <[Dir; 3]>::try_from(stores).map_err(|_| FsError::path(path, "three storages are three"))?;
        let at_once = AtomicBool::new(sys::is_worth_asking(&version));
        Ok(Arc::new(Self { path: path.to_owned(), root, version, stores, at_once }))
    }

    pub(crate) const fn store(&self, store: Store) -> &Dir {
        store.of(&self.stores)
    }

    /// What the system can say of an entry's file without waiting for a disk.
    pub(crate) fn read_at_once(&self, id: Id) -> AtOnce {
        if !self.at_once.load(Ordering::Relaxed) {
            return AtOnce::Never;
        }
        let found = sys::read_at_once(self.store(id.store()), id.path().as_str());
        if found == AtOnce::Never {
            self.at_once.store(false, Ordering::Relaxed);
        }
        found
    }

    /// Whether these directories still are what lies at the path: somebody may have removed or replaced them.
    pub(crate) fn is_current(&self) -> bool {
        let same = |now: std::io::Result<Found>, open: &Dir| {
            now.is_ok_and(|now| open.look_at_self().is_ok_and(|open| now.identity == open.identity))
        };
        same(Dir::root(&self.path).and_then(|root| root.look_at_self()), &self.root)
            && same(self.root.look(VERSION_FOLDER), &self.version)
            && Store::ALL.iter().all(|store| same(self.version.look(store.folder()), self.store(*store)))
    }

    /// Removes what processes left behind that ended while they wrote. What a living one is writing is not touched:
    /// each holds a lock on its own folder, which the system gives up when it ends (case 135).
    pub(crate) fn sweep(&self) {
        let Ok(above) = self.version.open(TMP_FOLDER) else { return };
        let Ok(names) = above.names() else { return };
        for (name, is_dir) in names {
            if is_dir && is_ours(&name) {
                // What cannot be removed now is tried again by whoever comes next.
                drop(sweep_one(&above, &name));
            }
        }
    }
}

/// A folder that only this process writes to, locked as long as it is open; removed at the end.
#[derive(Debug)]
pub(crate) struct Tmp {
    above: Dir,
    pub(crate) dir: Dir,
    name: String,
    next: AtomicU64,
}

impl Tmp {
    pub(crate) fn make(folder: &Folder) -> std::io::Result<Self> {
        folder.version.make(TMP_FOLDER)?;
        let above = folder.version.open(TMP_FOLDER)?;
        // Others may take a folder for an orphan in the moment before it is locked.
        for _ in 0..16 {
            let name = format!("{:016x}", fastrand::u64(..));
            if !above.make(&name)? {
                continue;
            }
            let Ok(dir) = above.open(&name) else { continue };
            if dir.try_lock(true)? == Lock::Busy {
                continue;
            }
            let is_there = above
                .look(&name)
                .is_ok_and(|found| dir.look_at_self().is_ok_and(|open| open.identity == found.identity));
            if is_there {
                return Ok(Self { above, dir, name, next: AtomicU64::new(0) });
            }
        }
        Err(IoKind::ResourceBusy.into())
    }

    /// Whether the folder still is what has its name, in a folder that still has its own: somebody may have removed it.
    pub(crate) fn is_current(&self) -> bool {
        let same = |now: std::io::Result<Found>| {
            now.is_ok_and(|now| self.dir.look_at_self().is_ok_and(|open| open.identity == now.identity))
        };
        same(self.above.look(&self.name))
    }

    /// A name that nobody else uses in this folder.
    pub(crate) fn next_name(&self) -> String {
        format!("{:016x}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Tmp {
    fn drop(&mut self) {
        // Still there where another process has to sweep it.
        drop(self.above.remove_dir(&self.name));
    }
}

fn below(above: &Dir, name: &str, create: bool, path: &Path) -> Result<Dir> {
    match above.open(name) {
        Err(error) if create && error.kind() == IoKind::NotFound => {
            above.make(name).map_err(|error| FsError::path(path, format!("`{name}` cannot be made in it: {error}")))?;
            above.open(name)
        }
        other => other,
    }
    .map_err(|error| match error.kind() {
        IoKind::NotFound => FsError::path(path, "this holds no cache yet: open it for writing once"),
        _ => path::refusal(&path.join(name), &error),
    })
}

fn sweep_one(above: &Dir, name: &str) -> std::io::Result<()> {
    let dir = above.open(name)?;
    match dir.try_lock(true)? {
        Lock::Held => {}
        Lock::Busy => return Ok(()),
        Lock::Unknown => {
            let changed = dir.look_at_self()?.modified;
            // Files have the times of the system, whatever clock decides what has expired.
            let age = to_micros(SystemClock.now()).saturating_sub(changed);
            if Duration::from_micros(age) < ORPHAN_AGE {
                return Ok(());
            }
        }
    }
    for (file, is_dir) in dir.names()? {
        if !is_dir && is_ours(&file) {
            dir.unlink(&file)?;
        }
    }
    above.remove_dir(name)
}

fn is_ours(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 135: what a living writer has is left alone, what a dead one left is swept, and nothing else is.
    #[test]
    fn only_what_was_left_behind_is_swept() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("cache"), true).unwrap();
        let alive = Tmp::make(&folder).unwrap();
        let writing = alive.next_name();
        alive.dir.create(&writing).unwrap();
        let tmp = place.path().join("cache/v1/tmp");
        for name in ["0123456789abcdef", "somebody-elses"] {
            std::fs::create_dir(tmp.join(name)).unwrap();
            std::fs::write(tmp.join(name).join("0000000000000000"), "x").unwrap();
        }
        std::fs::create_dir(tmp.join("fedcba9876543210")).unwrap();
        std::fs::write(tmp.join("fedcba9876543210/foreign"), "x").unwrap();
        folder.sweep();
        assert!(tmp.join(&alive.name).join(&writing).exists());
        assert!(!tmp.join("0123456789abcdef").exists());
        assert!(tmp.join("somebody-elses/0000000000000000").exists());
        assert!(tmp.join("fedcba9876543210/foreign").exists());
        assert!(folder.is_current());
        alive.dir.unlink(&writing).unwrap();
        let name = alive.name.clone();
        drop(alive);
        assert!(!tmp.join(name).exists());
    }

    #[test]
    fn a_directory_that_was_replaced_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("cache");
        let folder = Folder::open(&path, true).unwrap();
        std::fs::rename(&path, place.path().join("moved")).unwrap();
        assert!(!folder.is_current());
        drop(Folder::open(&path, true).unwrap());
        assert!(!folder.is_current());
    }
}
