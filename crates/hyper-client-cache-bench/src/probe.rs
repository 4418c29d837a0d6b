//! One measurement in a process of its own, printed as one number; `measure/child.rs` starts it.

use std::future::Future;
use std::path::Path;

use clap::{Args, ValueEnum};

use crate::Result;
use crate::alloc::Allocator;
use crate::client::{Client, drain, fetch};
use crate::floors::memory::Memory;
use crate::floors::message::encode;
use crate::floors::uncached::Uncached;
use crate::measure::stores::Answer;
use crate::origin::url;
use crate::ours::Ours;
use crate::peers::alpha::Alpha;
use crate::peers::stable::Stable;

const LARGE: u64 = 10 << 20;
const HUGE: u64 = 1 << 30;
const SMALL: u64 = 2 << 10;

/// The arguments after `probe`.
#[derive(Args)]
pub(crate) struct Probe {
    subject: Subject,
    what: What,
    /// The origin's URL without a path.
    origin: String,
    /// How many entries or hits, where there are several.
    count: u64,
}

/// Who is measured.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Subject {
    /// Ours, in memory.
    Memory,
    /// Ours, in SQLite with its hot tier.
    Sqlite,
    Uncached,
    /// The map of the memory floor.
    Map,
    /// Nothing but the bytes, one after the other.
    Packed,
    Moka,
    QuickCache,
    Redb,
    Cacache,
}

/// What is measured.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum What {
    /// The most bytes allocated at once while a body of 10 MiB is fetched for the first time, without those that stay
    /// because they are what was stored.
    PeakOfMiss,
    /// The same while it is fetched again.
    PeakOfHit,
    /// How much more memory is resident at most while 1 GiB is fetched twice.
    Growth,
    /// The bytes that an entry of 2 KiB takes.
    BytesPerEntry,
    /// Nothing: hits are taken for somebody else to count instructions.
    Hits,
}

impl Probe {
    /// Takes the measurement.
    pub(crate) fn run(&self, allocator: Option<Allocator>) -> Result<f64> {
        // One thread, so that what is counted does not depend on which one did it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.dispatch(allocator))
    }

    async fn dispatch(&self, allocator: Option<Allocator>) -> Result<f64> {
        let scratch = tempfile::tempdir()?;
        let folder: &Path = scratch.path();
        match self.subject {
            Subject::Memory => self.measure(allocator, async || Ours::memory()).await,
            Subject::Sqlite => self.measure(allocator, async || Ours::sqlite(&folder.join("ours.sqlite")).await).await,
            Subject::Uncached => self.measure(allocator, async || Ok(Uncached::new())).await,
            Subject::Map => self.measure(allocator, async || Memory::filled(&[self.small(0)], SMALL as usize)).await,
            Subject::Packed => self.packed(allocator),
            Subject::Moka => self.measure(allocator, async || Stable::moka()).await,
            Subject::QuickCache => self.measure(allocator, async || Stable::quick_cache()).await,
            Subject::Redb => self.measure(allocator, async || Alpha::redb(&folder.join("redb"))).await,
            Subject::Cacache => self.measure(allocator, async || Alpha::cacache(folder)).await,
        }
    }

    async fn measure<C, F>(&self, allocator: Option<Allocator>, open: impl FnOnce() -> F) -> Result<f64>
    where
        C: Client,
        F: Future<Output = Result<C>>,
    {
        match self.what {
            What::PeakOfMiss => self.peak(&open().await?, counting(allocator)?, false).await,
            What::PeakOfHit => self.peak(&open().await?, counting(allocator)?, true).await,
            What::Growth => self.growth(&open().await?).await,
            What::BytesPerEntry => self.bytes_per_entry(open, counting(allocator)?).await,
            What::Hits => self.hits(&open().await?).await,
        }
    }

    async fn peak(&self, client: &impl Client, allocator: Allocator, hit: bool) -> Result<f64> {
        let large = url(&self.origin, LARGE, "large");
        // The connection and what else is made once.
        fetch(client, &self.small(0)).await?;
        if hit {
            fetch(client, &large).await?;
        }
        let before = allocator.live();
        allocator.reset_peak();
        let body = client.send(&large).await?;
        drain(body).await?;
        let peak = allocator.peak();
        let kept = allocator.live().saturating_sub(before);
        Ok(peak.saturating_sub(kept) as f64)
    }

    async fn growth(&self, client: &impl Client) -> Result<f64> {
        let huge = url(&self.origin, HUGE, "huge");
        fetch(client, &self.small(0)).await?;
        let before = resident("VmRSS:")?;
        for _ in 0..2 {
            fetch(client, &huge).await?;
        }
        Ok(resident("VmHWM:")?.saturating_sub(before) as f64)
    }

    async fn bytes_per_entry<C, F>(&self, open: impl FnOnce() -> F, allocator: Allocator) -> Result<f64>
    where
        C: Client,
        F: Future<Output = Result<C>>,
    {
        let before = allocator.live();
        let client = open().await?;
        for number in 0..self.count {
            fetch(&client, &self.small(number)).await?;
        }
        Ok(allocator.live().saturating_sub(before) as f64 / self.count as f64)
    }

    /// Key, head and body of each entry in one piece.
    fn packed(&self, allocator: Option<Allocator>) -> Result<f64> {
        let allocator = counting(allocator)?;
        let answer = Answer::new(SMALL as usize);
        let before = allocator.live();
        let entries: Vec<Box<[u8]>> = (0..self.count)
            .map(|number| [self.small(number).as_bytes(), &encode(&answer.headers), &answer.body].concat().into())
            .collect();
        Ok(allocator.live().saturating_sub(before) as f64 / entries.len() as f64)
    }

    async fn hits(&self, client: &impl Client) -> Result<f64> {
        for _ in 0..=self.count {
            fetch(client, &self.small(0)).await?;
        }
        Ok(0.0)
    }

    fn small(&self, number: u64) -> String {
        url(&self.origin, SMALL, format_args!("entry-{number}"))
    }
}

fn counting(allocator: Option<Allocator>) -> Result<Allocator> {
    allocator.ok_or_else(|| "this program does not count what it allocates".into())
}

/// A figure of this process's memory, in bytes.
fn resident(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such line in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()?.saturating_mul(1024))
}
