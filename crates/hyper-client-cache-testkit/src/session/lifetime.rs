//! How long an answer is good for, where nobody but the settings says so.

use std::time::Duration;

use http::StatusCode;

use super::support::Case;
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::policy::ExpireAfter;

/// Seed lines 22, 64 and 76: at once a hit, after its time none; and the session's own where a request says nothing.
pub(super) async fn session_a_request_may_say_how_long(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.expire_after(Duration::from_secs(100))).await?;
    for (path, expire_after, lives) in [("/own", Some(1), 999), ("/sessions", None, 99_999)] {
        case.serve(path, &[]);
        let request = || match expire_after {
            Some(seconds) => case.get(path).expire_after(Duration::from_secs(seconds)),
            None => case.get(path),
        };
        ensure!(!case.answers(request(), path).await?, "{path} is cached before it was asked for");
        harness.clock().advance(Duration::from_millis(lives));
        ensure!(case.answers(request(), path).await?, "{path} does not live for its time");
        harness.clock().advance(Duration::from_millis(1));
        ensure!(!case.answers(request(), path).await?, "{path} lives longer than its time");
    }
    let sent = case.origin.requests();
    let leaked =
        sent.iter().any(|request| request.header("cache-control").is_some() || request.header("expires").is_some());
    ensure!(!leaked, "an option of the cache reached the origin");
    Ok(Verdict::Kept)
}

/// Seed line 29: no lifetime is for ever.
pub(super) async fn session_nothing_said_is_kept_until_deleted(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[]);
    case.hits("/one").await?;
    harness.clock().advance(Duration::from_secs(10 * 365 * 24 * 3600));
    ensure!(case.hits("/one").await?, "an answer without any lifetime expired");
    ensure_eq!(case.send(case.get("/one")).await?.expires(), None, "when it expires");
    Ok(Verdict::Kept)
}

/// Seed lines 17 and 85.
pub(super) async fn session_what_is_not_to_be_stored_is_not(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[]);
    case.origin.on("/error", crate::origin::Answer::status(500).body("/error"));
    for _ in 0..2 {
        ensure!(!case.answers(case.get("/one").expire_after(ExpireAfter::DoNotStore), "/one").await?, "/one is cached");
        ensure!(!case.hits("/error").await?, "an error is cached");
    }
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 0, "entries that are stored");
    ensure!(!case.hits("/one").await? && case.hits("/one").await?, "a later plain request is not cached as usual");
    Ok(Verdict::Kept)
}

/// Seed lines 12 and 77: of the expired nothing is left, of the others everything.
pub(super) async fn session_the_expired_are_removed_and_the_others_kept(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    for number in 0..14 {
        let path = format!("/{number}");
        case.serve(&path, &[]);
        let expire_after = if number < 12 { ExpireAfter::After(Duration::from_secs(1)) } else { ExpireAfter::Never };
        case.answers(case.get(&path).expire_after(expire_after), &path).await?;
    }
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 14, "entries that are stored");
    harness.clock().advance(Duration::from_secs(1));
    // What is over is not there, removed or not.
    ensure_eq!(case.session.cache().size().await?, 2, "entries that are not over");
    ensure_eq!(case.session.cache().delete_expired().await?, 12, "entries that were removed");
    ensure_eq!(case.session.cache().size().await?, 2, "entries that are left");
    for number in 0..14 {
        let url = case.origin.url(&format!("/{number}"));
        ensure_eq!(case.session.cache().has_url(&url).await?, number >= 12, "whether /{number} is there");
    }
    Ok(Verdict::Kept)
}

/// Seed lines 27 and 92: nothing is read and nothing changes, of this session alone, and only as long as the guard lives.
pub(super) async fn session_a_disabled_session_neither_reads_nor_writes(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let other = super::support::builder(harness, &case.cache).build()?;
    case.serve("/stored", &[]);
    case.serve("/new", &[]);
    case.hits("/stored").await?;
    case.flush().await;
    {
        let _disabled = case.session.disabled();
        ensure!(!case.hits("/stored").await? && !case.hits("/new").await?, "a disabled session reads its cache");
        ensure!(
            case.answers(other.get(case.origin.url("/stored")), "/stored").await?,
            "another session is disabled as well"
        );
        case.flush().await;
        ensure_eq!(case.session.cache().size().await?, 1, "entries after a disabled session's requests");
    }
    ensure!(case.hits("/stored").await?, "the session is disabled after the guard is gone");
    Ok(Verdict::Kept)
}

/// Case 243 and feature 12: no socket is opened.
pub(super) async fn session_offline_answers_what_is_stored_or_504(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[("cache-control", "max-age=1"), ("etag", "\"v1\"")]);
    case.serve("/two", &[]);
    case.hits("/one").await?;
    harness.clock().advance(Duration::from_secs(10));
    case.session.offline(true);
    ensure!(case.hits("/one").await?, "what is stored is not served offline");
    ensure_eq!(
        case.send(case.get("/two")).await?.status(),
        StatusCode::GATEWAY_TIMEOUT,
        "the status of what is not stored"
    );
    ensure_eq!(case.origin.count(), 1, "requests that reached the origin");
    case.session.offline(false);
    ensure!(!case.hits("/two").await?, "the session stays offline");
    Ok(Verdict::Kept)
}
