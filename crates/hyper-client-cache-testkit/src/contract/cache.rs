//! The contract of caches: what needs more than one storage.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderValue, header};
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::{Group, Record, Selecting, Stored, Variant, Variants, codec};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::Entry;

use super::CacheHarness;
use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::records::{changed, is, listed, redirect, response};
use super::support::{entry, in_secs, key, sorted};

/// Each kind of record is found as it was put, under its key only.
pub(super) async fn cache_what_was_put_is_found(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let (one, vary, group) = (key("one")?, key("vary")?, key("group")?);
    let mut variants = Variants::new(vary, "http://host/");
    variants.variants.push(Variant::new(one, vec![Selecting::new("accept", vec![b"text/html".to_vec()])]));
    let mut members = Group::new(group);
    members.members.push(one);
    let all = [
        (one, response(&clock, one), Some(in_secs(&clock, 600))),
        (vary, Stored::new(Record::Variants(variants), Bytes::new(), None), None),
        (group, Stored::new(Record::Group(members), Bytes::new(), None), None),
    ];
    for (name, stored, deadline) in &all {
        let mut stored = stored.clone();
        stored.retain_until = *deadline;
        cache.put(name, stored, None).await?;
    }
    for (name, stored, deadline) in &all {
        let Some(found) = cache.get(name).await? else { return Err(Violation::new(format!("{name} is not found"))) };
        ensure_eq!(found.record, stored.record, "the record of {name}");
        ensure_eq!(found.body, stored.body, "the body of {name}");
        ensure_eq!(found.retain_until, *deadline, "the deadline of {name}");
    }
    ensure!(cache.get(&key("other")?).await?.is_none(), "something is found under a key that was never put");
    Ok(Verdict::Kept)
}

/// A redirect lies among the redirects, where a look-up finds it; responses are asked first.
pub(super) async fn cache_a_redirect_lies_apart_and_responses_are_asked_first(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let name = key("one")?;
    let (response, redirect) = (response(&clock, name), redirect(&clock, name));
    cache.put(&name, redirect.clone(), None).await?;
    ensure!(cache.redirects().contains(&name).await?, "a redirect does not lie among the redirects");
    ensure!(!cache.responses().contains(&name).await?, "a redirect lies among the responses");
    ensure!(is(&cache.get(&name).await?, &redirect), "a redirect is not found");
    // Both at once, as after a process was killed between two steps.
    cache.responses().write(&name, codec::encode(response.clone())?).await?;
    ensure!(is(&cache.get(&name).await?, &response), "a look-up does not ask responses first");
    Ok(Verdict::Kept)
}

/// A response in place of a redirect leaves only the response, and the other way round.
pub(super) async fn cache_a_put_leaves_one_of_response_and_redirect(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let name = key("one")?;
    let (response, redirect) = (response(&clock, name), redirect(&clock, name));
    cache.put(&name, response.clone(), None).await?;
    let found = cache.get(&name).await?;
    cache.put(&name, redirect.clone(), found.as_ref()).await?;
    ensure!(is(&cache.get(&name).await?, &redirect), "a redirect that replaced a response is not found");
    ensure!(!cache.responses().contains(&name).await?, "the response that a redirect replaced is still there");
    let found = cache.get(&name).await?;
    cache.put(&name, response.clone(), found.as_ref()).await?;
    ensure!(is(&cache.get(&name).await?, &response), "a response that replaced a redirect is not found");
    ensure!(!cache.redirects().contains(&name).await?, "the redirect that a response replaced is still there");
    Ok(Verdict::Kept)
}

/// What is past its deadline is found nowhere, and is removed and counted, redirects included.
pub(super) async fn cache_the_expired_are_invisible_and_removed(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let (dead, gone, live) = (key("dead")?, key("gone")?, key("live")?);
    let mut mortal = [response(&clock, dead), redirect(&clock, gone)];
    for stored in &mut mortal {
        stored.retain_until = Some(in_secs(&clock, 10));
        cache.put(&stored.record.key().to_owned(), stored.clone(), None).await?;
    }
    cache.put(&live, response(&clock, live), None).await?;
    clock.advance(Duration::from_secs(10));
    ensure!(cache.get(&dead).await?.is_none(), "a dead response is found");
    ensure!(cache.get(&gone).await?.is_none(), "a dead redirect is found");
    ensure_eq!(listed(&*cache).await?, vec![live], "the keys of the entries");
    ensure!(!cache.delete(&dead).await?, "delete says that a dead response was there");
    ensure!(cache.delete_expired(clock.now()).await? <= 2, "more was removed than was dead");
    ensure!(cache.get(&live).await?.is_some(), "a live response was removed with the dead");
    // Counted as long as nobody met them before.
    for stored in &mortal {
        let mut stored = stored.clone();
        stored.retain_until = Some(in_secs(&clock, 10));
        cache.put(&stored.record.key().to_owned(), stored.clone(), None).await?;
    }
    let exact = cache.responses().info().expiry == hyper_client_cache_core::storage::NativeExpiry::None;
    let removed = cache.delete_expired(in_secs(&clock, 10)).await?;
    ensure!(removed == 2 || (!exact && removed < 2), "{removed} deletions were counted, 2 were dead");
    Ok(Verdict::Kept)
}

/// A refresh replaces the head and keeps the body; what is gone is not brought back.
pub(super) async fn cache_a_refresh_keeps_the_body(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    for (name, stored) in [(key("one")?, response(&clock, key("one")?)), (key("two")?, redirect(&clock, key("two")?))] {
        cache.put(&name, stored.clone(), None).await?;
        let mut renewed = changed(&stored, |response| {
            response.freshness.received_at = in_secs(&clock, 60);
            response.headers.push((header::ETAG, HeaderValue::from_static("\"2\"")));
        });
        renewed.retain_until = Some(in_secs(&clock, 600));
        ensure!(cache.refresh(&name, renewed.clone()).await?, "refresh says that {name} is not there");
        let found = cache.get(&name).await?;
        ensure!(is(&found, &renewed), "{name} after a refresh");
        ensure_eq!(found.and_then(|found| found.retain_until), renewed.retain_until, "the deadline of {name}");
        cache.delete(&name).await?;
        ensure!(!cache.refresh(&name, renewed).await?, "refresh says that {name} is there, which was deleted");
        ensure!(cache.get(&name).await?.is_none(), "a refresh brought {name} back, which was deleted");
    }
    Ok(Verdict::Kept)
}

/// Deleting says whether something was there, under one key or under how many.
pub(super) async fn cache_deleting_counts_what_was_there(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let [one, two, three, four] = [key("one")?, key("two")?, key("three")?, key("four")?];
    for name in [one, two] {
        cache.put(&name, response(&clock, name), None).await?;
    }
    cache.put(&three, redirect(&clock, three), None).await?;
    cache.put(&four, response(&clock, four), None).await?;
    ensure!(cache.delete(&one).await?, "delete says that a response was not there");
    ensure!(!cache.delete(&one).await?, "delete says that something was there, which was deleted");
    ensure_eq!(cache.delete_many(&[one, two, three, key("other")?]).await?, 2, "delete_many of two that are there");
    ensure_eq!(listed(&*cache).await?, vec![four], "the keys of the entries");
    cache.put(&three, redirect(&clock, three), None).await?;
    ensure!(cache.delete(&three).await?, "delete says that a redirect was not there");
    ensure!(cache.get(&three).await?.is_none(), "a redirect that was deleted");
    Ok(Verdict::Kept)
}

/// Records are listed once each, without their bodies, responses before redirects.
pub(super) async fn cache_records_are_heads_responses_first(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let (a, b, z) = (key("a")?, key("b")?, key("z")?);
    cache.put(&a, redirect(&clock, a), None).await?;
    for name in [b, z] {
        cache.put(&name, response(&clock, name), None).await?;
    }
    let entries: Vec<_> = cache.records().try_collect().await?;
    ensure_eq!(sorted(entries.iter().map(|(name, _)| *name)), vec![a, b, z], "the keys of the entries");
    ensure_eq!(entries.last().map(|(name, _)| *name), Some(a), "the last entry, the only redirect");
    for (name, stored) in &entries {
        ensure_eq!(stored.record.key(), name, "the key in the record of {name}");
        ensure!(stored.body.is_empty(), "{name} is listed with its body");
    }
    Ok(Verdict::Kept)
}

/// What cannot be decoded is a miss, and hides nothing behind it.
pub(super) async fn cache_what_cannot_be_decoded_is_a_miss(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let (bad, behind) = (key("bad")?, key("behind")?);
    cache.put(&behind, redirect(&clock, behind), None).await?;
    for name in [bad, behind] {
        cache.responses().write(&name, Entry::new("no head of ours", "body")).await?;
    }
    ensure!(cache.get(&bad).await?.is_none(), "a head that is not ours is found");
    ensure!(cache.get(&behind).await?.is_some(), "a head that is not ours hides a redirect");
    ensure_eq!(listed(&*cache).await?, vec![behind], "the keys of the entries");
    cache.delete_many(&[bad, behind]).await?;
    ensure_eq!(cache.responses().size().await?, 0, "the size of responses after deleting");
    Ok(Verdict::Kept)
}

/// Clearing empties all storages of the cache.
pub(super) async fn cache_clearing_empties_every_storage(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let (one, two) = (key("one")?, key("two")?);
    cache.put(&one, response(&clock, one), None).await?;
    cache.put(&two, redirect(&clock, two), None).await?;
    if let Some(bodies) = cache.bodies() {
        bodies.write(&key("three")?, entry("three")).await?;
    }
    cache.clear().await?;
    ensure_eq!(cache.responses().size().await?, 0, "the size of responses");
    ensure_eq!(cache.redirects().size().await?, 0, "the size of redirects");
    if let Some(bodies) = cache.bodies() {
        ensure_eq!(bodies.size().await?, 0, "the size of bodies");
    }
    Ok(Verdict::Kept)
}

/// Closing twice is fine, after which every call says that the cache is closed.
pub(super) async fn cache_after_close_each_call_says_closed(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let name = key("one")?;
    cache.put(&name, response(&clock, name), None).await?;
    cache.close().await?;
    cache.close().await.map_err(|error| Violation::new(format!("the second close failed: {error}")))?;
    let failures = [
        ("get", cache.get(&name).await.err()),
        ("put", cache.put(&name, response(&clock, name), None).await.err()),
        ("put of a redirect", cache.put(&name, redirect(&clock, name), None).await.err()),
        ("refresh", cache.refresh(&name, response(&clock, name)).await.err()),
        ("delete", cache.delete(&name).await.err()),
        ("delete_many", cache.delete_many(&[name]).await.err()),
        ("delete_expired", cache.delete_expired(clock.now()).await.err()),
        ("records", cache.records().try_next().await.err()),
        ("clear", cache.clear().await.err()),
        ("responses", cache.responses().read(&name).await.err()),
        ("redirects", cache.redirects().read(&name).await.err()),
    ];
    for (call, error) in failures {
        let kind = error.map(|error| error.kind());
        ensure_eq!(kind, Some(ErrorKind::Closed), "{call} on a closed cache");
    }
    if let Some(bodies) = cache.bodies() {
        let kind = bodies.read(&name).await.err().map(|error| error.kind());
        ensure_eq!(kind, Some(ErrorKind::Closed), "bodies of a closed cache");
    }
    Ok(Verdict::Kept)
}
