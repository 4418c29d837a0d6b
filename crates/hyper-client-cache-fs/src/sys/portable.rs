//! A directory as a path, where the platform offers no safe calls for more.
//!
//! Symbolic links are looked for before a file is opened, which leaves a moment in between; permissions are those of the
//! folder the cache lies in. Use a folder that only its user can write to, as the default one is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::{Found, Lock, found, from_micros, step};

/// Held while its directory is locked. Begins with a dot, so that no listing takes it for an entry.
const LOCK: &str = ".lock";

/// How long a lock that somebody else holds is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// A directory. A [lock](Self::lock) is given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
    lock: Mutex<Option<File>>,
}

impl Dir {
    /// The directory at `path`, which may not be a symbolic link.
    pub(crate) fn root(path: &Path) -> io::Result<Self> {
        let found = found(&fs::symlink_metadata(path)?);
        if !found.is_dir {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path: path.to_owned(), lock: Mutex::default() })
    }

    /// The directory at `path` below this one, no part of which may be a symbolic link.
    pub(crate) fn open(&self, path: &str) -> io::Result<Self> {
        self.refuse_links(path)?;
        Self::root(&self.path.join(path))
    }

    /// Opens a file for reading.
    pub(crate) fn file(&self, path: &str) -> io::Result<File> {
        self.refuse_links(path)?;
        File::open(self.path.join(path))
    }

    /// Makes a directory; one that is there already is left as it is.
    pub(crate) fn make(&self, name: &str) -> io::Result<bool> {
        step("make folder")?;
        match fs::create_dir(self.path.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a file that was not there.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        step("create")?;
        OpenOptions::new().write(true).create_new(true).open(self.path.join(name))
    }

    /// Moves a file, in place of whatever has the new name.
    pub(crate) fn rename(&self, name: &str, to: &Self, new: &str) -> io::Result<()> {
        step("rename")?;
        fs::rename(self.path.join(name), to.path.join(new))
    }

    pub(crate) fn unlink(&self, name: &str) -> io::Result<()> {
        step("unlink")?;
        fs::remove_file(self.path.join(name))
    }

    /// Removes a directory that holds nothing but its lock.
    pub(crate) fn remove_dir(&self, name: &str) -> io::Result<()> {
        step("remove folder")?;
        let path = self.path.join(name);
        if fs::read_dir(&path)?.any(|entry| entry.is_ok_and(|entry| entry.file_name() != LOCK)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        drop(fs::remove_file(path.join(LOCK)));
        fs::remove_dir(path)
    }

    /// What is at `name`, not followed.
    pub(crate) fn look(&self, name: &str) -> io::Result<Found> {
        Ok(found(&fs::symlink_metadata(self.path.join(name))?))
    }

    /// What this directory is.
    pub(crate) fn look_at_self(&self) -> io::Result<Found> {
        Ok(found(&fs::symlink_metadata(&self.path)?))
    }

    /// Sets the time of the last change of the file `name`.
    pub(crate) fn touch(&self, name: &str, micros: u64) -> io::Result<()> {
        step("touch")?;
        self.refuse_links(name)?;
        OpenOptions::new().write(true).open(self.path.join(name))?.set_modified(from_micros(micros))
    }

    /// The names in the directory, and whether each is a directory itself; symbolic links and the like are left out.
    pub(crate) fn names(&self) -> io::Result<Vec<(String, bool)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
            if !name.starts_with('.') && (kind.is_file() || kind.is_dir()) {
                names.push((name, kind.is_dir()));
            }
        }
        Ok(names)
    }

    /// The file system decides when names reach the disk.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // as on Unix
    pub(crate) fn sync(&self) -> io::Result<()> {
        step("sync folder")
    }

    /// Locks the directory against others of our kind, as long as this value lives.
    pub(crate) fn lock(&self, exclusive: bool) -> io::Result<()> {
        let pause = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        while self.try_lock(exclusive)? == Lock::Busy {
            if waited >= PATIENCE {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            thread::sleep(pause);
            waited = waited.saturating_add(pause);
        }
        Ok(())
    }

    /// As [`lock`](Self::lock), without waiting.
    pub(crate) fn try_lock(&self, exclusive: bool) -> io::Result<Lock> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).open(self.path.join(LOCK))?;
        match if exclusive { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => {
                *self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(file);
                Ok(Lock::Held)
            }
            Err(TryLockError::WouldBlock) => Ok(Lock::Busy),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Lock::Unknown),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whose folder it is cannot be asked.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // as on Unix
    pub(crate) const fn is_private(&self) -> io::Result<Result<(), &'static str>> {
        Ok(Ok(()))
    }

    fn refuse_links(&self, path: &str) -> io::Result<()> {
        let mut whole = self.path.clone();
        for part in path.split('/') {
            whole.push(part);
            if fs::symlink_metadata(&whole)?.is_symlink() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(())
    }
}

/// Whether an error says that there is something else than what was looked for.
pub(crate) fn is_something_else(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_moved_listed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::root(folder.path()).unwrap();
        assert!(dir.make("below").unwrap());
        assert!(!dir.make("below").unwrap());
        let below = dir.open("below").unwrap();
        let mut file = dir.create("new").unwrap();
        super::super::write_all(&mut file, b"head ", b"body").unwrap();
        super::super::set_modified(&file, 1_700_000_000_000_001).unwrap();
        drop(file);
        dir.rename("new", &below, "name").unwrap();
        below.lock(true).unwrap();
        assert_eq!(dir.open("below").unwrap().try_lock(false).unwrap(), Lock::Busy);
        assert_eq!(below.names().unwrap(), [("name".to_owned(), false)]);
        let mut file = dir.file("below/name").unwrap();
        assert_eq!(super::super::read_up_to(&mut file, 100).unwrap(), b"head body");
        drop(below);
        let below = dir.open("below").unwrap();
        assert_eq!(below.try_lock(true).unwrap(), Lock::Held);
        below.touch("name", 5_000_000).unwrap();
        assert_eq!(below.look("name").unwrap().modified, 5_000_000);
        assert!(dir.remove_dir("below").is_err());
        below.unlink("name").unwrap();
        drop(below);
        dir.remove_dir("below").unwrap();
        assert!(dir.open("below").is_err());
        assert!(dir.look_at_self().unwrap().is_dir);
        assert!(dir.is_private().unwrap().is_ok());
        dir.sync().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::root(folder.path()).unwrap();
        dir.make("real").unwrap();
        fs::write(folder.path().join("real/file"), "x").unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("linked")).unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("real/link")).unwrap();
        assert!(dir.file("real/file").is_ok());
        for path in ["linked/file", "real/link"] {
            assert!(is_something_else(&dir.file(path).unwrap_err()), "{path}");
        }
        assert!(is_something_else(&Dir::root(&folder.path().join("linked")).unwrap_err()));
    }
}
