//! The end of a reader's time, which comes whether or not anybody polls it.
//!
//! No task waits for it: what the runtime's timer wakes is the body itself.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};

use tokio::task::{coop::Unconstrained, unconstrained};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Shared;

/// A timer that [leaves](Shared::leave) a body, unless it is dropped before.
pub(super) struct Leaves(#[allow(dead_code)] Pin<Box<Unconstrained<Sleep>>>); // held for its `Drop`

struct Leave {
    shared: Weak<Shared>,
    reader: u64,
    deadline: Instant,
}

impl Leaves {
    /// `None` where the time is over already.
    pub(super) fn at(deadline: Instant, shared: &Arc<Shared>, reader: u64) -> Option<Self> {
        // Unconstrained, because a timer that is refused its turn says so by waking and is not set.
        let mut timer = Box::pin(unconstrained(sleep_until(deadline)));
        let waker = Waker::from(Arc::new(Leave { shared: Arc::downgrade(shared), reader, deadline }));
        if timer.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            shared.leave(reader, false);
            return None;
        }
        Some(Self(timer))
    }
}

impl Wake for Leave {
    fn wake(self: Arc<Self>) {
        // A runtime that ends wakes all its timers, whatever the time.
        if Instant::now() >= self.deadline
            && let Some(shared) = self.shared.upgrade()
        {
            // Wakes the reader too, which has no other timer. Whoever registers later sees that the time is over.
            shared.leave(self.reader, false);
        }
    }
}
