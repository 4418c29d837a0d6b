//! A session and its cache as objects: shared, closed, dropped.

use std::sync::Arc;

use super::CachedSession;
use super::support::{Case, builder, hits};
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::ErrorKind;
use crate::core::cache::Cache;
use crate::origin::Answer;

/// Seed lines 88, 89, 121 and 124.
pub(super) async fn session_closing_closes_its_own_cache_and_no_shared_one(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[]);
    case.hits("/one").await?;
    case.session.close().await?;
    ensure_eq!(case.cache.responses().size().await?, 1, "entries of a shared cache after the session was closed");
    let refused = case.get("/one").send().await.err().map(|error| error.kind());
    ensure_eq!(refused, Some(ErrorKind::Closed), "what a closed session says");

    let own = Forwarded(case.cache.clone());
    let session = CachedSession::builder().cache(own).clock(Arc::new(harness.clock())).build()?;
    hits(session.get(case.origin.url("/one")), "/one").await?;
    session.close().await?;
    session.close().await?;
    let closed = case.cache.responses().size().await.err().map(|error| error.kind());
    ensure_eq!(closed, Some(ErrorKind::Closed), "what the cache of a closed session says");
    Ok(Verdict::Kept)
}

/// Feature 20: what one has read to its end, the other finds at once.
pub(super) async fn session_two_sessions_share_one_cache(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let other = builder(harness, &case.cache).build()?;
    case.serve("/one", &[]);
    case.hits("/one").await?;
    ensure!(hits(other.get(case.origin.url("/one")), "/one").await?, "another session does not find it");
    Ok(Verdict::Kept)
}

/// Seed lines 75 and 112: a session that is neither closed nor kept has lost nothing.
pub(super) async fn session_a_dropped_session_loses_nothing(harness: &dyn CacheHarness) -> Outcome {
    let Case { session, cache, origin } = Case::new(harness).await?;
    origin.on("/one", Answer::ok("/one"));
    hits(session.get(origin.url("/one")), "/one").await?;
    drop(session);
    let next = builder(harness, &cache).build()?;
    ensure!(hits(next.get(origin.url("/one")), "/one").await?, "what a dropped session stored is not found");
    Ok(Verdict::Kept)
}

/// Seed line 70: nothing is left of a request once it is answered.
pub(super) async fn session_a_thousand_urls_leave_nothing_in_flight(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/one", Answer::ok("/one").header("cache-control", "no-store"));
    for number in 0..1000 {
        hits(case.get(&format!("/one?n={number}")), "/one").await?;
    }
    ensure_eq!(case.session.layer().in_flight(), 0, "exchanges that could still be joined");
    Ok(Verdict::Kept)
}

/// A cache that a session may own although the test keeps it too.
#[derive(Debug)]
struct Forwarded(Arc<dyn Cache>);

impl Cache for Forwarded {
    fn responses(&self) -> &dyn crate::core::storage::Storage {
        self.0.responses()
    }

    fn redirects(&self) -> &dyn crate::core::storage::Storage {
        self.0.redirects()
    }

    fn bodies(&self) -> Option<&dyn crate::core::storage::Storage> {
        self.0.bodies()
    }
}
