//! Listings behind a guard: the deadline is that of one item, for nobody knows how many there are.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Gate;
use super::gate::unavailable;
use crate::error::Result;
use crate::storage::failed_stream;

/// What `list` yields of `inner`, item by item through `gate`. After an item that does not come in time, or an error,
/// the listing is over.
///
/// A listing takes no room, because its reader may take any time between two items.
pub(crate) fn guarded_stream<'a, S, T>(
    gate: &'a Gate,
    inner: &'a Arc<S>,
    list: impl FnOnce(&S) -> BoxStream<'_, Result<T>> + Send + 'static,
) -> BoxStream<'a, Result<T>>
where
    S: Send + Sync + 'static,
    T: Send + 'static,
{
    // Only when it is read, for that is when the store is asked.
    let listing = async move {
        if let Err(error) = gate.check() {
            return failed_stream(error);
        }
        match Handle::try_current() {
            Ok(runtime) if gate.detaches() => timed(gate, pumped(gate, inner.clone(), &runtime, list)),
            Ok(_) => timed(gate, list(inner)),
            Err(_) => list(inner),
        }
    };
    stream::once(listing).flatten().boxed()
}

fn timed<'a, T: Send + 'static>(gate: &'a Gate, items: BoxStream<'a, Result<T>>) -> BoxStream<'a, Result<T>> {
    let items = stream::unfold(Some(items), async move |items| {
        let mut items = items?;
        let next = timeout(gate.deadline(), items.next()).await;
        let item = gate.note(next.map_or(None, |next| Some(next.transpose())));
        match item.transpose()? {
            Ok(item) => Some((Ok(item), Some(items))),
            Err(error) => Some((Err(error), None)),
        }
    });
    items.boxed()
}

/// The items as they come from a task of their own, a little ahead of their reader, so that the step that is under way
/// is carried to its end where the reader stops.
fn pumped<'a, S, T>(
    gate: &Gate,
    inner: Arc<S>,
    runtime: &Handle,
    list: impl FnOnce(&S) -> BoxStream<'_, Result<T>> + Send + 'static,
) -> BoxStream<'a, Result<T>>
where
    S: Send + Sync + 'static,
    T: Send + 'static,
{
    let (items, received) = mpsc::channel(1);
    let desk = gate.desk().clone();
    runtime.spawn(async move {
        let mut listing = list(&inner);
        loop {
            let next = tokio::select! {
                biased;
                next = listing.next() => next,
                () = items.closed() => {
                    desk.run_on(listing.next()).await;
                    return;
                }
            };
            // The end is said aloud, so that it differs from that of this task.
            let is_last = next.is_none();
            if items.send(next).await.is_err() || is_last {
                return;
            }
        }
    });
    let items = stream::unfold(received, async move |mut received| match received.recv().await {
        Some(item) => item.map(|item| (item, received)),
        None => Some((Err(unavailable("the listing has ended before its end")), received)),
    });
    items.boxed()
}
