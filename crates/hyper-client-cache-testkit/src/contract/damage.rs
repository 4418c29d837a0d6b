//! S15: bytes that are no entry are a miss that is counted, and nothing else.

use std::time::Duration;

use hyper_client_cache_core::storage::{CacheKey, Entry};

use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::support::{entry, key, keys, listed_entries, listed_heads, reopened};
use super::{Damage, Harness};

const CANNOT: &str = "the harness cannot damage what is stored";

/// S15: each kind of damage is a miss, counted, and the next write heals it. Case 142: nothing else is lost.
pub(super) async fn s15_damaged_bytes_are_a_counted_miss(harness: &dyn Harness) -> Outcome {
    const SPACE: &str = "s15-kinds";
    let kinds = [
        Damage::FlipHead,
        Damage::FlipBody,
        Damage::FlipAt(0),
        Damage::Truncate,
        Damage::Garbage,
        Damage::NewerVersion,
    ];
    for damage in kinds {
        let storage = harness.open(SPACE).await;
        storage.clear().await?;
        let (bad, good) = (key("bad")?, key("good")?);
        for name in [bad, good] {
            storage.write(&name, entry(name.as_str())).await?;
        }
        if !harness.damage(SPACE, &bad, damage).await {
            return Ok(Verdict::skipped(CANNOT));
        }
        let storage = reopened(harness, SPACE, storage).await?;
        let before = storage.stats().corrupt;
        ensure_eq!(storage.read(&bad).await?, None, "read of an entry after {damage:?}");
        ensure!(storage.stats().corrupt > before, "{damage:?} was not counted in the statistics");
        ensure_eq!(storage.read(&good).await?, Some(entry("good")), "the entry beside the one with {damage:?}");
        storage.write(&bad, entry("healed")).await?;
        ensure_eq!(storage.read(&bad).await?, Some(entry("healed")), "written over an entry with {damage:?}");
        storage.close().await?;
    }
    Ok(Verdict::Kept)
}

/// S15: no call fails where it meets damaged bytes; what lists entries leaves them out.
pub(super) async fn s15_no_call_fails_on_damaged_bytes(harness: &dyn Harness) -> Outcome {
    const SPACE: &str = "s15-calls";
    for damage in [Damage::FlipHead, Damage::Garbage, Damage::NewerVersion, Damage::Truncate] {
        let storage = harness.open(SPACE).await;
        storage.clear().await?;
        let names = keys("one", 6)?;
        let [bad, .., good] = names.as_slice() else { return Err(Violation::new("six keys were made")) };
        for name in &names {
            storage.write(name, entry(name.as_str())).await?;
        }
        for name in names.iter().take(3) {
            if !harness.damage(SPACE, name, damage).await {
                return Ok(Verdict::skipped(CANNOT));
            }
        }
        let storage = reopened(harness, SPACE, storage).await?;
        // In this order: the first calls must meet the damage, before anything removes it.
        storage.contains(bad).await?;
        storage.size().await?;
        storage.bytes().await?;
        let entries: Vec<_> = listed_entries(&*storage).await?.into_iter().map(|(name, _)| name).collect();
        ensure_eq!(entries, names.get(3..).unwrap_or_default(), "entries listed beside ones with {damage:?}");
        let heads: Vec<_> = listed_heads(&*storage).await?.into_iter().map(|(name, _)| name).collect();
        // A listing of heads that does not read bodies cannot see that one is short.
        let heads: Vec<_> =
            heads.into_iter().filter(|name| damage != Damage::Truncate || entries.contains(name)).collect();
        ensure_eq!(heads, entries, "heads listed beside ones with {damage:?}");
        let found = storage.read_many(&names).await?;
        let seen: Vec<_> = found.iter().map(Option::is_some).collect();
        ensure_eq!(seen, vec![false, false, false, true, true, true], "read_many over {damage:?}");
        storage.delete_expired(harness.clock().after(Duration::from_secs(1))).await?;
        storage.delete(bad).await?;
        storage.delete_many(&names).await?;
        ensure_eq!(storage.read(good).await?, None, "an entry that was deleted with damaged ones");
        storage.clear().await?;
        ensure_eq!(storage.size().await?, 0, "the size after clearing damaged entries");
        storage.close().await?;
    }
    Ok(Verdict::Kept)
}

/// S15: one flipped bit in any byte of an entry is noticed. Case 85.
pub(super) async fn s15_a_flipped_bit_in_any_byte_is_noticed(harness: &dyn Harness) -> Outcome {
    const SPACE: &str = "s15-bits";
    let storage = harness.open(SPACE).await;
    let written = Entry::new("a head", "and a body");
    let mut damaged: Vec<CacheKey> = Vec::new();
    for at in 0..4096 {
        let name = key(&format!("at-{at}"))?;
        storage.write(&name, written.clone()).await?;
        if !harness.damage(SPACE, &name, Damage::FlipAt(at)).await {
            break;
        }
        damaged.push(name);
    }
    if damaged.is_empty() {
        return Ok(Verdict::skipped(CANNOT));
    }
    ensure!(damaged.len() as u64 >= written.len(), "the harness can damage only {} bytes", damaged.len());
    let storage = reopened(harness, SPACE, storage).await?;
    let before = storage.stats().corrupt;
    for name in &damaged {
        ensure_eq!(storage.read(name).await?, None, "an entry with a flipped bit ({name})");
    }
    let counted = storage.stats().corrupt.saturating_sub(before);
    ensure!(counted >= damaged.len() as u64, "{counted} of {} damaged entries were counted", damaged.len());
    Ok(Verdict::Kept)
}

/// S15 and case 143: damaged bytes are removed once they were met, those of a newer version are left to it.
pub(super) async fn s15_damaged_bytes_are_removed_and_newer_ones_kept(harness: &dyn Harness) -> Outcome {
    const SPACE: &str = "s15-removal";
    let storage = harness.open(SPACE).await;
    let (damaged, newer) = (key("damaged")?, key("newer")?);
    for (name, damage) in [(damaged, Damage::FlipBody), (newer, Damage::NewerVersion)] {
        storage.write(&name, entry("one")).await?;
        if !harness.damage(SPACE, &name, damage).await {
            return Ok(Verdict::skipped(CANNOT));
        }
    }
    let storage = reopened(harness, SPACE, storage).await?;
    for name in [damaged, newer] {
        ensure_eq!(storage.read(&name).await?, None, "the {name} entry");
    }
    // A storage that writes nothing while it reads removes it a little later.
    let mut removed = false;
    for _ in 0..6_000 {
        // Damaging what is not there is impossible, which is how the suite sees that it went.
        removed = !harness.damage(SPACE, &damaged, Damage::FlipAt(0)).await;
        if removed {
            break;
        }
        // What lies there now is other damage than what was met: it is met again.
        ensure_eq!(storage.read(&damaged).await?, None, "the damaged entry");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ensure!(removed, "a damaged entry still lies in the store a minute after it was read");
    ensure!(harness.damage(SPACE, &newer, Damage::FlipAt(0)).await, "reading an entry of a newer version removed it");
    Ok(Verdict::Kept)
}
