//! Redirects: each hop is a request of its own, so that each passes through the cache.
//!
//! Read next: `next`, which makes the request for the next hop, and leaves behind what is for the last one only.

mod next;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout};

use self::next::{Kept, is_same_origin};
use super::request::{Options, without_query};
use super::url::{Target, resolve};
use super::{CachedSession, Response};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::CacheBody;
use crate::policy::CacheInfo;
use crate::transport::RequestBody;

/// How much of a redirect's body is read so that the redirect can be stored, in bytes.
const MAX_DRAINED: usize = 64 * 1024;

/// How long that may take. Generous: it is for bodies that do not come.
const DRAINING: Duration = Duration::from_secs(1);

/// How many redirects are followed where nothing else is said.
const DEFAULT_LIMIT: usize = 10;

/// Which redirects are followed.
///
/// Whatever the policy: what is no redirect by RFC 9110 section 15.4 is not followed, credentials do not go to another
/// origin and do not come back from there, and what is not followed is the response. One that is to be followed and
/// cannot be, because it leads to another scheme than `http` and `https` or its `Location` is no URL, is an error,
/// [`ErrorKind::Redirect`].
///
/// ```
/// use hyper_client_cache_core::CachedSession;
/// use hyper_client_cache_core::session::{RedirectAction, RedirectPolicy};
///
/// # fn main() -> hyper_client_cache_core::Result<()> {
/// let only_secure = RedirectPolicy::custom(|redirect| match redirect.to.scheme_str() {
///     Some("https") => RedirectAction::Follow,
///     _ => RedirectAction::Stop,
/// });
/// let session = CachedSession::builder().redirects(only_secure.max(5)).build()?;
/// # let _ = session;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedirectPolicy {
    limit: usize,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Any,
    SameOrigin,
    Custom(Arc<Decide>),
}

type Decide = dyn Fn(&Redirect<'_>) -> RedirectAction + Send + Sync;

impl RedirectPolicy {
    /// Follows none: the redirect is the response.
    pub const fn none() -> Self {
        Self::limited(0)
    }

    /// Follows this many, one after the other; one more is an error. 0: none. The default is 10.
    pub const fn limited(limit: usize) -> Self {
        Self { limit, kind: Kind::Any }
    }

    /// Follows those that stay with scheme, host and port, up to 10; one that does not is the response.
    pub const fn same_origin() -> Self {
        Self { limit: DEFAULT_LIMIT, kind: Kind::SameOrigin }
    }

    /// Asks `decide` about each, up to 10. If it panics, the request fails with [`ErrorKind::Redirect`].
    ///
    /// It is not asked where a [`Uri`] cannot say where the redirect leads (`mailto:`, or what is no URL): such a redirect
    /// is the response.
    pub fn custom(decide: impl Fn(&Redirect<'_>) -> RedirectAction + Send + Sync + 'static) -> Self {
        Self { limit: DEFAULT_LIMIT, kind: Kind::Custom(Arc::new(decide)) }
    }

    /// Sets how many are followed, one after the other.
    pub const fn max(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    fn decide(&self, redirect: &Redirect<'_>) -> Result<RedirectAction> {
        match &self.kind {
            Kind::Any => Ok(RedirectAction::Follow),
            Kind::SameOrigin if is_same_origin(redirect.from, redirect.to) => Ok(RedirectAction::Follow),
            Kind::SameOrigin => Ok(RedirectAction::Stop),
            // What it saw may be half changed, but is ours to read again only if it is given to it again.
            Kind::Custom(decide) => catch_unwind(AssertUnwindSafe(|| decide(redirect)))
                .map_err(|_| Error::new(ErrorKind::Redirect, "the policy's function panicked")),
        }
    }

    /// What becomes of a redirect that leads nowhere that could be shown to the policy.
    const fn decide_unknown(&self) -> RedirectAction {
        match self.kind {
            Kind::Any => RedirectAction::Follow,
            Kind::SameOrigin | Kind::Custom(_) => RedirectAction::Stop,
        }
    }
}

impl Default for RedirectPolicy {
    fn default() -> Self {
        Self::limited(DEFAULT_LIMIT)
    }
}

impl fmt::Debug for RedirectPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Any => "any",
            Kind::SameOrigin => "same origin",
            Kind::Custom(_) => "custom",
        };
        write!(f, "RedirectPolicy({kind}, at most {})", self.limit)
    }
}

/// What a [custom policy](RedirectPolicy::custom) says about one redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectAction {
    /// It is followed.
    Follow,
    /// It is the response.
    Stop,
    /// It is an error, [`ErrorKind::Redirect`].
    Fail,
}

/// A redirect that is about to be followed.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Redirect<'a> {
    /// The URL that answered with it.
    pub from: &'a Uri,
    /// Where it leads.
    pub to: &'a Uri,
    /// Its status: 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// Those that were followed before, oldest first.
    pub history: &'a [Hop],
}

impl fmt::Debug for Redirect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirect")
            .field("from", &without_query(self.from))
            .field("to", &without_query(self.to))
            .field("status", &self.status)
            .field("before", &self.history.len())
            .finish()
    }
}

/// One redirect on the way to a response.
#[derive(Clone)]
#[non_exhaustive]
pub struct Hop {
    /// The URL that answered with the redirect.
    pub url: Uri,
    /// The redirect's status.
    pub status: StatusCode,
    /// The redirect's headers.
    pub headers: HeaderMap,
    /// What the cache did for it.
    pub cache_info: Option<CacheInfo>,
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop")
            .field("url", &without_query(&self.url))
            .field("status", &self.status)
            .field("cache_info", &self.cache_info)
            .finish_non_exhaustive()
    }
}

/// Sends a request, and what it is redirected to, each through the cache.
#[expect(clippy::manual_async_fn)] // which would hold its arguments twice
pub(super) fn send<'a>(
    session: &'a CachedSession,
    options: &'a Options,
    mut request: Request<RequestBody>,
    deadline: Option<Instant>,
) -> impl Future<Output = Result<Response>> + Send + use<'a> {
    async move {
        let inner = &session.inner;
        let policy = options.redirects.as_ref().unwrap_or(&inner.redirects);
        let mut history = Vec::new();
        loop {
            let uri = request.uri().clone();
            // Before what is for this hop only is added.
            let kept = Kept::of(&request);
            inner.dress(&mut request, options);
            let response = pin!(inner.service.run(request, deadline)).await;
            let response = response.inspect_err(|error| inner.service.count_error(error))?;
            inner.service.count(&response);
            inner.learn_from_cache(&uri, &response);
            let Some(location) = location(&response, policy.limit) else {
                return Response::new(response, kept.sent(uri), history, session.clone(), options.decompress);
            };
            let target = resolve(&uri, location);
            let status = response.status();
            let action = match &target {
                Target::Web(to) | Target::Other(to) => {
                    policy.decide(&Redirect { from: &uri, to, status, history: &history })?
                }
                Target::Unknown => policy.decide_unknown(),
            };
            match action {
                RedirectAction::Follow => {}
                RedirectAction::Stop => {
                    return Response::new(response, kept.sent(uri), history, session.clone(), options.decompress);
                }
                RedirectAction::Fail => return Err(Error::new(ErrorKind::Redirect, "the policy forbids it")),
            }
            if history.len() >= policy.limit {
                return Err(Error::new(ErrorKind::Redirect, format!("more than {} one after the other", policy.limit)));
            }
            let Target::Web(target) = target else {
                let problem = "its `Location` is no URL that begins with `http://` or `https://`";
                return Err(Error::new(ErrorKind::Redirect, problem));
            };
            request = kept.follow(&uri, target, status, inner)?;
            let (head, body) = response.into_parts();
            let cache_info = head.extensions.get().cloned();
            history.push(Hop { url: uri, status: head.status, headers: head.headers, cache_info });
            drain(body).await;
        }
    }
}

/// Where a response leads, if it is a redirect and may be followed.
fn location(response: &http::Response<CacheBody>, limit: usize) -> Option<&[u8]> {
    let is_redirect = limit > 0 && matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    is_redirect.then(|| response.headers().get(header::LOCATION))?.map(|location| location.as_bytes())
}

/// Reads a redirect's body, which stores it. One that is long, or does not come, is dropped and not stored (case 106).
async fn drain(body: CacheBody) {
    if body.size_hint().lower() <= MAX_DRAINED as u64 {
        // The hop is over either way.
        let _ = timeout(DRAINING, Limited::new(body, MAX_DRAINED).collect()).await;
    }
}
