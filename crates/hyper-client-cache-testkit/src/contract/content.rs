//! S1, S2, S9, S10: what is written is what is read, whole, whatever it is, up to the limit.

use std::time::Duration;

use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::{CacheKey, Entry};

use super::outcome::{Outcome, Verdict, ensure, ensure_eq};
use super::support::{entry, in_secs, key, keys, listed, same, sorted};
use super::{Harness, Opened};

/// S1: an entry is read as it was written, with and without a deadline.
pub(super) async fn s01_what_was_written_is_read(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s01-written").await;
    let clock = harness.clock();
    let plain = entry("plain");
    let timed = entry("timed").retain_until(in_secs(&clock, 3600));
    storage.write(&key("plain")?, plain.clone()).await?;
    storage.write(&key("timed")?, timed.clone()).await?;
    for (name, written) in [("plain", &plain), ("timed", &timed)] {
        ensure_eq!(storage.read(&key(name)?).await?.as_ref(), Some(written), "the entry {name:?}");
        ensure!(storage.contains(&key(name)?).await?, "{name:?} was written and is not contained");
    }
    ensure_eq!(storage.read(&key("other")?).await?, None, "a key that was never written");
    ensure!(!storage.contains(&key("other")?).await?, "a key that was never written is contained");
    ensure_eq!(storage.size().await?, 2, "the size");
    Ok(Verdict::Kept)
}

/// S1: a deadline between two ticks of the store's clock may move up by less than a second, never down.
pub(super) async fn s01_a_deadline_is_never_rounded_down(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s01-deadline").await;
    let clock = harness.clock();
    let name = key("timed")?;
    for nanos in [0, 1, 999, 1_000, 499_999_999, 999_000_000, 999_999_999] {
        // An odd number of seconds, and one some centuries away.
        for seconds in [61, 9_000_000_000] {
            let written = entry("timed").retain_until(clock.after(Duration::new(seconds, nanos)));
            storage.write(&name, written.clone()).await?;
            let found = storage.read(&name).await?;
            ensure!(found.as_ref().is_some_and(|found| same(found, &written)), "written {written:?}, read {found:?}",);
        }
    }
    Ok(Verdict::Kept)
}

/// S1: many entries at once are read as many at once, in the order asked for.
pub(super) async fn s01_many_are_written_and_read_in_order(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s01-many").await;
    let names = keys("many", 500)?;
    let entries: Vec<_> = names.iter().map(|name| (*name, entry(name.as_str()))).collect();
    storage.write_many(entries.clone()).await?;
    // Backwards, with a gap and one asked for twice.
    let mut asked: Vec<_> = names.iter().rev().copied().collect();
    asked.insert(7, key("nowhere")?);
    asked.extend(names.first());
    let found = storage.read_many(&asked).await?;
    ensure_eq!(found.len(), asked.len(), "answers to read_many");
    for (asked, found) in asked.iter().zip(found) {
        let expected = entries.iter().find(|(name, _)| name == asked).map(|(_, entry)| entry.clone());
        ensure_eq!(found, expected, "{asked} among many");
    }
    storage.write_many(vec![(key("twice")?, entry("first")), (key("twice")?, entry("second"))]).await?;
    ensure_eq!(storage.read(&key("twice")?).await?, Some(entry("second")), "a key that is twice in write_many");
    storage.write_many(Vec::new()).await?;
    ensure_eq!(storage.read_many(&[]).await?, Vec::new(), "read_many of nothing");
    ensure_eq!(storage.size().await?, 501, "the size");
    Ok(Verdict::Kept)
}

/// S2: nothing of the old entry is left after a write: no longer body, no head, no deadline.
pub(super) async fn s02_a_write_replaces_the_whole_entry(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s02-replace").await;
    let clock = harness.clock();
    let name = key("one")?;
    let long = Entry::new("a long head", vec![b'x'; 10_000]).retain_until(in_secs(&clock, 60));
    let short = Entry::new("h", "b");
    for (old, new) in [(&long, &short), (&short, &long)] {
        for many in [false, true] {
            storage.write(&name, old.clone()).await?;
            if many {
                storage.write_many(vec![(name, new.clone())]).await?;
            } else {
                storage.write(&name, new.clone()).await?;
            }
            ensure_eq!(storage.read(&name).await?.as_ref(), Some(new), "after replacing {old:?}");
            ensure_eq!(listed(&*storage).await?, vec![name], "the keys after a key was written twice");
            ensure_eq!(storage.bytes().await?, new.len(), "the bytes after a key was written twice");
        }
    }
    storage.write(&name, long).await?;
    storage.write(&name, short.clone()).await?;
    clock.advance(Duration::from_secs(61));
    let now = clock.now();
    storage.delete_expired(now).await?;
    ensure_eq!(storage.read(&name).await?, Some(short), "the deadline of the entry before is still in force");
    Ok(Verdict::Kept)
}

/// S2: refreshing replaces head and deadline and keeps the body; what is not there is not refreshed.
pub(super) async fn s02_a_refresh_replaces_head_and_deadline(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s02-refresh").await;
    let clock = harness.clock();
    let name = key("one")?;
    let body = vec![b'x'; 10_000];
    let old = Entry::new("old", body.clone()).retain_until(in_secs(&clock, 60));
    let later = Entry::new("newer head", body.clone()).retain_until(in_secs(&clock, 3600));
    let forever = Entry::new("", body);
    storage.write(&name, old).await?;
    for new in [later, forever] {
        ensure!(storage.refresh(&name, new.clone()).await?, "refresh says that a live entry is not there");
        ensure_eq!(storage.read(&name).await?.as_ref(), Some(&new), "after a refresh");
        clock.advance(Duration::from_secs(61));
        storage.delete_expired(clock.now()).await?;
        ensure_eq!(storage.read(&name).await?.as_ref(), Some(&new), "after the deadline before the refresh");
    }
    ensure!(!storage.refresh(&key("two")?, entry("two")).await?, "refresh says that nothing is something");
    ensure_eq!(storage.read(&key("two")?).await?, None, "refresh wrote what was not there");
    Ok(Verdict::Kept)
}

/// S9: sizes and bytes at the edges.
pub(super) async fn s09_any_bytes_and_the_longest_key_work(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s09-edges").await;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let mut large = every_byte.repeat(4096);
    // 1 MiB, or what a store of smaller entries takes.
    let most = storage.info().max_entry_len.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    large.truncate(most.saturating_sub("head".len()));
    let longest = "z".repeat(CacheKey::MAX_LEN);
    let almost = format!("{}y", "z".repeat(CacheKey::MAX_LEN.saturating_sub(1)));
    let cases = [
        ("empty", Entry::new("", "")),
        ("no-head", Entry::new("", "body")),
        ("no-body", Entry::new("head", "")),
        ("nul", Entry::new("\0", "\0")),
        ("nul-inside", Entry::new("he\0ad", "bo\0dy\0")),
        ("not-utf-8", Entry::new(every_byte.clone(), every_byte)),
        ("line-ends", Entry::new("\r\n\r\n", "\n")),
        ("large", Entry::new("head", large)),
        ("0", entry("0")),
        ("-", entry("-")),
        ("--", entry("--")),
        (&longest, entry("longest")),
        (&almost, entry("almost")),
    ];
    for (name, written) in &cases {
        storage.write(&key(name)?, written.clone()).await?;
    }
    for (name, written) in &cases {
        let found = storage.read(&key(name)?).await?;
        ensure!(found.as_ref() == Some(written), "{name:?}: written {written:?}, read {found:?} (or other bytes)");
    }
    let names: Vec<_> = cases.iter().map(|(name, _)| key(name)).collect::<Result<_, _>>()?;
    ensure_eq!(listed(&*storage).await?, sorted(names), "the keys");
    let bytes = cases.iter().fold(0_u64, |sum, (_, entry)| sum.saturating_add(entry.len()));
    ensure_eq!(storage.bytes().await?, bytes, "the bytes of all entries");
    Ok(Verdict::Kept)
}

/// S10: what is over the limit is refused with a kind of its own, and changes nothing.
pub(super) async fn s10_over_the_limit_is_refused_and_changes_nothing(harness: &dyn Harness) -> Outcome {
    let (storage, limit) = match limited(harness).await {
        Ok(found) => found,
        Err(reason) => return Ok(Verdict::skipped(reason)),
    };
    let (name, other, fresh) = (key("one")?, key("other")?, key("fresh")?);
    let head = "head";
    let room = limit.saturating_sub(head.len());
    let full = Entry::new(head, vec![b'x'; room]);
    let over = Entry::new(head, vec![b'y'; room.saturating_add(1)]);
    storage.write(&other, entry("other")).await?;
    storage.write(&name, full.clone()).await?;
    ensure!(storage.read(&name).await?.as_ref() == Some(&full), "an entry of exactly {limit} bytes was not stored");
    let refusals = [
        ("write over an entry", storage.write(&name, over.clone()).await.err()),
        ("write of a new entry", storage.write(&fresh, over.clone()).await.err()),
        ("write_many", storage.write_many(vec![(fresh, over.clone())]).await.err()),
        ("refresh", storage.refresh(&name, over).await.err()),
    ];
    for (call, error) in refusals {
        let kind = error.as_ref().map(hyper_client_cache_core::Error::kind);
        ensure_eq!(kind, Some(ErrorKind::TooLarge), "{call} one byte over the limit of {limit}");
    }
    ensure!(storage.read(&name).await?.as_ref() == Some(&full), "a refused write changed what was stored before");
    ensure_eq!(storage.read(&fresh).await?, None, "a refused entry");
    ensure_eq!(storage.read(&other).await?, Some(entry("other")), "the entry of another key");
    Ok(Verdict::Kept)
}

/// A storage with a limit, and the limit: a small one where the harness can set it, else the storage's own.
async fn limited(harness: &dyn Harness) -> Result<(Opened, usize), &'static str> {
    const SMALL: u64 = 2_000;
    /// More than this is not worth the memory of a test.
    const LARGEST: u64 = 64 * 1024 * 1024;

    if let Some(storage) = harness.open_limited("s10-limit", SMALL).await {
        return Ok((storage, SMALL as usize));
    }
    let storage = harness.open("s10-limit").await;
    match storage.info().max_entry_len {
        Some(limit) if limit <= LARGEST => Ok((storage, limit as usize)),
        Some(_) => Err("the limit is too large to be tried, and the harness sets no other"),
        None => Err("the storage has no limit, and the harness sets none"),
    }
}
