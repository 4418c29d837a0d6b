//! Paths, permissions, and directories that are not what they seem.

use std::fs;
use std::path::{Path, PathBuf};

use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_fs::FsCache;

use crate::support::{files, key};

fn entry() -> Entry {
    Entry::new("head", "body")
}

async fn cache_at(path: &Path) -> FsCache {
    let cache = FsCache::open(path).await.unwrap();
    cache.responses().write(&key(1), entry()).await.unwrap();
    cache
}

#[tokio::test]
async fn folders_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache_at(&folder.path().join("a/b/cache")).await;
    assert_eq!(cache.path(), folder.path().join("a/b/cache"));
    assert!(FsCache::default_path().unwrap().ends_with("http-cache"));
}

#[tokio::test]
async fn impossible_settings_are_errors_that_name_them() {
    for (config, name) in [
        (FsCache::builder("x").use_temp(true).max_bytes(0), "max_bytes"),
        (FsCache::builder("x").use_temp(true).threads(0), "threads"),
        (FsCache::builder("x").use_temp(true).max_entry_len(0), "max_entry_len"),
        (FsCache::builder("x").use_temp(true).read_only(true), "read_only"),
    ] {
        let error = config.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// Case 159: a strange path works, an impossible one is an error when opening.
#[tokio::test]
async fn strange_paths_work_or_are_clear_errors() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["with space", "quote'and\"double", "semi;colon--", "per%20cent?", "#hash", "ünïcode", "new\nline"] {
        let cache = cache_at(&folder.path().join(name)).await;
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry()), "{name}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let cache = cache_at(&folder.path().join(std::ffi::OsStr::from_bytes(b"\xFF"))).await;
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry()));
    }
    let long = folder.path().join("x".repeat(300));
    assert_eq!(FsCache::open(&long).await.unwrap_err().kind(), ErrorKind::Config);
    let deep: PathBuf = std::iter::repeat_n("folder", 1000).collect();
    assert_eq!(FsCache::open(folder.path().join(deep)).await.unwrap_err().kind(), ErrorKind::Config);
    fs::write(folder.path().join("file"), "x").unwrap();
    let error = FsCache::open(folder.path().join("file")).await.unwrap_err();
    assert!(error.to_string().contains("not a directory"), "{error}");
}

/// Case 115: the temporary folder is private and its name is not known beforehand; it goes with the cache.
#[tokio::test]
async fn a_temporary_cache_leaves_nothing() {
    let cache = FsCache::builder("demo").use_temp(true).open().await.unwrap();
    cache.responses().write(&key(1), entry()).await.unwrap();
    let path = cache.path().to_owned();
    assert!(path.starts_with(std::env::temp_dir()) && path.ends_with("demo"));
    assert!(!cache.responses().info().persistent);
    let other = FsCache::builder("demo").use_temp(true).open().await.unwrap();
    assert_ne!(other.path(), path);
    cache.close().await.unwrap();
    drop(cache);
    crate::support::until(async || !path.parent().unwrap().exists()).await;
}

/// Case 242: reading only, nothing changes, and what is not there is not made.
#[tokio::test]
async fn reading_only_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let error = FsCache::builder(&path).read_only(true).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!path.exists());
    cache_at(&path).await.close().await.unwrap();
    let look = || {
        let of = |file: PathBuf| (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().modified().unwrap(), file);
        files(&path).into_iter().map(of).collect::<Vec<_>>()
    };
    let before = look();
    let cache = FsCache::builder(&path).read_only(true).open().await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry()));
    assert_eq!(cache.responses().size().await.unwrap(), 1);
    for error in [
        cache.responses().write(&key(2), entry()).await.unwrap_err(),
        cache.responses().delete(&key(1)).await.unwrap_err(),
        cache.responses().clear().await.unwrap_err(),
        cache.responses().delete_expired(std::time::UNIX_EPOCH).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(!error.is_transient());
    }
    cache.close().await.unwrap();
    assert!(before == look());
    assert_eq!(fs::read_dir(path.join("v1/tmp")).unwrap().count(), 0);
}

/// Case 116: whatever the keys, what is in the directory has names of one form.
#[tokio::test]
async fn names_are_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = FsCache::open(&path).await.unwrap();
    for text in ["con", "nul", "aux", "com1", "-", "--", "a-b", &"z".repeat(128)] {
        let name = CacheKey::new(text).unwrap();
        cache.responses().write(&name, Entry::new(text.to_owned(), "")).await.unwrap();
        assert_eq!(cache.responses().read(&name).await.unwrap(), Some(Entry::new(text.to_owned(), "")));
    }
    let files = files(&path.join("v1/responses"));
    assert_eq!(files.len(), 8);
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.len() == 30 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Case 117: clearing and making room take only what is ours.
#[tokio::test]
async fn only_our_files_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = cache_at(&path).await;
    let (file, _) = crate::support::file_of(&path, "responses", &key(1), &[]).unwrap();
    let leaf = file.parent().unwrap();
    let foreign = [
        path.join("foreign"),
        path.join("v1/foreign"),
        path.join("v1/responses/foreign"),
        leaf.join("foreign"),
        leaf.join("0".repeat(29)),
        path.join("v2-of-a-later-version"),
    ];
    for file in &foreign {
        fs::write(file, "somebody's").unwrap();
    }
    // A folder with a name of ours, and one beside the versions.
    let directory = leaf.join(file.file_name().unwrap().to_str().unwrap().replace(|_: char| true, "f"));
    fs::create_dir(&directory).unwrap();
    cache.responses().clear().await.unwrap();
    cache.redirects().clear().await.unwrap();
    assert!(!file.exists());
    for file in &foreign {
        assert!(file.exists(), "{}", file.display());
    }
    assert!(directory.exists());
    cache.responses().write(&key(1), entry()).await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry()));
}

/// Cleared, the directory holds no empty folders, and is written again.
#[tokio::test]
async fn clearing_leaves_no_folders() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FsCache::open(folder.path().join("cache")).await.unwrap();
    for number in 0..50 {
        cache.responses().write(&key(number), entry()).await.unwrap();
    }
    cache.responses().clear().await.unwrap();
    assert_eq!(fs::read_dir(cache.path().join("v1/responses")).unwrap().count(), 0);
    assert_eq!(cache.responses().size().await.unwrap(), 0);
    cache.responses().write(&key(1), entry()).await.unwrap();
    assert_eq!(cache.responses().size().await.unwrap(), 1);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::process::Command;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn everything(path: &Path) -> Vec<PathBuf> {
        let mut all = vec![path.to_owned()];
        let mut next = 0;
        while next < all.len() {
            if all[next].is_dir() {
                all.extend(fs::read_dir(&all[next]).unwrap().map(|entry| entry.unwrap().path()));
            }
            next += 1;
        }
        all
    }

    const MASKED: &str = "HCC_FS_TEST_MASKED";

    /// Case 113: under any umask, folders are 0700, also those above, and files 0600, also while they are written.
    #[tokio::test]
    async fn only_the_owner_can_read() {
        if let Ok(path) = std::env::var(MASKED) {
            let cache = cache_at(Path::new(&path)).await;
            cache.bodies().unwrap().write(&key(1), entry()).await.unwrap();
            std::mem::forget(cache);
            return;
        }
        for umask in ["000", "022", "077", "277"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a/b/cache");
            let this = std::env::current_exe().unwrap();
            let script = format!(
                "umask {umask}; exec '{}' --exact files::unix::only_the_owner_can_read --nocapture",
                this.display()
            );
            let status = Command::new("sh").args(["-c", &script]).env(MASKED, &path).output().unwrap().status;
            // With a mask that takes rights from the owner, folders above the cache cannot be made usable by root only.
            assert!(status.success(), "{umask}");
            let above = if umask == "277" { path.clone() } else { folder.path().join("a") };
            for found in everything(&above) {
                let wanted = if found.is_dir() { 0o700 } else { 0o600 };
                if umask == "277" && found == path {
                    continue;
                }
                assert_eq!(mode(&found), wanted, "umask {umask}: {}", found.display());
            }
            assert!(files(&path).len() >= 2);
        }
    }

    /// Case 112: the directory itself, and each folder in it, may not be a link.
    #[tokio::test]
    async fn a_link_is_no_directory() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        cache_at(&real).await.close().await.unwrap();
        let link = folder.path().join("link");
        symlink(&real, &link).unwrap();
        for name in ["link", "link/"] {
            let error = FsCache::open(folder.path().join(name)).await.unwrap_err();
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        for name in ["v1", "v1/responses", "v1/bodies"] {
            let path = real.join(name);
            let moved = folder.path().join("moved");
            fs::rename(&path, &moved).unwrap();
            symlink(&moved, &path).unwrap();
            let error = FsCache::open(&real).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("symbolic link"), "{error}");
            fs::remove_file(&path).unwrap();
            fs::rename(&moved, &path).unwrap();
        }
        assert_eq!(FsCache::open(&real).await.unwrap().responses().read(&key(1)).await.unwrap(), Some(entry()));
    }

    /// Case 112: a link with the name of an entry is neither read nor written through; what it names stays as it was.
    #[tokio::test]
    async fn a_link_in_place_of_an_entry_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let cache = cache_at(&path).await;
        let (file, _) = crate::support::file_of(&path, "responses", &key(1), &[]).unwrap();
        let victim = folder.path().join("victim");
        fs::rename(&file, &victim).unwrap();
        let before = fs::read(&victim).unwrap();
        symlink(&victim, &file).unwrap();
        // Even where it names a healthy entry.
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None);
        assert!(!cache.responses().contains(&key(1)).await.unwrap());
        assert!(cache.responses().stats().corrupt >= 1);
        cache.responses().clear().await.unwrap();
        assert!(file.is_symlink());
        cache.responses().write(&key(1), Entry::new("new", "new")).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("new", "new")));
        assert!(!file.is_symlink());
        assert_eq!(fs::read(&victim).unwrap(), before);
    }

    /// Cases 112 and 117: a folder that is swapped for a link while the cache is open leads nowhere.
    #[tokio::test]
    async fn a_folder_swapped_for_a_link_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let cache = cache_at(&path).await;
        let (file, _) = crate::support::file_of(&path, "responses", &key(1), &[]).unwrap();
        // Somebody else's folder, with a file that has the name of an entry of ours.
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let precious = outside.join(file.file_name().unwrap());
        fs::copy(&file, &precious).unwrap();
        for above in [file.parent().unwrap(), file.parent().unwrap().parent().unwrap()] {
            let moved = folder.path().join("moved");
            fs::rename(above, &moved).unwrap();
            if above == file.parent().unwrap() {
                symlink(&outside, above).unwrap();
            } else {
                fs::create_dir_all(folder.path().join("tree")).unwrap();
                symlink(folder.path().join("tree"), above).unwrap();
                let leaf = file.parent().unwrap().file_name().unwrap();
                drop(symlink(&outside, folder.path().join("tree").join(leaf)));
            }
            assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None);
            assert!(!cache.responses().delete(&key(1)).await.unwrap());
            cache.responses().clear().await.unwrap();
            assert!(cache.responses().write(&key(1), entry()).await.is_err());
            assert!(precious.exists());
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
            fs::remove_file(above).unwrap();
            fs::rename(&moved, above).unwrap();
            assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry()));
        }
    }

    /// Case 118: another name of the same file, which somebody planted, keeps its content.
    #[tokio::test]
    async fn a_hard_link_keeps_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let cache = cache_at(&path).await;
        let (file, _) = crate::support::file_of(&path, "responses", &key(1), &[]).unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        fs::remove_file(&file).unwrap();
        fs::hard_link(&victim, &file).unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None);
        fs::hard_link(&victim, &file).unwrap();
        cache.responses().write(&key(1), entry()).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry()));
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1);
    }

    /// Case 114: what others can write to is refused, also where it is the folder of the version.
    #[tokio::test]
    async fn a_directory_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for bad in [0o777, 0o1777, 0o770, 0o720, 0o702] {
            let path = folder.path().join(format!("{bad:o}"));
            cache_at(&path).await.close().await.unwrap();
            for place in [path.clone(), path.join("v1")] {
                fs::set_permissions(&place, fs::Permissions::from_mode(bad)).unwrap();
                let error = FsCache::open(&path).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(error.to_string().contains("other users may write"), "{error}");
                fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
            }
            FsCache::open(&path).await.unwrap();
        }
    }

    /// Case 114: another user's directory is refused, by root too.
    #[tokio::test]
    async fn a_directory_of_another_user_is_refused() {
        if rustix_is_root() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("cache");
            fs::create_dir(&path).unwrap();
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            let error = FsCache::open(&path).await.unwrap_err();
            assert!(error.to_string().contains("another user"), "{error}");
        } else {
            let error = FsCache::open("/").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            let error = FsCache::builder("/usr").read_only(true).open().await.unwrap_err();
            assert!(error.to_string().contains("another user"), "{error}");
        }
    }

    fn rustix_is_root() -> bool {
        let folder = tempfile::tempdir().unwrap();
        fs::metadata(folder.path()).unwrap().uid() == 0
    }

    /// A FIFO with the name of an entry does not hold up a reader.
    #[tokio::test]
    async fn a_fifo_is_a_miss() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let cache = cache_at(&path).await;
        let (file, _) = crate::support::file_of(&path, "responses", &key(1), &[]).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None);
        assert_eq!(cache.responses().stats().corrupt, 1);
        cache.responses().write(&key(1), entry()).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry()));
    }
}
