//! Paths, permissions, and files that are not what they seem.

use std::fs;
use std::path::{Path, PathBuf};

use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_sqlite::{ENTRY_OVERHEAD, SqliteCache};

use crate::support::{execute, key, number, text};

/// Names in the folder of `path`, sorted.
fn beside(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Makes a cache with one entry and closes it.
async fn cache_at(path: &Path) {
    let cache = SqliteCache::open(path).await.unwrap();
    cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    cache.close().await.unwrap();
}

#[tokio::test]
async fn folders_are_made_and_an_extension_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let cache = SqliteCache::open(folder.path().join("a/b/demo")).await.unwrap();
    assert_eq!(cache.path().unwrap(), folder.path().join("a/b/demo.sqlite"));
    let cache = SqliteCache::open(folder.path().join("other.db")).await.unwrap();
    assert_eq!(cache.path().unwrap(), folder.path().join("other.db"));
}

#[tokio::test]
async fn a_url_opens_the_file_and_can_ask_for_reading_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    cache_at(&path).await;
    let cache = SqliteCache::open(format!("sqlite://{}?mode=ro", path.display())).await.unwrap();
    assert!(cache.is_read_only());
    assert!(cache.responses().read(&key(1)).await.unwrap().is_some());
    let error = cache.responses().write(&key(2), Entry::new("", "")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(!error.is_transient());
    let cache = SqliteCache::open(format!("sqlite://{}", path.display())).await.unwrap();
    assert!(!cache.is_read_only());
}

/// Case 242: reading only, not one byte of the database changes.
#[tokio::test]
async fn reading_only_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    cache_at(&path).await;
    let before = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    let cache = SqliteCache::builder(&path).read_only(true).open().await.unwrap();
    assert!(cache.responses().read(&key(1)).await.unwrap().is_some());
    assert!(cache.responses().delete(&key(1)).await.is_err());
    assert!(cache.responses().clear().await.is_err());
    assert_eq!(cache.responses().size().await.unwrap(), 1);
    cache.close().await.unwrap();
    drop(cache);
    let after = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    assert!(before == after);
}

#[tokio::test]
async fn reading_only_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = SqliteCache::open(format!("sqlite://{}/x.db?mode=ro", folder.path().display())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn impossible_settings_are_errors_that_name_them() {
    for (config, name) in [
        (SqliteCache::builder("x").use_temp(true).max_bytes(0), "max_bytes"),
        (SqliteCache::builder("x").use_temp(true).max_bytes(ENTRY_OVERHEAD), "max_bytes"),
        (SqliteCache::builder("x").use_temp(true).read_connections(0), "read_connections"),
        (SqliteCache::builder("x").use_temp(true).max_entry_len(0), "max_entry_len"),
        (SqliteCache::builder("x").use_temp(true).read_only(true), "read_only"),
        (SqliteCache::builder("sqlite::memory:").use_temp(true), "memory"),
        (SqliteCache::builder("sqlite://x.db?mode=strange").use_temp(true), "mode"),
    ] {
        let error = config.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// Case 159: a path that SQLite cannot take is an error when opening, a strange one works.
#[tokio::test]
async fn strange_paths_work_or_are_clear_errors() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["with space.db", "quote'and\"double.db", "semi;colon--.db", "per%20cent?.db", "#hash.db", "ünïcode.db"]
    {
        let path = folder.path().join(name);
        cache_at(&path).await;
        assert!(path.exists(), "{name}");
    }
    let long = folder.path().join("x".repeat(300));
    assert_eq!(SqliteCache::open(&long).await.unwrap_err().kind(), ErrorKind::Config);
    let deep: PathBuf = std::iter::repeat_n("folder", 1000).collect();
    assert_eq!(SqliteCache::open(folder.path().join(deep)).await.unwrap_err().kind(), ErrorKind::Config);
    fs::create_dir(folder.path().join("folder.db")).unwrap();
    assert_eq!(SqliteCache::open(folder.path().join("folder.db")).await.unwrap_err().kind(), ErrorKind::Config);
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"\xFF.db");
        assert_eq!(SqliteCache::open(folder.path().join(name)).await.unwrap_err().kind(), ErrorKind::Config);
    }
}

/// Case 115: the temporary folder is private and its name is not known beforehand; it goes with the cache.
#[tokio::test]
async fn a_temporary_cache_leaves_nothing() {
    let cache = SqliteCache::builder("demo").use_temp(true).open().await.unwrap();
    let path = cache.path().unwrap();
    assert!(path.starts_with(std::env::temp_dir()));
    assert!(path.ends_with("demo.sqlite"));
    assert!(!cache.responses().info().persistent);
    let other = SqliteCache::builder("demo").use_temp(true).open().await.unwrap();
    assert_ne!(other.path().unwrap(), path);
    cache.close().await.unwrap();
    drop(cache);
    crate::support::until(|| !path.parent().unwrap().exists()).await;
}

#[cfg(unix)]
mod permissions {
    use super::*;
    use hyper_client_cache_testkit::processes::Said;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Case 113: whatever the umask of the tests is, nobody else can read, not even the journal.
    #[tokio::test]
    async fn only_the_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/demo.sqlite");
        let cache = SqliteCache::open(&path).await.unwrap();
        cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
        for name in beside(&path) {
            assert_eq!(mode(&path.with_file_name(&name)), 0o600, "{name}");
        }
        assert_eq!(beside(&path), ["demo.sqlite", "demo.sqlite-shm", "demo.sqlite-wal"]);
        assert_eq!(mode(&folder.path().join("a/b")), 0o700);
        assert_eq!(mode(&folder.path().join("a")), 0o700);
    }

    /// Case 113: under the most generous umask. It belongs to the process, so a process of its own has it.
    #[tokio::test]
    async fn an_umask_of_zero_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/demo.sqlite");
        let children = crate::processes::children(&path).run_by(["sh", "-c", "umask 000; exec \"$0\" \"$@\""]);
        let mut child = children.start("child").unwrap();
        child.hear_ack(&mut Said::default()).unwrap();
        for name in beside(&path) {
            assert_eq!(mode(&path.with_file_name(&name)), 0o600, "{name}");
        }
        assert_eq!(mode(&folder.path().join("a")), 0o700);
        drop(child);
    }

    /// Case 147: a file that may not be written is read, and nothing is stored.
    #[tokio::test]
    async fn a_file_that_may_not_be_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        cache_at(&path).await;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        let cache = SqliteCache::open(&path).await.unwrap();
        assert!(cache.is_read_only());
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("head", "body")));
        let error = cache.responses().write(&key(2), Entry::new("", "")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("reading only"), "{error}");
    }

    #[tokio::test]
    async fn a_database_that_others_could_read_is_restricted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        cache_at(&path).await;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        SqliteCache::open(&path).await.unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    /// Case 112: a symbolic link in any of the places is not followed.
    #[tokio::test]
    async fn a_symbolic_link_is_not_followed() {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("target");
            fs::write(&target, "precious").unwrap();
            symlink(&target, folder.path().join(format!("demo.sqlite{suffix}"))).unwrap();
            let error = SqliteCache::open(folder.path().join("demo.sqlite")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("symbolic link"), "{error}");
            assert_eq!(fs::read(&target).unwrap(), b"precious");
        }
    }

    /// Cases 111 and 114: a second name of a file, in any of the places, is none that is opened.
    #[tokio::test]
    async fn a_hard_link_is_refused() {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let folder = tempfile::tempdir().unwrap();
            let (path, target) = (folder.path().join("demo.sqlite"), folder.path().join("target"));
            cache_at(&path).await;
            fs::copy(&path, &target).unwrap();
            let place = folder.path().join(format!("demo.sqlite{suffix}"));
            drop(fs::remove_file(&place));
            fs::hard_link(&target, &place).unwrap();
            let before = fs::read(&target).unwrap();
            for read_only in [false, true] {
                let error = SqliteCache::builder(&path).read_only(read_only).open().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(error.to_string().contains("hard link"), "{error}");
            }
            assert_eq!(fs::read(&target).unwrap(), before);
            fs::remove_file(&target).unwrap();
            if suffix.is_empty() {
                SqliteCache::open(&path).await.unwrap();
            }
        }
    }

    /// Where a file system cannot rename without replacing, a new file has two names for a moment; a kill leaves both.
    #[tokio::test]
    async fn a_file_that_was_being_made_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let (path, begun) = (folder.path().join("demo.sqlite"), folder.path().join(".new-cache-x"));
        fs::write(&begun, "").unwrap();
        fs::hard_link(&begun, &path).unwrap();
        SqliteCache::open(&path).await.unwrap().close().await.unwrap();
        assert!(!begun.exists());
        SqliteCache::open(&path).await.unwrap();
        // Somebody else's second name stays a reason to refuse, also of an empty file.
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("demo.sqlite"), folder.path().join("other"));
        fs::write(&other, "").unwrap();
        fs::hard_link(&other, &path).unwrap();
        assert!(SqliteCache::open(&path).await.unwrap_err().to_string().contains("hard link"));
        assert_eq!(fs::read(&other).unwrap(), b"");
    }

    /// Cases 111 and 114: what another user has put there is not opened, neither for writing nor for reading, be it a
    /// valid cache or a journal that SQLite would play back. Only root can give files away: others pass this by, and have
    /// the test in `path`.
    #[tokio::test]
    async fn a_file_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        cache_at(&path).await;
        if chown(&path, Some(4711), None).is_err() {
            return;
        }
        chown(&path, Some(0), None).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let place = folder.path().join(format!("demo.sqlite{suffix}"));
            if !suffix.is_empty() {
                fs::write(&place, "planted").unwrap();
            }
            chown(&place, Some(4711), None).unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o666)).unwrap();
            for read_only in [false, true] {
                let error = SqliteCache::builder(&path).read_only(read_only).open().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(error.to_string().contains("another user"), "{error}");
            }
            assert_eq!(mode(&place), 0o666, "it was touched");
            if suffix.is_empty() {
                chown(&place, Some(0), None).unwrap();
            } else {
                fs::remove_file(&place).unwrap();
            }
        }
        assert!(SqliteCache::open(&path).await.unwrap().responses().read(&key(1)).await.unwrap().is_some());
    }

    /// Case 112: a folder that is a symbolic link is used where it was the user who made it, and not where it was another.
    #[tokio::test]
    async fn a_linked_folder_is_used_if_the_link_is_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir(&real).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).unwrap();
        symlink(&real, &link).unwrap();
        cache_at(&link.join("demo.sqlite")).await;
        assert!(real.join("demo.sqlite").exists());
        // As above.
        if lchown(&link, Some(4711), None).is_ok() {
            let error = SqliteCache::open(link.join("demo.sqlite")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("another user"), "{error}");
        }
    }

    /// Case 114: a folder in which others may replace the file is refused; one with the sticky bit is not.
    #[tokio::test]
    async fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("shared");
        fs::create_dir(&inner).unwrap();
        for (bits, accepted) in [(0o777, false), (0o770, false), (0o1777, true), (0o755, true)] {
            fs::set_permissions(&inner, fs::Permissions::from_mode(bits)).unwrap();
            let result = SqliteCache::open(inner.join("demo.sqlite")).await;
            assert_eq!(result.is_ok(), accepted, "{bits:o}");
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(error.to_string().contains("other users"), "{error}");
            }
        }
    }
}

/// A database of another program is refused, byte for byte as it was.
#[tokio::test]
async fn a_foreign_database_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.sqlite");
    execute(&path, &["PRAGMA auto_vacuum = FULL", "CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('x')"])
        .await;
    let before = fs::read(&path).unwrap();
    let error = SqliteCache::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("notes.sqlite"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(beside(&path), ["notes.sqlite"]);
}

/// Case 143: a newer schema is an error when opening that says what to do; the file stays as it is.
#[tokio::test]
async fn a_newer_schema_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    cache_at(&path).await;
    execute(&path, &["PRAGMA user_version = 4", "CREATE TABLE later (x)"]).await;
    let before = fs::read(&path).unwrap();
    let error = SqliteCache::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    for part in ["demo.sqlite", "version 4", "update"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// Case 143: what an older schema holds is a miss, and the file is brought to the current one, whatever hung on its tables.
#[tokio::test]
async fn an_older_schema_is_replaced() {
    const COLUMNS: &str = "retain_until INTEGER, len INTEGER NOT NULL, used INTEGER NOT NULL, block BLOB NOT NULL, body \
                           BLOB NOT NULL) STRICT";
    let key_of = ["key TEXT NOT NULL PRIMARY KEY", "hash INTEGER NOT NULL, key TEXT NOT NULL"];
    let values = ["'key-00000001', NULL, 4, 1, x'00', x'00'", "7, 'key-00000001', NULL, 4, 1, x'00', x'00'"];
    for (version, (key_of, values)) in (1..).zip(key_of.into_iter().zip(values)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        fs::write(&path, "").unwrap();
        let mut connection = crate::support::bare(&path).await;
        for statement in [
            "PRAGMA auto_vacuum = INCREMENTAL",
            "PRAGMA journal_mode = WAL",
            "CREATE TABLE usage (store TEXT NOT NULL PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT",
            &format!("CREATE TABLE responses ({key_of}, {COLUMNS}"),
            &format!("CREATE TABLE redirects ({key_of}, {COLUMNS}"),
            &format!("CREATE TABLE bodies ({key_of}, {COLUMNS}"),
            "CREATE UNIQUE INDEX redirects_hash ON redirects (key)",
            "CREATE INDEX responses_used ON responses (used)",
            "CREATE TRIGGER evil AFTER DELETE ON responses BEGIN SELECT load_extension('evil'); END",
            "INSERT INTO usage VALUES ('responses', 1, 4)",
            &format!("INSERT INTO responses VALUES ({values})"),
            "PRAGMA application_id = 1751343921",
            &format!("PRAGMA user_version = {version}"),
        ] {
            let statement = hyper_client_cache_sqlite::sqlx::AssertSqlSafe(statement);
            hyper_client_cache_sqlite::sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        crate::support::close(connection).await;
        let cache = SqliteCache::open(&path).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None);
        assert_eq!(cache.responses().size().await.unwrap(), 0);
        cache.responses().write(&key(2), Entry::new("head", "body")).await.unwrap();
        cache.close().await.unwrap();
        assert_eq!(number(&path, "PRAGMA user_version").await, 3);
        assert_eq!(number(&path, "SELECT count(*) FROM sqlite_schema WHERE name = 'evil'").await, 0);
        assert_eq!(beside(&path), ["demo.sqlite"]);
    }
}

/// Case 144: a database that was made and then left, because the process was killed, is finished.
#[tokio::test]
async fn an_unfinished_database_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    for (name, statements) in [
        ("empty.db", &[][..]),
        ("journal.db", &["PRAGMA journal_mode = WAL"][..]),
        ("named.db", &["PRAGMA application_id = 1751343921"][..]),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, "").unwrap();
        execute(&path, statements).await;
        cache_at(&path).await;
        assert_eq!(number(&path, "PRAGMA user_version").await, 3);
        assert_eq!(number(&path, "PRAGMA application_id").await, 1_751_343_921);
        assert_eq!(number(&path, "SELECT count(*) FROM responses").await, 1);
    }
    assert_eq!(beside(&folder.path().join("x")), ["empty.db", "journal.db", "named.db"]);
}

#[tokio::test]
async fn a_new_database_is_as_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    cache_at(&path).await;
    assert_eq!(text(&path, "PRAGMA journal_mode").await, "wal");
    // 2: incremental.
    assert_eq!(number(&path, "PRAGMA auto_vacuum").await, 2);
    assert_eq!(number(&path, "PRAGMA page_size").await, 8192);
}

/// Case 111: a file that says it is ours and has a trigger, a view, a further table or a changed one is set aside
/// before anything in it runs.
#[tokio::test]
async fn a_hostile_schema_is_set_aside() {
    let hostile: [&[&str]; 6] = [
        &["CREATE TRIGGER evil AFTER INSERT ON responses BEGIN DELETE FROM redirects; END"],
        &["CREATE VIEW evil AS SELECT load_extension('evil')"],
        &["CREATE TABLE evil (x)"],
        &["DROP TABLE redirects", "CREATE VIEW redirects AS SELECT * FROM responses"],
        &["CREATE INDEX evil ON responses (abs(len))"],
        &["DROP TABLE responses_places", "CREATE VIEW responses_places AS SELECT hash, id FROM responses"],
    ];
    for statements in hostile {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        cache_at(&path).await;
        let mut connection = crate::support::bare(&path).await;
        for statement in statements {
            let statement = hyper_client_cache_sqlite::sqlx::AssertSqlSafe(*statement);
            hyper_client_cache_sqlite::sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        crate::support::close(connection).await;
        let cache = SqliteCache::open(&path).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None, "{statements:?}");
        cache.responses().write(&key(2), Entry::new("head", "body")).await.unwrap();
        assert!(beside(&path).contains(&"demo.sqlite.corrupt-1".to_owned()), "{statements:?}");
        cache.close().await.unwrap();
        assert_eq!(number(&path, "SELECT count(*) FROM sqlite_schema WHERE name = 'evil'").await, 0);
    }
}
