//! What the log says of a breaker: once, and not again for a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_client_cache_core::storage::{Guard, Storage};
use tokio::time::advance;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::guarded;
use crate::support::{is_alone, key};

/// Counts what a guard warns of.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().contains("guarded")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Cases 211 and 224: one warning a minute, however often the store comes and goes.
#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_is_warned_of_once_a_minute() {
    if !is_alone("guard::log::a_breaker_that_opens_is_warned_of_once_a_minute") {
        return;
    }
    let warnings = Arc::<AtomicUsize>::default();
    let _default = tracing::subscriber::set_default(Warnings(warnings.clone()));
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
        assert_eq!(warnings.load(Ordering::SeqCst), expected, "after {round}");
    }
}
