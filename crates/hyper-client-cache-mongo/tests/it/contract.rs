//! The contract of storages and caches, run against MongoDB.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::Error;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_mongo::mongodb::bson::spec::BinarySubtype;
use hyper_client_cache_mongo::mongodb::bson::{Binary, Document, doc};
use hyper_client_cache_mongo::mongodb::{Client, Collection};
use hyper_client_cache_mongo::{MongoCache, MongoConfig, MongoStorage};
use hyper_client_cache_testkit::contract::{self, CacheHarness, Damage, Harness, Opened};
use hyper_client_cache_testkit::{ManualClock, async_trait, cache_contract_tests, contract_tests, session_tests};

use crate::support::{self, Commands, Databases, url};

const SECRET: &str = "canary-c0ffee";

struct Mongo {
    databases: Databases,
    clock: ManualClock,
    commands: Commands,
}

impl Mongo {
    fn new() -> Self {
        Self { databases: Databases::new(), clock: ManualClock::new(), commands: Commands::default() }
    }

    async fn config(&self, namespace: &str) -> MongoConfig {
        let config = MongoCache::builder(self.databases.name(namespace)).clock(Arc::new(self.clock.clone()));
        config.client_options(self.commands.options().await)
    }
}

#[async_trait]
impl Harness for Mongo {
    async fn open(&self, namespace: &str) -> Opened {
        Opened::new(self.config(namespace).await.open_storage().await.unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        let config = self.config(namespace).await.max_entry_len(max_entry_len);
        Some(Opened::new(config.open_storage().await.unwrap()))
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        let client = Client::with_uri_str(url()).await.unwrap();
        let rows: Collection<Document> = client.database(&self.databases.name(namespace)).collection("responses");
        let Some(row) = rows.find_one(doc! { "_id": key.as_str() }).await.unwrap() else { return false };
        let bytes = |name| row.get_binary_generic(name).unwrap().clone();
        let (mut block, mut body) = (bytes("block"), bytes("body"));
        let done = damage.apply_split(&mut block, &mut body);
        let binary = |bytes| Binary { subtype: BinarySubtype::Generic, bytes };
        let update = doc! { "$set": { "block": binary(block), "body": binary(body) } };
        rows.update_one(doc! { "_id": key.as_str() }, update).await.unwrap();
        done
    }

    fn canaries(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    async fn failures(&self) -> Vec<Error> {
        let address = |rest: &str| format!("mongodb://user:{SECRET}@{rest}");
        let short = Duration::from_millis(50);
        let builder = || MongoCache::builder("failures").server_selection_timeout(short);
        let unreachable = builder().url(address("127.0.0.1:1/?directConnection=true")).connect().await.unwrap_err();
        let impossible = builder().url(address("127.0.0.1:1/?directConnection=maybe")).open().await.unwrap_err();
        // The server knows no users: a login is refused.
        let host = url().trim_start_matches("mongodb://").to_owned();
        let refused = builder().url(address(&host)).server_selection_timeout(Duration::from_secs(30)).connect().await;
        vec![unreachable, impossible, refused.unwrap_err()]
    }

    fn entries_visited(&self) -> Option<u64> {
        Some(self.commands.documents())
    }

    fn many_keys(&self) -> usize {
        5_000
    }

    fn victim(&self, namespace: &str) -> Option<Command> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "contract::a_writer_is_whole_or_killed", "--nocapture"]);
        command.env(VICTIM, self.databases.name(namespace));
        Some(command)
    }

    fn accepts(&self, namespace: &str) -> bool {
        !namespace.contains(['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0'])
    }
}

#[async_trait]
impl CacheHarness for Mongo {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(self.config("cache").await.unguarded().open().await.unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }
}

const VICTIM: &str = "HCC_MONGO_TEST_VICTIM";

async fn storage(name: &str) -> MongoStorage {
    MongoCache::builder(name).url(url()).open_storage().await.unwrap()
}

/// The process of [`Harness::victim`]; in an ordinary run, that what it writes is what is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_is_whole_or_killed() {
    if let Ok(name) = std::env::var(VICTIM) {
        contract::victim(&storage(&name).await).await.unwrap();
        return;
    }
    let databases = Databases::new();
    let storage = storage(&databases.name("one")).await;
    let (key, entry) = (support::key(1), Entry::new("head", "body"));
    storage.write(&key, entry.clone()).await.unwrap();
    assert_eq!(storage.read(&key).await.unwrap(), Some(entry));
}

mod storage_contract {
    use super::*;

    contract_tests!(Mongo::new());
}

mod cache_contract {
    use super::*;

    cache_contract_tests!(Mongo::new());
}

mod session {
    use super::*;

    session_tests!(Mongo::new());
}
