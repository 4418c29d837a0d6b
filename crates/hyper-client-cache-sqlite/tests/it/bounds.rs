//! The bound: what goes, in which order, and that the counters are right.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use http::{Method, StatusCode};
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::{
    BodyPlace, Cache, Freshness, LifetimeSource, Record, ResponseRecord, Stored, parts,
};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_sqlite::sqlx::sqlite::SqliteConnectOptions;
use hyper_client_cache_sqlite::{ENTRY_OVERHEAD, SqliteCache};
use hyper_client_cache_testkit::{ManualClock, bounds};

use crate::support::{key, number};

/// What an entry of `len` bytes takes of the bound.
const fn room(entries: u64, len: u64) -> u64 {
    entries * (len + ENTRY_OVERHEAD)
}

fn entry(len: usize) -> Entry {
    Entry::new("", vec![b'x'; len])
}

async fn keys(storage: &dyn Storage) -> Vec<CacheKey> {
    storage.keys().try_collect().await.unwrap()
}

async fn recount(path: &Path) {
    for (store, counted, summed) in [
        ("responses", "SELECT count(*) FROM responses", "SELECT coalesce(sum(len), 0) FROM responses"),
        ("redirects", "SELECT count(*) FROM redirects", "SELECT coalesce(sum(len), 0) FROM redirects"),
        ("bodies", "SELECT count(*) FROM bodies", "SELECT coalesce(sum(len), 0) FROM bodies"),
    ] {
        let (entries, bytes) = match store {
            "responses" => (
                "SELECT entries FROM usage WHERE store = 'responses'",
                "SELECT bytes FROM usage WHERE store = 'responses'",
            ),
            "redirects" => (
                "SELECT entries FROM usage WHERE store = 'redirects'",
                "SELECT bytes FROM usage WHERE store = 'redirects'",
            ),
            _ => ("SELECT entries FROM usage WHERE store = 'bodies'", "SELECT bytes FROM usage WHERE store = 'bodies'"),
        };
        assert_eq!(number(path, entries).await, number(path, counted).await, "{store}");
        assert_eq!(number(path, bytes).await, number(path, summed).await, "{store}");
    }
}

/// Case 228: the least recently used goes first; a read counts as a use.
#[tokio::test]
async fn the_least_recently_used_goes_first() {
    let cache = SqliteCache::builder("x").use_temp(true).max_bytes(room(3, 1000)).open().await.unwrap();
    bounds::the_least_recently_used_goes_first(&cache).await.unwrap();
}

/// Case 228: the order survives closing and dropping, uses by reading included.
#[tokio::test]
async fn the_order_survives_a_restart() {
    for close in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        let open = || SqliteCache::builder(&path).max_bytes(room(3, 1000)).open();
        let cache = open().await.unwrap();
        for number in 1..=3 {
            cache.responses().write(&key(number), entry(1000)).await.unwrap();
        }
        cache.responses().read(&key(1)).await.unwrap();
        if close {
            cache.close().await.unwrap();
        }
        drop(cache);
        crate::support::until(|| !folder.path().join("demo.sqlite-wal").exists()).await;
        let cache = open().await.unwrap();
        cache.responses().write(&key(4), entry(1000)).await.unwrap();
        assert_eq!(keys(cache.responses()).await, [key(1), key(3), key(4)], "closed: {close}");
    }
}

/// Case 228: what has expired goes before what is alive, whatever its use.
#[tokio::test]
async fn the_dead_go_before_the_living() {
    let clock = ManualClock::new();
    let config = SqliteCache::builder("x").use_temp(true).clock(Arc::new(clock.clone()));
    let cache = config.max_bytes(room(3, 1000)).open().await.unwrap();
    bounds::the_dead_go_before_the_living(&cache, &clock).await.unwrap();
}

/// Case 230: an entry over the whole bound is refused and displaces nothing.
#[tokio::test]
async fn an_entry_over_the_bound_is_refused() {
    let cache = SqliteCache::builder("x").use_temp(true).max_bytes(room(3, 1000)).open().await.unwrap();
    bounds::what_is_over_the_bound_is_refused(&cache).await.unwrap();
    assert_eq!(cache.responses().info().max_entry_len, Some(room(3, 1000) - ENTRY_OVERHEAD));
}

/// Case 227: sizes at random, many at once, also after reopening with a smaller bound; case 229: a recount agrees.
#[tokio::test(flavor = "multi_thread")]
async fn the_bound_holds_and_the_counters_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    for limit in [400_000, 150_000] {
        let cache = SqliteCache::builder(&path).max_bytes(limit).open().await.unwrap();
        let tasks: Vec<_> = (0..8_u64)
            .map(|task| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let mut state = task + 1;
                    for _ in 0..100 {
                        // A linear congruential generator: the same run every time.
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let name = key(state >> 33 & 63);
                        let storage = if state & 1 == 0 { cache.responses() } else { cache.redirects() };
                        match state >> 40 & 7 {
                            0 => drop(storage.delete(&name).await.unwrap()),
                            1 => drop(storage.read(&name).await.unwrap()),
                            2 => drop(storage.refresh(&name, entry(500)).await.unwrap()),
                            _ => storage.write(&name, entry((state >> 44) as usize % 30_000)).await.unwrap(),
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let entries = cache.responses().size().await.unwrap() + cache.redirects().size().await.unwrap();
        let bytes = cache.responses().bytes().await.unwrap() + cache.redirects().bytes().await.unwrap();
        assert!(bytes + entries * ENTRY_OVERHEAD <= limit, "{bytes} bytes in {entries} entries, {limit} allowed");
        assert!(entries > 0);
        cache.close().await.unwrap();
        recount(&path).await;
    }
}

/// Case 231: one key overwritten again and again does not let file or journal grow; what was deleted is given back.
#[tokio::test]
async fn file_and_journal_do_not_grow_without_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let len = |name: &str| std::fs::metadata(folder.path().join(name)).map_or(0, |found| found.len());
    let cache = SqliteCache::open(&path).await.unwrap();
    for round in 0..1000 {
        cache.responses().write(&key(1), entry(20_000 + round)).await.unwrap();
    }
    assert!(len("demo.sqlite") < 1_000_000, "{}", len("demo.sqlite"));
    assert!(len("demo.sqlite-wal") < 20_000_000, "{}", len("demo.sqlite-wal"));
    let many = (0..1000).map(|number| (key(number), entry(20_000))).collect();
    cache.responses().write_many(many).await.unwrap();
    cache.responses().clear().await.unwrap();
    cache.close().await.unwrap();
    drop(cache);
    // Pages are given back between other work: after a while, or here by opening, changing and closing.
    let cache = SqliteCache::open(&path).await.unwrap();
    cache.responses().write(&key(1), entry(1)).await.unwrap();
    cache.responses().delete(&key(1)).await.unwrap();
    crate::support::until_async(async || number(&path, "PRAGMA freelist_count").await <= 256).await;
    cache.close().await.unwrap();
    assert!(len("demo.sqlite") < 3_000_000, "{}", len("demo.sqlite"));
    assert_eq!(len("demo.sqlite-wal"), 0);
}

/// A body's parts go with its head, and nobody else's do, not even others of the same owner.
#[tokio::test]
async fn the_parts_of_an_evicted_body_go_with_its_head() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let clock = ManualClock::new();
    let config = SqliteCache::builder(&path).clock(Arc::new(clock.clone()));
    let cache = config.max_bytes(40_000).open().await.unwrap();
    bounds::parts_go_with_their_head(&cache, &clock).await.unwrap();
    cache.close().await.unwrap();
    recount(&path).await;
}

/// Parts whose writer died make room after the grace.
#[tokio::test]
async fn orphaned_parts_make_room_after_the_grace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let clock = ManualClock::new();
    let config = SqliteCache::builder(&path).clock(Arc::new(clock.clone()));
    let cache = config.max_bytes(room(4, 1000)).open().await.unwrap();
    bounds::orphaned_parts_make_room_after_the_grace(&cache, &clock).await.unwrap();
    cache.close().await.unwrap();
    recount(&path).await;
}

/// Orphans among the first thousand bodies go before what is alive: before entries, before bodies whose head is there, and before one that takes hours
/// to come. Of several hundred bodies each is looked at.
#[tokio::test]
async fn orphans_go_before_what_is_alive() {
    let clock = ManualClock::new();
    let config = SqliteCache::builder("x").use_temp(true).clock(Arc::new(clock.clone()));
    let cache = config.max_bytes(room(403, 1000)).open().await.unwrap();
    let bodies = cache.bodies().unwrap();
    let id = parts::new_id(clock.now()).unwrap();
    let owner_of = |owner: u16| {
        let mut digest = [0; 32];
        digest[..2].copy_from_slice(&owner.to_be_bytes());
        CacheKey::from_digest(digest)
    };
    let part = async |owner: u16, number: u32| {
        let name = parts::key(&owner_of(owner), &id, number).unwrap();
        bodies.write(&name, entry(1000)).await.unwrap();
    };
    for owner in 0..400 {
        part(owner, 0).await;
    }
    let freshness = Freshness::new(clock.now(), None, LifetimeSource::Session);
    let mut whole = ResponseRecord::new(owner_of(5), Method::GET, "http://host/", StatusCode::OK, freshness);
    whole.body =
        BodyPlace::Parts { id: id.clone(), count: 1, part_len: 1000, len: 1000, checksum: 0, retain_until: None };
    cache.put(&owner_of(5), Stored::new(Record::Response(whole), "".into(), None), None).await.unwrap();
    cache.responses().write(&key(1), entry(1000)).await.unwrap();
    clock.advance(parts::GRACE);
    // Its writer is at work.
    part(399, 1).await;
    clock.advance(Duration::from_secs(1));
    for number in 2..100 {
        cache.responses().write(&key(number), entry(1000)).await.unwrap();
    }
    assert_eq!(keys(cache.responses()).await.len(), 100);
    assert!(bodies.contains(&parts::key(&owner_of(5), &id, 0).unwrap()).await.unwrap());
    let left = keys(bodies).await;
    assert!(left.len() < 310, "{}", left.len());
    assert_eq!(left.iter().filter(|part| part.as_str().starts_with("018f")).count(), 2);
    // And all the others, where there is need for it.
    for number in 100..500 {
        cache.responses().write(&key(number), entry(1000)).await.unwrap();
    }
    assert_eq!(keys(bodies).await.len(), 2);
}

/// A head that cannot be decoded, as of a newer version, keeps the parts of its owner for as long as it is there.
#[tokio::test]
async fn the_parts_of_a_head_that_cannot_be_decoded_are_no_orphans() {
    let clock = ManualClock::new();
    let config = SqliteCache::builder("x").use_temp(true).clock(Arc::new(clock.clone()));
    let cache = config.max_bytes(room(6, 1000)).open().await.unwrap();
    let bodies = cache.bodies().unwrap();
    let id = parts::new_id(clock.now()).unwrap();
    let mut names = Vec::new();
    for (owner, heads) in [(1, Some(cache.responses())), (2, Some(cache.redirects())), (3, None)] {
        let owner = CacheKey::from_digest([owner; 32]);
        let name = parts::key(&owner, &id, 0).unwrap();
        bodies.write(&name, entry(1000)).await.unwrap();
        if let Some(heads) = heads {
            heads.write(&owner, Entry::new("of a version to come", "")).await.unwrap();
        }
        names.push(name);
    }
    clock.advance(parts::GRACE + Duration::from_secs(1));
    for number in 1..=3 {
        cache.responses().write(&key(number), entry(1000)).await.unwrap();
    }
    assert_eq!(keys(bodies).await, names[..2]);
    // They go with it.
    for number in 4..=9 {
        cache.responses().write(&key(number), entry(1000)).await.unwrap();
    }
    assert!(keys(bodies).await.is_empty());
    assert_eq!(keys(cache.responses()).await.len(), 6);
}

/// Nothing that is alive goes while there are orphans behind several hundred bodies that are alive.
#[tokio::test]
async fn orphans_behind_many_living_bodies_go_before_what_is_alive() {
    let clock = ManualClock::new();
    let config = SqliteCache::builder("x").use_temp(true).clock(Arc::new(clock.clone()));
    let cache = config.max_bytes(room(900, 1000)).open().await.unwrap();
    let bodies = cache.bodies().unwrap();
    let id = parts::new_id(clock.now()).unwrap();
    for owner in 0..310_u16 {
        let mut digest = [0; 32];
        digest[..2].copy_from_slice(&owner.to_be_bytes());
        let owned = CacheKey::from_digest(digest);
        bodies.write(&parts::key(&owned, &id, 0).unwrap(), entry(1000)).await.unwrap();
        if owner < 300 {
            let freshness = Freshness::new(clock.now(), None, LifetimeSource::Session);
            let mut whole = ResponseRecord::new(owned, Method::GET, "http://host/", StatusCode::OK, freshness);
            whole.body = BodyPlace::Parts {
                id: id.clone(),
                count: 1,
                part_len: 1000,
                len: 1000,
                checksum: 0,
                retain_until: None,
            };
            cache.put(&owned, Stored::new(Record::Response(whole), "".into(), None), None).await.unwrap();
        }
    }
    clock.advance(parts::GRACE + Duration::from_secs(1));
    let mut written = 0;
    while cache.bodies().unwrap().size().await.unwrap() == 310 {
        cache.responses().write(&key(written), entry(1000)).await.unwrap();
        written += 1;
    }
    assert_eq!(bodies.size().await.unwrap(), 300);
    assert_eq!(cache.responses().size().await.unwrap(), 300 + written);
}

/// A body that takes hours to come keeps its parts also where the clock was ahead, so that none of them is as old as it
/// looks; where it was ahead by weeks, orphans do not stay for weeks.
#[tokio::test]
async fn parts_written_after_a_clock_was_ahead_are_no_orphans_for_some_days() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for (ahead, stay) in [(DAY, true), (14 * DAY, false)] {
        let clock = ManualClock::new();
        let config = SqliteCache::builder("x").use_temp(true).clock(Arc::new(clock.clone()));
        let cache = config.max_bytes(room(6, 1000)).open().await.unwrap();
        let bodies = cache.bodies().unwrap();
        clock.advance(ahead);
        cache.responses().write(&key(1), entry(1000)).await.unwrap();
        clock.rewind(ahead);
        let (owner, id) = (CacheKey::from_digest([1; 32]), parts::new_id(clock.now()).unwrap());
        for number in 0..2 {
            bodies.write(&parts::key(&owner, &id, number).unwrap(), entry(1000)).await.unwrap();
            clock.advance(parts::GRACE + Duration::from_secs(1));
        }
        for number in 2..8 {
            cache.responses().write(&key(number), entry(1000)).await.unwrap();
        }
        assert_eq!(bodies.size().await.unwrap() == 2, stay, "{ahead:?}");
    }
}

/// A body that is itself over the bound is refused part by part, so that its head is never written.
#[tokio::test]
async fn a_body_in_parts_over_the_bound_is_refused() {
    let cache = SqliteCache::builder("x").use_temp(true).max_bytes(20_000).open().await.unwrap();
    let bodies = cache.bodies().unwrap();
    let owner = CacheKey::from_digest([1; 32]);
    let mut written = 0;
    let error = loop {
        let name = parts::key(&owner, "aa", written).unwrap();
        match bodies.write(&name, parts::entry(&name, vec![b'x'; 1000].into(), None)).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100);
    };
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(written > 10);
}

/// Reading writes nothing: another connection sees no change, however often there is a hit.
#[tokio::test]
async fn reading_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::open(&path).await.unwrap();
    let entries = (0..50).map(|number| (key(number), entry(100))).collect();
    cache.responses().write_many(entries).await.unwrap();
    let mut other = crate::support::bare(&path).await;
    let version = async |connection: &mut hyper_client_cache_sqlite::sqlx::sqlite::SqliteConnection| -> i64 {
        hyper_client_cache_sqlite::sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await.unwrap()
    };
    let before = version(&mut other).await;
    for round in 0..20 {
        for number in 0..50 {
            assert!(cache.responses().read(&key(number)).await.unwrap().is_some(), "{round}");
        }
    }
    let _: Vec<_> = cache.responses().heads().try_collect().await.unwrap();
    cache.responses().size().await.unwrap();
    assert_eq!(version(&mut other).await, before);
}

/// Case 146: no room left is a transient error; what was stored stays readable, and writing works again after room is
/// made.
#[tokio::test]
async fn a_full_disk_is_a_transient_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    // SQLite gives the same error at this limit as where the file system has no room.
    let options = SqliteConnectOptions::new().pragma("max_page_count", "100");
    let cache = SqliteCache::builder(&path).connect_options(options).hot_tier(0).open().await.unwrap();
    let responses = cache.responses();
    let mut written = 0;
    let error = loop {
        match responses.write(&key(written), entry(20_000)).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100);
    };
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.is_transient());
    assert!(error.to_string().contains("no space"), "{error}");
    assert!(written > 3);
    for number in 0..written {
        assert_eq!(responses.read(&key(number)).await.unwrap(), Some(entry(20_000)));
    }
    assert_eq!(responses.read(&key(written)).await.unwrap(), None);
    responses.clear().await.unwrap();
    responses.write(&key(1), entry(20_000)).await.unwrap();
    assert_eq!(responses.read(&key(1)).await.unwrap(), Some(entry(20_000)));
    cache.close().await.unwrap();
    recount(&path).await;
}
