//! The session over a real loopback origin: what a user sees.

mod asking;
mod basics;
mod bodies;
mod bombs;
mod cancel;
mod client;
mod coalescing;
mod connections;
mod cookies;
mod credentials;
mod directives;
mod encodings;
mod explain;
mod explained;
mod filters;
mod finishing;
mod freshness;
mod head;
mod herds;
mod hygiene;
mod invalidate;
mod keys;
mod large;
mod ledger;
mod lifetimes;
mod limits;
mod looking;
mod matching;
mod modes;
mod no_vary_search;
mod post;
mod promises;
mod proxies;
mod purge;
mod redirects;
mod rekey;
mod revalidate;
mod rules;
mod schedule;
mod secrets;
mod seen;
mod service;
mod settings;
mod socks;
mod stale;
mod trust;
mod vary;
mod yielding;

use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::StorageCache;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::session::{Response, SessionBuilder};
use hyper_client_cache_core::storage::MemoryStorage;
use hyper_client_cache_testkit::origin::PatternChecker;
use hyper_client_cache_testkit::{Faults, FaultyStorage, ManualClock};

use self::seen::{entries, get, is_stored, see, with_settings};

/// A session in memory whose clock the test moves.
fn session() -> (CachedSession, ManualClock) {
    let clock = ManualClock::new();
    (builder(&clock).build().unwrap(), clock)
}

fn builder(clock: &ManualClock) -> SessionBuilder {
    CachedSession::builder().clock(Arc::new(clock.clone())).timeout(Duration::from_secs(30))
}

fn outcome(response: &Response) -> Outcome {
    response.cache_info().unwrap().outcome
}

async fn text(session: &CachedSession, url: &str) -> (Outcome, String) {
    let response = session.get(url).send().await.unwrap();
    (outcome(&response), response.text().await.unwrap())
}

/// Waits until `check` holds; a test that would wait for ever fails instead.
async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

/// A cache whose stores for responses and for parts do as the test says.
fn faulty(clock: &ManualClock) -> (StorageCache, Faults, Faults) {
    let memory = || MemoryStorage::builder().clock(Arc::new(clock.clone())).build().unwrap();
    let (responses, bodies) = (FaultyStorage::new(memory()), FaultyStorage::new(memory()));
    let (of_responses, of_bodies) = (responses.faults(), bodies.faults());
    (StorageCache::new(responses, memory()).with_bodies(bodies), of_responses, of_bodies)
}

/// Reads a body of the pattern to its end, and says how long it was; `None` where it ends in an error.
async fn pattern_len(mut response: Response) -> Option<u64> {
    let mut checker = PatternChecker::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => assert!(checker.update(&bytes), "wrong bytes after {}", checker.len()),
            Ok(None) => return Some(checker.len()),
            Err(_) => return None,
        }
    }
}

/// Checks that nothing is under way, and that the stores hold this many responses and parts of bodies.
async fn settled(session: &CachedSession, responses: u64, parts: u64) {
    eventually("no flight", || session.layer().in_flight() == 0).await;
    flushed(session).await;
    assert_eq!(session.cache().responses().size().await.unwrap(), responses, "responses");
    assert_eq!(session.cache().bodies().unwrap().size().await.unwrap(), parts, "parts");
}

async fn flushed(session: &CachedSession) {
    tokio::time::timeout(Duration::from_secs(60), session.layer().flush()).await.expect("the store is quiet");
}
