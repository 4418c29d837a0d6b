//! Files that are damaged, cut, replaced or gone: a miss, and the request goes on.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_fs::FsCache;

use crate::support::{file_of, files, key, until};

fn entry(number: u64) -> Entry {
    Entry::new(format!("head {number}"), vec![b'x'; 10_000])
}

async fn filled(path: &Path) -> FsCache {
    let cache = FsCache::open(path).await.unwrap();
    for number in 0..10 {
        cache.responses().write(&key(number), entry(number)).await.unwrap();
    }
    cache
}

fn place(path: &Path, number: u64) -> PathBuf {
    file_of(path, "responses", &key(number), &[]).unwrap().0
}

/// Cases 129 and 130: what a power cut may leave of a file that was not synced (nothing, zeros, a prefix in blocks of 512
/// bytes or 4 KiB, blocks of the old file among those of the new one) is a miss, counted and removed; never a mix.
#[tokio::test]
async fn what_a_power_cut_leaves_is_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = filled(&path).await;
    let file = place(&path, 1);
    let old = fs::read(&file).unwrap();
    cache.responses().write(&key(1), Entry::new("head 9", vec![b'y'; 10_000])).await.unwrap();
    let new = fs::read(&file).unwrap();
    assert_eq!(old.len(), new.len());
    let mut left = vec![Vec::new(), vec![0; new.len()]];
    for block in [512, 4096] {
        for cut in (block..new.len()).step_by(block) {
            left.push(new[..cut].to_vec());
            left.push([&new[..cut], &vec![0; new.len() - cut][..]].concat());
            left.push([&new[..cut], &old[cut..]].concat());
            left.push([&old[..cut], &new[cut..]].concat());
            let mut torn = new.clone();
            torn[cut - block..cut].copy_from_slice(&old[cut - block..cut]);
            left.push(torn);
        }
    }
    for (number, bytes) in left.into_iter().enumerate() {
        if bytes == new || bytes == old {
            continue;
        }
        fs::write(&file, bytes).unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None, "{number}");
        assert!(!file.exists(), "{number}");
    }
    assert!(cache.responses().stats().corrupt > 50);
    assert_eq!(cache.responses().read(&key(2)).await.unwrap(), Some(entry(2)));
}

/// Case 87: the head of one entry with the body of another is no entry.
#[tokio::test]
async fn a_head_with_another_body_is_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = filled(&path).await;
    cache.responses().write(&key(1), Entry::new("head 1", vec![b'y'; 10_000])).await.unwrap();
    let (one, two) = (fs::read(place(&path, 1)).unwrap(), fs::read(place(&path, 2)).unwrap());
    let body_at = one.len() - 10_000;
    fs::write(place(&path, 1), [&one[..body_at], &two[body_at..]].concat()).unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None);
    // A whole entry in another's place is none either.
    fs::write(place(&path, 3), &two).unwrap();
    assert_eq!(cache.responses().read(&key(3)).await.unwrap(), None);
    assert_eq!(cache.responses().keys().try_collect::<Vec<CacheKey>>().await.unwrap().len(), 8);
}

/// Case 149: files and folders that go away under an open cache are misses, and come back with the next write.
#[tokio::test]
async fn what_is_removed_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = filled(&path).await;
    for gone in ["v1/responses", "v1/tmp", "v1", ""] {
        let gone = path.join(gone);
        // What is going on in the background may put something there meanwhile.
        until(async || fs::remove_dir_all(&gone).is_ok()).await;
        assert_eq!(cache.redirects().read(&key(1)).await.unwrap(), None);
        cache.responses().write(&key(1), entry(1)).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry(1)), "{}", gone.display());
        let other = FsCache::open(&path).await.unwrap();
        assert_eq!(other.responses().read(&key(1)).await.unwrap(), Some(entry(1)), "{}", gone.display());
        cache.redirects().write(&key(2), entry(2)).await.unwrap();
        assert_eq!(other.redirects().read(&key(2)).await.unwrap(), Some(entry(2)), "{}", gone.display());
    }
    // By somebody new: a look in the background that was on its way may have counted what was removed.
    assert_eq!(FsCache::open(&path).await.unwrap().responses().size().await.unwrap(), 1);
    assert_eq!(cache.responses().stats().corrupt, 0);
}

/// Case 149: single files that go away make room in the end, and are no obstacle to evicting others.
#[tokio::test]
async fn removed_files_are_no_obstacle_to_making_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = FsCache::builder(&path).max_bytes(10 * 12_288).open().await.unwrap();
    cache.responses().size().await.unwrap();
    for number in 0..10 {
        cache.responses().write(&key(number), entry(number)).await.unwrap();
    }
    for number in 0..5 {
        fs::remove_file(place(&path, number)).unwrap();
    }
    for number in 10..15 {
        cache.responses().write(&key(number), entry(number)).await.unwrap();
    }
    assert_eq!(files(&path.join("v1/responses")).len(), 10);
    assert_eq!(cache.responses().size().await.unwrap(), 10);
    assert_eq!(cache.responses().stats().evicted, 0);
}

/// Cases 150 and 158: whoever reads beside a writer, a remover and somebody who cuts files gets a whole entry or none.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_a_whole_entry_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = filled(&path).await;
    let file = place(&path, 1);
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for _ in 0..500 {
                    let found = cache.responses().read(&key(1)).await.unwrap();
                    assert!(found.is_none_or(|found| found == entry(1)));
                }
            })
        })
        .collect();
    for round in 0..200_u64 {
        cache.responses().write(&key(1), entry(1)).await.unwrap();
        match round % 3 {
            0 => drop(cache.responses().delete(&key(1)).await.unwrap()),
            1 => {
                if let Ok(file) = OpenOptions::new().write(true).open(&file) {
                    file.set_len(round * 50).unwrap();
                }
            }
            _ => {}
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

/// Case 239: whoever met a damaged file does not remove the healthy one that took its place meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_healer_spares_what_is_newer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let (cache, other) = (filled(&path).await, FsCache::open(&path).await.unwrap());
    let file = place(&path, 1);
    let damaged = Arc::new(b"damaged".to_vec());
    for _ in 0..100 {
        // Replaced as a whole, as a crash would leave it.
        let beside = folder.path().join("beside");
        fs::write(&beside, &*damaged).unwrap();
        fs::rename(&beside, &file).unwrap();
        let reading = tokio::spawn({
            let other = other.clone();
            async move { other.responses().read(&key(1)).await.unwrap() }
        });
        cache.responses().write(&key(1), entry(1)).await.unwrap();
        let found = reading.await.unwrap();
        assert!(found.is_none_or(|found| found == entry(1)));
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry(1)));
    }
}

/// An absurd length is not read.
#[tokio::test]
async fn a_huge_file_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = filled(&path).await;
    // Takes no room: it is a hole.
    OpenOptions::new().write(true).open(place(&path, 1)).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None);
    assert_eq!(cache.responses().stats().corrupt, 1);
    cache.responses().write(&key(1), entry(1)).await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry(1)));
}

/// Case 229: a file that is missing, one that is damaged and one that is foreign leave the counts as they should be
/// after reopening. Cases 136, 137 and 138: the index is made from the files, so no line of it can be cut or garbage,
/// and no rebuilding of it can fail.
#[tokio::test]
async fn the_counts_are_those_of_the_files_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    filled(&path).await.close().await.unwrap();
    fs::remove_file(place(&path, 1)).unwrap();
    fs::write(place(&path, 2), "foreign").unwrap();
    let cache = FsCache::open(&path).await.unwrap();
    assert_eq!(cache.responses().size().await.unwrap(), 8);
    let all: Vec<_> = cache.responses().entries().try_collect().await.unwrap();
    assert_eq!(cache.responses().bytes().await.unwrap(), all.iter().map(|(_, entry)| entry.len()).sum::<u64>());
}
