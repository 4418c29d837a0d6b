//! Where rows are found by their hash: the recent places, the others, and those that are wrong.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::TryStreamExt;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_sqlite::SqliteCache;

use crate::support::{execute, key, number};

async fn cold(path: &Path) -> SqliteCache {
    SqliteCache::builder(path).hot_tier(0).open().await.unwrap()
}

async fn write(storage: &dyn Storage, numbers: std::ops::Range<u64>) {
    let entries = numbers.map(|number| (key(number), Entry::new(number.to_string(), "body"))).collect();
    storage.write_many(entries).await.unwrap();
}

/// How many places there are, recent and others, and how many rows.
async fn counts(path: &Path) -> [i64; 3] {
    [
        number(path, "SELECT count(*) FROM responses_recent").await,
        number(path, "SELECT count(*) FROM responses_places").await,
        number(path, "SELECT count(*) FROM responses").await,
    ]
}

/// Each row has one place, and each place its row.
pub async fn check(path: &Path) {
    let [recent, others, rows] = counts(path).await;
    assert_eq!(recent + others, rows);
    let found = "SELECT count(*) FROM (SELECT * FROM responses_recent UNION SELECT * FROM responses_places) AS place \
                 JOIN responses ON responses.id = place.id AND responses.hash = place.hash";
    assert_eq!(number(path, found).await, rows);
    assert_eq!(number(path, "SELECT entries FROM usage WHERE store = 'responses'").await, rows);
}

#[tokio::test]
async fn many_recent_places_are_put_to_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = cold(&path).await;
    write(cache.responses(), 0..5000).await;
    let [recent, others, rows] = counts(&path).await;
    assert!(recent < 4096 && others >= 4096 && rows == 5000, "{recent} {others} {rows}");
    check(&path).await;
    // What is found through either is the same to whoever asks.
    let keys: Vec<CacheKey> = (0..5001).map(key).collect();
    let found = cache.responses().read_many(&keys).await.unwrap();
    for (number, found) in (0..5001_u64).zip(found) {
        assert_eq!(found, (number < 5000).then(|| Entry::new(number.to_string(), "body")));
    }
    for number in [0, 1, 4990, 4999] {
        assert!(cache.responses().contains(&key(number)).await.unwrap());
        assert!(cache.responses().read(&key(number)).await.unwrap().is_some());
        // Replaced rows stay where they are.
        cache.responses().write(&key(number), Entry::new("new", "new")).await.unwrap();
        assert_eq!(cache.responses().read(&key(number)).await.unwrap(), Some(Entry::new("new", "new")));
    }
    assert_eq!(counts(&path).await, [recent, others, rows]);
    // A removed row takes its place along, and its number is not given again.
    let last = number(&path, "SELECT max(id) FROM responses").await;
    assert_eq!(cache.responses().delete_many(&keys[4000..]).await.unwrap(), 1000);
    check(&path).await;
    write(cache.responses(), 4999..5001).await;
    check(&path).await;
    assert_eq!(number(&path, "SELECT max(id) FROM responses").await, last + 2);
    assert_eq!(cache.responses().keys().try_collect::<Vec<_>>().await.unwrap().len(), 4002);
    cache.responses().clear().await.unwrap();
    check(&path).await;
    write(cache.responses(), 0..10).await;
    assert!(number(&path, "SELECT min(id) FROM responses").await > last);
    assert_eq!(cache.responses().size().await.unwrap(), 10);
}

#[tokio::test]
async fn what_expires_takes_its_place_along() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = cold(&path).await;
    let dead =
        |number| (key(number), Entry::new("head", "body").retain_until(UNIX_EPOCH + Duration::from_secs(number)));
    cache.responses().write_many((0..4500).map(dead).collect()).await.unwrap();
    write(cache.responses(), 4500..4600).await;
    assert_eq!(cache.responses().delete_expired(UNIX_EPOCH + Duration::from_secs(10_000)).await.unwrap(), 4500);
    check(&path).await;
    assert_eq!(cache.responses().size().await.unwrap(), 100);
}

/// Each of many processes that store a little leaves a few recent places.
#[tokio::test]
async fn recent_places_of_short_lives_come_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    for life in 0..6 {
        let cache = cold(&path).await;
        write(cache.responses(), life * 1000..(life + 1) * 1000).await;
        cache.close().await.unwrap();
    }
    let [recent, others, rows] = counts(&path).await;
    assert!(recent < 4096 && others >= 4096 && rows == 6000, "{recent} {others} {rows}");
    check(&path).await;
}

/// Case 142: a place without a row, a row without a place, a place of another key's row, two places: each is a miss or
/// right, never an error nor another key's entry, and the next write mends it.
#[tokio::test]
async fn wrong_places_are_misses_and_mended_by_the_next_write() {
    const ALL: [&str; 2] =
        ["INSERT INTO responses_places SELECT * FROM responses_recent", "DELETE FROM responses_recent"];
    const RECENT: [&str; 6] = [
        "DELETE FROM responses WHERE key = 'key-00000001'",
        "DELETE FROM responses_recent WHERE id = (SELECT id FROM responses WHERE key = 'key-00000002')",
        "UPDATE responses_recent SET id = (SELECT id FROM responses WHERE key = 'key-00000004') \
         WHERE id = (SELECT id FROM responses WHERE key = 'key-00000003')",
        "INSERT INTO responses_places SELECT hash, 30 FROM responses WHERE key = 'key-00000005'",
        "INSERT INTO responses_places SELECT hash, id FROM responses WHERE key = 'key-00000006'",
        "INSERT INTO responses_places SELECT hash, 9 FROM responses WHERE key = 'key-00000007'",
    ];
    const OTHERS: [&str; 6] = [
        RECENT[0],
        "DELETE FROM responses_places WHERE id = (SELECT id FROM responses WHERE key = 'key-00000002')",
        "UPDATE responses_places SET id = (SELECT id FROM responses WHERE key = 'key-00000004') \
         WHERE id = (SELECT id FROM responses WHERE key = 'key-00000003')",
        "INSERT INTO responses_recent SELECT hash, 30 FROM responses WHERE key = 'key-00000005'",
        "INSERT INTO responses_recent SELECT hash, id FROM responses WHERE key = 'key-00000006'",
        "INSERT INTO responses_recent SELECT hash, 9 FROM responses WHERE key = 'key-00000007'",
    ];
    for (settled, damage) in [(false, RECENT), (true, OTHERS)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        let cache = cold(&path).await;
        write(cache.responses(), 0..20).await;
        if settled {
            execute(&path, &ALL).await;
        }
        execute(&path, &damage).await;
        let keys: Vec<CacheKey> = (0..20).map(key).collect();
        for (number, found) in (0..20_u64).zip(cache.responses().read_many(&keys).await.unwrap()) {
            let expected = Entry::new(number.to_string(), "body");
            let alone = cache.responses().read(&key(number)).await.unwrap();
            assert!(alone.as_ref().is_none_or(|found| *found == expected), "{number}");
            assert_eq!(alone, found);
            let is_wrong = matches!(number, 1..=3) || (!settled && matches!(number, 5 | 7));
            assert_eq!(found.is_none(), is_wrong, "{number}, settled: {settled}");
        }
        assert!(!cache.responses().refresh(&key(3), Entry::new("3", "body")).await.unwrap());
        for number in 0..20 {
            cache.responses().write(&key(number), Entry::new(format!("new-{number}"), "new")).await.unwrap();
        }
        // Where the places of two keys lead to one row the later write stays, as with two keys of one hash, until one of
        // the two is removed.
        for again in [false, true] {
            for (number, found) in (0..20_u64).zip(cache.responses().read_many(&keys).await.unwrap()) {
                let lost = !again && (number == 3 || (number == 7 && !settled));
                assert_eq!(found, (!lost).then(|| Entry::new(format!("new-{number}"), "new")), "{number}");
            }
            for number in [4, 8] {
                cache.responses().delete(&key(number)).await.unwrap();
            }
            for number in [3, 4, 7, 8] {
                cache.responses().write(&key(number), Entry::new(format!("new-{number}"), "new")).await.unwrap();
            }
        }
        // Also where all places come together.
        write(cache.responses(), 1000..6000).await;
        for number in 10..20 {
            assert!(cache.responses().read(&key(number)).await.unwrap().is_some());
        }
        for number in 0..20 {
            cache.responses().delete(&key(number)).await.unwrap();
            assert_eq!(cache.responses().read(&key(number)).await.unwrap(), None);
        }
        assert_eq!(cache.responses().stats().corrupt, 0);
        cache.close().await.unwrap();
    }
}
