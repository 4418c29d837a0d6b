//! A complete body about which a filter of the user's decides: whether it is stored, and when its readers see its end.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::future::BoxFuture;

use super::{Keep, Shared};
use crate::layer::deposit::Deposit;
use crate::layer::flight::Landing;
use crate::policy::filter::{Decision, Panicked};

/// A complete body whose filter has not decided yet.
pub(super) struct Deciding {
    pub(super) deposit: Box<Deposit>,
    pub(super) body: Bytes,
    pub(super) landing: Option<Landing>,
    pub(super) said: Option<BoxFuture<'static, Result<bool, Panicked>>>,
}

impl Deciding {
    /// Asks the filter, then stores the body or not, then lets the readers see its end.
    pub(super) fn poll(mut self: Box<Self>, shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
        let said = match self.said.take() {
            Some(said) => Decision::Later(said),
            None => self.deposit.decide(Some(&self.body)),
        };
        let said = match said {
            Decision::Now(said) => said,
            Decision::Later(mut said) => match said.as_mut().poll(cx) {
                Poll::Ready(said) => said,
                Poll::Pending => {
                    self.said = Some(said);
                    shared.lock().keep = Keep::Deciding(Some(self));
                    return Poll::Pending;
                }
            },
        };
        self.carry_out(said);
        let mut core = shared.lock();
        core.keep = Keep::Nothing;
        core.outcome = Some(Ok(()));
        Poll::Ready(())
    }

    /// Goes on without readers: they have all of the body, and did not wait to be told that it ends.
    pub(super) fn finish(mut self: Box<Self>) {
        let (Some(said), Ok(runtime)) = (self.said.take(), tokio::runtime::Handle::try_current()) else { return };
        let busy = self.deposit.ledger.busy();
        runtime.spawn(async move {
            let said = said.await;
            self.carry_out(said);
            drop(busy);
        });
    }

    fn carry_out(self: Box<Self>, said: Result<bool, Panicked>) {
        let Self { deposit, body, landing, .. } = *self;
        if deposit.is_allowed(said) {
            deposit.inline(body);
        }
        // Only now: who comes next finds the record.
        drop(landing);
    }
}
