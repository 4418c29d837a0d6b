//! Caches that lose or change what sessions give them, and sessions that do not do as they were told: the proof that the
//! tests of sessions can fail.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::{Cache, Record, StorageCache, Stored, codec};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::session::SessionBuilder;
use hyper_client_cache_core::storage::{CacheKey, Storage};

use super::content::LosesTheLastByte;
use super::fault::SessionFault;
use super::twist::{Broken, Twist};
use crate::ManualClock;
use crate::contract::CacheHarness;
use crate::reference::{Disk, ReferenceStorage};

/// A cache over reference storages with a fault, or with none.
struct Unfaithful {
    good: StorageCache,
    fault: Option<SessionFault>,
    memory: Mutex<Memory>,
}

/// What an [`Unfaithful`] cache remembers that it should not.
#[derive(Default)]
struct Memory {
    first: Option<Stored>,
    earlier: HashMap<CacheKey, Stored>,
    puts: usize,
}

impl Unfaithful {
    fn open(fault: Option<SessionFault>, clock: &ManualClock) -> Self {
        let clock = match fault {
            Some(SessionFault::ShowsTheExpired) => ManualClock::at(clock.now()),
            _ => clock.clone(),
        };
        let disk = Disk::default();
        let open = |namespace| ReferenceStorage::open(&disk, namespace, clock.clone());
        let good = match fault {
            Some(SessionFault::ListsTwice) => {
                StorageCache::new(Broken::new(open("responses"), RepeatsTheFirst), open("redirects"))
            }
            _ => StorageCache::new(open("responses"), open("redirects")),
        };
        let good = match fault {
            Some(SessionFault::CutsParts) => good.with_bodies(Broken::new(open("bodies"), LosesTheLastByte)),
            _ => good.with_bodies(open("bodies")),
        };
        Self { good, fault, memory: Mutex::default() }
    }

    fn has(&self, fault: SessionFault) -> bool {
        self.fault == Some(fault)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Unfaithful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unfaithful").field("fault", &self.fault).finish_non_exhaustive()
    }
}

#[async_trait]
impl Cache for Unfaithful {
    fn responses(&self) -> &dyn Storage {
        self.good.responses()
    }

    fn redirects(&self) -> &dyn Storage {
        self.good.redirects()
    }

    fn bodies(&self) -> Option<&dyn Storage> {
        self.good.bodies()
    }

    async fn get(&self, key: &CacheKey) -> Result<Option<Stored>> {
        let mut found = self.good.get(key).await?;
        match (self.fault, &mut found) {
            (Some(SessionFault::FindsNothing), _) => return Ok(None),
            (Some(SessionFault::GivesAnother), Some(_)) => return Ok(self.memory().first.clone()),
            (Some(SessionFault::BringsBack), None) => return Ok(self.memory().earlier.get(key).cloned()),
            (Some(SessionFault::CutsBodies), Some(stored)) => {
                stored.body.truncate(stored.body.len().saturating_sub(1));
            }
            (Some(SessionFault::WritesOnReading), Some(stored)) => {
                let mut touched = stored.clone();
                touched.retain_until = None;
                self.good.refresh(key, touched).await?;
            }
            _ => {}
        }
        Ok(found)
    }

    async fn put(&self, key: &CacheKey, mut stored: Stored, replaced: Option<&Stored>) -> Result<()> {
        let puts = {
            let mut memory = self.memory();
            memory.first.get_or_insert_with(|| stored.clone());
            memory.earlier.entry(*key).or_insert_with(|| stored.clone());
            memory.puts = memory.puts.saturating_add(1);
            memory.puts
        };
        if let Some(fault) = self.fault {
            let is_lost = match fault {
                SessionFault::LosesEmptyBodies => stored.record.as_response().is_some() && stored.body.is_empty(),
                SessionFault::LosesRedirects => stored.record.is_redirect(),
                SessionFault::HoldsTen => puts > 10,
                SessionFault::KeepsTheFirst => self.good.get(key).await?.is_some(),
                _ => false,
            };
            if is_lost {
                return Ok(());
            }
            fault.twist(&mut stored);
        }
        if self.has(SessionFault::MixesRedirects) {
            return self.responses().write(key, codec::encode(stored)?).await;
        }
        self.good.put(key, stored, replaced).await
    }

    async fn refresh(&self, key: &CacheKey, mut stored: Stored) -> Result<bool> {
        match self.fault {
            Some(SessionFault::DropsRefreshes) => return Ok(true),
            Some(SessionFault::EmptiesOnRefresh) => {
                if let Record::Response(record) = Arc::make_mut(&mut stored.record) {
                    record.headers.clear();
                }
            }
            Some(fault) => fault.twist(&mut stored),
            None => {}
        }
        self.good.refresh(key, stored).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        if self.has(SessionFault::DeletesNothing) {
            return Ok(self.good.get(key).await?.is_some());
        }
        self.good.delete(key).await
    }

    async fn delete_many(&self, keys: &[CacheKey]) -> Result<u64> {
        if self.has(SessionFault::DeletesNothing) {
            return Ok(keys.len() as u64);
        }
        self.good.delete_many(keys).await
    }

    async fn delete_expired(&self, now: SystemTime) -> Result<u64> {
        match self.fault {
            Some(SessionFault::KeepsTheExpired) => return Ok(0),
            Some(SessionFault::RemovesTheLiving) => self.good.clear().await?,
            _ => {}
        }
        let deleted = self.good.delete_expired(now).await?;
        Ok(if self.has(SessionFault::MiscountsTheExpired) { deleted.saturating_add(1) } else { deleted })
    }

    fn records(&self) -> BoxStream<'_, Result<(CacheKey, Stored)>> {
        if self.has(SessionFault::ListsNothing) { stream::empty().boxed() } else { self.good.records() }
    }

    async fn clear(&self) -> Result<()> {
        match self.fault {
            Some(SessionFault::ClearsNothing) => Ok(()),
            Some(SessionFault::ClearsOnlyResponses) => self.responses().clear().await,
            _ => self.good.clear().await,
        }
    }

    async fn close(&self) -> Result<()> {
        if self.has(SessionFault::ClosesNothing) { Ok(()) } else { self.good.close().await }
    }
}

/// Lists what comes first once more at the end.
#[derive(Debug, Default)]
struct RepeatsTheFirst;

impl Twist for RepeatsTheFirst {
    const NAME: &'static str = "lists the first key twice";

    fn keys<'a>(&'a self, good: &'a ReferenceStorage) -> BoxStream<'a, Result<CacheKey>> {
        good.keys().chain(good.keys().take(1)).boxed()
    }
}

/// The [`CacheHarness`] of what has a [`SessionFault`], or none.
#[derive(Clone, Debug, Default)]
pub struct BrokenSessionHarness {
    fault: Option<SessionFault>,
    clock: ManualClock,
}

impl BrokenSessionHarness {
    /// Of caches and sessions with this fault, or with none.
    #[must_use]
    pub fn new(fault: Option<SessionFault>) -> Self {
        Self { fault, clock: ManualClock::new() }
    }
}

#[async_trait]
impl CacheHarness for BrokenSessionHarness {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(Unfaithful::open(self.fault, &self.clock))
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    fn session(&self, session: SessionBuilder) -> SessionBuilder {
        match self.fault {
            Some(fault) => fault.mislead(session),
            None => session,
        }
    }
}
