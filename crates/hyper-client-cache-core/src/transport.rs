//! The client that speaks to origins: hyper-util over rustls, HTTP/1.1 and HTTP/2, as one more `tower` service.
//!
//! The session puts the cache before it; nothing here knows of a cache.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::header::TRANSFER_ENCODING;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use crate::error::{BoxError, Error, ErrorKind, Result};

/// The service that sends requests over the network. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Transport {
    client: Client<Connector, RequestBody>,
}

/// Options of [`Transport`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TransportBuilder {
    connect_timeout: Duration,
    idle_timeout: Duration,
    roots: Vec<CertificateDer<'static>>,
    http2_only: bool,
}

impl Transport {
    /// Options, at their defaults: 10 seconds to connect, connections kept for 90 seconds when idle, Mozilla's roots.
    pub fn builder() -> TransportBuilder {
        TransportBuilder {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
            roots: Vec::new(),
            http2_only: false,
        }
    }
}

impl TransportBuilder {
    /// Sets how long connecting may take, TLS included.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long an idle connection is kept.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Trusts a certificate authority in addition to Mozilla's, given in DER form.
    pub fn root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.roots.push(CertificateDer::from(der.into()));
        self
    }

    /// Speaks HTTP/2 from the first byte, also without TLS. Off by default: TLS negotiates it.
    pub fn http2_prior_knowledge(mut self, on: bool) -> Self {
        self.http2_only = on;
        self
    }

    /// Makes the transport. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a time-out is zero or a certificate is none.
    pub fn build(self) -> Result<Transport> {
        if self.connect_timeout.is_zero() {
            return Err(Error::new(ErrorKind::Config, "`connect_timeout` is zero: give at least a millisecond"));
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let https = HttpsConnectorBuilder::new().with_tls_config(self.tls()?).https_or_http().enable_all_versions();
        let connector = Connector { inner: https.wrap_connector(http), timeout: self.connect_timeout };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(self.idle_timeout)
            .http2_only(self.http2_only)
            .build(connector);
        Ok(Transport { client })
    }

    fn tls(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for root in &self.roots {
            roots.add(root.clone()).map_err(|error| {
                Error::new(ErrorKind::Config, "a `root_certificate` is no certificate authority in DER form")
                    .with_source(error)
            })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Config, "TLS cannot be set up").with_source(error))?;
        Ok(versions.with_root_certificates(roots).with_no_client_auth())
    }
}

impl Service<Request<RequestBody>> for Transport {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        // The client takes any number of requests; its pool opens connections as they are needed.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        // hyper sends a body of unknown length with these methods only where that is said.
        if matches!(*request.method(), Method::GET | Method::HEAD) && request.body().size_hint().exact().is_none() {
            request.headers_mut().entry(TRANSFER_ENCODING).or_insert(HeaderValue::from_static("chunked"));
        }
        let exchange = self.client.request(request);
        Box::pin(async move {
            exchange.await.map_err(|error| {
                let kind = match error.is_connect() {
                    true if is_timeout(&error) => ErrorKind::Timeout,
                    true => ErrorKind::Connect,
                    false => ErrorKind::Transport,
                };
                Error::new(kind, "").with_source(error)
            })
        })
    }
}

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The body of a request: nothing, bytes, or a stream.
#[derive(Debug, Default)]
pub struct RequestBody(Content);

#[derive(Debug, Default)]
enum Content {
    #[default]
    Empty,
    Full(Full<Bytes>, Bytes),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

impl RequestBody {
    /// A body that is sent as it comes. It cannot be sent twice, so that a redirect that needs it is not followed.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Content::Stream(body.map_err(Into::into).boxed_unsync()))
    }

    /// The same body once more; `None` for a stream.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Content::Empty => Some(Self::default()),
            Content::Full(_, bytes) => Some(Self::from(bytes.clone())),
            Content::Stream(_) => None,
        }
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        Self(Content::Full(Full::new(bytes.clone()), bytes))
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<String> for RequestBody {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<&'static str> for RequestBody {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl From<()> for RequestBody {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Content::Empty => Poll::Ready(None),
            Content::Full(body, _) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Content::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Empty => true,
            Content::Full(body, _) => body.is_end_stream(),
            Content::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(body, _) => body.size_hint(),
            Content::Stream(body) => body.size_hint(),
        }
    }
}

/// Connects within a time, and reads a connection that ends without TLS's farewell as ended.
///
/// Where the end of the connection is the end of the body, that is how many servers end it, and the caller shall have
/// the body; the policy stores none of that kind (case 171). Every other framing notices the missing bytes itself.
#[derive(Clone, Debug)]
struct Connector {
    inner: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = Stream<<HttpsConnector<HttpConnector> as Service<Uri>>::Response>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, timeout) = (self.inner.call(uri), self.timeout);
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected.map(Stream),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long").into()),
            }
        })
    }
}

struct Stream<T>(T);

impl<T: Connection> Connection for Stream<T> {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

impl<T: Read + Unpin> Read for Stream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl<T: Write + Unpin> Write for Stream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
