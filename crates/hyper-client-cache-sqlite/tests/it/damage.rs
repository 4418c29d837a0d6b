//! Damaged files: set aside, begun anew, and the request goes on.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use futures_util::TryStreamExt;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_sqlite::{SqliteCache, SqliteConfig};

use crate::support::{execute, key, number};

fn set_aside(path: &Path) -> usize {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm")).count()
}

async fn filled(path: &Path) -> SqliteCache {
    let cache = SqliteCache::open(path).await.unwrap();
    let entries = (0..500).map(|number| (key(number), Entry::new("head", vec![b'x'; 3000]))).collect();
    cache.responses().write_many(entries).await.unwrap();
    cache
}

/// Overwrites bytes of a file in place.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Case 141: header zeroed, text, cut to nonsense: found when opening.
#[tokio::test]
async fn a_damaged_file_is_set_aside_when_opened() {
    let text = b"this is no database, but it is somebody's file ".repeat(200);
    type Damage<'a> = &'a dyn Fn(&Path);
    let ways: [(&str, Damage<'_>); 4] = [
        ("header zeroed", &|path| overwrite(path, 0, &[0; 100])),
        ("text", &|path| fs::write(path, &text).unwrap()),
        ("short text", &|path| fs::write(path, "x").unwrap()),
        ("schema page", &|path| overwrite(path, 100, &[0xFF; 3996])),
    ];
    for (name, damage) in ways {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        filled(&path).await.close().await.unwrap();
        damage(&path);
        let broken = fs::read(&path).unwrap();
        let cache = SqliteCache::open(&path).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None, "{name}");
        cache.responses().write(&key(1), Entry::new("new", "new")).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("new", "new")));
        assert_eq!(set_aside(&path), 1, "{name}");
        assert_eq!(fs::read(path.with_file_name("demo.sqlite.corrupt-1")).unwrap(), broken, "{name}");
        // A second time beside the first.
        cache.close().await.unwrap();
        damage(&path);
        SqliteCache::open(&path).await.unwrap();
        assert_eq!(set_aside(&path), 2, "{name}");
    }
}

/// Case 141, 158: a file that is damaged or cut under an open cache: no call fails, nothing wrong is served.
#[tokio::test]
async fn a_file_damaged_while_open_is_set_aside_once() {
    for cut in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        filled(&path).await.close().await.unwrap();
        let cache = SqliteCache::open(&path).await.unwrap();
        let other = cache.clone();
        if cut {
            OpenOptions::new().write(true).open(&path).unwrap().set_len(8192).unwrap();
        } else {
            let len = fs::metadata(&path).unwrap().len();
            let garbage = vec![0xA5; usize::try_from(len).unwrap() - 4096];
            overwrite(&path, 4096, &garbage);
        }
        let expected = Entry::new("head", vec![b'x'; 3000]);
        for number in 0..500 {
            let found = other.responses().read(&key(number)).await.unwrap();
            assert!(found.is_none_or(|found| found == expected), "cut: {cut}");
        }
        for number in 0..10 {
            cache.responses().write(&key(number), Entry::new("new", "new")).await.unwrap();
        }
        for number in 0..10 {
            assert_eq!(other.responses().read(&key(number)).await.unwrap(), Some(Entry::new("new", "new")));
        }
        assert_eq!(set_aside(&path), 1, "cut: {cut}");
        assert_eq!(cache.responses().size().await.unwrap(), 10);
        cache.close().await.unwrap();
    }
}

/// Case 141: damage that a write meets first.
#[tokio::test]
async fn a_write_that_meets_damage_is_done_in_the_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    filled(&path).await.close().await.unwrap();
    let cache = SqliteCache::open(&path).await.unwrap();
    let len = fs::metadata(&path).unwrap().len();
    overwrite(&path, 4096, &vec![0xA5; usize::try_from(len).unwrap() - 4096]);
    cache.responses().write(&key(1), Entry::new("new", "new")).await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("new", "new")));
    assert_eq!(set_aside(&path), 1);
}

/// Case 141: two handles of one process, and so two that each believe to be the only one, set the file aside once.
#[tokio::test]
async fn two_handles_set_a_file_aside_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    filled(&path).await.close().await.unwrap();
    let one = SqliteCache::open(&path).await.unwrap();
    let two = SqliteCache::open(&path).await.unwrap();
    let len = fs::metadata(&path).unwrap().len();
    overwrite(&path, 4096, &vec![0xA5; usize::try_from(len).unwrap() - 4096]);
    let entry = Entry::new("new", "new");
    let (first, second) = (key(1), key(2));
    let (a, b) =
        tokio::join!(one.responses().write(&first, entry.clone()), two.responses().write(&second, entry.clone()));
    a.unwrap();
    b.unwrap();
    assert_eq!(set_aside(&path), 1);
    assert_eq!(one.responses().read(&key(2)).await.unwrap(), Some(entry.clone()));
    assert_eq!(two.responses().read(&key(1)).await.unwrap(), Some(entry));
}

/// Case 141: a file in which no row could be found again, or none be numbered.
#[tokio::test]
async fn a_file_whose_counters_are_nonsense_is_set_aside() {
    let (bounded, unbounded) = (Some(SqliteConfig::DEFAULT_MAX_BYTES), None);
    for (limit, damage) in [
        (bounded, "DELETE FROM usage WHERE store = 'responses'"),
        (bounded, "UPDATE usage SET last = 9223372036854775807"),
        (bounded, "UPDATE responses SET id = 9223372036854775807 WHERE key = 'key-00000003'"),
        // More than a number holds, all together or with the next row.
        (bounded, "UPDATE usage SET entries = 9223372036854775807"),
        (bounded, "UPDATE usage SET bytes = 9223372036854775807"),
        (unbounded, "UPDATE usage SET entries = 9223372036854775807 WHERE store = 'responses'"),
        (unbounded, "UPDATE usage SET bytes = 9223372036854775807 WHERE store = 'responses'"),
        // More than there is room for, and nothing that could go.
        (bounded, "UPDATE usage SET entries = 9223372036854775807 WHERE store = 'redirects'"),
        (bounded, "UPDATE usage SET bytes = 9223372036854775807 WHERE store = 'bodies'"),
        (bounded, "UPDATE usage SET bytes = bytes + 2000000000 WHERE store = 'responses'"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        filled(&path).await.close().await.unwrap();
        execute(&path, &[damage]).await;
        let cache = SqliteCache::builder(&path).max_bytes(limit).open().await.unwrap();
        for number in 1..4 {
            let entry = Entry::new("new", number.to_string());
            cache.responses().write(&key(number + 1000), entry.clone()).await.unwrap();
            assert_eq!(cache.responses().read(&key(number + 1000)).await.unwrap(), Some(entry), "{damage}");
        }
        assert_eq!(set_aside(&path), 1, "{damage}");
        cache.close().await.unwrap();
    }
}

/// Case 149: the file is deleted while the cache is open: misses, then a new file.
#[tokio::test]
async fn a_deleted_file_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = filled(&path).await;
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(folder.path().join(format!("demo.sqlite{suffix}"))).unwrap();
    }
    cache.responses().write(&key(1), Entry::new("new", "new")).await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("new", "new")));
    assert_eq!(cache.responses().read(&key(2)).await.unwrap(), None);
    assert_eq!(cache.responses().size().await.unwrap(), 1);
    assert!(path.exists());
    assert_eq!(set_aside(&path), 0);
}

/// Case 139: a journal that belongs to nothing, or that is missing.
#[tokio::test]
async fn a_stale_or_missing_journal_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    filled(&path).await.close().await.unwrap();
    fs::write(folder.path().join("demo.sqlite-wal"), b"garbage".repeat(1000)).unwrap();
    fs::write(folder.path().join("demo.sqlite-shm"), b"garbage".repeat(5000)).unwrap();
    let cache = SqliteCache::open(&path).await.unwrap();
    let expected = Entry::new("head", vec![b'x'; 3000]);
    for number in 0..500 {
        let found = cache.responses().read(&key(number)).await.unwrap();
        assert!(found.is_none_or(|found| found == expected));
    }
    cache.responses().write(&key(1), Entry::new("new", "new")).await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("new", "new")));
}

/// Case 142: rows that say nonsense are dropped one by one, and a key that is none of ours is left out of listings.
#[tokio::test]
async fn a_garbage_row_is_dropped_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    filled(&path).await.close().await.unwrap();
    execute(
        &path,
        &[
            "UPDATE responses SET block = x'', body = zeroblob(100) WHERE key = 'key-00000001'",
            "UPDATE responses SET body = substr(body, 1, 10) WHERE key = 'key-00000002'",
            "UPDATE responses SET key = 'No Key of Ours'' OR 1=1' WHERE key = 'key-00000003'",
        ],
    )
    .await;
    let cache = SqliteCache::open(&path).await.unwrap();
    for number in 1..=3 {
        assert_eq!(cache.responses().read(&key(number)).await.unwrap(), None);
    }
    assert!(cache.responses().read(&key(4)).await.unwrap().is_some());
    assert_eq!(cache.responses().stats().corrupt, 2);
    cache.close().await.unwrap();
    assert_eq!(number(&path, "SELECT count(*) FROM responses").await, 498);
    let cache = SqliteCache::open(&path).await.unwrap();
    let keys: Vec<_> = cache.responses().keys().try_collect().await.unwrap();
    assert_eq!(keys.len(), 497);
    assert_eq!(cache.responses().stats().corrupt, 1);
    cache.close().await.unwrap();
    assert_eq!(number(&path, "SELECT count(*) FROM responses WHERE key = 'key-00000001'").await, 0);
    assert_eq!(set_aside(&path), 0);
}
