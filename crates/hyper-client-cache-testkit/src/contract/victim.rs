//! S3 again: a process that is killed while it writes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use hyper_client_cache_core::Result;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};

use super::Harness;
use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::support::{entry, key, listed};

const KEYS: [&str; 3] = ["one", "two", "three"];

/// So many writes are enough for any moment of death; the process ends by itself if nobody kills it.
const MOST_WRITES: u64 = 20_000;

/// What a line begins with that acknowledges a write. Others on the same output are not ours.
const ACKNOWLEDGED: &str = "acknowledged ";

/// Writes entry after entry and acknowledges each on the standard output, until the process is killed.
///
/// This is what the process of [`Harness::victim`] does with the storage that it opened.
///
/// # Errors
/// The storage's own, and [`ErrorKind::Storage`](hyper_client_cache_core::ErrorKind::Storage) where nobody reads the
/// output.
pub async fn victim(storage: &dyn Storage) -> Result<()> {
    for number in 0..MOST_WRITES {
        for name in KEYS {
            let key = CacheKey::new(name).map_err(|error| lost("a key", error))?;
            storage.write(&key, numbered(number)).await?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{ACKNOWLEDGED}{name} {number}").map_err(|error| lost("the output", error))?;
            out.flush().map_err(|error| lost("the output", error))?;
        }
    }
    Ok(())
}

fn lost(what: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> hyper_client_cache_core::Error {
    hyper_client_cache_core::Error::new(hyper_client_cache_core::ErrorKind::Storage, what).with_source(error)
}

/// S3: a process that is killed while it writes leaves whole entries, none older than what it acknowledged.
pub(super) async fn s03_a_killed_writer_leaves_whole_entries(harness: &dyn Harness) -> Outcome {
    const SPACE: &str = "s03-killed";
    for _ in 0..6 {
        let Some(command) = harness.victim(SPACE) else {
            return Ok(Verdict::skipped("the harness starts no process to be killed"));
        };
        let storage = harness.open(SPACE).await;
        storage.clear().await?;
        storage.close().await?;
        drop(storage);

        let after = fastrand::usize(1..40);
        let acknowledged = tokio::task::spawn_blocking(move || kill(command, after)).await;
        let acknowledged =
            acknowledged.map_err(|error| Violation::new(format!("watching the victim panicked: {error}")))??;

        let storage = harness.open(SPACE).await;
        for name in KEYS {
            let found = storage.read(&key(name)?).await?;
            let Some(number) = number_of(&found)? else { continue };
            let least = acknowledged.get(name).copied().unwrap_or_default();
            ensure!(number >= least, "{name} is write number {number}, after number {least} was acknowledged");
        }
        ensure!(listed(&*storage).await?.len() <= KEYS.len(), "a killed writer left keys that it did not write");
        storage.write(&key("one")?, entry("afterwards")).await?;
        ensure_eq!(storage.read(&key("one")?).await?, Some(entry("afterwards")), "written after a writer was killed");
        storage.close().await?;
    }
    Ok(Verdict::Kept)
}

/// Starts the victim, kills it during a write once it has acknowledged `after` of them, and says the last it did for
/// each key.
fn kill(mut command: Command, after: usize) -> Result<BTreeMap<String, u64>, Violation> {
    let failed = |what: &str, error: std::io::Error| Violation::new(format!("{what} the victim failed: {error}"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed("starting", error))?;
    let Some(output) = child.stdout.take() else { return Err(Violation::new("the victim has no output")) };
    let mut acknowledged = BTreeMap::new();
    let mut count = 0_usize;
    let mut last = Instant::now();
    // What it wrote before it died is still in the pipe afterwards, so the loop runs to the end of it.
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| failed("reading from", error))?;
        // The test harness of the victim may have begun the line.
        let Some((_, rest)) = line.split_once(ACKNOWLEDGED) else { continue };
        let Some((name, number)) = rest.split_once(' ') else { continue };
        // The last line may be cut short, and then has a lower number or none.
        let Ok(number) = number.parse() else { continue };
        acknowledged.insert(name.to_owned(), number);
        count = count.saturating_add(1);
        if count == after {
            // On a busy machine whoever reads runs at once and the writer does not: a kill that waits for nothing would
            // always find the writer between two writes.
            std::thread::sleep(last.elapsed().mul_f64(fastrand::f64()));
            child.kill().map_err(|error| failed("killing", error))?;
        }
        last = Instant::now();
    }
    child.wait().map_err(|error| failed("waiting for", error))?;
    ensure!(count >= after, "the victim ended by itself after {count} writes");
    Ok(acknowledged)
}

/// An entry every piece of which says `number`.
fn numbered(number: u64) -> Entry {
    let fill = u8::try_from(number % 251).unwrap_or_default();
    let len = 20_000_usize.saturating_add(usize::try_from(number % 1_000).unwrap_or_default().saturating_mul(64));
    Entry::new(number.to_string(), vec![fill; len])
}

fn number_of(found: &Option<Entry>) -> Result<Option<u64>, Violation> {
    let Some(found) = found else { return Ok(None) };
    let number = std::str::from_utf8(&found.head).ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) if *found == numbered(number) => Ok(Some(number)),
        _ => Err(Violation::new(format!("a killed writer left a mix: {found:?}"))),
    }
}
