//! SOCKS5 proxies: what they are told, who resolves a name, and what becomes of one that refuses.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::transport::Proxy;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::{builder, outcome, text};

/// How a proxy behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Connects to the port that it is told, on this machine, but not over IPv6.
    Obliging,
    /// The same, and its last word comes in one packet with the first of the origin.
    InOneBreath,
    /// Wants a password, and not this one.
    Mistrustful,
    /// Says no.
    Refusing,
    /// Is gone in the middle of a sentence.
    Cut,
    /// Is none.
    Odd,
    /// Says nothing.
    Silent,
}

/// A proxy, and what it was told.
async fn socks(manner: Manner) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = told.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, manner, kept.clone()));
        }
    });
    (address, told)
}

async fn serve(mut client: TcpStream, manner: Manner, told: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    assert_eq!(client.read_u8().await?, 5);
    let methods = of_length(&mut client).await?;
    match manner {
        Manner::Silent => std::future::pending().await,
        Manner::Odd => return client.write_all(b"HTTP/1.1 400 What?\r\n\r\n").await,
        _ => {}
    }
    let with_password = methods.contains(&2);
    client.write_all(&[5, if with_password { 2 } else { 0 }]).await?;
    if with_password {
        assert_eq!(client.read_u8().await?, 1);
        let (user, password) = (of_length(&mut client).await?, of_length(&mut client).await?);
        told.lock().unwrap().push(format!("{}:{}", String::from_utf8_lossy(&user), String::from_utf8_lossy(&password)));
        client.write_all(&[1, u8::from(manner == Manner::Mistrustful)]).await?;
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    assert_eq!(request[..3], [5, 1, 0]);
    let host = match request[3] {
        1 => std::net::Ipv4Addr::from(client.read_u32().await?).to_string(),
        3 => String::from_utf8(of_length(&mut client).await?).unwrap(),
        4 => std::net::Ipv6Addr::from(client.read_u128().await?).to_string(),
        other => panic!("an address of kind {other}"),
    };
    let port = client.read_u16().await?;
    told.lock().unwrap().push(format!("{host} {port}"));
    match manner {
        Manner::Refusing => return client.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await,
        Manner::Cut => return client.write_all(&[5, 0, 0]).await,
        _ if request[3] == 4 => return client.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await,
        _ => {}
    }
    let mut origin = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut reply = vec![5, 0, 0, 3, 4, b'h', b'o', b's', b't', 0, 80];
    if manner == Manner::InOneBreath {
        // Not all of it: what is left is read wrongly where this is lost.
        let mut first = [0; 5];
        origin.read_exact(&mut first).await?;
        reply.extend(first);
    }
    client.write_all(&reply).await?;
    copy_bidirectional(&mut client, &mut origin).await.map(drop)
}

async fn of_length(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// `socks5h` leaves names to the proxy; the origin is asked as if there were none, and hears nothing meant for it.
#[tokio::test]
async fn a_name_is_left_to_the_proxy() {
    let (address, told) = socks(Manner::Obliging).await;
    let origin = Origin::scripted().await;
    origin.on("/a", Answer::ok("by origin"));
    let clock = ManualClock::new();
    let builder = builder(&clock).proxy(Proxy::all(format!("socks5h://us%65r:canary@{address}")));
    let mut shown = format!("{builder:?}");
    let session = builder.build().unwrap();
    shown += &format!("{session:?}");
    let url = format!("http://origin.invalid:{}/a?b", origin.address().port());
    for expected in [Outcome::Miss, Outcome::Hit] {
        let response = session.get(&url).header("proxy-authorization", "stray").send().await.unwrap();
        assert_eq!(outcome(&response), expected);
        assert_eq!(response.remote_addr(), Some(address).filter(|_| expected == Outcome::Miss));
        assert_eq!(response.text().await.unwrap(), "by origin");
    }
    assert_eq!(*told.lock().unwrap(), ["user:canary", &format!("origin.invalid {}", origin.address().port())]);
    let seen = &origin.requests()[0];
    assert_eq!((&seen.target[..], seen.header("proxy-authorization")), ("/a?b", None));
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn tls_goes_through_to_the_origin() {
    let (address, told) = socks(Manner::Obliging).await;
    let origin = Origin::builder().tls().start().await;
    origin.on("/", Answer::ok("by origin"));
    let clock = ManualClock::new();
    let session = builder(&clock)
        .proxy(Proxy::https(format!("socks5h://{address}")))
        .root_certificate(origin.root_certificate_der().unwrap())
        .build()
        .unwrap();
    assert_eq!(text(&session, &origin.url("/")).await.1, "by origin");
    assert_eq!(*told.lock().unwrap(), [format!("localhost {}", origin.address().port())]);
    assert_eq!(origin.requests()[0].version, http::Version::HTTP_2);
}

/// `socks5` resolves names here, and tries one address after the other.
#[tokio::test]
async fn a_name_is_resolved_here_where_the_scheme_says_so() {
    let (address, told) = socks(Manner::Obliging).await;
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("by origin"));
    let clock = ManualClock::new();
    let session = builder(&clock).proxy(Proxy::all(format!("socks5://{address}"))).build().unwrap();
    let port = origin.address().port();
    assert_eq!(text(&session, &format!("http://localhost:{port}/")).await.1, "by origin");
    assert_eq!(told.lock().unwrap().last(), Some(&format!("127.0.0.1 {port}")));
    // An address is an address with both.
    for scheme in ["socks5", "socks5h"] {
        let session = builder(&clock).proxy(Proxy::all(format!("{scheme}://{address}"))).build().unwrap();
        assert_eq!(text(&session, &origin.url("/")).await.1, "by origin");
        assert_eq!(told.lock().unwrap().last(), Some(&format!("127.0.0.1 {port}")));
        assert!(session.get("http://[::1]/").send().await.is_err());
        assert_eq!(told.lock().unwrap().last().map(String::as_str), Some("::1 80"), "the default port is said");
    }
    assert!(session.get("http://origin.invalid/").send().await.is_err());
    assert_eq!(told.lock().unwrap().last().map(String::as_str), Some("::1 80"), "what has no address is not asked for");
}

/// An HTTP/2 server speaks as soon as it is connected to: none of that is lost.
#[tokio::test]
async fn what_the_origin_says_at_once_is_not_lost() {
    let (address, _) = socks(Manner::InOneBreath).await;
    let origin = Origin::builder().http2().start().await;
    origin.on("/", Answer::ok("by origin"));
    let clock = ManualClock::new();
    let proxy = Proxy::http(format!("socks5h://{address}"));
    let session = builder(&clock).proxy(proxy).http2_prior_knowledge(true).build().unwrap();
    assert_eq!(text(&session, &origin.url("/")).await.1, "by origin");
}

/// Case 75: a proxy that is of no use is an error of connecting, which shows no secret.
#[tokio::test]
async fn a_proxy_that_is_of_no_use_is_an_error_without_secrets() {
    let clock = ManualClock::new();
    for (manner, kind) in [
        (Manner::Mistrustful, ErrorKind::Connect),
        (Manner::Refusing, ErrorKind::Connect),
        (Manner::Cut, ErrorKind::Connect),
        (Manner::Odd, ErrorKind::Connect),
        (Manner::Silent, ErrorKind::Timeout),
    ] {
        let (address, _) = socks(manner).await;
        let proxy = Proxy::all(format!("socks5h://user:canary@{address}"));
        let limit = if kind == ErrorKind::Timeout { Duration::from_millis(300) } else { Duration::from_secs(60) };
        let session = builder(&clock).proxy(proxy).timeout(2 * limit).connect_timeout(limit).build().unwrap();
        let error = session.get("http://origin.invalid/").send().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{manner:?}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{manner:?}");
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let session = builder(&clock).proxy(Proxy::all(format!("socks5h://{gone}"))).build().unwrap();
    let error = session.get("http://origin.invalid/").send().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Connect && format!("{error:?}").contains("ConnectionRefused"), "{error:?}");
    let long = "canary".repeat(50);
    for url in [format!("socks5://user:{long}@host"), format!("socks5h://{long}@host:1"), "socks4://canary@host".into()]
    {
        let error = builder(&clock).proxy(Proxy::all(url)).build().unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("`proxy`"), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
