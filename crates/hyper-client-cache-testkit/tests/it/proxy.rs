//! The proxy does to connections what it is told.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper_client_cache_testkit::proxy::{Fault, Proxy};
use hyper_client_cache_testkit::tokio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// A server that answers everything with itself.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    addr
}

async fn proxy() -> Proxy {
    Proxy::to(echo().await).await.unwrap()
}

async fn ask(socket: &mut TcpStream, text: &str) -> io::Result<String> {
    socket.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    socket.read_exact(&mut answer).await?;
    Ok(String::from_utf8(answer).unwrap())
}

async fn hangs(socket: &mut TcpStream, text: &str) -> bool {
    timeout(Duration::from_millis(50), ask(socket, text)).await.is_err()
}

async fn eventually(mut check: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never");
}

#[tokio::test]
async fn without_a_fault_it_forwards() {
    let proxy = proxy().await;
    let mut one = TcpStream::connect(proxy.addr()).await.unwrap();
    let mut two = TcpStream::connect(proxy.addr()).await.unwrap();
    let long = "x".repeat(1_000_000);
    let (mut read, mut write) = one.split();
    let mut answer = String::new();
    let (sent, received) = tokio::join!(
        async {
            write.write_all(long.as_bytes()).await?;
            write.shutdown().await
        },
        read.read_to_string(&mut answer)
    );
    // To an orderly end on both sides.
    sent.unwrap();
    received.unwrap();
    assert_eq!(answer, long);
    assert_eq!(ask(&mut two, "hello").await.unwrap(), "hello");
    assert_eq!(proxy.accepted(), 2);
    drop((one, two));
    eventually(|| proxy.open() == 0).await;
}

#[tokio::test]
async fn a_closed_port_refuses_and_opens_again() {
    let proxy = proxy().await;
    for _ in 0..3 {
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut socket, "hello").await.unwrap(), "hello");
        proxy.set(Fault::Refuse).await;
        let refused = TcpStream::connect(proxy.addr()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(ask(&mut socket, "hello").await.is_err());
        assert_eq!(proxy.open(), 0);
        proxy.set(Fault::None).await;
    }
}

#[tokio::test]
async fn what_hangs_goes_on_afterwards() {
    let proxy = proxy().await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut old, "hello").await.unwrap(), "hello");
    proxy.set(Fault::Hang).await;
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(hangs(&mut old, "1").await);
    assert!(hangs(&mut new, "2").await);
    proxy.set(Fault::None).await;
    for (socket, expected) in [(&mut old, b'1'), (&mut new, b'2')] {
        assert_eq!(socket.read_u8().await.unwrap(), expected);
        assert_eq!(ask(socket, "hello").await.unwrap(), "hello");
    }
}

/// The server hears all, and the client nothing until the fault ends.
#[tokio::test]
async fn a_mute_server_hears_and_answers_afterwards() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap()).await.unwrap();
    proxy.set(Fault::Mute).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    for byte in 0..3 {
        client.write_u8(byte).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), byte);
        server.write_u8(byte).await.unwrap();
    }
    assert!(timeout(Duration::from_millis(50), client.read_u8()).await.is_err());
    proxy.set(Fault::None).await;
    for byte in 0..3 {
        assert_eq!(client.read_u8().await.unwrap(), byte);
    }
}

#[tokio::test]
async fn answers_come_late_or_byte_by_byte() {
    let proxy = proxy().await;
    let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut socket, "hello").await.unwrap(), "hello");
    let step = Duration::from_millis(20);
    for (fault, least) in [(Fault::Delay(step), step), (Fault::Drip(step), step * 5)] {
        proxy.set(fault).await;
        let began = Instant::now();
        assert_eq!(ask(&mut socket, "hello").await.unwrap(), "hello");
        assert!(began.elapsed() >= least, "{fault:?}");
    }
}

#[tokio::test]
async fn a_connection_is_cut_after_so_many_bytes() {
    let proxy = proxy().await;
    for limit in [0, 1, 7] {
        proxy.set(Fault::None).await;
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut socket, "hello").await.unwrap(), "hello");
        proxy.set(Fault::CutAfter(limit)).await;
        socket.write_all(b"0123456789").await.unwrap();
        let mut received = Vec::new();
        // A reset may overtake what came before it.
        let _ = socket.read_to_end(&mut received).await;
        assert!(received.len() as u64 <= limit, "{received:?}");
        assert!(b"0123456789".starts_with(&received));
        // Each connection by itself.
        let mut next = TcpStream::connect(proxy.addr()).await.unwrap();
        if limit == 7 {
            assert_eq!(ask(&mut next, "hello").await.unwrap(), "hello");
            assert!(ask(&mut next, "hello").await.is_err());
        }
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_dropped_proxy() {
    let proxy = proxy().await;
    let addr = proxy.addr();
    let mut socket = TcpStream::connect(addr).await.unwrap();
    assert_eq!(ask(&mut socket, "hello").await.unwrap(), "hello");
    drop(proxy);
    assert!(ask(&mut socket, "hello").await.is_err());
    assert!(TcpStream::connect(addr).await.is_err());
}
