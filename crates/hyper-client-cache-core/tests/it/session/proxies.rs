//! Proxies: what they are asked, and who sees which credentials.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::transport::Proxy;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::{builder, text};
use crate::support::is_alone_with;

/// A proxy that keeps the heads of what it was asked: it opens tunnels, and answers everything else itself.
pub(super) async fn proxy(refuses: bool) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8(head).unwrap();
                kept.lock().unwrap().push(head.clone());
                if refuses {
                    return client.write_all(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n").await;
                }
                if head.starts_with("CONNECT ") {
                    let port = head.split([':', ' ']).nth(2).unwrap().parse().unwrap();
                    let mut origin = TcpStream::connect(("127.0.0.1", port)).await?;
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                    return copy_bidirectional(&mut client, &mut origin).await.map(drop);
                }
                client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nby proxy.").await
            });
        }
    });
    (address, heads)
}

#[tokio::test]
async fn an_http_url_is_asked_of_the_proxy_with_its_credentials() {
    let (address, heads) = proxy(false).await;
    let clock = ManualClock::new();
    let proxy = Proxy::all(format!("http://user:canary@{address}")).except("direct.invalid");
    let builder = builder(&clock).proxy(proxy);
    assert!(!format!("{builder:?}").contains("canary"));
    let session = builder.build().unwrap();
    assert_eq!(text(&session, "http://origin.invalid/a?b").await, (Outcome::Miss, "by proxy.".into()));
    assert_eq!(text(&session, "http://origin.invalid/a?b").await.0, Outcome::Hit, "the proxy is no part of the match");
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get http://origin.invalid/a?b http/1.1\r\n"), "{head}");
    assert!(
        head.contains("host: origin.invalid\r\n") && head.contains("proxy-authorization: basic dxnlcjpjyw5hcnk=\r\n")
    );
    let direct = session.get("http://direct.invalid/").send().await.unwrap_err();
    assert_eq!(direct.kind(), ErrorKind::Connect);
    assert_eq!(heads.lock().unwrap().len(), 1);
}

/// To a proxy that speaks TLS, with roots of its own, an `http` URL goes encrypted.
#[tokio::test]
async fn a_proxy_may_speak_tls() {
    let proxy = Origin::builder().tls().http1().start().await;
    proxy.on("/a", Answer::ok("by proxy."));
    let clock = ManualClock::new();
    let through = || builder(&clock).proxy(Proxy::all(proxy.url("").replace("https://", "https://user:canary@")));
    let session = through().root_certificate(proxy.root_certificate_der().unwrap()).build().unwrap();
    assert_eq!(text(&session, "http://origin.invalid/a").await.1, "by proxy.");
    let seen = &proxy.requests()[0];
    assert_eq!(seen.header("host"), Some("origin.invalid"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic dXNlcjpjYW5hcnk="));
    let strict = through().build().unwrap();
    assert_eq!(strict.get("http://origin.invalid/a").send().await.unwrap_err().kind(), ErrorKind::Connect);
    assert_eq!(proxy.count(), 1, "nothing is said to one that is not trusted");
}

/// The proxies of the environment count unless that is switched off or one is given, and not for the hosts it excepts.
#[tokio::test]
async fn the_proxies_of_the_environment_are_used() {
    // Where nobody listens.
    let variables = [("ALL_PROXY", "http://user:canary@127.0.0.1:1"), ("HTTP_PROXY", ""), ("NO_PROXY", "localhost")];
    if !is_alone_with("session::proxies::the_proxies_of_the_environment_are_used", &variables) {
        return;
    }
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let clock = ManualClock::new();
    let error = builder(&clock).build().unwrap().get(origin.url("/")).send().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Connect && !format!("{error:?}").contains("canary"), "{error:?}");
    let excepted = origin.url("/").replace("127.0.0.1", "localhost");
    assert_eq!(text(&builder(&clock).build().unwrap(), &excepted).await.1, "x");
    assert_eq!(text(&builder(&clock).proxy_from_env(false).build().unwrap(), &origin.url("/")).await.1, "x");
    let (address, _) = proxy(false).await;
    let given = builder(&clock).proxy(Proxy::all(format!("http://{address}"))).build().unwrap();
    assert_eq!(text(&given, &origin.url("/")).await.1, "by proxy.");
}

#[tokio::test]
async fn an_https_url_goes_through_a_tunnel_and_the_origin_sees_no_proxy_credentials() {
    let (address, heads) = proxy(false).await;
    let origin = Origin::builder().tls().start().await;
    origin.on("/", Answer::ok("by origin"));
    let clock = ManualClock::new();
    let session = builder(&clock)
        .proxy(Proxy::https(format!("http://user:canary@{address}")))
        .root_certificate(origin.root_certificate_der().unwrap())
        .build()
        .unwrap();
    let response = session.get(origin.url("/")).header("proxy-authorization", "stray").send().await.unwrap();
    assert_eq!(response.remote_addr(), Some(address));
    assert_eq!(response.text().await.unwrap(), "by origin");
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with(&format!("connect localhost:{} http/1.1\r\n", origin.address().port())), "{head}");
    assert!(head.contains("proxy-authorization: basic dxnlcjpjyw5hcnk=\r\n"));
    let seen = &origin.requests()[0];
    assert_eq!(seen.header("proxy-authorization"), None);
    assert!(seen.headers.keys().all(|name| !name.as_str().contains("proxy") && !name.as_str().contains("cache")));
}

/// To a proxy that speaks TLS, an `https` URL goes through a tunnel in it: the proxy must be trusted as an origin must, it
/// alone sees its credentials, and it sees nothing of the request.
#[tokio::test]
async fn an_https_url_goes_through_a_tunnel_within_tls() {
    let origin = Origin::builder().tls().start().await;
    origin.on("/a", Answer::ok("by origin").header("cache-control", "max-age=60"));
    let proxy = Origin::builder().tls().http1().start().await;
    let authority = format!("localhost:{}", origin.address().port());
    proxy.on(&authority, Answer::tunnel(origin.address()));
    let (of_proxy, of_origin) = (proxy.root_certificate_der().unwrap(), origin.root_certificate_der().unwrap());
    let clock = ManualClock::new();
    let through = || builder(&clock).proxy(Proxy::all(proxy.url("").replace("https://", "https://user:canary@")));
    let session = through().root_certificate(of_proxy).root_certificate(of_origin).build().unwrap();
    let ask = || session.get(origin.url("/a")).bearer_auth("of-origin").header("proxy-authorization", "stray");
    let response = ask().send().await.unwrap();
    assert_eq!(response.remote_addr(), Some(proxy.address()));
    assert_eq!(response.text().await.unwrap(), "by origin");
    assert!(ask().send().await.unwrap().from_cache());

    let [seen] = &proxy.requests()[..] else { panic!("{:?}", proxy.requests()) };
    assert_eq!((seen.method.as_str(), &seen.target), ("CONNECT", &authority));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic dXNlcjpjYW5hcnk="));
    assert_eq!(seen.header("authorization"), None);
    let [seen] = &origin.requests()[..] else { panic!("{:?}", origin.requests()) };
    assert_eq!(seen.header("authorization"), Some("Bearer of-origin"));
    assert!(seen.headers.keys().all(|name| !name.as_str().contains("proxy")));

    // A proxy that is not trusted, an origin that is not, and one that the proxy does not lead to.
    for (roots, target, connects) in [
        (&[of_origin][..], origin.url("/b"), 0),
        (&[of_proxy][..], origin.url("/b"), 1),
        (&[of_proxy, of_origin][..], "https://origin.invalid/".to_owned(), 1),
    ] {
        let before = proxy.count();
        let session = roots.iter().fold(through(), |builder, root| builder.root_certificate(*root)).build().unwrap();
        let error = session.get(target).bearer_auth("canary").send().await.unwrap_err();
        assert_eq!((error.kind(), proxy.count() - before), (ErrorKind::Connect, connects), "{error:?}");
        let mut shown = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            shown.push_str(&format!(" {cause} {cause:?}"));
            source = cause.source();
        }
        assert!(!shown.contains("canary") && !shown.contains("dXNlcj"), "{shown}");
        assert!(shown.to_lowercase().contains("certificate") || connects == 1 && shown.contains("unnel"), "{shown}");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_gone_is_an_error_without_secrets() {
    let clock = ManualClock::new();
    let (address, _) = proxy(true).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for address in [address, gone] {
        let proxy = Proxy::all(format!("http://user:canary@{address}"));
        let session = builder(&clock).proxy(proxy).build().unwrap();
        let error = session.get("https://origin.invalid/").send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary") && !shown.contains("Y2FuYXJ5") && !shown.contains("dXNlcj"), "{shown}");
    }
    let error = builder(&clock).proxy(Proxy::all("socks4://u:canary@host:1")).build().unwrap_err();
    assert!(error.to_string().contains("`proxy`") && !format!("{error:?}").contains("canary"));
}
