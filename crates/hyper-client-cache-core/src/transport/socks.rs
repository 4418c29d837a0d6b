//! Connections through a SOCKS5 proxy (RFC 1928; user name and password by RFC 1929).
//!
//! hyper-util does the handshake. Here a name is resolved on the side that the scheme says, the port is always said, and
//! what comes after the handshake is left to whoever speaks next.

use std::future::Ready;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Intercept;
use tower_service::Service;

use crate::error::{BoxError, Error, ErrorKind, Result};

/// The port of a proxy whose URL names none (RFC 1928 section 3).
const PORT: u16 = 1080;

/// How long user name and password may be, in bytes each (RFC 1929 section 2).
const MAX_CREDENTIAL: usize = 255;

type Tcp = <HttpConnector as Service<Uri>>::Response;

/// Connects to origins through one proxy.
#[derive(Clone, Debug)]
pub(super) struct Socks {
    http: HttpConnector,
    proxy: Intercept,
}

impl Socks {
    pub(super) const fn new(http: HttpConnector, proxy: Intercept) -> Self {
        Self { http, proxy }
    }

    async fn connect(self, uri: Uri) -> Result<Greeting, BoxError> {
        let host = uri.host().ok_or("there is no host to connect to")?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let mut last = None;
        for host in self.hosts(host).await? {
            match self.greet(&host, port).await {
                Ok(greeting) => return Ok(greeting),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| "the host has no address".into()))
    }

    /// What the proxy is told, one after the other: the name itself with `socks5h`, its addresses with `socks5`.
    async fn hosts(&self, host: &str) -> Result<Vec<String>, BoxError> {
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if is_address || self.proxy.uri().scheme_str() == Some("socks5h") {
            return Ok(vec![host.to_owned()]);
        }
        let addresses = GaiResolver::new().call(host.parse()?).await?;
        let written = |ip: IpAddr| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        Ok(addresses.map(|address| written(address.ip())).collect())
    }

    async fn greet(&self, host: &str, port: u16) -> Result<Greeting, BoxError> {
        let authority = self.proxy.uri().authority().map_or("", |authority| authority.as_str());
        let proxy: Uri = match self.proxy.uri().port() {
            Some(_) => self.proxy.uri().clone(),
            None => format!("socks5://{authority}:{PORT}/").parse()?,
        };
        let tcp = self.http.clone().call(proxy.clone()).await?;
        let mut socks = SocksV5::new(proxy, Ours(Some(Greeting { tcp, is_over: false })));
        if let Some((user, password)) = credentials(&self.proxy)? {
            socks = socks.with_auth(user.to_owned(), password.to_owned());
        }
        let mut greeting = socks.call(format!("http://{host}:{port}/").parse()?).await?;
        greeting.is_over = true;
        Ok(greeting)
    }
}

/// What the proxy is to be told of us, if it can be: neither may be longer than its length can say.
pub(super) fn credentials(proxy: &Intercept) -> Result<Option<(&str, &str)>> {
    let credentials = proxy.raw_auth();
    if credentials.is_some_and(|(user, password)| user.len().max(password.len()) > MAX_CREDENTIAL) {
        let problem = "`proxy` has a user name or password of more than 255 bytes, which SOCKS5 cannot say";
        return Err(Error::new(ErrorKind::Config, problem));
    }
    Ok(credentials)
}

impl Service<Uri> for Socks {
    type Response = Greeting;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Greeting, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// The connection to the proxy, which is there already: so that what is wrong with it is told as it is.
struct Ours(Option<Greeting>);

impl Service<Uri> for Ours {
    type Response = Greeting;
    type Error = io::Error;
    type Future = Ready<io::Result<Greeting>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// A connection that is read byte by byte until the handshake is over: a server that speaks first, as one of HTTP/2
/// does, may be heard in the same packet as the proxy's last word.
pub(super) struct Greeting {
    tcp: Tcp,
    is_over: bool,
}

impl Connection for Greeting {
    fn connected(&self) -> Connected {
        self.tcp.connected()
    }
}

impl Read for Greeting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.is_over {
            return Pin::new(&mut self.tcp).poll_read(cx, buf);
        }
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, one.unfilled()))?;
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Greeting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }
}
