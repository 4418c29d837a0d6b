//! How a request is put together.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body::Body;
use serde::Serialize;

use super::redirect::RedirectPolicy;
use super::{CachedSession, IntoUrl, Multipart, Response, defaults};
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::key::Matching;
use crate::layer::{Explanation, ReplayBody};
use crate::policy::{BeforeStore, CacheControl, ExpireAfter, Mode, RequestSettings, ResponseFilter, StaleWindow};
use crate::transport::RequestBody;

/// A request that is being put together. Nothing goes out before [`send`](Self::send), which also says what is wrong with
/// it: the first setter that had something wrong counts.
///
/// What is not set is as in the session: default headers, time-out, redirects, and all settings of the cache.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_core::policy::Mode;
/// use hyper_client_cache_core::session::CachedSession;
///
/// # fn main() -> hyper_client_cache_core::Result<()> {
/// let session = CachedSession::builder().base_url("https://example.org/").build()?;
/// let request = session
///     .get("items")
///     .query(&[("page", "2")])
///     .header("accept", "application/json")
///     .expire_after(Duration::from_secs(60))
///     .mode(Mode::NoCache)
///     .build()?;
/// assert_eq!(request.uri(), "https://example.org/items?page=2");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RequestBuilder {
    session: CachedSession,
    pub(super) options: Options,
    // Most requests have none, and all are moved about.
    settings: Option<Box<RequestSettings>>,
    request: Result<Request<RequestBody>>,
}

/// How one request is sent, as far as it is not part of the request.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) timeout: Option<Duration>,
    /// `None`: as the session says.
    pub(super) redirects: Option<RedirectPolicy>,
    /// Whether the response is decoded, if the session decodes.
    pub(super) decompress: bool,
}

impl RequestBuilder {
    pub(super) fn new(session: CachedSession, method: Method, url: impl IntoUrl) -> Self {
        let options = session.inner.options();
        let request = url.into_url(session.inner.defaults.base.as_ref()).map(|url| {
            let mut request = Request::new(RequestBody::default());
            *request.method_mut() = method;
            *request.uri_mut() = url.uri;
            if let Some(credentials) = url.authorization {
                request.headers_mut().insert(http::header::AUTHORIZATION, credentials);
            }
            request
        });
        Self { session, options, settings: None, request }
    }

    /// Adds a header line to those that were set here. The session's default of this name is not sent then.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.change(|request| {
            let (name, value) = defaults::header(name, value, ErrorKind::Request)?;
            request.headers_mut().append(name, value);
            Ok(())
        })
    }

    /// Adds header lines, in place of those of the same names that were set here or are the session's defaults.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.change(|request| {
            for name in headers.keys() {
                request.headers_mut().remove(name);
            }
            let mut last = None;
            for (name, value) in headers {
                last = name.or(last);
                if let Some(name) = &last {
                    let (name, value) = defaults::header(name, value, ErrorKind::Request)?;
                    request.headers_mut().append(name, value);
                }
            }
            Ok(())
        })
    }

    /// Sends a user name and a password (RFC 7617), in place of any other `Authorization`. The answer is for callers with
    /// the same credentials only.
    pub fn basic_auth(self, user: impl AsRef<str>, password: Option<&str>) -> Self {
        self.change(|request| {
            let value = defaults::basic(user.as_ref(), password, ErrorKind::Request)?;
            request.headers_mut().insert(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// Sends a token (RFC 6750), in place of any other `Authorization`. The answer is for callers with the same credentials
    /// only.
    pub fn bearer_auth(self, token: impl AsRef<str>) -> Self {
        self.change(|request| {
            let value = defaults::bearer(token.as_ref(), ErrorKind::Request)?;
            request.headers_mut().insert(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// Adds parameters to the URL's query, after those that it has: pairs, a map, or any struct that `serde` can write as
    /// such. They are written as forms are, a space as `+`.
    pub fn query<T: Serialize + ?Sized>(self, parameters: &T) -> Self {
        self.change(|request| {
            let added = serde_urlencoded::to_string(parameters).map_err(|error| {
                Error::new(ErrorKind::Request, "`query` cannot be written as parameters").with_source(error)
            })?;
            if !added.is_empty() {
                *request.uri_mut() = with_query(request.uri(), &added)?;
            }
            Ok(())
        })
    }

    /// Sends bytes or text, without a `Content-Type` of its own.
    pub fn body(self, body: impl Into<RequestBody>) -> Self {
        self.change(|request| {
            *request.body_mut() = body.into();
            Ok(())
        })
    }

    /// Sends a body as it comes. It cannot be sent twice, so that a redirect that needs it again is an error, and it is no
    /// part of a key, so that the request goes past the cache.
    pub fn body_stream<B>(self, body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.body(RequestBody::stream(body))
    }

    /// Sends `value` as JSON, and says so in `Content-Type`, unless that is set already.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.change(|request| {
            let bytes = serde_json::to_vec(value)
                .map_err(|error| Error::new(ErrorKind::Request, "`json` cannot be written").with_source(error))?;
            set_body(request, bytes, "application/json");
            Ok(())
        })
    }

    /// Sends `fields` as a form (`application/x-www-form-urlencoded`), and says so in `Content-Type`, unless that is set
    /// already.
    pub fn form<T: Serialize + ?Sized>(self, fields: &T) -> Self {
        self.change(|request| {
            let text = serde_urlencoded::to_string(fields)
                .map_err(|error| Error::new(ErrorKind::Request, "`form` cannot be written").with_source(error))?;
            set_body(request, text.into_bytes(), "application/x-www-form-urlencoded");
            Ok(())
        })
    }

    /// Sends a form that may have files in it (RFC 7578), and says so in `Content-Type`, whatever that was. With a part that
    /// streams it cannot be sent twice.
    pub fn multipart(self, form: Multipart) -> Self {
        self.change(|request| {
            let (body, content_type) = form.into_body()?;
            request.headers_mut().insert(CONTENT_TYPE, content_type);
            *request.body_mut() = body;
            Ok(())
        })
    }

    /// Sets how long this request may take from its beginning to the end of its response's body, redirects included;
    /// `None`: for ever. Default: as in the session, which has 5 minutes.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.timeout = timeout.into();
        self
    }

    /// Whether the response's body is decoded, if the session decodes at all. With `false` it is read as it came over the
    /// wire, and no `Accept-Encoding` is added.
    pub fn decompress(mut self, on: bool) -> Self {
        self.options.decompress = on;
        self
    }

    /// Sets which redirects this request follows. Default: as in the session.
    pub fn redirects(mut self, policy: RedirectPolicy) -> Self {
        self.options.redirects = Some(policy);
        self
    }

    /// Sets how long this response is good for, where its headers do not say. With
    /// [`DoNotStore`](ExpireAfter::DoNotStore) the request goes past the cache.
    pub fn expire_after(self, expire_after: impl Into<ExpireAfter>) -> Self {
        self.set(|settings| settings.expire_after(expire_after))
    }

    /// Makes the lifetime of the settings, this request's `expire_after` before all, stronger than the response's headers;
    /// see [`RequestSettings::force_ttl`].
    pub fn force_ttl(self, on: bool) -> Self {
        self.set(|settings| settings.force_ttl(on))
    }

    /// Sets how this request uses the cache. Default: as the URL's rule says, else the session.
    pub fn mode(self, mode: Mode) -> Self {
        self.set(|settings| settings.mode(mode))
    }

    /// Revalidates what is stored before it is served: [`Mode::NoCache`]. What has no validator is fetched again.
    pub fn refresh(self) -> Self {
        self.mode(Mode::NoCache)
    }

    /// Fetches the response again, whatever is stored, and stores what comes: [`Mode::Reload`].
    pub fn reload(self) -> Self {
        self.mode(Mode::Reload)
    }

    /// Sets whether headers about caching count for this request and its response.
    pub fn cache_control(self, cache_control: CacheControl) -> Self {
        self.set(|settings| settings.cache_control(cache_control))
    }

    /// Sets for how long past its freshness a response may answer this request instead of an error (RFC 5861 section 4),
    /// whatever the response and the session say. What forbids serving stale still does.
    pub fn stale_if_error(self, window: impl Into<StaleWindow>) -> Self {
        self.set(|settings| settings.stale_if_error(window))
    }

    /// Sets for how long past its freshness a response may answer this request while it is refreshed in the background
    /// (RFC 5861 section 3), whatever the response and the session say. What forbids serving stale still does.
    pub fn stale_while_revalidate(self, window: impl Into<StaleWindow>) -> Self {
        self.set(|settings| settings.stale_while_revalidate(window))
    }

    /// Sets which responses to this request are stored, and which stored ones it uses, in place of the filters of the URL's
    /// rule and of the session; [`RequestSettings::filter_write`] and [`filter_read`](RequestSettings::filter_read) set one
    /// of them.
    pub fn filter(self, filter: ResponseFilter) -> Self {
        self.set(|settings| settings.filter(filter))
    }

    /// Sets what changes the header lines that are stored with this response, in place of what the rule and the session
    /// have.
    pub fn before_store(self, change: BeforeStore) -> Self {
        self.set(|settings| settings.before_store(change))
    }

    pub(super) fn match_by(self, change: impl FnOnce(Matching) -> Matching) -> Self {
        self.set(|mut settings| {
            settings.matching = Some(change(settings.matching.take().unwrap_or_default()));
            settings
        })
    }

    /// The request with the session's default headers in it. What depends on the hop (cookies of the session's jar,
    /// `Accept-Encoding`) is added when it is sent.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the URL, a header, the query or the body is not valid.
    pub fn build(self) -> Result<Request<RequestBody>> {
        self.built().2
    }

    /// The same, and with what it is to be sent.
    fn built(self) -> (CachedSession, Options, Result<Request<RequestBody>>) {
        let Self { session, options, settings, mut request } = self;
        let completed = request.as_mut().map_or(Ok(()), |request| {
            session.inner.defaults.complete(request);
            say_body(request);
            if let Some(settings) = settings {
                settings.matching.as_ref().map_or(Ok(()), Matching::validate)?;
                request.extensions_mut().insert(*settings);
            }
            Ok(())
        });
        if let Err(error) = completed {
            request = Err(error);
        }
        (session, options, request)
    }

    /// Sends the request, or answers it from the cache.
    ///
    /// The future may be dropped at any point. A fault of the cache is never an error here.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the request is not valid, [`Connect`](ErrorKind::Connect),
    /// [`Transport`](ErrorKind::Transport), [`Timeout`](ErrorKind::Timeout), [`Redirect`](ErrorKind::Redirect), and
    /// [`Closed`](ErrorKind::Closed) after the session was closed.
    pub fn send(self) -> impl Future<Output = Result<Response>> + Send + use<> {
        let (session, options, request) = self.built();
        session.send(request, options)
    }

    /// What would become of this request at this moment, and why, without sending it:
    /// [`CachedSession::explain`].
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the request is not valid.
    pub async fn explain(self) -> Result<Explanation> {
        let (session, options) = (self.session.clone(), self.options.clone());
        let request = self.build()?;
        let told = session.explain_with(&request, &options);
        told.await
    }

    fn change(mut self, change: impl FnOnce(&mut Request<RequestBody>) -> Result<()>) -> Self {
        if let Ok(request) = &mut self.request
            && let Err(error) = change(request)
        {
            self.request = Err(error);
        }
        self
    }

    fn set(mut self, set: impl FnOnce(RequestSettings) -> RequestSettings) -> Self {
        let settings = self.settings.take().map(|settings| *settings).unwrap_or_default();
        self.settings = Some(Box::new(set(settings)));
        self
    }
}

// Header values and the query may be secrets: neither is shown (case 75).
impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RequestBuilder");
        match &self.request {
            Ok(request) => {
                out.field("method", request.method());
                out.field("url", &without_query(request.uri()));
                out.field("headers", &request.headers().keys().collect::<Vec<_>>());
            }
            Err(error) => {
                out.field("error", error);
            }
        }
        out.field("options", &self.options).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Tells the cache what the body is, where that is known: it is part of the key.
pub(super) fn say_body(request: &mut Request<RequestBody>) {
    if let Some(bytes) = request.body().bytes().cloned() {
        request.extensions_mut().insert(ReplayBody::<RequestBody>::new(bytes));
    }
}

/// The URL as far as it may be shown anywhere.
pub(super) fn without_query(uri: &Uri) -> String {
    let shown = crate::key::shown_url(uri);
    shown.split_once('?').map_or(shown.clone(), |(before, _)| format!("{before}?.."))
}

fn set_body(request: &mut Request<RequestBody>, bytes: Vec<u8>, content_type: &'static str) {
    request.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
    *request.body_mut() = bytes.into();
}

fn with_query(uri: &Uri, added: &str) -> Result<Uri> {
    let (path, joined) = match uri.query() {
        Some(query) if !query.is_empty() => (uri.path(), format!("{query}&{added}")),
        _ => (uri.path(), added.to_owned()),
    };
    let mut parts = uri.clone().into_parts();
    let invalid = |error| Error::new(ErrorKind::Request, "the URL with its query is not valid").with_source(error);
    parts.path_and_query = Some(format!("{path}?{joined}").parse().map_err(invalid)?);
    Uri::from_parts(parts).map_err(|error| Error::new(ErrorKind::Request, "the URL").with_source(error))
}
