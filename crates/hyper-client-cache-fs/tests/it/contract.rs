//! The contract of storages and caches, run against files, with no rule left out.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use hyper_client_cache_core::Error;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_fs::{FsCache, FsConfig, FsStorage};
use hyper_client_cache_testkit::contract::{self, CacheHarness, Damage, Harness, Opened};
use hyper_client_cache_testkit::session::soak;
use hyper_client_cache_testkit::{ManualClock, async_trait, cache_contract_tests, contract_tests, session_tests};

use crate::support;

struct Files {
    folder: tempfile::TempDir,
    clock: ManualClock,
    opened: Mutex<Vec<FsStorage>>,
    /// Where the file of an entry is: looking for it takes reading many.
    places: Mutex<HashMap<(String, CacheKey), (PathBuf, usize)>>,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, clock: ManualClock::new(), opened: Mutex::default(), places: Mutex::default() }
    }

    fn path(&self, namespace: &str) -> PathBuf {
        self.folder.path().join(namespace)
    }

    fn config(&self, namespace: &str) -> FsConfig {
        FsCache::builder(self.path(namespace)).clock(Arc::new(self.clock.clone()))
    }

    async fn storage(&self, config: FsConfig) -> Opened {
        let storage = config.open_storage().await.unwrap();
        self.opened.lock().unwrap().push(storage.clone());
        Opened::new(storage)
    }

    fn place(&self, namespace: &str, key: &CacheKey) -> Option<(PathBuf, usize)> {
        let mut places = self.places.lock().unwrap();
        let name = (namespace.to_owned(), *key);
        if !places.contains_key(&name) {
            let known: Vec<_> = places.values().map(|(path, _)| path).collect();
            let found = support::file_of(&self.path(namespace), "responses", key, &known)?;
            places.insert(name.clone(), found);
        }
        places.get(&name).cloned()
    }
}

#[async_trait]
impl Harness for Files {
    async fn open(&self, namespace: &str) -> Opened {
        self.storage(self.config(namespace)).await
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        Some(self.storage(self.config(namespace).max_entry_len(max_entry_len)).await)
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        let Some((path, frame_at)) = self.place(namespace, key) else { return false };
        let Ok(mut bytes) = fs::read(&path) else { return false };
        let done = match damage {
            // The bytes before core's frame count, too.
            Damage::FlipAt(at) if at < frame_at => {
                bytes[at] ^= 1 << (at % 8);
                true
            }
            Damage::FlipAt(at) => {
                let mut frame = bytes.split_off(frame_at);
                let done = Damage::FlipAt(at - frame_at).apply(&mut frame);
                bytes.append(&mut frame);
                done
            }
            damage => {
                let mut frame = bytes.split_off(frame_at);
                let done = damage.apply(&mut frame);
                bytes.append(&mut frame);
                done
            }
        };
        fs::write(path, bytes).unwrap();
        done
    }

    fn canaries(&self) -> Vec<String> {
        // No setting of files is a secret; what is stored may be.
        vec!["canary-c0ffee".to_owned()]
    }

    async fn failures(&self) -> Vec<Error> {
        let missing = self.config("missing").read_only(true);
        fs::write(self.path("file"), "canary-c0ffee").unwrap();
        vec![
            missing.clone().open().await.unwrap_err(),
            missing.max_bytes(0).open().await.unwrap_err(),
            self.config("file").open().await.unwrap_err(),
        ]
    }

    fn entries_visited(&self) -> Option<u64> {
        Some(self.opened.lock().unwrap().iter().map(FsStorage::expiry_looks).sum())
    }

    fn victim(&self, namespace: &str) -> Option<Command> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "contract::a_writer_is_whole_or_killed", "--nocapture"]);
        command.env(VICTIM, self.path(namespace));
        Some(command)
    }

    fn accepts(&self, namespace: &str) -> bool {
        !namespace.contains(['/', '\0'])
    }
}

#[async_trait]
impl CacheHarness for Files {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(self.config("cache").open().await.unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }
}

const VICTIM: &str = "HCC_FS_TEST_VICTIM";

/// The process of [`Harness::victim`]; in an ordinary run, that what it writes is what is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_is_whole_or_killed() {
    if let Ok(path) = std::env::var(VICTIM) {
        let storage = FsCache::builder(path).open_storage().await.unwrap();
        contract::victim(&storage).await.unwrap();
        return;
    }
    let storage = Files::new().config("one").open_storage().await.unwrap();
    let (key, entry) = (support::key(1), Entry::new("head", "body"));
    storage.write(&key, entry.clone()).await.unwrap();
    assert_eq!(storage.read(&key).await.unwrap(), Some(entry));
}

mod storage {
    use super::*;

    contract_tests!(Files::new());
}

mod cache {
    use super::*;

    cache_contract_tests!(Files::new());
}

mod session {
    use super::*;

    session_tests!(Files::new());

    /// Case 232.
    #[test]
    fn nothing_grows_under_a_long_load() {
        soak("contract::session::nothing_grows_under_a_long_load", Files::new, |_| {});
    }
}
