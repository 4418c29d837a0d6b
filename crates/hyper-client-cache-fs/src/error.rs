//! What can go wrong in this backend, and the one conversion into the public error.

use std::fmt;
use std::io::{self, ErrorKind as IoKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_client_cache_core::{Error, ErrorKind};

/// An error of this backend before it becomes a public one.
#[derive(Clone, Debug)]
pub(crate) enum FsError {
    /// A setting is impossible: which, why, and what to do.
    Setting(String),
    /// The path cannot be used: which, and why.
    Path { path: PathBuf, why: String },
    /// The entry cannot fit.
    TooLarge { len: u64, limit: u64 },
    /// Nothing can be removed to make room within the bound.
    NoRoom,
    /// The cache was opened for reading only.
    ReadOnly,
    /// The storage was closed.
    Closed,
    /// There is no runtime to run on, or it has ended.
    NoRuntime,
    /// A call of the file system failed.
    Io { what: &'static str, source: Arc<io::Error> },
}

impl FsError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source: Arc::new(source) }
    }

    pub(crate) fn path(path: &Path, why: impl Into<String>) -> Self {
        Self::Path { path: path.to_owned(), why: why.into() }
    }

    /// Whether what was looked for, or the folder it is to lie in, is gone.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == IoKind::NotFound)
    }

    /// Whether the next try may succeed without anybody doing something about it.
    fn is_transient(&self) -> bool {
        match self {
            Self::NoRoom => true,
            Self::Io { source, .. } => match source.kind() {
                IoKind::StorageFull
                | IoKind::QuotaExceeded
                | IoKind::ResourceBusy
                | IoKind::Interrupted
                | IoKind::WouldBlock
                | IoKind::OutOfMemory
                | IoKind::TimedOut
                | IoKind::NotFound => true,
                _ => has_no_descriptor(source),
            },
            _ => false,
        }
    }
}

/// Whether the process, or the system, has too many files open (case 148).
fn has_no_descriptor(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(why) => f.write_str(why),
            Self::Path { path, why } => write!(f, "{}: {why}", path.display()),
            Self::TooLarge { len, limit } => write!(f, "{len} bytes, and {limit} is the most"),
            Self::NoRoom => f.write_str("nothing can be removed to make room within `max_bytes`"),
            Self::ReadOnly => f.write_str("the directory is open for reading only"),
            Self::Closed => f.write_str("files"),
            Self::NoRuntime => f.write_str("files need a running Tokio runtime"),
            Self::Io { what, source } => match source.kind() {
                IoKind::StorageFull | IoKind::QuotaExceeded => write!(f, "{what}: no space left"),
                _ => f.write_str(what),
            },
        }
    }
}

impl From<FsError> for Error {
    fn from(error: FsError) -> Self {
        let kind = match &error {
            FsError::Setting(_) | FsError::Path { .. } => ErrorKind::Config,
            FsError::TooLarge { .. } => ErrorKind::TooLarge,
            FsError::Closed => ErrorKind::Closed,
            _ => ErrorKind::Storage,
        };
        let public = Self::new(kind, error.to_string());
        let public = if error.is_transient() { public.transient() } else { public };
        match error {
            FsError::Io { source, .. } => public.with_source(source),
            _ => public,
        }
    }
}

/// A result inside this crate.
pub(crate) type Result<T> = std::result::Result<T, FsError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_transient_and_a_forbidden_one_is_not() {
        let error = |kind: IoKind| Error::from(FsError::io("a file cannot be written")(kind.into()));
        assert!(error(IoKind::StorageFull).is_transient());
        assert!(error(IoKind::StorageFull).to_string().contains("no space left"));
        assert!(!error(IoKind::PermissionDenied).is_transient());
        assert!(!error(IoKind::ReadOnlyFilesystem).is_transient());
        assert_eq!(error(IoKind::StorageFull).kind(), ErrorKind::Storage);
    }

    /// Case 148.
    #[cfg(unix)]
    #[test]
    fn too_many_open_files_is_transient() {
        let error = io::Error::from(rustix::io::Errno::MFILE);
        assert!(Error::from(FsError::io("a file cannot be opened")(error)).is_transient());
    }
}
