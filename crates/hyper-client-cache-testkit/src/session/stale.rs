//! Serving what is stale, and removing what an unsafe request has made invalid.

use std::time::Duration;

use super::support::{Case, builder};
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::policy::Outcome as Decided;
use crate::origin::Answer;

/// Features 121 to 123 and 125: served at once and said to be stale, refreshed in the background, and afterwards fresh.
pub(super) async fn session_stale_is_served_while_it_is_refreshed(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let answer =
        |body: &'static str| Answer::ok(body).header("cache-control", "max-age=10, stale-while-revalidate=100");
    case.origin.on("/one", [answer("old"), answer("new")]);
    case.answers(case.get("/one"), "old").await?;
    harness.clock().advance(Duration::from_secs(50));
    let stale = case.send(case.get("/one")).await?;
    ensure!(stale.is_stale() && stale.from_cache(), "the answer does not say that it is a stale one from the cache");
    ensure_eq!(stale.text().await?, "old", "the body while it is refreshed");
    let arrived = tokio::time::timeout(Duration::from_secs(10), case.origin.arrived(2));
    ensure!(arrived.await.is_ok(), "what is stale is not refreshed");
    case.quiet().await;
    ensure_eq!(
        case.ask(case.get("/one")).await?,
        (Decided::Hit, "new".to_owned()),
        "what became of a request after that"
    );
    ensure_eq!(case.origin.count(), 2, "requests that reached the origin");
    harness.clock().advance(Duration::from_secs(110));
    ensure_eq!(case.ask(case.get("/one")).await?.0, Decided::Miss, "what became of one after the window");
    Ok(Verdict::Kept)
}

/// Case 167: what forbids serving stale is stronger than every window.
pub(super) async fn session_strict_directives_are_stronger_than_windows(harness: &dyn CacheHarness) -> Outcome {
    let window = Duration::from_secs(1000);
    let case = Case::with(harness, |builder| builder.stale_while_revalidate(window).stale_if_error(window)).await?;
    for (path, directive, is_served) in
        [("/must-revalidate", "must-revalidate", false), ("/no-cache", "no-cache", false), ("/lax", "public", true)]
    {
        let cache_control = format!("max-age=10, {directive}, stale-while-revalidate=1000, stale-if-error=1000");
        case.serve(path, &[("cache-control", &cache_control), ("etag", "\"v1\"")]);
        case.hits(path).await?;
        case.origin.on(path, Answer::status(503).body("down"));
        harness.clock().advance(Duration::from_secs(50));
        let body = if is_served { path } else { "down" };
        ensure_eq!(
            case.answers(case.get(path), body).await?,
            is_served,
            "whether stale is served in spite of {directive}"
        );
        case.quiet().await;
    }
    Ok(Verdict::Kept)
}

/// Feature 120: a request may open the window for itself, or close it, whatever session and response say.
pub(super) async fn session_a_request_may_have_stale_windows_of_its_own(harness: &dyn CacheHarness) -> Outcome {
    let window = Duration::from_secs(100);
    let case = Case::new(harness).await?;
    for (path, cache_control) in [("/closed", "max-age=10"), ("/open", "max-age=10, stale-if-error=100")] {
        case.serve(path, &[("cache-control", cache_control)]);
        // What nobody may serve any more when it is stored is not kept.
        case.answers(case.get(path).stale_if_error(window), path).await?;
        case.origin.on(path, Answer::status(503).body("down"));
    }
    harness.clock().advance(Duration::from_secs(50));
    ensure!(!case.answers(case.get("/closed"), "down").await?, "stale is served although nobody said so");
    ensure!(case.answers(case.get("/open"), "/open").await?, "stale is not served although the response says so");
    ensure!(
        case.answers(case.get("/closed").stale_if_error(window), "/closed").await?,
        "a request cannot open the window"
    );
    ensure!(!case.answers(case.get("/open").stale_if_error(false), "down").await?, "a request cannot close the window");
    Ok(Verdict::Kept)
}

/// Feature 98: an unsafe request that succeeds removes every variant of its URL and what its answer points to; one that
/// fails removes nothing.
pub(super) async fn session_an_unsafe_request_removes_what_it_changes(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("vary", "accept"), ("cache-control", "max-age=600")]);
    case.serve("/two", &[("cache-control", "max-age=600")]);
    case.origin.on("/moves", Answer::status(201).header("location", "/two"));
    case.origin.on("/fails", Answer::status(500).header("location", "/two"));
    let one = async |accept: &'static str| case.answers(case.get("/one").header("accept", accept), "/one").await;
    for accept in ["a", "b"] {
        one(accept).await?;
    }
    case.hits("/two").await?;
    case.ask(case.session.post(case.origin.url("/fails")).body("x")).await?;
    ensure!(one("a").await? && case.hits("/two").await?, "a request that failed removed something");
    case.ask(case.session.put(case.origin.url("/one")).body("x")).await?;
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 1, "entries that are left when two variants and their index went");
    ensure!(!one("a").await? && !one("b").await?, "what was changed is still there");
    ensure!(case.hits("/two").await?, "what was not changed is gone");
    case.ask(case.session.post(case.origin.url("/moves")).body("x")).await?;
    ensure!(!case.hits("/two").await?, "what the answer points to is still there");
    Ok(Verdict::Kept)
}

/// Case 51: it removes what was stored for whomever, and under whatever options of matching.
pub(super) async fn session_an_unsafe_request_removes_what_others_stored(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("cache-control", "max-age=600")]);
    let url = case.origin.url("/one");
    let sorting = builder(harness, &case.cache).sort_query(true).build()?;
    let matching = builder(harness, &case.cache).match_headers(["accept"]).build()?;
    let requests = || {
        [
            ("of another caller", case.get("/one").header("authorization", "b")),
            ("of another partition", case.get("/one").partition("b")),
            ("of a session that sorts queries", sorting.get(&url)),
            ("of a session that matches headers", matching.get(&url).header("accept", "b")),
        ]
    };
    for is_hit in [false, true] {
        for (whose, request) in requests() {
            ensure_eq!(case.answers(request, "/one").await?, is_hit, "whether the answer {whose} is cached");
        }
    }
    case.ask(case.session.post(&url).body("x")).await?;
    for (whose, request) in requests() {
        ensure!(!case.answers(request, "/one").await?, "the answer {whose} is still there");
    }
    Ok(Verdict::Kept)
}
