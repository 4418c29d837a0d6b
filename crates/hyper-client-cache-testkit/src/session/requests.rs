//! What is one request, and what is another.

use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use http::Method;

use super::support::{Case, hits};
use crate::contract::{CacheHarness, Outcome, Verdict, Violation, ensure, ensure_eq};
use crate::core::policy::Outcome as Decided;
use crate::origin::Answer;

/// Seed lines 61, 62, 63, 65 and 97: fresh, then cached, and the response says which.
pub(super) async fn session_the_second_request_is_answered_from_the_cache(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("x-thing", "5")]);
    let first = case.send(case.get("/one")).await?;
    ensure!(!first.from_cache() && !first.is_expired(), "the first answer says that it is cached or expired");
    ensure_eq!(first.text().await?, "/one", "the first body");
    let second = case.send(case.get("/one")).await?;
    ensure!(
        second.from_cache() && !second.is_expired(),
        "the second answer does not say that it is a fresh cached one"
    );
    ensure!(second.created_at().is_some() && second.cache_key().is_some(), "a cached answer has no moment or no key");
    ensure_eq!(second.headers().get("x-thing").map(|value| value.as_bytes()), Some(&b"5"[..]), "a header line");
    ensure_eq!(second.text().await?, "/one", "the second body");
    ensure_eq!(case.origin.count(), 1, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Seed lines 20 and 72: no two sets of parameters share an answer.
pub(super) async fn session_different_parameters_are_different_requests(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let paths = ["/p", "/p?a=1", "/p?a=2", "/p?a=1&a=2", "/p?a", "/p?a=", "/p?b=1", "/q?a=1", "/p?a=1;b=2"];
    case.origin.on("/p", Answer::ok("p"));
    case.origin.on("/q", Answer::ok("q"));
    for round in 0..2 {
        for path in paths {
            let body = if path.starts_with("/q") { "q" } else { "p" };
            ensure_eq!(
                case.answers(case.get(path), body).await?,
                round == 1,
                "whether {path} is cached in round {round}"
            );
        }
    }
    ensure_eq!(case.origin.count(), paths.len(), "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Seed line 72: what is sent with another method is never answered by a stored GET, but for HEAD.
pub(super) async fn session_each_method_is_a_request_of_its_own(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[]);
    case.hits("/one").await?;
    let url = case.origin.url("/one");
    let head = case.send(case.session.head(&url)).await?;
    ensure!(head.from_cache(), "a HEAD is not answered from the stored GET");
    ensure_eq!(head.bytes().await?.len(), 0, "the length of the body of a HEAD");
    for method in [Method::OPTIONS, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for round in 0..2 {
            let request = case.session.request(method.clone(), &url).body("x");
            ensure!(!case.answers(request, "/one").await?, "{method} was answered from the cache in round {round}");
        }
    }
    Ok(Verdict::Kept)
}

/// Cases 4, 5 and 7: two callers with different credentials never see each other's answers.
pub(super) async fn session_callers_with_other_credentials_never_meet(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("cache-control", "max-age=600")]);
    let ask = |name: &'static str, value: &'static str| case.answers(case.get("/one").header(name, value), "/one");
    ensure!(!case.hits("/one").await?, "the first answer is cached");
    for (name, value) in [("authorization", "a"), ("authorization", "b"), ("cookie", "a=1"), ("cookie", "a=2")] {
        ensure!(!ask(name, value).await?, "{name}: {value} was given another caller's answer");
        ensure!(ask(name, value).await?, "{name}: {value} was not given its own answer again");
    }
    ensure_eq!(case.origin.count(), 5, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Seed line 74.
pub(super) async fn session_five_hundred_at_once_are_fetched_once_each(harness: &dyn CacheHarness) -> Outcome {
    const URLS: usize = 500;
    let case = Case::new(harness).await?;
    for number in 0..URLS {
        case.origin.on(&format!("/{number}"), Answer::ok(number.to_string()));
    }
    for round in 0..2 {
        let asked = stream::iter(0..URLS).map(|number| {
            let request = case.get(&format!("/{number}"));
            async move { hits(request, &number.to_string()).await }
        });
        let from_cache: Vec<Result<bool, Violation>> = asked.buffer_unordered(100).collect().await;
        for hit in from_cache {
            ensure_eq!(hit?, round == 1, "whether an answer is cached in round {round}");
        }
        case.flush().await;
    }
    ensure_eq!(case.origin.count(), URLS, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Seed line 96 and case 189: one of them asks the origin, the others join it.
pub(super) async fn session_a_hundred_equal_requests_are_one(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("cache-control", "max-age=600")]);
    let responses = try_join_all((0..100).map(|_| case.get("/one").send())).await?;
    let misses =
        responses.iter().filter_map(|response| response.cache_info()).filter(|info| info.outcome == Decided::Miss);
    ensure_eq!(misses.count(), 1, "answers that are a miss");
    for response in responses {
        ensure_eq!(response.text().await?, "/one", "a body");
    }
    ensure_eq!(case.origin.count(), 1, "requests that reached the origin");
    Ok(Verdict::Kept)
}
