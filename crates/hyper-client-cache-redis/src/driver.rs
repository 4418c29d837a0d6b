//! From our options to the driver's: the server's address, time-outs, TLS, and what is not said in clear.

use std::net::IpAddr;
use std::time::Duration;

use fred::types::Builder;
use fred::types::config::{Config, ReconnectError, ReconnectPolicy, UnresponsiveConfig};

use crate::config::{RedisConfig, Source};
use crate::error::{RedisError, Result};
use crate::link::Link;

/// How long one try to connect may take, and what the driver asks a server while it connects.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection on which something is waited for may be silent before it is given up, at least: not before a
/// command may take longer.
const SILENCE: Duration = Duration::from_secs(2);

/// How often a connection is looked at for that.
const SILENCE_INTERVAL: Duration = Duration::from_millis(250);

impl RedisConfig {
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
        let silence = self.command_timeout.max(SILENCE);
        builder.with_connection_config(|config| {
            config.connection_timeout = CONNECT_TIMEOUT;
            config.internal_command_timeout = CONNECT_TIMEOUT;
            // The link has a bound of its own. With the driver's, whatever finds the queue full is counted as waiting for
            // ever, and while something waits the driver does not flush: the connection would stand still.
            config.max_command_buffer_len = 0;
            config.unresponsive = UnresponsiveConfig { max_timeout: Some(silence), interval: SILENCE_INTERVAL };
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
