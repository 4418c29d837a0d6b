//! Front and back never disagree: not after races, dropped futures, failures.

mod storages;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::TryStreamExt;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::storage::{MemoryStorage, Storage, TieredStorage};

use self::storages::{Back, BrokenFront, Flag, SlowFront};
use crate::support::{TestClock, at, entry, key};

fn tiered(back: &Back) -> TieredStorage {
    TieredStorage::new(MemoryStorage::default(), back.clone())
}

#[tokio::test]
async fn a_hit_in_the_front_does_not_ask_the_back() {
    let back = Back::new();
    back.inner.write(&key("stored"), entry("old")).await.unwrap();
    let storage = tiered(&back);
    storage.write(&key("written"), entry("new")).await.unwrap();
    assert_eq!(storage.read(&key("written")).await.unwrap(), Some(entry("new")));
    assert_eq!(back.count.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        assert_eq!(storage.read(&key("stored")).await.unwrap(), Some(entry("old")));
        assert_eq!(storage.read_many(&[key("stored"), key("none")]).await.unwrap(), [Some(entry("old")), None]);
    }
    assert_eq!(back.count.load(Ordering::SeqCst), 4, "once for what was read, each time for what is not there");
}

#[tokio::test]
async fn what_is_read_together_enters_the_front_together() {
    let back = Back::new();
    let keys: Vec<_> = (0..10).map(key).collect();
    for name in &keys {
        back.inner.write(name, entry(name.as_str())).await.unwrap();
    }
    let storage = tiered(&back);
    storage.read(&keys[3]).await.unwrap();
    let asked = [keys[0], key("none"), keys[3], keys[9]];
    let expected = [Some(entry("0")), None, Some(entry("3")), Some(entry("9"))];
    assert_eq!(storage.read_many(&asked).await.unwrap(), expected);
    assert_eq!(storage.front().size().await.unwrap(), 3);
    assert_eq!(storage.read_many(&asked).await.unwrap(), expected);
}

/// What a reader found in the back does not enter the front after somebody has changed it.
#[tokio::test]
async fn a_read_that_was_overtaken_is_not_promoted() {
    #[derive(Clone, Copy, Debug)]
    enum By {
        Write,
        WriteMany,
        Refresh,
        Delete,
        DeleteMany,
        Clear,
        ClearFront,
    }
    for by in [By::Write, By::WriteMany, By::Refresh, By::Delete, By::DeleteMany, By::Clear, By::ClearFront] {
        let back = Back::held();
        back.writes.open();
        back.inner.write(&key("a"), entry("old")).await.unwrap();
        let storage = tiered(&back);
        let reader = tokio::spawn({
            let storage = storage.clone();
            async move { storage.read(&key("a")).await }
        });
        back.reads.arrived(1).await;
        let mut left = Some(entry("new"));
        match by {
            By::Write => storage.write(&key("a"), entry("new")).await.unwrap(),
            By::WriteMany => storage.write_many(vec![(key("a"), entry("new"))]).await.unwrap(),
            By::Refresh => assert!(storage.refresh(&key("a"), entry("new")).await.unwrap()),
            By::Delete => assert!(storage.delete(&key("a")).await.unwrap()),
            By::DeleteMany => assert_eq!(storage.delete_many(&[key("a"), key("b")]).await.unwrap(), 1),
            By::Clear => storage.clear().await.unwrap(),
            // Another process has written.
            By::ClearFront => {
                back.inner.write(&key("a"), entry("new")).await.unwrap();
                storage.clear_front().await.unwrap();
            }
        }
        if matches!(by, By::Delete | By::DeleteMany | By::Clear) {
            left = None;
        }
        back.reads.open();
        assert_eq!(reader.await.unwrap().unwrap(), Some(entry("old")), "{by:?}: it began before");
        assert_ne!(storage.front().read(&key("a")).await.unwrap(), Some(entry("old")), "{by:?}");
        assert_eq!(storage.read(&key("a")).await.unwrap(), left, "{by:?}");
    }
}

#[tokio::test]
async fn while_a_write_is_under_way_nobody_sees_an_older_value_after_a_newer_one() {
    let back = Back::held();
    back.reads.open();
    back.inner.write(&key("a"), entry("old")).await.unwrap();
    let storage = tiered(&back);
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("old")));
    let writer = tokio::spawn({
        let storage = storage.clone();
        async move { storage.write(&key("a"), entry("new")).await }
    });
    back.writes.arrived(1).await;
    assert_eq!(storage.front().read(&key("a")).await.unwrap(), None);
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("old")), "not yet acknowledged");
    assert_eq!(storage.front().read(&key("a")).await.unwrap(), None, "and not promoted meanwhile");
    back.writes.open();
    writer.await.unwrap().unwrap();
    assert_eq!(storage.front().read(&key("a")).await.unwrap(), Some(entry("new")));
}

#[tokio::test]
async fn two_writes_that_overlap_leave_the_front_empty() {
    let back = Back::held();
    back.reads.open();
    let storage = tiered(&back);
    let writers: Vec<_> = (0..2)
        .map(|i| {
            let storage = storage.clone();
            tokio::spawn(async move { storage.write(&key("a"), entry(format!("{i}"))).await })
        })
        .collect();
    back.writes.arrived(2).await;
    back.writes.open();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(storage.front().read(&key("a")).await.unwrap(), None);
    let stored = back.inner.read(&key("a")).await.unwrap();
    assert_eq!(storage.read(&key("a")).await.unwrap(), stored);
    assert_eq!(storage.front().read(&key("a")).await.unwrap(), stored, "promoted again once all is quiet");
}

/// A writer that fills the front is overtaken by another one: what it puts there is old by then.
#[tokio::test]
async fn what_enters_the_front_too_late_is_never_seen_and_goes_again() {
    let front = SlowFront::default();
    let storage = TieredStorage::new(front.clone(), MemoryStorage::default());
    let slow = tokio::spawn({
        let storage = storage.clone();
        async move { storage.write(&key("a"), entry("old")).await }
    });
    front.before.arrived(1).await;
    storage.write(&key("a"), entry("new")).await.unwrap();
    front.before.open();
    front.after.arrived(1).await;
    assert_eq!(front.inner.read(&key("a")).await.unwrap(), Some(entry("old")));
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("new")));
    assert_eq!(storage.read_many(&[key("a")]).await.unwrap(), [Some(entry("new"))]);
    front.after.open();
    slow.await.unwrap().unwrap();
    assert_eq!(front.inner.read(&key("a")).await.unwrap(), None);
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("new")));
    assert_eq!(front.inner.read(&key("a")).await.unwrap(), Some(entry("new")));
}

#[tokio::test]
async fn a_reader_dropped_while_it_fills_the_front_leaves_nothing_old_there() {
    let (front, back) = (SlowFront::default(), MemoryStorage::default());
    back.write(&key("a"), entry("old")).await.unwrap();
    front.before.open();
    let storage = TieredStorage::new(front.clone(), back);
    let reader = tokio::spawn({
        let storage = storage.clone();
        async move { storage.read(&key("a")).await }
    });
    front.after.arrived(1).await;
    let writer = tokio::spawn({
        let storage = storage.clone();
        async move { storage.write(&key("a"), entry("new")).await }
    });
    writer.await.unwrap().unwrap();
    // As an insertion would that is still on its way.
    front.inner.write(&key("a"), entry("old")).await.unwrap();
    reader.abort();
    assert!(reader.await.unwrap_err().is_cancelled());
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("new")), "the front is not asked");
    front.after.open();
    storage.write(&key("a"), entry("newer")).await.unwrap();
    assert_eq!(front.inner.read(&key("a")).await.unwrap(), Some(entry("newer")), "until it is known again");
}

/// Case 175, for the tiered storage: the back may apply what its caller no longer waits for.
#[tokio::test]
async fn a_dropped_write_leaves_nothing_old_in_the_front() {
    let back = Back::held();
    back.reads.open();
    back.inner.write(&key("a"), entry("old")).await.unwrap();
    let storage = tiered(&back);
    storage.read(&key("a")).await.unwrap();
    let writer = tokio::spawn({
        let storage = storage.clone();
        async move { storage.write(&key("a"), entry("new")).await }
    });
    back.writes.arrived(1).await;
    writer.abort();
    assert!(writer.await.unwrap_err().is_cancelled());
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("old")));
    // Late, behind everybody's back.
    back.inner.write(&key("a"), entry("new")).await.unwrap();
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("new")));
    assert!(storage.contains(&key("a")).await.unwrap());
    back.writes.open();
    storage.write(&key("a"), entry("newer")).await.unwrap();
    let before = back.count.load(Ordering::SeqCst);
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("newer")));
    assert_eq!(back.count.load(Ordering::SeqCst), before, "from the front again");
}

#[tokio::test]
async fn a_front_that_fails_is_left_out() {
    let stale = MemoryStorage::default();
    stale.write(&key("a"), entry("stale")).await.unwrap();
    for readable in [None, Some(stale)] {
        let back = Back::new();
        let storage = TieredStorage::new(BrokenFront { readable }, back.clone());
        storage.write(&key("a"), entry("one")).await.unwrap();
        assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("one")), "not what the front could not remove");
        assert!(storage.refresh(&key("a"), entry("two")).await.unwrap());
        assert_eq!(storage.read_many(&[key("a")]).await.unwrap(), [Some(entry("two"))]);
        storage.write_many(vec![(key("b"), entry("b"))]).await.unwrap();
        assert!(storage.contains(&key("b")).await.unwrap());
        assert!(storage.delete(&key("a")).await.unwrap());
        assert_eq!(storage.read(&key("a")).await.unwrap(), None);
        assert_eq!(storage.delete_many(&[key("b")]).await.unwrap(), 1);
        assert_eq!(storage.delete_expired(at(0)).await.unwrap(), 0);
        storage.clear().await.unwrap();
        assert_eq!(storage.size().await.unwrap(), 0);
        storage.close().await.unwrap();
        assert_eq!(storage.read(&key("a")).await.unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn a_closed_gate_leaves_the_front_out_both_ways() {
    let back = Back::new();
    let gate = Arc::new(Flag::default());
    let storage = tiered(&back).with_gate(gate.clone());
    storage.write(&key("a"), entry("one")).await.unwrap();
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("one")));
    assert_eq!(storage.front().size().await.unwrap(), 0, "nothing enters while nobody knows");
    gate.0.store(true, Ordering::SeqCst);
    storage.read(&key("a")).await.unwrap();
    assert_eq!(storage.front().size().await.unwrap(), 1);
    back.inner.write(&key("a"), entry("by another process")).await.unwrap();
    gate.0.store(false, Ordering::SeqCst);
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("by another process")));
    storage.clear_front().await.unwrap();
    gate.0.store(true, Ordering::SeqCst);
    assert_eq!(storage.read(&key("a")).await.unwrap(), Some(entry("by another process")));
}

#[tokio::test]
async fn what_the_front_cannot_hold_is_read_from_the_back() {
    let back = Back::new();
    let front = MemoryStorage::builder().max_bytes(100_000).build().unwrap();
    let storage = TieredStorage::new(front, back.clone());
    storage.write(&key("a"), entry("small")).await.unwrap();
    storage.write(&key("a"), entry(vec![1; 200_000])).await.unwrap();
    assert_eq!(storage.front().size().await.unwrap(), 0);
    assert_eq!(storage.read(&key("a")).await.unwrap().unwrap().body.len(), 200_000);
    for i in 0..1000 {
        storage.write(&key(i), entry(vec![1; 1000])).await.unwrap();
    }
    assert!(storage.front().size().await.unwrap() < 100);
    assert_eq!(storage.stats().evicted, 0, "what left the front is still in the back");
    assert_eq!(storage.size().await.unwrap(), 1001);
    assert_eq!(storage.bytes().await.unwrap(), 200_004 + 1000 * 1004);
    assert_eq!(storage.keys().try_collect::<Vec<_>>().await.unwrap().len(), 1001);
    assert_eq!(storage.entries().try_collect::<Vec<_>>().await.unwrap().len(), 1001);
    assert_eq!(storage.info().name, "back");
}

#[tokio::test]
async fn what_expires_expires_in_both() {
    let clock = TestClock::default();
    let front = MemoryStorage::builder().clock(clock.shared()).build().unwrap();
    let back = MemoryStorage::builder().clock(clock.shared()).build().unwrap();
    let storage = TieredStorage::new(front, back);
    storage.write(&key("a"), entry("x").retain_until(at(10))).await.unwrap();
    storage.write(&key("b"), entry("x").retain_until(at(20))).await.unwrap();
    assert_eq!(storage.front().size().await.unwrap(), 2);
    // Ahead of the clock: gone all the same.
    assert_eq!(storage.delete_expired(at(15)).await.unwrap(), 1);
    assert_eq!(storage.read(&key("a")).await.unwrap(), None);
    assert!(storage.read(&key("b")).await.unwrap().is_some());
    clock.set(20);
    assert_eq!(storage.read(&key("b")).await.unwrap(), None);
    assert!(!storage.contains(&key("b")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_writers_readers_and_deleters_leave_front_and_back_agreeing() {
    let storage = TieredStorage::new(MemoryStorage::default(), MemoryStorage::default());
    for round in 0..300_u32 {
        let tasks: Vec<_> = (0..6_u32)
            .map(|task| {
                let storage = storage.clone();
                tokio::spawn(async move {
                    for i in 0..4_u32 {
                        let entry = entry(format!("{round}-{task}-{i}"));
                        match (task + i) % 6 {
                            0 | 1 => storage.write(&key("a"), entry).await.unwrap(),
                            2 => drop(storage.delete(&key("a")).await.unwrap()),
                            3 => drop(storage.refresh(&key("a"), entry).await.unwrap()),
                            _ => drop(storage.read(&key("a")).await.unwrap()),
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let truth = storage.back().read(&key("a")).await.unwrap();
        let front = storage.front().read(&key("a")).await.unwrap();
        assert!(front.is_none() || front == truth, "round {round}: {front:?} before {truth:?}");
        assert_eq!(storage.read(&key("a")).await.unwrap(), truth);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reader_sees_less_than_what_was_acknowledged_before_it_asked() {
    let storage = TieredStorage::new(MemoryStorage::default(), MemoryStorage::default());
    let acknowledged = Arc::new(AtomicU64::new(0));
    storage.write(&key("a"), entry(0_u64.to_be_bytes())).await.unwrap();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (storage, acknowledged) = (storage.clone(), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let mut last = 0;
                while last < 5000 {
                    let least = acknowledged.load(Ordering::SeqCst).max(last);
                    let found = storage.read(&key("a")).await.unwrap().unwrap();
                    last = u64::from_be_bytes(found.body[..].try_into().unwrap());
                    assert!(last >= least, "{last} after {least}");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for version in 1..=5000_u64 {
        storage.write(&key("a"), entry(version.to_be_bytes())).await.unwrap();
        acknowledged.store(version, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
