//! The memory before the database: coherent within the process at once, and with other processes soon.

use http::{HeaderValue, Method, StatusCode, header};
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::{BodyPlace, Cache, Freshness, LifetimeSource, Record, ResponseRecord, Stored};
use hyper_client_cache_core::clock::{Clock, SystemClock};
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_sqlite::SqliteCache;

use crate::support::{bare, close, execute, key, until_async};

fn stored(number: u64, status: StatusCode) -> Stored {
    let freshness = Freshness::new(SystemClock.now(), None, LifetimeSource::Session);
    let mut record = ResponseRecord::new(key(number), Method::GET, "http://host/path", status, freshness);
    record.headers.push((header::LOCATION, HeaderValue::from_static("/elsewhere")));
    record.body = BodyPlace::Inline { len: 4 };
    Stored::new(Record::Response(record), "body".into(), None)
}

#[tokio::test]
async fn a_hit_comes_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::open(&path).await.unwrap();
    let entry = Entry::new("head", vec![b'x'; 5000]);
    cache.responses().write(&key(1), entry).await.unwrap();
    let first = cache.responses().read(&key(1)).await.unwrap().unwrap();
    let second = cache.responses().read(&key(1)).await.unwrap().unwrap();
    // The same bytes at the same place: nothing was read from the database in between.
    until_async(async || {
        let one = cache.responses().read(&key(1)).await.unwrap().unwrap();
        let two = cache.responses().read(&key(1)).await.unwrap().unwrap();
        one.body.as_ptr() == two.body.as_ptr()
    })
    .await;
    assert_eq!(first, second);
    // Without it each read is one of the database.
    cache.close().await.unwrap();
    let cache = SqliteCache::builder(&path).hot_tier(0).open().await.unwrap();
    let one = cache.responses().read(&key(1)).await.unwrap().unwrap();
    let two = cache.responses().read(&key(1)).await.unwrap().unwrap();
    assert_ne!(one.body.as_ptr(), two.body.as_ptr());
}

/// What another connection changes, as another process would, is seen soon, however hot the entry is.
#[tokio::test]
async fn a_change_by_others_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::open(&path).await.unwrap();
    let other = SqliteCache::open(&path).await.unwrap();
    let (old, new) = (Entry::new("head", "old"), Entry::new("head", "new"));
    cache.responses().write(&key(1), old.clone()).await.unwrap();
    for _ in 0..100 {
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(old.clone()));
    }
    other.responses().write(&key(1), new.clone()).await.unwrap();
    assert_eq!(other.responses().read(&key(1)).await.unwrap(), Some(new.clone()));
    until_async(async || cache.responses().read(&key(1)).await.unwrap() == Some(new.clone())).await;
    execute(&path, &["DELETE FROM responses"]).await;
    until_async(async || cache.responses().read(&key(1)).await.unwrap().is_none()).await;
}

/// A change by others right after opening, before anybody has looked for changes, is seen as soon.
#[tokio::test]
async fn a_change_by_others_before_the_first_look_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let (old, new) = (Entry::new("head", "old"), Entry::new("head", "new"));
    let other = SqliteCache::open(&path).await.unwrap();
    other.responses().write(&key(1), old.clone()).await.unwrap();
    let cache = SqliteCache::open(&path).await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(old));
    other.responses().write(&key(1), new.clone()).await.unwrap();
    until_async(async || cache.responses().read(&key(1)).await.unwrap() == Some(new.clone())).await;
}

/// What a bulk or a clearing changes is seen at once.
#[tokio::test]
async fn changes_that_go_past_the_memory_are_seen_at_once() {
    let cache = SqliteCache::builder("x").use_temp(true).open().await.unwrap();
    for round in 0..50 {
        cache.responses().write(&key(1), Entry::new("head", "old")).await.unwrap();
        cache.responses().read(&key(1)).await.unwrap();
        cache.bulk(async |bulk| bulk.write(&key(1), Entry::new("head", "new"))).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("head", "new")), "{round}");
        cache.clear().await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None);
    }
}

/// A key that was found absent again and again is found at once when this process has stored it, whichever way.
#[tokio::test]
async fn what_was_absent_is_found_once_it_is_stored() {
    let cache = SqliteCache::builder("x").use_temp(true).open().await.unwrap();
    for number in 0..200 {
        let key = key(number);
        for _ in 0..5 {
            assert!(cache.get(&key).await.unwrap().is_none());
        }
        match number % 3 {
            0 => cache.put(&key, stored(number, StatusCode::OK), None).await.unwrap(),
            1 => cache.put(&key, stored(number, StatusCode::FOUND), None).await.unwrap(),
            _ => cache.bulk(async |bulk| bulk.put(&key, stored(number, StatusCode::OK))).await.unwrap(),
        }
        assert!(cache.get(&key).await.unwrap().is_some(), "{number}");
        assert!(cache.delete(&key).await.unwrap());
        assert!(cache.get(&key).await.unwrap().is_none());
    }
    cache.close().await.unwrap();
    assert_eq!(cache.get(&key(1000)).await.unwrap_err().kind(), ErrorKind::Closed);
}

/// What others store under a key that was absent is seen soon, however often somebody asks.
#[tokio::test]
async fn what_was_absent_and_others_store_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::open(&path).await.unwrap();
    let other = SqliteCache::open(&path).await.unwrap();
    for number in 0..10 {
        for _ in 0..1000 {
            assert!(cache.get(&key(number)).await.unwrap().is_none());
        }
        other.put(&key(number), stored(number, StatusCode::OK), None).await.unwrap();
        until_async(async || cache.get(&key(number)).await.unwrap().is_some()).await;
        assert!(cache.get(&key(number + 1)).await.unwrap().is_none());
    }
    // Also in a file that takes the place of the one that is open.
    drop(other);
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(folder.path().join(format!("demo.sqlite{suffix}"))).unwrap();
    }
    let other = SqliteCache::open(&path).await.unwrap();
    other.put(&key(100), stored(100, StatusCode::OK), None).await.unwrap();
    until_async(async || cache.get(&key(100)).await.unwrap().is_some()).await;
}

/// An entry that is hit in memory all the time is not the least recently used one of the database.
#[tokio::test]
async fn a_hit_in_memory_counts_as_a_use() {
    let limit = 3 * (1000 + hyper_client_cache_sqlite::ENTRY_OVERHEAD);
    let cache = SqliteCache::builder("x").use_temp(true).max_bytes(limit).open().await.unwrap();
    let entry = || Entry::new("", vec![b'x'; 1000]);
    for number in 1..=3 {
        cache.responses().write(&key(number), entry()).await.unwrap();
    }
    for _ in 0..50 {
        cache.responses().read(&key(1)).await.unwrap();
    }
    cache.responses().write(&key(4), entry()).await.unwrap();
    cache.responses().write(&key(5), entry()).await.unwrap();
    assert!(cache.responses().contains(&key(1)).await.unwrap());
    assert!(!cache.bodies().unwrap().contains(&key(1)).await.unwrap());
    assert_eq!(cache.responses().size().await.unwrap(), 3);
}

/// A damaged database takes nothing along that is still in memory and right, and nothing wrong is served after it.
#[tokio::test]
async fn a_replaced_file_empties_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::open(&path).await.unwrap();
    cache.responses().write(&key(1), Entry::new("head", "old")).await.unwrap();
    assert!(cache.responses().read(&key(1)).await.unwrap().is_some());
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(folder.path().join(format!("demo.sqlite{suffix}"))).unwrap();
    }
    close(bare(&path).await).await;
    until_async(async || cache.responses().read(&key(1)).await.unwrap().is_none()).await;
    assert_eq!(cache.responses().size().await.unwrap(), 0);
}
