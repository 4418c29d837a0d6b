//! The options of a layer, checked where it is made.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::backoff::Backoff;
use super::finish::Finish;
use super::hosts::{self, Hosts};
use super::purge::Purge;
use super::refresh::Tasks;
use super::{CacheLayer, Engine, Handle, INLINE_LIMIT};
use crate::cache::Cache;
use crate::cache::ledger::Ledger;
use crate::clock::{Clock, system_clock};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::Settings;

/// What of a storage's limit is left for the head.
const HEAD_ROOM: u64 = 16 * 1024;

/// The least that a storage's entries may have (32 KiB): with less, small bodies would be in parts, and large ones in parts
/// of a few bytes.
const LEAST_ENTRY_LEN: u64 = 32 * 1024;

/// How often what is past its deadline may be removed at most.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// What becomes of a request when the store fails it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnCacheError {
    /// The response is what it would have been without a cache, and a counter moves.
    #[default]
    Ignore,
    /// The request fails with [`ErrorKind::Cache`] where its look-up does, or what it makes invalid is not removed (the
    /// origin has carried it out by then). What is stored after the response is handed out is only counted.
    Fail,
}

/// Options of [`CacheLayer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct CacheLayerBuilder {
    cache: Arc<dyn Cache>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    flight_timeout: Duration,
    options: LayerOptions,
}

/// The options that a session has too, which hands them on.
#[derive(Clone, Debug)]
pub(crate) struct LayerOptions {
    pub(crate) cache_status: Option<String>,
    pub(crate) on_cache_error: OnCacheError,
    pub(crate) max_refreshes: usize,
    pub(crate) max_per_host: Option<usize>,
    pub(crate) purge_every: Option<Duration>,
    pub(crate) finish_dropped: Option<u64>,
}

impl Default for LayerOptions {
    fn default() -> Self {
        Self {
            cache_status: None,
            on_cache_error: OnCacheError::default(),
            max_refreshes: CacheLayer::DEFAULT_MAX_REFRESHES,
            max_per_host: None,
            purge_every: None,
            finish_dropped: None,
        }
    }
}

impl CacheLayerBuilder {
    pub(super) fn new(cache: Arc<dyn Cache>) -> Self {
        Self {
            cache,
            settings: Settings::default(),
            clock: system_clock(),
            flight_timeout: Duration::from_secs(30),
            options: LayerOptions::default(),
        }
    }

    /// Sets all that a session hands on.
    #[cfg(feature = "client")]
    pub(crate) fn options(mut self, options: LayerOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets what is cached and for how long.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the clock; the operating system's by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how long a request waits for another's answer before it asks the origin itself; 30 seconds by default.
    pub fn flight_timeout(mut self, timeout: Duration) -> Self {
        self.flight_timeout = timeout;
        self
    }

    /// Adds a `Cache-Status` line (RFC 9211) with this cache name to each response. Off by default.
    pub fn cache_status(mut self, cache_name: impl Into<String>) -> Self {
        self.options.cache_status = Some(cache_name.into());
        self
    }

    /// Sets what becomes of a request when the store fails it; [`OnCacheError::Ignore`] by default.
    pub fn on_cache_error(mut self, on_cache_error: OnCacheError) -> Self {
        self.options.on_cache_error = on_cache_error;
        self
    }

    /// Sets how many refreshes run in the background at once, of what was served stale; 32 by default.
    ///
    /// A request that would begin one more is answered all the same and begins none. There is never more than one for
    /// what has one key. After one that failed, the next is tried a second later at the earliest, then two, four, up to
    /// a minute: for everything of a host that does not answer, else for what the origin has answered with an error.
    pub fn max_refreshes(mut self, max_refreshes: usize) -> Self {
        self.options.max_refreshes = max_refreshes;
        self
    }

    /// Sets how many requests may be with one host (scheme, name and port) at once, refreshes in the background
    /// included; by default there is no limit.
    ///
    /// A request is with its host until its body has been read to the end or is dropped, so who reads several bodies
    /// side by side needs a place for each. The others wait for their turn in the order in which they came, as long as
    /// their caller does; nothing that is answered from the cache waits.
    pub fn max_per_host(mut self, max_per_host: impl Into<Option<usize>>) -> Self {
        self.options.max_per_host = max_per_host.into();
        self
    }

    /// Removes what is past its deadline every so often, in the background, for stores that do not do so themselves; by
    /// default that is left to [`CacheView::delete_expired`](super::CacheView::delete_expired).
    ///
    /// What is past its deadline nobody finds, removed or not: this is about the space it takes. No request waits for
    /// it. It goes on while the layer or a service of it is there and is not [closed](CacheLayer::close); of those that
    /// share a cache, one is enough. Made outside of a Tokio runtime, it begins with the first request.
    pub fn purge_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.options.purge_every = interval.into();
        self
    }

    /// Reads a body that is being stored to its end, in the background, where its caller drops it and at most so many
    /// bytes of it are missing; by default none is, so that what was dropped half-way is not stored.
    ///
    /// An origin that takes longer than ten seconds for the rest, or a 33rd body at once, is given up. Where an origin does
    /// not say how long a body is, `u64::MAX` alone, which is for all, is enough. Closing the layer ends it.
    pub fn finish_dropped(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.options.finish_dropped = limit.into();
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a setting is impossible; the message names it. Also where the cache takes only entries
    /// of less than 32 KiB ([`StorageInfo::max_entry_len`](crate::storage::StorageInfo::max_entry_len)).
    pub fn build(self) -> Result<CacheLayer> {
        self.settings.validate()?;
        let options = self.options;
        if self.flight_timeout.is_zero() {
            return Err(Error::new(ErrorKind::Config, "`flight_timeout` is zero: give at least a millisecond"));
        }
        if options.max_refreshes == 0 {
            return Err(Error::new(ErrorKind::Config, "`max_refreshes` is zero: give at least 1"));
        }
        if options.max_per_host.is_some_and(|limit| limit == 0 || limit > hosts::MOST) {
            let problem = format!("`max_per_host` goes from 1 to {}, or is `None` for no limit", hosts::MOST);
            return Err(Error::new(ErrorKind::Config, problem));
        }
        if options.purge_every.is_some_and(|interval| interval < LEAST_INTERVAL) {
            return Err(Error::new(ErrorKind::Config, "`purge_every` is under a second: give more, or `None`"));
        }
        check_entry_len(&*self.cache)?;
        let max_entry_len = self.cache.responses().info().max_entry_len.unwrap_or(u64::MAX);
        let engine = Arc::new(Engine {
            ledger: Ledger::of(self.cache, self.clock.clone()),
            settings: ArcSwap::from_pointee(self.settings),
            disabled: Arc::default(),
            flights: Arc::default(),
            clock: self.clock,
            flight_timeout: self.flight_timeout,
            inline_limit: max_entry_len.saturating_sub(HEAD_ROOM).min(INLINE_LIMIT),
            cache_status: options.cache_status,
            on_cache_error: options.on_cache_error,
            backoff: Backoff::default(),
            hosts: Hosts::new(options.max_per_host),
            finish: options.finish_dropped.map(|limit| Arc::new(Finish::new(limit))),
        });
        let purge = options.purge_every.map(Purge::new);
        let handle = Handle { engine, tasks: Tasks::new(options.max_refreshes), purge };
        handle.begin();
        Ok(CacheLayer { handle: Arc::new(handle) })
    }
}

/// Refuses a cache that has no room for the usual response in one entry.
fn check_entry_len(cache: &dyn Cache) -> Result<()> {
    let storages = [cache.responses(), cache.redirects()].into_iter().chain(cache.bodies());
    match storages.filter_map(|storage| storage.info().max_entry_len).min() {
        Some(len @ ..LEAST_ENTRY_LEN) => {
            let problem = format!(
                "the cache's `max_entry_len` is {len}, as it was set or as its `max_bytes` allows: a session needs at least \
                 {LEAST_ENTRY_LEN}"
            );
            Err(Error::new(ErrorKind::Config, problem))
        }
        _ => Ok(()),
    }
}
