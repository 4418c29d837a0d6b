//! Reading without waiting: where the system has name and content of a small file in memory, it is read in the time that
//! a hop to another thread takes to begin.
//!
//! The system is asked to look no further than its memory (`RESOLVE_CACHED`, `RWF_NOWAIT`), and only where the file
//! system is one whose files are on this machine: others may ask somebody when a file is opened.

use super::Dir;

/// Larger files are copied on a thread where that holds nobody up.
#[cfg(target_os = "linux")]
const MOST: u64 = 64 << 10;

/// What the system says without waiting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AtOnce {
    /// Everything that is in the file.
    Whole(Vec<u8>),
    /// There is nothing under this name.
    Absent,
    /// Nothing, or something that wants a second look.
    Unknown,
    /// It cannot do this here.
    Never,
}

/// Whether the directory is in a file system that is worth asking.
#[cfg(target_os = "linux")]
pub(crate) fn is_worth_asking(dir: &Dir) -> bool {
    /// ext2 to ext4, XFS, Btrfs, F2FS, tmpfs, overlayfs.
    const LOCAL: [u32; 6] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x0102_1994, 0x794C_7630];

    // The field's type differs by platform; the numbers have 32 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
    rustix::fs::fstatfs(dir).is_ok_and(|system| LOCAL.contains(&(system.f_type as u32)))
}

/// Reads the file at `path` below `dir`, no part of which may be a symbolic link.
#[cfg(target_os = "linux")]
pub(crate) fn read(dir: &Dir, path: &str) -> AtOnce {
    use std::io::IoSliceMut;

    use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
    use rustix::io::{Errno, ReadWriteFlags};

    /// `RESOLVE_CACHED`, since Linux 5.12.
    const CACHED: ResolveFlags = ResolveFlags::from_bits_retain(0x20);

    // A read must not lead to a write of the time of access.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOATIME;
    let file = match rustix::fs::openat2(dir, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | CACHED) {
        Ok(file) => file,
        Err(Errno::NOENT) => return AtOnce::Absent,
        Err(Errno::NOSYS | Errno::INVAL) => return AtOnce::Never,
        Err(_) => return AtOnce::Unknown,
    };
    let Ok(found) = rustix::fs::fstat(&file) else { return AtOnce::Unknown };
    let len = u64::try_from(found.st_size).unwrap_or(u64::MAX);
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || len > MOST {
        return AtOnce::Unknown;
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    match rustix::io::preadv2(&file, &mut [IoSliceMut::new(&mut bytes)], 0, ReadWriteFlags::NOWAIT) {
        Ok(count) if count == bytes.len() => AtOnce::Whole(bytes),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => AtOnce::Never,
        // Part of it is on the disk only.
        Ok(_) | Err(_) => AtOnce::Unknown,
    }
}

/// Whether the directory is in a file system that is worth asking: the platform has no such calls.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn is_worth_asking(_: &Dir) -> bool {
    false
}

/// The platform has no such calls.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn read(_: &Dir, _: &str) -> AtOnce {
    AtOnce::Never
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What is said is true, and nothing is said of what is no small file. Case 112: no link is followed.
    #[test]
    fn what_is_said_without_waiting_is_true() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::root(folder.path()).unwrap();
        dir.make("real").unwrap();
        let write = |name: &str, len: u64| std::fs::write(folder.path().join(name), vec![b'x'; len as usize]).unwrap();
        write("real/file", 2000);
        write("real/empty", 0);
        write("real/large", MOST + 1);
        std::os::unix::fs::symlink("real", folder.path().join("linked")).unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("real/link")).unwrap();
        rustix::fs::mkfifoat(&dir, "real/pipe", rustix::fs::Mode::RUSR).unwrap();
        let is_asked = is_worth_asking(&dir) && read(&dir, "real/file") != AtOnce::Never;
        if is_asked {
            assert_eq!(read(&dir, "real/file"), AtOnce::Whole(vec![b'x'; 2000]));
            assert_eq!(read(&dir, "real/empty"), AtOnce::Whole(Vec::new()));
        }
        for other in ["real/large", "real/link", "linked/file", "real", "real/pipe"] {
            assert!(matches!(read(&dir, other), AtOnce::Unknown | AtOnce::Never), "{other}");
        }
        assert!(dir.file("real/none").is_err());
        assert!(!matches!(read(&dir, "real/none"), AtOnce::Whole(_)));
        write("real/none", 10);
        assert_ne!(read(&dir, "real/none"), AtOnce::Absent);
    }
}
