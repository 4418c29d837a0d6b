//! Reading, writing, listing, closing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::TryStreamExt;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_sqlite::SqliteCache;

use crate::support::key;

#[tokio::test]
async fn what_was_written_is_read_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let entry = Entry::new("head", vec![7; 100_000]).retain_until(UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    {
        let cache = SqliteCache::open(&path).await.unwrap();
        cache.responses().write(&key(1), entry.clone()).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry.clone()));
        assert_eq!(cache.redirects().read(&key(1)).await.unwrap(), None);
        cache.close().await.unwrap();
        cache.close().await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(cache.responses().write(&key(1), entry.clone()).await.unwrap_err().kind(), ErrorKind::Closed);
    }
    let cache = SqliteCache::open(&path).await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry));
    assert_eq!(cache.responses().size().await.unwrap(), 1);
    assert_eq!(cache.responses().bytes().await.unwrap(), 100_004);
    assert!(cache.responses().delete(&key(1)).await.unwrap());
    assert!(!cache.responses().delete(&key(1)).await.unwrap());
    assert_eq!(cache.responses().size().await.unwrap(), 0);
}

#[tokio::test]
async fn listings_page_through_all_keys() {
    let cache = SqliteCache::builder("x").use_temp(true).open().await.unwrap();
    let responses = cache.responses();
    let entries = (0..1000).map(|number| (key(number), Entry::new(format!("{number}"), "body"))).collect();
    responses.write_many(entries).await.unwrap();
    let keys: Vec<_> = responses.keys().try_collect().await.unwrap();
    assert_eq!(keys, (0..1000).map(key).collect::<Vec<_>>());
    let heads: Vec<_> = responses.heads().try_collect().await.unwrap();
    assert_eq!(heads.len(), 1000);
    assert!(heads.iter().all(|(_, entry)| entry.body.is_empty()));
    let entries: Vec<_> = responses.entries().try_collect().await.unwrap();
    assert_eq!(entries.len(), 1000);
    assert!(entries.iter().all(|(_, entry)| entry.body == "body"));
    assert_eq!(responses.size().await.unwrap(), 1000);
    assert_eq!(responses.delete_many(&(0..500).map(key).collect::<Vec<_>>()).await.unwrap(), 500);
    assert_eq!(responses.size().await.unwrap(), 500);
    responses.clear().await.unwrap();
    assert_eq!(responses.size().await.unwrap(), 0);
    assert_eq!(responses.bytes().await.unwrap(), 0);
}

#[tokio::test]
async fn only_the_dead_are_removed() {
    let cache = SqliteCache::builder("x").use_temp(true).open().await.unwrap();
    let responses = cache.responses();
    for number in 0..1000 {
        let deadline = UNIX_EPOCH + Duration::from_secs(number);
        responses.write_many(vec![(key(number), Entry::new("", "body").retain_until(deadline))]).await.unwrap();
    }
    assert_eq!(responses.size().await.unwrap(), 0);
    assert_eq!(responses.delete_expired(UNIX_EPOCH + Duration::from_secs(499)).await.unwrap(), 500);
    assert_eq!(responses.delete_expired(SystemTime::UNIX_EPOCH + Duration::from_secs(5000)).await.unwrap(), 500);
}
