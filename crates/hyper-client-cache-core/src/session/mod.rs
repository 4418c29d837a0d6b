//! What a person calls: a client with a cache in it.
//!
//! A [`CachedSession`] is made by its [builder](CachedSession::builder) and makes [requests](RequestBuilder), which give
//! [responses](Response).
//! Redirects and time-outs are handled here, above the cache: each hop of a redirect passes through the cache as a
//! request of its own.

mod builder;

mod caching;

mod connection;

mod defaults;

mod request;

mod response;

mod read;

mod described;

mod links;

mod matching;

mod redirect;

mod cookies;

mod multipart;

mod decode;

mod body;

mod url;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, RANGE};
use http::{Method, Request, Uri};
use http_body::Body;
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};

pub use self::body::ResponseBody;
pub use self::builder::SessionBuilder;
pub use self::cookies::CookieJar;
pub use self::decode::Decompression;
use self::defaults::Defaults;
pub use self::described::ContentDisposition;
pub use self::links::Link;
pub use self::multipart::{Multipart, Part};
pub use self::redirect::{Hop, Redirect, RedirectAction, RedirectPolicy};
use self::request::Options;
pub use self::request::RequestBuilder;
use self::request::say_body;
pub use self::response::Response;
pub use self::url::IntoUrl;
use crate::cache::CacheStats;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{CacheBody, CacheLayer, CacheService, CacheView, Disabled, Explanation};
use crate::policy::{CacheInfo, Settings};
use crate::transport::{Outbound, RequestBody};

/// How much later than the layer the session gives up: more than a timer's tick, so that the layer comes first.
const BACKSTOP: Duration = Duration::from_millis(5);

/// An HTTP client that keeps responses and answers from what it kept.
///
/// Cheap to clone; clones are handles on the same session.
///
/// What is stored is on its way there when a response has been read. [`close`](Self::close) waits until it has arrived.
/// Where the last handle is only dropped, the runtime goes on with it; outside of a task of a multi-threaded runtime,
/// that is in `main`, the drop waits for it, at most a second, because the runtime may end with that. A runtime of one
/// thread that ends right after the drop leaves unfinished what is still under way.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_core::session::CachedSession;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hyper_client_cache_core::Result<()> {
/// // In memory, which is the default, for an hour where the server says nothing.
/// let session = CachedSession::builder().expire_after(Duration::from_secs(3600)).build()?;
/// # let origin = hyper_client_cache_testkit::origin::Origin::scripted().await;
/// # origin.on("/", hyper_client_cache_testkit::origin::Answer::ok("hello"));
/// # let url = origin.url("/");
/// let first = session.get(&url).send().await?;
/// assert!(!first.from_cache());
/// assert_eq!(first.text().await?, "hello");
/// assert!(session.get(&url).send().await?.from_cache());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CachedSession {
    inner: Arc<Inner>,
}

struct Inner {
    service: CacheService<Outbound>,
    layer: CacheLayer,
    cache: CacheView,
    closes_cache: bool,
    closed: AtomicBool,
    timeout: Option<Duration>,
    redirects: RedirectPolicy,
    referer: bool,
    defaults: Defaults,
    decompression: Option<Decompression>,
    cookies: Option<Cookies>,
}

/// A session's cookie jar, and how it is used.
struct Cookies {
    jar: CookieJar,
    from_cache: bool,
    separate: bool,
}

impl Inner {
    /// Adds what is for this hop only: cookies of the jar, and which content codings are understood.
    fn dress(&self, request: &mut Request<RequestBody>, options: &Options) {
        if let Some(cookies) = &self.cookies {
            cookies.jar.send(request, cookies.separate);
        }
        // A range is one of the coded bytes where they are coded, and no use to who wants the plain ones.
        if self.decompression.is_some() && options.decompress && !request.headers().contains_key(RANGE) {
            request.headers_mut().entry(ACCEPT_ENCODING).or_insert(decode::ACCEPTED);
        }
    }

    /// Gives the jar what a stored response sets, where that is wanted. What really came in it has learned already.
    fn learn_from_cache(&self, uri: &Uri, response: &http::Response<CacheBody>) {
        if let Some(cookies) = self.cookies.as_ref().filter(|cookies| cookies.from_cache) {
            let info: Option<&CacheInfo> = response.extensions().get();
            if info.is_some_and(CacheInfo::from_cache) {
                cookies.jar.learn(uri, response.headers());
            }
        }
    }

    fn options(&self) -> Options {
        Options { timeout: self.timeout, redirects: None, decompress: true }
    }
}

impl CachedSession {
    /// Options, at their defaults.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::new()
    }

    /// Begins a GET.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Begins a HEAD.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// Begins a POST.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Begins a PUT.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Begins a PATCH.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// Begins a DELETE.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Begins an OPTIONS.
    pub fn options(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::OPTIONS, url)
    }

    /// Begins a request with any method. What is wrong with the URL is said by [`send`](RequestBuilder::send).
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, url)
    }

    /// Sends a request that was made elsewhere. Base URL and default headers apply; user information in its URL becomes
    /// `Authorization`, unless that is there.
    ///
    /// # Errors
    /// As [`RequestBuilder::send`].
    pub async fn execute(&self, request: Request<impl Into<RequestBody>>) -> Result<Response> {
        let mut request = self.inner.defaults.made_sendable(request.map(Into::into))?;
        say_body(&mut request);
        self.clone().send(Ok(request), self.inner.options()).await
    }

    /// What would become of `request` at this moment, and why, without sending it. Only this request is looked at, not
    /// what it may be redirected to.
    ///
    /// Nothing is sent, stored, removed, refreshed or counted: see [`CacheLayer::explain`].
    ///
    /// ```
    /// use hyper_client_cache_core::policy::{Mode, Outcome, Reason};
    /// use hyper_client_cache_core::session::CachedSession;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> hyper_client_cache_core::Result<()> {
    /// let session = CachedSession::builder().build()?;
    /// let request = session.get("https://example.org/").mode(Mode::OnlyIfCached).build()?;
    /// let told = session.explain(&request).await?;
    /// assert_eq!((told.outcome, told.reason), (Outcome::Offline, Reason::NotFound));
    /// println!("{told}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the request could not be sent.
    pub fn explain<'a>(
        &'a self,
        request: &Request<RequestBody>,
    ) -> impl Future<Output = Result<Explanation>> + Send + use<'a> {
        self.explain_with(request, &self.inner.options())
    }

    fn explain_with<'a>(
        &'a self,
        request: &Request<RequestBody>,
        options: &Options,
    ) -> impl Future<Output = Result<Explanation>> + Send + use<'a> {
        // Outside of the future, which could not be sent between threads with a reference to a body in it.
        let same = self.inner.defaults.made_sendable(again(request)).map(|mut same| {
            self.inner.dress(&mut same, options);
            say_body(&mut same);
            same
        });
        async move {
            let same = same?;
            Ok(self.inner.layer.explain(&same).await)
        }
    }

    /// The cache that this session uses, as it sees it: what is stored for which URL, and removing it.
    #[must_use]
    pub fn cache(&self) -> &CacheView {
        &self.inner.cache
    }

    /// What was counted about the cache in this process, by all sessions that share it.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.inner.layer.stats()
    }

    /// The settings as they are now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.inner.layer.settings()
    }

    /// Changes the settings, for every request that begins from now on; one that is under way goes by those it began
    /// with. `change` may be called more than once; see [`CacheLayer::update_settings`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> hyper_client_cache_core::Result<()> {
    /// # let session = hyper_client_cache_core::CachedSession::builder().build()?;
    /// session.update_settings(|settings| settings.expire_after(Duration::from_secs(60)))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a setting is impossible; the message names it, and nothing is changed.
    pub fn update_settings(&self, change: impl Fn(Settings) -> Settings) -> Result<()> {
        self.inner.layer.update_settings(change)
    }

    /// Goes offline or back: while this is on, whatever is stored is served however stale, everything else is answered
    /// with 504, and no connection is opened. See [`Settings::offline`].
    pub fn offline(&self, offline: bool) {
        self.inner.layer.offline(offline);
    }

    /// Lets requests of this session go past the cache for as long as the guard lives: nothing is read, nothing is
    /// stored. Other sessions that share the cache go on using it. See [`CacheLayer::disabled`].
    ///
    /// ```
    /// # fn main() -> hyper_client_cache_core::Result<()> {
    /// # let session = hyper_client_cache_core::CachedSession::builder().build()?;
    /// let guard = session.disabled();
    /// // session.get(..).send() asks the origin
    /// drop(guard);
    /// assert!(!session.is_disabled());
    /// # Ok(())
    /// # }
    /// ```
    pub fn disabled(&self) -> Disabled {
        self.inner.layer.disabled()
    }

    /// Whether a [guard](Self::disabled) keeps requests of this session from using the cache.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.inner.layer.is_disabled()
    }

    /// The layer under this session, for counts and tests.
    #[must_use]
    pub fn layer(&self) -> &CacheLayer {
        &self.inner.layer
    }

    /// Ends what runs in the background, waits until the store has what is on its way there, and closes the cache, if
    /// it was given with [`SessionBuilder::cache`]. Idempotent; requests fail with [`ErrorKind::Closed`] from now on.
    ///
    /// A session that is only dropped loses nothing either, as long as the runtime goes on: what is on its way to the
    /// store still gets there.
    ///
    /// # Errors
    /// The cache's own.
    pub async fn close(&self) -> Result<()> {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.layer.close().await;
        if self.inner.closes_cache { self.cache().close().await } else { Ok(()) }
    }

    /// What it waits for is pinned where it is made, here and below: a future is as long as all that it may ever hold, and
    /// one that is handed on, as to `await`, is copied as a whole.
    #[expect(clippy::manual_async_fn)] // which would hold its arguments twice
    fn send(
        self,
        request: Result<Request<RequestBody>>,
        options: Options,
    ) -> impl Future<Output = Result<Response>> + Send + use<> {
        async move {
            let deadline = options.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
            let sending = pin!(redirect::send(&self, &options, request?, deadline));
            if self.inner.closed.load(Ordering::Acquire) {
                return Err(Error::new(ErrorKind::Closed, "the session"));
            }
            let Some(deadline) = deadline else { return sending.await };
            // The layer sees the deadline itself and may answer with what is stale; this is for all else that takes long.
            let backstop = deadline.checked_add(BACKSTOP).unwrap_or(deadline);
            match timeout_at(backstop, sending).await {
                Ok(response) => Ok(response?.with_deadline(deadline)),
                Err(_) => {
                    let error = Error::new(ErrorKind::Timeout, "the request as a whole");
                    self.inner.service.count_error(&error);
                    Err(error)
                }
            }
        }
    }
}

/// The same request once more, as far as the cache looks at it.
fn again(request: &Request<RequestBody>) -> Request<RequestBody> {
    // What streams cannot be read for this: something that streams stands in for it.
    let body = match request.body().try_clone() {
        Some(body) => body,
        None if request.body().is_end_stream() => RequestBody::default(),
        None => RequestBody::stream(Full::new(Bytes::from_static(b"."))),
    };
    let mut again = Request::new(body);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    again
}

impl fmt::Debug for CachedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSession").field("cache", &&**self.cache()).finish_non_exhaustive()
    }
}
