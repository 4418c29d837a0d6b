//! Several processes on one directory, and processes that are killed.
//!
//! A child process is this test binary again, told by environment variables to run [`workload`] on a directory until it
//! is killed. It says on its standard output what it is about to do and what was acknowledged.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_fs::FsCache;

use crate::support::key;

const FOLDER: &str = "HCC_FS_TEST_FOLDER";
const NAME: &str = "HCC_FS_TEST_CHILD";

/// How many tasks a child has, each with keys of its own.
const TASKS: u64 = 4;
/// How many keys each task has.
const KEYS: u64 = 8;

/// What is stored as version `version` of a key: anybody can compute it.
fn entry(key: &CacheKey, version: u64) -> Entry {
    let len = usize::try_from(version * 7919 % 20_000).unwrap();
    let body: Vec<u8> = key.as_str().bytes().chain(version.to_be_bytes()).cycle().take(len).collect();
    Entry::new(format!("{key} {version}"), body)
}

fn version_of(entry: &Entry) -> u64 {
    std::str::from_utf8(&entry.head).unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn child_key(child: &str, task: u64, number: u64) -> CacheKey {
    CacheKey::new(&format!("{child}-{task}-{number}")).unwrap()
}

/// Writes, overwrites, refreshes and deletes; says `try` before and `ack` after each change. Redirects are a crowd under
/// a bound of its own kind: they are evicted and removed when dead, beside. `rounds`: `None` for ever.
async fn workload(path: &Path, child: &str, rounds: Option<u64>, say: fn(String)) {
    let cache = FsCache::open(path).await.unwrap();
    let tasks = (0..TASKS).map(|task| {
        let (cache, child) = (cache.clone(), child.to_owned());
        tokio::spawn(async move {
            // Versions go on across restarts of the child, so that a stale one is told from a current one.
            let mut version = u64::from(std::process::id()) << 32;
            for round in 0..rounds.unwrap_or(u64::MAX) {
                version += 1;
                let name = child_key(&child, task, round % KEYS);
                let new = entry(&name, version);
                if round % 5 == 4 {
                    say(format!("try {name} 0"));
                    cache.responses().delete(&name).await.unwrap();
                    say(format!("ack {name} 0"));
                } else {
                    say(format!("try {name} {version}"));
                    if round % 3 == 0 && cache.responses().contains(&name).await.unwrap() {
                        cache.responses().refresh(&name, new).await.unwrap();
                    } else {
                        cache.responses().write(&name, new).await.unwrap();
                    }
                    say(format!("ack {name} {version}"));
                }
                // One key that everybody writes, and reads by others.
                let shared = key(0);
                cache.redirects().write(&shared, entry(&shared, version)).await.unwrap();
                let found = cache.redirects().read(&shared).await.unwrap();
                assert!(found.is_none_or(|found| found == entry(&shared, version_of(&found))));
                // And a listing, a clean-up and a clearing beside.
                match round % 16 {
                    3 => drop(cache.responses().keys().try_collect::<Vec<_>>().await.unwrap()),
                    7 => drop(cache.responses().delete_expired(std::time::UNIX_EPOCH).await.unwrap()),
                    11 => cache.redirects().clear().await.unwrap(),
                    _ => {}
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    cache.close().await.unwrap();
}

/// The workload itself: in a child for ever, otherwise a few rounds, whose result is checked.
#[tokio::test(flavor = "multi_thread")]
async fn the_workload_keeps_what_it_acknowledges() {
    fn say_aloud(line: String) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    }
    if let (Ok(path), Ok(name)) = (std::env::var(FOLDER), std::env::var(NAME)) {
        workload(Path::new(&path), &name, None, say_aloud).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    workload(&path, "only", Some(23), |_| {}).await;
    let cache = FsCache::open(&path).await.unwrap();
    // Round 22 wrote key 6, rounds 4, 9, 14 and 19 deleted keys 4, 1, 6 and 3; 20 to 22 wrote 4, 5 and 6 again.
    for task in 0..TASKS {
        assert!(cache.responses().contains(&child_key("only", task, 6)).await.unwrap());
        assert!(!cache.responses().contains(&child_key("only", task, 3)).await.unwrap());
    }
}

/// What a child said of its keys: the version that was acknowledged last, and one that was under way.
#[derive(Default)]
struct Said(HashMap<CacheKey, (u64, Option<u64>)>);

impl Said {
    fn hear(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        let (Some(verb), Some(key), Some(Ok(version))) =
            (words.next(), words.next(), words.next().map(str::parse::<u64>))
        else {
            return false;
        };
        let Ok(key) = CacheKey::new(key) else { return false };
        let of_key = self.0.entry(key).or_default();
        match verb {
            "try" => of_key.1 = Some(version),
            "ack" => *of_key = (version, None),
            _ => return false,
        }
        verb == "ack"
    }

    /// Each key has what was acknowledged last or what was under way, byte for byte.
    async fn check(&mut self, cache: &FsCache) {
        for (key, (acknowledged, under_way)) in &mut self.0 {
            let found = cache.responses().read(key).await.unwrap();
            let version = found.as_ref().map_or(0, version_of);
            assert!(
                version == *acknowledged || Some(version) == *under_way,
                "{key}: found {version}, acknowledged {acknowledged}, under way {under_way:?}"
            );
            if let Some(found) = found {
                assert_eq!(found, entry(key, version));
            }
            *acknowledged = version;
            *under_way = None;
        }
    }
}

/// How long processes that share a place are at work at least, in seconds: a minute is what case 154 asks for, and none
/// is enough for everyday.
fn long() -> Duration {
    Duration::from_secs(std::env::var("HCC_LONG_TESTS").map_or(0, |seconds| seconds.parse().unwrap()))
}

/// Runs a child until `acks` changes were acknowledged, kills it, and returns what it said.
fn run_and_kill(path: &Path, name: &str, acks: u64, least: Duration, said: &mut Said) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::the_workload_keeps_what_it_acknowledges", "--nocapture"])
        .env(FOLDER, path)
        .env(NAME, name)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let started = Instant::now();
    let (mut heard, mut line, mut killed) = (0, String::new(), false);
    // What was written before the kill is still in the pipe after it.
    while {
        line.clear();
        out.read_line(&mut line).unwrap() > 0
    } {
        heard += u64::from(said.hear(line.trim_end()));
        if heard >= acks && started.elapsed() >= least && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself");
}

/// Whole files only, none left of what was being written, and counts that agree with the files.
async fn check_directory(path: &Path) {
    let cache = FsCache::open(path).await.unwrap();
    for storage in [cache.responses(), cache.redirects()] {
        let all: Vec<_> = storage.entries().try_collect().await.unwrap();
        assert_eq!(storage.size().await.unwrap(), all.len() as u64);
        assert_eq!(storage.bytes().await.unwrap(), all.iter().map(|(_, entry)| entry.len()).sum::<u64>());
        assert_eq!(storage.stats().corrupt, 0);
    }
    cache.close().await.unwrap();
    assert_eq!(fs::read_dir(path.join("v1/tmp")).unwrap().count(), 0);
}

/// Cases 126 and 229, one process: killed again and again, it keeps what it acknowledged, and the counts are right.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let mut said = Said::default();
    for acks in [1, 30, 7, 100, 3, 250, 55, 11] {
        let (place, mut moved) = (path.clone(), std::mem::take(&mut said));
        let run = move || {
            run_and_kill(&place, "one", acks, Duration::ZERO, &mut moved);
            moved
        };
        said = tokio::task::spawn_blocking(run).await.unwrap();
        let cache = FsCache::open(&path).await.unwrap();
        said.check(&cache).await;
        cache.close().await.unwrap();
        check_directory(&path).await;
    }
}

/// Cases 135 and 154, eight processes: none waits for ever, each keeps what it acknowledged although all are killed, and
/// what one leaves is swept while the others write.
#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let children = ["one", "two", "three", "four", "five", "six", "seven", "eight"].map(|name| {
        let path = path.clone();
        tokio::task::spawn_blocking(move || {
            let mut said = Said::default();
            for (acks, least) in [(40, Duration::ZERO), (120, long())] {
                run_and_kill(&path, name, acks, least, &mut said);
                // Between two lives what was under way may have happened or not: told apart at the end.
                if acks == 40 {
                    said.0.clear();
                }
            }
            said
        })
    });
    let mut all = Vec::new();
    for child in children {
        all.push(child.await.unwrap());
    }
    let cache = FsCache::open(&path).await.unwrap();
    for mut said in all {
        assert!(!said.0.is_empty());
        said.check(&cache).await;
    }
    cache.close().await.unwrap();
    check_directory(&path).await;
}

/// Case 160: two caches of one process on one directory see what the other does at once, and hold up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn two_caches_of_one_process_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let (one, two) = (FsCache::open(&path).await.unwrap(), FsCache::open(&path).await.unwrap());
    for round in 0..100 {
        let new = entry(&key(1), round);
        one.responses().write(&key(1), new.clone()).await.unwrap();
        assert_eq!(two.responses().read(&key(1)).await.unwrap(), Some(new));
        assert!(two.responses().delete(&key(1)).await.unwrap());
        assert_eq!(one.responses().read(&key(1)).await.unwrap(), None);
    }
    one.close().await.unwrap();
    two.responses().write(&key(1), entry(&key(1), 1)).await.unwrap();
    assert!(two.responses().contains(&key(1)).await.unwrap());
}

/// Case 144: several that make a directory at once make one cache.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_directory_may_be_opened_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/cache");
    let handles: Vec<_> = (0..8)
        .map(|number| {
            let path = path.clone();
            tokio::spawn(async move {
                let cache = FsCache::open(&path).await.unwrap();
                cache.responses().write(&key(number), Entry::new("head", "body")).await.unwrap();
                cache
            })
        })
        .collect();
    let mut caches = Vec::new();
    for handle in handles {
        caches.push(handle.await.unwrap());
    }
    for cache in &caches {
        let keys: Vec<_> = cache.responses().keys().try_collect().await.unwrap();
        assert_eq!(keys.len(), 8);
    }
}

/// Case 241: ten thousand operations at once all get done.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_at_once_get_done() {
    let cache = FsCache::builder("x").use_temp(true).threads(4).open().await.unwrap();
    let tasks: Vec<_> = (0..10_000_u64)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let (key, entry) = (key(number % 100), Entry::new(format!("{}", number % 100), vec![b'x'; 200]));
                match number % 10 {
                    0 => cache.responses().write(&key, entry).await.unwrap(),
                    _ => {
                        let found = cache.responses().read(&key).await.unwrap();
                        assert!(found.is_none_or(|found| found == entry));
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(cache.responses().size().await.unwrap(), 10);
}

/// A lock that somebody holds and does not let go of is an error after a second, and reads go on.
#[cfg(unix)]
#[tokio::test]
async fn a_lock_that_is_never_let_go_is_a_transient_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = FsCache::open(&path).await.unwrap();
    cache.responses().write(&key(1), entry(&key(1), 1)).await.unwrap();
    let (file, _) = crate::support::file_of(&path, "responses", &key(1), &[]).unwrap();
    let held = fs::File::open(file.parent().unwrap()).unwrap();
    held.lock().unwrap();
    let error = cache.responses().write(&key(1), entry(&key(1), 2)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry(&key(1), 1)));
    assert_eq!(cache.responses().keys().try_collect::<Vec<_>>().await.unwrap(), [key(1)]);
    held.unlock().unwrap();
    cache.responses().write(&key(1), entry(&key(1), 2)).await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry(&key(1), 2)));
}
