//! What can be set, and what it means: plain data, checked when the cache is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::types::Builder;
use fred::types::config::Config;
use hyper_client_cache_core::clock::{Clock, system_clock};
use hyper_client_cache_core::storage::Guard;

use crate::cache::RedisCache;
use crate::error::{RedisError, Result};
use crate::storage::RedisStorage;

/// The options of a [`RedisCache`], from [`RedisCache::builder`] to [`open`](Self::open) or
/// [`connect`](Self::connect).
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_redis::RedisCache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hyper_client_cache_core::Result<()> {
/// // Nothing is connected to yet.
/// let cache = RedisCache::builder("my-program")
///     .url("redis://127.0.0.1:6379/1")
///     .command_timeout(Duration::from_millis(500))
///     .open()
///     .await?;
/// # drop(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until `open` or `connect` is called"]
pub struct RedisConfig {
    name: String,
    pub(crate) source: Source,
    pub(crate) configure: Option<Configure>,
    pub(crate) ca_certificates: Option<Vec<u8>>,
    pub(crate) allow_plaintext: bool,
    pub(crate) command_timeout: Duration,
    guarding: Guarding,
    pub(crate) max_entry_len: u64,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What stands before the server.
#[derive(Clone, Debug)]
enum Guarding {
    Default,
    With(Guard),
    None,
}

pub(crate) type Configure = Arc<dyn Fn(&mut Builder) + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Source {
    Url(String),
    Driver(Box<Config>),
    Client(Client),
}

impl RedisConfig {
    /// The default address.
    pub const DEFAULT_URL: &str = "redis://127.0.0.1:6379";

    /// The default of [`command_timeout`](Self::command_timeout).
    pub const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

    /// The most, and the default, of [`max_entry_len`](Self::max_entry_len): 64 MiB.
    pub const MAX_ENTRY_LEN: u64 = 64 << 20;

    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: Source::Url(Self::DEFAULT_URL.to_owned()),
            configure: None,
            ca_certificates: None,
            allow_plaintext: false,
            command_timeout: Self::DEFAULT_COMMAND_TIMEOUT,
            guarding: Guarding::Default,
            max_entry_len: Self::MAX_ENTRY_LEN,
            clock: system_clock(),
        }
    }

    /// Sets the server's address. Default: [`DEFAULT_URL`](Self::DEFAULT_URL).
    ///
    /// `redis://[[user:]password@]host[:port][/database]` is one server, `redis-cluster://..[?node=host:port]..` a
    /// cluster, `redis-sentinel://..?sentinelServiceName=..[&node=host:port]..` a server that sentinels know; with
    /// `rediss` in place of `redis` the connection is encrypted (feature `tls`).
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.source = Source::Url(url.into());
        self
    }

    /// Uses the driver's own configuration: servers, credentials, database, TLS.
    pub fn client_config(mut self, config: Config) -> Self {
        self.source = Source::Driver(Box::new(config));
        self
    }

    /// Uses a client that is there already, which the cache neither connects nor closes. Its own settings about
    /// connections are in force; [`command_timeout`](Self::command_timeout) is ours.
    pub fn client(mut self, client: Client) -> Self {
        self.source = Source::Client(client);
        self
    }

    /// Changes what the driver is set to, after this crate has: connections, performance, reconnection.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use hyper_client_cache_redis::RedisCache;
    /// let config = RedisCache::builder("demo").configure(|driver| {
    ///     driver.with_connection_config(|connection| connection.connection_timeout = Duration::from_millis(300));
    /// });
    /// # drop(config);
    /// ```
    pub fn configure(mut self, change: impl Fn(&mut Builder) + Send + Sync + 'static) -> Self {
        self.configure = Some(Arc::new(change));
        self
    }

    /// Sets the certificate authorities to trust, as PEM, in place of the system's: for `rediss://` addresses.
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificates = Some(pem.into());
        self
    }

    /// Allows a connection without TLS to another machine, on which responses and the password are readable.
    /// Default: `false`, where only this machine (`localhost`, 127.0.0.0/8, `::1`) is spoken to in clear.
    pub const fn allow_plaintext(mut self, yes: bool) -> Self {
        self.allow_plaintext = yes;
        self
    }

    /// Sets how long a command may take, the wait for its turn included, before it fails. Default: 1 second.
    ///
    /// A connection over which nothing comes is not given up before that time either.
    pub const fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// Puts `guard` before the server in place of one with every figure at its default, so that others may share it.
    ///
    /// The driver's futures may be dropped at any point: [`detach(false)`](hyper_client_cache_core::storage::GuardBuilder::detach)
    /// saves a task for each call, and is what the default has.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guarding = Guarding::With(guard);
        self
    }

    /// Puts no guard before the server: a request waits for it as long as [`command_timeout`](Self::command_timeout)
    /// says, each time.
    pub fn unguarded(mut self) -> Self {
        self.guarding = Guarding::None;
        self
    }

    /// Sets the most bytes that head and body of one entry may have together, up to 64 MiB, which is the default.
    /// Larger bodies are kept in parts, each an entry.
    pub const fn max_entry_len(mut self, limit: u64) -> Self {
        self.max_entry_len = limit;
        self
    }

    /// Sets what tells the time: decides what is dead, beside the server. Default: the system's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the cache without connecting: the first use does that, inside its Tokio runtime.
    ///
    /// # Errors
    /// [`Config`](hyper_client_cache_core::ErrorKind::Config) where a setting is impossible; the message names it and
    /// shows no password.
    pub async fn open(self) -> hyper_client_cache_core::Result<RedisCache> {
        Ok(RedisCache::new(&self)?)
    }

    /// Makes the cache and connects.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Storage`](hyper_client_cache_core::ErrorKind::Storage) where no server answers
    /// or the credentials are refused.
    pub async fn connect(self) -> hyper_client_cache_core::Result<RedisCache> {
        let cache = RedisCache::new(&self)?;
        cache.connect().await?;
        Ok(cache)
    }

    /// Makes the storage of responses alone, for use without a cache: no redirects, no parts, no guard.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_storage(self) -> hyper_client_cache_core::Result<RedisStorage> {
        Ok(RedisCache::bare_storage(&self)?)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn make_guard(&self) -> Result<Option<Guard>> {
        match &self.guarding {
            Guarding::Default => {
                let guard = Guard::builder().detach(false).build();
                Ok(Some(guard.map_err(|error| RedisError::Setting(format!("the guard: {error}")))?))
            }
            Guarding::With(guard) => Ok(Some(guard.clone())),
            Guarding::None => Ok(None),
        }
    }
}

// Addresses and driver's options may carry a password: not shown.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("name", &self.name)
            .field("server", &self.source)
            .field("configure", &self.configure.is_some())
            .field("ca_certificates", &self.ca_certificates.is_some())
            .field("allow_plaintext", &self.allow_plaintext)
            .field("command_timeout", &self.command_timeout)
            .field("guarding", &self.guarding)
            .field("max_entry_len", &self.max_entry_len)
            .field("clock", &self.clock)
            .finish()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "url(..)",
            Self::Driver(_) => "client_config(..)",
            Self::Client(_) => "client(..)",
        })
    }
}
