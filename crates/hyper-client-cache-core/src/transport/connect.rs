//! How a connection comes to be: directly or through a proxy, with TLS or without, within a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use tower_service::Service;

use super::proxy::Proxies;
use super::socks::{Greeting, Socks};
use super::tls::Tls;
use crate::error::{BoxError, Error, ErrorKind};

type Plain = HttpsConnector<HttpConnector>;
type Tunneled = HttpsConnector<Tunnel<Plain>>;
type PlainStream = <Plain as Service<Uri>>::Response;
type TunneledStream = <Tunneled as Service<Uri>>::Response;

/// Connects within a time, and reads a connection that ends without TLS's farewell as ended.
///
/// Where the end of the connection is the end of the body, that is how many servers end it, and the caller shall have
/// the body; the policy stores none of that kind (case 171). Every other framing notices the missing bytes itself.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    http: HttpConnector,
    tls: Tls,
    proxies: Arc<Proxies>,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(tls: Tls, proxies: Arc<Proxies>, timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        Self { http, tls, proxies, timeout }
    }

    fn open(&self, uri: Uri) -> BoxFuture<'static, Result<Stream, BoxError>> {
        let Some(proxy) = self.proxies.find(&uri) else {
            let mut direct = Plain::from((self.http.clone(), self.tls.to_origin.clone()));
            return Box::pin(async move { Ok(Stream::new(Io::Direct(direct.call(uri).await?))) });
        };
        match proxy.uri().scheme_str() {
            Some("http" | "https") => {}
            Some("socks5" | "socks5h") => {
                let socks = Socks::new(self.http.clone(), proxy);
                let mut through = HttpsConnector::from((socks, self.tls.to_origin.clone()));
                return Box::pin(async move { Ok(Stream::new(Io::Greeted(Box::new(through.call(uri).await?)))) });
            }
            _ => {
                let problem = "the proxy's scheme is none of `http`, `https`, `socks5` and `socks5h`";
                return Box::pin(async move { Err(Error::new(ErrorKind::Connect, problem).into()) });
            }
        }
        let mut to_proxy = Plain::from((self.http.clone(), self.tls.to_proxy.clone()));
        let to_origin = self.tls.to_origin.clone();
        Box::pin(async move {
            if uri.scheme_str() != Some("https") {
                let stream = to_proxy.call(proxy.uri().clone()).await?;
                return Ok(Stream::new(Io::Forwarded(stream)));
            }
            let mut tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
            if let Some(credentials) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(credentials.clone());
            }
            let stream = Tunneled::from((tunnel, to_origin)).call(uri).await?;
            Ok(Stream::new(Io::Tunneled(Box::new(stream))))
        })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, timeout) = (self.open(uri), self.timeout);
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long").into()),
            }
        })
    }
}

/// How many answers came over a connection: none yet, on one that is new.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses(Arc<AtomicUsize>);

impl Uses {
    pub(super) fn add(&self) {
        // Only whether there was one counts; it wraps after more than a connection lives.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_reused(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

pub(super) struct Stream {
    io: Io,
    uses: Uses,
}

enum Io {
    Direct(PlainStream),
    /// To a proxy that is told the whole URL.
    Forwarded(PlainStream),
    /// Through a proxy that passes bytes on.
    Tunneled(Box<TunneledStream>),
    /// Through one that speaks SOCKS, and then does the same.
    Greeted(Box<MaybeHttpsStream<Greeting>>),
}

impl Stream {
    fn new(io: Io) -> Self {
        Self { io, uses: Uses::default() }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = match &self.io {
            Io::Direct(io) => io.connected(),
            Io::Forwarded(io) => io.connected().proxy(true),
            Io::Tunneled(io) => io.connected(),
            Io::Greeted(io) => io.connected(),
        };
        connected.extra(self.uses.clone())
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = match &mut self.io {
            Io::Direct(io) | Io::Forwarded(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tunneled(io) => Pin::new(io).poll_read(cx, buf),
            Io::Greeted(io) => Pin::new(io).poll_read(cx, buf),
        };
        match read {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Direct(io) | Io::Forwarded(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tunneled(io) => Pin::new(io).poll_write(cx, buf),
            Io::Greeted(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Direct(io) | Io::Forwarded(io) => Pin::new(io).poll_flush(cx),
            Io::Tunneled(io) => Pin::new(io).poll_flush(cx),
            Io::Greeted(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Direct(io) | Io::Forwarded(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tunneled(io) => Pin::new(io).poll_shutdown(cx),
            Io::Greeted(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Direct(io) | Io::Forwarded(io) => io.is_write_vectored(),
            Io::Tunneled(io) => io.is_write_vectored(),
            Io::Greeted(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Direct(io) | Io::Forwarded(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tunneled(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Greeted(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }
}
