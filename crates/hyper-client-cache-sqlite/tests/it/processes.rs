//! Several processes on one file, and processes that are killed. The load and what must be left of it are the test
//! kit's.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_sqlite::{SqliteCache, sqlx};
use hyper_client_cache_testkit::processes::{self, Child, Processes};

use crate::support::{bare, key, number, text};

/// The load itself: in a child for ever, otherwise a few rounds, whose result is checked.
#[tokio::test(flavor = "multi_thread")]
async fn the_workload_keeps_what_it_acknowledges() {
    if let Some(child) = Child::of_this_process() {
        child.work(open(child.place()).await).await.unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    processes::work_through(async || open(&folder.path().join("demo.sqlite")).await).await.unwrap();
}

pub async fn open(path: &Path) -> Arc<dyn Cache> {
    Arc::new(SqliteCache::builder(path).busy_timeout(Duration::from_secs(20)).open().await.unwrap())
}

/// Processes that work on the file at `path`.
pub fn children(path: &Path) -> Processes {
    Processes::new("processes::the_workload_keeps_what_it_acknowledges", path)
}

pub async fn check_file(path: &Path) {
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
    let (children, look) = (children(&path), async || check_file(&path).await);
    processes::one_is_killed_again_and_again(&children, async || open(&path).await, look).await.unwrap();
}

/// Cases 127 and 154, eight processes: none meets a lock, each keeps what it acknowledged although all are killed.
#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    processes::eight_are_killed(&children(&path), async || open(&path).await).await.unwrap();
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
