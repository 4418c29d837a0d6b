//! Calls that go on after their callers: to their end, in order, and no longer than somebody is left.

use std::time::Duration;

use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::storage::{Guard, Storage};
use hyper_client_cache_testkit::Op;
use tokio::time::{Instant, advance, sleep};

use super::guarded;
use crate::support::{entry, key};

const MS: Duration = Duration::from_millis(1);

/// Cases 175 and 210: where a driver must not be dropped half-way, it is not.
#[tokio::test(start_paused = true)]
async fn a_call_goes_on_to_its_end_without_its_caller() {
    let (_, storage, faults) = guarded(Guard::builder());
    faults.hang_on(Op::Write);
    // Its caller goes away.
    let caller = storage.clone();
    let task = tokio::spawn(async move { caller.write(&key("dropped"), entry("a")).await });
    faults.until_hanging(1).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    // Its caller stops waiting.
    storage.write(&key("late"), entry("a")).await.unwrap_err();
    assert_eq!(faults.hanging(), 2);
    faults.release();
    sleep(MS).await;
    assert_eq!(storage.size().await.unwrap(), 2);
}

/// Cases 175 and 210: a look-up has no task while its caller waits for it, and one when it does not any more.
#[tokio::test(start_paused = true)]
async fn a_look_up_goes_on_to_its_end_without_its_caller() {
    let (guard, storage, faults) = guarded(Guard::builder().failures(u32::MAX));
    let metrics = tokio::runtime::Handle::current().metrics();
    faults.hang_on(Op::Read);
    let read = async || storage.read(&key("a")).await;
    // Its caller goes away.
    let mut dropped = Box::pin(read());
    tokio::select! {
        biased;
        _ = &mut dropped => panic!("it hangs"),
        () = std::future::ready(()) => {}
    }
    assert_eq!((faults.hanging(), metrics.num_alive_tasks()), (1, 0));
    drop(dropped);
    assert_eq!((faults.hanging(), metrics.num_alive_tasks()), (1, 1));
    // Its caller stops waiting.
    assert_eq!(read().await.unwrap_err().kind(), ErrorKind::Unavailable);
    sleep(MS).await;
    assert_eq!((faults.hanging(), metrics.num_alive_tasks()), (2, 2));
    assert_eq!(guard.stats().timed_out, 2, "that the store was slow is counted, whoever has gone");
    faults.release();
    sleep(MS).await;
    assert_eq!((faults.hanging(), metrics.num_alive_tasks()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_may_be_dropped_is() {
    let (_, storage, faults) = guarded(Guard::builder().detach(false));
    faults.hang_on(Op::Write);
    storage.write(&key("late"), entry("a")).await.unwrap_err();
    assert_eq!(faults.hanging(), 0);
    faults.release();
    assert_eq!(storage.size().await.unwrap(), 0);
}

/// Cases 215 and 239: a write that lands late does not bring back what was deleted meanwhile.
#[tokio::test(start_paused = true)]
async fn what_is_done_to_a_key_stays_in_order() {
    let (a, b) = (key("a"), key("b"));
    for how in 0..4 {
        let (_, storage, faults) = guarded(Guard::builder().failures(u32::MAX).bulk_deadline(1000 * MS));
        faults.hang_on(Op::Write);
        assert_eq!(storage.write(&a, entry("late")).await.unwrap_err().kind(), ErrorKind::Unavailable);
        // Only what hangs already does so.
        faults.hang_on(Op::DeleteExpired);
        let began = Instant::now();
        let deleted = match how {
            0 => storage.delete(&a).await.map(drop),
            1 => storage.delete_many(&[b, a]).await.map(drop),
            2 => storage.clear().await,
            _ => storage.write_many(vec![(b, entry("b")), (a, entry("new"))]).await,
        };
        // The write still hangs, so the other can be no more than behind it.
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Unavailable, "{how}");
        assert!(began.elapsed() >= 1000 * MS);
        // Another key has another order.
        assert_eq!(storage.read(&b).await.unwrap(), None);
        if how == 0 {
            assert!(!storage.delete(&b).await.unwrap());
        }
        faults.heal();
        sleep(MS).await;
        let expected = (how == 3).then(|| entry("new"));
        assert_eq!(storage.read(&a).await.unwrap(), expected, "{how}");
        // And nothing of the order is left.
        storage.write(&a, entry("next")).await.unwrap();
        assert_eq!(storage.read(&a).await.unwrap(), Some(entry("next")));
    }
}

/// Case 233: nothing goes on for long after the last handle is gone.
#[tokio::test(start_paused = true)]
async fn what_is_left_behind_ends_within_a_second() {
    use futures_util::StreamExt;

    let (guard, storage, faults) = guarded(Guard::builder());
    faults.hang();
    storage.write(&key("a"), entry("a")).await.unwrap_err();
    assert!(storage.keys().next().await.unwrap().is_err());
    let clone = storage.clone();
    drop(storage);
    sleep(5000 * MS).await;
    assert_eq!(faults.hanging(), 2);
    drop(clone);
    sleep(1001 * MS).await;
    assert_eq!(faults.hanging(), 0);
    assert_eq!(guard.stats().timed_out, 2);
}

/// Case 233: a listing whose reader is gone ends.
#[tokio::test(start_paused = true)]
async fn a_listing_ends_with_its_reader() {
    use futures_util::StreamExt;

    let (_, storage, faults) = guarded(Guard::builder());
    for n in 0..100 {
        storage.write(&key(n), entry("a")).await.unwrap();
    }
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    for read in 0..5 {
        let mut keys = storage.keys();
        for _ in 0..read {
            keys.next().await.unwrap().unwrap();
            // A reader takes its time.
            advance(10_000 * MS).await;
        }
        drop(keys);
        sleep(MS).await;
        assert_eq!(metrics.num_alive_tasks(), before, "after {read}");
    }
    assert_eq!(storage.keys().count().await, 100);
    assert_eq!((faults.hanging(), storage.stats().guard), (0, Default::default()));
}
