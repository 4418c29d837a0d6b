//! Asking the origin about what is stored, and what is served when it does not answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::support::Case;
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::policy::Outcome as Decided;
use crate::origin::{Answer, Recorded};

/// Seed lines 32 and 93, features 107 to 111: one conditional request, and the same answer for another lifetime.
pub(super) async fn session_a_304_renews_what_is_stored(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/one", |request: &Recorded| match request.header("if-none-match") {
        Some("\"v1\"") => {
            Answer::not_modified().etag("\"v1\"").header("cache-control", "max-age=60").header("x-new", "1")
        }
        _ => Answer::ok("/one").etag("\"v1\"").header("cache-control", "max-age=60"),
    });
    case.hits("/one").await?;
    harness.clock().advance(Duration::from_secs(61));
    let response = case.send(case.get("/one")).await?;
    let revalidated = response.cache_info().is_some_and(|info| info.outcome == Decided::Revalidated);
    ensure!(revalidated, "the answer does not say that it was revalidated");
    ensure!(response.headers().contains_key("x-new"), "a header line of the 304 is not in the answer");
    ensure_eq!(response.text().await?, "/one", "the body after a 304");
    ensure_eq!(case.origin.count(), 2, "requests that reached the origin");
    harness.clock().advance(Duration::from_secs(59));
    ensure!(case.hits("/one").await?, "the 304 did not renew the lifetime");
    ensure_eq!(case.origin.count(), 2, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Seed line 32, feature 108: a date alone is a validator too, and where there is a tag as well both are sent.
pub(super) async fn session_a_date_is_a_validator_too(harness: &dyn CacheHarness) -> Outcome {
    const DATE: &str = "Thu, 31 Dec 2099 00:00:00 GMT";
    let case = Case::new(harness).await?;
    for (path, tag) in [("/date", None), ("/both", Some("\"v1\""))] {
        case.origin.on(path, move |request: &Recorded| {
            let is_known = request.header("if-modified-since") == Some(DATE) && request.header("if-none-match") == tag;
            let answer = if is_known { Answer::not_modified() } else { Answer::ok(path) };
            let answer = answer.last_modified(DATE).header("cache-control", "max-age=60");
            tag.into_iter().fold(answer, |answer, tag| answer.etag(tag))
        });
        case.hits(path).await?;
        harness.clock().advance(Duration::from_secs(60));
        let found = case.ask(case.get(path)).await?;
        ensure_eq!(found, (Decided::Revalidated, path.to_owned()), "what became of a request for {path}");
    }
    Ok(Verdict::Kept)
}

/// Seed line 94, with an origin whose answer does change.
pub(super) async fn session_a_changed_answer_replaces_what_is_stored(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let version = AtomicUsize::new(0);
    case.origin.on("/one", move |_: &Recorded| {
        let version = version.fetch_add(1, Ordering::Relaxed);
        Answer::ok(format!("v{version}")).etag(&format!("\"v{version}\"")).header("cache-control", "max-age=60")
    });
    ensure!(!case.answers(case.get("/one"), "v0").await?, "the first answer is cached");
    ensure!(!case.answers(case.get("/one").refresh(), "v1").await?, "a refresh is answered by what is stored");
    ensure!(case.answers(case.get("/one"), "v1").await?, "what came does not replace what was stored");
    let sent = case.origin.requests();
    ensure_eq!(sent.get(1).and_then(|request| request.header("if-none-match")), Some("\"v0\""), "the validator sent");
    Ok(Verdict::Kept)
}

/// Seed line 95, where ours is the stronger: without a validator a refresh is a fetch, not a stale answer.
pub(super) async fn session_a_refresh_without_validators_fetches_anew(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[]);
    case.hits("/one").await?;
    ensure!(!case.answers(case.get("/one").refresh(), "/one").await?, "a refresh did not ask the origin");
    ensure_eq!(case.origin.count(), 2, "requests that reached the origin");
    ensure!(case.hits("/one").await?, "what came is not stored");
    Ok(Verdict::Kept)
}

/// Features 117 to 119, cases 167 and 168: in the window, and only where nothing forbids it.
pub(super) async fn session_stale_is_served_on_an_error_where_allowed(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.stale_if_error(Duration::from_secs(100))).await?;
    for (path, headers) in [("/lax", "max-age=10"), ("/strict", "max-age=10, must-revalidate")] {
        case.serve(path, &[("cache-control", headers), ("etag", "\"v1\"")]);
        case.hits(path).await?;
        case.origin.on(path, Answer::status(503).body("down"));
    }
    harness.clock().advance(Duration::from_secs(50));
    let stale = case.send(case.get("/lax")).await?;
    ensure!(stale.is_stale() && stale.from_cache(), "the answer does not say that it is a stale one from the cache");
    ensure_eq!(stale.text().await?, "/lax", "the body in place of an error");
    ensure!(!case.send(case.get("/strict")).await?.from_cache(), "must-revalidate was not heard");
    harness.clock().advance(Duration::from_millis(59_999));
    ensure!(case.answers(case.get("/lax"), "/lax").await?, "stale is not served to the end of its window");
    harness.clock().advance(Duration::from_millis(1));
    ensure!(!case.answers(case.get("/lax"), "down").await?, "stale is served after its window");
    Ok(Verdict::Kept)
}
