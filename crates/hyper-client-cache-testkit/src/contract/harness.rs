//! What a backend tells the suite about itself.

use std::fmt;
use std::ops::Deref;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use hyper_client_cache_core::Error;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::frame::{PREFIX_LEN, VERSION};
use hyper_client_cache_core::storage::{CacheKey, Storage};

use crate::ManualClock;

/// How the suite opens and maltreats a storage.
///
/// Two methods are required. Each other one lets more tests run; a test whose method is left out is skipped.
/// A harness owns the place where its storages keep their entries (a temporary folder, a fresh namespace prefix on a
/// server), and removes it when it is dropped.
/// `docs/writing-a-backend.md` has an example in full.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Opens a storage over `namespace` in this harness's place, with [`clock`](Self::clock) as its clock.
    ///
    /// For a persistent storage, opening the same namespace again shows the same entries. A first tier in memory that
    /// would hide damage from the suite is left out or made to notice it.
    async fn open(&self, namespace: &str) -> Opened;

    /// The clock of every storage that this harness opens.
    fn clock(&self) -> ManualClock;

    /// Opens a storage that refuses entries of more than `max_entry_len` bytes; `None` where there is no such setting.
    ///
    /// Without it, S10 is tested against the limit in [`StorageInfo`](crate::core::storage::StorageInfo), if there is
    /// one.
    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        let _ = (namespace, max_entry_len);
        None
    }

    /// Damages what is stored under `key`, behind the back of every open storage; `false` where nothing was there to
    /// damage, or the storage has no bytes. [`Damage::apply`] and [`Damage::apply_split`] do it to the bytes.
    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        let _ = (namespace, key, damage);
        false
    }

    /// The secrets in the settings that [`open`](Self::open) uses: passwords, tokens. They must show up nowhere.
    fn canaries(&self) -> Vec<String> {
        Vec::new()
    }

    /// Errors that the backend gives when those secrets are in play: a refused login, an unreachable server.
    async fn failures(&self) -> Vec<Error> {
        Vec::new()
    }

    /// Whether a namespace may have this name. Asked for names with characters that a store may give a meaning.
    fn accepts(&self, namespace: &str) -> bool {
        let _ = namespace;
        true
    }

    /// How many entries deletions of expired ones have looked at so far, in all storages of this harness; `None` where
    /// that cannot be counted.
    fn entries_visited(&self) -> Option<u64> {
        None
    }

    /// How many keys "any number of keys" is. The default is more than SQLite takes as variables of one statement; a
    /// slow server may ask for fewer.
    fn many_keys(&self) -> usize {
        33_000
    }

    /// A command for a process that opens `namespace` in this harness's place and calls [`victim`](super::victim()) with
    /// the storage, to be killed while it writes; `None` where a second process cannot share the place.
    ///
    /// The usual one is the test binary itself, told to run one test of its own that looks for its orders in the
    /// environment: `docs/writing-a-backend.md` shows it.
    fn victim(&self, namespace: &str) -> Option<Command> {
        let _ = namespace;
        None
    }
}

/// How the suite opens a [`Cache`].
#[async_trait]
pub trait CacheHarness: Send + Sync + 'static {
    /// Opens an empty cache with [`clock`](Self::clock) as the clock of its storages.
    async fn open(&self) -> Arc<dyn Cache>;

    /// The clock of every cache that this harness opens.
    fn clock(&self) -> ManualClock;

    /// The options of a session over such a cache, when a test has set its own. Default: as they are; the sessions that
    /// are [broken on purpose](crate::broken::SessionFault) have others.
    #[cfg(feature = "session")]
    fn session(&self, session: crate::core::session::SessionBuilder) -> crate::core::session::SessionBuilder {
        session
    }
}

/// An open storage, and where it can be cloned, a way to have another handle on it. Dereferences to the storage.
#[derive(Clone)]
pub struct Opened {
    storage: Arc<dyn Storage>,
    handles: Option<Handles>,
}

type Handles = Arc<dyn Fn() -> Arc<dyn Storage> + Send + Sync>;

impl Opened {
    /// A storage whose clones are handles on the same thing, as rule S11 wants.
    pub fn new<S: Storage + Clone>(storage: S) -> Self {
        let first: Arc<dyn Storage> = Arc::new(storage.clone());
        Self { storage: first, handles: Some(Arc::new(move || Arc::new(storage.clone()))) }
    }

    /// A storage that cannot be cloned: the tests about clones are skipped.
    pub fn unique(storage: impl Storage) -> Self {
        Self { storage: Arc::new(storage), handles: None }
    }

    /// Another handle on the same storage, made by its `Clone`.
    #[must_use]
    pub fn handle(&self) -> Option<Arc<dyn Storage>> {
        self.handles.as_ref().map(|make| make())
    }

    /// The storage, to be moved into a task.
    #[must_use]
    pub fn share(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }
}

impl Deref for Opened {
    type Target = dyn Storage;

    fn deref(&self) -> &Self::Target {
        &*self.storage
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.storage.fmt(f)
    }
}

/// What a [`Harness`] is asked to do to the bytes of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Flips the lowest bit of the head's last byte.
    FlipHead,
    /// Flips the lowest bit of the body's last byte.
    FlipBody,
    /// Flips one bit of the byte at this offset; nothing to do where the entry is shorter.
    FlipAt(usize),
    /// Cuts the last byte off.
    Truncate,
    /// Puts bytes there that were never an entry.
    Garbage,
    /// Makes it an entry of the next format version.
    NewerVersion,
}

impl Damage {
    /// Does it to a value in the layout of [`frame::join`](crate::core::storage::frame::join); `false` where there is
    /// nothing to be done it to.
    #[must_use]
    pub fn apply(self, value: &mut Vec<u8>) -> bool {
        let head_len = value.get(4..8).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map_or(0, u32::from_be_bytes);
        let body_at = PREFIX_LEN.saturating_add(head_len as usize).min(value.len());
        let mut body = value.split_off(body_at);
        let done = self.apply_split(value, &mut body);
        value.append(&mut body);
        done
    }

    /// Does it to a value that is kept as [`frame::block`](crate::core::storage::frame::block) and body.
    #[must_use]
    pub fn apply_split(self, block: &mut Vec<u8>, body: &mut Vec<u8>) -> bool {
        match self {
            Self::FlipHead => flip(block.last_mut(), 0),
            Self::FlipBody => flip(body.last_mut(), 0),
            Self::FlipAt(at) => match at.checked_sub(block.len()) {
                None => flip(block.get_mut(at), at),
                Some(in_body) => flip(body.get_mut(in_body), at),
            },
            Self::Truncate => body.pop().or_else(|| block.pop()).is_some(),
            Self::Garbage => {
                *block = b"<html>not an entry</html>".to_vec();
                *body = vec![0xA5; 100];
                true
            }
            Self::NewerVersion => match block.get_mut(3) {
                Some(version) => {
                    *version = VERSION.saturating_add(1);
                    true
                }
                None => false,
            },
        }
    }
}

/// Flips one bit, another one at each offset.
fn flip(byte: Option<&mut u8>, at: usize) -> bool {
    let Some(byte) = byte else { return false };
    *byte ^= 1_u8.rotate_left(u32::try_from(at % 8).unwrap_or(0));
    true
}
