//! Looking at what is stored, and removing it.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;

use super::support::Case;
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::origin::Answer;

/// Seed lines 13, 14 and 164 of the features: with the same parameters, and with no others.
pub(super) async fn session_what_is_stored_is_found_by_url(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/one", Answer::ok("/one"));
    case.answers(case.get("/one?a=1"), "/one").await?;
    let cache = case.session.cache();
    ensure!(cache.has_url(&case.origin.url("/one?a=1")).await?, "a stored URL is not found");
    for other in ["/one", "/one?a=2", "/two?a=1"] {
        ensure!(!cache.has_url(&case.origin.url(other)).await?, "{other} is found, which was never asked for");
    }
    ensure_eq!(cache.delete_url(&case.origin.url("/one?a=1")).await?, 1, "how many were deleted");
    ensure!(!cache.has_url(&case.origin.url("/one?a=1")).await?, "a deleted URL is found");
    ensure!(!case.answers(case.get("/one?a=1"), "/one").await?, "a deleted answer is served");
    Ok(Verdict::Kept)
}

/// Seed line 16.
pub(super) async fn session_urls_are_listed_once_each(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let mut wanted = BTreeSet::new();
    for number in 0..7 {
        let path = format!("/{number}");
        case.serve(&path, &[]);
        case.hits(&path).await?;
        wanted.insert(case.origin.url(&path));
    }
    case.flush().await;
    let urls: Vec<String> = case.session.cache().urls().try_collect().await?;
    ensure_eq!(urls.len(), wanted.len(), "URLs");
    ensure_eq!(urls.into_iter().collect::<BTreeSet<_>>(), wanted, "the URLs");
    Ok(Verdict::Kept)
}

/// All variants of a URL go together.
pub(super) async fn session_deleting_by_url_takes_every_variant(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("vary", "accept"), ("cache-control", "max-age=600")]);
    case.serve("/two", &[]);
    case.hits("/two").await?;
    let ask = |accept: &'static str| case.answers(case.get("/one").header("accept", accept), "/one");
    for accept in ["a", "b"] {
        ensure!(!ask(accept).await? && ask(accept).await?, "a variant is not cached");
    }
    case.session.cache().delete_url(&case.origin.url("/one")).await?;
    ensure!(!ask("a").await? && !ask("b").await?, "a variant is still there");
    ensure!(case.hits("/two").await?, "another URL went with it");
    Ok(Verdict::Kept)
}

/// Seed lines 10 and 105: of every kind.
pub(super) async fn session_clearing_leaves_nothing(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[]);
    case.origin.on("/from", Answer::redirect(301, "/one").header("cache-control", "max-age=600"));
    case.send(case.get("/from")).await?.text().await?;
    case.flush().await;
    case.session.cache().clear().await?;
    ensure_eq!(case.cache.responses().size().await?, 0, "responses that are left");
    ensure_eq!(case.cache.redirects().size().await?, 0, "redirects that are left");
    ensure!(!case.hits("/one").await?, "something is served after clearing");
    Ok(Verdict::Kept)
}
