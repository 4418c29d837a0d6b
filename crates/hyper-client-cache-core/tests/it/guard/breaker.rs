//! When the store is asked, and when it is left alone.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use hyper_client_cache_core::storage::{
    BreakerState, CacheKey, Entry, Guard, GuardStats, MemoryStorage, Storage, StorageInfo,
};
use hyper_client_cache_core::{Error, ErrorKind};
use hyper_client_cache_testkit::Op;
use tokio::time::{Instant, advance};

use super::guarded;
use crate::support::{entry, key};

const MS: Duration = Duration::from_millis(1);

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Case 205: after five faults in a row each call fails at once.
#[tokio::test(start_paused = true)]
async fn it_opens_after_repeated_faults() {
    let (guard, storage, faults) = guarded(Guard::builder());
    faults.hang();
    for _ in 0..5 {
        assert_eq!(guard.state(), BreakerState::Closed);
        assert_eq!(kind(storage.read(&key("a")).await), Some(ErrorKind::Unavailable));
    }
    assert_eq!(guard.state(), BreakerState::Open);
    let (began, calls) = (Instant::now(), faults.total_calls());
    for _ in 0..1000 {
        assert_eq!(kind(storage.read(&key("a")).await), Some(ErrorKind::Unavailable));
        assert_eq!(kind(storage.write(&key("a"), entry("a")).await), Some(ErrorKind::Unavailable));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(faults.total_calls(), calls, "a refused call reached the store");
    let stats = guard.stats();
    assert_eq!((stats.timed_out, stats.refused, stats.opened), (5, 2000, 1));
}

/// Case 207: probed by one call at a time, that no caller waits for, and closed by the first that succeeds.
#[tokio::test(start_paused = true)]
async fn it_closes_by_itself_within_five_seconds() {
    let (guard, storage, faults) = guarded(Guard::builder());
    storage.write(&key("a"), entry("a")).await.unwrap();
    faults.hang();
    let began = Instant::now();
    // A minute of requests while the server hangs.
    while began.elapsed() < Duration::from_secs(60) {
        let (asked, was_closed) = (Instant::now(), guard.state() == BreakerState::Closed);
        assert!(storage.read(&key("a")).await.is_err());
        assert!(was_closed || asked.elapsed() == Duration::ZERO, "a request waited for a probe");
        advance(10 * MS).await;
    }
    let probes = faults.calls(Op::Contains);
    assert!((25..60).contains(&probes), "{probes} probes in a minute");
    faults.heal();
    let back = Instant::now();
    while storage.read(&key("a")).await.is_err() {
        advance(10 * MS).await;
    }
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    assert_eq!(guard.state(), BreakerState::Closed);
    assert_eq!(guard.stats().opened, 1);
}

/// Case 211: a server that is full still answers.
#[tokio::test(start_paused = true)]
async fn faults_of_writes_stop_only_writes() {
    let (guard, storage, faults) = guarded(Guard::builder());
    let (a, b) = (key("a"), key("b"));
    storage.write(&a, entry("a")).await.unwrap();
    faults.refuse_writes();
    for _ in 0..5 {
        assert_eq!(kind(storage.write(&b, entry("b")).await), Some(ErrorKind::Storage));
    }
    assert_eq!((guard.state(), guard.write_state()), (BreakerState::Closed, BreakerState::Open));
    let writes = faults.calls(Op::Write);
    assert_eq!(kind(storage.write(&b, entry("b")).await), Some(ErrorKind::Unavailable));
    assert_eq!(kind(storage.refresh(&a, entry("b")).await), Some(ErrorKind::Unavailable));
    assert_eq!(faults.calls(Op::Write), writes);
    assert_eq!(storage.read(&a).await.unwrap(), Some(entry("a")));
    assert!(storage.delete(&a).await.unwrap());
    // One write is the probe, and the others wait for what it says.
    advance(251 * MS).await;
    faults.heal();
    faults.hang_on(Op::Write);
    let probe = tokio::spawn({
        let storage = storage.clone();
        async move { storage.write(&key("b"), entry("b")).await }
    });
    faults.until_hanging(1).await;
    assert_eq!(guard.write_state(), BreakerState::HalfOpen);
    assert_eq!(kind(storage.write(&b, entry("c")).await), Some(ErrorKind::Unavailable));
    faults.heal();
    probe.await.unwrap().unwrap();
    assert_eq!(guard.write_state(), BreakerState::Closed);
    storage.write(&b, entry("c")).await.unwrap();
}

/// A probe whose caller goes away lets another begin.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_is_not_waited_for() {
    for detach in [true, false] {
        let (guard, storage, faults) = guarded(Guard::builder().detach(detach).failures(1));
        faults.refuse_writes();
        storage.write(&key("a"), entry("a")).await.unwrap_err();
        advance(251 * MS).await;
        faults.heal();
        faults.hang_on(Op::Write);
        let probe = storage.clone();
        let task = tokio::spawn(async move { probe.write(&key("a"), entry("a")).await });
        faults.until_hanging(1).await;
        task.abort();
        let _ = task.await;
        // Where it runs on, it is late by then, and a fault.
        advance(2000 * MS).await;
        tokio::task::yield_now().await;
        assert_eq!(guard.write_state(), BreakerState::Open, "detached: {detach}");
        advance(2000 * MS).await;
        faults.heal();
        storage.write(&key("a"), entry("a")).await.unwrap();
        assert_eq!(guard.write_state(), BreakerState::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_between_forgets_what_failed_before() {
    let (guard, storage, faults) = guarded(Guard::builder());
    for _ in 0..10 {
        for _ in 0..4 {
            faults.fail_nth(1);
            assert_eq!(kind(storage.read(&key("a")).await), Some(ErrorKind::Storage));
        }
        storage.read(&key("a")).await.unwrap();
    }
    assert_eq!(guard.state(), BreakerState::Closed);
    assert_eq!((guard.stats().failed, guard.stats().opened), (40, 0));
}

/// What is said of one entry, or for good, is no reason to ask no more.
#[tokio::test(start_paused = true)]
async fn errors_that_are_not_transient_open_nothing() {
    let guard = Guard::builder().failures(1).build().unwrap();
    let limited = MemoryStorage::builder().max_entry_len(10).build().unwrap();
    let storage = guard.storage(limited.clone());
    assert_eq!(kind(storage.write(&key("a"), entry([b'x'; 100])).await), Some(ErrorKind::TooLarge));
    limited.close().await.unwrap();
    assert_eq!(kind(storage.read(&key("a")).await), Some(ErrorKind::Closed));
    assert_eq!((guard.state(), guard.write_state()), (BreakerState::Closed, BreakerState::Closed));
    assert_eq!(guard.stats(), GuardStats::new());
}

/// Answers each call with an error that is the same at the next try: credentials that are refused, a missing table.
#[derive(Clone, Debug)]
struct Refusing;

impl Refusing {
    fn no<T>() -> Result<T, Error> {
        Err(Error::new(ErrorKind::Config, "the credentials are refused"))
    }
}

#[async_trait]
impl Storage for Refusing {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("refusing")
    }

    async fn read(&self, _: &CacheKey) -> Result<Option<Entry>, Error> {
        Self::no()
    }

    async fn write(&self, _: &CacheKey, _: Entry) -> Result<(), Error> {
        Self::no()
    }

    async fn delete(&self, _: &CacheKey) -> Result<bool, Error> {
        Self::no()
    }

    async fn clear(&self) -> Result<(), Error> {
        Self::no()
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey, Error>> {
        futures_util::stream::once(async { Self::no() }).boxed()
    }

    async fn delete_expired(&self, _: SystemTime) -> Result<u64, Error> {
        Self::no()
    }

    async fn close(&self) -> Result<(), Error> {
        Self::no()
    }
}

/// They open nothing, and are counted.
#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_for_good_is_seen_in_the_figures() {
    let guard = Guard::builder().failures(1).build().unwrap();
    let storage = guard.storage(Refusing);
    assert_eq!(kind(storage.read(&key("a")).await), Some(ErrorKind::Config));
    assert_eq!(kind(storage.write(&key("a"), entry("a")).await), Some(ErrorKind::Config));
    assert_eq!(kind(storage.delete(&key("a")).await), Some(ErrorKind::Config));
    assert_eq!(kind(storage.clear().await), Some(ErrorKind::Config));
    assert_eq!((guard.stats().failed, guard.stats().opened), (4, 0));
}

/// All that one guard stands before is on one server.
#[tokio::test(start_paused = true)]
async fn storages_behind_one_guard_share_what_it_knows() {
    let (guard, one, faults) = guarded(Guard::builder());
    let other = guard.storage(MemoryStorage::default());
    faults.fail_all();
    for _ in 0..5 {
        one.read(&key("a")).await.unwrap_err();
    }
    assert_eq!(kind(other.read(&key("a")).await), Some(ErrorKind::Unavailable));
    assert_eq!((one.stats().guard.failed, one.stats().guard.refused), (5, 0));
    assert_eq!((other.stats().guard.failed, other.stats().guard.refused), (0, 1));
    assert_eq!(guard.stats(), one.stats().guard.plus(other.stats().guard));
}

/// Case 245: what is asked for is checked.
#[test]
fn impossible_figures_are_refused_by_name() {
    let cases = [
        (Guard::builder().deadline(Duration::ZERO), "deadline"),
        (Guard::builder().write_deadline(Duration::ZERO), "write_deadline"),
        (Guard::builder().probe_after(Duration::ZERO), "probe_after"),
        (Guard::builder().failures(0), "failures"),
        (Guard::builder().in_flight(0), "in_flight"),
        (Guard::builder().writes_in_flight(usize::MAX), "writes_in_flight"),
    ];
    for (builder, name) in cases {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
    // No deadline at all is one that never comes.
    Guard::builder().deadline(Duration::MAX).run_on(Duration::MAX).build().unwrap();
}
