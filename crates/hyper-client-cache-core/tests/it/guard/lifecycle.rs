//! Closing, runtimes, panics, and calls that are dropped at any point.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::storage::{
    CacheKey, Entry, Guard, GuardStats, MemoryStorage, Storage, StorageInfo, TieredStorage,
};
use hyper_client_cache_core::{ErrorKind, Result};
use hyper_client_cache_testkit::{Op, async_trait};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

use super::guarded;
use crate::support::{entry, key, poll_times};

const MS: Duration = Duration::from_millis(1);

/// Case 234: in time, idempotent, and closed whatever the store does.
#[tokio::test(start_paused = true)]
async fn closing_ends_in_time_although_the_store_hangs() {
    for detach in [true, false] {
        let (_, storage, faults) = guarded(Guard::builder().detach(detach).close_deadline(Duration::from_secs(2)));
        faults.hang();
        let began = Instant::now();
        assert_eq!(storage.close().await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        assert_eq!(storage.read(&key("a")).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(storage.keys().try_next().await.unwrap_err().kind(), ErrorKind::Closed);
        faults.heal();
        storage.close().await.unwrap();
        storage.close().await.unwrap();
    }
}

/// Case 234: closed is closed, also where the breaker is open.
#[tokio::test(start_paused = true)]
async fn after_close_each_call_says_closed_although_the_breaker_is_open() {
    let (_, storage, faults) = guarded(Guard::builder().failures(1));
    faults.fail_on(Op::Read);
    storage.read(&key("a")).await.unwrap_err();
    assert_eq!(storage.read(&key("a")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    storage.close().await.unwrap();
    assert_eq!(storage.read(&key("a")).await.unwrap_err().kind(), ErrorKind::Closed);
}

/// Case 234: what is under way is closed after it, not under it.
#[tokio::test(start_paused = true)]
async fn closing_waits_for_writes_that_run_on() {
    let (_, storage, faults) = guarded(Guard::builder());
    faults.hang_on(Op::Write);
    storage.write(&key("a"), entry("a")).await.unwrap_err();
    let closing = tokio::spawn({
        let storage = storage.clone();
        async move { storage.close().await }
    });
    sleep(MS).await;
    assert_eq!(faults.calls(Op::Close), 0);
    faults.release();
    closing.await.unwrap().unwrap();
    assert_eq!(faults.calls(Op::Close), 1);
}

/// Case 235: without a runtime there is no deadline, and all else works; dropped outside of one, nothing happens.
#[test]
fn it_works_outside_of_a_runtime_and_in_several() {
    let (_, storage, faults) = guarded(Guard::builder());
    let block_on = |future: BoxFuture<'_, Result<()>>| {
        let mut future = future;
        match std::future::Future::poll(future.as_mut(), &mut std::task::Context::from_waker(std::task::Waker::noop()))
        {
            std::task::Poll::Ready(result) => result.unwrap(),
            std::task::Poll::Pending => panic!("memory answers at once"),
        }
    };
    block_on(Box::pin(storage.write(&key("a"), entry("a"))));
    block_on(Box::pin(async { storage.keys().try_collect::<Vec<_>>().await.map(drop) }));
    for _ in 0..2 {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        assert_eq!(runtime.block_on(storage.read(&key("a"))).unwrap(), Some(entry("a")));
        // The runtime goes while a call is under way.
        runtime.block_on(async {
            faults.hang();
            let storage = storage.clone();
            tokio::spawn(async move { storage.read(&key("a")).await });
            faults.until_hanging(1).await;
        });
        drop(runtime);
        assert_eq!(faults.hanging(), 0);
        faults.heal();
    }
    assert_eq!(Runtime::new().unwrap().block_on(storage.read(&key("a"))).unwrap(), Some(entry("a")));
    assert_eq!(storage.stats().guard, GuardStats::new());
    drop(storage);
}

/// A caller in one runtime whose call runs in another that ends.
#[test]
fn a_runtime_that_shuts_down_is_an_error() {
    let (_, storage, faults) = guarded(Guard::builder());
    let other = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    faults.hang();
    let mut call: BoxFuture<'_, _> = Box::pin(async { storage.read(&key("a")).await });
    {
        let _entered = other.enter();
        let polled = call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(polled.is_pending());
    }
    other.shutdown_background();
    let here = Runtime::new().unwrap();
    let result = here.block_on(async { tokio::time::timeout(Duration::from_secs(60), call).await });
    assert_eq!(result.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}

/// A storage that panics when told to, before or after its first poll.
#[derive(Clone, Default)]
struct Panicking {
    at_once: Arc<AtomicBool>,
    later: Arc<AtomicBool>,
    calm: MemoryStorage,
}

impl Panicking {
    async fn maybe(&self) {
        assert!(!self.at_once.load(Ordering::SeqCst), "at once");
        if self.later.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
            panic!("later");
        }
    }
}

impl fmt::Debug for Panicking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Panicking")
    }
}

#[async_trait]
impl Storage for Panicking {
    fn info(&self) -> StorageInfo {
        self.calm.info()
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.maybe().await;
        self.calm.read(key).await
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        self.maybe().await;
        self.calm.write(key, entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        self.maybe().await;
        self.calm.delete(key).await
    }

    async fn clear(&self) -> Result<()> {
        self.maybe().await;
        self.calm.clear().await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        let panics = stream::once(async {
            self.maybe().await;
            Err(hyper_client_cache_core::Error::new(ErrorKind::Storage, ""))
        });
        panics.chain(self.calm.keys()).skip(1).boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        self.maybe().await;
        self.calm.delete_expired(now).await
    }

    async fn close(&self) -> Result<()> {
        self.maybe().await;
        self.calm.close().await
    }
}

/// Case 236: an error of that call, no permit lost, and the order of the key goes on.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_storage_fails_only_its_call() {
    for detach in [true, false] {
        for later in [false, true] {
            let inner = Panicking::default();
            let guard = Guard::builder().in_flight(1).writes_in_flight(1).detach(detach).build().unwrap();
            let storage = guard.storage(inner.clone());
            let a = key("a");
            if later { &inner.later } else { &inner.at_once }.store(true, Ordering::SeqCst);
            for _ in 0..3 {
                assert_eq!(storage.read(&a).await.unwrap_err().kind(), ErrorKind::Storage);
                assert_eq!(storage.write(&a, entry("a")).await.unwrap_err().kind(), ErrorKind::Storage);
                assert_eq!(storage.delete(&a).await.unwrap_err().kind(), ErrorKind::Storage);
            }
            assert_eq!(guard.stats().failed, 9);
            if detach {
                // No listing that looks complete.
                assert!(storage.keys().try_next().await.is_err());
            }
            inner.later.store(false, Ordering::SeqCst);
            inner.at_once.store(false, Ordering::SeqCst);
            storage.write(&a, entry("a")).await.unwrap();
            assert_eq!(storage.read(&a).await.unwrap(), Some(entry("a")));
        }
    }
}

/// Answers each call at its third poll.
#[derive(Clone, Debug)]
struct Slowly(MemoryStorage);

impl Slowly {
    async fn wait() {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl Storage for Slowly {
    fn info(&self) -> StorageInfo {
        self.0.info()
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        Self::wait().await;
        self.0.read(key).await
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        Self::wait().await;
        self.0.write(key, entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        Self::wait().await;
        self.0.delete(key).await
    }

    async fn clear(&self) -> Result<()> {
        Self::wait().await;
        self.0.clear().await
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        self.0.keys().then(async |key| (Self::wait().await, key).1).boxed()
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        Self::wait().await;
        self.0.delete_expired(now).await
    }

    async fn close(&self) -> Result<()> {
        Self::wait().await;
        self.0.close().await
    }
}

/// Cases 175, 176 and 190: no permit is lost, nothing is stuck, the next call succeeds.
#[tokio::test(start_paused = true)]
async fn each_call_may_be_dropped_after_any_number_of_polls() {
    for detach in [true, false] {
        for tiered in [false, true] {
            let builder = Guard::builder().in_flight(1).writes_in_flight(1).queue_entries(1).detach(detach);
            let guard = builder.build().unwrap();
            let behind = guard.storage(Slowly(MemoryStorage::default()));
            let storage: Arc<dyn Storage> =
                if tiered { Arc::new(TieredStorage::new(MemoryStorage::default(), behind)) } else { Arc::new(behind) };
            let (a, b) = (key("a"), key("b"));
            for op in 0..14 {
                for polls in 0.. {
                    storage.write(&a, entry("a")).await.unwrap();
                    let s = &storage;
                    let mut call: BoxFuture<'_, Result<()>> = match op {
                        0 => Box::pin(async { s.read(&a).await.map(drop) }),
                        1 => Box::pin(s.write(&a, entry("b"))),
                        2 => Box::pin(async { s.delete(&a).await.map(drop) }),
                        3 => Box::pin(s.clear()),
                        4 => Box::pin(async { s.keys().try_for_each(async |_| Ok(())).await }),
                        5 => Box::pin(async { s.delete_expired(SystemTime::UNIX_EPOCH).await.map(drop) }),
                        6 => Box::pin(async { s.contains(&a).await.map(drop) }),
                        7 => Box::pin(async { s.read_many(&[a, b]).await.map(drop) }),
                        8 => Box::pin(s.write_many(vec![(a, entry("c")), (b, entry("d"))])),
                        9 => Box::pin(async { s.delete_many(&[a, b]).await.map(drop) }),
                        10 => Box::pin(async { s.refresh(&a, entry("a")).await.map(drop) }),
                        11 => Box::pin(async { s.entries().try_for_each(async |_| Ok(())).await }),
                        12 => Box::pin(async { s.size().await.map(drop) }),
                        _ => Box::pin(async { s.bytes().await.map(drop) }),
                    };
                    let done = poll_times(call.as_mut(), polls).await;
                    drop(call);
                    // Room and order are free again.
                    let seen = s.read(&a).await.unwrap();
                    assert!(seen.is_none_or(|seen| [entry("a"), entry("b"), entry("c")].contains(&seen)));
                    s.write(&a, entry("next")).await.unwrap();
                    assert_eq!(s.read(&a).await.unwrap(), Some(entry("next")), "op {op} after {polls}");
                    if let Some(result) = done {
                        result.unwrap();
                        break;
                    }
                }
            }
            assert_eq!(guard.stats(), GuardStats::new());
            sleep(MS).await;
            assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0, "a task is left");
        }
    }
}

/// Case 244, and rule S14: one figure for each fault, and no secret in what is shown.
#[tokio::test(start_paused = true)]
async fn each_fault_moves_one_figure() {
    let (_, storage, faults) = guarded(Guard::builder().in_flight(1).writes_in_flight(1).queue_entries(0).failures(3));
    let a = key("a");
    let stats = || {
        let GuardStats { timed_out, failed, refused, overloaded, dropped, opened, .. } = storage.stats().guard;
        [timed_out, failed, refused, overloaded, dropped, opened]
    };
    faults.fail_nth(1);
    storage.read(&a).await.unwrap_err();
    assert_eq!(stats(), [0, 1, 0, 0, 0, 0]);
    faults.hang();
    let (_, _) = tokio::join!(storage.read(&a), storage.read(&a));
    assert_eq!(stats(), [1, 1, 0, 1, 0, 0]);
    let (_, _) = tokio::join!(storage.write(&a, entry("a")), storage.write(&a, entry("a")));
    assert_eq!(stats(), [2, 1, 0, 1, 1, 0]);
    storage.read(&a).await.unwrap_err();
    assert_eq!(stats(), [3, 1, 0, 1, 1, 1]);
    storage.read(&a).await.unwrap_err();
    assert_eq!(stats(), [3, 1, 1, 1, 1, 1]);
}
