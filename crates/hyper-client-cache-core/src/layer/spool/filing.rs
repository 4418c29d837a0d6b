//! The task that files a body: its parts side by side, its head when all of them are there.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::{MAX_IN_FLIGHT, Message, State};
use crate::cache::ledger::Busy;
use crate::cache::{BodyPlace, PARTS_AT_ONCE, parts};
use crate::layer::deposit::Deposit;
use crate::layer::stream::Shared;
use crate::policy::filter::Decision;

/// Writes what a [`Spool`](super::Spool) hands over.
pub(super) struct Filing {
    state: Arc<State>,
    messages: mpsc::UnboundedReceiver<Message>,
    deposit: Box<Deposit>,
    shared: Arc<Shared>,
    // Parts that may be in the store: a write that failed or was given up may have taken effect.
    begun: u32,
}

/// How the writing of parts has ended: where the body is now, if all of it is stored, and what keeps a `flush` waiting.
type End = (Option<BodyPlace>, Option<Busy>);

impl Filing {
    pub(super) fn new(
        state: Arc<State>,
        messages: mpsc::UnboundedReceiver<Message>,
        deposit: Box<Deposit>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { state, messages, deposit, shared, begun: 0 }
    }

    pub(super) async fn run(mut self) {
        let (finished, busy) = self.write_parts().await;
        let Self { state, deposit, shared, messages, begun } = self;
        // A filter cannot see a body that is not in memory as a whole.
        let finished = match finished {
            Some(place) => {
                let said = match deposit.decide(None) {
                    Decision::Now(said) => said,
                    Decision::Later(said) => said.await,
                };
                Some(place).filter(|_| deposit.is_allowed(said))
            }
            None => None,
        };
        let is_stored = finished.is_some_and(|place| (*deposit).parts(place));
        // Only now: whoever comes next finds the record.
        state.land();
        drop(shared);
        state.waiting().clear();
        if !is_stored {
            // Before the queue is gone, where there may be one already: a `flush` waits until the parts are removed.
            let _busy = state.ledger.busy();
            drop((busy, messages));
            remove_parts(&state, begun).await;
        }
    }

    /// Writes parts up to the end of the body.
    ///
    /// Several at a time, since a store far away takes as long for each however short it is, and one that groups what is
    /// queued has something to group.
    async fn write_parts(&mut self) -> End {
        let retain_until = self.deposit.parts_retain_until();
        let state = Arc::clone(&self.state);
        let mut abandoned = pin!(state.abandoned.notified());
        let mut writes = FuturesUnordered::<BoxFuture<'static, (u32, bool)>>::new();
        let mut end = None;
        loop {
            if writes.is_empty()
                && let Some(end) = end.take()
            {
                return end;
            }
            self.state.turns.fetch_add(1, Ordering::AcqRel);
            tokio::select! {
                biased;
                () = &mut abandoned => return (None, None),
                Some((number, stored)) = writes.next() => {
                    if !stored {
                        self.fail();
                        return (None, end.and_then(|(_, busy): End| busy));
                    }
                    self.state.note_written(number);
                    self.shared.wakers().wake_all();
                }
                message = self.messages.recv(), if end.is_none() && writes.len() < MAX_IN_FLIGHT => match message {
                    Some(Message::Part(number, bytes)) => {
                        self.begun = number.saturating_add(1);
                        let state = Arc::clone(&self.state);
                        writes.push(Box::pin(async move { (number, write(&state, number, bytes, retain_until).await) }));
                    }
                    Some(Message::Finish { len, checksum, count, busy }) => {
                        let place = BodyPlace::Parts {
                            id: self.state.id.clone(),
                            count,
                            part_len: u32::try_from(self.state.part_len).unwrap_or(u32::MAX),
                            len,
                            checksum,
                            retain_until,
                        };
                        end = Some((Some(place), Some(busy)));
                    }
                    Some(Message::Abandoned(busy)) => return (None, Some(busy)),
                    None => return (None, None),
                },
            }
        }
    }

    /// The readers go on without the store.
    fn fail(&self) {
        self.deposit.ledger.counters.store_failed.add();
        self.state.failed.store(true, Ordering::Release);
        self.shared.wakers().wake_all();
    }
}

async fn write(state: &State, number: u32, bytes: Bytes, retain_until: Option<SystemTime>) -> bool {
    let (Some(bodies), Some(key)) = (state.ledger.cache().bodies(), parts::key(&state.owner, &state.id, number)) else {
        return false;
    };
    match bodies.write(&key, parts::entry(&key, bytes, retain_until)).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%key, %error, "a part is not stored");
            false
        }
    }
}

/// Removes what was written of a body that will have no head.
async fn remove_parts(state: &State, begun: u32) {
    let Some(bodies) = state.ledger.cache().bodies() else { return };
    let mut keys = (0..begun).filter_map(|number| parts::key(&state.owner, &state.id, number));
    loop {
        let next: Vec<_> = keys.by_ref().take(PARTS_AT_ONCE).collect();
        if next.is_empty() {
            return;
        }
        if let Err(error) = bodies.delete_many(&next).await {
            // They are orphans now, and collected by `delete_expired`.
            tracing::debug!(%error, "parts of an incomplete body are left to be collected");
            return;
        }
    }
}
