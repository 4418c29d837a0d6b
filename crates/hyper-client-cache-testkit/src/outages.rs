//! What becomes of requests while the server behind a cache is gone, hangs or answers badly, and afterwards: for
//! backends that reach theirs over TCP.
//!
//! ```no_run
//! use hyper_client_cache_testkit::core::cache::{Cache, GuardedCache, MemoryCache};
//! use hyper_client_cache_testkit::outages::Outage;
//!
//! # #[hyper_client_cache_testkit::tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let server = "127.0.0.1:6379".parse().unwrap();
//! // `MemoryCache` stands for a cache that uses the server at `_address`.
//! let outage = Outage::new(server, async |_address, guard| GuardedCache::with_guard(MemoryCache::default(), &guard));
//! outage.await.unwrap().of_a_server_that_is_gone().await.unwrap();
//! # }
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::{BreakerState, Guard};

use crate::contract::{Violation, ensure, ensure_eq};
use crate::origin::{Answer, Origin, Recorded};
use crate::proxy::{Fault, Proxy};

/// What the origin answers, always.
const ANSWER: &str = "hello";

/// A session whose cache is behind a proxy, and an origin that always answers.
#[derive(Debug)]
pub struct Outage {
    proxy: Proxy,
    guard: Guard,
    session: CachedSession,
    origin: Origin,
}

impl Outage {
    /// Asks `connect` for a cache that is empty, reaches the server at the address given, and stands behind this guard:
    /// one with deadlines as on a busy machine, so that only what the proxy does is a fault.
    ///
    /// # Errors
    /// A violation that says what could not be set up.
    pub async fn new<C: Cache>(
        server: SocketAddr,
        connect: impl AsyncFnOnce(SocketAddr, Guard) -> C,
    ) -> Result<Self, Violation> {
        let proxy = Proxy::to(server).await.map_err(|error| Violation::new(format!("no proxy: {error}")))?;
        let patience = Duration::from_secs(2);
        let guard = Guard::builder().deadline(patience).write_deadline(patience).failures(2);
        let guard = guard.probe_after(Duration::from_millis(50)).build()?;
        let cache = connect(proxy.addr(), guard.clone()).await;
        let session = CachedSession::builder().cache(cache).build()?;
        let origin = Origin::start(|_: &Recorded| Answer::ok(ANSWER).header("cache-control", "max-age=600")).await;
        Ok(Self { proxy, guard, session, origin })
    }

    /// Refused in mid-run, then back, by itself.
    ///
    /// # Errors
    /// A violation that says what a caller saw.
    pub async fn of_a_server_that_is_gone(&self) -> Result<(), Violation> {
        self.begin().await?;
        ensure!(self.hits("/").await?, "no hit while the server was there");
        self.proxy.set(Fault::Refuse).await;
        self.misses().await?;
        // Open, or with a probe under way.
        ensure!(self.guard.state() != BreakerState::Closed, "the breaker is closed while the server is gone");
        ensure!(self.session.stats().guard.refused > 0, "a server that is gone was asked each time");
        self.back().await
    }

    /// Accepts and never answers. The requests go on after the deadline, and at once when the breaker is open.
    ///
    /// # Errors
    /// A violation that says what a caller saw.
    pub async fn of_a_server_that_hangs(&self) -> Result<(), Violation> {
        self.begin().await?;
        self.proxy.set(Fault::Hang).await;
        self.misses().await?;
        let stats = self.guard.stats();
        let faults = stats.timed_out.saturating_add(stats.failed);
        ensure!(faults >= 2 && stats.refused > 0, "a server that hangs was asked each time: {stats:?}");
        self.back().await
    }

    /// An answer that drips or is cut is no answer, and the next one is not its rest.
    ///
    /// # Errors
    /// A violation that says what a caller saw.
    pub async fn of_answers_that_drip_or_are_cut(&self) -> Result<(), Violation> {
        self.begin().await?;
        for (path, fault) in [("/1", Fault::CutAfter(40)), ("/2", Fault::Drip(Duration::from_secs(1)))] {
            self.proxy.set(fault).await;
            ensure!(!self.hits(path).await?, "a hit of what was never stored, with {fault:?}");
            self.back().await?;
        }
        Ok(())
    }

    /// Stores what is to be hit later.
    async fn begin(&self) -> Result<(), Violation> {
        ensure!(!self.hits("/").await?, "a hit in an empty cache");
        self.session.layer().flush().await;
        Ok(())
    }

    /// Asks for what was never asked for: each once, for what waits to be stored is a hit in this process.
    async fn misses(&self) -> Result<(), Violation> {
        for path in ["/1", "/2", "/3", "/4"] {
            ensure!(!self.hits(path).await?, "a hit of what was never stored");
        }
        Ok(())
    }

    /// Ends the fault; hits must come back.
    async fn back(&self) -> Result<(), Violation> {
        self.proxy.set(Fault::None).await;
        for _ in 0..1200 {
            if self.hits("/").await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(Violation::new("no hit a minute after the server came back"))
    }

    /// Whether the answer, which is right in any case, came from the cache.
    async fn hits(&self, path: &str) -> Result<bool, Violation> {
        let response = self.session.get(self.origin.url(path)).send().await?;
        let from_cache = response.from_cache();
        ensure_eq!(response.text().await?, ANSWER, "the answer of the origin");
        Ok(from_cache)
    }
}
