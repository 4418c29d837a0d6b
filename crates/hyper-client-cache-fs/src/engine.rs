//! What all handles on a cache share: directories, index, counters, threads; and the way from a call to a thread.
//!
//! A call takes one hop: whatever it does is done in one piece on one thread of the blocking pool ([`ops`](crate::ops)),
//! and goes on to its end there if its future is dropped.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use hyper_client_cache_core::storage::StorageStats;
use tokio::sync::watch;

use crate::config::{Durability, FsConfig};
use crate::error::{FsError, Result};
use crate::folder::{Folder, Tmp};
use crate::index::Index;
use crate::layout::{Id, Store};
use crate::pool::{Haste, Pool};
use crate::scan::{self, Progress, Seen};
use crate::sys::to_micros;
use crate::turns::{Turn, Turns};
use crate::uses::Uses;

/// The most bytes that head and body of one entry can have: 64 MiB. Larger bodies are kept in parts.
pub const MAX_ENTRY_LEN: u64 = 64 << 20;

/// One cache, as its handles see it.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    reads: Arc<Pool>,
    changes: Arc<Pool>,
    turns: Turns,
}

/// What threads share.
pub(crate) struct Shared {
    pub(crate) config: FsConfig,
    pub(crate) path: PathBuf,
    folder: RwLock<Arc<Folder>>,
    tmp: Mutex<Option<Arc<Tmp>>>,
    index: Mutex<Index>,
    /// Held by whoever makes room.
    pub(crate) evicting: Mutex<()>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) uses: Uses,
    /// Whether it is time to write down what was read.
    due: AtomicBool,
    saving: AtomicBool,
    last_stamp: AtomicU64,
    closed: AtomicBool,
    corrupt: [AtomicU64; 3],
    evicted: [AtomicU64; 3],
    pub(crate) visited: AtomicU64,
    warned: AtomicBool,
    // Removed with the last owner.
    temp: Option<tempfile::TempDir>,
}

impl Engine {
    pub(crate) async fn open(config: FsConfig) -> Result<Self> {
        let path = config.checked()?;
        let reads = Pool::new(config.threads, config.threads);
        // A store takes the processor's time rather than the disk's, which the next request wants.
        let at_once = match config.durability {
            Durability::Durable => config.threads,
            Durability::Fast => std::thread::available_parallelism().map_or(1, |count| count.get() / 2),
        };
        let changes = Pool::new(config.threads, at_once);
        let shared = changes.run(Haste::Some, move || Shared::open(config, path)).await??;
        Ok(Self { shared: Arc::new(shared), reads, changes, turns: Turns::new() })
    }

    /// What can be said without waiting for a disk, by `look`, and `None` where that is nothing.
    pub(crate) fn at_once<T>(&self, look: impl FnOnce(&Shared) -> Option<T>) -> Result<Option<T>> {
        self.shared.check_open()?;
        let found = look(&self.shared);
        self.save_if_due();
        Ok(found)
    }

    /// Runs what only reads on a thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared.check_open()?;
        let shared = Arc::clone(&self.shared);
        let result = self.reads.run(Haste::Some, move || work(&shared)).await?;
        self.save_if_due();
        result
    }

    /// Runs what changes these entries on a thread, after what was asked for before.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        ids: impl IntoIterator<Item = Id>,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared.check_open()?;
        self.change_in_turn(self.turns.take(ids).await, Haste::Some, work).await
    }

    /// As [`change`](Self::change), for what may wait behind others of its kind.
    pub(crate) async fn change_later<T: Send + 'static>(
        &self,
        id: Id,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared.check_open()?;
        self.change_in_turn(self.turns.take([id]).await, Haste::None, work).await
    }

    /// Runs what changes everything on a thread.
    pub(crate) async fn change_all<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared.check_open()?;
        self.change_in_turn(self.turns.take_all().await, Haste::Some, work).await
    }

    async fn change_in_turn<T: Send + 'static>(
        &self,
        turn: Turn,
        haste: Haste,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared.check_open()?;
        self.shared.check_writable()?;
        scan::start_if_due(&self.shared);
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let result = shared.note_outcome(work(&shared));
            drop(turn);
            result
        };
        self.changes.run(haste, work).await?
    }

    /// Waits until what lies in the directory has been looked at once.
    pub(crate) async fn loaded(&self) -> Result<()> {
        self.shared.check_open()?;
        scan::start_if_due(&self.shared);
        let mut progress = self.shared.progress.subscribe();
        let done = progress.wait_for(|progress| matches!(progress, Progress::Loaded | Progress::Closed)).await;
        match done.as_deref() {
            Ok(Progress::Closed) | Err(_) => Err(FsError::Closed),
            Ok(_) => Ok(()),
        }
    }

    pub(crate) async fn close(&self) -> Result<()> {
        let first = !self.shared.closed.swap(true, Ordering::AcqRel);
        self.shared.progress.send_replace(Progress::Closed);
        self.reads.until_idle().await;
        self.changes.until_idle().await;
        if first {
            let shared = Arc::clone(&self.shared);
            let tidy = move || {
                shared.save_uses();
                drop(shared.tmp().take());
            };
            self.changes.run(Haste::Some, tidy).await?;
        }
        Ok(())
    }

    /// Writes down what was read where it is time, without anybody waiting for it.
    fn save_if_due(&self) {
        if !self.shared.due.load(Ordering::Relaxed) || self.shared.saving.swap(true, Ordering::AcqRel) {
            return;
        }
        self.shared.due.store(false, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        let work = move || {
            shared.save_uses();
            shared.saving.store(false, Ordering::Release);
        };
        if self.changes.submit(Haste::None, work).is_err() {
            self.shared.saving.store(false, Ordering::Release);
        }
    }
}

impl Shared {
    fn open(config: FsConfig, mut path: PathBuf) -> Result<Self> {
        let temp = if config.use_temp {
            let temp = tempfile::Builder::new()
                .prefix("http-cache-")
                .tempdir()
                .map_err(FsError::io("a temporary folder cannot be made"))?;
            path = temp.path().join(path.file_name().unwrap_or(path.as_os_str()));
            Some(temp)
        } else {
            None
        };
        let folder = Folder::open(&path, !config.read_only)?;
        let shared = Self {
            path,
            folder: RwLock::new(folder),
            tmp: Mutex::default(),
            index: Mutex::default(),
            evicting: Mutex::default(),
            progress: watch::Sender::new(Progress::None),
            seen: Mutex::default(),
            uses: Uses::new(),
            due: AtomicBool::new(false),
            saving: AtomicBool::new(false),
            last_stamp: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            corrupt: Default::default(),
            evicted: Default::default(),
            visited: AtomicU64::new(0),
            warned: AtomicBool::new(false),
            temp,
            config,
        };
        if !shared.config.read_only {
            shared.folder().sweep();
            // Shows at once whether the directory can be written; where it cannot, what is there is still read.
            drop(shared.note_outcome(shared.writer(&shared.folder())));
        }
        Ok(shared)
    }

    pub(crate) fn folder(&self) -> Arc<Folder> {
        Arc::clone(&self.folder.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As [`folder`](Self::folder); `None` while somebody opens the directories anew.
    pub(crate) fn folder_at_once(&self) -> Option<Arc<Folder>> {
        self.folder.try_read().ok().map(|folder| Arc::clone(&folder))
    }

    /// Opens the directories anew where they are no longer what lies at the path, and makes them where they are gone.
    pub(crate) fn renew(&self, stale: &Arc<Folder>) -> Result<()> {
        let mut folder = self.folder.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&folder, stale) && !stale.is_current() {
            *folder = Folder::open(&self.path, !self.config.read_only)?;
            *self.index() = Index::default();
            self.seen().forget();
            scan::mark_stale(&self.progress);
        }
        drop(folder);
        // It may also be only the folder of what is being written that is gone.
        let mut tmp = self.tmp();
        if tmp.as_ref().is_some_and(|tmp| !tmp.is_current()) {
            *tmp = None;
        }
        Ok(())
    }

    /// The folder to write in, made when it is first needed.
    pub(crate) fn writer(&self, folder: &Folder) -> Result<Arc<Tmp>> {
        let mut tmp = self.tmp();
        if let Some(tmp) = &*tmp {
            return Ok(Arc::clone(tmp));
        }
        let made = Arc::new(Tmp::make(folder).map_err(FsError::io("the cache's directory cannot be written"))?);
        *tmp = Some(Arc::clone(&made));
        Ok(made)
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tmp(&self) -> MutexGuard<'_, Option<Arc<Tmp>>> {
        self.tmp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.config.clock.now()
    }

    /// The next place in the order of use: the time in microseconds where that is later than every place before, so
    /// that the order also holds between processes, and one more than the last where the clock stands still.
    pub(crate) fn stamp(&self) -> u64 {
        let now = to_micros(self.now());
        let next = |last: u64| now.max(last.saturating_add(1));
        let previous = self.last_stamp.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        previous.map_or(now, next)
    }

    /// The order goes on after a place that was found in a file.
    pub(crate) fn continue_after(&self, stamp: u64) {
        self.last_stamp.fetch_max(stamp, Ordering::Relaxed);
    }

    /// Notes that an entry was read.
    pub(crate) fn used(&self, id: Id) {
        // What has no bound is never evicted; parts go with their head.
        let counts = self.config.max_bytes.is_some() && !self.config.read_only && id.store() != Store::Bodies;
        if counts && self.uses.note(id, self.stamp()) {
            self.due.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed() { Err(FsError::Closed) } else { Ok(()) }
    }

    pub(crate) const fn check_writable(&self) -> Result<()> {
        if self.config.read_only { Err(FsError::ReadOnly) } else { Ok(()) }
    }

    pub(crate) const fn is_durable(&self) -> bool {
        matches!(self.config.durability, Durability::Durable)
    }

    pub(crate) fn stats(&self, store: Store) -> StorageStats {
        StorageStats::new(
            store.of(&self.corrupt).load(Ordering::Relaxed),
            store.of(&self.evicted).load(Ordering::Relaxed),
        )
    }

    pub(crate) fn count_corrupt(&self, store: Store) {
        store.of(&self.corrupt).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_evicted(&self, store: Store) {
        store.of(&self.evicted).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a file that was looked at because it may be dead.
    pub(crate) fn visit(&self) {
        self.visited.fetch_add(1, Ordering::Relaxed);
    }

    /// One warning when the disk begins to fail, not one for each write (cases 146, 147).
    fn note_outcome<T>(&self, result: Result<T>) -> Result<T> {
        match &result {
            Err(error @ (FsError::Io { .. } | FsError::Path { .. })) if !self.warned.swap(true, Ordering::Relaxed) => {
                let source = match error {
                    FsError::Io { source, .. } => source.to_string(),
                    _ => String::new(),
                };
                tracing::warn!(
                    directory = %self.path.display(), %error, source,
                    "the cache's directory cannot be written: what is there is read, and nothing is stored until it can"
                );
            }
            Ok(_) => self.warned.store(false, Ordering::Relaxed),
            Err(_) => {}
        }
        result
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_closed() || self.config.read_only || self.temp.is_some() {
            return;
        }
        // The last handle is gone without `close`: the order of use is written down without anybody waiting for it.
        let folder = self.folder();
        drop(self.uses.take_fresh());
        let unsaved = self.uses.take_unsaved();
        if !unsaved.is_empty() {
            drop(std::thread::Builder::new().name("http-cache-save".into()).spawn(move || {
                crate::ops::save_uses(&folder, &unsaved);
            }));
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("config", &self.shared.config).finish_non_exhaustive()
    }
}
