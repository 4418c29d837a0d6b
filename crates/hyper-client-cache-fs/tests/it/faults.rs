//! A disk that is full, a directory that may not be written, a process without descriptors: reads go on, writes are
//! refused, and everything works again afterwards.
//!
//! Each runs in a child process, this test binary again, with a file system of its own or limits of its own. Full disks
//! and failing calls at every single step are shown in the crate's unit tests (`crash`), which need no such thing.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_fs::FsCache;
use hyper_client_cache_testkit::Warnings;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use crate::support::{files, key};

const FOLDER: &str = "HCC_FS_TEST_FAULT";

/// Set on machines that allow no mounts, which are then shown by failing calls and missing rights alone.
const WITHOUT_MOUNTS: &str = "HCC_WITHOUT_MOUNTS";

/// The folder in which a child is to work; `None` in the parent.
fn orders() -> Option<std::path::PathBuf> {
    std::env::var_os(FOLDER).map(Into::into)
}

/// Runs the test `name` again, in `sh`, after `preparation`, with `$FOLDER` as its place.
fn child(name: &str, folder: &Path, wrapper: &[&str], preparation: &str) -> Output {
    let this = std::env::current_exe().unwrap();
    let script = format!("{preparation}\nexec '{}' --exact faults::{name} --nocapture", this.display());
    let mut words = wrapper.iter().copied().chain(["sh", "-ec", &script]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).env(FOLDER, folder).env("FOLDER", folder).output().unwrap()
}

/// Whether the tests' own mounts were left out by name; a machine that allows none fails them otherwise.
fn without_mounts() -> bool {
    if std::env::var_os(WITHOUT_MOUNTS).is_some() {
        return true;
    }
    let made = Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs tmpfs /tmp"]).output();
    let refused = made.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    if let Ok("") = refused.as_deref() {
        return false;
    }
    panic!("`unshare -rm` with a mount is refused here ({refused:?}): set {WITHOUT_MOUNTS}=1 to leave this out")
}

/// Root may write whatever the mode is: a child of it gives that up, and stays the owner.
fn without_capabilities(folder: &Path) -> &'static [&'static str] {
    let is_root = std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder).unwrap()) == 0;
    if is_root { &["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"] } else { &["env"] }
}

fn assert_passed(output: &Output) {
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

/// Case 146: on a disk of 64 KiB, and of 1 MiB, every answer is whole, nothing is stored in part, and after something was
/// removed it is written again.
#[tokio::test]
async fn a_full_disk_costs_no_answer() {
    let Some(folder) = orders() else {
        for size in ["64k", "1m"] {
            let folder = tempfile::tempdir().unwrap();
            if !without_mounts() {
                let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$FOLDER\"");
                assert_passed(&child("a_full_disk_costs_no_answer", folder.path(), &["unshare", "-rm"], &mount));
            }
        }
        return;
    };
    let path = folder.join("cache");
    let cache = FsCache::open(&path).await.unwrap();
    let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
    let origin = Origin::scripted().await;
    let count = 100;
    for number in 0..count {
        let answer = Answer::ok(vec![u8::try_from(number).unwrap(); 20_000]).header("cache-control", "max-age=600");
        origin.on(&format!("/{number}"), answer);
    }
    let large = Answer::pattern(2 << 20).header("cache-control", "max-age=600");
    origin.on("/large", large);
    for _ in 0..2 {
        for number in 0..count {
            let response = session.get(origin.url(&format!("/{number}"))).send().await.unwrap();
            assert_eq!(response.bytes().await.unwrap(), vec![u8::try_from(number).unwrap(); 20_000]);
        }
        let response = session.get(origin.url("/large")).send().await.unwrap();
        assert_eq!(response.bytes().await.unwrap().len(), 2 << 20);
    }
    let stats = session.stats();
    assert!(stats.store_failed > 0, "{stats:?}");
    assert_eq!(stats.corrupt, 0);
    // Beside whole entries nothing lies about.
    assert!(files(&path.join("v1/tmp")).is_empty());
    for storage in [cache.responses(), cache.redirects(), cache.bodies().unwrap()] {
        storage.clear().await.unwrap();
    }
    cache.responses().write(&key(1), Entry::new("head", vec![b'x'; 20_000])).await.unwrap();
    assert!(cache.responses().contains(&key(1)).await.unwrap());
}

/// Case 147: on a read-only file system, and in a directory without the right to write, what is there is a hit, and what
/// is not comes from the origin; one warning says so.
#[tokio::test]
async fn a_directory_that_may_not_be_written_is_read() {
    let name = "a_directory_that_may_not_be_written_is_read";
    if let Some(folder) = orders() {
        let warnings = Warnings::of("hyper_client_cache_fs");
        tracing::subscriber::set_global_default(warnings.clone()).unwrap();
        let cache = FsCache::open(folder.join("cache")).await.unwrap();
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("head", "body")));
        assert_eq!(cache.responses().size().await.unwrap(), 1);
        for error in [
            cache.responses().write(&key(2), Entry::new("", "")).await.unwrap_err(),
            cache.responses().delete(&key(1)).await.unwrap_err(),
            cache.responses().clear().await.unwrap_err(),
        ] {
            assert!(!error.is_transient(), "{error:?}");
        }
        let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
        let origin = Origin::scripted().await;
        origin.on("/", Answer::ok("hello").header("cache-control", "max-age=600"));
        for _ in 0..3 {
            assert_eq!(session.get(origin.url("/")).send().await.unwrap().text().await.unwrap(), "hello");
        }
        assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(Entry::new("head", "body")));
        assert_eq!(warnings.count(), 1);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = FsCache::open(folder.path().join("cache")).await.unwrap();
    cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    cache.close().await.unwrap();
    if !without_mounts() {
        let mount = "mount --bind \"$FOLDER\" \"$FOLDER\"; mount -o remount,ro,bind \"$FOLDER\"";
        assert_passed(&child(name, folder.path(), &["unshare", "-rm"], mount));
    }
    let modes = "find \"$FOLDER/cache\" -type d -exec chmod 500 {} +";
    let output = child(name, folder.path(), without_capabilities(folder.path()), modes);
    drop(Command::new("chmod").args(["-R", "u+rwX"]).arg(folder.path()).status());
    assert_passed(&output);
}

/// Case 151: where files refuse to go, making room ends with an error and not in a loop, the counts stay those of the
/// files, nothing new is written, and all of it works again when they may be removed.
#[tokio::test]
async fn files_that_refuse_to_go_pause_writes() {
    const COUNT: u64 = 12;
    let name = "files_that_refuse_to_go_pause_writes";
    let large = || Entry::new("head", vec![b'x'; 1000]);
    let open = |folder: &Path| FsCache::builder(folder.join("cache")).max_bytes(COUNT * 4096).open();
    if let Some(folder) = orders() {
        let cache = open(&folder).await.unwrap();
        let responses = cache.responses();
        assert_eq!(responses.size().await.unwrap(), COUNT);
        for number in 100..110 {
            let error = responses.write(&key(number), large()).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Storage), "{error:?}");
            assert!(!responses.contains(&key(number)).await.unwrap());
        }
        for number in 0..COUNT {
            assert_eq!(responses.read(&key(number)).await.unwrap(), Some(large()));
        }
        assert_eq!((responses.size().await.unwrap(), responses.bytes().await.unwrap()), (COUNT, COUNT * 1004));
        assert_eq!((responses.stats().evicted, responses.stats().corrupt), (0, 0));
        assert_eq!(files(&folder.join("cache/v1/responses")).len() as u64, COUNT);
        // The owner may give itself the right back, whatever the process may not do.
        assert!(Command::new("chmod").args(["-R", "u+rwX"]).arg(&folder).status().unwrap().success());
        responses.write(&key(100), large()).await.unwrap();
        assert!(responses.contains(&key(100)).await.unwrap());
        assert_eq!((responses.size().await.unwrap(), responses.stats().evicted), (COUNT, 1));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path()).await.unwrap();
    for number in 0..COUNT {
        cache.responses().write(&key(number), large()).await.unwrap();
    }
    cache.close().await.unwrap();
    // The folders that files lie in: others may be made beside them.
    let modes = "find \"$FOLDER/cache/v1/responses\" -type f -exec dirname {} + | sort -u | xargs chmod 500";
    let output = child(name, folder.path(), without_capabilities(folder.path()), modes);
    drop(Command::new("chmod").args(["-R", "u+rwX"]).arg(folder.path()).status());
    assert_passed(&output);
}

/// Case 148: without descriptors calls fail as transient, nothing is lost, and none is leaked by many operations.
#[tokio::test]
async fn a_process_without_descriptors_goes_on() {
    let Some(folder) = orders() else {
        let folder = tempfile::tempdir().unwrap();
        let output = child("a_process_without_descriptors_goes_on", folder.path(), &["env"], "ulimit -n 64");
        return assert_passed(&output);
    };
    let cache = FsCache::open(folder.join("cache")).await.unwrap();
    let responses = cache.responses();
    responses.write(&key(1), Entry::new("head", "body")).await.unwrap();
    responses.size().await.unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        taken.push(file);
        assert!(taken.len() < 100);
    }
    for _ in 0..100 {
        assert!(responses.read(&key(1)).await.unwrap_err().is_transient());
        assert!(responses.write(&key(2), Entry::new("", "")).await.unwrap_err().is_transient());
    }
    drop(taken);
    for round in 0..5_000 {
        assert_eq!(responses.read(&key(1)).await.unwrap(), Some(Entry::new("head", "body")));
        if round % 10 == 0 {
            responses.write(&key(3), Entry::new("head", "body")).await.unwrap();
            responses.delete(&key(3)).await.unwrap();
        }
    }
    assert_eq!(responses.size().await.unwrap(), 1);
    // As many can be taken as before.
    let mut again = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        again.push(file);
    }
    assert!(again.len() > 30, "{}", again.len());
}
