//! What the log says of a breaker: once, and not again for a minute.

use std::time::Duration;

use hyper_client_cache_core::storage::{Guard, Storage};
use hyper_client_cache_testkit::Warnings;
use tokio::time::advance;

use super::guarded;
use crate::support::{is_alone, key};

/// Cases 211 and 224: one warning a minute, however often the store comes and goes.
#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_is_warned_of_once_a_minute() {
    if !is_alone("guard::log::a_breaker_that_opens_is_warned_of_once_a_minute") {
        return;
    }
    let warnings = Warnings::of("hyper_client_cache_core::storage::guarded");
    let _default = tracing::subscriber::set_default(warnings.clone());
    let (guard, storage, faults) = guarded(Guard::builder().failures(1));
    let mut expected = 0;
    for round in 0..40_u64 {
        faults.fail_all();
        storage.read(&key("a")).await.unwrap_err();
        faults.heal();
        // Refused, but it sends the probe.
        advance(Duration::from_secs(5)).await;
        storage.read(&key("a")).await.unwrap_err();
        tokio::task::yield_now().await;
        storage.read(&key("a")).await.unwrap();
        assert_eq!(guard.stats().opened, round + 1);
        expected += usize::from(round % 12 == 0);
        assert_eq!(warnings.count(), expected, "after {round}");
    }
}
