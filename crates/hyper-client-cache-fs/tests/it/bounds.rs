//! The bound: what goes, in which order, and that the counts are right.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::{Cache, parts};
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_fs::{FsCache, FsStorage};
use hyper_client_cache_testkit::{ManualClock, bounds};

use crate::support::{files, key, until};

/// What an entry of a thousand bytes takes.
const BLOCK: u64 = 4096;

fn entry(len: usize) -> Entry {
    Entry::new("", vec![b'x'; len])
}

async fn keys(storage: &dyn Storage) -> Vec<CacheKey> {
    let mut keys: Vec<_> = storage.keys().try_collect().await.unwrap();
    keys.sort();
    keys
}

/// The bytes that the files take, in blocks.
fn room(path: &Path) -> u64 {
    let files = files(&path.join("v1"));
    // One that is gone meanwhile takes nothing.
    files.iter().map(|file| std::fs::metadata(file).map_or(0, |found| found.len().div_ceil(BLOCK) * BLOCK)).sum()
}

/// Case 228: the least recently used goes first; a read counts as a use.
#[tokio::test]
async fn the_least_recently_used_goes_first() {
    let cache = FsCache::builder("x").use_temp(true).max_bytes(3 * BLOCK).open().await.unwrap();
    bounds::the_least_recently_used_goes_first(&cache).await.unwrap();
}

/// Case 228: the order survives closing and dropping, uses by reading included.
#[tokio::test]
async fn the_order_survives_a_restart() {
    for close in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let open = || FsCache::builder(&path).max_bytes(3 * BLOCK).open();
        let cache = open().await.unwrap();
        for number in 1..=3 {
            cache.responses().write(&key(number), entry(1000)).await.unwrap();
        }
        let modified = || {
            let (file, _) = crate::support::file_of(&path, "responses", &key(1), &[]).unwrap();
            std::fs::metadata(file).unwrap().modified().unwrap()
        };
        let before = modified();
        cache.responses().read(&key(1)).await.unwrap();
        assert_eq!(modified(), before, "a read wrote something");
        if close {
            cache.close().await.unwrap();
        }
        drop(cache);
        until(async || modified() > before).await;
        let cache = open().await.unwrap();
        cache.responses().write(&key(4), entry(1000)).await.unwrap();
        cache.responses().size().await.unwrap();
        assert_eq!(keys(cache.responses()).await, [key(1), key(3), key(4)], "closed: {close}");
    }
}

/// Case 228: what has expired goes before what is alive, whatever its use.
#[tokio::test]
async fn the_dead_go_before_the_living() {
    let clock = ManualClock::new();
    let config = FsCache::builder("x").use_temp(true).clock(Arc::new(clock.clone()));
    let cache = config.max_bytes(3 * BLOCK).open().await.unwrap();
    bounds::the_dead_go_before_the_living(&cache, &clock).await.unwrap();
}

/// Case 230: an entry over the whole bound is refused and displaces nothing.
#[tokio::test]
async fn an_entry_over_the_bound_is_refused() {
    let cache = FsCache::builder("x").use_temp(true).max_bytes(3 * BLOCK).open().await.unwrap();
    bounds::what_is_over_the_bound_is_refused(&cache).await.unwrap();
    // The largest that may be written fits, whatever the length of its key.
    let responses = cache.responses();
    let most = usize::try_from(responses.info().max_entry_len.unwrap()).unwrap();
    let longest = CacheKey::new(&"k".repeat(128)).unwrap();
    responses.write(&longest, entry(most)).await.unwrap();
    assert_eq!(keys(responses).await, [longest]);
}

/// Case 227: sizes at random, many at once, also after reopening with a smaller bound; case 229: a recount agrees.
#[tokio::test(flavor = "multi_thread")]
async fn the_bound_holds_and_the_counts_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    for limit in [400_000, 150_000] {
        let cache = FsCache::builder(&path).max_bytes(limit).open().await.unwrap();
        let tasks: Vec<_> = (0..8_u64)
            .map(|task| {
                let (cache, path) = (cache.clone(), path.clone());
                tokio::spawn(async move {
                    let mut random = fastrand::Rng::with_seed(task);
                    cache.responses().size().await.unwrap();
                    for step in 0..150 {
                        let name = key(random.u64(0..64));
                        let storage = if random.bool() { cache.responses() } else { cache.redirects() };
                        match random.u32(0..8) {
                            0 => drop(storage.delete(&name).await.unwrap()),
                            1 => drop(storage.read(&name).await.unwrap()),
                            2 => drop(storage.refresh(&name, entry(500)).await.unwrap()),
                            _ => storage.write(&name, entry(random.usize(0..30_000))).await.unwrap(),
                        }
                        if step % 50 == 0 {
                            // What eight are writing may be there beside.
                            assert!(room(&path) <= limit + 8 * 2 * 32_768);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!((limit / 3..=limit).contains(&room(&path)), "{} of {limit}", room(&path));
        for storage in [cache.responses(), cache.redirects()] {
            let all: Vec<_> = storage.entries().try_collect().await.unwrap();
            assert_eq!(storage.size().await.unwrap(), all.len() as u64);
            assert_eq!(storage.bytes().await.unwrap(), all.iter().map(|(_, entry)| entry.len()).sum::<u64>());
        }
        cache.close().await.unwrap();
    }
}

/// Case 229: after files were removed and added behind its back, the counts come right by themselves.
#[tokio::test]
async fn what_others_do_is_counted_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let (one, two) = (FsCache::open(&path).await.unwrap(), FsCache::open(&path).await.unwrap());
    one.responses().write(&key(1), entry(1000)).await.unwrap();
    assert_eq!(one.responses().size().await.unwrap(), 1);
    two.responses().write(&key(2), entry(500)).await.unwrap();
    assert_eq!(one.responses().read(&key(2)).await.unwrap(), Some(entry(500)));
    // The first cache looks again when it is told to: here by opening a third one, whose first look is at everything.
    let three = FsCache::open(&path).await.unwrap();
    assert_eq!(three.responses().size().await.unwrap(), 2);
    assert_eq!(three.responses().bytes().await.unwrap(), 1500);
}

/// Case 231: one key overwritten and read again and again leaves one file.
#[tokio::test]
async fn one_key_stays_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = FsCache::open(&path).await.unwrap();
    for round in 0..1000 {
        cache.responses().write(&key(1), entry(round)).await.unwrap();
        cache.responses().read(&key(1)).await.unwrap();
    }
    assert_eq!(files(&path).len(), 1);
    cache.close().await.unwrap();
    assert_eq!(files(&path).len(), 1);
}

/// A body's parts go with its head, and nobody else's do, not even others of the same owner.
#[tokio::test]
async fn the_parts_of_an_evicted_body_go_with_its_head() {
    let clock = ManualClock::new();
    let config = FsCache::builder("x").use_temp(true).clock(Arc::new(clock.clone()));
    let cache = config.max_bytes(27 * BLOCK).open().await.unwrap();
    bounds::parts_go_with_their_head(&cache, &clock).await.unwrap();
}

/// A body that is itself over the bound is refused part by part, so that its head is never written.
#[tokio::test]
async fn a_body_in_parts_over_the_bound_is_refused() {
    let cache = FsCache::builder("x").use_temp(true).max_bytes(10 * BLOCK).open().await.unwrap();
    let bodies = cache.bodies().unwrap();
    bodies.size().await.unwrap();
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
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.is_transient());
    assert_eq!(written, 10);
}

/// Parts whose writer died make room after the grace.
#[tokio::test]
async fn orphaned_parts_make_room_after_the_grace() {
    let clock = ManualClock::new();
    let config = FsCache::builder("x").use_temp(true).clock(Arc::new(clock.clone()));
    let cache = config.max_bytes(4 * BLOCK).open().await.unwrap();
    bounds::orphaned_parts_make_room_after_the_grace(&cache, &clock).await.unwrap();
}

/// Without a bound nothing goes.
#[tokio::test]
async fn without_a_bound_everything_stays() {
    let cache = FsCache::builder("x").use_temp(true).max_bytes(None).open().await.unwrap();
    for number in 0..100 {
        cache.responses().write(&key(number), entry(1000)).await.unwrap();
    }
    assert_eq!(cache.responses().size().await.unwrap(), 100);
    assert_eq!(cache.responses().stats().evicted, 0);
}

/// P15: with nothing dead, nothing is looked at.
#[tokio::test]
async fn with_nothing_dead_nothing_is_looked_at() {
    let storage: FsStorage = FsCache::builder("x").use_temp(true).open_storage().await.unwrap();
    let now = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let later = entry(10).retain_until(std::time::UNIX_EPOCH + Duration::from_secs(10_000_000_000));
    for number in 0..100 {
        storage.write(&key(number), later.clone()).await.unwrap();
    }
    assert_eq!(storage.delete_expired(now).await.unwrap(), 0);
    assert_eq!(storage.expiry_looks(), 0);
}
