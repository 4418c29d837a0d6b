//! Keeps the order of what is done to a key, where a call may run on after its caller has stopped waiting.
//!
//! Without it, a write that hangs for a while and lands late would bring back what was deleted meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::storage::CacheKey;

#[derive(Debug, Default)]
pub(super) struct Order(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    number: u64,
    // The newest turn of each key on which somebody is at work.
    last: HashMap<CacheKey, (u64, watch::Receiver<()>)>,
}

/// A place in the order of one or more keys; the next one's turn comes when it is dropped.
pub(super) struct Turn {
    order: Arc<Order>,
    number: u64,
    keys: Vec<CacheKey>,
    before: Vec<watch::Receiver<()>>,
    _ends: watch::Sender<()>,
}

/// Which keys a call changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Changes<'a> {
    Nothing,
    Keys(&'a [CacheKey]),
    /// Whatever was begun on any key comes first.
    All,
}

impl Order {
    pub(super) fn enter(self: &Arc<Self>, changes: Changes<'_>) -> Option<Turn> {
        let (keys, all) = match changes {
            Changes::Nothing | Changes::Keys([]) => return None,
            Changes::Keys(keys) => (keys, false),
            Changes::All => ([].as_slice(), true),
        };
        let (sender, receiver) = watch::channel(());
        let mut queue = self.lock();
        queue.number = queue.number.wrapping_add(1);
        let number = queue.number;
        let mut before = Vec::new();
        if all {
            before.extend(queue.last.values().map(|(_, ends)| ends.clone()));
        }
        for key in keys {
            match queue.last.insert(*key, (number, receiver.clone())) {
                // A key that is named twice does not wait for itself.
                Some((earlier, ends)) if earlier != number => before.push(ends),
                _ => {}
            }
        }
        drop(queue);
        Some(Turn { order: self.clone(), number, keys: keys.to_vec(), before, _ends: sender })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Returns when all that came before has ended.
    pub(super) async fn comes(&mut self) {
        for mut ends in self.before.drain(..) {
            while ends.changed().await.is_ok() {}
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.order.lock();
        for key in &self.keys {
            if queue.last.get(key).is_some_and(|(number, _)| *number == self.number) {
                queue.last.remove(key);
            }
        }
    }
}
