//! How a session is set up: its cache, what it sends with each request, redirects, cookies.
//!
//! More of its options are in `caching` (what is stored and used, and for how long), `matching` (which requests are the
//! same) and `connection`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_layer::Layer;

use super::defaults::{self, Defaults};
use super::redirect::RedirectPolicy;
use super::{CachedSession, CookieJar, Cookies, Decompression, Inner, IntoUrl};
use crate::cache::{Cache, MemoryCache};
use crate::clock::{Clock, system_clock};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Matching, Partition};
use crate::layer::{CacheLayer, LayerOptions, OnCacheError};
use crate::policy::Settings;
use crate::transport::{Given, Observer, Outbound, Transport, TransportBuilder};

/// Options of a [`CachedSession`]. Each has a default; [`build`](Self::build) says what is impossible.
#[must_use]
pub struct SessionBuilder {
    cache: Option<Arc<dyn Cache>>,
    closes_cache: bool,
    pub(super) settings: Settings,
    clock: Arc<dyn Clock>,
    layer: LayerOptions,
    timeout: Option<Duration>,
    pub(super) transport: TransportBuilder,
    pub(super) service: Option<Box<dyn Given>>,
    redirects: RedirectPolicy,
    referer: bool,
    defaults: Defaults,
    decompression: Option<Decompression>,
    jar: Option<CookieJar>,
    cookies_from_cache: bool,
    separate_by_cookies: bool,
    /// What was wrong with the first setter that had something wrong.
    problem: Option<Error>,
}

impl SessionBuilder {
    pub(super) fn new() -> Self {
        Self {
            cache: None,
            closes_cache: true,
            settings: Settings::default(),
            clock: system_clock(),
            layer: LayerOptions::default(),
            timeout: Some(Duration::from_secs(300)),
            transport: Transport::builder(),
            service: None,
            redirects: RedirectPolicy::default(),
            referer: false,
            defaults: Defaults::default(),
            decompression: Some(Decompression::default()),
            jar: None,
            cookies_from_cache: false,
            separate_by_cookies: false,
            problem: None,
        }
    }

    /// Keeps responses in `cache`, which is closed when the session is. Default: in memory, at most 128 MiB.
    pub fn cache(mut self, cache: impl Cache) -> Self {
        self.cache = Some(Arc::new(cache));
        self.closes_cache = true;
        self
    }

    /// Keeps responses in a cache that others use too, and that closing the session leaves open.
    pub fn shared_cache(mut self, cache: Arc<dyn Cache>) -> Self {
        self.cache = Some(cache);
        self.closes_cache = false;
        self
    }

    /// Adds a `Cache-Status` line (RFC 9211) with this cache name to each response. Off by default.
    pub fn cache_status(mut self, cache_name: impl Into<String>) -> Self {
        self.layer.cache_status = Some(cache_name.into());
        self
    }

    /// Sets what becomes of a request when the store fails it. Default: [`OnCacheError::Ignore`], which answers as if
    /// there were no cache.
    pub fn on_cache_error(mut self, on_cache_error: OnCacheError) -> Self {
        self.layer.on_cache_error = on_cache_error;
        self
    }

    /// Sets how many refreshes run in the background at once; see
    /// [`CacheLayerBuilder::max_refreshes`](crate::layer::CacheLayerBuilder::max_refreshes). Default: 32.
    pub fn max_refreshes(mut self, max_refreshes: usize) -> Self {
        self.layer.max_refreshes = max_refreshes;
        self
    }

    /// Sets how many requests may be with one host at once, so that a cold cache does not overrun it; see
    /// [`CacheLayerBuilder::max_per_host`](crate::layer::CacheLayerBuilder::max_per_host). Default: no limit.
    pub fn max_per_host(mut self, max_per_host: impl Into<Option<usize>>) -> Self {
        self.layer.max_per_host = max_per_host.into();
        self
    }

    /// Removes what is past its deadline every so often, in the background; see
    /// [`CacheLayerBuilder::purge_every`](crate::layer::CacheLayerBuilder::purge_every). Ends when the session is closed
    /// or its last handle dropped. Default: no.
    pub fn purge_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.layer.purge_every = interval.into();
        self
    }

    /// Reads a body that is being stored to its end, in the background, where its caller drops it and at most so many
    /// bytes of it are missing; see [`CacheLayerBuilder::finish_dropped`](crate::layer::CacheLayerBuilder::finish_dropped).
    /// Default: none, so that what was dropped half-way is not stored.
    pub fn finish_dropped(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.layer.finish_dropped = limit.into();
        self
    }

    /// Sets the clock that decides about freshness. Default: the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how long a request may take from its beginning to the end of its body. Default: 5 minutes; `None`: for
    /// ever. A body that is being stored is let go of then, also where nobody polls or drops it, unless another request
    /// reads it too.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Resolves relative URLs against this one, as a browser does with the links of a page: its path counts up to its
    /// last `/`. Default: none, and a relative URL is an error.
    pub fn base_url(self, url: impl AsRef<str>) -> Self {
        self.change(|builder| {
            builder.defaults.base = Some(super::url::base(url.as_ref())?);
            Ok(())
        })
    }

    /// Adds a header line to each request that does not set this header itself.
    pub fn default_header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.change(|builder| builder.defaults.add(name, value))
    }

    /// Adds header lines to each request that does not set these headers itself.
    pub fn default_headers(self, headers: HeaderMap) -> Self {
        self.change(|builder| {
            let mut last = None;
            for (name, value) in headers {
                last = name.or(last);
                if let Some(name) = &last {
                    builder.defaults.add(name, value)?;
                }
            }
            Ok(())
        })
    }

    /// Sends a user name and a password (RFC 7617) with each request that has no `Authorization` of its own.
    pub fn basic_auth(self, user: impl AsRef<str>, password: Option<&str>) -> Self {
        self.change(|builder| {
            let value = defaults::basic(user.as_ref(), password, ErrorKind::Config)?;
            builder.defaults.headers.insert(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// Sends a token (RFC 6750) with each request that has no `Authorization` of its own.
    pub fn bearer_auth(self, token: impl AsRef<str>) -> Self {
        self.change(|builder| {
            let value = defaults::bearer(token.as_ref(), ErrorKind::Config)?;
            builder.defaults.headers.insert(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// Sets the `User-Agent` of each request that has none of its own. Default: none is sent.
    pub fn user_agent(self, value: impl TryInto<HeaderValue>) -> Self {
        self.change(|builder| {
            builder.defaults.headers.remove(USER_AGENT);
            builder.defaults.add(USER_AGENT, value)
        })
    }

    /// Names headers that hold secrets, besides `Authorization`, `Cookie` and `Proxy-Authorization`: they do not follow
    /// a redirect to another origin, are shown nowhere, and callers who differ in one share no entry
    /// ([`Matching::secret_headers`]).
    pub fn secret_headers<N: TryInto<HeaderName>>(self, names: impl IntoIterator<Item = N>) -> Self {
        self.change(|builder| names.into_iter().try_for_each(|name| builder.defaults.add_secret(name)))
    }

    /// Sets whether and within which limits bodies are decoded: gzip, deflate, br and zstd. Default: they are, and
    /// `Accept-Encoding` says so. What is stored stays as it came over the wire.
    ///
    /// The head of a decoded response has neither `Content-Encoding` nor `Content-Length`. A 206, and a response without a
    /// body, are left as they are, and so is a coding that is not known. A filter that looks at a body sees it as it is stored.
    pub fn decompression(mut self, limits: impl Into<Option<Decompression>>) -> Self {
        self.decompression = limits.into();
        self
    }

    /// Keeps cookies, in a jar of this session's own. Default: no.
    pub fn cookies(mut self, on: bool) -> Self {
        self.jar = on.then(CookieJar::new);
        self
    }

    /// Keeps cookies in `jar`: sends them with each request, each hop of a redirect too, and learns from each response
    /// that really came in.
    ///
    /// On a [shared cache](Self::shared_cache) the session is a partition of its own, unless its settings name one: what
    /// a login gave it is never another's answer, nor is it found again by a later session.
    /// Within the session, cookies of the jar do not tell entries apart, as in a browser: `Vary: Cookie` and the
    /// response's own directives do, or [`separate_by_cookies`](Self::separate_by_cookies).
    pub fn cookie_jar(mut self, jar: CookieJar) -> Self {
        self.jar = Some(jar);
        self
    }

    /// Whether the jar learns from `Set-Cookie` of responses out of the cache too. Default: no, for they are what the
    /// server said when they were stored.
    pub fn cookies_from_cache(mut self, on: bool) -> Self {
        self.cookies_from_cache = on;
        self
    }

    /// Whether cookies of the jar tell entries apart as those do that a request sets itself: then a changed cookie finds
    /// nothing of what was stored before, be it a login or a counter. Default: no.
    pub fn separate_by_cookies(mut self, on: bool) -> Self {
        self.separate_by_cookies = on;
        self
    }

    /// Sets which redirects are followed. Default: at most 10, one after the other.
    pub fn redirects(mut self, policy: RedirectPolicy) -> Self {
        self.redirects = policy;
        self
    }

    /// Sets how many redirects are followed, one after the other. Default: 10; 0: none, the redirect is the response.
    pub fn max_redirects(mut self, limit: usize) -> Self {
        self.redirects = self.redirects.max(limit);
        self
    }

    /// Says in `Referer` which URL redirected, where that gives nothing away: to another origin its origin only, and
    /// nothing from `https` to `http`. Default: not at all.
    pub fn referer(mut self, on: bool) -> Self {
        self.referer = on;
        self
    }

    pub(super) fn match_by(mut self, change: impl FnOnce(Matching) -> Matching) -> Self {
        self.settings.matching = change(std::mem::take(&mut self.settings.matching));
        self
    }

    /// Makes the session. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a setting is impossible; the message names it.
    pub fn build(self) -> Result<CachedSession> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::new(ErrorKind::Config, "`timeout` is zero: give at least a millisecond, or `None`"));
        }
        let cache = match self.cache {
            Some(cache) => cache,
            None => Arc::new(MemoryCache::builder().clock(self.clock.clone()).build()?),
        };
        if let Some(decompression) = &self.decompression {
            decompression.validate()?;
        }
        let shares = self.jar.is_some() && !self.closes_cache && self.settings.partition.is_none();
        let apart = apart(self.transport.tls_policy_id(), shares)?;
        let mut settings = Settings { apart, ..self.settings };
        settings.matching = settings.matching.more_secret_headers(&self.defaults.secret);
        let observer =
            self.jar.clone().map(|jar| -> Observer { Arc::new(move |uri, headers| jar.learn(uri, headers)) });
        let layer =
            CacheLayer::builder_shared(cache).settings(settings).clock(self.clock).options(self.layer).build()?;
        let outbound = match (self.service, self.transport.touched()) {
            (None, _) => Outbound::own(self.transport.build()?, observer),
            (Some(service), None) => Outbound::given(service, observer),
            (Some(_), Some(option)) => {
                let problem =
                    format!("`{option}` is an option of the session's own client, and `service` gives another");
                return Err(Error::new(ErrorKind::Config, problem));
            }
        };
        let base = self.defaults.base.clone();
        let inner = Inner {
            service: layer.layer(outbound),
            cache: layer.cache().parsing(move |url| Ok(url.into_url(base.as_ref())?.uri)),
            layer,
            closes_cache: self.closes_cache,
            closed: false.into(),
            timeout: self.timeout,
            redirects: self.redirects,
            referer: self.referer,
            defaults: self.defaults,
            decompression: self.decompression,
            cookies: self.jar.map(|jar| Cookies {
                jar,
                from_cache: self.cookies_from_cache,
                separate: self.separate_by_cookies,
            }),
        };
        Ok(CachedSession { inner: Arc::new(inner) })
    }

    fn change(mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Self {
        if let Err(problem) = change(&mut self) {
            self.problem.get_or_insert(problem);
        }
        self
    }
}

/// What keeps a session's entries apart: whom it trusts, and that its jar is nobody else's.
fn apart(policy: Option<[u8; 32]>, is_alone: bool) -> Result<Option<Partition>> {
    if !is_alone {
        return Ok(policy);
    }
    let mut own = [0; 32];
    getrandom::fill(&mut own).map_err(|error| {
        Error::new(ErrorKind::Config, "there are no random numbers to set `cookie_jar` apart with").with_source(error)
    })?;
    // No two sessions have the same, whatever they trust.
    Ok(Some(own))
}

// Default headers and the base URL may hold secrets: they show as little as those of a request.
impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder")
            .field("cache", &self.cache)
            .field("settings", &self.settings)
            .field("timeout", &self.timeout)
            .field("transport", &self.transport)
            .field("redirects", &self.redirects)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}
