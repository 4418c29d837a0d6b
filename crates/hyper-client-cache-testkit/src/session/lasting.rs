//! How long an answer is good for, where more than one lifetime counts: bounds, use, statuses, changes of mind.

use std::time::Duration;

use http::StatusCode;

use super::support::{Case, lifetime};
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::cache::Filter;
use crate::core::clock::from_millis;
use crate::core::policy::{ExpireAfter, Outcome as Decided, UrlRule};
use crate::origin::{Answer, Recorded};

const MINUTE: Duration = Duration::from_secs(60);

/// Features 52 and 53: each form of a lifetime is used up by the clock, to the millisecond.
pub(super) async fn session_a_lifetime_may_have_any_form(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    // 2100-01-01T00:00:00Z, which an HTTP date can say.
    harness.clock().set(from_millis(4_102_444_800_000));
    let forms: [ExpireAfter; 4] = [
        MINUTE.into(),
        ExpireAfter::seconds(60),
        harness.clock().after(MINUTE).into(),
        "Fri, 01 Jan 2100 00:01:00 GMT".parse()?,
    ];
    let path = |at: usize| format!("/{at}");
    for (at, form) in forms.into_iter().enumerate() {
        case.serve(&path(at), &[]);
        case.answers(case.get(&path(at)).expire_after(form), &path(at)).await?;
    }
    for (millis, is_hit) in [(59_999, true), (1, false)] {
        harness.clock().advance(Duration::from_millis(millis));
        for (at, form) in forms.into_iter().enumerate() {
            ensure_eq!(
                case.answers(case.get(&path(at)).expire_after(form), &path(at)).await?,
                is_hit,
                "whether {form:?} is over"
            );
        }
    }
    Ok(Verdict::Kept)
}

/// Feature 54: what is stale at once is stored only where it can be confirmed, and confirmed before each use.
pub(super) async fn session_what_is_stale_at_once_is_confirmed_each_time(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.expire_after(ExpireAfter::AT_ONCE)).await?;
    case.serve("/plain", &[]);
    case.origin.on("/tagged", |request: &Recorded| match request.header("if-none-match") {
        Some("\"v1\"") => Answer::not_modified(),
        _ => Answer::ok("/tagged").etag("\"v1\""),
    });
    for expected in [Decided::Miss, Decided::Revalidated, Decided::Revalidated] {
        ensure_eq!(case.ask(case.get("/tagged")).await?, (expected, "/tagged".to_owned()), "what became of a request");
        ensure!(!case.hits("/plain").await?, "what cannot be confirmed is served");
    }
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 1, "entries that are stored");
    Ok(Verdict::Kept)
}

/// Features 9 and 55: a lifetime that a rule or a request forces counts before the headers, and only there.
pub(super) async fn session_a_forced_lifetime_overrides_the_headers(harness: &dyn CacheHarness) -> Outcome {
    let rule = UrlRule::glob("*/rule").expire_after(MINUTE).force_ttl(true);
    let case = Case::with(harness, |builder| builder.rule(rule)).await?;
    for path in ["/rule", "/request", "/plain"] {
        case.serve(path, &[("cache-control", "no-store, max-age=5")]);
    }
    let request = |path: &str| match path {
        "/request" => case.get(path).expire_after(MINUTE).force_ttl(true),
        _ => case.get(path),
    };
    for (path, is_forced) in [("/rule", true), ("/request", true), ("/plain", false)] {
        case.answers(request(path), path).await?;
        ensure_eq!(case.answers(case.get(path), path).await?, is_forced, "whether {path} is stored");
    }
    harness.clock().advance(MINUTE);
    for path in ["/rule", "/request"] {
        ensure!(!case.answers(request(path), path).await?, "{path} lives longer than it was forced to");
    }
    Ok(Verdict::Kept)
}

/// Feature 57: what headers say is kept within bounds, at which the answer is over.
pub(super) async fn session_lifetimes_of_headers_are_kept_within_bounds(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.min_ttl(MINUTE).max_ttl(MINUTE.saturating_mul(10))).await?;
    case.serve("/short", &[("cache-control", "max-age=1")]);
    case.serve("/long", &[("cache-control", "max-age=86400")]);
    for path in ["/short", "/long"] {
        case.hits(path).await?;
    }
    for (seconds, fresh, is_hit) in [(59, 2, true), (1, 1, true), (539, 1, true), (1, 0, false)] {
        harness.clock().advance(Duration::from_secs(seconds));
        ensure_eq!(case.session.cache().count(Filter::new().fresh()).await?, fresh, "answers that are not over");
        ensure_eq!(case.hits("/long").await?, is_hit, "whether /long is answered from the cache");
    }
    ensure!(!case.hits("/short").await?, "/short lives longer than the bound");
    Ok(Verdict::Kept)
}

/// Feature 58: what is used stays, what is not used goes, and what headers say is not lengthened.
pub(super) async fn session_use_renews_a_sliding_lifetime(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.expire_after(MINUTE).sliding(Duration::from_secs(10))).await?;
    case.serve("/used", &[]);
    case.serve("/unused", &[]);
    case.serve("/said", &[("cache-control", "max-age=60")]);
    for path in ["/used", "/unused", "/said"] {
        case.hits(path).await?;
    }
    for (path, seconds, is_hit) in
        [("/said", 40, true), ("/used", 0, true), ("/used", 50, true), ("/said", 0, false), ("/used", 50, true)]
    {
        harness.clock().advance(Duration::from_secs(seconds));
        ensure_eq!(case.hits(path).await?, is_hit, "whether {path} is cached {seconds} seconds later");
        // A renewal that is still on its way when what it renews is over comes too late.
        case.flush().await;
    }
    ensure!(!case.hits("/unused").await?, "what was not used was renewed");
    harness.clock().advance(MINUTE);
    ensure!(!case.hits("/used").await?, "what is not used any more is not over");
    Ok(Verdict::Kept)
}

/// Feature 59, case 202: what is stored together is not over together, nor any of it later than without.
pub(super) async fn session_lifetimes_are_spread_where_asked_for(harness: &dyn CacheHarness) -> Outcome {
    const WHOLE: Duration = Duration::from_secs(1000);
    const HALF: Duration = Duration::from_secs(500);
    let case = Case::with(harness, |builder| builder.expire_after(WHOLE).ttl_jitter(0.5)).await?;
    let mut lifetimes = Vec::new();
    for number in 0..8 {
        let path = format!("/{number}");
        case.serve(&path, &[]);
        let response = case.send(case.get(&path)).await?;
        let lasts = lifetime(&response).unwrap_or(Duration::MAX);
        response.bytes().await?;
        ensure!((HALF..=WHOLE).contains(&lasts), "a lifetime of {WHOLE:?} became {lasts:?}");
        lifetimes.push((lasts, path));
    }
    lifetimes.sort();
    let (Some((first, soonest)), Some((last, latest))) = (lifetimes.first(), lifetimes.last()) else {
        return Ok(Verdict::Kept);
    };
    ensure!(first < last, "all lifetimes are {first:?}");
    harness.clock().advance(first.saturating_sub(Duration::from_millis(1)));
    ensure!(case.hits(soonest).await?, "an answer is over before its lifetime is");
    harness.clock().advance(Duration::from_millis(1));
    ensure!(case.hits(latest).await?, "all that was stored together is over together");
    ensure!(!case.hits(soonest).await?, "an answer is served after its lifetime");
    Ok(Verdict::Kept)
}

/// Features 60 and 62: a status that is allowed is stored like any answer, one with a lifetime of its own for so long,
/// any other not at all.
pub(super) async fn session_errors_are_kept_for_as_long_as_their_status_says(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| {
        builder.allowed_codes([StatusCode::OK, StatusCode::GONE]).expire_status_after(StatusCode::NOT_FOUND, MINUTE)
    })
    .await?;
    for (code, path) in [(404, "/missing"), (410, "/gone"), (403, "/forbidden")] {
        case.origin.on(path, Answer::status(code).body(path));
        ensure!(!case.hits(path).await?, "{path} is cached before it was asked for");
    }
    harness.clock().advance(Duration::from_millis(59_999));
    let again = case.send(case.get("/missing")).await?;
    ensure!(again.from_cache() && again.status() == StatusCode::NOT_FOUND, "a 404 is not kept for its time");
    ensure!(case.hits("/gone").await?, "a status that is allowed is not stored");
    ensure!(!case.hits("/forbidden").await?, "a status that is not allowed is stored");
    harness.clock().advance(Duration::from_millis(1));
    ensure!(!case.hits("/missing").await?, "a 404 is kept for longer than its time");
    ensure!(case.hits("/gone").await?, "a status without a lifetime of its own has one");
    Ok(Verdict::Kept)
}

/// Feature 68: a body over the limit is read like any other and not stored, whether or not its length was announced.
pub(super) async fn session_a_body_over_the_limit_is_not_stored(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.max_body_len(5)).await?;
    case.origin.on("/fits", Answer::ok("12345"));
    case.origin.on("/announced", Answer::ok("123456"));
    case.origin.on("/chunked", Answer::ok("").chunk("123").chunk("456").chunked());
    for (path, body, is_stored) in
        [("/fits", "12345", true), ("/announced", "123456", false), ("/chunked", "123456", false)]
    {
        ensure!(!case.answers(case.get(path), body).await?, "{path} is cached before it was asked for");
        ensure_eq!(case.answers(case.get(path), body).await?, is_stored, "whether {path} is stored");
    }
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 1, "entries that are stored");
    Ok(Verdict::Kept)
}

/// Feature 69: what is stored, variants too, is given another lifetime, and lasts so long.
pub(super) async fn session_what_is_stored_may_be_given_another_lifetime(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    for (path, vary) in [("/a", ""), ("/b", ""), ("/varies", "accept")] {
        case.serve(path, &[("cache-control", "max-age=60"), ("vary", vary)]);
        case.hits(path).await?;
    }
    harness.clock().advance(Duration::from_secs(30));
    let cache = case.session.cache();
    let only = |path: &str| Filter::new().url(case.origin.url(path));
    ensure_eq!(
        cache.reset_expiration(Filter::new(), MINUTE.saturating_mul(10)).await?,
        3,
        "responses that were changed"
    );
    harness.clock().advance(Duration::from_secs(599));
    for path in ["/a", "/b", "/varies"] {
        ensure!(case.hits(path).await?, "{path} is over before its new lifetime is");
    }
    ensure_eq!(cache.reset_expiration(only("/a"), ExpireAfter::DoNotStore).await?, 1, "responses that were removed");
    ensure_eq!(cache.reset_expiration(only("/varies"), ExpireAfter::Never).await?, 1, "responses that are for ever");
    ensure!(!cache.has_url(&case.origin.url("/a")).await?, "what is not to be stored any more is there");
    harness.clock().advance(Duration::from_secs(1));
    ensure!(!case.hits("/b").await?, "/b lives longer than its new lifetime");
    harness.clock().advance(Duration::from_secs(1 << 30));
    ensure!(case.hits("/varies").await?, "what is for ever is over");
    Ok(Verdict::Kept)
}
