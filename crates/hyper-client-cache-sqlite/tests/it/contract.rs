//! The contract of storages and caches, run against SQLite.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper_client_cache_core::Error;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_sqlite::sqlx::Row;
use hyper_client_cache_sqlite::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use hyper_client_cache_sqlite::{SqliteCache, SqliteConfig, SqliteStorage, sqlx};
use hyper_client_cache_testkit::contract::{self, CacheHarness, Damage, Harness, Opened};
use hyper_client_cache_testkit::session::soak;
use hyper_client_cache_testkit::{ManualClock, async_trait, cache_contract_tests, contract_tests, session_tests};

use crate::support;

const SECRET: &str = "canary-c0ffee";

/// The namespace of the test about the cost of a clean-up, in which steps are counted.
const COST: &str = "s06-cost";

struct Sqlite {
    folder: tempfile::TempDir,
    clock: ManualClock,
    steps: Arc<AtomicU64>,
}

/// How many of SQLite's own steps stand for an entry that was looked at: removing one takes about as many, and passing
/// over one of a thousand takes three or more.
const STEPS: u64 = 50;

impl Sqlite {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: ManualClock::new(), steps: Arc::default() }
    }

    /// A storage on a pool of which every connection counts its steps.
    async fn counted(&self, namespace: &str) -> SqliteStorage {
        let steps = self.steps.clone();
        let pool = SqlitePoolOptions::new().after_connect(move |connection, _| {
            let steps = steps.clone();
            Box::pin(async move {
                connection.lock_handle().await?.set_progress_handler(1, move || {
                    steps.fetch_add(1, Ordering::Relaxed);
                    true
                });
                Ok(())
            })
        });
        let options = SqliteConnectOptions::new().filename(self.path(namespace)).create_if_missing(true);
        let pool = pool.connect_with(options.journal_mode(SqliteJournalMode::Wal)).await.unwrap();
        SqliteCache::builder(namespace).pool(pool).clock(Arc::new(self.clock.clone())).open_storage().await.unwrap()
    }

    fn path(&self, namespace: &str) -> PathBuf {
        self.folder.path().join(format!("{namespace}.sqlite"))
    }

    fn config(&self, namespace: &str) -> SqliteConfig {
        // Without a codec SQLite ignores the key, and nothing may show it.
        let options = SqliteConnectOptions::new().pragma("key", format!("'{SECRET}'"));
        SqliteCache::builder(self.path(namespace)).clock(Arc::new(self.clock.clone())).connect_options(options)
    }
}

#[async_trait]
impl Harness for Sqlite {
    async fn open(&self, namespace: &str) -> Opened {
        if namespace == COST {
            return Opened::new(self.counted(namespace).await);
        }
        Opened::new(self.config(namespace).open_storage().await.unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    fn entries_visited(&self) -> Option<u64> {
        Some(self.steps.load(Ordering::Relaxed) / STEPS)
    }

    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        let config = self.config(namespace).max_entry_len(max_entry_len);
        Some(Opened::new(config.open_storage().await.unwrap()))
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        let mut connection = support::bare(&self.path(namespace)).await;
        let found = sqlx::query("SELECT block, body FROM responses WHERE key = ?")
            .bind(key.to_string())
            .fetch_optional(&mut connection)
            .await
            .unwrap();
        let done = match found {
            Some(row) => {
                let (mut block, mut body): (Vec<u8>, Vec<u8>) = (row.get(0), row.get(1));
                let done = damage.apply_split(&mut block, &mut body);
                let update = sqlx::query("UPDATE responses SET block = ?, body = ? WHERE key = ?");
                update.bind(block).bind(body).bind(key.to_string()).execute(&mut connection).await.unwrap();
                done
            }
            None => false,
        };
        support::close(connection).await;
        done
    }

    fn canaries(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    async fn failures(&self) -> Vec<Error> {
        let missing = self.config("missing").read_only(true);
        vec![missing.clone().open().await.unwrap_err(), missing.max_bytes(0).open().await.unwrap_err()]
    }

    fn victim(&self, namespace: &str) -> Option<Command> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "contract::a_writer_is_whole_or_killed", "--nocapture"]);
        command.env(VICTIM, self.path(namespace));
        Some(command)
    }

    fn accepts(&self, namespace: &str) -> bool {
        !namespace.contains(['/', '\\', '\0'])
    }
}

#[async_trait]
impl CacheHarness for Sqlite {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(self.config("cache").open().await.unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }
}

const VICTIM: &str = "HCC_SQLITE_TEST_VICTIM";

/// The process of [`Harness::victim`]; in an ordinary run, that what it writes is what is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_is_whole_or_killed() {
    if let Ok(path) = std::env::var(VICTIM) {
        let storage = SqliteCache::builder(path).open_storage().await.unwrap();
        contract::victim(&storage).await.unwrap();
        return;
    }
    let storage = Sqlite::new().config("one").open_storage().await.unwrap();
    let (key, entry) = (support::key(1), Entry::new("head", "body"));
    storage.write(&key, entry.clone()).await.unwrap();
    assert_eq!(storage.read(&key).await.unwrap(), Some(entry));
}

mod storage {
    use super::*;

    contract_tests!(Sqlite::new());
}

mod cache {
    use super::*;

    cache_contract_tests!(Sqlite::new());
}

mod session {
    use super::*;

    session_tests!(Sqlite::new());

    /// Case 232.
    #[test]
    fn nothing_grows_under_a_long_load() {
        soak("contract::session::nothing_grows_under_a_long_load", Sqlite::new, |_| {});
    }
}
