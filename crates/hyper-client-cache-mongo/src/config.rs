//! What can be set, and what it means: plain data, checked when the cache is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::clock::{Clock, system_clock};
use hyper_client_cache_core::storage::Guard;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

use crate::cache::MongoCache;
use crate::error::MongoError;
use crate::storage::MongoStorage;

/// What a database's name may not have on any server (<https://www.mongodb.com/docs/manual/reference/limits/>).
const NOT_IN_NAMES: &[char] = &['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0'];

/// The longest name of a database, in bytes.
const MAX_NAME_LEN: usize = 63;

/// A document may have 16 MiB, of which the fields around head and body need some.
const MAX_DOCUMENT_LEN: u64 = (16 << 20) - (64 << 10);

/// The options of a [`MongoCache`], from [`MongoCache::builder`] to [`open`](Self::open) or
/// [`connect`](Self::connect).
///
/// ```
/// use hyper_client_cache_mongo::MongoCache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hyper_client_cache_core::Result<()> {
/// // Nothing is connected to yet.
/// let cache = MongoCache::builder("http-cache").url("mongodb://127.0.0.1:27017").open().await?;
/// # drop(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until `open` or `connect` is called"]
pub struct MongoConfig {
    pub(crate) name: String,
    source: Source,
    pub(crate) server_selection_timeout: Option<Duration>,
    pub(crate) max_entry_len: u64,
    pub(crate) guard: Option<Guard>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[derive(Clone)]
enum Source {
    Url(String),
    Options(Box<ClientOptions>),
    Client(Client),
    Database(Database),
}

impl MongoConfig {
    /// The default address.
    pub const DEFAULT_URL: &str = "mongodb://127.0.0.1:27017";

    /// The default of [`server_selection_timeout`](Self::server_selection_timeout). The driver's own is 30 seconds.
    pub const DEFAULT_SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(2);

    /// The default of [`max_entry_len`](Self::max_entry_len): 15 MiB.
    pub const DEFAULT_MAX_ENTRY_LEN: u64 = 15 << 20;

    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: Source::Url(Self::DEFAULT_URL.to_owned()),
            server_selection_timeout: None,
            max_entry_len: Self::DEFAULT_MAX_ENTRY_LEN,
            guard: Some(Guard::default()),
            clock: system_clock(),
        }
    }

    /// Sets the server's address, `mongodb://...`; what it says about options counts.
    /// `mongodb+srv://` needs the feature `srv`. Default: [`DEFAULT_URL`](Self::DEFAULT_URL).
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.source = Source::Url(url.into());
        self
    }

    /// Uses the driver's own options, which know everything that can be set about a connection.
    pub fn client_options(mut self, options: ClientOptions) -> Self {
        self.source = Source::Options(Box::new(options));
        self
    }

    /// Uses a client that is there already. Closing the cache leaves it open.
    pub fn client(mut self, client: Client) -> Self {
        self.source = Source::Client(client);
        self
    }

    /// Uses a database of a client that is there already, in place of the one of this cache's name. Closing the cache
    /// leaves the client open.
    pub fn database(mut self, database: Database) -> Self {
        self.name = database.name().to_owned();
        self.source = Source::Database(database);
        self
    }

    /// Sets how long an operation looks for a server that answers, before it fails. Default: 2 seconds, unless the
    /// address or the driver's options say something else.
    pub fn server_selection_timeout(mut self, timeout: Duration) -> Self {
        self.server_selection_timeout = Some(timeout);
        self
    }

    /// Sets the most bytes that one entry may have; larger bodies are kept in parts. Default: 15 MiB; the most is
    /// 16 MiB less 64 KiB, for the server takes no larger document than 16 MiB.
    pub fn max_entry_len(mut self, limit: u64) -> Self {
        self.max_entry_len = limit;
        self
    }

    /// Puts this guard before the server, in place of one with its figures at their defaults (a look-up may take
    /// 100 milliseconds).
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Leaves the guard out: a look-up may then take as long as the driver lets it.
    pub fn unguarded(mut self) -> Self {
        self.guard = None;
        self
    }

    /// Sets what tells the time. Default: the operating system's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the cache without connecting: the first use does that.
    ///
    /// # Errors
    /// [`Config`](hyper_client_cache_core::ErrorKind::Config) where a setting is impossible; the message names it and
    /// shows no password.
    pub async fn open(self) -> hyper_client_cache_core::Result<MongoCache> {
        Ok(self.build().await?)
    }

    /// Makes the cache, connects, and makes the indexes.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Storage`](hyper_client_cache_core::ErrorKind::Storage) where no server answers
    /// or the credentials are refused.
    pub async fn connect(self) -> hyper_client_cache_core::Result<MongoCache> {
        let cache = self.build().await?;
        cache.prepare().await?;
        Ok(cache)
    }

    /// The storage of responses alone: for tests of this backend, and for those who want a storage and no cache.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_storage(self) -> hyper_client_cache_core::Result<MongoStorage> {
        Ok(self.build().await?.storage())
    }

    async fn build(self) -> Result<MongoCache, MongoError> {
        self.validate()?;
        let (database, is_ours) = match &self.source {
            Source::Url(url) => {
                let mut options = ClientOptions::parse(url).await.map_err(|_| MongoError::Address)?;
                self.complete(&mut options);
                (self.client_of(options)?.database(&self.name), true)
            }
            Source::Options(options) => {
                let mut options = (**options).clone();
                self.complete(&mut options);
                (self.client_of(options)?.database(&self.name), true)
            }
            Source::Client(client) => (client.database(&self.name), false),
            Source::Database(database) => (database.clone(), false),
        };
        Ok(MongoCache::new(&self, database, is_ours))
    }

    fn complete(&self, options: &mut ClientOptions) {
        if self.server_selection_timeout.is_some() {
            options.server_selection_timeout = self.server_selection_timeout;
        }
        options.server_selection_timeout.get_or_insert(Self::DEFAULT_SERVER_SELECTION_TIMEOUT);
        options.app_name.get_or_insert_with(|| "hyper-client-cache".to_owned());
    }

    /// The driver's words about an impossible option may repeat the address, so they are not shown.
    fn client_of(&self, options: ClientOptions) -> Result<Client, MongoError> {
        Client::with_options(options).map_err(|_| {
            MongoError::Setting("`client_options` are refused by the driver: check each of them".to_owned())
        })
    }

    fn validate(&self) -> Result<(), MongoError> {
        let problem = if self.name.is_empty() {
            "the name is empty; it is the database's"
        } else if self.name.len() > MAX_NAME_LEN {
            "the name is longer than 63 bytes, which is the most for a database"
        } else if self.name.contains(NOT_IN_NAMES) {
            "the name has a character that no database's name may have: / \\ . \" $ * < > : | ? or a space"
        } else if ["admin", "local", "config"].contains(&self.name.as_str()) {
            "the name is that of a database of the server's own; choose another"
        } else if self.max_entry_len == 0 || self.max_entry_len > MAX_DOCUMENT_LEN {
            "`max_entry_len` must be at least 1, and at most 16 MiB less 64 KiB, for the server takes no more"
        } else if self.server_selection_timeout.is_some_and(|timeout| timeout.is_zero()) {
            "`server_selection_timeout` is zero: give at least a millisecond"
        } else {
            return Ok(());
        };
        Err(MongoError::Setting(problem.to_owned()))
    }
}

// The address may have a password in it, and so may the driver's options.
impl fmt::Debug for MongoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::Url(_) => "url",
            Source::Options(_) => "client_options",
            Source::Client(_) => "client",
            Source::Database(_) => "database",
        };
        f.debug_struct("MongoConfig")
            .field("name", &self.name)
            .field("source", &source)
            .field("server_selection_timeout", &self.server_selection_timeout)
            .field("max_entry_len", &self.max_entry_len)
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_client_cache_core::ErrorKind;

    /// Case 120 (the part about names), and bad input.
    #[tokio::test]
    async fn an_impossible_setting_is_an_error_that_names_it() {
        let good = || MongoConfig::new("http-cache");
        for (config, what) in [
            (MongoConfig::new(""), "name"),
            (MongoConfig::new("a.b"), "name"),
            (MongoConfig::new("$where"), "name"),
            (MongoConfig::new("{\"$ne\":1}"), "name"),
            (MongoConfig::new("x".repeat(64)), "name"),
            (MongoConfig::new("admin"), "name"),
            (good().max_entry_len(0), "`max_entry_len`"),
            (good().max_entry_len(16 << 20), "`max_entry_len`"),
            (good().server_selection_timeout(Duration::ZERO), "`server_selection_timeout`"),
            (good().url("http://user:canary@host"), "`url`"),
        ] {
            let error = config.open().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(what), "{error}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        assert!(good().open().await.is_ok(), "nothing is connected to");
    }

    /// Case 77.
    #[test]
    fn debug_hides_the_address() {
        let config = MongoConfig::new("http-cache").url("mongodb://user:canary@host");
        assert!(!format!("{config:?}").contains("canary"));
    }
}
