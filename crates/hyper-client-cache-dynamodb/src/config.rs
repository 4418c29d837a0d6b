//! What can be set, and what it means: plain data, checked when the cache is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Builder, Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_types::SdkConfig;
use hyper_client_cache_core::clock::{Clock, system_clock};
use hyper_client_cache_core::storage::Guard;

use crate::cache::DynamoDbCache;
use crate::error::{DynamoDbError, Result};
use crate::item::{DynamoDbAttributes, Kind};
use crate::storage::DynamoDbStorage;
use crate::table::Table;

/// The options of a [`DynamoDbCache`], from [`DynamoDbCache::builder`] to [`open`](Self::open) or
/// [`connect`](Self::connect).
///
/// ```
/// use hyper_client_cache_dynamodb::DynamoDbCache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hyper_client_cache_core::Result<()> {
/// // Nothing is connected to yet.
/// let cache = DynamoDbCache::builder("demo").local(8000).create_if_not_exists(true).open().await?;
/// # drop(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until `open` or `connect` is called"]
pub struct DynamoDbConfig {
    pub(crate) table: String,
    pub(crate) source: Source,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) credentials: Option<SharedCredentialsProvider>,
    pub(crate) operation_timeout: Option<Duration>,
    pub(crate) create_if_not_exists: bool,
    pub(crate) attributes: DynamoDbAttributes,
    pub(crate) expiry_index: Option<String>,
    pub(crate) consistent_read: bool,
    pub(crate) scan_segments: u16,
    pub(crate) max_entry_len: u64,
    pub(crate) guard: Protection,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Where the client comes from.
#[derive(Clone)]
pub(crate) enum Source {
    Own,
    Options(Box<Builder>),
    Sdk(Box<SdkConfig>),
    Client(Client),
}

/// What stands between requests and the table.
#[derive(Clone)]
pub(crate) enum Protection {
    Default,
    Guard(Guard),
    None,
}

impl DynamoDbConfig {
    /// The default name of the table.
    pub const DEFAULT_TABLE: &str = "http-cache";

    /// The default of [`operation_timeout`](Self::operation_timeout): 5 seconds.
    pub const DEFAULT_OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

    /// The default of [`expiry_index`](Self::expiry_index).
    pub const DEFAULT_EXPIRY_INDEX: &str = "expiry";

    /// The most that [`max_entry_len`](Self::max_entry_len) may be, which is its default: 384 KiB.
    ///
    /// An item may have 400 KB, of which its other attributes and their names take some.
    pub const MAX_ENTRY_LEN: u64 = 384 * 1024;

    pub(crate) fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            source: Source::Own,
            endpoint_url: None,
            region: None,
            credentials: None,
            operation_timeout: None,
            create_if_not_exists: false,
            attributes: DynamoDbAttributes::default(),
            expiry_index: Some(Self::DEFAULT_EXPIRY_INDEX.to_owned()),
            consistent_read: false,
            scan_segments: 1,
            max_entry_len: Self::MAX_ENTRY_LEN,
            guard: Protection::Default,
            clock: system_clock(),
        }
    }

    /// Takes region, credentials, HTTP client, time-outs and retries from the configuration that all of AWS's SDKs share,
    /// usually made by the crate `aws-config`; what it leaves open is ours.
    pub fn sdk_config(mut self, config: &SdkConfig) -> Self {
        self.source = Source::Sdk(Box::new(config.clone()));
        self
    }

    /// Takes the driver's own options, to which ours are added where they leave something open. The version of the
    /// driver's defaults (`behavior_version`) is always ours; credentials must be among them, or be set here.
    pub fn client_options(mut self, options: Builder) -> Self {
        self.source = Source::Options(Box::new(options));
        self
    }

    /// Uses a client that is there already, as it is: its region, credentials and time-outs count, not those set here.
    pub fn client(mut self, client: Client) -> Self {
        self.source = Source::Client(client);
        self
    }

    /// Sets the address to talk to, `http://..` or `https://..`: another implementation, a proxy, a private endpoint.
    /// Default: `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL` in the environment, else the region's.
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint_url = Some(url.into());
        self
    }

    /// Sets the region. Default: that of the options given, else `AWS_REGION` or `AWS_DEFAULT_REGION` in the environment.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Sets a fixed pair of access key id and secret access key. Default: the credentials of the options given, else
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` in the environment.
    pub fn credentials(self, access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        self.credentials_provider(Credentials::new(access_key_id, secret_access_key, None, None, "given"))
    }

    /// Sets what provides credentials.
    pub fn credentials_provider(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        self.credentials = Some(SharedCredentialsProvider::new(provider));
        self
    }

    /// Talks to Amazon's DynamoDB Local on this port of 127.0.0.1, with credentials that mean nothing.
    pub fn local(self, port: u16) -> Self {
        self.endpoint_url(format!("http://127.0.0.1:{port}")).region("local").credentials("local", "local")
    }

    /// Sets how long one call of the service may take, with all its retries; a batch is several.
    /// Default: 5 seconds, unless the options given have time-outs of their own.
    pub const fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = Some(timeout);
        self
    }

    /// Whether a table that is not there is made, billed on demand, with its index, and its TTL switched on: by
    /// [`connect`](Self::connect), else by the first call that misses it. Default: `false`.
    ///
    /// A table that is there is not changed, but for its TTL, which is switched on where it is off.
    pub const fn create_if_not_exists(mut self, yes: bool) -> Self {
        self.create_if_not_exists = yes;
        self
    }

    /// Sets what the attributes are called. Every program that uses the table must say the same.
    pub fn attributes(mut self, attributes: DynamoDbAttributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// Sets the name of the index over deadlines, through which `delete_expired` finds what is dead; `None`: without one.
    /// Default: `expiry`.
    ///
    /// Only entries that have a deadline are in it; each write of one costs a write unit more. Without it the table's own
    /// TTL still removes what has expired, within days, and `delete_expired` reads the whole table.
    pub fn expiry_index(mut self, name: impl Into<Option<String>>) -> Self {
        self.expiry_index = name.into();
        self
    }

    /// Whether look-ups are strongly consistent: twice the price, and what another process has just written is seen at
    /// once. Default: `false`; what this process has written is seen all the same by the sessions that share the cache.
    pub const fn consistent_read(mut self, yes: bool) -> Self {
        self.consistent_read = yes;
        self
    }

    /// Sets in how many segments at once a listing reads the table, from 1 to 256. Default: 1.
    pub const fn scan_segments(mut self, segments: u16) -> Self {
        self.scan_segments = segments;
        self
    }

    /// Sets the most bytes that head and body of one entry may have together; larger bodies are kept in parts.
    /// Default, and the most: [`MAX_ENTRY_LEN`](Self::MAX_ENTRY_LEN).
    pub const fn max_entry_len(mut self, limit: u64) -> Self {
        self.max_entry_len = limit;
        self
    }

    /// Sets the guard that stands before the table: how long a request waits for it, and when it is left alone.
    /// Default: a guard of the cache's own with every figure at its default, 100 milliseconds for a look-up.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = Protection::Guard(guard);
        self
    }

    /// Leaves the guard out: a call waits as long as the driver does, and a dead service is asked each time.
    pub fn unguarded(mut self) -> Self {
        self.guard = Protection::None;
        self
    }

    /// What tells the time: decides what has expired. Default: the system's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the cache without connecting: the first use does that.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](hyper_client_cache_core::ErrorKind::Config) where an option is impossible, or no region or no
    /// credentials are to be had.
    pub async fn open(self) -> hyper_client_cache_core::Result<DynamoDbCache> {
        Ok(DynamoDbCache::from_config(&self)?)
    }

    /// Makes the cache, connects, and checks the table, which is made where that is wanted.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`ErrorKind::Config`](hyper_client_cache_core::ErrorKind::Config) also where there is no
    /// such table, it is another's, or the credentials are refused;
    /// [`ErrorKind::Storage`](hyper_client_cache_core::ErrorKind::Storage) where the service cannot be reached or fails.
    pub async fn connect(self) -> hyper_client_cache_core::Result<DynamoDbCache> {
        let cache = DynamoDbCache::from_config(&self)?;
        // Boxed, because connecting is rare and its future large.
        Box::pin(cache.prepare()).await?;
        Ok(cache)
    }

    /// Opens the responses of a table as a storage of their own, for use without a cache. Connects to nothing, and is not
    /// guarded.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_storage(self) -> hyper_client_cache_core::Result<DynamoDbStorage> {
        let table = Table::new(&self)?;
        Ok(DynamoDbStorage::new(Arc::new(table), Kind::Response))
    }

    /// Whether every option is possible.
    pub(crate) fn check(&self) -> Result<()> {
        let problem = if !is_table_name(&self.table) {
            "the name is the table's: 3 to 255 characters of a-z, A-Z, 0-9, `_`, `-` and `.`, or an ARN".to_owned()
        } else if self.expiry_index.as_deref().is_some_and(|name| !is_plain_name(name)) {
            "`expiry_index` must have 3 to 255 characters of a-z, A-Z, 0-9, `_`, `-` and `.`".to_owned()
        } else if self.max_entry_len == 0 || self.max_entry_len > Self::MAX_ENTRY_LEN {
            format!(
                "`max_entry_len` is {}: give a number of bytes from 1 to {}",
                self.max_entry_len,
                Self::MAX_ENTRY_LEN
            )
        } else if self.scan_segments == 0 || self.scan_segments > 256 {
            format!("`scan_segments` is {}: give a number from 1 to 256", self.scan_segments)
        } else if self.operation_timeout.is_some_and(|timeout| timeout.is_zero()) {
            "`operation_timeout` is zero: give at least a millisecond".to_owned()
        } else if self.endpoint_url.as_deref().is_some_and(|url| !is_http(url)) {
            "`endpoint_url` must begin with http:// or https://, and name a host".to_owned()
        } else if let Some(problem) = self.problem_of_attributes() {
            problem
        } else {
            return Ok(());
        };
        Err(DynamoDbError::Setting(problem))
    }

    fn problem_of_attributes(&self) -> Option<String> {
        let all = self.attributes.all();
        for (at, (what, name)) in all.iter().enumerate() {
            if name.is_empty() || name.len() > 255 {
                return Some(format!("`attributes`: the name of `{what}` must have 1 to 255 bytes"));
            }
            if all.iter().take(at).any(|(_, other)| other == name) {
                return Some(format!("`attributes`: `{name}` is the name of two attributes"));
            }
        }
        None
    }
}

fn is_plain_name(name: &str) -> bool {
    (3..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn is_table_name(name: &str) -> bool {
    is_plain_name(name) || (name.starts_with("arn:") && name.contains(":table/") && name.len() <= 1024)
}

fn is_http(url: &str) -> bool {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    // User information would be sent in clear, and nobody asks for it: credentials are signed with.
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !host.contains(['@', ' ']))
}

/// The table `http-cache`.
impl Default for DynamoDbConfig {
    fn default() -> Self {
        Self::new(Self::DEFAULT_TABLE)
    }
}

// The address may carry secrets in its query, the driver's options carry credentials.
impl fmt::Debug for DynamoDbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::Own => "own",
            Source::Options(_) => "client_options",
            Source::Sdk(_) => "sdk_config",
            Source::Client(_) => "client",
        };
        f.debug_struct("DynamoDbConfig")
            .field("table", &self.table)
            .field("source", &source)
            .field("endpoint_url", &self.endpoint_url.is_some())
            .field("region", &self.region)
            .field("credentials", &self.credentials.is_some())
            .field("operation_timeout", &self.operation_timeout)
            .field("create_if_not_exists", &self.create_if_not_exists)
            .field("attributes", &self.attributes)
            .field("expiry_index", &self.expiry_index)
            .field("consistent_read", &self.consistent_read)
            .field("scan_segments", &self.scan_segments)
            .field("max_entry_len", &self.max_entry_len)
            .field("guarded", &!matches!(self.guard, Protection::None))
            .field("clock", &self.clock)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_client_cache_core::ErrorKind;

    /// Bad input: an impossible setting is an error that names it.
    #[tokio::test]
    async fn an_impossible_setting_is_an_error_that_names_it() {
        let good = || DynamoDbConfig::new("http-cache").local(1);
        let names = DynamoDbAttributes::default;
        for (config, what) in [
            (DynamoDbConfig::new("ab").local(1), "name"),
            (DynamoDbConfig::new("a table").local(1), "name"),
            (good().expiry_index("x".to_owned()), "`expiry_index`"),
            (good().max_entry_len(0), "`max_entry_len`"),
            (good().max_entry_len(400_000), "`max_entry_len`"),
            (good().scan_segments(0), "`scan_segments`"),
            (good().operation_timeout(Duration::ZERO), "`operation_timeout`"),
            (good().endpoint_url("http://user:canary@host"), "`endpoint_url`"),
            (good().endpoint_url("ftp://host"), "`endpoint_url`"),
            (good().attributes(names().head("body")), "`attributes`"),
            (good().attributes(names().ttl("")), "`attributes`"),
        ] {
            let error = config.open().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(what), "{error}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        assert!(good().open().await.is_ok(), "nothing is connected to");
        assert!(DynamoDbConfig::new("arn:aws:dynamodb:eu-west-1:1:table/t").local(1).open().await.is_ok());
    }

    /// Case 77.
    #[test]
    fn debug_hides_address_and_credentials() {
        let options = Builder::new().credentials_provider(Credentials::new("canary", "canary", None, None, "test"));
        let config = DynamoDbConfig::new("http-cache")
            .client_options(options)
            .endpoint_url("http://host/?token=canary")
            .credentials("canary", "canary");
        assert!(!format!("{config:?}").contains("canary"));
    }
}
