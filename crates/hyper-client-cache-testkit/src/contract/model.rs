//! All rules at once: a random history of one storage against a plain map. Case 237, one client at a time.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};

use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::support::{keys, listed, listed_entries, listed_heads};
use super::{Harness, Opened};
use crate::ManualClock;

const SPACE: &str = "model";
const STEPS: usize = 1_500;

/// Set to a number, it repeats the history that a failure named.
const SEED: &str = "CONTRACT_SEED";

/// A random history of calls is answered as a map with deadlines would answer it.
pub(super) async fn model_a_random_history_is_that_of_a_map(harness: &dyn Harness) -> Outcome {
    let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    match history(harness, seed).await {
        Ok(()) => Ok(Verdict::Kept),
        Err(violation) => Err(Violation::new(format!("{violation} (repeat it with {SEED}={seed})"))),
    }
}

async fn history(harness: &dyn Harness, seed: u64) -> Result<(), Violation> {
    let mut rng = Rng::with_seed(seed);
    let names = keys("one", 8)?;
    let mut storage = harness.open(SPACE).await;
    storage.clear().await?;
    let mut model = Model { clock: harness.clock(), entries: BTreeMap::new() };
    for step in 0..STEPS {
        let name = rng.choice(&names).copied().ok_or_else(|| Violation::new("eight keys were made"))?;
        // Most histories write and read; now and then something rarer happens.
        let act = rng.u32(0..100);
        let what = model
            .act(act, &mut rng, &mut storage, harness, name, &names)
            .await
            .map_err(|violation| Violation::new(format!("step {step}: {violation}")))?;
        let found = storage.read(&name).await?;
        ensure_eq!(found, model.live(&name), "step {step}, {what}: read of {name}");
        if rng.u32(0..10) == 0 {
            model
                .compare(&*storage)
                .await
                .map_err(|violation| Violation::new(format!("step {step}, {what}: {violation}")))?;
        }
    }
    model.compare(&*storage).await
}

struct Model {
    clock: ManualClock,
    entries: BTreeMap<CacheKey, Entry>,
}

impl Model {
    async fn act(
        &mut self,
        act: u32,
        rng: &mut Rng,
        storage: &mut Opened,
        harness: &dyn Harness,
        name: CacheKey,
        names: &[CacheKey],
    ) -> Result<&'static str, Violation> {
        Ok(match act {
            0..35 => {
                let entry = self.random_entry(rng);
                storage.write(&name, entry.clone()).await?;
                self.entries.insert(name, entry);
                "write"
            }
            35..45 => {
                let some: Vec<_> = names.iter().copied().filter(|_| rng.bool()).collect();
                let some: Vec<_> = some.into_iter().map(|name| (name, self.random_entry(rng))).collect();
                storage.write_many(some.clone()).await?;
                self.entries.extend(some);
                "write_many"
            }
            45..55 => {
                let live = self.live(&name);
                let mut entry = self.random_entry(rng);
                entry.body = live.as_ref().map(|entry| entry.body.clone()).unwrap_or_default();
                ensure_eq!(storage.refresh(&name, entry.clone()).await?, live.is_some(), "refresh of {name}");
                if live.is_some() {
                    self.entries.insert(name, entry);
                }
                "refresh"
            }
            55..65 => {
                ensure_eq!(storage.delete(&name).await?, self.live(&name).is_some(), "delete of {name}");
                self.entries.remove(&name);
                "delete"
            }
            65..70 => {
                let some: Vec<_> = names.iter().copied().filter(|_| rng.bool()).collect();
                let live = some.iter().filter(|name| self.live(name).is_some()).count();
                ensure_eq!(storage.delete_many(&some).await?, live as u64, "delete_many");
                self.entries.retain(|name, _| !some.contains(name));
                "delete_many"
            }
            70..75 => {
                let found = storage.read_many(names).await?;
                let expected: Vec<_> = names.iter().map(|name| self.live(name)).collect();
                ensure_eq!(found, expected, "read_many");
                "read_many"
            }
            75..80 => {
                ensure_eq!(storage.contains(&name).await?, self.live(&name).is_some(), "contains {name}");
                "contains"
            }
            80..90 => {
                self.clock.advance(Duration::from_secs(rng.u64(1..20)));
                "time passes"
            }
            90..95 => {
                let now = self.clock.now();
                let dead = self.entries.values().filter(|entry| entry.is_dead(now)).count() as u64;
                let deleted = storage.delete_expired(now).await?;
                // A storage may have met a dead entry before and removed it then.
                ensure!(deleted <= dead, "delete_expired says {deleted}, dead are {dead}");
                self.entries.retain(|_, entry| !entry.is_dead(now));
                "delete_expired"
            }
            95..98 => {
                if storage.info().persistent {
                    storage.close().await?;
                    *storage = harness.open(SPACE).await;
                }
                "reopening"
            }
            _ => {
                storage.clear().await?;
                self.entries.clear();
                "clear"
            }
        })
    }

    fn random_entry(&self, rng: &mut Rng) -> Entry {
        let head: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
        let len = if rng.u32(0..20) == 0 { 100_000 } else { 200 };
        let body = vec![rng.u8(..); rng.usize(0..len)];
        let deadline: Option<SystemTime> = rng.bool().then(|| self.clock.after(Duration::from_secs(rng.u64(0..60))));
        Entry::new(head, body).retain_until(deadline)
    }

    fn live(&self, name: &CacheKey) -> Option<Entry> {
        self.entries.get(name).filter(|entry| !entry.is_dead(self.clock.now())).cloned()
    }

    /// Everything that lists or counts.
    async fn compare(&self, storage: &dyn Storage) -> Result<(), Violation> {
        let now = self.clock.now();
        let live: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_dead(now))
            .map(|(name, entry)| (*name, entry.clone()))
            .collect();
        let names: Vec<_> = live.iter().map(|(name, _)| *name).collect();
        let heads: Vec<_> = live.iter().map(|(name, entry)| (*name, entry.clone().without_body())).collect();
        let bytes = live.iter().fold(0_u64, |sum, (_, entry)| sum.saturating_add(entry.len()));
        ensure_eq!(listed(storage).await?, names, "the keys");
        ensure_eq!(listed_entries(storage).await?, live, "the entries");
        ensure_eq!(listed_heads(storage).await?, heads, "the heads");
        ensure_eq!(storage.size().await?, live.len() as u64, "the size");
        ensure_eq!(storage.bytes().await?, bytes, "the bytes");
        Ok(())
    }
}
