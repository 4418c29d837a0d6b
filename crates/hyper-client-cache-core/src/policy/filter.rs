//! Functions of the user's that have a say: in what is stored, in what is answered from the store, in which requests use
//! the cache, and in what of a response is stored.
//!
//! They are called by the engine, never while it holds a lock. One that panics fails open: the response in question is
//! not stored or not used, the request goes on, and a counter moves (case 236). What it panicked with is not logged, for it
//! may hold a secret (case 81).

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::cache::{Freshness, ResponseRecord};

/// A response that is to be stored or is stored, as a filter sees it.
#[derive(Clone, Copy)]
pub struct ResponseView<'a> {
    record: &'a ResponseRecord,
    body: Option<&'a Bytes>,
}

impl<'a> ResponseView<'a> {
    /// A view of `record`, and of its body where that may be seen.
    #[must_use]
    pub const fn new(record: &'a ResponseRecord, body: Option<&'a Bytes>) -> Self {
        Self { record, body }
    }

    /// The method of the request.
    #[must_use]
    pub const fn method(&self) -> &'a Method {
        &self.record.method
    }

    /// The URL of the request, without user information.
    #[must_use]
    pub fn url(&self) -> &'a str {
        &self.record.url
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.record.status
    }

    /// The first line of a header field, as it is stored.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a HeaderValue> {
        self.headers().find(|(other, _)| other.as_str().eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The header lines that are stored, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> + use<'a> {
        self.record.headers.iter().map(|(name, value)| (name, value))
    }

    /// When it was received, and how long it is good for.
    #[must_use]
    pub const fn freshness(&self) -> &'a Freshness {
        &self.record.freshness
    }

    /// The body as it came over the wire, for a filter [with the body](ResponseFilter::with_body); `None` for others, and
    /// where it is over 256 KiB, so that it is not all in memory at once.
    #[must_use]
    pub const fn body(&self) -> Option<&'a Bytes> {
        self.body
    }
}

// As little as of a response: a header or the query may be a secret.
impl fmt::Debug for ResponseView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseView")
            .field("method", self.method())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

type Decide = dyn Fn(ResponseView<'_>) -> bool + Send + Sync;
type DecideLater = dyn Fn(ResponseView<'_>) -> BoxFuture<'static, bool> + Send + Sync;

/// Says whether a response may be stored, or what is stored may be used.
///
/// ```
/// use hyper_client_cache_core::policy::{ResponseFilter, Settings};
///
/// // Only what is no error says so in its body.
/// let settings = Settings::default()
///     .filter_write(ResponseFilter::new(|response| response.status().is_success()))
///     .filter_read(
///         ResponseFilter::asynchronous(|response| {
///             // What is needed later is taken from the view first.
///             let body = response.body().cloned();
///             async move { body.is_none_or(|body| !body.starts_with(b"error")) }
///         })
///         .with_body(),
///     );
/// assert!(settings.validate().is_ok());
/// ```
#[derive(Clone)]
pub struct ResponseFilter {
    decide: Which,
    wants_body: bool,
}

#[derive(Clone)]
enum Which {
    Now(Arc<Decide>),
    Later(Arc<DecideLater>),
}

/// A filter's answer.
pub(crate) enum Decision {
    Now(Result<bool, Panicked>),
    Later(BoxFuture<'static, Result<bool, Panicked>>),
}

/// A function of the user's has panicked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panicked;

impl ResponseFilter {
    /// A filter that decides at once. It should: it holds up the request.
    pub fn new(decide: impl Fn(ResponseView<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self { decide: Which::Now(Arc::new(decide)), wants_body: false }
    }

    /// A filter that takes its time. The request waits for it, but no longer than its time-out; what a future needs of
    /// the response it takes along.
    pub fn asynchronous<F, R>(decide: F) -> Self
    where
        F: Fn(ResponseView<'_>) -> R + Send + Sync + 'static,
        R: Future<Output = bool> + Send + 'static,
    {
        Self { decide: Which::Later(Arc::new(move |view| decide(view).boxed())), wants_body: false }
    }

    /// Shows the filter the body, if it has at most 256 KiB. What is to be stored is then decided when the body is
    /// complete, and whoever reads it gets its end when that is done.
    #[must_use]
    pub fn with_body(mut self) -> Self {
        self.wants_body = true;
        self
    }

    /// Whether the filter is shown the body.
    #[must_use]
    pub const fn wants_body(&self) -> bool {
        self.wants_body
    }

    pub(crate) fn decide(&self, record: &ResponseRecord, body: Option<&Bytes>) -> Decision {
        let view = ResponseView::new(record, body.filter(|_| self.wants_body));
        match &self.decide {
            Which::Now(decide) => Decision::Now(catch_unwind(AssertUnwindSafe(|| decide(view))).map_err(|_| Panicked)),
            Which::Later(decide) => match catch_unwind(AssertUnwindSafe(|| decide(view))) {
                Ok(future) => Decision::Later(
                    AssertUnwindSafe(future).catch_unwind().map(|result| result.map_err(|_| Panicked)).boxed(),
                ),
                Err(_) => Decision::Now(Err(Panicked)),
            },
        }
    }
}

// The same function, not one that does the same: that nobody can tell.
impl PartialEq for ResponseFilter {
    fn eq(&self, other: &Self) -> bool {
        let is_same = match (&self.decide, &other.decide) {
            (Which::Now(one), Which::Now(other)) => Arc::ptr_eq(one, other),
            (Which::Later(one), Which::Later(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        is_same && self.wants_body == other.wants_body
    }
}

impl Eq for ResponseFilter {}

impl fmt::Debug for ResponseFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFilter").field("wants_body", &self.wants_body).finish_non_exhaustive()
    }
}

/// A request, as a filter sees it: as it will be sent.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RequestView<'a> {
    /// The method.
    pub method: &'a Method,
    /// The URL.
    pub uri: &'a Uri,
    /// The header lines.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestView<'a> {
    /// A view of these.
    #[must_use]
    pub const fn new(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        Self { method, uri, headers }
    }
}

impl fmt::Debug for RequestView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestView").field("method", self.method).finish_non_exhaustive()
    }
}

/// Says whether a request uses the cache; one that does not goes past it.
#[derive(Clone)]
pub struct RequestFilter(Arc<dyn Fn(RequestView<'_>) -> bool + Send + Sync>);

impl RequestFilter {
    /// A filter that decides at once.
    pub fn new(decide: impl Fn(RequestView<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    pub(crate) fn decide(&self, request: RequestView<'_>) -> Result<bool, Panicked> {
        catch_unwind(AssertUnwindSafe(|| (self.0)(request))).map_err(|_| Panicked)
    }
}

impl fmt::Debug for RequestFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFilter").finish_non_exhaustive()
    }
}

type Change = dyn Fn(ResponseView<'_>, &mut HeaderMap) + Send + Sync;

/// Changes the header lines that are stored with a response. Whoever has asked for it gets it as it came.
#[derive(Clone)]
pub struct BeforeStore(Arc<Change>);

impl BeforeStore {
    /// A function that is given the response and the lines that are to be stored with it. It is called again when a 304
    /// has brought new ones. Freshness, validators and variants are decided before it is called.
    pub fn new(change: impl Fn(ResponseView<'_>, &mut HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }

    pub(crate) fn change(&self, record: &mut ResponseRecord) -> Result<(), Panicked> {
        let mut headers = record.header_map();
        let view = ResponseView::new(record, None);
        catch_unwind(AssertUnwindSafe(|| (self.0)(view, &mut headers))).map_err(|_| Panicked)?;
        let mut name = None;
        record.headers.clear();
        for (next, value) in headers {
            // Only the first line of a field brings its name.
            name = next.or(name);
            record.headers.extend(name.clone().map(|name| (name, value)));
        }
        Ok(())
    }
}

// As above.
impl PartialEq for BeforeStore {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for BeforeStore {}

impl fmt::Debug for BeforeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeforeStore").finish_non_exhaustive()
    }
}
