//! How often the service is asked, as the driver counts it, and what it charges.

use hyper_client_cache_core::cache::{BodyPlace, Cache, Record, Stored, codec, parts};
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_dynamodb::DynamoDbCache;

use crate::support::{Tables, key, redirect, response};

async fn cache(tables: &Tables) -> DynamoDbCache {
    let cache = tables.config("calls").unguarded().connect().await.unwrap();
    tables.calls.take();
    cache
}

fn calls(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// A hit is one round trip, whether of a response or of a redirect, and so is a miss: the cheapest call there is for a
/// response that this process has met, one that answers both for all else.
#[tokio::test]
async fn a_look_up_is_one_round_trip() {
    let tables = Tables::new();
    let writer = cache(&tables).await;
    writer.put(&key(1), response(&tables.clock, key(1)), None).await.unwrap();
    writer.put(&key(2), redirect(&tables.clock, key(2)), None).await.unwrap();
    let stranger = cache(&tables).await;
    let (get, query) = (("GetItem", 1), ("Query", 1));
    for (who, cache, response) in
        [("the writer", &writer, get), ("a stranger", &stranger, query), ("again", &stranger, get)]
    {
        for (number, found, call) in [(1, true, response), (2, true, query), (3, false, query)] {
            assert_eq!(cache.get(&key(number)).await.unwrap().is_some(), found, "{who}, {number}");
            assert_eq!(tables.calls.take(), calls(&[call]), "{who}, {number}");
        }
    }
}

/// What another process did to a key that a response was expected under costs one round trip more, once, and no answer.
#[tokio::test]
async fn an_expectation_that_is_wrong_costs_a_round_trip_and_no_answer() {
    let tables = Tables::new();
    let (other, cache) = (cache(&tables).await, cache(&tables).await);
    let stored = response(&tables.clock, key(1));
    cache.put(&key(1), stored.clone(), None).await.unwrap();
    other.put(&key(1), redirect(&tables.clock, key(1)), Some(&stored)).await.unwrap();
    tables.calls.take();
    for expected in [[("GetItem", 2)], [("Query", 1)]] {
        assert!(cache.get(&key(1)).await.unwrap().unwrap().record.is_redirect());
        assert_eq!(tables.calls.take(), calls(&expected));
    }
    // A response in its place is found by the query, and is expected from then on.
    other.put(&key(1), stored, None).await.unwrap();
    tables.calls.take();
    for expected in [[("Query", 1)], [("GetItem", 1)]] {
        assert!(!cache.get(&key(1)).await.unwrap().unwrap().record.is_redirect());
        assert_eq!(tables.calls.take(), calls(&expected));
    }
    // Its own deletion, and its own redirect, are known.
    assert!(cache.delete(&key(1)).await.unwrap());
    tables.calls.take();
    assert!(cache.get(&key(1)).await.unwrap().is_none());
    assert_eq!(tables.calls.take(), calls(&[("Query", 1)]));
}

/// A store is one round trip, a renewal and a deletion too; a redirect in place of a response is one batch.
#[tokio::test]
async fn a_store_is_one_round_trip() {
    let tables = Tables::new();
    let cache = cache(&tables).await;
    let stored = response(&tables.clock, key(1));
    cache.put(&key(1), stored.clone(), None).await.unwrap();
    assert_eq!(tables.calls.take(), calls(&[("PutItem", 1)]));
    assert!(cache.refresh(&key(1), stored.clone()).await.unwrap());
    assert_eq!(tables.calls.take(), calls(&[("UpdateItem", 1)]));
    cache.put(&key(1), redirect(&tables.clock, key(1)), Some(&stored)).await.unwrap();
    assert_eq!(tables.calls.take(), calls(&[("BatchWriteItem", 1)]));
    assert!(cache.delete(&key(1)).await.unwrap());
    assert_eq!(tables.calls.take(), calls(&[("BatchGetItem", 1), ("BatchWriteItem", 1)]));
    assert!(!cache.delete(&key(1)).await.unwrap());
    assert_eq!(tables.calls.take(), calls(&[("BatchGetItem", 1)]));
}

/// Storages by themselves: one round trip for each entry, and batches of 100 and of 25.
#[tokio::test]
async fn many_are_read_and_written_in_batches() {
    let tables = Tables::new();
    let cache = cache(&tables).await;
    let storage = cache.responses();
    let keys: Vec<_> = (0..250).map(key).collect();
    storage.write_many(keys.iter().map(|key| (*key, Entry::new("head", "body"))).collect()).await.unwrap();
    assert_eq!(tables.calls.take(), calls(&[("BatchWriteItem", 10)]));
    assert_eq!(storage.read_many(&keys).await.unwrap().into_iter().flatten().count(), 250);
    assert_eq!(tables.calls.take(), calls(&[("BatchGetItem", 3)]));
    assert_eq!(storage.delete_many(&keys).await.unwrap(), 250);
    assert_eq!(tables.calls.take(), calls(&[("BatchGetItem", 3), ("BatchWriteItem", 10)]));
    storage.write(&key(1), Entry::new("head", "body")).await.unwrap();
    storage.read(&key(1)).await.unwrap();
    storage.contains(&key(1)).await.unwrap();
    storage.delete(&key(1)).await.unwrap();
    assert_eq!(tables.calls.take(), calls(&[("DeleteItem", 1), ("GetItem", 2), ("PutItem", 1)]));
}

/// Case 220: parts go with their head in one batch, without being read.
#[tokio::test]
async fn the_parts_of_a_body_are_removed_in_batches() {
    let tables = Tables::new();
    let cache = cache(&tables).await;
    let owner = CacheKey::from_digest([3; 32]);
    let mut record = response(&tables.clock, owner).record.as_response().unwrap().clone();
    let id = parts::new_id(std::time::UNIX_EPOCH).unwrap();
    record.body = BodyPlace::Parts { id, count: 30, part_len: 10, len: 300, checksum: 0, retain_until: None };
    let stored = Stored::new(Record::Response(record), bytes::Bytes::new(), None);
    let bodies = cache.bodies().unwrap();
    let part_keys: Vec<_> = parts::keys_of(&stored.record).unwrap().collect();
    bodies.write_many(part_keys.iter().map(|key| (*key, Entry::new("head", "0123456789"))).collect()).await.unwrap();
    cache.responses().write(&owner, codec::encode(stored).unwrap()).await.unwrap();
    tables.calls.take();
    assert!(cache.delete(&owner).await.unwrap());
    assert_eq!(tables.calls.take(), calls(&[("BatchGetItem", 1), ("BatchWriteItem", 2)]));
    assert_eq!(bodies.size().await.unwrap(), 0);
}

/// Case 223: listing, counting and clearing see all pages, and count and list without a single body being sent.
#[tokio::test]
async fn more_than_a_page_is_listed_counted_and_cleared() {
    use futures_util::TryStreamExt;

    let tables = Tables::new();
    let cache = cache(&tables).await;
    let storage = cache.responses();
    // 4 MB, of which a page holds 1.
    let body = vec![b'x'; 100_000];
    storage.write_many((0..40).map(|number| (key(number), Entry::new("head", body.clone()))).collect()).await.unwrap();
    let sent = tables.calls.take();
    assert_eq!(sent, calls(&[("BatchWriteItem", 2)]));
    assert_eq!(storage.size().await.unwrap(), 40);
    assert!(tables.calls.take().iter().all(|(name, count)| name == "Scan" && *count >= 4));
    let before = tables.calls.received();
    assert_eq!(storage.keys().try_collect::<Vec<_>>().await.unwrap().len(), 40);
    assert_eq!(storage.heads().try_collect::<Vec<_>>().await.unwrap().len(), 40);
    assert_eq!(storage.bytes().await.unwrap(), 40 * 100_004);
    assert!(tables.calls.received() - before < 100_000, "bodies were sent");
    assert_eq!(storage.entries().try_collect::<Vec<_>>().await.unwrap().len(), 40);
    storage.clear().await.unwrap();
    assert_eq!(storage.size().await.unwrap(), 0);
}

/// What the README says about read and write units, for an entry below a kilobyte.
#[tokio::test]
async fn the_units_charged_are_those_of_the_readme() {
    let tables = Tables::new();
    let (stranger, cache) = (cache(&tables).await, cache(&tables).await);
    let stored = response(&tables.clock, key(1));
    let mut mortal = response(&tables.clock, key(2));
    mortal.retain_until = Some(tables.clock.after(std::time::Duration::from_secs(60)));
    tables.calls.take_units();

    cache.put(&key(1), stored.clone(), None).await.unwrap();
    assert_eq!(tables.calls.take_units(), 1.0, "a store");
    cache.put(&key(2), mortal, None).await.unwrap();
    assert_eq!(tables.calls.take_units(), 2.0, "a store with a deadline: the table and the index");
    cache.get(&key(1)).await.unwrap();
    assert_eq!(tables.calls.take_units(), 0.5, "a hit");
    stranger.get(&key(1)).await.unwrap();
    assert_eq!(tables.calls.take_units(), 0.5, "a hit of a response that was not met yet");
    cache.get(&key(3)).await.unwrap();
    // The local server charges nothing for it, the real one 0.5.
    assert!(tables.calls.take_units() <= 0.5, "a miss");
    cache.refresh(&key(1), stored).await.unwrap();
    assert_eq!(tables.calls.take_units(), 1.0, "a renewal");
}
