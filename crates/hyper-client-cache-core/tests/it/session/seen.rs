//! What the tests of HTTP's rules share: a response read to its end, and everything that lies in a cache.

use futures_util::StreamExt;
use http::HeaderMap;
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::policy::{CacheInfo, Outcome, Reason, Settings, Storing};
use hyper_client_cache_core::session::RequestBuilder;
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_testkit::ManualClock;

use super::builder;

/// A session in memory with these settings.
pub(super) fn with_settings(settings: Settings) -> (CachedSession, ManualClock) {
    let clock = ManualClock::new();
    (builder(&clock).settings(settings).build().unwrap(), clock)
}

/// A response, read to its end.
pub(super) struct Seen {
    pub(super) info: CacheInfo,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Seen {
    pub(super) fn outcome(&self) -> Outcome {
        self.info.outcome
    }

    pub(super) fn reason(&self) -> Reason {
        self.info.reason
    }

    pub(super) fn storing(&self) -> Storing {
        self.info.storing
    }

    /// All lines of a field, in order.
    pub(super) fn lines(&self, name: &str) -> Vec<&[u8]> {
        self.headers.get_all(name).iter().map(|value| value.as_bytes()).collect()
    }
}

pub(super) async fn see(request: RequestBuilder) -> Seen {
    let response = request.send().await.unwrap();
    let (info, status) = (response.cache_info().unwrap().clone(), response.status().as_u16());
    let headers = response.headers().clone();
    Seen { info, status, headers, text: response.text().await.unwrap() }
}

/// A GET with these header lines.
pub(super) async fn get(session: &CachedSession, url: &str, headers: &[(&str, &str)]) -> Seen {
    let request = headers.iter().fold(session.get(url), |request, (name, value)| request.header(*name, *value));
    see(request).await
}

/// Whether a second GET is answered without the origin.
pub(super) async fn is_stored(session: &CachedSession, url: &str) -> bool {
    get(session, url, &[]).await;
    get(session, url, &[]).await.outcome() == Outcome::Hit
}

/// Everything that lies in the storages of a cache.
pub(super) async fn entries(cache: &dyn Cache) -> Vec<(CacheKey, Entry)> {
    let mut all = Vec::new();
    for storage in [Some(cache.responses()), Some(cache.redirects()), cache.bodies()].into_iter().flatten() {
        let mut entries = storage.entries();
        while let Some(entry) = entries.next().await {
            all.push(entry.unwrap());
        }
    }
    all
}
