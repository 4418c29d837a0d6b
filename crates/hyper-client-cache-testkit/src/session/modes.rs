//! How a request, a rule or a session uses the cache: modes, reading only, settings that change.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use http::StatusCode;

use super::support::{Case, builder, lifetime};
use crate::contract::{CacheHarness, Outcome, Verdict, Violation, ensure, ensure_eq};
use crate::core::cache::Cache;
use crate::core::policy::{Mode, Outcome as Decided, UrlRule};
use crate::core::session::RequestBuilder;
use crate::core::storage::{CacheKey, Entry};
use crate::origin::{Answer, Recorded};

/// Features 11, 12 and 14: what each mode does about what is not there, what is fresh and what is stale, and what of it
/// is stored.
pub(super) async fn session_each_mode_reads_and_stores_what_it_says(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    for (mode, missing, is_stored, fresh, stale) in [
        (Mode::Default, Decided::Miss, true, Decided::Hit, Decided::Revalidated),
        (Mode::NoStore, Decided::Bypass, false, Decided::Bypass, Decided::Bypass),
        (Mode::Reload, Decided::Miss, true, Decided::Miss, Decided::Miss),
        (Mode::NoCache, Decided::Miss, true, Decided::Revalidated, Decided::Revalidated),
        (Mode::ForceCache, Decided::Miss, true, Decided::Hit, Decided::Stale),
        (Mode::OnlyIfCached, Decided::Offline, false, Decided::Hit, Decided::Offline),
        (Mode::ReadOnly, Decided::Miss, false, Decided::Hit, Decided::Revalidated),
    ] {
        let path = format!("/{mode:?}");
        case.origin.on(&path, confirming);
        let url = case.origin.url(&path);
        let decided = async || case.ask(case.get(&path).mode(mode)).await.map(|(decided, _)| decided);
        ensure_eq!(decided().await?, missing, "what {mode:?} does about what is not there");
        case.flush().await;
        ensure_eq!(case.session.cache().has_url(&url).await?, is_stored, "whether {mode:?} stores what comes");
        case.answers(case.get(&path), "body").await?;
        ensure_eq!(decided().await?, fresh, "what {mode:?} does about what is fresh");
        harness.clock().advance(Duration::from_secs(61));
        ensure_eq!(decided().await?, stale, "what {mode:?} does about what is stale");
    }
    Ok(Verdict::Kept)
}

/// Features 11 and 14: the request's own mode before the rule's, that before the session's.
pub(super) async fn session_the_nearest_mode_counts(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| {
        builder.mode(Mode::OnlyIfCached).rule(UrlRule::glob("*/rule").mode(Mode::Reload))
    })
    .await?;
    for path in ["/session", "/rule"] {
        case.origin.on(path, confirming);
    }
    let status = case.send(case.get("/session")).await?.status();
    ensure_eq!(status, StatusCode::GATEWAY_TIMEOUT, "the status by the mode of the session");
    for _ in 0..2 {
        ensure!(!case.answers(case.get("/rule"), "body").await?, "the mode of the rule does not count");
    }
    ensure!(
        case.answers(case.get("/rule").mode(Mode::Default), "body").await?,
        "the request's own mode does not count"
    );
    ensure_eq!(case.origin.count(), 2, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Feature 13, case 242: whatever a session that only reads is answered with, not a byte of the store changes.
pub(super) async fn session_reading_only_changes_nothing(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let reader = builder(harness, &case.cache).mode(Mode::ReadOnly).build()?;
    for path in ["/confirmed", "/replaced", "/forbidden", "/gone"] {
        case.origin.on(path, confirming);
        case.answers(case.get(path), "body").await?;
    }
    case.flush().await;
    let before = stored(&*case.cache).await?;
    ensure_eq!(before.len(), 4, "entries that are stored");
    harness.clock().advance(Duration::from_secs(61));
    case.origin.on("/replaced", Answer::ok("new").header("cache-control", "max-age=60"));
    case.origin.on("/forbidden", |request: &Recorded| {
        let is_known = request.header("if-none-match").is_some();
        let answer = if is_known { Answer::not_modified() } else { Answer::ok("new") };
        answer.header("cache-control", "no-store")
    });
    case.origin.on("/gone", Answer::status(410));
    for path in ["/confirmed", "/replaced", "/forbidden", "/gone", "/new"] {
        let url = case.origin.url(path);
        for request in [reader.get(&url), reader.get(&url).refresh(), reader.post(&url), reader.head(&url)] {
            case.ask(request).await?;
        }
    }
    ensure!(
        case.answers(reader.get(case.origin.url("/confirmed")), "body").await?,
        "a session that only reads reads nothing"
    );
    reader.layer().flush().await;
    ensure!(stored(&*case.cache).await? == before, "what is stored has changed");
    Ok(Verdict::Kept)
}

/// Feature 113: also what is fresh is confirmed by the origin first, where the settings say so.
pub(super) async fn session_what_is_fresh_is_revalidated_where_asked_for(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.always_revalidate(true)).await?;
    case.origin.on("/one", confirming);
    for expected in [Decided::Miss, Decided::Revalidated, Decided::Revalidated] {
        ensure_eq!(case.ask(case.get("/one")).await?, (expected, "body".to_owned()), "what became of a request");
    }
    let forced = case.ask(case.get("/one").mode(Mode::ForceCache)).await?.0;
    ensure_eq!(forced, Decided::Hit, "what became of one that wants what is stored");
    Ok(Verdict::Kept)
}

/// Feature 15: what is changed holds from the next request on, for this session alone, and an impossible change for none.
pub(super) async fn session_settings_change_for_the_next_request(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let other = builder(harness, &case.cache).build()?;
    case.serve("/one", &[]);
    let lasts = async |request: RequestBuilder| -> Result<Option<Duration>, Violation> {
        let response = case.send(request.reload()).await?;
        let lasts = lifetime(&response);
        response.bytes().await?;
        Ok(lasts)
    };
    ensure_eq!(lasts(case.get("/one")).await?, None, "the lifetime before the change");
    case.session.update_settings(|settings| settings.expire_after(Duration::from_secs(60)))?;
    ensure_eq!(lasts(case.get("/one")).await?, Some(Duration::from_secs(60)), "the lifetime after it");
    let refused = case.session.update_settings(|settings| settings.expire_after(Duration::ZERO).max_variants(0));
    ensure!(refused.is_err(), "an impossible change is made");
    ensure_eq!(lasts(case.get("/one")).await?, Some(Duration::from_secs(60)), "the lifetime after a refused change");
    harness.clock().advance(Duration::from_secs(60));
    ensure!(!case.hits("/one").await?, "what was stored under the new settings does not expire");
    ensure_eq!(lasts(other.get(case.origin.url("/one"))).await?, None, "the lifetime in another session");
    Ok(Verdict::Kept)
}

/// An origin's answer that is fresh for a minute, and a 304 to who has it already.
fn confirming(request: &Recorded) -> Answer {
    let answer = match request.header("if-none-match") {
        Some("\"v1\"") => Answer::not_modified(),
        _ => Answer::ok("body"),
    };
    answer.etag("\"v1\"").header("cache-control", "max-age=60")
}

/// Every response that is stored, byte by byte.
async fn stored(cache: &dyn Cache) -> Result<BTreeMap<CacheKey, Entry>, Violation> {
    Ok(cache.responses().entries().try_collect().await?)
}
