//! From a cache's name to a file that only its owner can read.
//!
//! [`resolve`] turns the name into a path; [`prepare`] makes folders and file before SQLite sees them, because SQLite
//! would create the file with whatever the umask allows and follow a symbolic link that somebody planted.
//! The journal files take their permissions from the database file; what another user has put in place of one of them is
//! refused.
//!
//! An existing database is never opened and closed here: closing any descriptor of a file drops the locks that SQLite
//! holds on it in this process (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).

use std::fs::{self, Metadata};
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

use crate::error::{Result, SqliteError};

/// The file name that is used where no name was given.
const DEFAULT_NAME: &str = "http-cache.sqlite";

/// The longest path that SQLite's file layer takes, with room for the `-journal` suffix.
const MAX_PATH: usize = 500;

/// `http-cache.sqlite` in the user's cache folder.
pub(crate) fn default_path() -> Result<PathBuf> {
    use etcetera::BaseStrategy;
    let dirs = etcetera::base_strategy::choose_native_strategy().map_err(|_| {
        SqliteError::Setting("the user's cache folder is not known (no home folder): give the cache a path".to_owned())
    })?;
    Ok(dirs.cache_dir().join(DEFAULT_NAME))
}

/// Expands `~` and adds `.sqlite` where there is no extension.
pub(crate) fn resolve(name: &Path) -> Result<PathBuf> {
    let mut path = match name.strip_prefix("~") {
        Ok(rest) if rest.as_os_str().is_empty() => return Err(SqliteError::path(name, "this names no file")),
        Ok(rest) => std::env::home_dir()
            .filter(|home| !home.as_os_str().is_empty())
            .ok_or_else(|| SqliteError::path(name, "`~` cannot be expanded because there is no home folder"))?
            .join(rest),
        Err(_) => name.to_owned(),
    };
    if path.file_name().is_none() {
        return Err(SqliteError::path(name, "this names no file"));
    }
    let Some(text) = path.to_str() else {
        return Err(SqliteError::path(name, "SQLite needs a path in UTF-8"));
    };
    if text.contains('\0') {
        return Err(SqliteError::Setting("the path contains a NUL character".to_owned()));
    }
    // With SQLITE_OPEN_URI, which the driver sets, a relative `file:` path would be read as a URI.
    if text.starts_with("file:") {
        return Err(SqliteError::path(name, "give a path or a `sqlite://` URL instead of a `file:` URI"));
    }
    if path.extension().is_none() {
        path.set_extension("sqlite");
    }
    let path = std::path::absolute(&path).map_err(SqliteError::io("the working folder is not known"))?;
    if path.as_os_str().len() > MAX_PATH {
        return Err(SqliteError::path(&path, format!("the path is longer than {MAX_PATH} bytes")));
    }
    Ok(path)
}

/// How the name of a file begins that is being made.
const BEGUN: &str = ".new-cache-";

/// What was found at the path of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing was there; an empty file is there now.
    New,
    /// A file was there.
    Existing,
    /// A file is there and may only be read.
    NotWritable,
}

/// Makes what is missing and refuses what is not safe. `create`: whether a missing file may be made.
pub(crate) fn prepare(path: &Path, create: bool) -> Result<Found> {
    let folder = path.parent().ok_or_else(|| SqliteError::path(path, "this names no file"))?;
    if create {
        make_folders(folder).map_err(|error| SqliteError::path(folder, format!("cannot be made: {error}")))?;
    }
    check_folder(folder)?;
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = with_suffix(path, suffix);
        let Some(found) = metadata(&file)? else { continue };
        if found.file_type().is_symlink() {
            return Err(SqliteError::path(&file, "this is a symbolic link, which is not followed: name its target"));
        }
        if !found.is_file() {
            return Err(SqliteError::path(&file, "this is not a file"));
        }
        check_owner(&file, &found)?;
    }
    match metadata(path)? {
        Some(found) if create && found.permissions().readonly() => Ok(Found::NotWritable),
        Some(_) => Ok(Found::Existing),
        None if create => create_private(path),
        None => Err(SqliteError::path(path, "there is no such file, and a cache opened for reading makes none")),
    }
}

/// Whether there is a file with something in it that SQLite would take for an empty database and overwrite.
pub(crate) fn is_too_short(path: &Path) -> bool {
    /// The smallest page that a database can have.
    const SMALLEST: u64 = 512;
    fs::symlink_metadata(path).is_ok_and(|found| (1..SMALLEST).contains(&found.len()))
}

/// `path` with something at the end of its file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

/// Takes everybody else's rights away from a database that is ours. Best effort: it may be somebody else's file.
pub(crate) fn restrict(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for suffix in ["", "-wal", "-shm"] {
            let file = with_suffix(path, suffix);
            if let Ok(Some(found)) = metadata(&file)
                && found.is_file()
                && found.permissions().mode() & 0o077 != 0
            {
                drop(fs::set_permissions(&file, fs::Permissions::from_mode(0o600)));
            }
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// What tells the file at a path from another one that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// The identity of the file at `path`; `None` where there is none. Constant where the platform has no such thing.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    let found = fs::symlink_metadata(path).ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some(Identity { device: found.dev(), inode: found.ino() })
    }
    #[cfg(not(unix))]
    {
        let _ = found;
        Some(Identity { device: 0, inode: 0 })
    }
}

fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == IoKind::NotFound => Ok(None),
        Err(error) => Err(SqliteError::path(path, format!("cannot be looked at: {error}"))),
    }
}

/// Makes each missing folder for the owner alone, whatever the umask.
fn make_folders(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folders(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    match builder.create(folder) {
        // Another process may have been faster.
        Err(error) if error.kind() == IoKind::AlreadyExists && folder.is_dir() => Ok(()),
        other => other,
    }
}

/// Refuses a file that another user has put there: all that is in a database is handed out, and what is in a journal is
/// played back into one.
fn check_owner(file: &Path, found: &Metadata) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let user = rustix::process::geteuid().as_raw();
        if !is_trusted(found.uid(), user) {
            return Err(SqliteError::path(
                file,
                "this belongs to another user, who may read and change what is in it: choose a path of your own",
            ));
        }
        // Somebody else can give a file of ours a second name. SQLite does not see the journal of the first.
        if found.nlink() > 1 && !is_being_made(file, found) {
            return Err(SqliteError::path(
                file,
                "this file has another name (a hard link): copy it, and name the copy",
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = (file, found);
    Ok(())
}

/// Whether a file with two names is one of ours that is just being made, or was when its process was killed: where a file
/// system cannot rename without replacing, it is an empty one that is linked to its name. The other name goes.
#[cfg(unix)]
fn is_being_made(file: &Path, found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Some(Ok(names)) = file.parent().filter(|_| found.len() == 0 && found.nlink() == 2).map(fs::read_dir) else {
        return false;
    };
    let is_other = |path: &Path| {
        let is_temporary = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(BEGUN.as_bytes()));
        is_temporary && fs::symlink_metadata(path).is_ok_and(|of| (of.dev(), of.ino()) == (found.dev(), found.ino()))
    };
    let other = names.flatten().map(|name| name.path()).find(|path| is_other(path));
    // Whoever makes it may have removed it already.
    other.is_some_and(|other| match fs::remove_file(other) {
        Ok(()) => true,
        Err(error) => error.kind() == IoKind::NotFound,
    }) || fs::symlink_metadata(file).is_ok_and(|found| found.nlink() == 1)
}

/// Whether what belongs to `owner` may be used by a process of `user`: what is its own, and what is the system's, which
/// can change everything anyway. So root uses no file of somebody else's.
#[cfg(unix)]
const fn is_trusted(owner: u32, user: u32) -> bool {
    owner == user || owner == 0
}

/// Refuses a folder in which others could put a file of their own in place of ours.
///
/// Where the folder itself is a symbolic link, it is followed if the user or the system made it, as `/tmp` on some systems
/// and `~/.cache` with some users: others could point theirs elsewhere at any time. Links further up are not looked at.
fn check_folder(folder: &Path) -> Result<()> {
    let found = fs::metadata(folder).map_err(|error| SqliteError::path(folder, format!("cannot be used: {error}")))?;
    if !found.is_dir() {
        return Err(SqliteError::path(folder, "this is not a folder"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let user = rustix::process::geteuid().as_raw();
        let mode = found.mode();
        let sticky = mode & 0o1000 != 0;
        // A folder of the system (/tmp, /var/cache) is no threat where others cannot replace our file.
        if metadata(folder)?.is_some_and(|link| !is_trusted(link.uid(), user)) {
            return Err(SqliteError::path(
                folder,
                "the folder, or the symbolic link to it, belongs to another user: choose one of your own",
            ));
        }
        if !is_trusted(found.uid(), user) {
            return Err(SqliteError::path(folder, "the folder belongs to another user: choose one of your own"));
        }
        if mode & 0o022 != 0 && !sticky {
            return Err(SqliteError::path(
                folder,
                "other users may write to this folder: take the right away (chmod go-w) or choose another",
            ));
        }
    }
    Ok(())
}

/// Makes an empty file that only its owner may use, and does not follow a symbolic link.
///
/// It is made under another name and closed before it gets its own: closing a file gives up every lock that this process
/// holds on it, also those of a connection that has opened it meanwhile.
fn create_private(path: &Path) -> Result<Found> {
    let failed = |error| SqliteError::path(path, format!("cannot be made: {error}"));
    if fs::symlink_metadata(path).is_ok() {
        return Ok(Found::Existing);
    }
    // Its mode is 0600 under any umask.
    let file = tempfile::Builder::new().prefix(BEGUN).tempfile_in(path.parent().unwrap_or(Path::new(".")));
    match file.map_err(failed)?.into_temp_path().persist_noclobber(path) {
        Ok(()) => Ok(Found::New),
        Err(error) if error.error.kind() == IoKind::AlreadyExists => Ok(Found::Existing),
        Err(error) => Err(failed(error.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_extension_gets_one() {
        assert!(resolve(Path::new("/x/demo")).unwrap().ends_with("x/demo.sqlite"));
        assert!(resolve(Path::new("/x/demo.db")).unwrap().ends_with("x/demo.db"));
    }

    #[test]
    fn a_tilde_is_the_home_folder_only_at_the_beginning() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(resolve(Path::new("~/a.db")).unwrap(), home.join("a.db"));
        assert!(resolve(Path::new("/x/~/a.db")).unwrap().ends_with("~/a.db"));
        assert!(resolve(Path::new("~user/a.db")).unwrap().ends_with("~user/a.db"));
    }

    #[test]
    fn a_name_without_a_file_is_refused() {
        for bad in ["", "/", "..", "~", "file:x.db", &"x/".repeat(400)] {
            assert!(resolve(Path::new(bad)).is_err(), "{bad}");
        }
    }

    /// Case 114: who may have put a file there.
    #[cfg(unix)]
    #[test]
    fn what_belongs_to_the_user_or_the_system_is_trusted() {
        for (owner, user, trusted) in
            [(1000, 1000, true), (0, 0, true), (0, 1000, true), (1001, 1000, false), (1000, 0, false)]
        {
            assert_eq!(is_trusted(owner, user), trusted, "{owner} {user}");
        }
    }
}
