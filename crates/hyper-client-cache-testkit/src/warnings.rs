//! Counting what is warned of, where a test is about that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A subscriber of `tracing` that counts warnings of one target. Clones share the count.
///
/// `tracing` remembers for each event whether anybody listens: a test that counts runs in a process of its own.
///
/// ```
/// use hyper_client_cache_testkit::Warnings;
///
/// let warnings = Warnings::of("my_backend");
/// let _listening = tracing::subscriber::set_default(warnings.clone());
/// tracing::warn!(target: "my_backend::engine", "the disk is full");
/// tracing::warn!(target: "another", "not counted");
/// assert_eq!(warnings.count(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Warnings {
    target: &'static str,
    count: Arc<AtomicUsize>,
}

impl Warnings {
    /// Of the modules whose names begin with `target`.
    #[must_use]
    pub fn of(target: &'static str) -> Self {
        Self { target, count: Arc::default() }
    }

    /// How many there were so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with(self.target)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
