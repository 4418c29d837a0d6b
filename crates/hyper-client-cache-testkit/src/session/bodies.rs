//! Bodies: empty, large, not stored, cut short.

use std::time::Duration;

use super::support::Case;
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::policy::ExpireAfter;
use crate::core::session::Response;
use crate::origin::{Answer, PatternChecker, pattern};

/// Seed lines 50, 51 and 56, case 181.
pub(super) async fn session_an_empty_body_is_a_body(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/empty", Answer::ok(""));
    for round in 0..2 {
        let response = case.send(case.get("/empty")).await?;
        ensure_eq!(response.from_cache(), round == 1, "whether the answer is cached in round {round}");
        ensure_eq!(response.bytes().await?.len(), 0, "the length in round {round}");
    }
    Ok(Verdict::Kept)
}

/// Seed line 80, case 188: over the inline limit, in parts, read chunk by chunk, twice.
///
/// The origin is in no hurry, and in less at each try: a body that comes faster than its store takes it is handed on
/// and not stored.
pub(super) async fn session_a_large_body_streams_twice(harness: &dyn CacheHarness) -> Outcome {
    const PART: usize = 256 * 1024;
    const LEN: u64 = 2 * 1024 * 1024 + 7;
    const TRIES: u32 = 6;
    let case = Case::new(harness).await?;
    if case.cache.bodies().is_none() {
        return Ok(Verdict::skipped("the cache keeps no parts of bodies"));
    }
    let url = case.origin.url("/large");
    let mut body = Vec::new();
    while (body.len() as u64) < LEN {
        let len = body.len() as u64;
        body.extend_from_slice(&pattern(len, LEN.saturating_sub(len)));
    }
    for hurry in 0..TRIES {
        let pause = Duration::from_millis(20).saturating_mul(1 << hurry);
        let answer = Answer::status(200).header("cache-control", "max-age=600");
        case.origin
            .on("/large", body.chunks(PART).fold(answer, |answer, part| answer.chunk(part.to_vec()).pause(pause)));
        ensure_eq!(pattern_len(case.send(case.get("/large")).await?).await, Some(LEN), "the length from the origin");
        case.flush().await;
        if case.session.cache().has_url(&url).await? {
            break;
        }
    }
    let fetched = case.origin.count();
    for round in 1..=2 {
        let response = case.send(case.get("/large")).await?;
        ensure!(response.from_cache(), "the body is not cached when it is asked for the {round}. time");
        ensure_eq!(pattern_len(response).await, Some(LEN), "the length in round {round}");
    }
    ensure_eq!(case.origin.count(), fetched, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Seed line 81.
pub(super) async fn session_a_body_that_is_not_stored_is_read_all_the_same(harness: &dyn CacheHarness) -> Outcome {
    const LEN: u64 = 1024 * 1024;
    let case = Case::new(harness).await?;
    case.origin.on("/large", Answer::pattern(LEN));
    let response = case.send(case.get("/large").expire_after(ExpireAfter::DoNotStore)).await?;
    ensure_eq!(pattern_len(response).await, Some(LEN), "the length");
    case.flush().await;
    ensure_eq!(case.session.cache().size().await?, 0, "entries that are stored");
    Ok(Verdict::Kept)
}

/// Cases 169 and 170: the caller sees an error, and nothing is stored.
pub(super) async fn session_a_body_cut_short_is_never_stored(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let long = || Answer::pattern(1000).header("cache-control", "max-age=600");
    case.origin.on("/length", long().cut_after(999));
    case.origin.on("/chunked", long().chunked().without_final_chunk());
    for path in ["/length", "/chunked"] {
        let response = case.send(case.get(path).timeout(Duration::from_secs(10))).await?;
        ensure_eq!(pattern_len(response).await, None, "the length of {path}, whose end is missing");
        case.flush().await;
        ensure!(!case.session.cache().has_url(&case.origin.url(path)).await?, "{path} is stored without its end");
    }
    Ok(Verdict::Kept)
}

/// Reads a body of the pattern to its end, and says how long it was; `None` where it ends in an error or is wrong.
async fn pattern_len(mut response: Response) -> Option<u64> {
    let mut checker = PatternChecker::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) if checker.update(&bytes) => {}
            Ok(None) => return Some(checker.len()),
            Ok(Some(_)) | Err(_) => return None,
        }
    }
}
