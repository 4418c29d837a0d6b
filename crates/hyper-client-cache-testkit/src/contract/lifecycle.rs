//! S11, S13, S14: closing, coming back, keeping secrets.

use std::error::Error as StdError;

use futures_util::TryStreamExt;
use hyper_client_cache_core::clock::from_millis;
use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use hyper_client_cache_core::{Error, ErrorKind};

use super::Harness;
use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::support::{entry, in_secs, key, keys, listed, sorted};

/// S11: closing twice is fine, after which every call says that the storage is closed.
pub(super) async fn s11_after_close_each_call_says_closed(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s11-close").await;
    let name = key("one")?;
    storage.write(&name, entry("one")).await?;
    let info = storage.info();
    for time in ["first", "second", "third"] {
        storage.close().await.map_err(|error| Violation::new(format!("the {time} close failed: {error}")))?;
    }
    for (call, found) in call_everything(&*storage, &name).await {
        ensure_eq!(found, Some(ErrorKind::Closed), "{call} on a closed storage");
    }
    ensure_eq!(storage.info(), info, "what a closed storage says about itself");
    Ok(Verdict::Kept)
}

/// How each call failed.
async fn call_everything(storage: &dyn Storage, name: &CacheKey) -> Vec<(&'static str, Option<ErrorKind>)> {
    fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }
    let one = || entry("one");
    vec![
        ("read", kind(storage.read(name).await)),
        ("write", kind(storage.write(name, one()).await)),
        ("delete", kind(storage.delete(name).await)),
        ("clear", kind(storage.clear().await)),
        ("keys", kind(storage.keys().try_next().await)),
        ("delete_expired", kind(storage.delete_expired(from_millis(0)).await)),
        ("contains", kind(storage.contains(name).await)),
        ("read_many", kind(storage.read_many(&[*name]).await)),
        ("write_many", kind(storage.write_many(vec![(*name, one())]).await)),
        ("delete_many", kind(storage.delete_many(&[*name]).await)),
        ("refresh", kind(storage.refresh(name, one()).await)),
        ("entries", kind(storage.entries().try_next().await)),
        ("heads", kind(storage.heads().try_next().await)),
        ("size", kind(storage.size().await)),
        ("bytes", kind(storage.bytes().await)),
    ]
}

/// S11: what one clone does, the other shows, closing included.
pub(super) async fn s11_clones_are_handles_on_the_same_thing(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s11-clones").await;
    let Some(clone) = storage.handle() else { return Ok(Verdict::skipped("the storage cannot be cloned")) };
    let name = key("one")?;
    storage.write(&name, entry("one")).await?;
    ensure_eq!(clone.read(&name).await?, Some(entry("one")), "what the clone reads of what the other wrote");
    ensure!(clone.delete(&name).await?, "the clone cannot delete what the other wrote");
    ensure_eq!(storage.read(&name).await?, None, "what the clone deleted");
    drop(clone);
    storage.write(&name, entry("two")).await?;
    ensure_eq!(storage.read(&name).await?, Some(entry("two")), "after a clone was dropped");
    let Some(clone) = storage.handle() else { return Err(Violation::new("it could be cloned before")) };
    clone.close().await?;
    for (call, found) in call_everything(&*storage, &name).await {
        ensure_eq!(found, Some(ErrorKind::Closed), "{call} on a storage whose clone was closed");
    }
    storage.close().await?;
    Ok(Verdict::Kept)
}

/// S13: what a persistent storage holds is there when it is opened again, closed before or only dropped.
pub(super) async fn s13_what_persists_is_there_after_reopening(harness: &dyn Harness) -> Outcome {
    const SPACE: &str = "s13-persists";
    let clock = harness.clock();
    let names = keys("one", 50)?;
    let timed = key("timed")?;
    let large = Entry::new("head", vec![b'x'; 300_000]).retain_until(in_secs(&clock, 600));
    for closed_before in [false, true] {
        let storage = harness.open(SPACE).await;
        if !storage.info().persistent {
            return Ok(Verdict::skipped("the storage is not persistent"));
        }
        storage.clear().await?;
        for name in &names {
            storage.write(name, entry(name.as_str())).await?;
        }
        storage.write(&timed, large.clone()).await?;
        storage.write(&key("gone")?, entry("gone")).await?;
        storage.delete(&key("gone")?).await?;
        if closed_before {
            storage.close().await?;
        }
        drop(storage);
        let storage = harness.open(SPACE).await;
        let expected = sorted(names.iter().copied().chain([timed]));
        ensure_eq!(listed(&*storage).await?, expected, "the keys after reopening (closed before: {closed_before})");
        for name in &names {
            ensure_eq!(storage.read(name).await?, Some(entry(name.as_str())), "{name} after reopening");
        }
        ensure!(storage.read(&timed).await?.as_ref() == Some(&large), "a large entry changed by reopening");
        storage.close().await?;
    }
    Ok(Verdict::Kept)
}

/// S14: what is stored is not shown: it may be anybody's secret.
pub(super) async fn s14_debug_shows_nothing_that_is_stored(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("s14-content").await;
    let name = key("one")?;
    let (head, body) = ("canary-in-the-head", "canary-in-the-body");
    storage.write(&name, Entry::new(head, body)).await?;
    storage.read(&name).await?;
    let mut shown = vec![("Debug", format!("{:?}", &*storage)), ("Debug", format!("{:#?}", &*storage))];
    storage.close().await?;
    for error in [storage.read(&name).await.err(), storage.write(&name, Entry::new(head, body)).await.err()] {
        shown.extend(error.iter().flat_map(texts).map(|text| ("an error", text)));
    }
    for (place, text) in shown {
        for canary in [head, body] {
            ensure!(!reveals(&text, canary), "{place} shows what is stored");
        }
    }
    Ok(Verdict::Kept)
}

/// S14: the secrets of the settings are shown nowhere.
pub(super) async fn s14_no_credential_is_shown(harness: &dyn Harness) -> Outcome {
    let canaries = harness.canaries();
    if canaries.is_empty() {
        return Ok(Verdict::skipped("the harness has no secrets in its settings"));
    }
    let storage = harness.open("s14-secrets").await;
    let name = key("one")?;
    storage.write(&name, entry("one")).await?;
    let mut shown = vec![
        ("Debug of the storage", format!("{:?}", &*storage)),
        ("Debug of the storage", format!("{:#?}", &*storage)),
        ("Debug of its info", format!("{:?}", storage.info())),
        ("Debug of its stats", format!("{:?}", storage.stats())),
    ];
    let mut errors = harness.failures().await;
    storage.close().await?;
    errors.extend(storage.read(&name).await.err());
    errors.extend(storage.write(&name, entry("one")).await.err());
    shown.extend(errors.iter().flat_map(texts).map(|text| ("an error", text)));
    for (place, text) in shown {
        for canary in &canaries {
            ensure!(!reveals(&text, canary), "{place} shows a secret of the settings");
        }
    }
    Ok(Verdict::Kept)
}

/// An error and everything beneath it, as it is displayed and debugged.
fn texts(error: &Error) -> Vec<String> {
    let mut texts = vec![format!("{error:?}"), format!("{error:#?}")];
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        texts.push(error.to_string());
        texts.push(format!("{error:?}"));
        next = error.source();
    }
    texts
}

/// Whether `text` has `secret` in it, in clear or as the numbers of its bytes.
fn reveals(text: &str, secret: &str) -> bool {
    let numbers = format!("{:?}", secret.as_bytes());
    text.contains(secret) || text.contains(numbers.trim_matches(['[', ']']))
}
