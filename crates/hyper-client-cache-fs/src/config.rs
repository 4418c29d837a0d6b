//! What can be set, and what it means: plain data, checked when the cache is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_client_cache_core::clock::{Clock, system_clock};

use crate::cache::FsCache;
use crate::engine::{Engine, MAX_ENTRY_LEN};
use crate::error::{FsError, Result};
use crate::format;
use crate::index;
use crate::layout::Store;
use crate::path;
use crate::storage::FsStorage;

/// The options of a [`FsCache`], from [`FsCache::builder`] to [`open`](Self::open).
///
/// ```
/// use hyper_client_cache_fs::{Durability, FsCache};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hyper_client_cache_core::Result<()> {
/// let config = FsCache::builder("demo").use_temp(true).max_bytes(50_000_000).durability(Durability::Durable);
/// let cache = config.open().await?;
/// # drop(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open` is called"]
pub struct FsConfig {
    pub(crate) location: FsLocation,
    pub(crate) use_temp: bool,
    pub(crate) durability: Durability,
    pub(crate) read_only: bool,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_entry_len: u64,
    pub(crate) threads: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

impl FsConfig {
    /// The default of [`max_bytes`](Self::max_bytes): 1 GiB.
    pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

    /// The default of [`threads`](Self::threads).
    pub const DEFAULT_THREADS: usize = 16;

    /// The options for a cache in the directory `location`, at their defaults.
    pub fn new(location: impl Into<FsLocation>) -> Self {
        Self {
            location: location.into(),
            use_temp: false,
            durability: Durability::Fast,
            read_only: false,
            max_bytes: Some(Self::DEFAULT_MAX_BYTES),
            max_entry_len: MAX_ENTRY_LEN,
            threads: Self::DEFAULT_THREADS,
            clock: system_clock(),
        }
    }

    /// Puts the cache into a private temporary folder, which is removed when the last handle is gone.
    ///
    /// Only the last name of the location counts then. Default: `false`.
    pub const fn use_temp(mut self, yes: bool) -> Self {
        self.use_temp = yes;
        self
    }

    /// What a write waits for before it is acknowledged. Default: [`Durability::Fast`].
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Opens the cache for reading only: a write is an error, and nothing in the directory changes. It must exist.
    /// Default: `false`.
    pub const fn read_only(mut self, yes: bool) -> Self {
        self.read_only = yes;
        self
    }

    /// The most bytes that the files may take, each counted in blocks of 4 KiB; `None`: no bound. Default: 1 GiB.
    ///
    /// What has expired goes first, then what was least recently used, together with the parts of its body.
    pub fn max_bytes(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.max_bytes = limit.into();
        self
    }

    /// The most bytes that head and body of one entry may have together, up to [`MAX_ENTRY_LEN`](crate::MAX_ENTRY_LEN),
    /// which is the default. Larger bodies are kept in parts, each an entry. A session needs at least
    /// 32 KiB.
    pub const fn max_entry_len(mut self, limit: u64) -> Self {
        self.max_entry_len = limit;
        self
    }

    /// How many threads of the runtime's blocking pool may read at the same time, and as many again may change
    /// something; what is beyond that waits in a queue, in order. Threads are used only while there is something to do.
    /// At least 1. Default: 16.
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// What tells the time: decides what has expired. Default: the system's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the cache: checks the options, makes the directories, refuses what others can change.
    ///
    /// Takes the same time whatever the cache holds. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](hyper_client_cache_core::ErrorKind::Config) where an option is impossible or the directory
    /// cannot be used: it cannot be made or opened, is a symbolic link, belongs to another user, or others may write to it.
    pub async fn open(self) -> hyper_client_cache_core::Result<FsCache> {
        Ok(FsCache::from_config(self).await?)
    }

    /// Opens the storage of responses by itself, for use without a cache.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_storage(self) -> hyper_client_cache_core::Result<FsStorage> {
        let engine = Engine::open(self).await?;
        Ok(FsStorage::new(Arc::new(engine), Store::Responses))
    }

    /// The path, after a check of the options.
    pub(crate) fn checked(&self) -> Result<PathBuf> {
        let setting = |text: &str| Err(FsError::Setting(text.to_owned()));
        if self.max_bytes.is_some_and(|limit| limit < index::BLOCK) {
            return Err(FsError::Setting(format!(
                "`max_bytes` is less than a block ({} bytes): give more, or `None` for no bound",
                index::BLOCK
            )));
        }
        if self.max_entry_len == 0 || self.max_entry_len > MAX_ENTRY_LEN {
            return Err(FsError::Setting(format!(
                "`max_entry_len` is {}: give a number of bytes from 1 to {MAX_ENTRY_LEN}",
                self.max_entry_len
            )));
        }
        if self.threads == 0 {
            return setting("`threads` is 0: at least one thread must read");
        }
        if self.use_temp && self.read_only {
            return setting("`use_temp` with `read_only` would be an empty cache for ever");
        }
        match &self.location.0 {
            Some(path) => path::resolve(path),
            None => path::default_path(),
        }
    }

    /// The most bytes of one entry: the setting, or what fits into the bound.
    pub(crate) fn entry_limit(&self) -> u64 {
        let fits = self.max_bytes.map_or(u64::MAX, |limit| {
            let blocks = (limit / index::BLOCK).saturating_mul(index::BLOCK);
            blocks.saturating_sub(format::MAX_OVERHEAD)
        });
        self.max_entry_len.min(fits)
    }
}

/// What a write waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// For nothing. What was acknowledged survives the death of the process; a crash of the operating system may lose
    /// what it had not written yet. What is half there after such a crash is recognised by its checksum, and is a miss.
    #[default]
    Fast,
    /// For the disk: the file is synced, then moved to its place, then its directory is synced, and so is that of a
    /// deleted one. What was acknowledged survives a crash of the operating system too.
    Durable,
}

/// Where a cache is: a directory (`~` is the home folder).
#[derive(Clone, Debug, Default)]
pub struct FsLocation(Option<PathBuf>);

impl FsLocation {
    /// `http-cache` in the user's cache folder: the default.
    #[must_use]
    pub const fn user_cache() -> Self {
        Self(None)
    }
}

impl From<&str> for FsLocation {
    fn from(path: &str) -> Self {
        Self(Some(path.into()))
    }
}

impl From<String> for FsLocation {
    fn from(path: String) -> Self {
        Self(Some(path.into()))
    }
}

impl From<&String> for FsLocation {
    fn from(path: &String) -> Self {
        Self(Some(path.into()))
    }
}

impl From<&Path> for FsLocation {
    fn from(path: &Path) -> Self {
        Self(Some(path.to_owned()))
    }
}

impl From<PathBuf> for FsLocation {
    fn from(path: PathBuf) -> Self {
        Self(Some(path))
    }
}

impl From<&PathBuf> for FsLocation {
    fn from(path: &PathBuf) -> Self {
        Self(Some(path.clone()))
    }
}
