//! The contract suite, for every storage and cache that comes with core.

use std::sync::{Arc, Mutex};

use hyper_client_cache_core::cache::{Cache, MemoryCache, StorageCache};
use hyper_client_cache_core::storage::{CacheKey, MemoryStorage, MemoryStorageBuilder, TieredStorage};
use hyper_client_cache_testkit::contract::{CacheHarness, Damage, Harness, Opened};
use hyper_client_cache_testkit::reference::{Disk, ReferenceStorage};
use hyper_client_cache_testkit::session::soak;
use hyper_client_cache_testkit::{
    Faults, FaultyStorage, ManualClock, async_trait, cache_contract_tests, contract_tests, session_tests,
};

#[derive(Debug, Default)]
pub struct Memory(pub ManualClock);

impl Memory {
    pub fn builder(&self) -> MemoryStorageBuilder {
        MemoryStorage::builder().clock(Arc::new(self.0.clone()))
    }

    pub fn cache(&self) -> MemoryCache {
        MemoryCache::builder().clock(Arc::new(self.0.clone())).build().unwrap()
    }
}

/// Damages what lies on a disk under a key, if something does.
pub fn damage_on(disk: &Disk, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
    let Some(bytes) = disk.raw(namespace, key) else { return false };
    let mut bytes = bytes.to_vec();
    damage.apply(&mut bytes) && disk.overwrite_raw(namespace, key, bytes.into())
}

#[async_trait]
impl Harness for Memory {
    async fn open(&self, _namespace: &str) -> Opened {
        Opened::new(self.builder().build().unwrap())
    }

    fn clock(&self) -> ManualClock {
        self.0.clone()
    }

    async fn open_limited(&self, _namespace: &str, max_entry_len: u64) -> Option<Opened> {
        Some(Opened::new(self.builder().max_entry_len(max_entry_len).build().unwrap()))
    }
}

#[async_trait]
impl CacheHarness for Memory {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(self.cache())
    }

    fn clock(&self) -> ManualClock {
        self.0.clone()
    }
}

/// Memory that fails when it is told to.
#[derive(Debug, Default)]
struct Unreliable {
    memory: Memory,
    /// Of the cache that was opened last.
    faults: Arc<Mutex<Vec<Faults>>>,
}

#[async_trait]
impl CacheHarness for Unreliable {
    async fn open(&self) -> Arc<dyn Cache> {
        let storage = || FaultyStorage::new(self.memory.builder().build().unwrap());
        let (responses, redirects, bodies) = (storage(), storage(), storage());
        *self.faults.lock().unwrap() = vec![responses.faults(), redirects.faults(), bodies.faults()];
        Arc::new(StorageCache::new(responses, redirects).with_bodies(bodies))
    }

    fn clock(&self) -> ManualClock {
        self.memory.0.clone()
    }
}

/// Memory before the reference storage. Damage below the front is noticed as another process's writing would be.
#[derive(Debug, Default)]
struct Tiered {
    clock: ManualClock,
    disk: Disk,
    opened: Mutex<Vec<TieredStorage>>,
}

impl Tiered {
    fn before(&self, back: ReferenceStorage) -> TieredStorage {
        let storage = TieredStorage::new(Memory(self.clock.clone()).builder().build().unwrap(), back);
        self.opened.lock().unwrap().push(storage.clone());
        storage
    }

    fn back(&self, namespace: &str) -> ReferenceStorage {
        ReferenceStorage::open(&self.disk, namespace, self.clock.clone())
    }
}

#[async_trait]
impl Harness for Tiered {
    async fn open(&self, namespace: &str) -> Opened {
        Opened::new(self.before(self.back(namespace)))
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    async fn open_limited(&self, namespace: &str, max_entry_len: u64) -> Option<Opened> {
        Some(Opened::new(self.before(self.back(namespace).max_entry_len(max_entry_len))))
    }

    async fn damage(&self, namespace: &str, key: &CacheKey, damage: Damage) -> bool {
        let opened = self.opened.lock().unwrap().clone();
        let done = damage_on(&self.disk, namespace, key, damage);
        for storage in opened {
            // Fails where the suite has closed the storage, which then reads nothing either.
            let _ = storage.clear_front().await;
        }
        done
    }

    fn entries_visited(&self) -> Option<u64> {
        Some(self.disk.visited())
    }
}

#[async_trait]
impl CacheHarness for Tiered {
    async fn open(&self) -> Arc<dyn Cache> {
        let disk = Disk::default();
        let storage = |namespace| self.before(ReferenceStorage::open(&disk, namespace, self.clock.clone()));
        Arc::new(StorageCache::new(storage("responses"), storage("redirects")).with_bodies(storage("bodies")))
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }
}

mod memory {
    use super::*;

    // It has no bytes to damage, no credentials, and is gone with its process.
    contract_tests!(
        Memory::default(),
        skip = [
            s03_a_killed_writer_leaves_whole_entries,
            s06_no_body_is_decoded,
            s06_the_cost_is_that_of_the_dead,
            s13_what_persists_is_there_after_reopening,
            s14_no_credential_is_shown,
            S15
        ]
    );

    mod cache {
        use super::*;

        cache_contract_tests!(Memory::default());
    }

    mod session {
        use super::*;

        session_tests!(Memory::default());

        /// Case 232.
        #[test]
        fn nothing_grows_under_a_long_load() {
            soak("storage::memory::session::nothing_grows_under_a_long_load", Memory::default, |_| {});
        }

        /// Case 232 with faults: the stores fail now and then.
        #[test]
        fn nothing_grows_where_the_store_fails() {
            let memory = Unreliable::default();
            let faults = memory.faults.clone();
            soak(
                "storage::memory::session::nothing_grows_where_the_store_fails",
                || memory,
                move |number| {
                    let faults = faults.lock().unwrap();
                    match number {
                        Some(number) if number % 3 == 1 => faults.iter().for_each(Faults::fail_all),
                        _ => faults.iter().for_each(Faults::heal),
                    }
                },
            );
        }
    }
}

mod tiered {
    use super::*;

    // Credentials are the back's own affair, and this back is gone with its process.
    contract_tests!(Tiered::default(), skip = [s03_a_killed_writer_leaves_whole_entries, s14_no_credential_is_shown]);

    mod cache {
        use super::*;

        cache_contract_tests!(Tiered::default());
    }

    mod session {
        use super::*;

        session_tests!(Tiered::default());
    }
}
