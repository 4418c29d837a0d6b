//! The scripted origin does what its script says, faults included.

use std::error::Error as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, PatternChecker, Recorded};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Outcome = hyper::Result<Response<Incoming>>;

fn request(origin: &Origin, path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", origin.address().to_string()).body(Full::default()).unwrap()
}

async fn send1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Request<Full<Bytes>>) -> Outcome {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

async fn send2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Request<Full<Bytes>>) -> Outcome {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

async fn fetch(origin: &Origin, path: &str) -> Outcome {
    send1(TcpStream::connect(origin.address()).await.unwrap(), request(origin, path)).await
}

async fn fetch2(origin: &Origin, path: &str) -> Outcome {
    let request = Request::get(origin.url(path)).body(Full::default()).unwrap();
    send2(TcpStream::connect(origin.address()).await.unwrap(), request).await
}

async fn tls(origin: &Origin, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_slice(origin.root_certificate_der().unwrap()).into_owned()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let tcp = TcpStream::connect(origin.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

/// Everything that comes over the socket until the server closes it.
async fn bytes_on_the_socket(origin: &Origin, path: &str) -> (String, std::io::Result<usize>) {
    let mut tcp = TcpStream::connect(origin.address()).await.unwrap();
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let ended = tcp.read_to_end(&mut got).await;
    (String::from_utf8(got).unwrap(), ended)
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn it_answers_by_path_in_sequence_and_counts() {
    let origin = Origin::scripted().await;
    origin.on("/a", [Answer::ok("first"), Answer::status(500)]);
    origin.on("/a?b", Answer::ok("with a query"));
    let one = fetch(&origin, "/a").await.unwrap();
    assert_eq!(one.headers()["content-length"], "5");
    assert_eq!(one.headers().get("date"), None, "nothing is added");
    assert_eq!(text(one).await, "first");
    assert_eq!(fetch(&origin, "/a?x=1").await.unwrap().status(), 500);
    assert_eq!(fetch(&origin, "/a").await.unwrap().status(), 500, "the last one repeats");
    assert_eq!(text(fetch(&origin, "/a?b").await.unwrap()).await, "with a query");
    assert_eq!(fetch(&origin, "/elsewhere").await.unwrap().status(), 404);
    assert_eq!((origin.count(), origin.count_of("/a"), origin.count_of("/a?b")), (5, 4, 1));
    assert_eq!(origin.connections(), 5);
    let recorded = origin.requests();
    assert_eq!((recorded[1].target.as_str(), recorded[1].path()), ("/a?x=1", "/a"));
    assert_eq!(recorded[1].connection, 2);
    origin.finish().await;
}

#[tokio::test]
async fn a_handler_sees_the_request_and_its_body() {
    let origin = Origin::start(|request: &Recorded| Answer::ok(request.body.clone())).await;
    let mut request = request(&origin, "/echo");
    *request.method_mut() = http::Method::POST;
    *request.body_mut() = Full::from("payload");
    let tcp = TcpStream::connect(origin.address()).await.unwrap();
    assert_eq!(text(send1(tcp, request).await.unwrap()).await, "payload");
    assert_eq!(origin.requests()[0].header("host"), Some(origin.address().to_string().as_str()));
}

#[tokio::test]
async fn a_connection_is_kept_between_answers() {
    let origin = Origin::start(Answer::ok("x")).await;
    let tcp = TcpStream::connect(origin.address()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        sender.ready().await.unwrap();
        assert_eq!(text(sender.send_request(request(&origin, "/")).await.unwrap()).await, "x");
    }
    assert_eq!((origin.count(), origin.connections()), (3, 1));
}

#[tokio::test]
async fn a_panic_in_a_handler_is_the_tests_panic() {
    let origin = Origin::start(|_: &Recorded| -> Answer { panic!("the handler's own words") }).await;
    assert!(fetch(&origin, "/").await.is_err());
    let joined = tokio::spawn(origin.finish()).await.unwrap_err();
    assert_eq!(joined.into_panic().downcast_ref::<&str>(), Some(&"the handler's own words"));

    let origin = Origin::start(|_: &Recorded| -> Answer { panic!("also when dropped") }).await;
    assert!(fetch(&origin, "/").await.is_err());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(origin))).is_err());
}

#[tokio::test]
async fn dropping_it_ends_its_connections() {
    let origin = Origin::start(Answer::ok("never").after(&Gate::new())).await;
    let pending = tokio::spawn({
        let tcp = TcpStream::connect(origin.address()).await.unwrap();
        send1(tcp, request(&origin, "/"))
    });
    origin.arrived(1).await;
    let address = origin.address();
    drop(origin);
    assert!(pending.await.unwrap().is_err());
    // The listener goes with its task, which the runtime drops soon after.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_matching_validator_is_answered_with_304() {
    let origin = Origin::start(
        Answer::ok("x")
            .etag("\"v1\"")
            .last_modified("Tue, 15 Nov 1994 12:45:26 GMT")
            .header("cache-control", "no-cache"),
    )
    .await;
    for (name, value, status) in [
        ("if-none-match", "\"v1\"", 304),
        ("if-none-match", "\"v0\", W/\"v1\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"v2\"", 200),
        ("if-modified-since", "Tue, 15 Nov 1994 12:45:26 GMT", 304),
        ("if-modified-since", "Tue, 15 Nov 1994 12:45:25 GMT", 200),
    ] {
        let mut request = request(&origin, "/");
        request.headers_mut().insert(name, value.parse().unwrap());
        let tcp = TcpStream::connect(origin.address()).await.unwrap();
        let response = send1(tcp, request).await.unwrap();
        assert_eq!(response.status(), status, "{name}: {value}");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        assert_eq!(text(response).await, if status == 200 { "x" } else { "" });
    }
}

#[tokio::test]
async fn a_gate_holds_each_part_of_an_answer() {
    let (head, body) = (Gate::new(), Gate::new());
    let origin = Origin::start(Answer::ok("one").after(&head).gate(&body).chunk("two").gate(&body)).await;
    let tcp = TcpStream::connect(origin.address()).await.unwrap();
    let pending = tokio::spawn(send1(tcp, request(&origin, "/")));
    head.arrived(1).await;
    assert!(!pending.is_finished());
    head.open();
    let response = pending.await.unwrap().unwrap();
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    let mut frames = response.into_body();
    assert_eq!(frames.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    body.arrived(1).await;
    assert_eq!(body.arrivals(), 1);
    body.release(1);
    assert_eq!(frames.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    body.arrived(2).await;
    body.open();
    assert!(frames.frame().await.is_none());
}

#[tokio::test]
async fn a_long_body_is_the_pattern_and_an_endless_one_goes_on() {
    let origin = Origin::scripted().await;
    origin.on("/long", Answer::pattern(3_000_001));
    origin.on("/endless", Answer::endless());
    let response = fetch(&origin, "/long").await.unwrap();
    assert_eq!(response.headers()["content-length"], "3000001");
    let mut checker = PatternChecker::new();
    assert!(checker.update(&response.into_body().collect().await.unwrap().to_bytes()));
    assert_eq!(checker.len(), 3_000_001);
    assert!(!checker.update(b"no pattern"));

    let mut body = fetch(&origin, "/endless").await.unwrap().into_body();
    let mut checker = PatternChecker::new();
    while checker.len() < 3_000_000 {
        assert!(checker.update(&body.frame().await.unwrap().unwrap().into_data().unwrap()));
    }
}

#[tokio::test]
async fn lies_and_cuts_are_on_the_wire_as_scripted() {
    let origin = Origin::scripted().await;
    for (path, answer, expected) in [
        ("/short", Answer::ok("abc").content_length(2), "content-length: 2\r\nconnection: close\r\n\r\nabc"),
        ("/long", Answer::ok("abc").content_length(9), "content-length: 9\r\nconnection: close\r\n\r\nabc"),
        ("/cut", Answer::ok("abcdef").cut_after(4), "content-length: 6\r\n\r\nabcd"),
        ("/cut0", Answer::ok("abcdef").cut_after(0), "content-length: 6\r\n\r\n"),
        ("/unfinished", Answer::ok("abc").without_final_chunk(), "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        ("/close", Answer::ok("abc").close_delimited(), "connection: close\r\n\r\nabc"),
        (
            "/trailer",
            Answer::ok("abc").trailer("x", "y"),
            "transfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
        ),
    ] {
        origin.on(path, answer);
        let (got, ended) = bytes_on_the_socket(&origin, path).await;
        assert_eq!(got, format!("HTTP/1.1 200 OK\r\n{expected}"), "{path}");
        assert!(ended.is_ok(), "{path}: {ended:?}");
    }
    origin.on("/raw", Answer::raw("HTTP/1.1 200 OK\r\nbad header\0\r\n"));
    assert_eq!(bytes_on_the_socket(&origin, "/raw").await.0, "HTTP/1.1 200 OK\r\nbad header\0\r\n");
    origin.on("/hints", Answer::ok("x").informational(103, &[("link", "</a>")]));
    let (got, _) = bytes_on_the_socket(&origin, "/hints").await;
    assert!(got.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{got}");
}

#[tokio::test]
async fn a_reset_is_an_error_of_the_socket() {
    let gate = Gate::new();
    let origin = Origin::start(Answer::ok("abc").gate(&gate).chunk("def").reset_after(4)).await;
    let mut tcp = TcpStream::connect(origin.address()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    // Read what has come before the reset throws it away.
    gate.arrived(1).await;
    let mut head = [0; 16];
    tcp.read_exact(&mut head).await.unwrap();
    gate.open();
    let error = tcp.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn extra_bytes_follow_a_whole_answer_and_the_connection_stays() {
    let origin = Origin::start(Answer::ok("abc").followed_by("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")).await;
    let mut tcp = TcpStream::connect(origin.address()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let expected = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let mut got = vec![0; expected.len()];
    tcp.read_exact(&mut got).await.unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), expected);
    assert_eq!(tcp.try_read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn tls_offers_both_protocols_and_its_certificate_is_known() {
    let origin = Origin::builder().tls().handler(Answer::ok("x")).start().await;
    assert!(origin.url("/").starts_with("https://localhost:"));
    let stream = tls(&origin, &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let over_two = Request::get(origin.url("/two")).body(Full::default()).unwrap();
    assert_eq!(send2(stream, over_two).await.unwrap().version(), Version::HTTP_2);
    let stream = tls(&origin, &[b"http/1.1"]).await;
    assert_eq!(send1(stream, request(&origin, "/one")).await.unwrap().version(), Version::HTTP_11);
    let versions: Vec<_> = origin.requests().iter().map(|request| request.version).collect();
    assert_eq!(versions, [Version::HTTP_2, Version::HTTP_11]);
    assert_eq!(origin.requests()[0].header("host"), origin.url("").strip_prefix("https://"));
}

#[tokio::test]
async fn tls_can_end_without_close_notify() {
    let origin = Origin::builder().http1().tls().start().await;
    origin.on("/proper", Answer::ok("abc").close_delimited());
    origin.on("/abrupt", Answer::ok("abc").close_delimited().without_close_notify());
    for (path, kind) in [("/proper", None), ("/abrupt", Some(std::io::ErrorKind::UnexpectedEof))] {
        let mut stream = tls(&origin, &[]).await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
        let mut got = Vec::new();
        let ended = stream.read_to_end(&mut got).await;
        assert!(got.ends_with(b"\r\n\r\nabc"));
        assert_eq!(ended.err().map(|error| error.kind()), kind, "{path}");
    }
}

#[tokio::test]
async fn http2_streams_end_early_or_are_reset() {
    let origin = Origin::builder().http2().start().await;
    origin.on("/whole", Answer::ok("abc").chunk("def").trailer("x", "y"));
    let whole = fetch2(&origin, "/whole").await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(whole.trailers(), Some(&HeaderMap::from_iter([("x".parse().unwrap(), "y".parse().unwrap())])));
    assert_eq!(whole.to_bytes(), "abcdef");

    origin.on("/reset", Answer::ok("abcdef").cut_after(3));
    origin.on("/early", Answer::ok("abc").content_length(9));
    origin.on("/late", Answer::ok("abcdef").content_length(3));
    for path in ["/reset", "/early", "/late"] {
        // The client may notice what is wrong with the stream before it has handed out the head.
        let failed = match fetch2(&origin, path).await {
            Ok(response) => response.into_body().collect().await.err(),
            Err(error) => Some(error),
        };
        assert!(failed.is_some_and(|error| error.source().is_some()), "{path}");
    }
    origin.on("/none", Answer::raw("HTTP/2 has no raw answers"));
    assert!(fetch2(&origin, "/none").await.is_err());
}

#[tokio::test]
async fn http2_goes_away_or_loses_the_whole_connection() {
    let origin = Origin::builder().http2().start().await;
    let gate = Gate::new();
    origin.on("/away", Answer::ok("last").goaway());
    origin.on("/held", Answer::ok("held").gate(&gate));
    origin.on("/lost", Answer::ok("abcdef").reset_after(3));
    let connect = async || {
        let tcp = TcpStream::connect(origin.address()).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
        (sender, tokio::spawn(connection))
    };
    let get = |path: &str| Request::get(origin.url(path)).body(Full::<Bytes>::default()).unwrap();

    let (mut sender, connection) = connect().await;
    assert_eq!(text(sender.send_request(get("/away")).await.unwrap()).await, "last");
    connection.await.unwrap().unwrap();
    assert!(sender.send_request(get("/away")).await.is_err(), "the connection takes no further request");

    let (mut sender, _connection) = connect().await;
    let held = sender.send_request(get("/held")).await.unwrap();
    gate.arrived(1).await;
    assert!(match sender.send_request(get("/lost")).await {
        Ok(response) => response.into_body().collect().await.is_err(),
        Err(_) => true,
    });
    assert!(held.into_body().collect().await.is_err(), "its streams are lost together");
    origin.disconnected(2).await;
    assert_eq!(origin.open_connections(), 0);
}

#[tokio::test]
async fn the_end_of_a_connection_is_seen() {
    let origin = Origin::start(Answer::endless()).await;
    let response = fetch(&origin, "/").await.unwrap();
    assert_eq!(origin.open_connections(), 1);
    drop(response);
    origin.disconnected(1).await;
    assert_eq!(origin.open_connections(), 0);
}

#[tokio::test]
async fn a_stopped_origin_refuses_and_a_resumed_one_answers_on_the_same_port() {
    let mut origin = Origin::start(Answer::ok("x")).await;
    let address = origin.address();
    assert_eq!(text(fetch(&origin, "/").await.unwrap()).await, "x");
    origin.stop().await;
    origin.stop().await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    origin.resume().await;
    assert_eq!(text(fetch(&origin, "/").await.unwrap()).await, "x");
    assert_eq!((origin.count(), origin.connections(), origin.address()), (2, 2, address));
    origin.stop().await;
    origin.finish().await;
}

#[tokio::test]
async fn a_silent_origin_accepts_and_says_nothing() {
    let origin = Origin::builder().tls().silent().start().await;
    let mut tcp = TcpStream::connect(origin.address()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    while origin.connections() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tcp.try_read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!((origin.open_connections(), origin.count()), (1, 0));
}

#[tokio::test]
async fn http2_refuses_what_it_has_not_begun_with() {
    let origin = Origin::builder().http2().start().await;
    origin.on("/", [Answer::refused(), Answer::ok("second")]);
    let reason = |error: &hyper::Error| {
        let error = error.source().unwrap().downcast_ref::<h2::Error>().unwrap();
        (error.is_remote(), error.is_go_away(), error.reason().unwrap())
    };
    origin.go_away_at_once(1);
    assert_eq!(reason(&fetch2(&origin, "/").await.unwrap_err()), (true, true, h2::Reason::NO_ERROR));
    assert_eq!(origin.count(), 0, "it was not begun with");
    assert_eq!(reason(&fetch2(&origin, "/").await.unwrap_err()), (true, false, h2::Reason::REFUSED_STREAM));
    assert_eq!(text(fetch2(&origin, "/").await.unwrap()).await, "second");
    assert_eq!((origin.count(), origin.connections()), (2, 3));
}
