//! The faulty storage does what it is told, and nothing else.

use std::time::Duration;

use hyper_client_cache_testkit::core::ErrorKind;
use hyper_client_cache_testkit::core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_testkit::futures_util::TryStreamExt;
use hyper_client_cache_testkit::reference::{ReferenceHarness, ReferenceStorage};
use hyper_client_cache_testkit::{Faults, FaultyStorage, Op, async_trait, contract, contract_tests};

fn faulty() -> (FaultyStorage<ReferenceStorage>, Faults, CacheKey) {
    let storage = FaultyStorage::new(ReferenceHarness::new().storage("faulty"));
    let faults = storage.faults();
    (storage, faults, CacheKey::new("one").unwrap())
}

/// A reference storage inside a faulty one without faults.
struct Wrapped(ReferenceHarness);

#[async_trait]
impl contract::Harness for Wrapped {
    async fn open(&self, namespace: &str) -> contract::Opened {
        contract::Opened::new(FaultyStorage::new(self.0.storage(namespace)))
    }

    fn clock(&self) -> hyper_client_cache_testkit::ManualClock {
        self.0.clock()
    }

    async fn open_limited(&self, namespace: &str, limit: u64) -> Option<contract::Opened> {
        Some(contract::Opened::new(FaultyStorage::new(self.0.storage(namespace).max_entry_len(limit))))
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: contract::Damage) -> bool {
        self.0.damage(namespace, key, damage).await
    }

    fn entries_visited(&self) -> Option<u64> {
        self.0.entries_visited()
    }
}

mod without_faults {
    use super::*;

    contract_tests!(
        Wrapped(ReferenceHarness::new()),
        skip = [s14_no_credential_is_shown, s03_a_killed_writer_leaves_whole_entries]
    );
}

#[tokio::test]
async fn the_nth_call_fails_and_no_other() {
    let (storage, faults, key) = faulty();
    faults.fail_nth(3);
    let mut failed = Vec::new();
    for call in 1..=5 {
        if let Err(error) = storage.read(&key).await {
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(error.is_transient());
            failed.push(call);
        }
    }
    assert_eq!(failed, [3]);
    assert_eq!(faults.calls(Op::Read), 5);
    assert_eq!(faults.calls(Op::Write), 0);
    assert_eq!(faults.total_calls(), 5);
}

#[tokio::test]
async fn every_call_fails_until_it_is_healed() {
    let (storage, faults, key) = faulty();
    faults.fail_all();
    assert!(storage.read(&key).await.is_err());
    assert!(storage.size().await.is_err());
    assert!(storage.keys().try_next().await.is_err());
    assert!(storage.close().await.is_err());
    faults.heal();
    assert!(storage.read(&key).await.is_ok());
    assert!(storage.keys().try_next().await.is_ok());
    assert_eq!((faults.calls(Op::Keys), faults.calls(Op::Read)), (2, 2));
}

#[tokio::test]
async fn writing_is_refused_while_reading_and_deleting_work() {
    let (storage, faults, key) = faulty();
    let entry = Entry::new("head", "body");
    storage.write(&key, entry.clone()).await.unwrap();
    faults.refuse_writes();
    assert!(storage.write(&key, Entry::new("", "")).await.is_err());
    assert!(storage.write_many(vec![(key, Entry::new("", ""))]).await.is_err());
    assert!(storage.refresh(&key, Entry::new("", "")).await.is_err());
    assert_eq!(storage.read(&key).await.unwrap(), Some(entry));
    assert!(storage.delete(&key).await.unwrap());
}

#[tokio::test]
async fn one_method_fails_alone() {
    let (storage, faults, key) = faulty();
    faults.fail_on(Op::Contains);
    assert!(storage.contains(&key).await.is_err());
    assert!(storage.read(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_hangs_until_it_is_released_and_then_does_its_work() {
    let (storage, faults, key) = faulty();
    faults.hang_on(Op::Write);
    let hanging = tokio::spawn({
        let storage = storage.clone();
        async move { storage.write(&key, Entry::new("head", "body")).await }
    });
    faults.until_hanging(1).await;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert!(!hanging.is_finished());
    assert_eq!(storage.read(&key).await.unwrap(), None, "reading does not hang");
    faults.release();
    hanging.await.unwrap().unwrap();
    assert!(storage.read(&key).await.unwrap().is_some());
    assert_eq!(faults.hanging(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_call_that_is_given_up_is_not_counted_any_more() {
    let (storage, faults, key) = faulty();
    faults.hang();
    assert!(tokio::time::timeout(Duration::from_secs(5), storage.read(&key)).await.is_err());
    assert_eq!(faults.hanging(), 0);
    faults.heal();
    assert!(storage.read(&key).await.is_ok());
}
