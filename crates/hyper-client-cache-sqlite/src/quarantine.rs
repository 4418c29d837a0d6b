//! Setting a broken file aside (case 141): it is renamed, never removed, so that nothing is lost that somebody might
//! still want.
//!
//! Several handles and processes may find the same damage at once. One of them renames: the folder is locked
//! meanwhile, and the file is renamed only while it is still the one that was found broken.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Result, SqliteError};
use crate::path::{Identity, identity, with_suffix};

/// How many broken files are kept beside the database before the last name is used again.
const MAX_KEPT: u32 = 100;

/// Renames the database at `path` with its journal to `<path>.corrupt-<n>`, if it is still `broken`; `None` where
/// somebody else was faster.
///
/// Every connection of this process to the file must be closed or about to be.
pub(crate) fn set_aside(path: &Path, broken: Option<Identity>) -> Result<Option<PathBuf>> {
    // Released when dropped; where a folder cannot be locked the comparison has to do.
    let _lock = path.parent().and_then(lock_folder);
    if identity(path) != broken || broken.is_none() {
        return Ok(None);
    }
    let target = (1..=MAX_KEPT)
        .map(|number| with_suffix(path, &format!(".corrupt-{number}")))
        .find(|target| identity(target).is_none())
        .unwrap_or_else(|| with_suffix(path, &format!(".corrupt-{MAX_KEPT}")));
    // The journal first: a journal without its database is ignored, a database with another's journal is mixed up.
    for suffix in ["-wal", "-shm", ""] {
        match fs::rename(with_suffix(path, suffix), with_suffix(&target, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(SqliteError::io("a damaged database cannot be renamed")(error)),
        }
    }
    tracing::warn!(
        database = %path.display(), kept_as = %target.display(),
        "the cache's database is damaged or not a database: set aside, a new one is begun"
    );
    Ok(Some(target))
}

fn lock_folder(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    folder.lock().ok()?;
    Some(folder)
}
