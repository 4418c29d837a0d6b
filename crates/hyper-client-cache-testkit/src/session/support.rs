//! A session over the cache under test, and what the tests ask it again and again.

use std::sync::Arc;
use std::time::Duration;

use super::CachedSession;
use crate::contract::{CacheHarness, Violation};
use crate::core::cache::Cache;
use crate::core::policy::Outcome;
use crate::core::session::{RequestBuilder, Response, SessionBuilder};
use crate::origin::{Answer, Origin};

/// A session over an empty cache, the cache, and an origin.
pub(super) struct Case {
    pub(super) session: CachedSession,
    pub(super) cache: Arc<dyn Cache>,
    pub(super) origin: Origin,
}

impl Case {
    pub(super) async fn new(harness: &dyn CacheHarness) -> Result<Self, Violation> {
        Self::with(harness, |builder| builder).await
    }

    pub(super) async fn with(
        harness: &dyn CacheHarness,
        configure: impl FnOnce(SessionBuilder) -> SessionBuilder,
    ) -> Result<Self, Violation> {
        let cache = harness.open().await;
        let session = harness.session(configure(plain(harness, &cache))).build()?;
        Ok(Self { session, cache, origin: Origin::scripted().await })
    }

    /// Lets the origin answer this path with these header lines.
    pub(super) fn serve(&self, path: &str, headers: &[(&str, &str)]) {
        let answer =
            headers.iter().fold(Answer::ok(path.to_owned()), |answer, (name, value)| answer.header(name, value));
        self.origin.on(path, answer);
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.session.get(self.origin.url(path))
    }

    /// Asks for a path, and says whether the answer, whose body must be the path, came from the cache.
    pub(super) async fn hits(&self, path: &str) -> Result<bool, Violation> {
        self.answers(self.get(path), path).await
    }

    /// Sends when the store has all that it was given, so that it is the store that is asked and not what waits for it;
    /// reads the body, which must be `body`, and says whether it came from the cache.
    pub(super) async fn answers(&self, request: RequestBuilder, body: &str) -> Result<bool, Violation> {
        self.flush().await;
        hits(request, body).await
    }

    /// The same for a request whose body may be anything: says what the cache did, and what the body was.
    pub(super) async fn ask(&self, request: RequestBuilder) -> Result<(Outcome, String), Violation> {
        let response = self.send(request).await?;
        let decided = response.cache_info().map(|info| info.outcome);
        let decided = decided.ok_or_else(|| Violation::new("a response does not say what the cache did"))?;
        Ok((decided, response.text().await?))
    }

    /// Sends when the store has all that it was given.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Violation> {
        self.flush().await;
        Ok(request.send().await?)
    }

    /// Waits until nothing is on its way to the store any more.
    pub(super) async fn flush(&self) {
        self.session.layer().flush().await;
    }

    /// Waits until nothing is asked of the origin any more either.
    pub(super) async fn quiet(&self) {
        // What never ends fails the test by its time.
        while self.session.layer().in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.flush().await;
    }
}

/// Sends at once, reads the body, which must be `body`, and says whether it came from the cache.
pub(super) async fn hits(request: RequestBuilder, body: &str) -> Result<bool, Violation> {
    let response = request.send().await?;
    let from_cache = response.from_cache();
    let text = response.text().await?;
    if text == body { Ok(from_cache) } else { Err(Violation::new(format!("the body is {text:?}, not {body:?}"))) }
}

/// For how long a response says that it is good; `None`: for ever.
pub(super) fn lifetime(response: &Response) -> Option<Duration> {
    response.expires()?.duration_since(response.created_at()?).ok()
}

/// Options of another session over `cache`, which it shares.
pub(super) fn builder(harness: &dyn CacheHarness, cache: &Arc<dyn Cache>) -> SessionBuilder {
    harness.session(plain(harness, cache))
}

fn plain(harness: &dyn CacheHarness, cache: &Arc<dyn Cache>) -> SessionBuilder {
    let builder = CachedSession::builder().shared_cache(cache.clone()).clock(Arc::new(harness.clock()));
    builder.timeout(Duration::from_secs(30))
}
