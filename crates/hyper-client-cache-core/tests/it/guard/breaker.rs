//! When the store is asked, and when it is left alone.

use std::time::Duration;

use hyper_client_cache_core::storage::{BreakerState, Guard, Storage};
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
