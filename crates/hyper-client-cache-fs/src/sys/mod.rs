//! The few calls of the file system that this crate makes, all of them blocking.
//!
//! [`Dir`] is an open directory, below which nothing is followed that is a symbolic link. On Unix it is a descriptor
//! (`unix`), so that whoever swaps a directory for something else meanwhile changes nothing; elsewhere it is a path
//! (`portable`), which is as safe as the folder it lies in.

mod at_once;
mod step;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use self::unix::{Dir, is_something_else};

// Compiled for the tests everywhere, so that it does not rot where nobody builds it.
#[cfg(any(not(unix), test))]
#[cfg_attr(unix, allow(dead_code))] // there its own tests are all that uses it
mod portable;
#[cfg(not(unix))]
pub(crate) use self::portable::{Dir, is_something_else};

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use self::at_once::{AtOnce, is_worth_asking, read as read_at_once};
pub(crate) use self::step::step;

/// What is known about a name in a directory without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What tells the file from another that takes its place; constant where the platform has no such thing.
    pub(crate) identity: (u64, u64),
    pub(crate) is_file: bool,
    pub(crate) is_dir: bool,
    pub(crate) len: u64,
    /// Microseconds since 1970, saturating.
    pub(crate) modified: u64,
}

/// What became of an attempt to lock a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Held,
    /// Somebody else has it.
    Busy,
    /// The file system knows no locks.
    Unknown,
}

/// Reads `len` bytes from the file's position on, less where the file is shorter.
pub(crate) fn read_up_to(file: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    // Goes on where a call gives less or is interrupted (case 152).
    file.by_ref().take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes both pieces, in one call where the system takes them at once.
pub(crate) fn write_all(file: &mut impl Write, first: &[u8], second: &[u8]) -> io::Result<()> {
    step("write")?;
    let mut written = 0_usize;
    while written < first.len() {
        let rest = first.get(written..).unwrap_or_default();
        match file.write_vectored(&[IoSlice::new(rest), IoSlice::new(second)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written = written.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    step("write the rest")?;
    file.write_all(second.get(written.saturating_sub(first.len())..).unwrap_or_default())
}

/// Waits until the file's content is on the disk.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    step("sync file")?;
    file.sync_all()
}

/// Sets the time of the last change, which for us is that of the last use.
pub(crate) fn set_modified(file: &File, micros: u64) -> io::Result<()> {
    step("set time")?;
    file.set_modified(from_micros(micros))
}

/// The identity of an open file, and its length.
pub(crate) fn look_at(file: &File) -> io::Result<Found> {
    Ok(found(&file.metadata()?))
}

fn found(metadata: &std::fs::Metadata) -> Found {
    #[cfg(unix)]
    let identity = {
        use std::os::unix::fs::MetadataExt;
        (metadata.dev(), metadata.ino())
    };
    #[cfg(not(unix))]
    let identity = (0, 0);
    Found {
        identity,
        is_file: metadata.is_file(),
        is_dir: metadata.is_dir(),
        len: metadata.len(),
        modified: metadata.modified().map_or(0, to_micros),
    }
}

/// Microseconds since 1970, 0 for moments before.
pub(crate) fn to_micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn from_micros(micros: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_micros(micros)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes and gives a few bytes at a time, and is interrupted every other time.
    #[derive(Default)]
    struct Slow {
        bytes: Vec<u8>,
        at: usize,
        calls: usize,
    }

    impl Slow {
        fn turn(&mut self) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(2) { Ok(self.calls % 7) } else { Err(io::ErrorKind::Interrupted.into()) }
        }
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = self.turn()?.clamp(1, bytes.len());
            self.bytes.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = self.turn()?.min(into.len()).min(self.bytes.len() - self.at);
            let len = if len == 0 { into.len().min(self.bytes.len() - self.at).min(1) } else { len };
            into[..len].copy_from_slice(&self.bytes[self.at..self.at + len]);
            self.at += len;
            Ok(len)
        }
    }

    /// Case 152.
    #[test]
    fn short_and_interrupted_calls_are_gone_on_with() {
        let (first, second) = (vec![b'a'; 100], vec![b'b'; 1000]);
        let mut file = Slow::default();
        write_all(&mut file, &first, &second).unwrap();
        assert_eq!(file.bytes, [&first[..], &second[..]].concat());
        assert_eq!(read_up_to(&mut file, 150).unwrap(), [&first[..], &second[..50]].concat());
        assert_eq!(read_up_to(&mut file, 10_000).unwrap(), second[50..]);
    }

    /// Case 152: a device that takes nothing is an error, not a loop.
    #[test]
    fn a_call_that_takes_nothing_is_an_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Ok(0)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (first, second) in [(&b"a"[..], &b"b"[..]), (b"", b"b")] {
            assert_eq!(write_all(&mut Full, first, second).unwrap_err().kind(), io::ErrorKind::WriteZero);
        }
    }
}
