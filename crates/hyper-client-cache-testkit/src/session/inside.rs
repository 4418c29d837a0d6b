//! What is stored, shown and removed by what it is; and what would become of a request.

use std::time::Duration;

use futures_util::TryStreamExt;
use http::StatusCode;

use super::support::Case;
use crate::contract::{CacheHarness, Outcome, Verdict, Violation, ensure, ensure_eq};
use crate::core::cache::{Filter, SortBy};
use crate::core::policy::{Mode, Outcome as Decided};
use crate::core::session::RequestBuilder;
use crate::origin::{Answer, Recorded};

const MINUTE: Duration = Duration::from_secs(60);

/// Features 162 and 164: what is stored is shown as its response showed itself, with its body, and without the origin.
pub(super) async fn session_what_is_stored_is_shown_as_its_response_was(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("cache-control", "max-age=60"), ("x-thing", "5"), ("etag", "\"1\"")]);
    let url = case.origin.url("/one");
    let response = case.send(case.get("/one")).await?;
    let (created, expires) = (response.created_at(), response.expires());
    let key = response.cache_key().copied();
    response.bytes().await?;
    harness.clock().advance(Duration::from_secs(30));
    let cache = case.session.cache();
    let Some(stored) = cache.get_url(&url).await? else { return Err(Violation::new("what is stored is not shown")) };
    ensure_eq!((stored.url(), stored.status()), (url.as_str(), StatusCode::OK), "URL and status");
    ensure_eq!(Some(stored.created_at()), created.or(Some(stored.created_at())), "when it was created");
    ensure_eq!(stored.expires(), expires, "when it expires");
    ensure_eq!((stored.age(), stored.is_expired()), (Some(Duration::from_secs(30)), false), "how old it is");
    ensure!(key.is_none_or(|key| key == *stored.key()), "its key is another");
    ensure_eq!(stored.headers().get("x-thing").map(|value| value.as_bytes()), Some(&b"5"[..]), "a header line");
    let body: Vec<_> = cache.body(&stored).try_collect().await?;
    ensure_eq!(body.concat(), b"/one", "the body");
    let listed: Vec<_> = cache.entries(Filter::new()).try_collect().await?;
    ensure_eq!(listed.iter().map(|one| one.record()).collect::<Vec<_>>(), [stored.record()], "what is listed");
    harness.clock().advance(MINUTE);
    ensure!(cache.get_url(&url).await?.is_some_and(|stored| stored.is_expired()), "what is over is not shown as over");
    ensure_eq!(case.origin.count(), 1, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Features 165 to 167: exactly what is asked for is listed, counted, and put in order.
pub(super) async fn session_listings_show_what_is_asked_for(harness: &dyn CacheHarness) -> Outcome {
    let case = some_stored(harness).await?;
    let cache = case.session.cache();
    let paths = async |filter: Filter| -> Result<Vec<String>, Violation> {
        let urls: Vec<_> = cache.entries(filter).map_ok(|response| response.url().to_owned()).try_collect().await?;
        let mut paths: Vec<_> = urls.iter().filter_map(|url| Some(url.rsplit_once('/')?.1.to_owned())).collect();
        paths.sort();
        Ok(paths)
    };
    for (what, filter, wanted) in [
        ("all", Filter::new(), &["fresh", "hop", "large", "old", "stale"][..]),
        ("fresh", Filter::new().fresh(), &["fresh", "hop", "large"]),
        ("expired", Filter::new().expired(), &["old", "stale"]),
        ("stale", Filter::new().stale(), &["stale"]),
        ("old", Filter::new().older_than(MINUTE.saturating_mul(2)), &["old", "stale"]),
        ("redirects", Filter::new().redirects(true), &["hop"]),
        ("by prefix", Filter::new().url_prefix(case.origin.url("/l")), &["large"]),
        ("by glob", Filter::new().url_glob("http://*/?????")?, &["fresh", "large", "stale"]),
        ("by host", Filter::new().host("*.example.org")?, &[]),
        ("by status", Filter::new().status(StatusCode::NOT_FOUND), &[]),
    ] {
        ensure_eq!(paths(filter.clone()).await?, wanted, "what is listed: {what}");
        ensure_eq!(cache.count(filter).await?, wanted.len() as u64, "what is counted: {what}");
    }
    ensure_eq!(paths(Filter::new().limit(2)).await?.len(), 2, "what is listed of at most two");
    let largest = cache.top(Filter::new(), SortBy::Largest, 1).await?;
    ensure!(largest.first().is_some_and(|first| first.url().ends_with("/large")), "the largest is another");
    let oldest = cache.top(Filter::new(), SortBy::Oldest, 2).await?;
    ensure!(oldest.iter().all(|one| one.is_expired()) && oldest.len() == 2, "the oldest are others");
    ensure!(cache.bytes().await? > 1000, "the bytes are fewer than those of one body");
    Ok(Verdict::Kept)
}

/// Features 168 to 170 and 174: what is meant goes, and nothing else.
pub(super) async fn session_deleting_what_is_meant_leaves_the_rest(harness: &dyn CacheHarness) -> Outcome {
    let case = some_stored(harness).await?;
    let cache = case.session.cache();
    ensure_eq!(cache.delete_matching(Filter::new().stale()).await?, 1, "stale responses that were removed");
    ensure_eq!(cache.delete_older_than(MINUTE.saturating_mul(2)).await?, 1, "old responses that were removed");
    ensure_eq!(cache.delete_matching(Filter::new().url_glob("*/l*")?).await?, 1, "responses removed by a glob");
    ensure_eq!(cache.delete_matching(Filter::new().status(StatusCode::NOT_FOUND)).await?, 0, "responses that are none");
    for (path, is_there) in [("/fresh", true), ("/hop", true), ("/old", false), ("/stale", false), ("/large", false)] {
        ensure_eq!(cache.has_url(&case.origin.url(path)).await?, is_there, "whether {path} is there");
    }
    ensure!(case.hits("/fresh").await?, "what was not meant is not served");
    Ok(Verdict::Kept)
}

/// Feature 168: by request only the variant goes that the request selects.
pub(super) async fn session_deleting_by_request_takes_what_it_selects(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("vary", "accept"), ("cache-control", "max-age=60")]);
    let one = |accept: &'static str| case.get("/one").header("accept", accept);
    for accept in ["a", "b"] {
        case.answers(one(accept), "/one").await?;
    }
    let (cache, request) = (case.session.cache(), one("a").build()?);
    ensure!(cache.get(&request).await?.is_some(), "what is stored is not found by its request");
    ensure!(cache.delete(&request).await?, "nothing was removed");
    ensure!(cache.get(&request).await?.is_none() && !cache.delete(&request).await?, "what was removed is there");
    ensure!(case.answers(one("b"), "/one").await?, "another variant went with it");
    ensure!(!case.answers(one("a"), "/one").await?, "what was removed is served");
    Ok(Verdict::Kept)
}

/// Feature 193: what is said of a request, of what is not there, fresh, stale or not for the cache, is what becomes of
/// it; and saying it asks nobody and changes nothing.
pub(super) async fn session_what_is_explained_is_what_is_done(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/one", |request: &Recorded| {
        let answer =
            if request.header("if-none-match").is_some() { Answer::not_modified() } else { Answer::ok("/one") };
        answer.etag("\"v1\"").header("cache-control", "max-age=60")
    });
    let plain = || case.get("/one");
    let steps: [(u64, &(dyn Fn() -> RequestBuilder + Sync), Decided); 7] = [
        (0, &|| plain().mode(Mode::OnlyIfCached), Decided::Offline),
        (0, &plain, Decided::Miss),
        (0, &plain, Decided::Hit),
        (0, &|| plain().header("authorization", "other"), Decided::Miss),
        (0, &|| plain().header("cache-control", "no-store"), Decided::Bypass),
        (60, &plain, Decided::Revalidated),
        (0, &plain, Decided::Hit),
    ];
    for (at, (later, request, expected)) in steps.into_iter().enumerate() {
        harness.clock().advance(Duration::from_secs(later));
        let asked = case.origin.count();
        let told = request().explain().await?;
        ensure_eq!(told.outcome, expected, "what is said of request {at}");
        ensure_eq!(case.origin.count(), asked, "requests that reached the origin when request {at} was explained");
        ensure_eq!(case.ask(request()).await?.0, expected, "what became of request {at}");
        let reached = case.origin.count() != asked;
        ensure_eq!(told.asks_origin, reached, "whether it was said that request {at} reaches the origin");
    }
    Ok(Verdict::Kept)
}

/// Five responses: two from three minutes ago, one of which may still be served stale, and three from now, one of which
/// is a redirect.
async fn some_stored(harness: &dyn CacheHarness) -> Result<Case, Violation> {
    let case = Case::new(harness).await?;
    case.serve("/old", &[("cache-control", "max-age=60"), ("etag", "\"1\"")]);
    case.serve("/stale", &[("cache-control", "max-age=60, stale-while-revalidate=600")]);
    for path in ["/old", "/stale"] {
        case.hits(path).await?;
    }
    harness.clock().advance(MINUTE.saturating_mul(3));
    case.serve("/fresh", &[]);
    case.hits("/fresh").await?;
    case.origin.on("/large", Answer::pattern(1000));
    case.send(case.get("/large")).await?.bytes().await?;
    case.origin.on("/hop", Answer::redirect(301, "/fresh").header("cache-control", "max-age=60"));
    case.answers(case.get("/hop"), "/fresh").await?;
    case.flush().await;
    Ok(case)
}
