//! What a response says it varies on: which requests share a variant, and what becomes of one among several.

use std::time::Duration;

use super::support::{Case, builder};
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::policy::{Outcome as Decided, Settings};
use crate::core::session::CookieJar;
use crate::origin::{Answer, Recorded};

/// Feature 36: a field that is ignored does not tell variants apart, another does, also after a 304.
pub(super) async fn session_an_ignored_header_does_not_vary(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.ignored_headers(["user-agent"])).await?;
    case.origin.on("/one", |request: &Recorded| {
        let answer =
            if request.header("if-none-match").is_some() { Answer::not_modified() } else { Answer::ok("/one") };
        answer.header("vary", "user-agent, accept").etag("\"v1\"").header("cache-control", "max-age=60")
    });
    let one = |name: &'static str, value: &'static str| case.get("/one").header(name, value);
    ensure!(!case.answers(one("user-agent", "a"), "/one").await?, "the first answer is cached");
    ensure!(case.answers(one("user-agent", "b"), "/one").await?, "an ignored field tells variants apart");
    ensure!(!case.answers(one("accept", "b"), "/one").await?, "a field that is not ignored does not");
    harness.clock().advance(Duration::from_secs(60));
    ensure_eq!(
        case.ask(one("user-agent", "c")).await?.0,
        Decided::Revalidated,
        "what became of a request for what is stale"
    );
    ensure!(case.hits("/one").await?, "an ignored field tells variants apart after a 304");
    Ok(Verdict::Kept)
}

/// Feature 41, case 44: how a value is spelled counts only where the grammar of its field says so.
pub(super) async fn session_spelling_tells_no_variants_apart(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("vary", "accept-language, x-tenant"), ("cache-control", "max-age=60")]);
    for (language, tenant, is_hit) in [
        ("de, en;q=0.5", "A", false),
        ("DE,en; q=0.5", "A", true),
        ("de, en;q=0.5", "a", false),
        ("en;q=0.5, de", "A", true),
        ("en, de;q=0.5", "A", false),
    ] {
        let request = case.get("/one").header("accept-language", language).header("x-tenant", tenant);
        ensure_eq!(case.answers(request, "/one").await?, is_hit, "whether {language:?} for {tenant:?} is cached");
    }
    Ok(Verdict::Kept)
}

/// Feature 40: a redirect that varies leads each caller to its own target, out of the cache too.
pub(super) async fn session_a_redirect_varies_like_any_response(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/start", |request: &Recorded| {
        let target = format!("/{}", request.header("accept-language").unwrap_or("none"));
        Answer::redirect(302, &target).header("vary", "accept-language").header("cache-control", "max-age=60")
    });
    for path in ["/de", "/en"] {
        case.serve(path, &[]);
    }
    for round in 0..2 {
        for (language, target) in [("de", "/de"), ("en", "/en")] {
            let response = case.send(case.get("/start").header("accept-language", language)).await?;
            let hop = response.history().first().and_then(|hop| hop.cache_info.as_ref());
            ensure_eq!(
                hop.map(|info| info.from_cache()),
                Some(round == 1),
                "whether the hop is cached in round {round}"
            );
            ensure_eq!(response.text().await?, target, "where {language} leads in round {round}");
        }
    }
    ensure_eq!(case.origin.count(), 4, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Feature 40: cookies, those of the jar too, select a variant where the response says so.
pub(super) async fn session_cookies_select_where_a_response_says_so(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    for (path, vary) in [("/varies", "cookie"), ("/same", "")] {
        case.origin.on(path, move |request: &Recorded| {
            let who = request.header("cookie").unwrap_or("nobody").to_owned();
            Answer::ok(who).header("vary", vary).header("cache-control", "max-age=60")
        });
    }
    let jar = CookieJar::new();
    let session = builder(harness, &case.cache).cookie_jar(jar.clone()).build()?;
    for (who, varies, same) in [("a", false, false), ("b", false, true), ("a", true, true)] {
        jar.clear();
        jar.add(case.origin.url("/"), &format!("who={who}; Path=/"))?;
        let hit = case.answers(session.get(case.origin.url("/varies")), &format!("who={who}")).await?;
        ensure_eq!(hit, varies, "whether the variant for {who} is cached");
        ensure_eq!(
            case.answers(session.get(case.origin.url("/same")), "who=a").await?,
            same,
            "whether what does not vary is"
        );
    }
    Ok(Verdict::Kept)
}

/// Case 48: no more variants than the settings say; the oldest goes, its entry with it.
pub(super) async fn session_the_oldest_of_too_many_variants_goes(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.settings(Settings::default().max_variants(2))).await?;
    case.serve("/one", &[("vary", "accept"), ("cache-control", "max-age=60")]);
    let one = async |accept: &'static str| case.answers(case.get("/one").header("accept", accept), "/one").await;
    for accept in ["a", "b", "c"] {
        ensure!(!one(accept).await?, "the variant {accept} is cached before it was asked for");
    }
    case.flush().await;
    // Two responses, and the index that names them.
    ensure_eq!(case.session.cache().size().await?, 3, "entries that are stored");
    ensure!(one("b").await? && one("c").await?, "a variant that is not the oldest has gone");
    ensure!(!one("a").await?, "the oldest variant is still there");
    Ok(Verdict::Kept)
}

/// Case 46, feature 109: a 304 renews the variant that it confirms, and no other.
pub(super) async fn session_a_304_renews_the_variant_that_it_confirms(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/one", |request: &Recorded| {
        let tag = format!("\"{}\"", request.header("accept").unwrap_or("none"));
        let answer = match request.header("if-none-match") {
            Some(asked) if asked.contains(&tag) => Answer::not_modified(),
            _ => Answer::ok(tag.clone()),
        };
        answer.etag(&tag).header("vary", "accept").header("cache-control", "max-age=60")
    });
    let one = async |accept: &'static str| case.ask(case.get("/one").header("accept", accept)).await;
    let found = |decided, body: &str| (decided, body.to_owned());
    for accept in ["a", "b"] {
        one(accept).await?;
    }
    harness.clock().advance(Duration::from_secs(60));
    ensure_eq!(one("a").await?, found(Decided::Revalidated, "\"a\""), "what became of the one variant");
    ensure_eq!(one("a").await?, found(Decided::Hit, "\"a\""), "what became of it afterwards");
    ensure_eq!(one("b").await?, found(Decided::Revalidated, "\"b\""), "what became of the other variant");
    Ok(Verdict::Kept)
}
