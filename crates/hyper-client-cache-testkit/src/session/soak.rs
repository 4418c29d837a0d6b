//! A long mixed load on a session over any cache (case 232): no answer is wrong, and what it takes does not grow.
//!
//! The work is counted, so that it is short by default; `HCC_LONG_TESTS=600` goes on for ten minutes.
//! In rounds: each opens a cache and a session, lets [`TASKS`] callers do everything that can be done to them while the
//! origin fails now and then, closes both, and looks at what is left of tasks, descriptors and memory.

use std::fmt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use http::{HeaderName, HeaderValue, Method};

use super::CachedSession;
use crate::contract::{CacheHarness, Violation, ensure, ensure_eq};
use crate::core::cache::Filter;
use crate::core::session::{RequestBuilder, Response};
use crate::core::{Error, ErrorKind};
use crate::origin::{Answer, Origin, Recorded};

/// Set in the process that runs the test alone: what others do at the same time would count.
const ALONE: &str = "HCC_TEST_ALONE";

/// How many seconds to go on.
const LONG: &str = "HCC_LONG_TESTS";

/// Rounds of the short form; the first is not compared with, for it fills pools and arenas.
const ROUNDS: usize = 4;

/// Callers of a round.
const TASKS: u64 = 8;

/// What each does in a round.
const CALLS: u64 = 150;

/// How many URLs there are: four of each kind.
const URLS: usize = 4 * Kind::ALL.len();

/// How far memory may grow after the first rounds, in KiB: what an allocator keeps differs by some.
const GROWTH: u64 = 24 * 1024;

/// The version of an answer, which an unsafe request makes another.
const VERSION: &str = "x-version";

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

/// What is there between two rounds.
#[derive(Clone, Copy, Debug)]
struct Left {
    tasks: usize,
    /// 0 where the system does not say.
    descriptors: usize,
    /// Resident, in KiB; 0 where the system does not say.
    memory: u64,
}

impl Left {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Self {
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            memory: resident.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0),
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks, {} descriptors, {} KiB", self.tasks, self.descriptors, self.memory)
    }
}

/// What was done in a round.
#[derive(Debug, Default)]
struct Counts {
    answers: AtomicU64,
    hits: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (answers, hits) = (count(&self.answers), count(&self.hits));
        write!(f, "{answers} answers, {hits} hits, {} dropped, {} failed", count(&self.dropped), count(&self.failed))
    }
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

/// Which version each URL is at, and which one has been seen to be the least that there is.
#[derive(Debug, Default)]
struct Versions {
    current: [AtomicU64; URLS],
    least: [AtomicU64; URLS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tagged,
    Varying,
    Large,
    Refreshed,
    Failing,
    Redirected,
    NotStored,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Tagged, Self::Varying, Self::Large, Self::Refreshed, Self::Failing, Self::Redirected, Self::NotStored];
}

/// A URL by its number, which is its path.
fn kind_of(number: usize) -> Kind {
    Kind::ALL.iter().copied().cycle().nth(number).unwrap_or(Kind::Tagged)
}

/// Whose answer a URL gives: its own, or the one below that a redirect leads to.
fn target(number: usize) -> usize {
    (0..=number).rev().find(|number| kind_of(*number) != Kind::Redirected).unwrap_or(0)
}

/// What a version of a URL says.
fn body(number: usize, version: u64, language: &str) -> String {
    let len = if kind_of(number) == Kind::Large { 300_000 } else { number.saturating_mul(50).saturating_add(100) };
    let unit = format!("{number} {version} {language} ");
    unit.chars().cycle().take(len).collect()
}

fn answer(request: &Recorded, versions: &Versions) -> Answer {
    let number = request.path().trim_start_matches('/').parse().unwrap_or(usize::MAX);
    let Some(current) = versions.current.get(number) else { return Answer::status(404) };
    if request.method == Method::POST {
        let version = current.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        return Answer::ok("").header(VERSION, version.to_string());
    }
    let version = current.load(Ordering::SeqCst);
    let language = request.header("accept-language").unwrap_or("-");
    let ok = || Answer::ok(body(number, version, language)).header(VERSION, version.to_string());
    match kind_of(number) {
        Kind::Tagged => ok().etag(&format!("\"{version}\"")).header("cache-control", "max-age=5"),
        Kind::Varying => ok().header("vary", "accept-language").header("cache-control", "max-age=60"),
        Kind::Large => ok().header("cache-control", "max-age=60"),
        Kind::Refreshed => ok().header("cache-control", "max-age=2, stale-while-revalidate=60"),
        Kind::Failing => match fastrand::u8(0..4) {
            0 => Answer::status(503),
            1 => ok().header("cache-control", "max-age=60").cut_after(50),
            2 => ok().header("cache-control", "max-age=60").reset_after(20),
            _ => ok().header("cache-control", "max-age=2, stale-if-error=60"),
        },
        Kind::Redirected => {
            Answer::redirect(301, &format!("/{}", target(number))).header("cache-control", "max-age=60")
        }
        Kind::NotStored => ok().header("cache-control", "no-store"),
    }
}

/// One of those who use a session at the same time.
struct Caller {
    session: CachedSession,
    base: String,
    versions: Arc<Versions>,
    counts: Arc<Counts>,
    clock: crate::ManualClock,
    disturb: Disturb,
}

impl Caller {
    async fn work(self) -> Result<(), Violation> {
        for call in 0..CALLS {
            let number = fastrand::usize(..URLS);
            let url = format!("{}/{number}", self.base);
            match fastrand::u8(..) {
                0..150 => self.read(number, &url).await?,
                150..170 => self.give_up(self.session.get(&url)).await,
                170..185 => self.read_half(&url).await,
                185..195 => self.ask_head(number, &url).await?,
                195..215 => self.change(number, &url).await?,
                215..220 => self.give_up(self.session.post(&url)).await,
                220..228 => drop(self.session.cache().delete_url(&url).await),
                228..234 => drop(self.session.cache().count(Filter::new()).await),
                234..238 => drop(self.session.cache().delete_expired().await),
                238..239 => drop(self.session.cache().clear().await),
                239..247 => self.clock.advance(Duration::from_millis(fastrand::u64(..3000))),
                247.. => (self.disturb)(Some(call)),
            }
        }
        Ok(())
    }

    /// A whole answer, which must be one version, and none that was replaced before it was asked for.
    async fn read(&self, number: usize, url: &str) -> Result<(), Violation> {
        let target = target(number);
        let language = fastrand::choice(["de", "en", "fr"]).unwrap_or_default();
        let least = self.least(target);
        let is_varying = kind_of(target) == Kind::Varying;
        let mut request = self.session.get(url);
        if is_varying {
            request = request.header(HeaderName::from_static("accept-language"), HeaderValue::from_static(language));
        }
        let outcome = async {
            let response = request.send().await?;
            let (status, version, hit) = (response.status().as_u16(), version(&response), response.from_cache());
            Ok::<_, Error>((status, version, hit, response.text().await?))
        };
        // A body in parts that is replaced while it is read ends in an error, never in a mix.
        let may_break = |error: &Error| kind_of(target) == Kind::Large && error.kind() == ErrorKind::Body;
        let may_fail = kind_of(target) == Kind::Failing;
        let (version, text) = match outcome.await {
            Ok((200, version, hit, text)) => {
                self.counts.answers.fetch_add(1, Ordering::Relaxed);
                self.counts.hits.fetch_add(u64::from(hit), Ordering::Relaxed);
                (version, text)
            }
            Ok((503, ..)) | Err(_) if may_fail => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) if may_break(&error) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Ok((status, ..)) => return Err(Violation::new(format!("{number} was answered with {status}"))),
            Err(error) => return Err(Violation::new(format!("{number} was not answered: {error:?}"))),
        };
        let Some(version) = version else { return Err(Violation::new(format!("{number} has no version"))) };
        ensure!(version >= least, "{number} was answered with version {version}, but {least} was there before");
        let expected = body(target, version, if is_varying { language } else { "-" });
        ensure_eq!(text, expected, "what {number} says in version {version}");
        Ok(())
    }

    async fn ask_head(&self, number: usize, url: &str) -> Result<(), Violation> {
        let target = target(number);
        let least = self.least(target);
        match self.session.head(url).send().await {
            Ok(response) if response.status().is_success() => {
                let version = version(&response).unwrap_or(0);
                ensure!(version >= least, "HEAD of {number} says version {version}, but {least} was there before");
                Ok(())
            }
            _ if kind_of(target) == Kind::Failing => Ok(()),
            Ok(response) => Err(Violation::new(format!("HEAD of {number} was answered with {}", response.status()))),
            Err(error) => Err(Violation::new(format!("HEAD of {number} was not answered: {error:?}"))),
        }
    }

    /// From when this returns on, nothing older may be an answer.
    async fn change(&self, number: usize, url: &str) -> Result<(), Violation> {
        let response = self.session.post(url).send().await?;
        if let (Some(version), Some(least)) = (version(&response), self.versions.least.get(number)) {
            least.fetch_max(version, Ordering::SeqCst);
        }
        Ok(())
    }

    /// A request that is dropped at some moment.
    async fn give_up(&self, request: RequestBuilder) {
        let whole = async {
            let response = request.send().await?;
            response.bytes().await
        };
        let time = Duration::from_micros(fastrand::u64(..3000));
        let is_dropped = tokio::time::timeout(time, whole).await.is_err();
        self.counts.dropped.fetch_add(u64::from(is_dropped), Ordering::Relaxed);
    }

    /// A body of which only the beginning is read.
    async fn read_half(&self, url: &str) {
        if let Ok(mut response) = self.session.get(url).send().await {
            let _ = response.chunk().await;
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn least(&self, number: usize) -> u64 {
        self.versions.least.get(number).map_or(0, |least| least.load(Ordering::SeqCst))
    }
}

fn version(response: &Response) -> Option<u64> {
    response.headers().get(VERSION)?.to_str().ok()?.parse().ok()
}
