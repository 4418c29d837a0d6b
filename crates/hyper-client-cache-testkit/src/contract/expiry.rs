//! S5, S6: what is past its deadline is invisible at once, and is cleared away at its own cost.

use std::time::Duration;

use hyper_client_cache_core::clock::{Clock, SystemClock};
use hyper_client_cache_core::storage::{Entry, NativeExpiry, Storage};

use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::support::{entry, in_secs, key, keys, listed, listed_entries, listed_heads, reopened, sorted};
use super::{Damage, Harness};

/// S5: from its deadline on, no reader sees an entry, whether or not it still exists.
pub(super) async fn s05_the_dead_are_invisible_to_every_reader(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s05-readers").await;
    let clock = harness.clock();
    let (dead, live, ever) = (key("dead")?, key("live")?, key("ever")?);
    let alive = entry("live").retain_until(in_secs(&clock, 11));
    storage.write(&dead, entry("dead").retain_until(in_secs(&clock, 10))).await?;
    storage.write(&live, alive.clone()).await?;
    storage.write(&ever, entry("ever")).await?;
    ensure_eq!(listed(&*storage).await?, sorted([dead, live, ever]), "the keys while all are alive");
    // To the very moment: a deadline that is now has passed.
    clock.advance(Duration::from_secs(10));
    let remaining = vec![(ever, entry("ever")), (live, alive)];
    ensure_eq!(storage.read(&dead).await?, None, "read of a dead entry");
    ensure!(!storage.contains(&dead).await?, "contains says that a dead entry is there");
    let many = storage.read_many(&[ever, dead, live]).await?;
    ensure_eq!(many.iter().map(Option::is_some).collect::<Vec<_>>(), vec![true, false, true], "read_many");
    ensure_eq!(listed(&*storage).await?, sorted([live, ever]), "the keys");
    ensure_eq!(listed_entries(&*storage).await?, remaining, "the entries");
    let heads: Vec<_> = remaining.iter().map(|(key, entry)| (*key, entry.clone().without_body())).collect();
    ensure_eq!(listed_heads(&*storage).await?, heads, "the heads");
    ensure_eq!(storage.size().await?, 2, "the size");
    let bytes = remaining.iter().fold(0_u64, |sum, (_, entry)| sum.saturating_add(entry.len()));
    ensure_eq!(storage.bytes().await?, bytes, "the bytes");
    Ok(Verdict::Kept)
}

/// S5: whoever removes or refreshes a dead entry finds nothing.
pub(super) async fn s05_removing_or_refreshing_the_dead_finds_nothing(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s05-removing").await;
    let clock = harness.clock();
    let names = keys("dead", 4)?;
    for name in &names {
        storage.write(name, entry("dead").retain_until(in_secs(&clock, 10))).await?;
    }
    let live = key("live")?;
    storage.write(&live, entry("live")).await?;
    clock.advance(Duration::from_secs(10));
    let [first, second, rest @ ..] = names.as_slice() else { return Err(Violation::new("four keys were made")) };
    ensure!(!storage.delete(first).await?, "delete says that a dead entry was there");
    ensure!(!storage.refresh(second, entry("refreshed")).await?, "refresh says that a dead entry is there");
    ensure_eq!(storage.read(second).await?, None, "a dead entry came back to life by a refresh");
    let mut asked = rest.to_vec();
    asked.push(live);
    ensure_eq!(storage.delete_many(&asked).await?, 1, "delete_many of two dead entries and a live one");
    ensure_eq!(storage.size().await?, 0, "the size");
    Ok(Verdict::Kept)
}

/// S5: an entry that is written dead is never seen, and hides what it replaced.
pub(super) async fn s05_what_is_written_dead_is_never_seen(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s05-written").await;
    let now = harness.clock().now();
    let (past, present, replaced) = (key("past")?, key("present")?, key("replaced")?);
    storage.write(&replaced, entry("before")).await?;
    storage.write(&past, entry("past").retain_until(now.checked_sub(Duration::from_secs(5)))).await?;
    storage.write(&present, entry("present").retain_until(now)).await?;
    storage.write(&replaced, entry("dead").retain_until(now)).await?;
    for name in [past, present, replaced] {
        ensure_eq!(storage.read(&name).await?, None, "{name}, which was written dead");
    }
    ensure_eq!(listed(&*storage).await?, vec![], "the keys");
    Ok(Verdict::Kept)
}

/// S5: an entry is visible up to its deadline, also where the clock is set back.
pub(super) async fn s05_the_living_are_visible_to_the_last_moment(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s05-living").await;
    let clock = harness.clock();
    let name = key("one")?;
    let written = entry("one").retain_until(in_secs(&clock, 10));
    storage.write(&name, written.clone()).await?;
    clock.advance(Duration::from_millis(9_999));
    ensure_eq!(storage.read(&name).await?.as_ref(), Some(&written), "a millisecond before the deadline");
    clock.advance(Duration::from_millis(1));
    clock.rewind(Duration::from_secs(3600));
    ensure_eq!(storage.read(&name).await?.as_ref(), Some(&written), "after the clock was set back");
    ensure_eq!(listed(&*storage).await?, vec![name], "the keys after the clock was set back");
    let earlier = entry("two").retain_until(in_secs(&clock, 10));
    storage.write(&name, earlier.clone()).await?;
    ensure_eq!(storage.read(&name).await?.as_ref(), Some(&earlier), "written after the clock was set back");
    // What has died may reappear when the clock goes back, or be gone; it may not be anything else.
    clock.advance(Duration::from_secs(10));
    ensure_eq!(storage.read(&name).await?, None, "at the deadline");
    clock.rewind(Duration::from_secs(10));
    let found = storage.read(&name).await?;
    ensure!(found.is_none() || found.as_ref() == Some(&earlier), "after the clock was set back once more: {found:?}");
    Ok(Verdict::Kept)
}

/// S6: exactly what is dead at the moment given goes, and is counted.
pub(super) async fn s06_only_the_dead_go_and_are_counted(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s06-dead").await;
    let clock = harness.clock();
    let (soon, later) = (in_secs(&clock, 10), in_secs(&clock, 20));
    let doomed = keys("doomed", 20)?;
    for name in &doomed {
        storage.write(name, entry("doomed").retain_until(soon)).await?;
    }
    // These were to die, but were rewritten: an index of deadlines that is not renewed would take them.
    let [prolonged, spared, moved] = [key("prolonged")?, key("spared")?, key("moved")?];
    for name in [prolonged, spared] {
        storage.write(&name, entry("before").retain_until(soon)).await?;
    }
    storage.write(&moved, entry("before").retain_until(later)).await?;
    storage.write(&prolonged, entry("prolonged").retain_until(later)).await?;
    storage.refresh(&spared, entry("before")).await?;
    storage.write(&moved, entry("moved").retain_until(soon)).await?;
    storage.write(&key("ever")?, entry("ever")).await?;
    storage.write(&key("later")?, entry("later").retain_until(later)).await?;

    ensure_eq!(storage.delete_expired(clock.now()).await?, 0, "deleted before any deadline");
    clock.advance(Duration::from_secs(10));
    let deleted = storage.delete_expired(clock.now()).await?;
    check_count(&*storage, deleted, 21)?;
    let living = sorted([prolonged, spared, key("ever")?, key("later")?]);
    ensure_eq!(listed(&*storage).await?, living, "the keys that are left");
    ensure_eq!(storage.delete_expired(clock.now()).await?, 0, "deleted the second time");
    // The moment given decides, not the storage's clock.
    let deleted = storage.delete_expired(later).await?;
    check_count(&*storage, deleted, 2)?;
    ensure_eq!(listed(&*storage).await?, sorted([spared, key("ever")?]), "the keys that are left at last");
    Ok(Verdict::Kept)
}

/// S6: bodies are not looked at, so damage in one neither stops nor miscounts a clean-up.
pub(super) async fn s06_no_body_is_decoded(harness: &dyn Harness) -> Outcome {
    const SPACE: &str = "s06-bodies";
    let storage = harness.open(SPACE).await;
    let clock = harness.clock();
    let doomed = keys("doomed", 6)?;
    let living = keys("living", 6)?;
    for (dead, live) in doomed.iter().zip(&living) {
        storage.write(dead, Entry::new("head", "body").retain_until(in_secs(&clock, 10))).await?;
        storage.write(live, Entry::new("head", "body").retain_until(in_secs(&clock, 20))).await?;
    }
    for name in doomed.iter().take(3).chain(living.iter().take(3)) {
        if !harness.damage(SPACE, name, Damage::FlipBody).await {
            return Ok(Verdict::skipped("the harness cannot damage a body"));
        }
    }
    let storage = reopened(harness, SPACE, storage).await?;
    let corrupt = storage.stats().corrupt;
    clock.advance(Duration::from_secs(10));
    let deleted = storage.delete_expired(clock.now()).await?;
    check_count(&*storage, deleted, 6)?;
    ensure_eq!(storage.stats().corrupt, corrupt, "damaged entries that delete_expired met");
    Ok(Verdict::Kept)
}

/// S6: a clean-up looks at the dead, not at all that is stored.
pub(super) async fn s06_the_cost_is_that_of_the_dead(harness: &dyn Harness) -> Outcome {
    const STORED: usize = 1_000;
    const DEAD: u64 = 10;
    let storage = harness.open("s06-cost").await;
    let clock = harness.clock();
    if harness.entries_visited().is_none() {
        return Ok(Verdict::skipped("the harness cannot count the entries that a clean-up looks at"));
    }
    // A store that removes the dead at their deadline does so by a clock of its own, and is asked when that clock says
    // so as well: the real time.
    let (is_exact, life) = match storage.info().expiry {
        NativeExpiry::Exact => (true, Duration::from_millis(50)),
        _ => (false, Duration::from_secs(10)),
    };
    if is_exact {
        clock.set(SystemClock.now());
    }
    let mut entries = Vec::with_capacity(STORED);
    for (number, name) in (0_u64..).zip(keys("one", STORED)?) {
        // The dead lie among the others, and half of those have no deadline.
        let deadline = match number {
            _ if number % 100 == 0 => Some(clock.after(life)),
            _ if number % 2 == 0 => Some(in_secs(&clock, 3600)),
            _ => None,
        };
        entries.push((name, entry("one").retain_until(deadline)));
    }
    storage.write_many(entries).await?;
    clock.advance(life);
    while is_exact && SystemClock.now() < clock.now() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = harness.entries_visited().unwrap_or_default();
    let deleted = storage.delete_expired(clock.now()).await?;
    check_count(&*storage, deleted, DEAD)?;
    let visited = harness.entries_visited().unwrap_or_default().saturating_sub(before);
    // Finding the end of the dead may take one look more at each of a few indexes or shards.
    ensure!(visited <= DEAD.saturating_mul(2), "{visited} of {STORED} entries were looked at for {DEAD} dead ones");
    ensure_eq!(listed(&*storage).await?.len() as u64, (STORED as u64).saturating_sub(DEAD), "the keys that are left");
    Ok(Verdict::Kept)
}

/// The number deleted: exact, unless the store removes entries by itself and may have been there first.
#[track_caller]
fn check_count(storage: &dyn Storage, deleted: u64, dead: u64) -> Result<(), Violation> {
    let right = match storage.info().expiry {
        NativeExpiry::None => deleted == dead,
        _ => deleted <= dead,
    };
    if right { Ok(()) } else { Err(Violation::new(format!("{deleted} deletions were counted, {dead} were dead"))) }
}
