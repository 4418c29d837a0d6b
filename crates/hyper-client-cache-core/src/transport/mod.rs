//! The client that speaks to origins: hyper-util over rustls, HTTP/1.1 and HTTP/2, as one more `tower` service.
//!
//! The session puts the cache before it; nothing here knows of a cache.
//! Below: `connect` opens connections, through a `proxy` where one is to be used, by `socks` where that speaks SOCKS, with
//! TLS as `tls` says; `retry` says what is sent twice; `timed` watches a body; `body` is what is sent; `outbound` is this or any other service.

mod outbound;

mod retry;

mod connect;

mod proxy;

mod socks;

mod tls;

mod timed;

mod body;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::future::BoxFuture;
use http::header::{PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpInfo;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

pub use self::body::RequestBody;
use self::connect::{Connector, Uses};
pub(crate) use self::outbound::{Given, Observer, Outbound};
use self::proxy::Proxies;
pub use self::proxy::Proxy;
pub use self::timed::TransportBody;
use self::tls::TlsOptions;
use crate::error::{Error, ErrorKind, Result};

/// The service that sends requests over the network. Cheap to clone; clones share the connections.
///
/// The extensions of a response hold the [`RemoteAddr`] that it came from.
/// An idempotent request whose connection went away after it had served others is sent once more, if its body can be; so
/// is any request that an HTTP/2 server says it has not begun with (RFC 9113 section 8.7).
#[derive(Clone, Debug)]
pub struct Transport {
    client: Client<Connector, RequestBody>,
    proxies: Arc<Proxies>,
    read_timeout: Option<Duration>,
}

/// Where a response came from: the address of the server, or of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteAddr(pub SocketAddr);

/// Options of [`Transport`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TransportBuilder {
    connect_timeout: Duration,
    read_timeout: Option<Duration>,
    idle_timeout: Duration,
    max_idle_per_host: usize,
    tls: TlsOptions,
    http2_only: bool,
    proxies: Vec<Proxy>,
    proxy_from_env: bool,
    /// The name of an option that was set, for whoever has no use for options.
    touched: Option<&'static str>,
}

impl Transport {
    /// Options, at their defaults: 10 seconds to connect, connections kept for 90 seconds when idle, Mozilla's roots,
    /// the proxies of the environment.
    pub fn builder() -> TransportBuilder {
        TransportBuilder {
            connect_timeout: Duration::from_secs(10),
            read_timeout: None,
            idle_timeout: Duration::from_secs(90),
            max_idle_per_host: usize::MAX,
            tls: TlsOptions::default(),
            http2_only: false,
            proxies: Vec::new(),
            proxy_from_env: true,
            touched: None,
        }
    }

    fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<TransportBody>>> + Send + use<'_> {
        // hyper sends a body of unknown length with these methods only where that is said.
        if matches!(*request.method(), Method::GET | Method::HEAD) && request.body().size_hint().exact().is_none() {
            request.headers_mut().entry(TRANSFER_ENCODING).or_insert(HeaderValue::from_static("chunked"));
        }
        self.authorize_to_proxy(&mut request);
        let again = retry::again(&request);
        // The request itself is with the client from here on, not in the future, which is copied as it is handed on.
        let exchange = self.exchange(request);
        async move {
            let response = match (exchange.await, again) {
                (Err(Failed::Client(error)), Some(again)) if retry::is_worth_it(again.method(), &error) => {
                    self.exchange(again).await
                }
                (result, _) => result,
            };
            let mut response = response.map_err(Failed::into_error)?;
            if let Some(uses) = response.extensions_mut().remove::<Uses>() {
                uses.add();
            }
            if let Some(info) = response.extensions_mut().remove::<HttpInfo>() {
                response.extensions_mut().insert(RemoteAddr(info.remote_addr()));
            }
            Ok(response.map(|body| TransportBody::new(body, self.read_timeout)))
        }
    }

    fn exchange(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, Failed>> + Send + use<> {
        // A body that streams may take longer than a read: only the request's own time bounds it.
        let limit = self.read_timeout.filter(|_| request.body().as_bytes().is_some());
        let exchange = self.client.request(request);
        async move {
            let result = match limit {
                Some(limit) => tokio::time::timeout(limit, exchange).await.map_err(|_| Failed::Late)?,
                None => exchange.await,
            };
            result.map_err(Failed::Client)
        }
    }

    /// `Proxy-Authorization` is for a proxy that is told the whole URL, and goes nowhere else.
    fn authorize_to_proxy(&self, request: &mut Request<RequestBody>) {
        match self.proxies.credentials(request.uri()) {
            Some(Some(credentials)) => {
                request.headers_mut().entry(PROXY_AUTHORIZATION).or_insert(credentials);
            }
            Some(None) => {}
            None => {
                request.headers_mut().remove(PROXY_AUTHORIZATION);
            }
        }
    }
}

impl TransportBuilder {
    /// Sets how long connecting may take, proxy and TLS included.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self.touch("connect_timeout")
    }

    /// Sets how long the head of a response may take, and then each read of its body. Default: no limit of its own.
    /// For a request whose body streams it counts for the response's body only.
    pub fn read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.read_timeout = timeout.into();
        self.touch("read_timeout")
    }

    /// Sets how long an idle connection is kept.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self.touch("idle_timeout")
    }

    /// Sets how many idle connections are kept for each scheme, host and port. Default: no limit but the idle time-out.
    pub fn max_idle_per_host(mut self, limit: usize) -> Self {
        self.max_idle_per_host = limit;
        self.touch("max_idle_per_host")
    }

    /// Trusts a certificate authority in addition to Mozilla's, given in DER form.
    pub fn root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.tls.add_root_der(der.into());
        self.touch("root_certificate")
    }

    /// Trusts the certificate authorities of a PEM file in addition to Mozilla's.
    pub fn root_certificates_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.tls.add_roots_pem(pem.as_ref());
        self.touch("root_certificates_pem")
    }

    /// Trusts only the certificate authorities that were given, not Mozilla's.
    pub fn only_own_root_certificates(mut self, on: bool) -> Self {
        self.tls.set_only_own_roots(on);
        self.touch("only_own_root_certificates")
    }

    /// Shows a certificate to servers that ask for one: its chain, its own first, and its private key, both in PEM form.
    pub fn client_certificate_pem(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.tls.set_identity_pem(chain.as_ref(), key.as_ref());
        self.touch("client_certificate_pem")
    }

    /// Accepts any certificate of any server: whoever is on the way can read and change everything.
    pub fn danger_accept_invalid_certs(mut self, on: bool) -> Self {
        self.tls.set_accept_invalid_certs(on);
        self.touch("danger_accept_invalid_certs")
    }

    /// Accepts a trusted certificate that was issued for another name: whoever has one of any name can pose as any server.
    pub fn danger_accept_invalid_hostnames(mut self, on: bool) -> Self {
        self.tls.set_accept_invalid_hostnames(on);
        self.touch("danger_accept_invalid_hostnames")
    }

    /// Speaks HTTP/2 from the first byte, also without TLS. Off by default: TLS negotiates it.
    pub fn http2_prior_knowledge(mut self, on: bool) -> Self {
        self.http2_only = on;
        self.touch("http2_prior_knowledge")
    }

    /// Sends requests through a proxy. Where several match a request, the first is taken; with one, those of the
    /// environment are not looked at.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxies.push(proxy);
        self.touch("proxy")
    }

    /// Whether the variables `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count, in capitals or not.
    /// Default: yes. They are read once, by [`build`](Self::build).
    pub fn proxy_from_env(mut self, on: bool) -> Self {
        self.proxy_from_env = on;
        self.touch("proxy_from_env")
    }

    /// Makes the transport. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a time-out is zero, a certificate is none, or a proxy is impossible.
    pub fn build(self) -> Result<Transport> {
        for (name, timeout) in [
            ("connect_timeout", Some(self.connect_timeout)),
            ("read_timeout", self.read_timeout),
            ("idle_timeout", Some(self.idle_timeout)),
        ] {
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                let problem = format!("`{name}` is zero: give at least a millisecond");
                return Err(Error::new(ErrorKind::Config, problem));
            }
        }
        let proxies = Arc::new(Proxies::new(self.proxies, self.proxy_from_env)?);
        let tls = self.tls.build(self.http2_only)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(self.idle_timeout)
            .pool_max_idle_per_host(self.max_idle_per_host)
            .http2_only(self.http2_only)
            .build(Connector::new(tls, proxies.clone(), self.connect_timeout));
        Ok(Transport { client, proxies, read_timeout: self.read_timeout })
    }

    /// What tells this transport's trust from others'; `None` for the default (case 72).
    pub(crate) fn tls_policy_id(&self) -> Option<[u8; 32]> {
        self.tls.policy_id()
    }

    /// An option that was set, if one was.
    pub(crate) const fn touched(&self) -> Option<&'static str> {
        self.touched
    }

    fn touch(mut self, option: &'static str) -> Self {
        self.touched.get_or_insert(option);
        self
    }
}

impl Service<Request<RequestBody>> for Transport {
    type Response = Response<TransportBody>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        // The client takes any number of requests; its pool opens connections as they are needed.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let transport = self.clone();
        Box::pin(async move { transport.send(request).await })
    }
}

/// Why an exchange came to nothing.
enum Failed {
    Client(ClientError),
    Late,
}

impl Failed {
    fn into_error(self) -> Error {
        let error = match self {
            Self::Client(error) => error,
            Self::Late => return timed::late(),
        };
        let kind = match error.is_connect() {
            true if is_timeout(&error) => ErrorKind::Timeout,
            true => ErrorKind::Connect,
            false => ErrorKind::Transport,
        };
        Error::new(kind, "").with_source(error)
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
