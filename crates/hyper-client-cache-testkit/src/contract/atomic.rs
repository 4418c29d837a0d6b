//! S3, S12: an entry is there as a whole or not at all, whoever gives up half-way and whoever else writes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use hyper_client_cache_core::Result;
use hyper_client_cache_core::clock::{Clock, from_millis};
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};

use super::Harness;
use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::support::{in_secs, key, keys, listed, same};

/// A write that takes more polls than this is not waited for; so many points are enough to drop it at.
const MOST_POLLS: usize = 200;

/// S3: a write that is dropped at any point leaves the old entry, the new one, or none.
pub(super) async fn s03_a_dropped_write_leaves_a_whole_entry(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s03-dropped").await;
    let clock = harness.clock();
    let name = key("one")?;
    let old = Entry::new("old head", vec![b'o'; 40_000]).retain_until(in_secs(&clock, 600));
    let new = Entry::new("the new head", vec![b'n'; 90_000]).retain_until(in_secs(&clock, 6_000));
    let refreshed = Entry::new("refreshed", vec![b'o'; 40_000]).retain_until(in_secs(&clock, 60_000));
    for (what, call) in [("write", Call::Write), ("write_many", Call::WriteMany), ("refresh", Call::Refresh)] {
        let wanted = if call == Call::Refresh { &refreshed } else { &new };
        for polls in 0..MOST_POLLS {
            storage.write(&name, old.clone()).await?;
            let done = match call {
                Call::Write => polled(polls, storage.write(&name, wanted.clone())).await.transpose()?.is_some(),
                Call::WriteMany => {
                    polled(polls, storage.write_many(vec![(name, wanted.clone())])).await.transpose()?.is_some()
                }
                Call::Refresh => polled(polls, storage.refresh(&name, wanted.clone())).await.transpose()?.is_some(),
            };
            // What a dropped future left in a queue may still arrive: look more than once.
            for _ in 0..3 {
                let found = storage.read(&name).await?;
                let whole = found.as_ref().is_none_or(|found| same(found, &old) || same(found, wanted));
                ensure!(whole, "{what}, dropped after {polls} polls, left a mix: {found:?}");
                tokio::task::yield_now().await;
            }
            ensure!(listed(&*storage).await?.len() <= 1, "{what}, dropped after {polls} polls, left a second key");
            if done {
                let found = storage.read(&name).await?;
                ensure!(found.is_some_and(|found| same(&found, wanted)), "{what} returned and was not done");
                break;
            }
        }
    }
    Ok(Verdict::Kept)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Write,
    WriteMany,
    Refresh,
}

/// S3: deleting, clearing and reading that are dropped at any point leave the storage usable and entries whole.
pub(super) async fn s03_a_dropped_call_leaves_the_storage_usable(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s03-usable").await;
    let names = keys("one", 20)?;
    let whole = Entry::new("head", vec![b'x'; 5_000]);
    for polls in 0..20 {
        storage.write_many(names.iter().map(|name| (*name, whole.clone())).collect()).await?;
        for name in names.iter().take(3) {
            polled(polls, storage.delete(name)).await.transpose()?;
            polled(polls, storage.read(name)).await.transpose()?;
        }
        polled(polls, storage.delete_many(&names)).await.transpose()?;
        polled(polls, storage.read_many(&names)).await.transpose()?;
        polled(polls, storage.delete_expired(from_millis(0))).await.transpose()?;
        polled(polls, storage.size()).await.transpose()?;
        polled(polls, storage.clear()).await.transpose()?;
        for found in storage.read_many(&names).await?.into_iter().flatten() {
            ensure!(found == whole, "calls dropped after {polls} polls left a part of an entry: {found:?}");
        }
        let [first, ..] = names.as_slice() else { return Err(Violation::new("twenty keys were made")) };
        storage.write(first, whole.clone()).await?;
        ensure_eq!(storage.read(first).await?.as_ref(), Some(&whole), "written after dropped calls");
    }
    Ok(Verdict::Kept)
}

/// S3: readers beside a writer see the old entry or the new one. Case 185.
pub(super) async fn s03_a_reader_beside_a_writer_sees_no_mix(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s03-beside").await;
    let name = key("one")?;
    let base = harness.clock().now();
    storage.write(&name, numbered(base, 0)).await?;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3).map(|_| read_until(storage.share(), name, base, Arc::clone(&done))).collect();
    let mut written = Ok(());
    for number in 1..=100 {
        written = match number % 3 {
            0 => storage.write_many(vec![(name, numbered(base, number))]).await,
            _ => storage.write(&name, numbered(base, number)).await,
        };
        if written.is_err() {
            break;
        }
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        reader.await.map_err(|error| Violation::new(format!("a reader panicked: {error}")))??;
    }
    written?;
    ensure_eq!(number_of(&storage.read(&name).await?, base)?, Some(100), "the entry after the last write");
    Ok(Verdict::Kept)
}

/// S12: of many writers of one key exactly one wins, whole; nobody ever reads a mix.
pub(super) async fn s12_racing_writers_leave_one_entry(harness: &dyn Harness) -> Outcome {
    const WRITERS: u64 = 16;
    let storage = harness.open("s12-race").await;
    let base = harness.clock().now();
    for round in 0..5 {
        let name = key(&format!("round-{round}"))?;
        let done = Arc::new(AtomicBool::new(false));
        let reader = read_until(storage.share(), name, base, Arc::clone(&done));
        let start = Arc::new(tokio::sync::Barrier::new(WRITERS as usize));
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (storage, start) = (storage.share(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    for _ in 0..3 {
                        storage.write(&name, numbered(base, number)).await?;
                    }
                    Ok::<_, hyper_client_cache_core::Error>(())
                })
            })
            .collect();
        let mut written = Vec::new();
        for writer in writers {
            written.push(writer.await.map_err(|error| Violation::new(format!("a writer panicked: {error}")))?);
        }
        done.store(true, Ordering::Release);
        reader.await.map_err(|error| Violation::new(format!("the reader panicked: {error}")))??;
        for result in written {
            result?;
        }
        let found = storage.read(&name).await?;
        let winner = number_of(&found, base)?;
        ensure!(winner.is_some_and(|number| number < WRITERS), "after the race there is {found:?}");
        let listed = listed(&*storage).await?.into_iter().filter(|other| *other == name).count();
        ensure_eq!(listed, 1, "how often the key is listed after the race");
    }
    Ok(Verdict::Kept)
}

/// Reads `name` until told to stop; fails at the first mix.
fn read_until(
    storage: Arc<dyn Storage>,
    name: CacheKey,
    base: std::time::SystemTime,
    done: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<Result<(), Violation>> {
    tokio::spawn(async move {
        loop {
            let last = done.load(Ordering::Acquire);
            number_of(&storage.read(&name).await?, base)?;
            if last {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    })
}

/// An entry every piece of which says `number`: head, length and bytes of the body, deadline.
fn numbered(base: std::time::SystemTime, number: u64) -> Entry {
    let fill = u8::try_from(number % 251).unwrap_or_default();
    let len = 20_000_usize.saturating_add(usize::try_from(number).unwrap_or_default().saturating_mul(64));
    let deadline = base.checked_add(std::time::Duration::from_secs(number.saturating_add(3600)));
    Entry::new(number.to_string(), vec![fill; len]).retain_until(deadline)
}

/// The number of an entry that [`numbered`] made, or what is wrong with it.
fn number_of(found: &Option<Entry>, base: std::time::SystemTime) -> Result<Option<u64>, Violation> {
    let Some(found) = found else { return Ok(None) };
    let number = std::str::from_utf8(&found.head).ok().and_then(|text| text.parse().ok());
    let number: u64 =
        number.ok_or_else(|| Violation::new(format!("a reader saw a head that nobody wrote: {found:?}")))?;
    if same(found, &numbered(base, number)) {
        Ok(Some(number))
    } else {
        Err(Violation::new(format!("a reader saw a mix: the head is number {number}'s, the rest is not: {found:?}")))
    }
}

/// Polls `future` at most `polls` times, each time after it woke, and drops it; its output where it was done by then.
async fn polled<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left = left.saturating_sub(1);
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
