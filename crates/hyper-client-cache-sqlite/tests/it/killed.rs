//! Case 128: a process that is killed at every system call that changes the files, one after the other.
//!
//! `strace` kills; the load, and what must be left of it, are those of [`processes`](crate::processes).

use std::path::Path;

use hyper_client_cache_testkit::processes::{Processes, Said};

use crate::places::check as check_places;
use crate::processes::{check_file, children, open};
use crate::support::execute;

/// Set where there is no `strace`, or none that may trace: leaves these tests out.
const WITHOUT_STRACE: &str = "HCC_WITHOUT_STRACE";

/// Each call that changes a file, and at how many of them at most a process is killed. Making the schema takes some sixty
/// writes; what comes then is the load, which goes on for ever.
const CALLS: [(&str, usize); 7] = [
    ("openat", 20),
    ("pwrite64", 120),
    ("fsync", 20),
    ("fchown", 20),
    ("renameat2", 20),
    ("unlink", 20),
    ("ftruncate", 20),
];

/// After so many changes the call will not come any more.
const MOST: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_survives_a_kill_at_every_call() {
    let kills = at_every_call(&[], 2).await;
    // A sign that calls were counted at all.
    assert!(kills > 100, "{kills}");
}

/// A file of an older version is as it was, or of the current one.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_survives_a_kill_at_every_call() {
    const OLD: [&str; 5] = [
        "PRAGMA journal_mode = WAL",
        "PRAGMA application_id = 1751343921",
        "PRAGMA user_version = 1",
        "CREATE TABLE responses (key TEXT NOT NULL PRIMARY KEY, block BLOB NOT NULL) STRICT",
        "INSERT INTO responses VALUES ('old', x'00')",
    ];
    let kills = at_every_call(&OLD, 1).await;
    assert!(kills > 60, "{kills}");
}

/// Every call, each on a file of its own that `made` has made, in so many lives of a process. Says how many were killed.
async fn at_every_call(made: &'static [&'static str], lives: u32) -> usize {
    if std::env::var_os(WITHOUT_STRACE).is_some() {
        return usize::MAX;
    }
    let of_each = CALLS.map(|(call, most)| {
        tokio::spawn(async move {
            let mut kills = 0;
            for nth in 1..=most {
                let killed = some_lives(call, nth, made, lives).await;
                if killed == 0 {
                    break;
                }
                kills += killed;
            }
            kills
        })
    });
    let mut kills = 0;
    for kind in of_each {
        kills += kind.await.unwrap();
    }
    kills
}

/// Processes one after the other on one file, each of which is killed when it makes its `nth` call of this kind. Says how
/// many were.
async fn some_lives(call: &'static str, nth: usize, made: &[&'static str], lives: u32) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.sqlite");
    execute(&path, made).await;
    let (mut said, mut kills) = (Said::default(), 0);
    for life in 1..=lives {
        let (process, mut moved) = (killed_at(call, nth, &path), said);
        let run = move || process.run_until_killed("one", MOST, &mut moved).map(|killed| (killed, moved));
        let (killed, heard) = tokio::task::spawn_blocking(run).await.unwrap().unwrap_or_else(|error| {
            panic!("{call} {nth}, life {life}: {error}; set {WITHOUT_STRACE}=1 where `strace` may not trace")
        });
        if !killed {
            // It goes on for a while, and what it says is not heard any more.
            break;
        }
        (said, kills) = (heard, kills + 1);
        let cache = open(&path).await;
        if !said.is_empty() {
            said.check(&*cache).await.unwrap_or_else(|error| panic!("{call} {nth}, life {life}: {error}"));
        }
        cache.close().await.unwrap();
        check_file(&path).await;
        check_places(&path).await;
    }
    kills
}

/// Children that are killed at the `nth` call of this kind that is about the file, or one of those beside it.
fn killed_at(call: &str, nth: usize, path: &Path) -> Processes {
    let name = path.to_str().unwrap();
    let mut words: Vec<String> = ["strace", "-f", "-qq", "-o", "/dev/null"].map(str::to_owned).into();
    words.extend(["", "-wal", "-shm", "-journal"].iter().flat_map(|end| ["-P".to_owned(), format!("{name}{end}")]));
    words.extend(["-e".to_owned(), format!("trace={call}")]);
    words.extend(["-e".to_owned(), format!("inject={call}:signal=KILL:when={nth}")]);
    children(path).run_by(words.iter().map(String::as_str))
}
