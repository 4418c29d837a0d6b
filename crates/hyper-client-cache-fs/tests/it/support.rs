//! What several tests need.

use std::fs;
use std::path::{Path, PathBuf};

use hyper_client_cache_core::storage::CacheKey;

pub fn key(number: u64) -> CacheKey {
    CacheKey::new(&format!("key-{number:08}")).unwrap()
}

/// Every file below `folder`, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.map_while(Result::ok) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => files.push(entry.path()),
            }
        }
    }
    files.sort();
    files
}

/// The file of an entry, found by what is in it, and the offset at which core's frame begins. `but`: files that were
/// damaged and may say anything.
pub fn file_of(cache: &Path, store: &str, key: &CacheKey, but: &[&PathBuf]) -> Option<(PathBuf, usize)> {
    let name = [b"hcf\x01", &[u8::try_from(key.as_bytes().len()).unwrap()][..], key.as_bytes()].concat();
    let files = files(&cache.join("v1").join(store));
    let mut files = files.into_iter().filter(|path| !but.contains(&path));
    let found = files.find(|path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(&name)));
    found.map(|path| (path, name.len()))
}

/// Waits until something that another thread does has happened; panics where it does not within a minute.
pub async fn until(mut happened: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if happened().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}
