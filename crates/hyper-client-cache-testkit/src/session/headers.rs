//! What servers and callers say about it in header lines.

use std::time::Duration;

use super::support::{Case, lifetime};
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::policy::{CacheControl, Outcome as Decided};
use crate::origin::Answer;

/// Seed lines 25 and 82: `max-age` and `Expires` set the lifetime, and the former counts where both are there.
pub(super) async fn session_the_servers_lifetime_counts(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.expire_after(Duration::from_secs(1000))).await?;
    let (date, expires) = ("Fri, 01 Jan 2100 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:30 GMT");
    for (path, headers, seconds) in [
        ("/max-age", vec![("cache-control", "max-age=60")], 60),
        ("/expires", vec![("date", date), ("expires", expires)], 30),
        ("/both", vec![("date", date), ("expires", expires), ("cache-control", "max-age=60")], 60),
        ("/neither", vec![], 1000),
    ] {
        case.serve(path, &headers);
        let response = case.send(case.get(path)).await?;
        ensure_eq!(lifetime(&response), Some(Duration::from_secs(seconds)), "how long {path} is good for");
        response.text().await?;
        ensure!(case.hits(path).await?, "{path} is not cached");
    }
    Ok(Verdict::Kept)
}

/// Seed lines 25 and 86, with the RFC where that is stricter.
pub(super) async fn session_what_the_server_forbids_is_not_stored(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    for (path, headers) in [
        ("/no-store", vec![("cache-control", "no-store")]),
        ("/capitals", vec![("cache-control", "No-Store")]),
        ("/expired", vec![("cache-control", "max-age=0")]),
        ("/vary", vec![("vary", "*")]),
    ] {
        case.serve(path, &headers);
        ensure!(!case.hits(path).await? && !case.hits(path).await?, "{path} is answered from the cache");
    }
    Ok(Verdict::Kept)
}

/// Feature 81, seed line 25: what the server wants to be asked about is stored, and confirmed before each use.
pub(super) async fn session_no_cache_of_a_response_is_confirmed_each_time(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/one", |request: &crate::origin::Recorded| {
        let is_known = request.header("if-none-match").is_some();
        let answer = if is_known { Answer::not_modified() } else { Answer::ok("/one") };
        answer.etag("\"v1\"").header("cache-control", "max-age=60, no-cache")
    });
    for expected in [Decided::Miss, Decided::Revalidated, Decided::Revalidated] {
        ensure_eq!(case.ask(case.get("/one")).await?, (expected, "/one".to_owned()), "what became of a request");
    }
    Ok(Verdict::Kept)
}

/// Seed line 85: fresh, nothing stored; later plain requests are cached as usual.
pub(super) async fn session_no_store_of_a_request_passes_the_cache(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[]);
    for _ in 0..2 {
        ensure!(
            !case.answers(case.get("/one").header("cache-control", "no-store"), "/one").await?,
            "no-store was not heard"
        );
    }
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 0, "entries after requests with no-store");
    ensure!(!case.hits("/one").await? && case.hits("/one").await?, "a later plain request is not cached as usual");
    Ok(Verdict::Kept)
}

/// Seed line 84: asked anew, stored, and the next plain request is a hit.
pub(super) async fn session_no_cache_of_a_request_asks_the_server(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[]);
    for _ in 0..2 {
        ensure!(
            !case.answers(case.get("/one").header("cache-control", "no-cache"), "/one").await?,
            "no-cache was not heard"
        );
    }
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 1, "entries after requests with no-cache");
    ensure!(case.hits("/one").await?, "what came after no-cache is not stored");
    Ok(Verdict::Kept)
}

/// Seed lines 26 and 83: what was the default of the original, where it is asked for.
pub(super) async fn session_headers_are_ignored_where_that_is_asked_for(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| {
        builder.cache_control(CacheControl::Ignore).expire_after(Duration::from_secs(30))
    })
    .await?;
    case.serve("/one", &[("cache-control", "no-store, max-age=60")]);
    case.hits("/one").await?;
    ensure!(
        case.answers(case.get("/one").header("cache-control", "no-cache"), "/one").await?,
        "a request's header was heard"
    );
    harness.clock().advance(Duration::from_secs(30));
    ensure!(!case.hits("/one").await?, "the server's lifetime counts, not that of the settings");
    Ok(Verdict::Kept)
}

/// Features 38 and 39, case 40: variants side by side; absent and empty are two.
pub(super) async fn session_variants_lie_side_by_side(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/one", |request: &crate::origin::Recorded| {
        let language = request.header("accept-language").unwrap_or("none").to_owned();
        Answer::ok(language).header("vary", "accept-language").header("cache-control", "max-age=600")
    });
    for round in 0..2 {
        for language in [None, Some(""), Some("de"), Some("en")] {
            let request = match language {
                Some(language) => case.get("/one").header("accept-language", language),
                None => case.get("/one"),
            };
            let hit = case.answers(request, language.unwrap_or("none")).await?;
            ensure_eq!(hit, round == 1, "whether {language:?} is cached in round {round}");
        }
    }
    ensure_eq!(case.origin.count(), 4, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Seed lines 44 and 46: every line of a repeated field, in order, whatever bytes it has.
pub(super) async fn session_repeated_lines_come_back_as_they_were(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let lines: [&[u8]; 3] = [b"one", b"", b"t\xe9st, two"];
    let answer = lines.iter().fold(Answer::ok("/one"), |answer, line| answer.header("x-line", line));
    case.origin.on("/one", answer);
    for round in 0..2 {
        let response = case.send(case.get("/one")).await?;
        ensure_eq!(response.from_cache(), round == 1, "whether the answer is cached in round {round}");
        let found: Vec<_> = response.headers().get_all("X-Line").iter().map(|value| value.as_bytes()).collect();
        ensure_eq!(found, lines, "the lines in round {round}");
        response.bytes().await?;
    }
    Ok(Verdict::Kept)
}

/// Seed line 28: what only responses may say changes nothing in a request.
pub(super) async fn session_directives_of_responses_mean_nothing_in_a_request(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.expire_after(Duration::from_secs(100))).await?;
    for directive in
        ["must-revalidate", "no-transform", "private", "proxy-revalidate", "public", "s-maxage=1", "expires=1"]
    {
        let path = format!("/{directive}");
        case.serve(&path, &[]);
        let ask = async || case.answers(case.get(&path).header("cache-control", directive), &path).await;
        ensure!(!ask().await?, "{directive}: the first answer is cached");
        harness.clock().advance(Duration::from_secs(99));
        ensure!(ask().await?, "{directive} in a request was heard");
        harness.clock().advance(Duration::from_secs(1));
        ensure!(!ask().await?, "{directive} in a request lengthens the lifetime");
    }
    Ok(Verdict::Kept)
}
