//! What can be set, and what it means: plain data, checked when the cache is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::clock::{Clock, system_clock};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{ConnectOptions, Sqlite};

use crate::cache::SqliteCache;
use crate::engine::{Engine, MAX_ENTRY_LEN};
use crate::error::{Result, SqliteError};
use crate::path;
use crate::queue::ENTRY_OVERHEAD;
use crate::sql::Table;
use crate::storage::SqliteStorage;

/// The options of a [`SqliteCache`], from [`SqliteCache::builder`] to [`open`](Self::open).
///
/// ```
/// use hyper_client_cache_sqlite::SqliteCache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hyper_client_cache_core::Result<()> {
/// let cache = SqliteCache::builder("demo").use_temp(true).max_bytes(50_000_000).open().await?;
/// # drop(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until `open` is called"]
pub struct SqliteConfig {
    pub(crate) location: SqliteLocation,
    pub(crate) use_temp: bool,
    pub(crate) fast_save: bool,
    pub(crate) read_only: bool,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_entry_len: u64,
    pub(crate) hot_tier: u64,
    pub(crate) busy_timeout: Duration,
    pub(crate) read_connections: usize,
    pub(crate) connect_options: Option<SqliteConnectOptions>,
    pub(crate) pool: Option<SqlitePool>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl SqliteConfig {
    /// The default of [`max_bytes`](Self::max_bytes): 1 GiB.
    pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

    /// The default of [`hot_tier`](Self::hot_tier): 16 MiB.
    pub const DEFAULT_HOT_TIER: u64 = 16 << 20;

    /// The default of [`busy_timeout`](Self::busy_timeout).
    pub const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_millis(250);

    /// The default of [`read_connections`](Self::read_connections).
    pub const DEFAULT_READ_CONNECTIONS: usize = 4;

    /// The options for a database at `location`, at their defaults.
    pub fn new(location: impl Into<SqliteLocation>) -> Self {
        Self {
            location: location.into(),
            use_temp: false,
            fast_save: false,
            read_only: false,
            max_bytes: Some(Self::DEFAULT_MAX_BYTES),
            max_entry_len: MAX_ENTRY_LEN,
            hot_tier: Self::DEFAULT_HOT_TIER,
            busy_timeout: Self::DEFAULT_BUSY_TIMEOUT,
            read_connections: Self::DEFAULT_READ_CONNECTIONS,
            connect_options: None,
            pool: None,
            clock: system_clock(),
        }
    }

    /// Puts the database into a private temporary folder, which is removed when the last handle is gone.
    ///
    /// Only the file name of the location counts then. Default: `false`.
    pub const fn use_temp(mut self, yes: bool) -> Self {
        self.use_temp = yes;
        self
    }

    /// `synchronous=OFF`: never waits for the disk, not even at a checkpoint.
    ///
    /// A crash of the process still loses nothing. A crash of the operating system may lose or damage the database,
    /// which is then set aside and begun anew. Default: `false`, which is `synchronous=NORMAL`: a crash of the
    /// operating system may lose the last entries, and damages nothing.
    pub const fn fast_save(mut self, yes: bool) -> Self {
        self.fast_save = yes;
        self
    }

    /// Opens the database for reading only, as `?mode=ro` in a URL does: a write is an error, and no byte of the
    /// database changes. The file must exist. Default: `false`.
    pub const fn read_only(mut self, yes: bool) -> Self {
        self.read_only = yes;
        self
    }

    /// The most bytes that the entries may take, [256](crate::ENTRY_OVERHEAD) for the upkeep of each included; `None`: no
    /// bound. Default: 1 GiB.
    ///
    /// What has expired goes first, then the parts of bodies whose process was killed over an hour ago, then what was least
    /// recently used, together with the parts of its body.
    pub fn max_bytes(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.max_bytes = limit.into();
        self
    }

    /// The most bytes that head and body of one entry may have together, up to [`MAX_ENTRY_LEN`](crate::MAX_ENTRY_LEN),
    /// which is the default. Larger bodies are kept in parts, each an entry. The head alone may have 1 MiB. A session needs at least
    /// 32 KiB.
    pub const fn max_entry_len(mut self, limit: u64) -> Self {
        self.max_entry_len = limit;
        self
    }

    /// The size in bytes of the memory before the database, 0 for none. Default: 16 MiB.
    ///
    /// Coherent within the process at once; a change by another process is seen within 100 milliseconds. Beyond it, up to
    /// an eighth as much keeps which keys are surely absent, so that a look-up of one asks nobody.
    pub const fn hot_tier(mut self, bytes: u64) -> Self {
        self.hot_tier = bytes;
        self
    }

    /// How long a write waits for a lock that another process holds before it fails as transient. Default: 250 ms.
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How many connections read at the same time; each has a thread, and is made when it is first needed.
    /// Reads beyond that are gathered into one statement; one that waits for 50 milliseconds gets a further connection for
    /// itself, of which there are twice as many at most. At least 1. Default: 4.
    pub const fn read_connections(mut self, connections: usize) -> Self {
        self.read_connections = connections;
        self
    }

    /// The driver's own options, to which ours are added: the path, the timeouts, and what opening a file of unknown
    /// origin calls for (`trusted_schema=OFF`, `cell_size_check=ON`, `mmap_size=0`).
    ///
    /// Their file name counts only where the cache was given [`SqliteLocation::from_options`].
    pub fn connect_options(mut self, options: SqliteConnectOptions) -> Self {
        self.connect_options = Some(options);
        self
    }

    /// Uses the connections of an existing pool, which the cache shares and does not close.
    ///
    /// The pool decides where the database is and how it is opened; it must hold nothing but this cache.
    /// A damaged database is an error then: a file that somebody else has open is not set aside.
    pub fn pool(mut self, pool: SqlitePool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// What tells the time: decides what has expired. Default: the system's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the cache: checks the options, makes the folders and the file, checks the schema.
    ///
    /// Must be called inside a Tokio runtime, in which the task that writes lives.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](hyper_client_cache_core::ErrorKind::Config) where an option is impossible, the path cannot
    /// be used, or the database is somebody else's or a newer version's;
    /// [`ErrorKind::Storage`](hyper_client_cache_core::ErrorKind::Storage) where SQLite fails.
    pub async fn open(self) -> hyper_client_cache_core::Result<SqliteCache> {
        // Boxed, because opening is rare and its future large.
        Ok(Box::pin(SqliteCache::from_config(self)).await?)
    }

    /// Opens the table of responses as a storage of its own, for use without a cache: no redirects, no parts, no hot tier.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_storage(self) -> hyper_client_cache_core::Result<SqliteStorage> {
        let engine = Box::pin(Engine::open(self.hot_tier(0))).await?;
        Ok(SqliteStorage::new(Arc::new(engine), Table::Responses))
    }

    /// The most bytes for what is known about absent keys.
    pub(crate) const fn absent_limit(&self) -> u64 {
        self.hot_tier / 8
    }

    /// The options after a check, with the location resolved.
    pub(crate) fn checked(mut self) -> Result<(Self, Option<PathBuf>)> {
        let setting = |text: &str| Err(SqliteError::Setting(text.to_owned()));
        if let Some(limit @ ..=ENTRY_OVERHEAD) = self.max_bytes {
            return Err(SqliteError::Setting(format!(
                "`max_bytes` is {limit}: the upkeep of one entry counts for {ENTRY_OVERHEAD}, so give more, or `None` for no \
                 bound"
            )));
        }
        if self.max_entry_len == 0 || self.max_entry_len > MAX_ENTRY_LEN {
            return Err(SqliteError::Setting(format!(
                "`max_entry_len` is {}: give a number of bytes from 1 to {MAX_ENTRY_LEN}",
                self.max_entry_len
            )));
        }
        if self.read_connections == 0 {
            return setting("`read_connections` is 0: at least one connection must read");
        }
        if self.busy_timeout > Duration::from_secs(3600) {
            return setting("`busy_timeout` is over an hour: give what a request may wait");
        }
        if self.pool.is_some() {
            if self.use_temp || self.connect_options.is_some() {
                return setting(
                    "`pool` cannot be combined with `use_temp` or `connect_options`: the pool decides where the \
                     database is",
                );
            }
            return Ok((self, None));
        }
        if self.use_temp && self.read_only {
            return setting("`use_temp` with `read_only` would be an empty cache for ever");
        }
        let (path, options, read_only) = self.location.parse(self.connect_options.take())?;
        self.connect_options = Some(options);
        self.read_only |= read_only;
        Ok((self, Some(path)))
    }
}

// The driver's options may carry a key for an encrypted database among their pragmas: not shown.
impl fmt::Debug for SqliteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteConfig")
            .field("location", &self.location)
            .field("use_temp", &self.use_temp)
            .field("fast_save", &self.fast_save)
            .field("read_only", &self.read_only)
            .field("max_bytes", &self.max_bytes)
            .field("max_entry_len", &self.max_entry_len)
            .field("hot_tier", &self.hot_tier)
            .field("busy_timeout", &self.busy_timeout)
            .field("read_connections", &self.read_connections)
            .field("connect_options", &self.connect_options.is_some())
            .field("pool", &self.pool.is_some())
            .field("clock", &self.clock)
            .finish()
    }
}

/// Where a database is: a path (`~` is the home folder, `.sqlite` is added where there is no extension), or a
/// `sqlite://` URL as the driver understands it.
#[derive(Clone, Debug)]
pub struct SqliteLocation(Place);

#[derive(Clone, Debug)]
enum Place {
    Default,
    Path(PathBuf),
    Url(String),
    Options,
}

impl SqliteLocation {
    /// `http-cache.sqlite` in the user's cache folder.
    #[must_use]
    pub const fn user_cache() -> Self {
        Self(Place::Default)
    }

    /// The file name in the [driver's options](SqliteConfig::connect_options).
    #[must_use]
    pub const fn from_options() -> Self {
        Self(Place::Options)
    }

    fn parse(&self, options: Option<SqliteConnectOptions>) -> Result<(PathBuf, SqliteConnectOptions, bool)> {
        let given = options.is_some();
        let options = options.unwrap_or_default();
        let (path, options) = match &self.0 {
            Place::Default => (path::default_path()?, options),
            Place::Path(path) => (path::resolve(path)?, options),
            Place::Options if given => (path::resolve(options.get_filename())?, options),
            Place::Options => {
                return Err(SqliteError::Setting(
                    "the location is that of `connect_options`, which are not given".into(),
                ));
            }
            Place::Url(_) if given => {
                return Err(SqliteError::Setting("give a `sqlite://` URL or `connect_options`, not both".into()));
            }
            Place::Url(url) => {
                let options = <SqliteConnectOptions as FromStr>::from_str(url)
                    .map_err(|error| SqliteError::Setting(format!("the `sqlite://` URL cannot be used: {error}")))?;
                (path::resolve(options.get_filename())?, options)
            }
        };
        // The only way to ask the options. Under a file name that is always a valid URL, because ours may be none.
        let mode = options.clone().filename("/x").to_url_lossy();
        let mode = mode.query_pairs().find(|(name, _)| name == "mode").map(|(_, value)| value.into_owned());
        if mode.as_deref() == Some("memory") {
            return Err(SqliteError::Setting(
                "a database in memory is not a cache that lasts: use `MemoryCache`, or `use_temp`".into(),
            ));
        }
        Ok((path, options, mode.as_deref() == Some("ro")))
    }
}

impl Default for SqliteLocation {
    fn default() -> Self {
        Self::user_cache()
    }
}

impl From<&str> for SqliteLocation {
    fn from(name: &str) -> Self {
        Self(if name.starts_with("sqlite:") { Place::Url(name.to_owned()) } else { Place::Path(name.into()) })
    }
}

impl From<String> for SqliteLocation {
    fn from(name: String) -> Self {
        name.as_str().into()
    }
}

impl From<&String> for SqliteLocation {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

impl From<&Path> for SqliteLocation {
    fn from(path: &Path) -> Self {
        Self(Place::Path(path.to_owned()))
    }
}

impl From<PathBuf> for SqliteLocation {
    fn from(path: PathBuf) -> Self {
        Self(Place::Path(path))
    }
}

impl From<&PathBuf> for SqliteLocation {
    fn from(path: &PathBuf) -> Self {
        Self(Place::Path(path.clone()))
    }
}

/// The driver's database type, spelled once.
pub(crate) type Driver = Sqlite;
