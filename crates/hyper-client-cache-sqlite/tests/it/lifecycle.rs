//! Opening, bulk changes, pools, closing, and what is left when a cache is dropped.

use std::time::Duration;

use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_core::{CachedSession, Error, ErrorKind};
use hyper_client_cache_sqlite::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use hyper_client_cache_sqlite::{SqliteCache, SqliteLocation};
use hyper_client_cache_testkit::origin::{Answer, Origin};

use crate::support::{key, number, until};

/// How many threads of this process belong to connections of `name`, which is at most 15 characters long.
#[cfg(target_os = "linux")]
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

/// Case 233: a cache that is dropped without being closed leaves no task, no thread and no lock.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_dropped_cache_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let options = SqliteConnectOptions::new().thread_name(|_| "hcc-dropped".to_owned());
    let cache = SqliteCache::builder(&path).connect_options(options).open().await.unwrap();
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(before >= 1);
    cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    assert!(cache.responses().read(&key(1)).await.unwrap().is_some());
    assert!(threads("hcc-dropped") >= 2);
    drop(cache);
    until(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() < before).await;
    until(|| threads("hcc-dropped") == 0).await;
    // The last connection to be closed removes the journal.
    assert!(!folder.path().join("demo.sqlite-wal").exists());
}

/// Feature 22: a program that fetches something and ends, without closing anything, has stored it.
#[test]
fn what_a_program_fetched_last_is_stored_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let program = |runtime: &mut tokio::runtime::Builder, url: String| {
        let path = path.clone();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async move {
            let cache = SqliteCache::open(path).await.unwrap();
            let session = CachedSession::builder().cache(cache).build().unwrap();
            let response = session.get(url).send().await.unwrap();
            let from_cache = response.from_cache();
            assert_eq!(response.text().await.unwrap(), "body");
            from_cache
        })
    };
    let origins = tokio::runtime::Runtime::new().unwrap();
    let origin = origins.block_on(Origin::scripted());
    let lost = (0..20).filter(|number| {
        let path = format!("/{number}");
        origin.on(&path, Answer::ok("body").header("cache-control", "max-age=3600"));
        let ask = || program(tokio::runtime::Builder::new_multi_thread().worker_threads(1), origin.url(&path));
        assert!(!ask());
        !ask()
    });
    let lost = lost.count();
    // A program waits a second at most, and the disk of a busy machine may need longer now and then.
    assert!(lost < 5, "{lost} of 20 are lost");
    assert_eq!(origin.count(), 20 + lost);
}

/// Case 234: closing writes what is queued, can be repeated, and is an error for whoever goes on.
#[tokio::test]
async fn closing_writes_what_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::open(&path).await.unwrap();
    let writes: Vec<_> = (0..300)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.responses().write(&key(number), Entry::new("head", "body")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let (first, second) = tokio::join!(cache.close(), cache.close());
    first.unwrap();
    second.unwrap();
    cache.close().await.unwrap();
    let mut acknowledged = 0;
    for write in writes {
        match write.await.unwrap() {
            Ok(()) => acknowledged += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
        }
    }
    assert_eq!(number(&path, "SELECT count(*) FROM responses").await, acknowledged);
}

/// Case 235: the runtime that a cache was opened in ends; the cache fails from another one, and does not hang or panic.
#[test]
fn a_cache_outlives_its_runtime_without_hanging() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let first = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cache = first.block_on(async {
        let cache = SqliteCache::open(&path).await.unwrap();
        cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
        cache
    });
    drop(first);
    let second = tokio::runtime::Builder::new_current_thread().build().unwrap();
    second.block_on(async {
        // Reading needs no task.
        assert!(cache.responses().read(&key(1)).await.unwrap().is_some());
        let error = cache.responses().write(&key(2), Entry::new("", "")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        cache.close().await.unwrap();
    });
    drop(cache);
}

/// Case 235: a cache that is dropped outside of any runtime.
#[test]
fn a_cache_may_be_dropped_outside_of_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let cache = runtime.block_on(SqliteCache::open(folder.path().join("demo.sqlite"))).unwrap();
    drop(cache);
    drop(runtime);
    let error = futures_util::FutureExt::now_or_never(SqliteCache::open(folder.path().join("demo.sqlite")));
    assert_eq!(error.unwrap().unwrap_err().kind(), ErrorKind::Config);
}

/// Case 160: two caches of one process on one file.
#[tokio::test]
async fn two_caches_of_one_process_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let one = SqliteCache::builder(&path).hot_tier(0).open().await.unwrap();
    let two = SqliteCache::builder(&path).hot_tier(0).open().await.unwrap();
    for number in 0..50 {
        let (first, second) = (key(number), key(number + 1000));
        let entry = || Entry::new("head", format!("{number}"));
        let (a, b) = tokio::join!(one.responses().write(&first, entry()), two.responses().write(&second, entry()));
        a.unwrap();
        b.unwrap();
        assert_eq!(one.responses().read(&second).await.unwrap(), Some(entry()));
        assert_eq!(two.responses().read(&first).await.unwrap(), Some(entry()));
    }
    one.close().await.unwrap();
    assert_eq!(two.responses().size().await.unwrap(), 100);
}

#[tokio::test]
async fn an_empty_bulk_is_nothing_and_a_failed_one_changes_nothing() {
    let cache = SqliteCache::builder("x").use_temp(true).open().await.unwrap();
    cache.bulk(async |_| Ok(())).await.unwrap();
    let failed = cache
        .bulk(async |bulk| -> Result<(), Error> {
            bulk.write(&key(1), Entry::new("head", "body"))?;
            Err(Error::new(ErrorKind::Request, "given up"))
        })
        .await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Request);
    assert_eq!(cache.responses().size().await.unwrap(), 0);
}

/// The original's concurrent bulk commits: four at once, and exactly four commits.
#[tokio::test(flavor = "multi_thread")]
async fn four_bulks_at_once_are_four_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::open(&path).await.unwrap();
    let mut other = crate::support::bare(&path).await;
    let mut version = async || -> i64 {
        hyper_client_cache_sqlite::sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut other).await.unwrap()
    };
    let mut commits = 0;
    let mut last = version().await;
    let bulks: Vec<_> = [10_u64, 100, 1000, 10_000]
        .into_iter()
        .map(|count| {
            let cache = cache.clone();
            tokio::spawn(async move {
                cache
                    .bulk(async |bulk| {
                        for number in 0..count {
                            bulk.write(&key(count * 100_000 + number), Entry::new("head", "body"))?;
                        }
                        Ok(())
                    })
                    .await
            })
        })
        .collect();
    // Another connection sees each commit at most once; it may look too seldom to see all.
    while !bulks.iter().all(tokio::task::JoinHandle::is_finished) {
        let now = version().await;
        commits += i32::from(now != last);
        last = now;
    }
    for bulk in bulks {
        bulk.await.unwrap().unwrap();
    }
    commits += i32::from(version().await != last);
    assert!((1..=4).contains(&commits), "{commits} commits were seen");
    assert_eq!(cache.responses().size().await.unwrap(), 11_110);
}

#[tokio::test]
async fn fast_save_stores_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::builder(&path).fast_save(true).open().await.unwrap();
    for storage in [cache.responses(), cache.redirects()] {
        let entries = (0..1000).map(|number| (key(number), Entry::new("head", format!("{number}")))).collect();
        storage.write_many(entries).await.unwrap();
    }
    cache.close().await.unwrap();
    let cache = SqliteCache::open(&path).await.unwrap();
    for storage in [cache.responses(), cache.redirects()] {
        assert_eq!(storage.size().await.unwrap(), 1000);
        assert_eq!(storage.read(&key(999)).await.unwrap(), Some(Entry::new("head", "999")));
    }
}

/// Case 82: what was deleted can be overwritten, as the driver's options say it; by default its bytes stay in the file until
/// they are used for something else.
#[tokio::test]
async fn the_drivers_options_may_let_what_is_deleted_be_overwritten() {
    for secure in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        let options = SqliteConnectOptions::new().pragma("secure_delete", if secure { "ON" } else { "OFF" });
        let cache = SqliteCache::builder(&path).connect_options(options).open().await.unwrap();
        for number in 0..4 {
            cache.responses().write(&key(number), Entry::new("head", "canary ".repeat(5000))).await.unwrap();
        }
        for number in 0..4 {
            assert!(cache.responses().delete(&key(number)).await.unwrap());
        }
        // Copies the journal into the file and removes it.
        cache.close().await.unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.windows(7).any(|bytes| bytes == b"canary "), !secure);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no other file is left");
    }
}

#[tokio::test]
async fn the_drivers_options_say_where_the_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let options = SqliteConnectOptions::new().filename(&path);
    let config = SqliteCache::builder(SqliteLocation::from_options()).connect_options(options.clone());
    let cache = config.open().await.unwrap();
    assert_eq!(cache.path().unwrap(), path);
    cache.close().await.unwrap();
    let config = SqliteCache::builder(SqliteLocation::from_options()).connect_options(options.read_only(true));
    assert!(config.open().await.unwrap().is_read_only());
    let error = SqliteCache::open(SqliteLocation::from_options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

/// An existing pool is shared, with a single connection as with several, and stays open.
#[tokio::test(flavor = "multi_thread")]
async fn an_existing_pool_is_used_and_left_open() {
    for connections in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options)
            .await
            .unwrap();
        let cache = SqliteCache::builder("unused").pool(pool.clone()).open().await.unwrap();
        assert_eq!(cache.path(), None);
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    cache.responses().write(&key(number), Entry::new("head", "body")).await.unwrap();
                    assert!(cache.responses().read(&key(number)).await.unwrap().is_some());
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(cache.responses().size().await.unwrap(), 50);
        cache.close().await.unwrap();
        assert!(!pool.is_closed());
        let cache = SqliteCache::builder("unused").pool(pool).open().await.unwrap();
        assert_eq!(cache.responses().size().await.unwrap(), 50);
    }
}

#[tokio::test]
async fn a_pool_on_somebody_elses_tables_is_refused() {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    hyper_client_cache_sqlite::sqlx::query("CREATE TABLE notes (x)").execute(&pool).await.unwrap();
    let error = SqliteCache::builder("unused").pool(pool).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("pool"), "{error}");
}

/// Case 121: a key can contain nothing that SQL would give a meaning, and its type says so.
#[tokio::test]
async fn no_key_is_part_of_a_statement() {
    assert!(hyper_client_cache_core::storage::CacheKey::new("x'; DROP TABLE responses; --").is_err());
    let cache = SqliteCache::builder("x").use_temp(true).open().await.unwrap();
    for name in ["--", "select", "null", "-", "0", "responses"] {
        let key = hyper_client_cache_core::storage::CacheKey::new(name).unwrap();
        cache.responses().write(&key, Entry::new("head", name.to_owned())).await.unwrap();
        assert_eq!(cache.responses().read(&key).await.unwrap(), Some(Entry::new("head", name.to_owned())));
    }
    assert_eq!(cache.responses().size().await.unwrap(), 6);
}
