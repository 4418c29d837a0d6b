//! A loopback proxy before a real server, which fails on the way when a test says so: what a backend's driver must live
//! with.
//!
//! It knows nothing of what it forwards. See [`Fault`] for what can go wrong.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of connections, of those that stand as well as of new ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is wrong.
    #[default]
    None,
    /// The port is closed: connecting is refused, and what stood is reset.
    Refuse,
    /// Connections are accepted and stand, and not a byte is forwarded. What came meanwhile is forwarded when the fault
    /// ends, as with a server that was stopped and goes on.
    Hang,
    /// What the client says is forwarded, and not a byte of what the server answers. That comes when the fault ends.
    Mute,
    /// The server's answers come this much later.
    Delay(Duration),
    /// After this many more bytes from the server, a connection is reset.
    CutAfter(u64),
    /// The server's answers come one byte at a time, at this distance.
    Drip(Duration),
}

/// A proxy on a port of its own of the loopback interface. Ends, with its connections, when it is dropped.
///
/// ```
/// use hyper_client_cache_testkit::proxy::{Fault, Proxy};
///
/// # hyper_client_cache_testkit::tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let server = hyper_client_cache_testkit::tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
/// # let server_addr = server.local_addr().unwrap();
/// let proxy = Proxy::to(server_addr).await.unwrap();
/// // A client is told `proxy.addr()` in place of the server's address.
/// proxy.set(Fault::Hang).await;
/// // Whatever it does now must end by its own deadline.
/// proxy.set(Fault::None).await;
/// # });
/// ```
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<(Fault, oneshot::Sender<()>)>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    accepted: AtomicU64,
    open: AtomicU64,
}

impl Proxy {
    /// A proxy to the server at `target`, without faults so far. The server is connected to once for each connection
    /// that is accepted.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn to(target: SocketAddr) -> io::Result<Self> {
        // Never listens: it only keeps the port ours while nothing listens on it.
        let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = reserved.local_addr()?;
        let listener = listen(addr)?;
        let shared = Arc::<Shared>::default();
        let (orders, received) = mpsc::unbounded_channel();
        let server = Server { target, addr, shared: shared.clone(), _reserved: reserved };
        let accepting = tokio::spawn(server.run(listener, received));
        Ok(Self { addr, shared, orders, accepting })
    }

    /// Where clients are to connect to.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port of [`addr`](Self::addr).
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Lets `fault` happen from now on, in place of the one before. Returns when that is so for new connections; those
    /// that stand follow with their next byte.
    pub async fn set(&self, fault: Fault) {
        let (done, is_done) = oneshot::channel();
        // Fails only when the runtime ends.
        let _ = self.orders.send((fault, done));
        let _ = is_done.await;
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// How many connections stand.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Lets a listener and the reservation have the same port, and a port be had again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    bind(addr)?.listen(1024)
}

struct Server {
    target: SocketAddr,
    addr: SocketAddr,
    shared: Arc<Shared>,
    _reserved: TcpSocket,
}

impl Server {
    async fn run(self, listener: TcpListener, mut orders: mpsc::UnboundedReceiver<(Fault, oneshot::Sender<()>)>) {
        let mut listener = Some(listener);
        let (fault, _) = watch::channel(Fault::None);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((next, done)) = order else { return };
                    fault.send_replace(next);
                    if next == Fault::Refuse {
                        listener = None;
                        connections.shutdown().await;
                    } else if listener.is_none() {
                        listener = listen(self.addr).ok();
                    }
                    let _ = done.send(());
                }
                Some(accepted) = accept(listener.as_ref()) => {
                    self.shared.accepted.fetch_add(1, Ordering::AcqRel);
                    connections.spawn(connection(accepted, self.target, fault.subscribe(), self.shared.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// The next connection; never, where nothing listens.
async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(socket, _)| socket),
        None => std::future::pending().await,
    }
}

/// Counts a connection as long as it stands.
struct Open(Arc<Shared>);

impl Open {
    fn count(shared: Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::AcqRel);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn connection(client: TcpStream, target: SocketAddr, mut fault: watch::Receiver<Fault>, shared: Arc<Shared>) {
    let _open = Open::count(shared);
    let _ = client.set_nodelay(true);
    // Where this ends before its time, the client is to notice: a reset, no orderly end.
    let _ = client.set_zero_linger();
    if !moves(&mut fault).await {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = upwards(from_client, to_server, fault.clone());
    let down = downwards(from_server, to_client, fault);
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    tokio::select! {
        // The server has ended the connection, or it was cut.
        () = &mut down => {}
        // The client has said all; the answer may still come.
        () = &mut up => down.await,
    }
}

/// Waits while the connection hangs; `false` where nobody is left who could end that.
async fn moves(fault: &mut watch::Receiver<Fault>) -> bool {
    fault.wait_for(|fault| *fault != Fault::Hang).await.is_ok()
}

/// Waits while the server's answers are held back; `false` where nobody is left who could end that.
async fn answers(fault: &mut watch::Receiver<Fault>) -> bool {
    fault.wait_for(|fault| !matches!(fault, Fault::Hang | Fault::Mute)).await.is_ok()
}

async fn upwards(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, mut fault: watch::Receiver<Fault>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = client.read(&mut buffer).await {
        if !moves(&mut fault).await {
            return;
        }
        let Some(bytes) = buffer.get(..len) else { return };
        if server.write_all(bytes).await.is_err() {
            return;
        }
    }
    let _ = server.shutdown().await;
}

async fn downwards(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, mut fault: watch::Receiver<Fault>) {
    let mut buffer = vec![0; 16 * 1024];
    // How much has come through since the fault began.
    let mut since: u64 = 0;
    while let Ok(len @ 1..) = server.read(&mut buffer).await {
        let mut bytes = buffer.get(..len).unwrap_or_default();
        while !bytes.is_empty() {
            if !answers(&mut fault).await {
                return;
            }
            if fault.has_changed().unwrap_or(true) {
                since = 0;
            }
            let now = *fault.borrow_and_update();
            let step = match now {
                Fault::None | Fault::Hang | Fault::Mute | Fault::Refuse => bytes.len(),
                Fault::Delay(delay) => {
                    tokio::time::sleep(delay).await;
                    bytes.len()
                }
                Fault::CutAfter(limit) => usize::try_from(limit.saturating_sub(since)).unwrap_or(usize::MAX),
                Fault::Drip(distance) => {
                    tokio::time::sleep(distance).await;
                    1
                }
            };
            let Some((first, rest)) = bytes.split_at_checked(step.min(bytes.len())) else { return };
            if client.write_all(first).await.is_err() {
                return;
            }
            since = since.saturating_add(first.len() as u64);
            bytes = rest;
            if matches!(now, Fault::CutAfter(limit) if since >= limit) {
                // What was written is on its way before the reset is.
                let _ = client.flush().await;
                return;
            }
        }
    }
    // An orderly end of the server's is handed on as one.
    #[allow(deprecated)] // blocks with a time, which this takes away
    let _ = client.as_ref().set_linger(None);
    let _ = client.shutdown().await;
}
