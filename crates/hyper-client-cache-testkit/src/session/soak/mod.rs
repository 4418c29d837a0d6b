//! A long mixed load on a session over any cache (case 232): no answer is wrong, and what it takes does not grow.
//!
//! The work is counted, so that it is short by default; `HCC_LONG_TESTS=600` goes on for ten minutes.
//! In rounds: each opens a cache and a session, lets [`TASKS`] callers do everything that can be done to them while the
//! origin fails now and then, closes both, and looks at what is left of tasks, descriptors and memory.
//!
//! `site` is what is asked for, `caller` who asks and checks the answers, `left` what is there between two rounds.

mod caller;

mod left;

mod site;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use self::caller::{Caller, Counts};
use self::left::Left;
use self::site::{Versions, answer};
use super::CachedSession;
use crate::contract::{CacheHarness, Violation, ensure, ensure_eq};
use crate::origin::{Origin, Recorded};

/// Set in the process that runs the test alone: what others do at the same time would count.
const ALONE: &str = "HCC_TEST_ALONE";

/// How many seconds to go on.
const LONG: &str = "HCC_LONG_TESTS";

/// Rounds of the short form; the first is not compared with, for it fills pools and arenas.
const ROUNDS: usize = 4;

/// Callers of a round.
const TASKS: u64 = 8;

/// How far memory may grow after the first rounds, in KiB: what an allocator keeps differs by some.
const GROWTH: u64 = 24 * 1024;

/// Puts a mixed load on sessions over caches that `harness` opens. `test` is the caller's name with its modules, by which
/// it is run once more in a process of its own. `disturb` is called with some number all the while, to let a store fail
/// and recover, and with `None` where all must be well again.
///
/// # Panics
/// Where an answer is wrong, where anything is left, or where memory grows.
#[allow(clippy::panic, clippy::expect_used)] // that is how a test fails
pub fn soak<H: CacheHarness>(
    test: &str,
    harness: impl FnOnce() -> H,
    disturb: impl Fn(Option<u64>) + Send + Sync + 'static,
) {
    if std::env::var_os(ALONE).is_none() {
        let program = std::env::current_exe().expect("this program has a path");
        let mut alone = Command::new(program);
        let output = alone.args(["--exact", test, "--nocapture"]).env(ALONE, "yes").output().expect("it is started");
        let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{said}");
        assert!(output.status.success() && said.contains("1 passed"), "{test}\n{said}\n{told}");
        return;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let result = runtime.block_on(async {
        let harness = harness();
        run(&harness, Arc::new(disturb)).await
    });
    if let Err(violation) = result {
        panic!("{violation}");
    }
}

type Disturb = Arc<dyn Fn(Option<u64>) + Send + Sync>;

async fn run(harness: &dyn CacheHarness, disturb: Disturb) -> Result<(), Violation> {
    let seconds = std::env::var(LONG).ok().and_then(|text| text.parse().ok());
    let (begun, time) = (Instant::now(), seconds.map(Duration::from_secs));
    let mut left: Vec<Left> = Vec::new();
    while time.map_or(left.len() < ROUNDS, |time| left.len() < ROUNDS || begun.elapsed() < time) {
        let counts = round(harness, &disturb).await?;
        // Connections that were closed take a moment to be gone.
        let mut now = Left::now();
        let tasks = left.iter().map(|left| left.tasks).min().unwrap_or(0);
        let descriptors = left.iter().map(|left| left.descriptors).min().unwrap_or(usize::MAX);
        for _ in 0..500 {
            if now.tasks <= tasks && now.descriptors <= descriptors {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            now = Left::now();
        }
        // What a harness itself keeps is there after the first round.
        if !left.is_empty() {
            ensure!(now.tasks <= tasks, "tasks are left: there were {tasks}, now {now}");
            ensure!(now.descriptors <= descriptors, "descriptors are left: there were {descriptors}, now {now}");
        }
        println!("{:>6.1} s  {now}  {counts}", begun.elapsed().as_secs_f64());
        left.push(now);
    }
    // The second quarter against the last.
    let quarter = (left.len() / 4).max(1);
    let mean = |part: &[Left]| part.iter().map(|left| left.memory).sum::<u64>().checked_div(part.len() as u64);
    let (early, late) =
        (left.get(quarter..quarter.saturating_mul(2)).and_then(mean), left.rchunks(quarter).next().and_then(mean));
    let (early, late) = (early.unwrap_or_default(), late.unwrap_or_default());
    ensure!(late <= early.saturating_add(GROWTH), "memory grows: from {early} to {late} KiB in {} rounds", left.len());
    Ok(())
}

/// One cache and one session from their beginning to their end.
async fn round(harness: &dyn CacheHarness, disturb: &Disturb) -> Result<Arc<Counts>, Violation> {
    let cache = harness.open().await;
    let versions: Arc<Versions> = Arc::default();
    let served = Arc::clone(&versions);
    let origin = Origin::start(move |request: &Recorded| answer(request, &served)).await;
    let builder = CachedSession::builder().shared_cache(cache.clone()).clock(Arc::new(harness.clock()));
    let session = harness.session(builder.timeout(Duration::from_secs(60))).build()?;
    let counts: Arc<Counts> = Arc::default();
    let callers = (0..TASKS).map(|_| {
        let caller = Caller {
            session: session.clone(),
            base: origin.url(""),
            versions: Arc::clone(&versions),
            counts: Arc::clone(&counts),
            clock: harness.clock(),
            disturb: Arc::clone(disturb),
        };
        async move { tokio::spawn(caller.work()).await.map_err(|error| Violation::new(error.to_string()))? }
    });
    try_join_all(callers).await?;
    disturb(None);
    // No flight is left once refreshes have ended.
    for _ in 0..3000 {
        if session.layer().in_flight() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ensure_eq!(session.layer().in_flight(), 0, "exchanges on their way");
    session.layer().flush().await;
    // Every body had a lifetime, so no part of one outlives this, whatever has become of its head.
    harness.clock().advance(Duration::from_secs(400 * 24 * 3600));
    session.cache().delete_expired().await?;
    let parts = match cache.bodies() {
        Some(bodies) => bodies.size().await?,
        None => 0,
    };
    ensure_eq!(parts, 0, "parts of bodies that nobody can find");
    session.cache().clear().await?;
    ensure_eq!(cache.responses().size().await?, 0, "entries after clearing");
    session.close().await?;
    drop(session);
    cache.close().await?;
    drop(cache);
    origin.finish().await;
    Ok(counts)
}
