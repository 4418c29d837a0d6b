//! What can be set, and what it means: plain data, checked when the cache is opened.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::types::Builder;
use fred::types::config::{Config, ReconnectError, ReconnectPolicy, UnresponsiveConfig};
use hyper_client_cache_core::clock::{Clock, system_clock};
use hyper_client_cache_core::storage::Guard;

use crate::cache::RedisCache;
use crate::error::{RedisError, Result};
use crate::link::Link;
use crate::storage::RedisStorage;

/// How long one try to connect may take, and what the driver asks a server while it connects.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection on which something is waited for may be silent before it is given up.
const SILENCE: Duration = Duration::from_secs(2);

/// How often a connection is looked at for that.
const SILENCE_INTERVAL: Duration = Duration::from_millis(250);

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
    source: Source,
    configure: Option<Configure>,
    ca_certificates: Option<Vec<u8>>,
    allow_plaintext: bool,
    command_timeout: Duration,
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

type Configure = Arc<dyn Fn(&mut Builder) + Send + Sync>;

#[derive(Clone)]
enum Source {
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

    /// The connection that the options describe, not made yet.
    pub(crate) fn link(&self) -> Result<Link> {
        if self.max_entry_len == 0 || self.max_entry_len > Self::MAX_ENTRY_LEN {
            return Err(RedisError::Setting(format!(
                "`max_entry_len` is {}: give a number of bytes from 1 to {}",
                self.max_entry_len,
                Self::MAX_ENTRY_LEN
            )));
        }
        if self.command_timeout.is_zero() {
            return Err(RedisError::Setting("`command_timeout` is zero: no command could succeed".into()));
        }
        let config = match &self.source {
            Source::Client(client) => return Ok(Link::new(client.clone(), false, self.command_timeout)),
            Source::Url(url) => self.parse(url)?,
            Source::Driver(config) => Config::clone(config),
        };
        let mut builder = Builder::from_config(config);
        self.set_defaults(&mut builder);
        if let Some(configure) = &self.configure {
            configure(&mut builder);
        }
        // A try that fails is told to whoever asked; the next use makes another.
        builder.with_config(|config| config.fail_fast = true);
        if let Some(config) = builder.get_config() {
            self.check_plaintext(config)?;
        }
        Ok(Link::new(builder.build()?, true, self.command_timeout))
    }

    /// The driver has no time-out and no bound on its queue unless it is told.
    fn set_defaults(&self, builder: &mut Builder) {
        let mut policy = ReconnectPolicy::new_exponential(0, 20, 1000, 3);
        policy.set_jitter(20);
        builder.set_policy(policy);
        builder.with_performance_config(|config| config.default_command_timeout = self.command_timeout);
        builder.with_connection_config(|config| {
            config.connection_timeout = CONNECT_TIMEOUT;
            config.internal_command_timeout = CONNECT_TIMEOUT;
            // The link has a bound of its own. With the driver's, whatever finds the queue full is counted as waiting for
            // ever, and while something waits the driver does not flush: the connection would stand still.
            config.max_command_buffer_len = 0;
            config.unresponsive = UnresponsiveConfig { max_timeout: Some(SILENCE), interval: SILENCE_INTERVAL };
            config.tcp.nodelay = Some(true);
            config.reconnect_errors.push(ReconnectError::MasterDown);
        });
    }

    fn parse(&self, url: &str) -> Result<Config> {
        let setting = |why: &str| RedisError::Setting(format!("the URL of the Redis server cannot be used: {why}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| setting("it has no `redis://`"))?;
        let (protocol, topology) = scheme.split_at(scheme.find('-').unwrap_or(scheme.len()));
        let tls = match protocol {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(setting("its scheme is none of redis, rediss, valkey and valkeys")),
        };
        if !matches!(topology, "" | "-cluster" | "-sentinel") {
            return Err(setting("what follows its scheme's dash is neither `cluster` nor `sentinel`"));
        }
        // Parsed as if without TLS, which is ours to set: the driver would ask for the process's default provider.
        let config = Config::from_url(&format!("redis{topology}://{rest}"));
        // The driver's words name the part of the URL that is wrong, and do not repeat it.
        let mut config = config.map_err(|error| setting(error.details()))?;
        if tls {
            self.set_tls(&mut config)?;
        }
        Ok(config)
    }

    #[cfg(feature = "tls")]
    fn set_tls(&self, config: &mut Config) -> Result<()> {
        config.tls = Some(crate::tls::config(self.ca_certificates.as_deref())?);
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn set_tls(&self, _: &mut Config) -> Result<()> {
        Err(RedisError::Setting("a `rediss://` URL needs the feature `tls` of hyper-client-cache-redis".into()))
    }

    fn check_plaintext(&self, config: &Config) -> Result<()> {
        if config.uses_tls() {
            return Ok(());
        }
        for server in config.server.hosts().iter().filter(|server| !is_loopback(&server.host)) {
            if !self.allow_plaintext {
                return Err(RedisError::Setting(format!(
                    "the Redis server at {} would be spoken to without TLS: use `rediss://`, or `allow_plaintext(true)` \
                     if everybody on the way may read what is cached",
                    server.host
                )));
            }
            tracing::warn!(host = %server.host, "what is cached goes to the Redis server in clear");
        }
        Ok(())
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

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "canary-c0ffee";

    fn link(url: &str) -> Result<Link> {
        RedisConfig::new("demo").url(url).link()
    }

    #[test]
    fn the_drivers_kinds_of_addresses_are_understood() {
        for url in [
            "redis://127.0.0.1:6379",
            "redis://localhost/3",
            "redis://user:pw@[::1]:6379",
            "valkey://localhost",
            "redis-cluster://127.0.0.1:7000?node=127.0.0.1:7001",
            "redis-sentinel://127.0.0.1:26379?sentinelServiceName=main",
            #[cfg(feature = "tls")]
            "rediss://example.com:6380",
            #[cfg(feature = "tls")]
            "rediss-cluster://example.com:6380",
        ] {
            assert!(link(url).is_ok(), "{url}: {:?}", link(url).err());
        }
    }

    /// Case 77.
    #[test]
    fn an_address_that_cannot_be_used_is_an_error_without_its_password() {
        for url in
            ["http://u:P@h", "P@h", "redis://u:P@h:99999999", "redis://u:P@", "redis-x://u:P@h", "redis://u:P@h/x"]
        {
            let url = url.replace('P', SECRET);
            let config = RedisConfig::new("demo").allow_plaintext(true).url(&url);
            assert!(!format!("{config:?}").contains(SECRET));
            let error = hyper_client_cache_core::Error::from(config.link().err().unwrap_or(RedisError::Closed));
            assert_eq!(error.kind(), hyper_client_cache_core::ErrorKind::Config, "{url}");
            assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
        }
    }

    /// Case 122.
    #[test]
    fn another_machine_is_not_spoken_to_in_clear_unless_that_is_allowed() {
        for url in [
            "redis://example.com",
            "redis://10.0.0.1",
            "redis-cluster://127.0.0.1:1?node=10.0.0.1:2",
            "redis://0.0.0.0",
        ] {
            let error = link(url).err().unwrap();
            assert!(error.to_string().contains("allow_plaintext"), "{error}");
            assert!(RedisConfig::new("demo").url(url).allow_plaintext(true).link().is_ok());
        }
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.8.9.1", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        let config =
            Config { server: fred::types::config::ServerConfig::new_centralized("10.0.0.1", 1), ..Config::default() };
        assert!(RedisConfig::new("demo").client_config(config).link().is_err());
    }

    #[test]
    fn impossible_settings_are_named() {
        let config = || RedisConfig::new("demo");
        for (config, name) in [
            (config().max_entry_len(0), "max_entry_len"),
            (config().max_entry_len(RedisConfig::MAX_ENTRY_LEN + 1), "max_entry_len"),
            (config().command_timeout(Duration::ZERO), "command_timeout"),
        ] {
            assert!(config.link().err().unwrap().to_string().contains(name));
        }
    }
}
