//! A directory as an open descriptor.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Found, Lock, step};

const FOLDER: Mode = Mode::RWXU;
const FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// How long a lock that somebody else holds is waited for: a process that was stopped must not stop the others.
const PATIENCE: Duration = Duration::from_secs(1);

/// An open directory. What is opened through it lies in it, whatever happens to its name meanwhile.
///
/// A [lock](Self::lock) is given up when the directory is dropped.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    /// The directory at `path`, whose last component is not followed if it is a symbolic link. Those before it are:
    /// they are the administrator's.
    pub(crate) fn root(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// The directory at `path` below this one, no part of which may be a symbolic link.
    pub(crate) fn open(&self, path: &str) -> io::Result<Self> {
        Ok(Self(self.open_below(path, OFlags::DIRECTORY)?))
    }

    /// Opens a file for reading. It may turn out to be something else than a file.
    pub(crate) fn file(&self, path: &str) -> io::Result<File> {
        // Without `NONBLOCK`, opening a FIFO that somebody put there would wait for its writer.
        Ok(self.open_below(path, OFlags::NONBLOCK)?.into())
    }

    /// Makes a directory for the owner alone, whatever the umask; one that is there already is left as it is.
    pub(crate) fn make(&self, name: &str) -> io::Result<bool> {
        step("make folder")?;
        match rustix::fs::mkdirat(&self.0, name, FOLDER) {
            Ok(()) => {
                // An umask can take rights from the owner, too.
                step("set the folder's mode")?;
                rustix::fs::chmodat(&self.0, name, FOLDER, AtFlags::empty())?;
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a file that was not there, for the owner alone, whatever the umask.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        step("create")?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, name, flags, FILE)?;
        step("set mode")?;
        rustix::fs::fchmod(&file, FILE)?;
        Ok(file.into())
    }

    /// Moves a file, in place of whatever has the new name.
    pub(crate) fn rename(&self, name: &str, to: &Self, new: &str) -> io::Result<()> {
        step("rename")?;
        Ok(rustix::fs::renameat(&self.0, name, &to.0, new)?)
    }

    pub(crate) fn unlink(&self, name: &str) -> io::Result<()> {
        step("unlink")?;
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes a directory that is empty.
    pub(crate) fn remove_dir(&self, name: &str) -> io::Result<()> {
        step("remove folder")?;
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// What is at `name`, not followed.
    pub(crate) fn look(&self, name: &str) -> io::Result<Found> {
        Ok(found(&rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// What this directory is.
    pub(crate) fn look_at_self(&self) -> io::Result<Found> {
        Ok(found(&rustix::fs::fstat(&self.0)?))
    }

    /// Sets the time of the last change of what is at `name`, not followed.
    pub(crate) fn touch(&self, name: &str, micros: u64) -> io::Result<()> {
        step("touch")?;
        let moment = Timespec {
            tv_sec: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
            // A remainder of a million.
            tv_nsec: (micros % 1_000_000).saturating_mul(1000) as rustix::fs::Nsecs,
        };
        let unchanged = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        let times = Timestamps { last_access: unchanged, last_modification: moment };
        Ok(rustix::fs::utimensat(&self.0, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The names in the directory, and whether each is a directory itself; symbolic links and the like are left out.
    pub(crate) fn names(&self) -> io::Result<Vec<(String, bool)>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let is_dir = match entry.file_type() {
                _ if name.starts_with('.') => continue,
                FileType::RegularFile => false,
                FileType::Directory => true,
                // Some file systems do not say.
                FileType::Unknown => match self.look(name) {
                    Ok(found) if found.is_dir || found.is_file => found.is_dir,
                    _ => continue,
                },
                _ => continue,
            };
            names.push((name.to_owned(), is_dir));
        }
        Ok(names)
    }

    /// Waits until the names in the directory are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        step("sync folder")?;
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Locks the directory against others of our kind, in this process and in others, as long as it is open.
    ///
    /// A file system that knows no locks is used without.
    pub(crate) fn lock(&self, exclusive: bool) -> io::Result<()> {
        let mut pause = Duration::from_micros(50);
        let mut waited = Duration::ZERO;
        while self.try_lock(exclusive)? == Lock::Busy {
            if waited >= PATIENCE {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            thread::sleep(pause);
            waited = waited.saturating_add(pause);
            pause = pause.saturating_mul(2).min(Duration::from_millis(5));
        }
        Ok(())
    }

    /// As [`lock`](Self::lock), without waiting.
    pub(crate) fn try_lock(&self, exclusive: bool) -> io::Result<Lock> {
        let operation =
            if exclusive { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
        match rustix::fs::flock(&self.0, operation) {
            Ok(()) => Ok(Lock::Held),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(Lock::Busy),
            Err(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::BADF) => Ok(Lock::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether nobody but the user of this process can have put anything here, and why not.
    pub(crate) fn is_private(&self) -> io::Result<Result<(), &'static str>> {
        let found = rustix::fs::fstat(&self.0)?;
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Ok(Err("it belongs to another user: choose one of your own"));
        }
        let mode = Mode::from_raw_mode(found.st_mode);
        if mode.intersects(Mode::WGRP | Mode::WOTH) {
            return Ok(Err("other users may write to it: take the right away (chmod go-w) or choose another"));
        }
        Ok(Ok(()))
    }

    fn open_below(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::fs::ResolveFlags;
            use std::sync::atomic::{AtomicBool, Ordering};

            /// Whether the kernel (5.6) or a sandbox does not know the call.
            static MISSING: AtomicBool = AtomicBool::new(false);

            if !MISSING.load(Ordering::Relaxed) {
                match rustix::fs::openat2(&self.0, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
                    Err(Errno::NOSYS) => MISSING.store(true, Ordering::Relaxed),
                    // Some sandboxes say this to calls that they do not know.
                    Err(Errno::PERM) => {}
                    other => return Ok(other?),
                }
            }
        }
        self.walk_below(path, flags)
    }

    /// One component after the other.
    fn walk_below(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let Some((folders, name)) = path.rsplit_once('/') else {
            return Ok(rustix::fs::openat(&self.0, path, flags, Mode::empty())?);
        };
        let folder_flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder: Option<OwnedFd> = None;
        for part in folders.split('/') {
            let above = folder.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
            folder = Some(rustix::fs::openat(above, part, folder_flags, Mode::empty())?);
        }
        let above = folder.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
        Ok(rustix::fs::openat(above, name, flags, Mode::empty())?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether an error says that there is something else than what was looked for: a symbolic link, or a file for a folder.
pub(crate) fn is_something_else(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO | Errno::MLINK))
}

fn found(stat: &Stat) -> Found {
    let kind = FileType::from_raw_mode(stat.st_mode);
    // The types of these fields differ by platform.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    let micros = |seconds: i64, nanos: u64| {
        u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000).saturating_add(nanos / 1000)
    };
    #[allow(clippy::unnecessary_cast)] // as above
    Found {
        identity: (stat.st_dev as u64, stat.st_ino as u64),
        is_file: kind == FileType::RegularFile,
        is_dir: kind == FileType::Directory,
        len: u64::try_from(stat.st_size).unwrap_or(0),
        modified: micros(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 112, on kernels without `openat2`: no component is followed.
    #[test]
    fn walking_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::root(folder.path()).unwrap();
        dir.make("real").unwrap();
        std::fs::write(folder.path().join("real/file"), "x").unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("linked")).unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("real/link")).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        assert!(dir.walk_below("real/file", flags).is_ok());
        for path in ["linked/file", "real/link"] {
            assert!(is_something_else(&dir.walk_below(path, flags).unwrap_err()), "{path}");
            assert!(is_something_else(&dir.file(path).unwrap_err()), "{path}");
        }
    }
}
