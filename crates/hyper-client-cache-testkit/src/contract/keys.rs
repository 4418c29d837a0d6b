//! S4, S7, S8: deleting, namespaces, listing.

use std::time::Duration;

use futures_util::TryStreamExt;
use hyper_client_cache_core::clock::Clock;

use super::Harness;
use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::support::{entry, in_secs, key, keys, listed, listed_entries, listed_heads, sorted};

/// S4: deleting takes one entry, says so, and is fine with what is not there.
pub(super) async fn s04_deleting_what_is_not_there_is_fine(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s04-delete").await;
    let (one, two) = (key("one")?, key("two")?);
    ensure!(!storage.delete(&one).await?, "delete in an empty storage says that something was there");
    storage.write(&one, entry("one")).await?;
    storage.write(&two, entry("two")).await?;
    ensure!(storage.delete(&one).await?, "delete says that a live entry was not there");
    ensure!(!storage.delete(&one).await?, "the second delete says that something was there");
    ensure_eq!(storage.read(&one).await?, None, "the deleted entry");
    ensure_eq!(storage.read(&two).await?, Some(entry("two")), "the entry beside the deleted one");
    ensure_eq!(listed(&*storage).await?, vec![two], "the keys");
    storage.clear().await?;
    storage.clear().await?;
    ensure_eq!(storage.size().await?, 0, "the size after clearing twice");
    Ok(Verdict::Kept)
}

/// S4: any number of keys may be deleted or read at once, there or not, repeated or not.
pub(super) async fn s04_any_number_of_keys_is_accepted(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s04-many").await;
    let survivor = key("survivor")?;
    storage.write(&survivor, entry("survivor")).await?;
    ensure_eq!(storage.delete_many(&[]).await?, 0, "delete_many of nothing");
    let mut asked = keys("many", harness.many_keys())?;
    ensure_eq!(storage.delete_many(&asked).await?, 0, "delete_many of keys that are not there");
    let there: Vec<_> = asked.iter().rev().step_by(asked.len().div_ceil(5).max(1)).copied().collect();
    for name in &there {
        storage.write(name, entry("many")).await?;
    }
    let found = storage.read_many(&asked).await?;
    ensure_eq!(found.len(), asked.len(), "answers to read_many");
    ensure_eq!(found.iter().flatten().count(), there.len(), "entries that read_many found");
    asked.extend(&there);
    ensure_eq!(storage.delete_many(&asked).await?, there.len() as u64, "delete_many, some keys of which came twice");
    ensure_eq!(listed(&*storage).await?, vec![survivor], "the keys");
    Ok(Verdict::Kept)
}

/// S7: what is done in one namespace does not show in another, whose name may begin with its name.
pub(super) async fn s07_namespaces_do_not_see_each_other(harness: &dyn Harness) -> Outcome {
    apart(harness, &["s07-a", "s07-ab", "s07-a-b", "s07"]).await
}

/// S7: characters that a store may give a meaning have none in a namespace. Case 119.
pub(super) async fn s07_a_name_is_no_pattern(harness: &dyn Harness) -> Outcome {
    let names = ["s07*", "s07-", "s07?", "s07[a-z]", "s07%", "s07_", "s07\\", "s07:", "s07:x", "s07'", "s07\""];
    let accepted: Vec<_> = names.into_iter().filter(|name| harness.accepts(name)).collect();
    if accepted.len() < 2 {
        return Ok(Verdict::skipped("a namespace cannot have such characters in its name"));
    }
    apart(harness, &accepted).await
}

async fn apart(harness: &dyn Harness, names: &[&str]) -> Outcome {
    let clock = harness.clock();
    // In every namespace the same keys, one of them the name of another namespace as far as a key can be that.
    let (same, mortal, telling) = (key("same")?, key("mortal")?, key("s07-a")?);
    let mut spaces = Vec::with_capacity(names.len());
    for name in names {
        spaces.push((*name, harness.open(name).await));
    }
    for (name, space) in &spaces {
        for key in [same, telling] {
            space.write(&key, entry(name)).await?;
        }
        space.write(&mortal, entry(name).retain_until(in_secs(&clock, 10))).await?;
    }
    for (name, space) in &spaces {
        ensure_eq!(space.read(&same).await?, Some(entry(name)), "the entry in {name:?}");
        ensure_eq!(listed(&**space).await?, sorted([same, mortal, telling]), "the keys of {name:?}");
    }
    clock.advance(Duration::from_secs(10));
    for (name, space) in &spaces {
        // Whatever the ones before did in their namespaces, this one's dead entry is its own to remove.
        let deleted = space.delete_expired(clock.now()).await?;
        ensure!(deleted <= 1, "delete_expired in {name:?} removed {deleted} entries, of which it has one");
        ensure!(space.delete(&telling).await?, "the entry of {name:?} was deleted through another namespace");
        ensure_eq!(space.size().await?, 1, "the size of {name:?}");
    }
    for (cleared, (name, space)) in spaces.iter().enumerate() {
        space.clear().await?;
        ensure_eq!(space.size().await?, 0, "the size of {name:?} after it was cleared");
        for (other, rest) in spaces.iter().skip(cleared.saturating_add(1)) {
            ensure_eq!(rest.read(&same).await?, Some(entry(other)), "an entry in {other:?} after {name:?} was cleared");
            ensure_eq!(listed(&**rest).await?, vec![same], "the keys of {other:?} after {name:?} was cleared");
        }
    }
    Ok(Verdict::Kept)
}

/// S8: each live key is listed once, however many there are, and the other listings agree.
pub(super) async fn s08_each_key_is_listed_once(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s08-keys").await;
    ensure_eq!(listed(&*storage).await?, vec![], "the keys of an empty storage");
    ensure_eq!(storage.size().await?, 0, "the size of an empty storage");
    let names = keys("one", 2_000)?;
    storage.write_many(names.iter().map(|name| (*name, entry(name.as_str()))).collect()).await?;
    let names = sorted(names);
    ensure!(listed(&*storage).await? == names, "2,000 keys were written, and others or not all are listed");
    let entries = listed_entries(&*storage).await?;
    ensure_eq!(entries.len(), names.len(), "entries listed");
    let heads = listed_heads(&*storage).await?;
    ensure_eq!(heads.len(), names.len(), "heads listed");
    for ((name, (listed, found)), (head_of, head)) in names.iter().zip(&entries).zip(&heads) {
        let written = entry(name.as_str());
        ensure!(name == listed && *found == written, "the entry listed as {listed} is not what was written");
        ensure!(name == head_of && *head == written.without_body(), "the head listed as {head_of}: {head:?}");
    }
    ensure_eq!(storage.size().await?, 2_000, "the size");
    // A listing that is given up half-way holds nothing that a writer needs.
    let mut keys = storage.keys();
    ensure!(keys.try_next().await?.is_some(), "a new listing of 2,000 keys is empty");
    drop(keys);
    storage.clear().await?;
    ensure_eq!(listed(&*storage).await?, vec![], "the keys after clearing");
    Ok(Verdict::Kept)
}

/// S8: listing while others write neither fails nor hangs, and what stays is listed once. Case 240.
pub(super) async fn s08_listing_beside_writers_lists_what_stays_once(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s08-beside").await;
    let staying = keys("staying", 300)?;
    storage.write_many(staying.iter().map(|name| (*name, entry("staying"))).collect()).await?;
    let writer = {
        let storage = storage.share();
        let coming = keys("coming", 300)?;
        tokio::spawn(async move {
            for name in &coming {
                storage.write(name, entry("coming")).await?;
                tokio::task::yield_now().await;
            }
            for name in &coming {
                storage.delete(name).await?;
            }
            Ok::<_, hyper_client_cache_core::Error>(())
        })
    };
    loop {
        let last = writer.is_finished();
        let mut seen = Vec::new();
        let mut keys = storage.keys();
        while let Some(name) = keys.try_next().await? {
            if name.as_str().starts_with("staying") {
                seen.push(name);
            }
            // A listing that holds a lock between two keys would stop the writer, and this with it.
            tokio::task::yield_now().await;
        }
        ensure!(sorted(seen) == sorted(staying.clone()), "keys that stayed were left out or listed twice");
        ensure!(listed_entries(&*storage).await?.len() >= staying.len(), "entries that stayed were left out");
        if last {
            break;
        }
    }
    writer.await.map_err(|error| Violation::new(format!("the writer panicked: {error}")))??;
    ensure_eq!(listed(&*storage).await?, sorted(staying), "the keys at last");
    Ok(Verdict::Kept)
}
