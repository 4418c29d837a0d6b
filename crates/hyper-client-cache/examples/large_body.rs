//! How much memory a body of 1 GiB takes, on a miss and on a hit: it streams both times.
//!
//! `cargo run --release --example large_body` (Linux). The origin is a process of its own, so that only the client's
//! memory is measured. Another size in MiB may be given: `-- 64`.
#![allow(clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)] // an example ends where anything is wrong

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use hyper_client_cache::CachedSession;
use hyper_client_cache::sqlite::SqliteCache;
use hyper_client_cache_testkit::origin::{Answer, Origin, PatternChecker};

const MIB: u64 = 1024 * 1024;

/// What a body may add to the resident memory, whatever its length.
const ALLOWED: u64 = 8 * MIB;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("origin") {
        return origin().await;
    }
    let mib: u64 = argument.map_or(Ok(1024), |size| size.parse())?;
    let mut child =
        Command::new(std::env::current_exe()?).arg("origin").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut base = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut base)?;
    let base = base.trim_end();

    let cache = SqliteCache::builder("large").use_temp(true).max_bytes(4096 * MIB).open().await?;
    let session = CachedSession::builder().cache(cache).timeout(None).build()?;
    // Code, connections and pools are there before anything is measured; 16 MiB, so that parts are among it.
    for _ in 0..2 {
        fetch(&session, &format!("{base}/{}", 16 * MIB), 16 * MIB).await?;
    }
    let before = resident()?;
    println!("resident before: {:.1} MiB", mebibytes(before));
    let mut grown = 0;
    for expected in ["miss", "hit"] {
        let begun = Instant::now();
        let (outcome, peak) = fetch(&session, &format!("{base}/{}", mib * MIB), mib * MIB).await?;
        let growth = peak.saturating_sub(before);
        println!(
            "{outcome}: {mib} MiB in {:.1?}, resident at most {:.1} MiB, grown by {:.1} MiB",
            begun.elapsed(),
            mebibytes(peak),
            mebibytes(growth)
        );
        assert_eq!(outcome, expected, "the cache did something else");
        grown = grown.max(growth);
        session.layer().flush().await;
    }
    session.close().await?;
    // The origin ends with its standard input.
    drop(child.stdin.take());
    child.wait()?;
    assert!(grown <= ALLOWED, "more than {} MiB", ALLOWED / MIB);
    println!("within {} MiB", ALLOWED / MIB);
    Ok(())
}

/// Reads a body to its end and checks every byte; says what the cache did and the most memory seen meanwhile.
async fn fetch(
    session: &CachedSession,
    url: &str,
    len: u64,
) -> Result<(&'static str, u64), Box<dyn std::error::Error>> {
    let mut response = session.get(url).send().await?;
    let outcome = response.cache_info().map_or("-", |info| info.outcome.as_str());
    let (mut checker, mut peak, mut next) = (PatternChecker::new(), 0, 0);
    while let Some(chunk) = response.chunk().await? {
        assert!(checker.update(&chunk), "another byte than the origin sent");
        if checker.len() >= next {
            peak = peak.max(resident()?);
            next = checker.len() + MIB;
        }
    }
    assert_eq!(checker.len(), len);
    Ok((outcome, peak.max(resident()?)))
}

/// Serves bodies of any length until standard input ends.
async fn origin() -> Result<(), Box<dyn std::error::Error>> {
    let origin = Origin::start(|request: &hyper_client_cache_testkit::origin::Recorded| {
        let len = request.path().trim_start_matches('/').parse().expect("a length");
        Answer::pattern(len).header("cache-control", "max-age=3600")
    })
    .await;
    println!("{}", origin.url("").trim_end_matches('/'));
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}

/// The resident memory of this process in bytes.
fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS: this example needs Linux")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kibibytes * 1024)
}

#[allow(clippy::cast_precision_loss)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
