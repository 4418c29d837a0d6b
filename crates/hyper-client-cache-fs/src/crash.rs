//! Tests only: what happens when the process dies, or a call fails, before each change that is made to the disk.
//!
//! Every call that changes something goes through [`step`]. A child process, which is this test binary again, does one
//! operation and dies at the n-th step; the parent looks at what is left, for every n there is: enumerated, not sampled
//! (case 128). The same with a step that fails instead (cases 132 and 146).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

static ARMED: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static TRACE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The environment variable that says what is to happen at which step: `kill:3`, `ENOSPC:5`, `EIO:2`.
const PLAN: &str = "HCC_FS_TEST_PLAN";

fn plan() -> Option<&'static (String, u64)> {
    static READ: OnceLock<Option<(String, u64)>> = OnceLock::new();
    let read = || {
        let text = std::env::var(PLAN).ok()?;
        let (what, at) = text.split_once(':')?;
        Some((what.to_owned(), at.parse().ok()?))
    };
    READ.get_or_init(read).as_ref()
}

/// Called before the change that `what` names.
pub(crate) fn step(what: &str) -> io::Result<()> {
    if !ARMED.load(Ordering::SeqCst) {
        return Ok(());
    }
    let number = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
    TRACE.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_owned());
    let Some((plan, _)) = plan().filter(|(_, at)| *at == number) else { return Ok(()) };
    #[cfg(unix)]
    match plan.as_str() {
        "kill" => {
            // The parent reads it, to say where it went wrong.
            println!("before {what}");
            let this = rustix::process::getpid();
            let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
        "ENOSPC" => return Err(rustix::io::Errno::NOSPC.into()),
        "EIO" => return Err(rustix::io::Errno::IO.into()),
        "EMFILE" => return Err(rustix::io::Errno::MFILE.into()),
        _ => {}
    }
    let _ = plan;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, UNIX_EPOCH};

    use futures_util::TryStreamExt;
    use hyper_client_cache_core::cache::{Cache, parts};
    use hyper_client_cache_core::storage::{CacheKey, Entry};

    use crate::{Durability, FsCache, FsConfig};

    const FOLDER: &str = "HCC_FS_TEST_FOLDER";
    const OPERATION: &str = "HCC_FS_TEST_OPERATION";
    const DURABLE: &str = "HCC_FS_TEST_DURABLE";

    const OPERATIONS: [&str; 10] =
        ["open", "put", "overwrite", "refresh", "delete", "clear", "evict", "expire", "part", "close"];

    fn key(text: &str) -> CacheKey {
        CacheKey::new(text).unwrap()
    }

    fn old() -> Entry {
        Entry::new("the old head", vec![b'o'; 9000])
    }

    fn new() -> Entry {
        Entry::new("the new head", vec![b'n'; 5000])
    }

    fn refreshed() -> Entry {
        Entry::new("the refreshed head", vec![b'o'; 9000])
    }

    fn dead() -> Entry {
        old().retain_until(UNIX_EPOCH + Duration::from_secs(1))
    }

    fn part() -> CacheKey {
        parts::key(&CacheKey::from_digest([3; 32]), "00000000aaaaaaaaaaaaaaaa", 0).unwrap()
    }

    fn config(path: &Path, durability: Durability) -> FsConfig {
        // Room for the three entries of the beginning, each of 12 KiB, and another one.
        FsCache::builder(path).durability(durability).max_bytes(49_152)
    }

    /// Two entries that are there before each operation.
    async fn prepare(path: &Path) {
        let cache = config(path, Durability::Fast).open().await.unwrap();
        cache.responses().write(&key("one"), old()).await.unwrap();
        cache.responses().write(&key("two"), old()).await.unwrap();
        cache.responses().write(&key("dead"), dead()).await.unwrap();
        cache.close().await.unwrap();
    }

    /// Does one operation, with steps that count from its beginning on.
    async fn act(operation: &str, path: &Path, durability: Durability) -> hyper_client_cache_core::Result<()> {
        let arm = || ARMED.store(true, Ordering::SeqCst);
        if operation == "open" {
            arm();
        }
        let cache = config(path, durability).open().await?;
        let responses = cache.responses();
        if operation != "open" {
            // Whoever looks at what there is has done so.
            responses.size().await?;
            responses.read(&key("two")).await?;
            arm();
        }
        match operation {
            "put" => responses.write(&key("three"), new()).await?,
            "overwrite" => responses.write(&key("one"), new()).await?,
            "refresh" => assert!(responses.refresh(&key("one"), refreshed()).await?),
            "delete" => assert!(responses.delete(&key("one")).await?),
            "clear" => responses.clear().await?,
            // 32 KiB, for which the dead and then the oldest have to go.
            "evict" => responses.write(&key("three"), Entry::new("large", vec![b'l'; 30_000])).await?,
            "expire" => assert_eq!(responses.delete_expired(UNIX_EPOCH + Duration::from_secs(2)).await?, 1),
            "part" => {
                let entry = parts::entry(&part(), vec![b'p'; 5000].into(), None);
                cache.bodies().unwrap().write(&part(), entry).await?;
            }
            "close" => cache.close().await?,
            _ => {}
        }
        ARMED.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// The child of the other tests; in an ordinary run, that each operation does what it says.
    #[tokio::test(flavor = "multi_thread")]
    async fn each_operation_does_what_it_says() {
        if let (Ok(path), Ok(operation)) = (std::env::var(FOLDER), std::env::var(OPERATION)) {
            let durability = if std::env::var(DURABLE).is_ok() { Durability::Durable } else { Durability::Fast };
            let result = act(&operation, Path::new(&path), durability).await;
            ARMED.store(false, Ordering::SeqCst);
            for what in TRACE.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                println!("step {what}");
            }
            println!("{}", if result.is_ok() { "done" } else { "failed" });
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        prepare(&path).await;
        let cache = config(&path, Durability::Fast).open().await.unwrap();
        assert_eq!(cache.responses().size().await.unwrap(), 2);
    }

    struct Said {
        done: bool,
        failed: bool,
        steps: Vec<String>,
        text: String,
    }

    fn run(path: &Path, operation: &str, durable: bool, plan: &str) -> Said {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::tests::each_operation_does_what_it_says", "--nocapture"]);
        command.env(FOLDER, path).env(OPERATION, operation).env(PLAN, plan);
        if durable {
            command.env(DURABLE, "1");
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let has = |word: &str| text.lines().any(|line| line == word || line.ends_with(&format!("... {word}")));
        Said {
            done: has("done"),
            failed: has("failed"),
            steps: text.lines().filter_map(|line| Some(line.split_once("step ")?.1.to_owned())).collect(),
            text,
        }
    }

    /// What may be found after an operation that may have been done in part, and after one that was done.
    async fn check(path: &Path, operation: &str, done: bool, at: &str) {
        let cache = config(path, Durability::Fast).open().await.unwrap();
        let responses = cache.responses();
        let found = |name: &'static str| async { responses.read(&key(name)).await.unwrap() };
        let [one, two, three] = [found("one").await, found("two").await, found("three").await];
        let one_of = |found: &Option<Entry>, allowed: &[Option<Entry>]| allowed.contains(found);
        let large = Some(Entry::new("large", vec![b'l'; 30_000]));
        let right = match (operation, done) {
            ("put", true) => three == Some(new()) && one == Some(old()),
            ("put", false) => one_of(&three, &[None, Some(new())]) && one == Some(old()),
            ("overwrite", true) => one == Some(new()),
            ("overwrite", false) => one_of(&one, &[Some(old()), Some(new())]),
            ("refresh", true) => one == Some(refreshed()),
            ("refresh", false) => one_of(&one, &[Some(old()), Some(refreshed())]),
            ("delete", true) => one.is_none(),
            ("delete", false) => one_of(&one, &[None, Some(old())]),
            ("clear", true) => one.is_none() && two.is_none(),
            ("clear", false) => one_of(&one, &[None, Some(old())]) && one_of(&two, &[None, Some(old())]),
            // Where one refused to go, another went.
            ("evict", true) => three == large && (one.is_none() || two.is_none()),
            ("evict", false) => one_of(&one, &[None, Some(old())]) && one_of(&three, &[None, large]),
            _ => one == Some(old()) && two == Some(old()),
        };
        assert!(right, "{at}: {one:?} {two:?} {three:?}");
        let found = cache.bodies().unwrap().read(&part()).await.unwrap();
        assert!(found.is_none_or(|found| found.body.len() == 5000), "{at}");
        assert_eq!(found_untouched(operation, two.as_ref()), Some(()), "{at}: {two:?}");
        assert_eq!(cache.stats().corrupt, 0, "{at}");
        let listed: Vec<CacheKey> = responses.keys().try_collect().await.unwrap();
        assert_eq!(responses.size().await.unwrap(), listed.len() as u64, "{at}");
        // Nothing is left of what was being written, and writing works.
        responses.write(&key("four"), Entry::new("", "")).await.unwrap();
        assert!(responses.contains(&key("four")).await.unwrap(), "{at}");
        cache.close().await.unwrap();
        assert_eq!(tmp(path), 0, "{at}");
    }

    fn found_untouched(operation: &str, two: Option<&Entry>) -> Option<()> {
        (matches!(operation, "clear" | "evict") || two == Some(&old())).then_some(())
    }

    /// How many folders there are of processes that write.
    fn tmp(path: &Path) -> usize {
        std::fs::read_dir(path.join("v1/tmp")).map_or(0, Iterator::count)
    }

    fn files_in_tmp(path: &Path) -> usize {
        let folders = std::fs::read_dir(path.join("v1/tmp")).into_iter().flatten().map_while(Result::ok);
        folders.map(|folder| std::fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
    }

    async fn every_step(plan: &str, durable: bool, also: impl Fn(&Path, &str, &Said, &str)) {
        for operation in OPERATIONS {
            for number in 1.. {
                let at = format!("{operation}, {plan} at step {number}, durable: {durable}");
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("cache");
                if operation != "open" {
                    prepare(&path).await;
                }
                let said = run(&path, operation, durable, &format!("{plan}:{number}"));
                let whole = if plan == "kill" { said.done } else { (said.steps.len() as u64) < number };
                also(&path, operation, &said, &at);
                if operation == "open" {
                    // There was nothing yet that could be lost: whatever is left of it is opened.
                    prepare(&path).await;
                }
                check(&path, operation, said.done, &at).await;
                if whole {
                    assert!(number > 1 || operation == "close", "{at}: no step was counted: {}", said.text);
                    break;
                }
                assert!(number < 100, "{at}: {}", said.text);
            }
        }
    }

    /// Cases 126, 128, 131, 133 and 134: killed before every single change, old or new is there, whole; what was
    /// acknowledged stays.
    #[tokio::test]
    async fn killed_at_every_step_old_or_new_is_there() {
        for durable in [false, true] {
            every_step("kill", durable, |_, _, _, _| {}).await;
        }
    }

    /// Case 146: at whichever step there is no room left, old or new is there, whole, and nothing is left lying about.
    #[tokio::test]
    async fn without_room_at_any_step_old_or_new_is_there() {
        every_step("ENOSPC", false, |path, operation, said, at| {
            assert!(said.done || said.failed, "{at}: {}", said.text);
            if said.failed && operation != "open" {
                assert_eq!(files_in_tmp(path), 0, "{at}");
            }
        })
        .await;
    }

    /// Case 132: a sync that fails once means not stored, whatever a later one says, and the file is removed.
    #[tokio::test]
    async fn a_failed_sync_is_not_stored() {
        for number in 1..100 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("cache");
            prepare(&path).await;
            let said = run(&path, "put", true, &format!("EIO:{number}"));
            let failed_at = said.steps.get(number - 1).map(String::as_str);
            if failed_at.is_some_and(|what| what.starts_with("sync")) {
                assert!(said.failed, "step {number}: {}", said.text);
                assert_eq!(files_in_tmp(&path), 0);
                let cache = config(&path, Durability::Fast).open().await.unwrap();
                assert_eq!(cache.responses().read(&key("three")).await.unwrap(), None, "step {number}");
            }
            if failed_at.is_none() {
                return;
            }
        }
        panic!("a write has no end");
    }

    /// Cases 129 and 131: where it is to last, the file is on the disk before it has its name, and its name before it is
    /// acknowledged; a deleted name too.
    #[tokio::test]
    async fn durable_is_synced_in_this_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        prepare(&path).await;
        let steps = run(&path, "overwrite", true, "none:0").steps;
        assert_eq!(
            steps,
            ["create", "set mode", "write", "write the rest", "set time", "sync file", "rename", "sync folder"]
        );
        let steps = run(&path, "put", true, "none:0").steps;
        assert!(steps.ends_with(&["rename".to_owned(), "sync folder".to_owned()]), "{steps:?}");
        let made = ["make folder", "set the folder's mode", "sync folder"];
        assert!(steps.windows(3).any(|steps| *steps == made), "{steps:?}");
        let steps = run(&path, "delete", true, "none:0").steps;
        assert_eq!(steps, ["unlink", "sync folder"]);
        let steps = run(&path, "overwrite", false, "none:0").steps;
        assert_eq!(steps, ["create", "set mode", "write", "write the rest", "set time", "rename"]);
    }
}
