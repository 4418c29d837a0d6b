//! Redirects: each hop is a request of its own.

use std::time::Duration;

use super::support::Case;
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::origin::Answer;

/// Seed lines 8 and 78, feature 17: after one to four hops, relative or absolute, all of it comes from the cache, and
/// so does the last URL by itself.
pub(super) async fn session_each_hop_is_stored_and_answered_by_itself(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let mut redirects: u64 = 0;
    for hops in 1..=4_usize {
        let path = |hop: usize| format!("/{hops}-{hop}");
        for hop in 0..hops {
            let next = path(hop.saturating_add(1));
            // Now relative, now absolute.
            let location = if hop % 2 == 0 { next } else { case.origin.url(&next) };
            case.origin.on(&path(hop), Answer::redirect(301, &location).header("cache-control", "max-age=600"));
        }
        let (begin, end) = (path(0), path(hops));
        case.serve(&end, &[]);
        let before = case.origin.count();
        let first = case.send(case.get(&begin)).await?;
        ensure_eq!(first.history().len(), hops, "hops");
        ensure_eq!(first.text().await?, end, "the body after {hops} hops");
        case.flush().await;
        redirects = redirects.saturating_add(hops as u64);
        ensure_eq!(case.cache.redirects().size().await?, redirects, "redirects that are stored");
        let again = case.send(case.get(&begin)).await?;
        ensure!(again.from_cache(), "the answer after {hops} hops is not cached");
        ensure_eq!(again.history().len(), hops, "hops from the cache");
        ensure_eq!(again.text().await?, end, "the body from the cache after {hops} hops");
        ensure!(case.hits(&end).await?, "the last URL is not cached by itself");
        ensure_eq!(
            case.origin.count().saturating_sub(before),
            hops.saturating_add(1),
            "requests that reached the origin"
        );
    }
    Ok(Verdict::Kept)
}

/// Seed lines 9 to 11: deleting one URL leaves what else leads to the same answer, which is then fetched anew.
pub(super) async fn session_a_redirect_is_found_and_deleted_by_its_url(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    for path in ["/a", "/b"] {
        case.origin.on(path, Answer::redirect(301, "/end").header("cache-control", "max-age=600"));
    }
    case.serve("/end", &[]);
    for path in ["/a", "/b"] {
        case.send(case.get(path)).await?.text().await?;
    }
    case.flush().await;
    let cache = case.session.cache();
    for path in ["/a", "/b", "/end"] {
        ensure!(cache.has_url(&case.origin.url(path)).await?, "{path} is not found by its URL");
    }
    cache.delete_url(&case.origin.url("/a")).await?;
    ensure!(!cache.has_url(&case.origin.url("/a")).await?, "a redirect is still there after it was deleted");
    ensure!(cache.has_url(&case.origin.url("/b")).await?, "another redirect went with it");
    ensure!(cache.has_url(&case.origin.url("/end")).await?, "the answer went with one of the redirects to it");
    Ok(Verdict::Kept)
}

/// Seed line 77: of what has expired, redirects included, nothing is left; what was stored later for ever, with the hops
/// that lead to it, stays and is answered.
pub(super) async fn session_expired_redirects_go_and_the_others_stay(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    for number in 0..12 {
        let path = format!("/old/{number}");
        case.serve(&path, &[("cache-control", "max-age=1")]);
        case.hits(&path).await?;
    }
    case.origin.on("/old/redirect", Answer::redirect(301, "/old/0").header("cache-control", "max-age=1"));
    case.send(case.get("/old/redirect")).await?.text().await?;
    case.flush().await;
    ensure_eq!(case.cache.responses().size().await?, 12, "responses that are stored");
    ensure_eq!(case.cache.redirects().size().await?, 1, "redirects that are stored");
    harness.clock().advance(Duration::from_secs(1));
    case.serve("/new", &[]);
    case.hits("/new").await?;
    for (from, to) in [("/hop/0", "/hop/1"), ("/hop/1", "/hop/2"), ("/hop/2", "/end")] {
        case.origin.on(from, Answer::redirect(301, to).header("cache-control", "max-age=600"));
    }
    case.serve("/end", &[]);
    case.send(case.get("/hop/0")).await?.text().await?;
    case.flush().await;

    let cache = case.session.cache();
    cache.delete_expired().await?;
    ensure_eq!(case.cache.responses().size().await?, 2, "responses that are left");
    ensure_eq!(case.cache.redirects().size().await?, 3, "redirects that are left");
    for path in (0..12).map(|number| format!("/old/{number}")).chain(["/old/redirect".to_owned()]) {
        ensure!(!cache.has_url(&case.origin.url(&path)).await?, "{path} is still there");
    }
    let reached = case.origin.count();
    let response = case.send(case.get("/hop/0")).await?;
    ensure_eq!(response.history().len(), 3, "hops that are left");
    ensure_eq!(response.text().await?, "/end", "the body after them");
    ensure!(case.hits("/new").await?, "what never expires is gone");
    ensure_eq!(case.origin.count(), reached, "requests that reached the origin");
    Ok(Verdict::Kept)
}
