//! A scripted origin server: real, local, on port 0.
//!
//! [`Origin`] answers as its script says and counts what it is asked; [`Answer`] is one answer, also one with a fault
//! in it; [`Gate`] holds an answer back until the test lets it go, so that no test sleeps.
//!
//! ```
//! use hyper_client_cache_testkit::origin::{Answer, Origin};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let origin = Origin::scripted().await;
//! origin.on("/a", Answer::ok("hello").header("cache-control", "max-age=60"));
//! origin.on("/b", [Answer::ok("first"), Answer::status(500)]);
//! origin.on("/echo", |request: &hyper_client_cache_testkit::origin::Recorded| Answer::ok(request.body.clone()));
//! let url = origin.url("/a");
//! # let _ = url;
//! assert_eq!(origin.count(), 0);
//! origin.finish().await;
//! # });
//! ```
//!
//! Below: `script` chooses the answer, `serve` speaks HTTP with hyper, `wire` writes by hand what hyper would not send,
//! `away` what it would not send on HTTP/2, `player` plays bodies back.

mod answer;
mod away;
mod gate;
mod pattern;
mod player;
mod script;
mod serve;
mod tls;
mod wire;

use std::fmt;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::answer::Answer;
pub use self::gate::Gate;
pub use self::pattern::{PatternChecker, pattern};
use self::script::Script;
pub use self::script::{Recorded, Respond};
use self::serve::Protocol;
use self::tls::Identity;

/// A server on a free port of 127.0.0.1 that answers as it is told and remembers what it was asked.
///
/// It ends when dropped, its connections with it.
/// A panic in a handler fails the test: [`finish`](Self::finish) and dropping the origin pass it on.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    identity: Option<Identity>,
    protocol: Protocol,
    script: Arc<Script>,
    server: JoinHandle<()>,
}

impl Origin {
    /// A server for HTTP/1.1 that asks `handler` for each answer.
    pub async fn start(handler: impl Respond) -> Self {
        Self::builder().handler(handler).start().await
    }

    /// A server for HTTP/1.1 that answers what [`on`](Self::on) says, and 404 to everything else.
    pub async fn scripted() -> Self {
        Self::builder().start().await
    }

    /// Options: protocol, TLS, handler.
    pub fn builder() -> OriginBuilder {
        OriginBuilder {
            http1: false,
            http2: false,
            tls: false,
            asks_client: false,
            silent: false,
            port: 0,
            handler: None,
        }
    }

    /// Answers requests for `path` with `respond` from now on, in place of what was said before and of the handler.
    ///
    /// A `path` with a query matches only that query; one without matches all of them.
    pub fn on(&self, path: &str, respond: impl Respond) {
        self.script.on(path, Arc::new(respond));
    }

    /// Ends the next `connections` with `GOAWAY` at their first request, which is not begun with, nor counted: the
    /// `GOAWAY` names no stream as the last. HTTP/2 only.
    pub fn go_away_at_once(&self, connections: u64) {
        self.script.set_goaways(connections);
    }

    /// The URL of a path (and query) on this server; the host is `localhost` with TLS, `127.0.0.1` without.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        match self.identity {
            Some(_) => format!("https://localhost:{}{path}", self.address.port()),
            None => format!("http://{}{path}", self.address),
        }
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate to trust, in DER; `None` without TLS.
    #[must_use]
    pub fn root_certificate_der(&self) -> Option<&[u8]> {
        self.identity.as_ref().map(Identity::certificate)
    }

    /// The certificate that a client must show, and its key, both in PEM; `None` where none is asked for.
    #[must_use]
    pub fn client_certificate_pem(&self) -> Option<(&str, &str)> {
        self.identity.as_ref().and_then(Identity::client)
    }

    /// How many requests came.
    #[must_use]
    pub fn count(&self) -> usize {
        self.script.state_requests(<[_]>::len)
    }

    /// How many requests came for `path`: with this query if it has one, else with any.
    #[must_use]
    pub fn count_of(&self, path: &str) -> usize {
        self.script.state_requests(|requests| {
            requests.iter().filter(|request| request.target == path || request.path() == path).count()
        })
    }

    /// Every request so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.script.state_requests(<[_]>::to_vec)
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.script.connections()
    }

    /// Returns once `n` requests have come in total, whether or not they were answered.
    pub async fn arrived(&self, n: u64) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.script.arrivals.subscribe().wait_for(|count| *count >= n).await;
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.connections().saturating_sub(*self.script.disconnections.borrow())
    }

    /// Returns once `n` connections have ended in total, by whichever side.
    pub async fn disconnected(&self, n: u64) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.script.disconnections.subscribe().wait_for(|count| *count >= n).await;
    }

    /// Ends all connections and stops listening: from here on, who connects is refused. Counts and script stay.
    pub async fn stop(&mut self) {
        if self.server.is_finished() {
            return;
        }
        self.server.abort();
        if let Some(payload) = (&mut self.server).await.err().and_then(|error| error.try_into_panic().ok()) {
            self.script.keep_panic(payload);
        }
    }

    /// Listens on the same port again after [`stop`](Self::stop).
    ///
    /// # Panics
    /// Where somebody else has taken the port meanwhile.
    #[allow(clippy::expect_used)] // see "Panics"
    pub async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        self.server = tokio::spawn(serve::accept(listener, self.protocol.clone(), Arc::clone(&self.script)));
    }

    /// Ends the server and its connections.
    ///
    /// # Panics
    /// With the panic of a handler, if one panicked.
    pub async fn finish(mut self) {
        self.stop().await;
        // Dropping passes the panic on.
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
        let payload = self.script.take_panic();
        if let (Some(payload), false) = (payload, std::thread::panicking()) {
            resume_unwind(payload);
        }
    }
}

/// Options of an [`Origin`].
#[must_use]
pub struct OriginBuilder {
    http1: bool,
    http2: bool,
    tls: bool,
    asks_client: bool,
    silent: bool,
    port: u16,
    handler: Option<Arc<dyn Respond>>,
}

impl fmt::Debug for OriginBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginBuilder")
            .field("http1", &self.http1)
            .field("http2", &self.http2)
            .field("tls", &self.tls)
            .field("silent", &self.silent)
            .finish_non_exhaustive()
    }
}

impl OriginBuilder {
    /// Speaks HTTP/1.1: the default without TLS. With TLS the default is to let the client choose.
    pub fn http1(mut self) -> Self {
        self.http1 = true;
        self
    }

    /// Speaks HTTP/2: with prior knowledge where there is no TLS.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Speaks TLS with a self-signed certificate for `localhost` and `127.0.0.1`.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Speaks TLS, and lets only those in who show the certificate of [`Origin::client_certificate_pem`].
    pub fn client_certificate(mut self) -> Self {
        self.tls = true;
        self.asks_client = true;
        self
    }

    /// Listens on this port if it is free, for examples whose URLs shall be the same next time. Tests take any port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Accepts connections and says nothing on them, not even a TLS handshake.
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Answers every request for which [`Origin::on`] says nothing.
    pub fn handler(mut self, handler: impl Respond) -> Self {
        self.handler = Some(Arc::new(handler));
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    /// Where the machine has no free port or no random numbers: nothing that a test could go on without.
    #[allow(clippy::expect_used)] // see "Panics"
    pub async fn start(self) -> Origin {
        let listener = match TcpListener::bind(("127.0.0.1", self.port)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on 127.0.0.1"),
        };
        let address = listener.local_addr().expect("the address of a listening socket");
        let either = self.http1 == self.http2;
        let identity = self.tls.then(|| Identity::new(self.http2 || either, self.http1 || either, self.asks_client));
        let protocol = Protocol {
            prior_knowledge: self.http2 && !self.http1,
            tls: identity.as_ref().map(Identity::acceptor),
            silent: self.silent,
        };
        let script = Arc::new(Script::new(self.handler));
        let server = tokio::spawn(serve::accept(listener, protocol.clone(), Arc::clone(&script)));
        Origin { address, identity, protocol, script, server }
    }
}
