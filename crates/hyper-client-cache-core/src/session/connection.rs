//! How a session is set up to connect: time-outs, TLS, proxies, or another client in place of its own.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::SessionBuilder;
use crate::error::BoxError;
use crate::transport::{Proxy, RequestBody};

impl SessionBuilder {
    /// Sets how long connecting may take, proxy and TLS included. Default: 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.transport = self.transport.connect_timeout(timeout);
        self
    }

    /// Sets how long the head of a response may take, and then each read of its body. Default: no limit but that of the
    /// request as a whole.
    pub fn read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.transport = self.transport.read_timeout(timeout);
        self
    }

    /// Sets how long an idle connection is kept. Default: 90 seconds.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.transport = self.transport.idle_timeout(timeout);
        self
    }

    /// Sets how many idle connections are kept for each scheme, host and port. Default: no limit but the idle time-out.
    pub fn max_idle_per_host(mut self, limit: usize) -> Self {
        self.transport = self.transport.max_idle_per_host(limit);
        self
    }

    /// Trusts a certificate authority in addition to Mozilla's, given in DER form.
    ///
    /// Whatever changes whom TLS trusts, or as whom it speaks, keeps the session's entries apart from those of sessions
    /// that are set up otherwise, also where they share a cache.
    pub fn root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.transport = self.transport.root_certificate(der);
        self
    }

    /// Trusts the certificate authorities of a PEM file in addition to Mozilla's. Keeps entries apart, as
    /// [`root_certificate`](Self::root_certificate) says.
    pub fn root_certificates_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.transport = self.transport.root_certificates_pem(pem);
        self
    }

    /// Trusts only the certificate authorities that were given, not Mozilla's. Keeps entries apart.
    pub fn only_own_root_certificates(mut self, on: bool) -> Self {
        self.transport = self.transport.only_own_root_certificates(on);
        self
    }

    /// Shows a certificate to servers that ask for one: its chain, its own first, and its private key, both in PEM form.
    /// Keeps entries apart.
    pub fn client_certificate_pem(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.transport = self.transport.client_certificate_pem(chain, key);
        self
    }

    /// Accepts any certificate of any server: whoever is on the way can read and change everything. Keeps entries apart.
    pub fn danger_accept_invalid_certs(mut self, on: bool) -> Self {
        self.transport = self.transport.danger_accept_invalid_certs(on);
        self
    }

    /// Accepts a trusted certificate that was issued for another name: whoever has one of any name can pose as any
    /// server. Keeps entries apart.
    pub fn danger_accept_invalid_hostnames(mut self, on: bool) -> Self {
        self.transport = self.transport.danger_accept_invalid_hostnames(on);
        self
    }

    /// Speaks HTTP/2 from the first byte, also without TLS. Off by default: TLS negotiates it.
    pub fn http2_prior_knowledge(mut self, on: bool) -> Self {
        self.transport = self.transport.http2_prior_knowledge(on);
        self
    }

    /// Sends requests through a proxy. Where several match a request, the first is taken; with one, those of the
    /// environment are not looked at.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.transport = self.transport.proxy(proxy);
        self
    }

    /// Whether the variables `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count, in capitals or not.
    /// Default: yes. They are read once, by [`build`](Self::build); a program that answers to CGI ignores `HTTP_PROXY`.
    pub fn proxy_from_env(mut self, on: bool) -> Self {
        self.transport = self.transport.proxy_from_env(on);
        self
    }

    /// Sends with `service` instead of a client of its own: a hyper-util client whose requests have a [`RequestBody`], or
    /// any other service, with whatever layers are around it.
    ///
    /// Options of the session's own client cannot be set beside it. Whom the service trusts is not known here: where it
    /// shares a cache with others that trust less or more, give each a [partition](crate::policy::Settings::partition).
    ///
    /// ```
    /// use hyper_client_cache_core::CachedSession;
    /// use hyper_client_cache_core::transport::RequestBody;
    /// use hyper_util::client::legacy::Client;
    /// use hyper_util::rt::TokioExecutor;
    ///
    /// # fn main() -> hyper_client_cache_core::Result<()> {
    /// let client: Client<_, RequestBody> = Client::builder(TokioExecutor::new()).build_http();
    /// let session = CachedSession::builder().service(client).build()?;
    /// # let _ = session;
    /// # Ok(())
    /// # }
    /// ```
    pub fn service<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.service = Some(Box::new(service));
        self
    }
}
