//! Functions of the user's that decide what is stored and used, and change what is stored.

use std::time::Duration;

use super::support::{Case, builder};
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::policy::{BeforeStore, Outcome as Decided, RequestFilter, ResponseFilter, Settings};
use crate::origin::{Answer, Recorded};

/// Feature 63: what a filter refuses is handed on as it came, and not stored.
pub(super) async fn session_what_a_filter_refuses_is_not_stored(harness: &dyn CacheHarness) -> Outcome {
    let filter = ResponseFilter::new(|response| response.header("x-draft").is_none());
    let case = Case::with(harness, |builder| builder.settings(Settings::default().filter_write(filter))).await?;
    case.serve("/draft", &[("x-draft", "1")]);
    case.serve("/final", &[]);
    for round in 0..2 {
        ensure!(!case.hits("/draft").await?, "what a filter refuses is stored");
        ensure_eq!(case.hits("/final").await?, round == 1, "whether what passes is stored in round {round}");
    }
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 1, "entries that are stored");
    Ok(Verdict::Kept)
}

/// Feature 65: what is stored must pass too, with its body; what does not is fetched anew, and stays for others until
/// something takes its place.
pub(super) async fn session_what_is_stored_must_pass_the_filter(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/one", [Answer::ok("old").etag("\"1\""), Answer::ok("new")]);
    case.serve("/other", &[]);
    case.answers(case.get("/one"), "old").await?;
    case.hits("/other").await?;
    let filter = ResponseFilter::new(|response| response.body().is_some_and(|body| body != "old")).with_body();
    let strict = builder(harness, &case.cache).settings(Settings::default().filter_read(filter)).build()?;
    ensure!(case.answers(strict.get(case.origin.url("/other")), "/other").await?, "what passes is not served");
    ensure!(case.answers(case.get("/one"), "old").await?, "what does not pass for one session is gone for another");
    ensure!(!case.answers(strict.get(case.origin.url("/one")), "new").await?, "what does not pass is served");
    let asked = case.origin.requests().pop();
    ensure!(asked.is_some_and(|last| last.header("if-none-match").is_none()), "what does not pass was asked about");
    ensure!(case.answers(strict.get(case.origin.url("/one")), "new").await?, "what came in its place is not served");
    Ok(Verdict::Kept)
}

/// Feature 67: a request that the filter keeps out neither finds nor leaves anything.
pub(super) async fn session_a_filter_decides_which_requests_use_the_cache(harness: &dyn CacheHarness) -> Outcome {
    let filter = RequestFilter::new(|request| !request.headers.contains_key("x-private"));
    let case = Case::with(harness, |builder| builder.filter_request(filter)).await?;
    case.serve("/one", &[]);
    let private = async || case.ask(case.get("/one").header("x-private", "1")).await.map(|(decided, _)| decided);
    ensure_eq!(private().await?, Decided::Bypass, "what became of a request that is kept out");
    ensure!(!case.hits("/one").await?, "a request that is kept out left something");
    ensure_eq!(private().await?, Decided::Bypass, "what became of it where something is stored");
    ensure!(case.hits("/one").await?, "what passes is not stored");
    Ok(Verdict::Kept)
}

/// Feature 70: whoever asked gets the answer as it came, whoever comes later as it was changed, also after a 304.
pub(super) async fn session_what_is_stored_may_be_changed_first(harness: &dyn CacheHarness) -> Outcome {
    let change = BeforeStore::new(|response, headers| {
        headers.remove("x-trace");
        headers.insert("x-stored", response.status().as_u16().into());
    });
    let case = Case::with(harness, |builder| builder.before_store(change)).await?;
    case.origin.on("/one", |request: &Recorded| {
        let is_known = request.header("if-none-match").is_some();
        let answer = if is_known { Answer::not_modified() } else { Answer::ok("/one") };
        answer.header("x-trace", "1").etag("\"v1\"").header("cache-control", "max-age=60")
    });
    for expected in [Decided::Miss, Decided::Hit, Decided::Revalidated, Decided::Hit] {
        let response = case.send(case.get("/one")).await?;
        let decided = response.cache_info().map(|info| info.outcome);
        ensure_eq!(decided, Some(expected), "what became of a request");
        let (trace, stored) = (response.headers().contains_key("x-trace"), response.headers().get("x-stored").cloned());
        ensure_eq!(trace, expected == Decided::Miss, "whether a line that is not stored is there after a {expected:?}");
        let wanted = if expected == Decided::Miss { None } else { Some("200") };
        ensure_eq!(stored.as_ref().and_then(|value| value.to_str().ok()), wanted, "a line that only is stored");
        ensure_eq!(response.text().await?, "/one", "the body");
        if expected == Decided::Hit {
            harness.clock().advance(Duration::from_secs(60));
        }
    }
    Ok(Verdict::Kept)
}
