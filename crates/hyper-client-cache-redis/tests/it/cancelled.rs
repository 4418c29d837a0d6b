//! Futures that are dropped at any point: nobody ever gets another's reply.

use std::time::Duration;

use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_redis::RedisCache;

use crate::support::{is_own, key, remove, standalone, stored, unique, until};

const KEYS: u64 = 64;
const TASKS: u64 = 16;

/// How many operations the whole test does; `HCC_CANCELLED_OPS` may say otherwise.
const OPERATIONS: u64 = 100_000;

/// An entry that names its key.
fn entry(number: u64) -> Entry {
    Entry::new(format!("head of {number}"), format!("{number:08}|").repeat(40 + usize::try_from(number).unwrap() * 8))
}

fn check(number: u64, found: Option<Entry>) {
    if let Some(found) = found {
        assert_eq!(found, entry(number), "the reply to another question");
    }
}

/// Case 209: each operation is dropped at a random point, on a connection that all share; values name their key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reply_is_anothers_whatever_is_dropped() {
    let operations = std::env::var("HCC_CANCELLED_OPS").ok().and_then(|text| text.parse().ok()).unwrap_or(OPERATIONS);
    let name = unique("cancelled");
    let cache = RedisCache::builder(&name).url(standalone()).unguarded().connect().await.unwrap();
    for number in 0..KEYS {
        cache.responses().write(&key(number), entry(number)).await.unwrap();
        cache.put(&key(KEYS + number), stored(KEYS + number), None).await.unwrap();
    }
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let mut done = 0_u64;
                for _ in 0..operations / TASKS {
                    let after = Duration::from_micros(fastrand::u64(0..1500));
                    done += u64::from(tokio::time::timeout(after, one(&cache)).await.is_ok());
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    assert!(done > 0 && done < operations, "{done} of {operations} operations were not dropped: nothing is shown");
    // The connection is as good as new.
    until("it answers", async || cache.responses().read(&key(0)).await.is_ok()).await;
    for number in 0..KEYS {
        check(number, cache.responses().read(&key(number)).await.unwrap());
    }
    cache.close().await.unwrap();
    remove(&standalone(), &name).await;
}

async fn one(cache: &RedisCache) {
    let storage = cache.responses();
    let number = fastrand::u64(0..KEYS);
    let name = key(number);
    // An error is no reply of anybody's.
    match fastrand::u8(0..10) {
        0..2 => check(number, storage.read(&name).await.ok().flatten()),
        2..5 => {
            let number = KEYS + number;
            let found = cache.get(&key(number)).await;
            assert!(found.is_err() || is_own(number, &found), "the reply to another question: {found:?}");
        }
        5 => {
            let others: Vec<u64> = (0..8).map(|_| fastrand::u64(0..KEYS)).collect();
            let names: Vec<CacheKey> = others.iter().map(|&number| key(number)).collect();
            if let Ok(found) = storage.read_many(&names).await {
                others.into_iter().zip(found).for_each(|(number, found)| check(number, found));
            }
        }
        6 => drop(storage.contains(&name).await),
        7 => drop(storage.refresh(&name, entry(number)).await),
        8 => drop(storage.delete(&name).await),
        _ => drop(storage.write(&name, entry(number)).await),
    }
}
