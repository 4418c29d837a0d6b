//! The engine: a cache around any `tower` service that sends HTTP requests.
//!
//! The algorithm reads top to bottom in `service`; each step is in the file of its name:
//! `route` (what is to be done about a request), `explain` (the same for who only asks), `lookup` (what is stored for
//! it), `search` (what is stored for another URL and answers it too), `head` (what a HEAD has to do with a stored GET), `bypass` (past the cache), `exchange` (ask the origin, once for all who ask),
//! `answer` (what becomes of its answer), `flight` (who asks and who waits), `unshared` (where nobody need wait), `stream` and `spool` (a body that is read
//! and stored at once), `deposit` (what is stored in the end), `invalidate` (what an unsafe request removes), `refresh`
//! (revalidation in the background), `backoff` (when a refresh that failed may be tried again), `hosts` (how many
//! requests are with one host at a time), `renew` (another lifetime for what is stored), `rekey` (other keys for it),
//! `purge` (what removes the expired), `body` (what the caller reads), `mend` (what goes on from the origin where the cache cannot),
//! `control` (what may be changed while all that goes on), `replay` (a request's body that can be sent again).
//!
//! ```
//! use std::time::Duration;
//! use hyper_client_cache_core::cache::StorageCache;
//! use hyper_client_cache_core::layer::CacheLayer;
//! use hyper_client_cache_core::policy::Settings;
//! use hyper_client_cache_core::storage::MemoryStorage;
//!
//! # fn main() -> hyper_client_cache_core::Result<()> {
//! let cache = StorageCache::new(MemoryStorage::default(), MemoryStorage::default());
//! let layer = CacheLayer::builder(cache)
//!     .settings(Settings::default().expire_after(Duration::from_secs(60)))
//!     .build()?;
//! // tower::ServiceBuilder::new().layer(layer).service(client)
//! # let _ = layer;
//! # Ok(())
//! # }
//! ```
//!
//! What adds credentials to requests belongs above this layer, where the cache sees them and keeps answers apart by them.
//! Beneath it, one user is given what was fetched for another, unless each has a layer of their own with a
//! [`partition`](crate::key::Matching::partition) of their own.

mod builder;

mod service;

mod route;

mod explain;

mod lookup;

mod search;

mod head;

mod bypass;

mod exchange;

mod answer;

mod flight;

mod unshared;

mod finish;

mod stream;

mod wakers;

mod spool;

mod deposit;

mod invalidate;

mod refresh;

mod backoff;

mod hosts;

mod body;

mod renew;

mod rekey;

mod purge;

mod mend;

mod control;

mod separate;

mod view;

mod stored_for;

mod replay;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use http_body::Body;

use self::backoff::Backoff;
pub use self::body::CacheBody;
#[cfg(feature = "client")]
pub(crate) use self::builder::LayerOptions;
pub use self::builder::{CacheLayerBuilder, OnCacheError};
pub use self::control::Disabled;
pub use self::explain::Explanation;
use self::finish::Finish;
use self::flight::Flights;
use self::hosts::Hosts;
use self::purge::Purge;
use self::refresh::Tasks;
pub use self::rekey::Rekeyed;
pub use self::replay::ReplayBody;
#[cfg(feature = "client")]
pub(crate) use self::separate::CallersCookies;
pub use self::service::CacheService;
pub use self::view::CacheView;
use crate::cache::ledger::Ledger;
use crate::cache::{Cache, CacheStats};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{CacheInfo, Outcome, Settings};

/// The longest body that is kept in the entry itself, in bytes (256 KiB), where the storage does not limit entries to
/// less; a longer one is stored in parts.
pub const INLINE_LIMIT: u64 = 256 * 1024;

/// How long closing waits for what is on its way to the store.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Puts a cache before a service. Cheap to clone; clones and all services made by them share one engine.
///
/// The Tokio runtime in which the services are used must have its timers
/// ([`enable_time`](tokio::runtime::Builder::enable_time)): whoever waits for a store, or for another's answer, does so for
/// a limited time, and Tokio panics where there is no timer for that.
#[derive(Clone, Debug)]
pub struct CacheLayer {
    handle: Arc<Handle>,
}

impl CacheLayer {
    /// The default of [`CacheLayerBuilder::max_refreshes`].
    pub const DEFAULT_MAX_REFRESHES: usize = 32;

    /// Options for a layer on `cache`, at their defaults.
    pub fn builder(cache: impl Cache) -> CacheLayerBuilder {
        Self::builder_shared(Arc::new(cache))
    }

    /// Options for a layer on a cache that others use too.
    pub fn builder_shared(cache: Arc<dyn Cache>) -> CacheLayerBuilder {
        CacheLayerBuilder::new(cache)
    }

    /// What was counted about the cache in this process.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.handle.engine.ledger.stats()
    }

    /// How many exchanges with the origin others could join right now: zero when all is quiet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.handle.engine.flights.len()
    }

    /// What would become of `request` at this moment, and why.
    ///
    /// Nothing is sent, stored, removed, refreshed or counted; the store is read, which it may take for a use, and filters
    /// are asked.
    /// [`RequestSettings`](crate::policy::RequestSettings) are taken from the request's extensions, as when it is sent.
    /// Both take the same way up to the point where the origin would be asked.
    ///
    /// ```
    /// # use hyper_client_cache_core::{cache::MemoryCache, layer::CacheLayer, policy::{Outcome, Reason}};
    /// # use http_body_util::Empty;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let layer = CacheLayer::builder(MemoryCache::default()).build()?;
    /// let request = http::Request::get("https://example.org/").header("range", "bytes=0-9");
    /// let told = layer.explain(&request.body(Empty::<bytes::Bytes>::new())?).await;
    /// assert_eq!((told.outcome, told.reason), (Outcome::Bypass, Reason::Range));
    /// # Ok(())
    /// # }
    /// ```
    pub fn explain<'a, B: Body + 'static>(
        &'a self,
        request: &'a Request<B>,
    ) -> impl Future<Output = Explanation> + Send + use<'a, B> {
        self.handle.engine.explanation(request)
    }

    /// Waits until nothing is on its way to the store.
    pub async fn flush(&self) {
        self.handle.engine.ledger.flush().await;
    }

    /// Ends what goes on in the background and waits until nothing is on its way to the store, at most ten seconds. Does
    /// not close the cache.
    pub async fn close(&self) {
        self.handle.tasks.end().await;
        if let Some(finish) = &self.handle.engine.finish {
            finish.end().await;
        }
        if let Some(purge) = &self.handle.purge {
            purge.end().await;
        }
        if tokio::time::timeout(CLOSE_PATIENCE, self.flush()).await.is_err() {
            tracing::warn!("closed although the store has not taken all that is on its way there");
        }
    }

    /// The cache as this layer sees it.
    #[must_use]
    pub fn cache(&self) -> CacheView {
        CacheView::new(self.handle.engine.clone())
    }

    #[cfg(feature = "client")]
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.handle.engine.clock
    }
}

impl<S> tower_layer::Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> CacheService<S> {
        CacheService::new(inner, self.handle.clone())
    }
}

/// What the services of a layer share. Background tasks hold only the engine, so that they end with the last service.
#[derive(Debug)]
struct Handle {
    engine: Arc<Engine>,
    tasks: Tasks,
    purge: Option<Purge>,
}

impl Handle {
    /// Begins what goes on beside the requests, if it has not begun.
    fn begin(&self) {
        if let Some(purge) = &self.purge {
            purge.begin(&self.engine);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.engine.ledger.flush_before_the_end();
    }
}

#[derive(Debug)]
struct Engine {
    ledger: Arc<Ledger>,
    // A request takes a reference to these when it begins: a few atomic operations and no lock. Copied only by those
    // who change them.
    settings: ArcSwap<Settings>,
    // How many guards keep requests from using the cache.
    disabled: Arc<AtomicUsize>,
    flights: Arc<Flights>,
    clock: Arc<dyn Clock>,
    flight_timeout: Duration,
    inline_limit: u64,
    cache_status: Option<String>,
    on_cache_error: OnCacheError,
    backoff: Backoff,
    hosts: Hosts,
    // Bodies refer to it weakly, so that what is read on ends with the engine.
    finish: Option<Arc<Finish>>,
}

impl Engine {
    /// The error of a request whose store has failed, where its owner wants to know.
    fn may_fail(&self, fault: &Error, what: &'static str) -> Result<()> {
        match self.on_cache_error {
            OnCacheError::Ignore => Ok(()),
            OnCacheError::Fail => Err(Error::new(ErrorKind::Cache, what).with_source(fault.clone())),
        }
    }

    /// Attaches what was decided, for the caller and for [`count`](Self::count).
    fn explain(&self, info: CacheInfo, response: &mut http::Response<CacheBody>) {
        if let Some(name) = &self.cache_status {
            // A service of the user's may have filled the map: then nothing more is said in it.
            let _ = response.headers_mut().try_append("cache-status", info.cache_status(name));
        }
        response.extensions_mut().insert(info);
    }

    /// Counts and logs a request that ended in an error.
    fn count_error(&self, error: &crate::error::Error) {
        self.ledger.counters.errors.add();
        tracing::debug!(kind = ?error.kind(), %error, "no answer");
    }

    /// Counts and logs what was decided about a request: the same value that the caller is given.
    fn count(&self, response: &http::Response<CacheBody>) {
        let Some(info) = response.extensions().get::<CacheInfo>() else { return };
        let counters = &self.ledger.counters;
        match info.outcome {
            Outcome::Hit => &counters.hits,
            Outcome::Revalidated => &counters.revalidated,
            Outcome::Stale => &counters.stale,
            Outcome::Miss => &counters.misses,
            Outcome::Coalesced => &counters.coalesced,
            Outcome::Bypass => &counters.bypassed,
            Outcome::Offline => &counters.offline,
        }
        .add();
        tracing::debug!(
            outcome = info.outcome.as_str(),
            reason = info.reason.as_str(),
            storing = ?info.storing,
            key = info.key.as_ref().map(tracing::field::display),
            age = info.age.map(|age| age.as_secs()),
            ttl = info.ttl,
            status = response.status().as_u16(),
            "cache"
        );
    }
}
