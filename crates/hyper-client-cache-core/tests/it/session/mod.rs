//! The session over a real loopback origin: what a user sees.

mod basics;
mod bodies;
mod coalescing;
mod http;

use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::session::{Response, SessionBuilder};
use hyper_client_cache_testkit::ManualClock;

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
    for _ in 0..2000 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}
