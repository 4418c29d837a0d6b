//! The test with a killed process, run against a storage of files that is safe against it and one that is not.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_client_cache_testkit::bytes::Bytes;
use hyper_client_cache_testkit::contract::{self, Harness, Opened, STORAGE_TESTS, Verdict, victim};
use hyper_client_cache_testkit::core::Result;
use hyper_client_cache_testkit::core::storage::{CacheKey, Entry, Storage, StorageInfo};
use hyper_client_cache_testkit::futures_core::stream::BoxStream;
use hyper_client_cache_testkit::futures_util::{StreamExt, stream};
use hyper_client_cache_testkit::{ManualClock, async_trait};

const NAME: &str = "s03_a_killed_writer_leaves_whole_entries";
const DIR: &str = "CONTRACT_VICTIM_DIR";
const IN_PLACE: &str = "CONTRACT_VICTIM_IN_PLACE";

/// A head and a body in one file each. Enough for the one test it is made for: nothing expires.
#[derive(Clone)]
struct Files {
    dir: PathBuf,
    in_place: bool,
}

impl Files {
    fn open(dir: &Path, in_place: bool) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        Self { dir: dir.to_owned(), in_place }
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}

#[async_trait]
impl Storage for Files {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("files").persistent(true).shared(true)
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let Ok(bytes) = std::fs::read(self.dir.join(key.as_str())) else { return Ok(None) };
        // A file that was cut short by death is taken as it is: the suite must see the difference.
        let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let body = Bytes::copy_from_slice(bytes.get(at + 1..).unwrap_or_default());
        Ok(Some(Entry::new(bytes[..at].to_vec(), body)))
    }

    async fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        let path = self.dir.join(key.as_str());
        let head = [&entry.head[..], b"\n"].concat();
        if self.in_place {
            std::fs::write(&path, &head).unwrap();
            // Long enough to be killed in, also where the process gets its turn late.
            tokio::time::sleep(Duration::from_millis(100)).await;
            std::fs::write(&path, [&head, &entry.body[..]].concat()).unwrap();
        } else {
            let temporary = self.dir.join(format!("{key}.tmp"));
            std::fs::write(&temporary, [&head, &entry.body[..]].concat()).unwrap();
            std::fs::rename(temporary, path).unwrap();
        }
        Ok(())
    }

    async fn delete(&self, key: &CacheKey) -> Result<bool> {
        Ok(std::fs::remove_file(self.dir.join(key.as_str())).is_ok())
    }

    async fn clear(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.dir).unwrap();
        std::fs::create_dir_all(&self.dir).unwrap();
        Ok(())
    }

    fn keys(&self) -> BoxStream<'_, Result<CacheKey>> {
        let names = std::fs::read_dir(&self.dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        stream::iter(names.filter_map(|name| CacheKey::new(&name).ok()).map(Ok).collect::<Vec<_>>()).boxed()
    }

    async fn delete_expired(&self, _: SystemTime) -> Result<u64> {
        Ok(0)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

struct FileHarness {
    dir: tempfile::TempDir,
    in_place: bool,
}

#[async_trait]
impl Harness for FileHarness {
    async fn open(&self, namespace: &str) -> Opened {
        Opened::new(Files::open(&self.dir.path().join(namespace), self.in_place))
    }

    fn clock(&self) -> ManualClock {
        ManualClock::new()
    }

    fn victim(&self, namespace: &str) -> Option<Command> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::the_process_that_is_killed", "--nocapture"]);
        command.env(DIR, self.dir.path().join(namespace));
        if self.in_place {
            command.env(IN_PLACE, "yes");
        }
        Some(command)
    }
}

/// Does nothing but in the process that the test below starts.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let storage = Files::open(Path::new(&dir), std::env::var_os(IN_PLACE).is_some());
    victim(&storage).await.unwrap();
}

async fn run(in_place: bool) -> contract::Outcome {
    let harness: Arc<dyn Harness> = Arc::new(FileHarness { dir: tempfile::tempdir().unwrap(), in_place });
    STORAGE_TESTS.iter().find(|test| test.name == NAME).unwrap().run(&harness).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_renames_survives_being_killed() {
    let outcome = run(false).await;
    assert!(matches!(outcome, Ok(Verdict::Kept)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_writes_in_place_is_found_out() {
    let outcome = run(true).await;
    let violation = outcome.expect_err("half an entry was taken for a whole one");
    assert!(violation.to_string().starts_with("a killed writer left a mix"), "{violation}");
    println!("S3   writes in place, killed: {violation}");
}
