//! The session over a real loopback origin: what a user sees.

mod basics;
mod bodies;
mod coalescing;
mod credentials;
mod explained;
mod http;
mod hygiene;
mod invalidate;
mod keys;
mod revalidate;
mod stale;
mod vary;

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use futures_util::StreamExt;
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::policy::{CacheInfo, Outcome, Reason, Settings, Storing};
use hyper_client_cache_core::session::{RequestBuilder, Response, SessionBuilder};
use hyper_client_cache_core::storage::{CacheKey, Entry};
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
