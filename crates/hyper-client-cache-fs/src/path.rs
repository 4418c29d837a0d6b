//! From a cache's name to a directory that only its owner can change.

use std::fs;
use std::io::{self, ErrorKind as IoKind};
use std::path::{Path, PathBuf};

use crate::error::{FsError, Result};
use crate::sys::{Dir, is_something_else, step};

/// The directory's name where none was given.
const DEFAULT_NAME: &str = "http-cache";

/// `http-cache` in the user's cache folder.
pub(crate) fn default_path() -> Result<PathBuf> {
    use etcetera::BaseStrategy;
    let dirs = etcetera::base_strategy::choose_native_strategy().map_err(|_| {
        FsError::Setting("the user's cache folder is not known (no home folder): give the cache a path".to_owned())
    })?;
    Ok(dirs.cache_dir().join(DEFAULT_NAME))
}

/// Expands `~` and makes the path absolute.
pub(crate) fn resolve(name: &Path) -> Result<PathBuf> {
    let path = match name.strip_prefix("~") {
        Ok(rest) if rest.as_os_str().is_empty() => {
            return Err(FsError::path(name, "this is the home folder itself: name a directory in it"));
        }
        Ok(rest) => std::env::home_dir()
            .filter(|home| !home.as_os_str().is_empty())
            .ok_or_else(|| FsError::path(name, "`~` cannot be expanded because there is no home folder"))?
            .join(rest),
        Err(_) => name.to_owned(),
    };
    if path.file_name().is_none() {
        return Err(FsError::path(name, "this names no directory"));
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(FsError::Setting("the path contains a NUL character".to_owned()));
    }
    let path = std::path::absolute(&path).map_err(FsError::io("the working folder is not known"))?;
    // Without a slash at the end, behind which a symbolic link would be followed.
    Ok(path.components().collect())
}

/// Opens the directory, and makes it with those above it where `create`; refuses what others can change.
pub(crate) fn open(path: &Path, create: bool) -> Result<Dir> {
    if create {
        make_folders(path).map_err(|error| FsError::path(path, format!("cannot be made: {error}")))?;
    }
    let dir = Dir::root(path).map_err(|error| refusal(path, &error))?;
    check(&dir, path)?;
    Ok(dir)
}

/// Refuses a directory into which others could put files of their own (case 114).
pub(crate) fn check(dir: &Dir, path: &Path) -> Result<()> {
    let verdict = dir.is_private().map_err(FsError::io("the directory cannot be looked at"))?;
    verdict.map_err(|why| FsError::path(path, why))
}

/// Why a directory could not be opened, in words that say what to do.
pub(crate) fn refusal(path: &Path, error: &io::Error) -> FsError {
    match error.kind() {
        IoKind::NotFound => {
            FsError::path(path, "there is no such directory, and a cache opened for reading makes none")
        }
        _ if is_something_else(error) => {
            let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
            let why = "this is a symbolic link, which is not followed: name its target";
            FsError::path(path, if is_link { why } else { "this is not a directory" })
        }
        _ => FsError::path(path, format!("cannot be opened: {error}")),
    }
}

/// Makes each missing folder for the owner alone, whatever the umask.
fn make_folders(folder: &Path) -> io::Result<()> {
    // Also where it is a link: that is for `open` to say.
    if fs::symlink_metadata(folder).is_ok() {
        return Ok(());
    }
    if let Some(parent) = folder.parent()
        && !parent.is_dir()
    {
        make_folders(parent)?;
    }
    step("make folder")?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    match builder.create(folder) {
        // Another process may have been faster.
        Err(error) if error.kind() == IoKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_folder_only_at_the_beginning() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(resolve(Path::new("~/a")).unwrap(), home.join("a"));
        assert!(resolve(Path::new("/x/~/a")).unwrap().ends_with("~/a"));
        assert!(resolve(Path::new("~user/a")).unwrap().ends_with("~user/a"));
        assert_eq!(resolve(Path::new("/x/a/")).unwrap().as_os_str(), "/x/a");
    }

    #[test]
    fn a_name_without_a_directory_is_refused() {
        for bad in ["", "/", "..", "~", "a\0b"] {
            assert!(resolve(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
