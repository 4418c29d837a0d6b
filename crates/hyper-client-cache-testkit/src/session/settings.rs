//! What users decide themselves: filters, and rules for URLs.

use std::time::Duration;

use super::support::{Case, lifetime};
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::policy::{ExpireAfter, ResponseFilter, UrlRule};
use crate::origin::Answer;

/// Seed lines 17 and 18: a filter that takes its time and looks at the body decides, together with method, status and
/// the guard that switches the cache off; what it refuses reaches the caller all the same.
pub(super) async fn session_a_filter_may_look_at_the_body(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| {
        let filter = ResponseFilter::asynchronous(|response| {
            let body = response.body().cloned();
            async move {
                tokio::task::yield_now().await;
                body.is_some_and(|body| body.starts_with(b"{\"success\":true"))
            }
        });
        builder.filter(filter.with_body())
    })
    .await?;
    let (good, bad) = ("{\"success\":true}", "{\"success\":false}");
    for (path, answer, body, is_stored) in [
        ("/good", Answer::ok(good), good, true),
        ("/bad", Answer::ok(bad), bad, false),
        ("/status", Answer::status(404).body(good), good, false),
    ] {
        case.origin.on(path, answer);
        ensure!(!case.answers(case.get(path), body).await?, "{path} is cached before it was asked for");
        case.flush().await;
        ensure_eq!(case.answers(case.get(path), body).await?, is_stored, "whether {path} is stored");
    }
    // The filter is for reading too, and would hide what it should have kept out.
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 1, "entries that are stored");
    {
        let _disabled = case.session.disabled();
        ensure!(!case.answers(case.get("/good"), good).await?, "a disabled session is answered from the cache");
    }
    ensure!(case.answers(case.get("/good"), good).await?, "what was stored is gone after the session was disabled");
    ensure!(
        !case.answers(case.session.post(case.origin.url("/good")), good).await?,
        "a POST is answered from the cache"
    );
    Ok(Verdict::Kept)
}

/// Seed lines 22, 23 and 36: the first rule that matches gives the lifetime, the session's is for the others, and what
/// the request says is before both.
pub(super) async fn session_the_first_rule_that_matches_counts(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| {
        builder
            .expire_after(ExpireAfter::seconds(100))
            .rule(UrlRule::glob("127.0.0.1/a/*/deep").expire_after(ExpireAfter::seconds(10)))
            .rule(UrlRule::glob("*/a").expire_after(ExpireAfter::seconds(20)))
            .rule(UrlRule::regex(r"/[0-9]+$").expire_after(ExpireAfter::seconds(30)))
            .rule(UrlRule::glob("127.0.0.1/never").expire_after(ExpireAfter::Never))
            .rule(UrlRule::glob("127.0.0.1/not").expire_after(ExpireAfter::DoNotStore))
            .rule(UrlRule::glob("*.example.org").expire_after(ExpireAfter::seconds(40)))
    })
    .await?;
    for (path, seconds) in [
        ("/a/1/deep", Some(10)),
        ("/a/1/2/deep/er", Some(10)),
        ("/a/1", Some(20)),
        ("/ab", Some(20)),
        ("/b/1", Some(30)),
        ("/b/1/", Some(100)),
        ("/never", None),
        ("/", Some(100)),
    ] {
        case.serve(path, &[]);
        let response = case.send(case.get(path)).await?;
        ensure_eq!(lifetime(&response), seconds.map(Duration::from_secs), "how long {path} is good for");
        response.text().await?;
        ensure!(case.hits(path).await?, "{path} is not cached");
    }
    case.serve("/not", &[]);
    ensure!(!case.hits("/not").await? && !case.hits("/not").await?, "what a rule keeps out is stored");
    case.serve("/a/own", &[]);
    case.answers(case.get("/a/own").expire_after(ExpireAfter::seconds(5)), "/a/own").await?;
    harness.clock().advance(Duration::from_secs(5));
    ensure!(!case.hits("/a/own").await?, "the rule is before the request");
    Ok(Verdict::Kept)
}
