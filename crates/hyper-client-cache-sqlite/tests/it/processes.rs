//! Several processes on one file, and processes that are killed.
//!
//! A child process is this test binary again, told by environment variables to run [`workload`] on a file until it is
//! killed. It says on its standard output what it is about to do and what was acknowledged.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_sqlite::{SqliteCache, sqlx};

use crate::support::{bare, key, number, text};

const FILE: &str = "HCC_SQLITE_TEST_FILE";
const NAME: &str = "HCC_SQLITE_TEST_CHILD";

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

/// Writes, overwrites, refreshes and deletes; says `try` before and `ack` after each change. `rounds`: `None` for ever.
async fn workload(path: &Path, child: &str, rounds: Option<u64>, say: fn(String)) {
    let cache = SqliteCache::builder(path).busy_timeout(Duration::from_secs(20)).open().await.unwrap();
    let tasks = (0..TASKS).map(|task| {
        let (cache, child) = (cache.clone(), child.to_owned());
        tokio::spawn(async move {
            // Versions go on across restarts of the child, so that a stale one is told from a current one.
            let mut version = u64::from(std::process::id()) << 32;
            for round in 0..rounds.unwrap_or(u64::MAX) {
                version += 1;
                let key = child_key(&child, task, round % KEYS);
                let entry = entry(&key, version);
                if round % 5 == 4 {
                    say(format!("try {key} 0"));
                    cache.responses().delete(&key).await.unwrap();
                    say(format!("ack {key} 0"));
                } else {
                    say(format!("try {key} {version}"));
                    if round % 3 == 0 && cache.responses().contains(&key).await.unwrap() {
                        cache.responses().refresh(&key, entry).await.unwrap();
                    } else {
                        cache.responses().write(&key, entry).await.unwrap();
                    }
                    say(format!("ack {key} {version}"));
                }
                // One key that everybody writes, and reads by others.
                let shared = key_of_all();
                cache.responses().write(&shared, super::processes::entry(&shared, version)).await.unwrap();
                let found = cache.responses().read(&shared).await.unwrap();
                assert!(found.is_none_or(|found| found == super::processes::entry(&shared, version_of(&found))));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    cache.close().await.unwrap();
}

fn key_of_all() -> CacheKey {
    key(0)
}

/// The workload itself: in a child for ever, otherwise a few rounds, whose result is checked.
#[tokio::test(flavor = "multi_thread")]
async fn the_workload_keeps_what_it_acknowledges() {
    fn say_aloud(line: String) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    }
    if let (Ok(path), Ok(name)) = (std::env::var(FILE), std::env::var(NAME)) {
        workload(Path::new(&path), &name, None, say_aloud).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    workload(&path, "only", Some(23), |_| {}).await;
    let cache = SqliteCache::open(&path).await.unwrap();
    // Round 22 wrote key 6, rounds 4, 9, 14 and 19 deleted keys 4, 1, 6 and 3; 20 to 22 wrote 4, 5 and 6 again.
    for task in 0..TASKS {
        assert!(cache.responses().contains(&child_key("only", task, 6)).await.unwrap());
        assert!(!cache.responses().contains(&child_key("only", task, 3)).await.unwrap());
    }
}

/// Starts a child on `path`; `wrapper` and its arguments run it.
pub fn child(wrapper: &str, path: &Path, arguments: &[&str]) -> Child {
    named_child(wrapper, path, arguments, "child")
}

fn named_child(wrapper: &str, path: &Path, arguments: &[&str], name: &str) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut command =
        if wrapper.is_empty() { Command::new(this) } else { Command::new(wrapper).also(arguments, &this) };
    command
        .args(["--exact", "processes::the_workload_keeps_what_it_acknowledges", "--nocapture"])
        .env(FILE, path)
        .env(NAME, name)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

trait Also {
    fn also(self, arguments: &[&str], program: &Path) -> Self;
}

impl Also for Command {
    fn also(mut self, arguments: &[&str], program: &Path) -> Self {
        self.args(arguments).arg(program);
        self
    }
}

/// Reads what the child says until something was acknowledged.
pub fn read_until_ack(child: &mut Child) {
    let out = BufReader::new(child.stdout.as_mut().unwrap());
    assert!(out.lines().map_while(Result::ok).any(|line| line.starts_with("ack ")), "the child ended early");
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
    async fn check(&mut self, cache: &SqliteCache) {
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
    let mut child = named_child("", path, &[], name);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let started = Instant::now();
    let mut heard = 0;
    let mut line = String::new();
    let mut killed = false;
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

async fn check_file(path: &Path) {
    assert_eq!(text(path, "PRAGMA integrity_check").await, "ok");
    let counted = number(path, "SELECT count(*) FROM responses").await;
    let summed = number(path, "SELECT coalesce(sum(len), 0) FROM responses").await;
    assert_eq!(number(path, "SELECT entries FROM usage WHERE store = 'responses'").await, counted);
    assert_eq!(number(path, "SELECT bytes FROM usage WHERE store = 'responses'").await, summed);
    let real = number(path, "SELECT coalesce(sum(length(block) - 40 + length(body)), 0) FROM responses").await;
    assert_eq!(real, summed);
}

/// Cases 127 and 229, one process: killed again and again, it keeps what it acknowledged, and the counters are right.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let mut said = Said::default();
    for round in 0..8 {
        let acks = [1, 30, 7, 100, 3, 250, 55, 11][round];
        let (file, mut moved) = (path.clone(), std::mem::take(&mut said));
        said = tokio::task::spawn_blocking(move || {
            run_and_kill(&file, "one", acks, Duration::ZERO, &mut moved);
            moved
        })
        .await
        .unwrap();
        let cache = SqliteCache::open(&path).await.unwrap();
        said.check(&cache).await;
        cache.close().await.unwrap();
        check_file(&path).await;
    }
}

/// Cases 127 and 154, eight processes: none meets a lock, each keeps what it acknowledged although all are killed.
#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
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
    let cache = SqliteCache::open(&path).await.unwrap();
    for mut said in all {
        assert!(!said.0.is_empty());
        said.check(&cache).await;
    }
    assert_eq!(cache.responses().stats().corrupt, 0);
    cache.close().await.unwrap();
    check_file(&path).await;
}

/// Case 144: several that open a new file at once make one database.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_may_be_opened_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let handles: Vec<_> = (0..8)
        .map(|number| {
            let path = path.clone();
            tokio::spawn(async move {
                let cache = SqliteCache::open(&path).await.unwrap();
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
        assert_eq!(cache.responses().size().await.unwrap(), 8);
    }
}

/// 500 requests at once on one cache meet no lock.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_at_once_meet_no_lock() {
    let cache = SqliteCache::builder("x").use_temp(true).open().await.unwrap();
    let tasks: Vec<_> = (0..500)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let (key, entry) = (key(number % 100), Entry::new(format!("{number}"), vec![b'x'; 2000]));
                cache.responses().read(&key).await.unwrap();
                cache.responses().write(&key, entry).await.unwrap();
                assert!(cache.responses().read(&key).await.unwrap().is_some());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(cache.responses().size().await.unwrap(), 100);
}

/// Case 153: while another process keeps the write lock, reads go on, and a write fails as transient within its budget.
#[tokio::test]
async fn a_lock_held_by_another_costs_the_budget_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::builder(&path).busy_timeout(Duration::from_millis(50)).open().await.unwrap();
    let entry = Entry::new("head", "body");
    cache.responses().write(&key(1), entry.clone()).await.unwrap();
    let mut other = bare(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let begun = Instant::now();
    let error = cache.responses().write(&key(2), entry.clone()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let bulk = cache.bulk(async |bulk| bulk.write(&key(3), Entry::new("", ""))).await.unwrap_err();
    assert!(bulk.is_transient());
    assert!(cache.responses().delete_expired(std::time::UNIX_EPOCH).await.unwrap_err().is_transient());
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry.clone()));
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    cache.responses().write(&key(2), entry.clone()).await.unwrap();
    assert_eq!(cache.responses().read(&key(2)).await.unwrap(), Some(entry));
}

/// A lock that is let go in time is waited for.
#[tokio::test]
async fn a_short_lock_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    let cache = SqliteCache::builder(&path).busy_timeout(Duration::from_secs(20)).open().await.unwrap();
    let mut other = bare(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let write = tokio::spawn({
        let cache = cache.clone();
        async move { cache.responses().write(&key(1), Entry::new("head", "body")).await }
    });
    for _ in 0..20 {
        sqlx::query("SELECT 1").execute(&mut other).await.unwrap();
    }
    assert!(!write.is_finished());
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    write.await.unwrap().unwrap();
}
