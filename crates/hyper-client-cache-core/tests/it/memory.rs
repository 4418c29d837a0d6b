//! The memory backend beyond the contract: its bounds, its counters, its sharing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_core::storage::{MemoryStorage, Storage};

use crate::support::{TestClock, at, entry, key};

#[tokio::test]
async fn a_hit_copies_nothing() {
    let storage = MemoryStorage::default();
    for len in [10, 2048, 1 << 20] {
        storage.write(&key(len), entry(vec![7; len])).await.unwrap();
        let (one, two) =
            (storage.read(&key(len)).await.unwrap().unwrap(), storage.read(&key(len)).await.unwrap().unwrap());
        assert_eq!(one.body, vec![7; len]);
        assert_eq!(one.body.as_ptr(), two.body.as_ptr());
        assert_eq!(one.head.as_ptr(), two.head.as_ptr());
    }
}

#[tokio::test]
async fn a_small_entry_does_not_keep_a_large_buffer() {
    let buffer = bytes::Bytes::from(vec![1; 1 << 20]);
    let storage = MemoryStorage::default();
    let body = buffer.slice(100..200);
    storage.write(&key("a"), hyper_client_cache_core::storage::Entry::new(buffer.slice(..3), body)).await.unwrap();
    assert!(buffer.is_unique());
    assert_eq!(storage.read(&key("a")).await.unwrap().unwrap().body, vec![1; 100]);
}

#[tokio::test]
async fn what_the_first_hit_decodes_the_next_one_finds() {
    let storage = MemoryStorage::default();
    storage.write(&key("a"), entry("body")).await.unwrap();
    let first = storage.read(&key("a")).await.unwrap().unwrap().memo.get_or_decode(|| Some(5_u8)).unwrap();
    let second = storage.read(&key("a")).await.unwrap().unwrap().memo.get::<u8>().unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    storage.write(&key("a"), entry("another")).await.unwrap();
    assert_eq!(storage.read(&key("a")).await.unwrap().unwrap().memo.get::<u8>(), None, "a new head is decoded anew");
}

#[tokio::test]
async fn the_bytes_stay_under_the_bound_and_evictions_are_counted() {
    let storage = MemoryStorage::builder().max_bytes(1 << 20).build().unwrap();
    for i in 0..2000 {
        storage.write(&key(i), entry(vec![0; 2048])).await.unwrap();
        assert!(storage.bytes().await.unwrap() <= 1 << 20);
    }
    let size = storage.size().await.unwrap();
    assert!((250..500).contains(&size), "{size}");
    assert_eq!(storage.stats().evicted, 2000 - size);
    assert_eq!(storage.bytes().await.unwrap(), size * 2052);
    assert_eq!(storage.keys().try_collect::<Vec<_>>().await.unwrap().len() as u64, size);
}

#[tokio::test]
async fn the_number_of_entries_stays_under_its_bound() {
    for (max_bytes, bound) in [(Some(1 << 24), 1_u64), (Some(1 << 24), 3), (None, 1), (None, 3), (None, 1000)] {
        let storage = MemoryStorage::builder().max_bytes(max_bytes).max_entries(bound).build().unwrap();
        for i in 0..bound {
            storage.write(&key(i), entry("x")).await.unwrap();
        }
        let filled = storage.size().await.unwrap();
        assert!(filled == bound || (bound > 3 && filled > bound * 8 / 10), "{filled} of {bound}");
        for i in bound..bound * 3 {
            storage.write(&key(i), entry("x")).await.unwrap();
            assert!(storage.size().await.unwrap() <= bound);
        }
        assert_eq!(storage.size().await.unwrap() + storage.stats().evicted, bound * 3);
    }
}

#[tokio::test]
async fn an_entry_that_is_used_survives_many_that_are_not() {
    let storage = MemoryStorage::builder().max_bytes(1 << 20).build().unwrap();
    storage.write(&key("used"), entry(vec![0; 2048])).await.unwrap();
    for i in 0..5000 {
        assert!(storage.read(&key("used")).await.unwrap().is_some(), "gone after {i}");
        storage.write(&key(i), entry(vec![0; 2048])).await.unwrap();
    }
}

#[tokio::test]
async fn an_entry_up_to_the_limit_is_stored_and_one_over_it_changes_nothing() {
    let builders = [
        MemoryStorage::builder(),
        MemoryStorage::builder().max_bytes(100_000),
        MemoryStorage::builder().max_bytes(10 << 20).max_entry_len(None),
        MemoryStorage::builder().max_entry_len(1000),
    ];
    for builder in builders {
        let storage = builder.build().unwrap();
        let limit = usize::try_from(storage.info().max_entry_len.unwrap()).unwrap();
        let long = key("k".repeat(128));
        storage.write(&key("other"), entry("kept")).await.unwrap();
        storage.write(&long, entry(vec![1; limit - 4])).await.unwrap();
        assert_eq!(storage.read(&long).await.unwrap().unwrap().len(), limit as u64);
        storage.write(&long, entry("small")).await.unwrap();
        let before = storage.size().await.unwrap();
        let error = storage.write(&long, entry(vec![1; limit - 3])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let error = storage.refresh(&long, entry(vec![1; limit - 3])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(storage.read(&long).await.unwrap(), Some(entry("small")));
        assert_eq!(storage.size().await.unwrap(), before, "nothing was evicted for it");
    }
}

#[test]
fn the_limit_that_is_said_is_the_one_asked_for_where_it_fits() {
    let limit = |bytes: Option<u64>, len: Option<u64>| {
        MemoryStorage::builder().max_bytes(bytes).max_entry_len(len).build().unwrap().info().max_entry_len
    };
    assert_eq!(limit(Some(1 << 30), Some(12345)), Some(12345));
    assert_eq!(limit(None, Some(12345)), Some(12345));
    assert_eq!(limit(None, None), None);
    assert!(limit(Some(1 << 20), Some(1 << 30)).unwrap() < 1 << 20);
    assert_eq!(MemoryStorage::default().info().max_entry_len, Some(8 << 20));
}

#[test]
fn a_limit_of_zero_is_an_error_that_names_it() {
    for (built, name) in [
        (MemoryStorage::builder().max_bytes(0).build(), "max_bytes"),
        (MemoryStorage::builder().max_entries(0).build(), "max_entries"),
        (MemoryStorage::builder().max_entry_len(0).build(), "max_entry_len"),
    ] {
        let error = built.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn overwriting_one_key_for_ever_leaves_one_entry_counted_once() {
    let clock = TestClock::default();
    let storage = MemoryStorage::builder().clock(clock.shared()).build().unwrap();
    for i in 0..100_000_u64 {
        storage.write(&key("a"), entry("x").retain_until(at(10 + i % 7))).await.unwrap();
    }
    assert_eq!((storage.size().await.unwrap(), storage.bytes().await.unwrap()), (1, 5));
    assert_eq!(storage.stats().evicted, 0, "what is replaced is not evicted");
    clock.set(20);
    assert_eq!((storage.size().await.unwrap(), storage.bytes().await.unwrap()), (0, 0));
    // An index that kept the deadlines of replaced entries would count more than one dead entry.
    assert_eq!(storage.delete_expired(at(20)).await.unwrap(), 1);
    assert_eq!(storage.delete_expired(at(20)).await.unwrap(), 0);
}

#[tokio::test]
async fn counts_leave_out_the_dead_before_and_after_they_are_removed() {
    let clock = TestClock::default();
    let storage = MemoryStorage::builder().clock(clock.shared()).build().unwrap();
    for i in 0..1000_u64 {
        storage.write(&key(i), entry("x").retain_until((i % 2 == 0).then(|| at(100 + i)))).await.unwrap();
    }
    clock.set(600);
    assert_eq!(storage.size().await.unwrap(), 749);
    assert_eq!(storage.keys().try_collect::<Vec<_>>().await.unwrap().len(), 749);
    assert!(!storage.contains(&key(0)).await.unwrap());
    assert!(!storage.delete(&key(0)).await.unwrap(), "a dead entry was not there");
    assert!(!storage.refresh(&key(2), entry("y")).await.unwrap(), "nor can it be refreshed");
    assert_eq!(storage.delete_expired(at(600)).await.unwrap(), 250);
    assert_eq!((storage.size().await.unwrap(), storage.bytes().await.unwrap()), (749, 749 * 5));
    storage.clear().await.unwrap();
    assert_eq!((storage.size().await.unwrap(), storage.bytes().await.unwrap()), (0, 0));
    assert_eq!(storage.delete_expired(at(10_000)).await.unwrap(), 0);
}

/// Case 238 (index and counters): whatever threads do at once, the figures are those of the entries in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_are_exact_after_a_race_of_everything() {
    let clock = TestClock::default();
    let storage = MemoryStorage::builder().max_bytes(1 << 20).clock(clock.shared()).build().unwrap();
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let storage = storage.clone();
            tokio::spawn(async move {
                for i in 0..4000_u64 {
                    let key = key((i * 31 + task) % 500);
                    let entry = entry(vec![0; (i % 3000) as usize]).retain_until((i % 3 == 0).then(|| at(i)));
                    match (i + task) % 11 {
                        0 => drop(storage.delete(&key).await.unwrap()),
                        1 => drop(storage.refresh(&key, entry).await.unwrap()),
                        2 => drop(storage.delete_expired(at(i)).await.unwrap()),
                        3 if i % 97 == 0 => storage.clear().await.unwrap(),
                        4 => drop(storage.read(&key).await.unwrap()),
                        _ => storage.write(&key, entry).await.unwrap(),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entries: Vec<_> = storage.entries().try_collect().await.unwrap();
    assert_eq!(storage.size().await.unwrap(), entries.len() as u64);
    assert_eq!(storage.bytes().await.unwrap(), entries.iter().map(|(_, entry)| entry.len()).sum::<u64>());
    let dated = entries.iter().filter(|(_, entry)| entry.retain_until.is_some()).count() as u64;
    clock.set(1_000_000);
    assert_eq!(storage.size().await.unwrap(), entries.len() as u64 - dated);
    assert_eq!(storage.delete_expired(at(1_000_000)).await.unwrap(), dated);
    assert_eq!(storage.size().await.unwrap(), entries.len() as u64 - dated);
}

#[tokio::test]
async fn a_closed_storage_says_so_on_every_handle() {
    let storage = MemoryStorage::default();
    storage.write(&key("a"), entry("x")).await.unwrap();
    let clone = storage.clone();
    storage.close().await.unwrap();
    clone.close().await.unwrap();
    let closed = |result: Result<(), hyper_client_cache_core::Error>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Closed);
    };
    closed(clone.read(&key("a")).await.map(drop));
    closed(clone.write(&key("a"), entry("y")).await);
    closed(clone.delete(&key("a")).await.map(drop));
    closed(clone.delete_many(&[key("a")]).await.map(drop));
    closed(clone.refresh(&key("a"), entry("y")).await.map(drop));
    closed(clone.contains(&key("a")).await.map(drop));
    closed(clone.clear().await);
    closed(clone.delete_expired(at(1)).await.map(drop));
    closed(clone.size().await.map(drop));
    closed(clone.bytes().await.map(drop));
    closed(clone.keys().try_collect::<Vec<_>>().await.map(drop));
    closed(clone.entries().try_collect::<Vec<_>>().await.map(drop));
    closed(clone.heads().try_collect::<Vec<_>>().await.map(drop));
}

#[tokio::test]
async fn the_storages_of_a_cache_share_a_budget_but_not_their_keys() {
    let cache = MemoryCache::builder().max_bytes(1 << 20).build().unwrap();
    let bodies = cache.bodies().unwrap();
    for (storage, body) in [(cache.responses(), "a"), (cache.redirects(), "b"), (bodies, "c")] {
        storage.write(&key("same"), entry(body)).await.unwrap();
    }
    assert_eq!(cache.redirects().read(&key("same")).await.unwrap(), Some(entry("b")));
    cache.redirects().clear().await.unwrap();
    assert_eq!(cache.redirects().size().await.unwrap(), 0);
    assert_eq!(cache.responses().read(&key("same")).await.unwrap(), Some(entry("a")));
    for i in 0..2000 {
        let storage = if i % 2 == 0 { cache.responses() } else { bodies };
        storage.write(&key(i), entry(vec![0; 2048])).await.unwrap();
        assert!(cache.responses().bytes().await.unwrap() + bodies.bytes().await.unwrap() <= 1 << 20);
    }
    let (responses, parts) = (cache.responses().size().await.unwrap(), bodies.size().await.unwrap());
    assert!(responses > 100 && parts > 100, "{responses} and {parts}");
    assert_eq!(cache.stats().evicted, 2002 - responses - parts);
    bodies.close().await.unwrap();
    assert_eq!(bodies.size().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cache.responses().size().await.unwrap(), responses);
    assert!(std::ptr::addr_eq(cache.clone().responses(), cache.responses()), "clones hand out the same storage");
}

/// Case 163: the edges of time are deadlines like any other.
#[tokio::test]
async fn deadlines_at_the_edges_of_time_are_kept_in_order() {
    let clock = TestClock::default();
    let storage = MemoryStorage::builder().clock(clock.shared()).build().unwrap();
    let far = at(0) + Duration::from_secs(316_000_000_000);
    let early = at(0) - Duration::from_secs(62_000_000_000);
    storage.write(&key("far"), entry("x").retain_until(far)).await.unwrap();
    storage.write(&key("early"), entry("x").retain_until(early)).await.unwrap();
    assert_eq!(storage.size().await.unwrap(), 1);
    assert_eq!(storage.delete_expired(at(0)).await.unwrap(), 1);
    assert!(storage.contains(&key("far")).await.unwrap());
}
