//! The contract of storages and caches, run against DynamoDB.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::Error;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry, Guard, Storage};
use hyper_client_cache_dynamodb::DynamoDbCache;
use hyper_client_cache_testkit::contract::{self, CacheHarness, Damage, Harness, Opened};
use hyper_client_cache_testkit::{ManualClock, async_trait, cache_contract_tests, contract_tests, session_tests};

use crate::support::{self, KEY_ID, SECRET, Tables};

struct DynamoDb {
    tables: Tables,
    segments: u16,
    guarded: bool,
}

impl DynamoDb {
    fn new() -> Self {
        Self { tables: Tables::new(), segments: 1, guarded: false }
    }

    fn guarded() -> Self {
        Self { guarded: true, ..Self::new() }
    }

    fn in_segments(segments: u16) -> Self {
        Self { segments, ..Self::new() }
    }
}

#[async_trait]
impl Harness for DynamoDb {
    async fn open(&self, namespace: &str) -> Opened {
        let config = self.tables.config(namespace).scan_segments(self.segments);
        Opened::new(config.open_storage().await.unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.tables.clock.clone()
    }

    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        let config = self.tables.config(namespace).max_entry_len(max_entry_len);
        Some(Opened::new(config.open_storage().await.unwrap()))
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        let table = self.tables.name(namespace);
        let Some((mut head, mut body)) = support::item(&table, "response", key).await else { return false };
        let done = damage.apply_split(&mut head, &mut body);
        support::replace(&table, "response", key, head, body).await;
        done
    }

    fn canaries(&self) -> Vec<String> {
        vec![KEY_ID.to_owned(), SECRET.to_owned()]
    }

    async fn failures(&self) -> Vec<Error> {
        let missing = self.tables.config("missing").create_if_not_exists(false);
        let nobody = missing.clone().endpoint_url(format!("http://127.0.0.1:9/{SECRET}"));
        vec![
            missing.clone().connect().await.unwrap_err(),
            nobody.operation_timeout(Duration::from_millis(500)).connect().await.unwrap_err(),
            missing.endpoint_url(format!("http://{KEY_ID}:{SECRET}@127.0.0.1")).open().await.unwrap_err(),
        ]
    }

    fn accepts(&self, namespace: &str) -> bool {
        namespace.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    }

    fn entries_visited(&self) -> Option<u64> {
        Some(self.tables.calls.scanned())
    }

    fn many_keys(&self) -> usize {
        // More than any batch; the server takes about 900 requests a second.
        5_000
    }

    fn victim(&self, namespace: &str) -> Option<Command> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "contract::a_writer_is_whole_or_killed", "--nocapture"]);
        command.env(VICTIM, self.tables.name(namespace));
        Some(command)
    }
}

#[async_trait]
impl CacheHarness for DynamoDb {
    async fn open(&self) -> Arc<dyn Cache> {
        let config = self.tables.config("cache");
        if !self.guarded {
            return Arc::new(config.unguarded().open().await.unwrap());
        }
        // The server is slow, and makes the table when it is first used.
        let guard = Guard::builder().deadline(PATIENCE).write_deadline(PATIENCE).build().unwrap();
        Arc::new(config.guard(guard).connect().await.unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.tables.clock.clone()
    }
}

/// Longer than the slow server that tests run against ever takes.
const PATIENCE: Duration = Duration::from_secs(20);

const VICTIM: &str = "HCC_DYNAMODB_TEST_VICTIM";

/// The process of [`Harness::victim`]; in an ordinary run, that what it writes is what is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_is_whole_or_killed() {
    if let Ok(table) = std::env::var(VICTIM) {
        let config = DynamoDbCache::builder(table).endpoint_url(support::url()).region("local");
        let storage = config.credentials(KEY_ID, SECRET).open_storage().await.unwrap();
        contract::victim(&storage).await.unwrap();
        return;
    }
    let tables = Tables::new();
    let storage = tables.config("one").open_storage().await.unwrap();
    let (key, entry) = (support::key(1), Entry::new("head", "body"));
    storage.write(&key, entry.clone()).await.unwrap();
    assert_eq!(storage.read(&key).await.unwrap(), Some(entry));
}

mod storage {
    use super::*;

    contract_tests!(DynamoDb::new());
}

mod storage_in_segments {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn listings_in_parallel_segments_keep_the_contract() {
        contract::run(DynamoDb::in_segments(4)).await.assert_passed();
    }
}

mod cache {
    use super::*;

    cache_contract_tests!(DynamoDb::new());
}

mod session {
    use super::*;

    session_tests!(DynamoDb::new());
}

mod guarded_cache {
    use super::*;

    cache_contract_tests!(DynamoDb::guarded());
}
