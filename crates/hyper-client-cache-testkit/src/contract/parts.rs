//! The contract of caches: bodies that are too large for one entry.

use std::time::Duration;

use hyper_client_cache_core::cache::parts;
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::CacheKey;

use super::CacheHarness;
use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::records::{changed, make_redirect, part_keys, part_list, redirect, response, split};
use super::support::{in_secs, sorted};

const NO_BODIES: &str = "the cache keeps no parts of bodies";

/// A large body lies in parts, which are found whole once the head is there, and nothing is found before.
pub(super) async fn cache_a_large_body_is_found_in_parts(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let Some(bodies) = cache.bodies() else { return Ok(Verdict::skipped(NO_BODIES)) };
    let name = CacheKey::from_digest([7; 32]);
    let body: Vec<u8> = (0..=u8::MAX).cycle().take(700_001).collect();
    let stored = split(bodies, &clock, name, &body).await?;
    ensure!(cache.get(&name).await?.is_none(), "a body is found before its head was written");
    cache.put(&name, stored.clone(), None).await?;
    let Some(found) = cache.get(&name).await? else { return Err(Violation::new("the head is not found")) };
    ensure_eq!(found.record, stored.record, "the head");
    let keys = part_keys(&found)?;
    let mut read = Vec::with_capacity(body.len());
    for part in &keys {
        let bytes = bodies.read(part).await?.and_then(|entry| parts::bytes_of(part, entry));
        let Some(bytes) = bytes else { return Err(Violation::new(format!("the part {part} is not there"))) };
        read.extend_from_slice(&bytes);
    }
    ensure!(read == body, "the parts read make another body: {} bytes of {}", read.len(), body.len());
    // A part that is missing, and one in another's place, are noticed.
    let [first, second, ..] = keys.as_slice() else { return Err(Violation::new("the body has less than two parts")) };
    let Some(moved) = bodies.read(first).await? else { return Err(Violation::new("the first part went away")) };
    bodies.write(second, moved).await?;
    let wrong = bodies.read(second).await?.and_then(|entry| parts::bytes_of(second, entry));
    ensure_eq!(wrong, None, "a part in another's place");
    bodies.delete(second).await?;
    ensure_eq!(bodies.read(second).await?, None, "a part that was deleted");
    Ok(Verdict::Kept)
}

/// Whatever removes or replaces a response removes the parts of its body, and no others.
pub(super) async fn cache_parts_go_with_their_response(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let Some(bodies) = cache.bodies() else { return Ok(Verdict::skipped(NO_BODIES)) };
    let body = vec![7; 600_000];
    let (name, other) = (CacheKey::from_digest([1; 32]), CacheKey::from_digest([2; 32]));
    let unrelated = split(bodies, &clock, other, &body).await?;
    cache.put(&other, unrelated.clone(), None).await?;
    for how in ["delete", "delete_many", "put of a response", "put of a redirect", "put of other parts"] {
        let old = split(bodies, &clock, name, &body).await?;
        cache.put(&name, old.clone(), None).await?;
        let mut kept = part_keys(&unrelated)?;
        match how {
            "delete" => ensure!(cache.delete(&name).await?, "{how} says that nothing was there"),
            "delete_many" => ensure_eq!(cache.delete_many(&[name]).await?, 1, "{how}"),
            "put of a response" => cache.put(&name, response(&clock, name), Some(&old)).await?,
            "put of a redirect" => cache.put(&name, redirect(&clock, name), Some(&old)).await?,
            _ => {
                let new = split(bodies, &clock, name, &body).await?;
                cache.put(&name, new.clone(), Some(&old)).await?;
                kept.extend(part_keys(&new)?);
            }
        }
        ensure!(part_list(bodies).await? == sorted(kept), "after {how}, other parts are there than should be");
        cache.delete(&name).await?;
    }
    // A refresh keeps them.
    let renewed = changed(&unrelated, |response| response.freshness.received_at = in_secs(&clock, 60));
    ensure!(cache.refresh(&other, renewed).await?, "refresh says that a response in parts is not there");
    ensure!(part_list(bodies).await? == sorted(part_keys(&unrelated)?), "a refresh changed the parts");
    Ok(Verdict::Kept)
}

/// Parts without a head go, but only when they are so old that nobody can be writing the head.
pub(super) async fn cache_orphaned_parts_are_collected_after_the_grace(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let Some(bodies) = cache.bodies() else { return Ok(Verdict::skipped(NO_BODIES)) };
    let body = vec![7; 300_000];
    let (orphan, owner) = (CacheKey::from_digest([1; 32]), CacheKey::from_digest([2; 32]));
    let owned = split(bodies, &clock, owner, &body).await?;
    cache.put(&owner, owned.clone(), None).await?;
    // A redirect may have a large body too.
    let moved = CacheKey::from_digest([3; 32]);
    let redirected = changed(&split(bodies, &clock, moved, &body).await?, make_redirect);
    cache.put(&moved, redirected.clone(), None).await?;
    let abandoned = split(bodies, &clock, orphan, &body).await?;
    let wanted = sorted(part_keys(&owned)?.into_iter().chain(part_keys(&redirected)?));
    let all = sorted(wanted.iter().copied().chain(part_keys(&abandoned)?));
    clock.advance(parts::GRACE);
    cache.delete_expired(clock.now()).await?;
    ensure!(part_list(bodies).await? == all, "parts went within the grace");
    clock.advance(Duration::from_secs(2));
    cache.delete_expired(clock.now()).await?;
    ensure!(part_list(bodies).await? == wanted, "after the grace, other parts are there than owned");
    cache.delete_many(&[owner, moved]).await?;
    ensure_eq!(part_list(bodies).await?, vec![], "the parts of a response and a redirect that were deleted");
    Ok(Verdict::Kept)
}
