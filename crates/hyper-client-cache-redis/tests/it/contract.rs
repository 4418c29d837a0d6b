//! The contract of storages and caches, run against one server and against a cluster.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper_client_cache_core::Error;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry, Guard, Storage};
use hyper_client_cache_redis::fred::interfaces::{ClientLike, KeysInterface};
use hyper_client_cache_redis::fred::types::Expiration;
use hyper_client_cache_redis::{RedisCache, RedisConfig};
use hyper_client_cache_testkit::contract::{self, CacheHarness, Damage, Harness, Opened};
use hyper_client_cache_testkit::session::soak;
use hyper_client_cache_testkit::{ManualClock, async_trait, cache_contract_tests, contract_tests, session_tests};

use crate::server::Server;
use crate::support;

const SECRET: &str = "canary-c0ffee";

/// The namespace in which what a clean-up looks at is counted: on a server that nobody else uses.
const COUNTED: &str = "s06-cost";

struct Redis {
    url: String,
    /// What every name of this harness begins with, so that tests run beside one another.
    space: String,
    clock: ManualClock,
    is_cluster: bool,
    counted: Mutex<Option<Server>>,
}

impl Redis {
    fn standalone() -> Self {
        Self::new(support::standalone(), false)
    }

    fn cluster() -> Self {
        Self::new(support::cluster(), true)
    }

    fn new(url: String, is_cluster: bool) -> Self {
        let space = support::unique("contract");
        Self { url, space, clock: ManualClock::new(), is_cluster, counted: Mutex::default() }
    }

    fn name(&self, namespace: &str) -> String {
        format!("{}/{namespace}", self.space)
    }

    fn config(&self, namespace: &str) -> RedisConfig {
        // A server without a password takes any for its default user's.
        let url = if namespace == COUNTED { self.counted_url() } else { self.url.clone() };
        RedisCache::builder(self.name(namespace))
            .url(url)
            .clock(Arc::new(self.clock.clone()))
            .command_timeout(Duration::from_secs(10))
            .configure(driver_secrets)
    }

    fn counted_url(&self) -> String {
        let mut counted = self.counted.lock().unwrap();
        let server =
            counted.get_or_insert_with(|| if self.is_cluster { Server::start_cluster() } else { Server::start(&[]) });
        if self.is_cluster { server.cluster_url() } else { server.url() }
    }
}

fn driver_secrets(driver: &mut hyper_client_cache_redis::fred::types::Builder) {
    driver.with_config(|config| config.password = Some(SECRET.to_owned()));
}

impl Drop for Redis {
    fn drop(&mut self) {
        let (url, prefix) = (self.url.clone(), self.space.clone());
        // The runtime that this is dropped in may be one that cannot wait.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(support::remove(&url, &prefix));
        });
        let _ = cleaning.join();
    }
}

#[async_trait]
impl Harness for Redis {
    async fn open(&self, namespace: &str) -> Opened {
        Opened::new(self.config(namespace).open_storage().await.unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        let config = self.config(namespace).max_entry_len(max_entry_len);
        Some(Opened::new(config.open_storage().await.unwrap()))
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        let client = support::client(&self.url).await;
        let key = format!("{}:responses:{{{key}}}", self.name(namespace).replace('*', "%2A"));
        let found: Option<Bytes> = client.get(&key).await.unwrap();
        let done = match found {
            Some(value) => {
                let mut value = value.to_vec();
                let done = damage.apply(&mut value);
                let value = Bytes::from(value);
                let _: () = client.set(&key, value, Some(Expiration::KEEPTTL), None, false).await.unwrap();
                done
            }
            None => false,
        };
        client.quit().await.unwrap();
        done
    }

    fn canaries(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    async fn failures(&self) -> Vec<Error> {
        let refusing = Server::start(&["--requirepass", "another-password"]);
        let refused = self.config("refused").url(refusing.url()).connect().await.unwrap_err();
        drop(refusing);
        let nowhere = self.config("nowhere").url(format!("redis://:{SECRET}@127.0.0.1:1"));
        vec![
            refused,
            nowhere.clone().connect().await.unwrap_err(),
            nowhere.clone().max_entry_len(0).open().await.unwrap_err(),
            nowhere.clone().open_storage().await.unwrap().read(&support::key(1)).await.unwrap_err(),
            nowhere.url(format!("redis://:{SECRET}@")).open().await.unwrap_err(),
        ]
    }

    fn entries_visited(&self) -> Option<u64> {
        let counted = self.counted.lock().unwrap();
        let server = counted.as_ref()?;
        // A page of a scan is many entries.
        let scanned = server.calls("scan") * 256;
        let single = ["get", "getrange", "unlink", "del", "exists", "strlen"].map(|name| server.calls(name));
        Some(single.iter().sum::<u64>() + scanned)
    }

    fn victim(&self, namespace: &str) -> Option<Command> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "contract::a_writer_is_whole_or_killed", "--nocapture"]);
        command.env(VICTIM, self.name(namespace)).env(VICTIM_URL, &self.url);
        Some(command)
    }
}

#[async_trait]
impl CacheHarness for Redis {
    async fn open(&self) -> Arc<dyn Cache> {
        // Behind a guard, as usual, that does not mind a busy machine.
        let guard =
            Guard::builder().detach(false).deadline(Duration::from_secs(20)).write_deadline(Duration::from_secs(20));
        let config = self.config("cache").command_timeout(Duration::from_secs(20));
        Arc::new(config.guard(guard.build().unwrap()).open().await.unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }
}

const VICTIM: &str = "HCC_REDIS_TEST_VICTIM";
const VICTIM_URL: &str = "HCC_REDIS_TEST_VICTIM_URL";

/// The process of [`Harness::victim`]; in an ordinary run, that what it writes is what is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_is_whole_or_killed() {
    if let Ok(name) = std::env::var(VICTIM) {
        let config = RedisCache::builder(name).url(support::address(VICTIM_URL));
        contract::victim(&config.open_storage().await.unwrap()).await.unwrap();
        return;
    }
    let harness = Redis::standalone();
    let storage = harness.config("one").open_storage().await.unwrap();
    let (key, entry) = (support::key(1), Entry::new("head", "body"));
    storage.write(&key, entry.clone()).await.unwrap();
    assert_eq!(storage.read(&key).await.unwrap(), Some(entry));
}

mod standalone {
    mod storage {
        use super::super::*;

        contract_tests!(Redis::standalone());
    }

    mod cache {
        use super::super::*;

        cache_contract_tests!(Redis::standalone());
    }

    mod session {
        use super::super::*;

        session_tests!(Redis::standalone());

        /// Case 232.
        #[test]
        fn nothing_grows_under_a_long_load() {
            soak("contract::standalone::session::nothing_grows_under_a_long_load", Redis::standalone, |_| {});
        }
    }
}

mod cluster {
    mod storage {
        use super::super::*;

        contract_tests!(Redis::cluster());
    }

    mod cache {
        use super::super::*;

        cache_contract_tests!(Redis::cluster());
    }

    mod session {
        use super::super::*;

        session_tests!(Redis::cluster());
    }
}
