//! How much is under way at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::storage::{BreakerState, Guard, Storage};
use hyper_client_cache_testkit::Op;
use tokio::time::Instant;

use super::guarded;
use crate::support::{entry, key};

const MS: Duration = Duration::from_millis(1);

/// Case 217: what finds no room until its deadline is a miss, and no fault of the store.
#[tokio::test(start_paused = true)]
async fn no_more_calls_are_under_way_than_there_is_room_for() {
    let (guard, storage, faults) = guarded(Guard::builder().in_flight(4).failures(100));
    faults.hang();
    let began = Instant::now();
    let a = key("a");
    let calls = join_all((0..10_000).map(|_| storage.read(&a)));
    let busiest = async {
        faults.until_hanging(4).await;
        tokio::time::sleep(50 * MS).await;
        faults.hanging()
    };
    let (results, busiest) = tokio::join!(calls, busiest);
    assert!(results.iter().all(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable)));
    assert_eq!(began.elapsed(), 100 * MS);
    assert_eq!(busiest, 4);
    let stats = guard.stats();
    assert_eq!((stats.timed_out, stats.overloaded), (4, 9996));
    assert_eq!(guard.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_on_when_there_is_room() {
    let (guard, storage, faults) = guarded(Guard::builder().in_flight(1));
    faults.hang();
    let a = key("a");
    let release = async {
        faults.until_hanging(1).await;
        tokio::time::sleep(60 * MS).await;
        faults.release();
    };
    let (one, two, ()) = tokio::join!(storage.read(&a), storage.read(&a), release);
    assert_eq!((one.unwrap(), two.unwrap()), (None, None));
    assert_eq!(guard.stats(), Default::default());
}

/// Case 157: writes that find the queue full are dropped at once, and reads are not held up by writes.
#[tokio::test(start_paused = true)]
async fn writes_wait_in_a_bounded_queue() {
    for by_bytes in [false, true] {
        let builder = Guard::builder().writes_in_flight(2);
        let builder = if by_bytes { builder.queue_bytes(3 * 1004) } else { builder.queue_entries(3) };
        let (guard, storage, faults) = guarded(builder);
        faults.hang_on(Op::Write);
        let began = Instant::now();
        let write = |n: u32| {
            let storage = storage.clone();
            tokio::spawn(async move { storage.write(&key(n), entry([b'x'; 1000])).await })
        };
        let tasks: Vec<_> = (0..10).map(write).collect();
        faults.until_hanging(2).await;
        tokio::task::yield_now().await;
        assert_eq!((guard.stats().dropped, began.elapsed()), (5, Duration::ZERO));
        assert_eq!(storage.read(&key("a")).await.unwrap(), None);
        faults.release();
        let stored = join_all(tasks).await.into_iter().filter(|result| result.as_ref().unwrap().is_ok()).count();
        assert_eq!((stored, storage.size().await.unwrap()), (5, 5));
        // The queue is empty again.
        storage.write(&key("a"), entry("a")).await.unwrap();
        assert_eq!((guard.stats().dropped, began.elapsed()), (5, Duration::ZERO));
    }
}

/// Calls that are lost for good take room from the next ones only while that many are lost.
#[tokio::test(start_paused = true)]
async fn what_runs_on_gives_its_room_back() {
    let (_, storage, faults) = guarded(Guard::builder().in_flight(2).writes_in_flight(1).failures(u32::MAX));
    let a = key("a");
    faults.hang();
    // As many as may run on beside those that are under way.
    for expected in 1..=3 {
        storage.read(&a).await.unwrap_err();
        assert_eq!(faults.hanging(), expected);
    }
    for expected in [4, 5, 5, 5] {
        storage.read(&a).await.unwrap_err();
        assert_eq!(faults.hanging(), expected);
    }
    assert_eq!(storage.stats().guard.overloaded, 2);
    // They end ten seconds after their deadlines.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(faults.hanging(), 0);
    faults.heal();
    let (one, two) = tokio::join!(storage.read(&a), storage.read(&a));
    assert_eq!((one.unwrap(), two.unwrap()), (None, None));
}

/// A write that waits for room while its caller goes away is not made.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_before_it_began_is_not_made() {
    let (guard, storage, faults) = guarded(Guard::builder().in_flight(1));
    faults.hang();
    let storage = Arc::new(storage);
    let task = |name: &'static str| {
        let storage = storage.clone();
        tokio::spawn(async move { storage.delete(&key(name)).await })
    };
    let first = task("a");
    faults.until_hanging(1).await;
    let second = task("b");
    tokio::task::yield_now().await;
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    faults.release();
    first.await.unwrap().unwrap();
    assert_eq!(faults.calls(Op::Delete), 1);
    storage.delete(&key("c")).await.unwrap();
    assert_eq!(guard.stats(), Default::default());
}
