//! The session over a real loopback origin: what a user sees.

mod basics;
mod bodies;
mod cancel;
mod coalescing;
mod credentials;
mod explained;
mod herds;
mod http;
mod hygiene;
mod invalidate;
mod keys;
mod large;
mod ledger;
mod revalidate;
mod schedule;
mod seen;
mod service;
mod stale;
mod vary;
mod yielding;

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use futures_util::StreamExt;
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{Cache, StorageCache};
use hyper_client_cache_core::policy::{CacheInfo, Outcome, Reason, Settings, Storing};
use hyper_client_cache_core::session::{RequestBuilder, Response, SessionBuilder};
use hyper_client_cache_core::storage::{CacheKey, Entry, MemoryStorage};
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
    for _ in 0..2000 {
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
    tokio::time::timeout(Duration::from_secs(10), session.layer().flush()).await.expect("the store is quiet");
}

/// A session in memory with these settings.
fn with_settings(settings: Settings) -> (CachedSession, ManualClock) {
    let clock = ManualClock::new();
    (builder(&clock).settings(settings).build().unwrap(), clock)
}

/// A response, read to its end.
struct Seen {
    info: CacheInfo,
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Seen {
    fn outcome(&self) -> Outcome {
        self.info.outcome
    }

    fn reason(&self) -> Reason {
        self.info.reason
    }

    fn storing(&self) -> Storing {
        self.info.storing
    }

    /// All lines of a field, in order.
    fn lines(&self, name: &str) -> Vec<&[u8]> {
        self.headers.get_all(name).iter().map(|value| value.as_bytes()).collect()
    }
}

async fn see(request: RequestBuilder) -> Seen {
    let response = request.send().await.unwrap();
    let (info, status) = (response.cache_info().unwrap().clone(), response.status().as_u16());
    let headers = response.headers().clone();
    Seen { info, status, headers, text: response.text().await.unwrap() }
}

/// A GET with these header lines.
async fn get(session: &CachedSession, url: &str, headers: &[(&str, &str)]) -> Seen {
    let request = headers.iter().fold(session.get(url), |request, (name, value)| request.header(*name, *value));
    see(request).await
}

/// Whether a second GET is answered without the origin.
async fn is_stored(session: &CachedSession, url: &str) -> bool {
    get(session, url, &[]).await;
    get(session, url, &[]).await.outcome() == Outcome::Hit
}

/// Everything that lies in the storages of a cache.
async fn entries(cache: &dyn Cache) -> Vec<(CacheKey, Entry)> {
    let mut all = Vec::new();
    for storage in [Some(cache.responses()), Some(cache.redirects()), cache.bodies()].into_iter().flatten() {
        let mut entries = storage.entries();
        while let Some(entry) = entries.next().await {
            all.push(entry.unwrap());
        }
    }
    all
}
