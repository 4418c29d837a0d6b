//! How much may be under way to a server at once, and how much may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::Settings;
use super::gate::{Call, Class, within};

/// The room of a guard.
#[derive(Debug)]
pub(super) struct Room {
    calls: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    queue: Queue,
    // For calls that run on after their deadline, so that what is lost takes no room from what is not.
    strays: Arc<Semaphore>,
}

/// There was no room until the deadline, or in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full;

/// Leave to be under way; none is needed for a call that concerns any number of entries.
pub(super) type Permit = Option<OwnedSemaphorePermit>;

impl Room {
    pub(super) fn new(settings: &Settings) -> Self {
        let all = settings.in_flight.saturating_add(settings.writes_in_flight);
        Self {
            calls: Arc::new(Semaphore::new(settings.in_flight)),
            writes: Arc::new(Semaphore::new(settings.writes_in_flight)),
            queue: Queue::default(),
            strays: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Room for a look-up that ends with its caller, if there is some at once.
    pub(super) fn look(&self) -> Option<SemaphorePermit<'_>> {
        self.calls.try_acquire().ok()
    }

    /// Room for a call. Where there is none, it is waited for until the call's deadline.
    pub(super) async fn enter(
        &self,
        call: Call<'_>,
        until: Option<Instant>,
        settings: &Settings,
    ) -> Result<Permit, Full> {
        let (room, queue) = match call.class {
            Class::Look | Class::Delete => (&self.calls, None),
            Class::Write => (&self.writes, Some(&self.queue)),
            Class::Bulk => return Ok(None),
        };
        if let Ok(permit) = room.clone().try_acquire_owned() {
            return Ok(Some(permit));
        }
        let _place = match queue {
            Some(queue) => Some(queue.enter(call.bytes, settings).ok_or(Full)?),
            None => None,
        };
        match within(until, Box::pin(room.clone().acquire_owned())).await {
            Some(Ok(permit)) => Ok(Some(permit)),
            // The semaphore is never closed.
            Some(Err(_)) | None => Err(Full),
        }
    }

    /// Gives room back that a call has which is past its deadline, unless too many such run on already.
    pub(super) fn stray(&self, permit: Permit) -> Permit {
        permit.map(|permit| self.strays.clone().try_acquire_owned().unwrap_or(permit))
    }
}

/// The writes that wait for room.
#[derive(Debug, Default)]
struct Queue {
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Queue {
    fn enter(&self, bytes: u64, settings: &Settings) -> Option<Place<'_>> {
        self.entries.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        // Leaves again when dropped.
        let place = Place { queue: self, bytes };
        let fits = self.entries.load(Ordering::Acquire) <= settings.queue_entries
            && self.bytes.load(Ordering::Acquire) <= settings.queue_bytes;
        fits.then_some(place)
    }
}

struct Place<'a> {
    queue: &'a Queue,
    bytes: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.entries.fetch_sub(1, Ordering::AcqRel);
        self.queue.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
