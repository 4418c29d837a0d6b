//! Heads of large bodies: written last, and only in place of what the writer knows, so that no parts are lost sight of.

use hyper_client_cache_core::cache::{BodyPlace, Cache, Record, Stored, parts};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::CacheKey;
use hyper_client_cache_dynamodb::DynamoDbCache;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use hyper_client_cache_testkit::ManualClock;

use crate::support::{Tables, response};

const COUNT: u32 = 3;

async fn cache(tables: &Tables) -> DynamoDbCache {
    tables.config("heads").unguarded().connect().await.unwrap()
}

/// A body of three parts under `owner`, whose head is not written yet.
async fn body(cache: &DynamoDbCache, clock: &ManualClock, owner: CacheKey) -> Stored {
    let mut record = response(clock, owner).record.as_response().unwrap().clone();
    let id = parts::new_id(clock.now()).unwrap();
    record.body = BodyPlace::Parts { id, count: COUNT, part_len: 4, len: 12, checksum: 0, retain_until: None };
    let stored = Stored::new(Record::Response(record), bytes::Bytes::new(), None);
    for key in parts::keys_of(&stored.record).unwrap() {
        cache.bodies().unwrap().write(&key, parts::entry(&key, "part".into(), None)).await.unwrap();
    }
    stored
}

/// The parts that are in the table, and those that the head under `owner` names.
async fn parts_there(cache: &DynamoDbCache, owner: &CacheKey) -> (Vec<CacheKey>, Vec<CacheKey>) {
    let mut there: Vec<CacheKey> = cache.bodies().unwrap().keys().try_collect().await.unwrap();
    let head = cache.get(owner).await.unwrap();
    let mut named: Vec<_> = head.iter().filter_map(|stored| parts::keys_of(&stored.record)).flatten().collect();
    there.sort();
    named.sort();
    (there, named)
}

/// Case 220: of writers that knew nothing of each other, one is found, whole, and no part of the others is left.
#[tokio::test(flavor = "multi_thread")]
async fn racing_writers_of_large_bodies_leave_one_and_no_orphan() {
    let tables = Tables::new();
    let cache = cache(&tables).await;
    for round in 0..5 {
        let owner = CacheKey::from_digest([round; 32]);
        let bodies = join_all((0..4).map(|_| body(&cache, &tables.clock, owner))).await;
        let writes = bodies.iter().map(|stored| cache.put(&owner, stored.clone(), None));
        for written in join_all(writes).await {
            written.unwrap();
        }
        let (there, named) = parts_there(&cache, &owner).await;
        assert_eq!(named.len(), COUNT as usize);
        assert_eq!(there, named, "round {round}");
        cache.delete(&owner).await.unwrap();
    }
}

/// Case 220: the same where one has a short body, whichever of them is the last.
#[tokio::test]
async fn a_short_body_takes_the_parts_of_a_long_one_with_it() {
    let tables = Tables::new();
    let cache = cache(&tables).await;
    let owner = CacheKey::from_digest([1; 32]);
    let long = body(&cache, &tables.clock, owner).await;
    cache.put(&owner, long, None).await.unwrap();
    tables.calls.take();
    cache.put(&owner, response(&tables.clock, owner), None).await.unwrap();
    assert_eq!(parts_there(&cache, &owner).await, (vec![], vec![]));
    let long = body(&cache, &tables.clock, owner).await;
    cache.put(&owner, long, None).await.unwrap();
    let (there, named) = parts_there(&cache, &owner).await;
    assert_eq!((there.len(), there), (COUNT as usize, named));
}

/// A head that names parts costs one call, and one more only for the parts of what it replaces.
#[tokio::test]
async fn the_condition_costs_no_round_trip() {
    let tables = Tables::new();
    let cache = cache(&tables).await;
    let owner = CacheKey::from_digest([1; 32]);
    let (first, second) = (body(&cache, &tables.clock, owner).await, body(&cache, &tables.clock, owner).await);
    let put = |count| ("PutItem".to_owned(), count);
    tables.calls.take();
    cache.put(&owner, first.clone(), None).await.unwrap();
    assert_eq!(tables.calls.take(), [put(1)]);
    // The driver may send it twice where an answer was lost.
    cache.put(&owner, first.clone(), None).await.unwrap();
    assert_eq!(tables.calls.take(), [put(1)]);
    cache.put(&owner, second.clone(), Some(&first)).await.unwrap();
    assert_eq!(tables.calls.take(), [("BatchWriteItem".to_owned(), 1), put(1)]);
    let (there, named) = parts_there(&cache, &owner).await;
    assert_eq!(there, named);
}

/// A renewal of a body that was replaced meanwhile does not bring back a head whose parts are gone.
#[tokio::test]
async fn a_renewal_of_other_parts_changes_nothing() {
    let tables = Tables::new();
    let cache = cache(&tables).await;
    let owner = CacheKey::from_digest([1; 32]);
    let (first, second) = (body(&cache, &tables.clock, owner).await, body(&cache, &tables.clock, owner).await);
    cache.put(&owner, first.clone(), None).await.unwrap();
    assert!(cache.refresh(&owner, first.clone()).await.unwrap(), "its own");
    cache.put(&owner, second.clone(), Some(&first)).await.unwrap();
    for late in [first, response(&tables.clock, owner)] {
        assert!(!cache.refresh(&owner, late).await.unwrap());
        let found = cache.get(&owner).await.unwrap().unwrap();
        assert_eq!(found.record.parts_id(), second.record.parts_id());
    }
}

/// Case 220: parts whose head never came go at their deadline, which the table knows, and without one by
/// `delete_expired`; a head that is there keeps its own.
#[tokio::test]
async fn parts_without_a_head_are_collected() {
    let tables = Tables::new();
    let cache = cache(&tables).await;
    let (kept, lost) = (CacheKey::from_digest([1; 32]), CacheKey::from_digest([2; 32]));
    let stored = body(&cache, &tables.clock, kept).await;
    cache.put(&kept, stored, None).await.unwrap();
    body(&cache, &tables.clock, lost).await;
    cache.delete_expired(tables.clock.now()).await.unwrap();
    assert_eq!(parts_there(&cache, &kept).await.0.len(), 2 * COUNT as usize, "their writer may be at work");
    tables.clock.advance(parts::GRACE + Duration::from_secs(1));
    cache.delete_expired(tables.clock.now()).await.unwrap();
    let (there, named) = parts_there(&cache, &kept).await;
    assert_eq!((there.len(), there), (COUNT as usize, named));
}
