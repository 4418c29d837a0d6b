//! Several processes on one store, and processes that are killed: for caches on a place that processes share.
//!
//! A child process is the test's own binary again, told by environment variables to run one of its tests, which asks
//! [`Child::of_this_process`] whether it is one and then [works](Child::work) until it is killed.
//! On its standard output it says `try` before and `ack` after each change of a key that only it writes, so that
//! whoever listens knows what must be there afterwards ([`Said`]).
//!
//! ```no_run
//! use std::sync::Arc;
//! use hyper_client_cache_core::cache::{Cache, MemoryCache};
//! use hyper_client_cache_testkit::processes::{self, Child, Processes};
//!
//! # type Violation = Box<dyn std::error::Error>;
//! // Both bodies are those of `#[tokio::test]` functions; a cache that keeps anything takes a place.
//! async fn the_load_keeps_what_it_acknowledges() -> Result<(), Violation> {
//!     if let Some(child) = Child::of_this_process() {
//!         return Ok(child.work(open(child.place()).await).await?);
//!     }
//!     Ok(processes::work_through(|| open("place".as_ref())).await?)
//! }
//!
//! async fn eight_processes_share_a_place() -> Result<(), Violation> {
//!     let processes = Processes::new("the_load_keeps_what_it_acknowledges", "place");
//!     Ok(processes::eight_are_killed(&processes, || open("place".as_ref())).await?)
//! }
//!
//! async fn open(place: &std::path::Path) -> Arc<dyn Cache> {
//!     Arc::new(MemoryCache::default())
//! }
//! ```

mod load;

mod said;

use std::io::{BufRead, BufReader, ErrorKind, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_client_cache_core::cache::Cache;

use self::load::{TASKS, key, work};
pub use self::said::Said;
use crate::contract::Violation;

const PLACE: &str = "HCC_TEST_CHILD_PLACE";
const NAME: &str = "HCC_TEST_CHILD_NAME";

/// So many seconds the processes of [`eight_are_killed`] work at least.
const LONG: &str = "HCC_LONG_TESTS";

/// What this process was started for.
#[derive(Clone, Debug)]
pub struct Child {
    place: PathBuf,
    name: String,
}

impl Child {
    /// This process as a child; `None` where nobody has started it as one.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        Some(Self { place: std::env::var_os(PLACE)?.into(), name: std::env::var(NAME).ok()? })
    }

    /// The place that it shares with others.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Works on `cache` and says so, until the process is killed. It ends by itself where nobody listens any more.
    ///
    /// # Errors
    /// What the cache has done wrong: the process ends, which whoever has started it notices.
    pub async fn work(&self, cache: Arc<dyn Cache>) -> Result<(), Violation> {
        fn say_aloud(line: String) -> Result<(), Violation> {
            let mut out = std::io::stdout().lock();
            match writeln!(out, "{line}").and_then(|()| out.flush()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
                said => said.map_err(|error| lost("the output", &error)),
            }
        }
        work(cache, &self.name, u64::MAX, say_aloud).await
    }
}

/// The processes that a test starts on one place.
#[derive(Clone, Debug)]
pub struct Processes {
    test: String,
    place: PathBuf,
    wrapper: Vec<String>,
}

impl Processes {
    /// Children run the test of the full name `test` of this binary, on `place`.
    pub fn new(test: impl Into<String>, place: impl Into<PathBuf>) -> Self {
        Self { test: test.into(), place: place.into(), wrapper: Vec::new() }
    }

    /// Children are run by this command, which is given the program and its arguments after `words`.
    #[must_use]
    pub fn run_by<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.wrapper = words.into_iter().map(str::to_owned).collect();
        self
    }

    /// Starts a child of this name. It is killed where the value is dropped.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, name: &str) -> Result<Running, Violation> {
        let this = std::env::current_exe().map_err(|error| lost("this program", &error))?;
        let mut command = match self.wrapper.split_first() {
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(this);
                command
            }
            None => Command::new(this),
        };
        command.args(["--exact", &self.test, "--nocapture"]).env(PLACE, &self.place).env(NAME, name);
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| lost("a child", &error))?;
        let Some(out) = process.stdout.take() else { return Err(Violation::new("a child has no output")) };
        Ok(Running { process, lines: BufReader::new(out).lines() })
    }

    /// Runs a child until `acks` changes were acknowledged and it has worked for `least`, and kills it. Blocks.
    ///
    /// # Errors
    /// It ended by itself.
    pub fn run_and_kill(&self, name: &str, acks: u64, least: Duration, said: &mut Said) -> Result<(), Violation> {
        let mut running = self.start(name)?;
        let (started, mut heard) = (Instant::now(), 0_u64);
        while heard < acks || started.elapsed() < least {
            running.hear_ack(said)?;
            heard = heard.saturating_add(1);
        }
        running.kill(said)
    }

    /// Runs a child whom something else is to kill, such as what it is [run by](Self::run_by), and hears it out. `false`
    /// where it goes on after it has acknowledged `most` changes; then it is let go of, and ends. Blocks.
    ///
    /// # Errors
    /// It ended by itself.
    pub fn run_until_killed(&self, name: &str, most: u64, said: &mut Said) -> Result<bool, Violation> {
        let mut running = self.start(name)?;
        let mut heard = 0_u64;
        for line in running.lines.by_ref() {
            heard = heard.saturating_add(said.hear(&line.map_err(|error| lost("a child's output", &error))?).into());
            if heard >= most {
                return Ok(false);
            }
        }
        let status = running.process.wait().map_err(|error| lost("waiting for a child", &error))?;
        if is_of_a_kill(status) { Ok(true) } else { Err(Violation::new(format!("a child ended by itself: {status}"))) }
    }
}

/// A child at work.
#[derive(Debug)]
pub struct Running {
    process: std::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Waits until the child has acknowledged one more change. Blocks.
    ///
    /// # Errors
    /// It ended before.
    pub fn hear_ack(&mut self, said: &mut Said) -> Result<(), Violation> {
        for line in self.lines.by_ref() {
            if said.hear(&line.map_err(|error| lost("a child's output", &error))?) {
                return Ok(());
            }
        }
        Err(Violation::new("a child ended by itself"))
    }

    /// Kills the child, and hears the last of what it said. Blocks.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(mut self, said: &mut Said) -> Result<(), Violation> {
        self.process.kill().map_err(|error| lost("killing a child", &error))?;
        // What was written before the kill is still in the pipe after it.
        for line in self.lines.by_ref().map_while(Result::ok) {
            said.hear(&line);
        }
        self.process.wait().map(drop).map_err(|error| lost("waiting for a child", &error))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The load itself, a few rounds in this process, whose result is checked. `open` opens the one place.
///
/// # Errors
/// What the cache has done wrong.
pub async fn work_through(open: impl AsyncFn() -> Arc<dyn Cache>) -> Result<(), Violation> {
    const NAME: &str = "only";

    work(open().await, NAME, 23, |_| Ok(())).await?;
    let cache = open().await;
    // Round 22 wrote key 6, rounds 4, 9, 14 and 19 deleted keys 4, 1, 6 and 3; 20 to 22 wrote 4, 5 and 6 again.
    for task in 0..TASKS {
        for (number, there) in [(6, true), (3, false)] {
            if cache.responses().contains(&key(NAME, task, number)?).await? != there {
                return Err(Violation::new(format!("key {number} of task {task} is not as it was left")));
            }
        }
    }
    Ok(cache.close().await?)
}

/// One process, killed again and again: it keeps what it acknowledged. `open` opens the place, and `look` looks at it
/// after each life.
///
/// # Errors
/// What the cache has done wrong.
pub async fn one_is_killed_again_and_again(
    processes: &Processes,
    open: impl AsyncFn() -> Arc<dyn Cache>,
    look: impl AsyncFn(),
) -> Result<(), Violation> {
    let mut said = Said::default();
    for acks in [1, 30, 7, 100, 3, 250, 55, 11] {
        let (processes, mut moved) = (processes.clone(), said);
        let run = move || processes.run_and_kill("one", acks, Duration::ZERO, &mut moved).map(|()| moved);
        said = blocking(run).await?;
        let cache = open().await;
        said.check(&*cache).await?;
        cache.close().await?;
        look().await;
    }
    Ok(())
}

/// Eight processes on one place, each killed twice: none waits for ever, and each keeps what it acknowledged.
///
/// They work until each has acknowledged some changes, and as many seconds as the environment variable
/// `HCC_LONG_TESTS` says at least.
///
/// # Errors
/// What the cache has done wrong.
pub async fn eight_are_killed(processes: &Processes, open: impl AsyncFn() -> Arc<dyn Cache>) -> Result<(), Violation> {
    let least = match std::env::var(LONG).map(|seconds| seconds.parse()) {
        Ok(Ok(seconds)) => Duration::from_secs(seconds),
        Ok(Err(error)) => return Err(lost(LONG, &error)),
        Err(_) => Duration::ZERO,
    };
    let children = ["one", "two", "three", "four", "five", "six", "seven", "eight"].map(|name| {
        let processes = processes.clone();
        tokio::spawn(blocking(move || {
            processes.run_and_kill(name, 40, Duration::ZERO, &mut Said::default())?;
            // Between two lives what was under way may have happened or not: told apart at the end.
            let mut said = Said::default();
            processes.run_and_kill(name, 120, least, &mut said)?;
            Ok(said)
        }))
    });
    let mut all = Vec::new();
    for child in children {
        all.push(child.await.map_err(|error| lost("a child", &error))??);
    }
    let cache = open().await;
    for mut said in all {
        said.check(&*cache).await?;
    }
    if cache.responses().stats().corrupt > 0 {
        return Err(Violation::new("something was read that is damaged"));
    }
    Ok(cache.close().await?)
}

/// Whether a child was killed. What it is run by ends by the same signal, or has the code that shells give for that.
fn is_of_a_kill(status: ExitStatus) -> bool {
    const KILL: i32 = 9;
    #[cfg(unix)]
    if std::os::unix::process::ExitStatusExt::signal(&status) == Some(KILL) {
        return true;
    }
    status.code() == Some(128_i32.saturating_add(KILL))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Violation> + Send + 'static,
) -> Result<T, Violation> {
    tokio::task::spawn_blocking(work).await.map_err(|error| lost("a thread", &error))?
}

#[track_caller]
fn lost(what: &str, error: &dyn std::error::Error) -> Violation {
    Violation::new(format!("{what}: {error}"))
}
