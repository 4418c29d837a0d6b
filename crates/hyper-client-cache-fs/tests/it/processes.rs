//! Several processes on one directory, and processes that are killed. The load and what must be left of it are the
//! test kit's.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_fs::FsCache;
use hyper_client_cache_testkit::processes::{self, Child, Processes};

use crate::support::key;

/// The load itself: in a child for ever, otherwise a few rounds, whose result is checked.
#[tokio::test(flavor = "multi_thread")]
async fn the_workload_keeps_what_it_acknowledges() {
    if let Some(child) = Child::of_this_process() {
        child.work(open(child.place()).await).await.unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    processes::work_through(async || open(&folder.path().join("cache")).await).await.unwrap();
}

async fn open(path: &Path) -> Arc<dyn Cache> {
    Arc::new(FsCache::open(path).await.unwrap())
}

fn children(path: &Path) -> Processes {
    Processes::new("processes::the_workload_keeps_what_it_acknowledges", path)
}

fn entry(number: u64) -> Entry {
    Entry::new(number.to_string(), "body")
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
    let (children, look) = (children(&path), async || check_directory(&path).await);
    processes::one_is_killed_again_and_again(&children, async || open(&path).await, look).await.unwrap();
}

/// Cases 135 and 154, eight processes: none waits for ever, each keeps what it acknowledged although all are killed, and
/// what one leaves is swept while the others write.
#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    processes::eight_are_killed(&children(&path), async || open(&path).await).await.unwrap();
    check_directory(&path).await;
}

/// Case 160: two caches of one process on one directory see what the other does at once, and hold up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn two_caches_of_one_process_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let (one, two) = (FsCache::open(&path).await.unwrap(), FsCache::open(&path).await.unwrap());
    for round in 0..100 {
        let new = entry(round);
        one.responses().write(&key(1), new.clone()).await.unwrap();
        assert_eq!(two.responses().read(&key(1)).await.unwrap(), Some(new));
        assert!(two.responses().delete(&key(1)).await.unwrap());
        assert_eq!(one.responses().read(&key(1)).await.unwrap(), None);
    }
    one.close().await.unwrap();
    two.responses().write(&key(1), entry(1)).await.unwrap();
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
    cache.responses().write(&key(1), entry(1)).await.unwrap();
    let (file, _) = crate::support::file_of(&path, "responses", &key(1), &[]).unwrap();
    let held = fs::File::open(file.parent().unwrap()).unwrap();
    held.lock().unwrap();
    let error = cache.responses().write(&key(1), entry(2)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry(1)));
    assert_eq!(cache.responses().keys().try_collect::<Vec<_>>().await.unwrap(), [key(1)]);
    held.unlock().unwrap();
    cache.responses().write(&key(1), entry(2)).await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry(2)));
}
