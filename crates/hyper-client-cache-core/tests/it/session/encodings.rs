//! Content codings: undone above the cache (case 187). What is made to do harm is in `bombs`.

use async_compression::Level;
use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::policy::{Outcome, Storing};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin, Recorded};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{builder, outcome, session, text};

macro_rules! coded {
    ($encoder:ident, $plain:expr) => {
        coded!($encoder, $plain, Level::Default)
    };
    ($encoder:ident, $plain:expr, $level:expr) => {{
        let mut encoder = $encoder::with_quality(Vec::new(), $level);
        write(&mut encoder, $plain).await;
        Bytes::from(encoder.into_inner())
    }};
}

async fn write(encoder: &mut (impl AsyncWrite + Unpin), plain: &[u8]) {
    encoder.write_all(plain).await.unwrap();
    encoder.shutdown().await.unwrap();
}

pub(super) async fn gzip(plain: &[u8]) -> Bytes {
    coded!(GzipEncoder, plain)
}

/// Coded once, by the name of the coding.
pub(super) async fn coded(coding: &str, plain: &[u8]) -> Bytes {
    match coding {
        "gzip" => gzip(plain).await,
        "deflate" => coded!(ZlibEncoder, plain),
        // Its default takes its time, and some memory.
        "br" => coded!(BrotliEncoder, plain, Level::Fastest),
        _ => coded!(ZstdEncoder, plain),
    }
}

pub(super) fn answer(coding: &str, body: Bytes) -> Answer {
    Answer::ok(body).header("content-encoding", coding).header("cache-control", "max-age=60").header("etag", "\"wire\"")
}

/// Case 187: every coding, fresh and from the cache, whole and in tiny pieces; what is stored is what came in.
#[tokio::test]
async fn every_coding_is_undone_above_the_cache() {
    let origin = Origin::scripted().await;
    let plain = "word ".repeat(5000);
    let bytes = plain.as_bytes();
    let twice = coded!(BrotliEncoder, &gzip(bytes).await);
    let mut members = gzip(bytes).await.to_vec();
    members.extend_from_slice(&gzip(b"").await);
    let codings = [
        ("gzip", gzip(bytes).await),
        ("X-GZIP", gzip(bytes).await),
        ("deflate", coded!(ZlibEncoder, bytes)),
        ("deflate", coded!(DeflateEncoder, bytes)),
        ("br", coded!(BrotliEncoder, bytes)),
        ("zstd", coded!(ZstdEncoder, bytes)),
        ("gzip, br", twice),
        ("identity, gzip", Bytes::from(members)),
    ];
    let (session, _) = session();
    for (at, (coding, wire)) in codings.into_iter().enumerate() {
        for pieces in [false, true] {
            let path = format!("/{at}/{pieces}");
            let mut whole = answer(coding, if pieces { Bytes::new() } else { wire.clone() });
            for byte in wire.chunks(7).filter(|_| pieces) {
                whole = whole.chunk(Bytes::copy_from_slice(byte));
            }
            origin.on(&path, whole);
            for expected in [Outcome::Miss, Outcome::Hit] {
                let response = session.get(origin.url(&path)).send().await.unwrap();
                assert_eq!(outcome(&response), expected, "{coding} {pieces}");
                assert!(!response.headers().contains_key("content-encoding"));
                assert_eq!(response.content_length(), None);
                assert_eq!(response.headers()["etag"], "\"wire\"");
                assert_eq!(response.text().await.unwrap(), plain, "{coding} {pieces}");
            }
            let raw = session.get(origin.url(&path)).decompress(false).send().await.unwrap();
            assert_eq!((outcome(&raw), &raw.headers()["content-encoding"]), (Outcome::Hit, &coding.parse().unwrap()));
            assert_eq!(raw.bytes().await.unwrap(), wire, "the stored body is as it came over the wire");
        }
    }
}

/// `Accept-Encoding` is part of the request as the cache sees it.
#[tokio::test]
async fn what_is_accepted_is_said_and_selects() {
    let origin = Origin::scripted().await;
    let coded = gzip(b"plain").await;
    origin.on("/", move |request: &Recorded| {
        let accepts = request.header("accept-encoding").is_some_and(|value| value.contains("gzip"));
        let answer = if accepts { answer("gzip", coded.clone()) } else { Answer::ok("plain") };
        answer.header("vary", "accept-encoding")
    });
    let clock = ManualClock::new();
    let (session, _) = session();
    for expected in [Outcome::Miss, Outcome::Hit] {
        assert_eq!(text(&session, &origin.url("/")).await, (expected, "plain".into()));
    }
    assert_eq!(origin.requests()[0].header("accept-encoding"), Some("gzip, deflate, br, zstd"));
    let own = session.get(origin.url("/")).header("accept-encoding", "identity").send().await.unwrap();
    assert_eq!((outcome(&own), own.text().await.unwrap().as_str()), (Outcome::Miss, "plain"));
    assert_eq!(origin.requests()[1].header("accept-encoding"), Some("identity"));

    let raw = builder(&clock).decompression(None).build().unwrap();
    assert_eq!(text(&raw, &origin.url("/")).await.1, "plain");
    assert_eq!(origin.requests()[2].header("accept-encoding"), None);
    session.get(origin.url("/")).header("range", "bytes=0-1").send().await.unwrap();
    assert!(origin.requests().iter().skip(3).all(|request| request.header("accept-encoding").is_none()));
}

/// What is told beforehand is told of the request as it is sent: with its own options.
#[tokio::test]
async fn a_request_that_is_not_decoded_is_explained_as_that() {
    let origin = Origin::scripted().await;
    origin.on("/", answer("gzip", gzip(b"plain").await).header("vary", "accept-encoding"));
    let (session, _) = session();
    text(&session, &origin.url("/")).await;
    let asked = || session.get(origin.url("/"));
    assert_eq!(asked().explain().await.unwrap().outcome, Outcome::Hit);
    assert_eq!(asked().decompress(false).explain().await.unwrap().outcome, Outcome::Miss);
    assert_eq!(outcome(&asked().decompress(false).send().await.unwrap()), Outcome::Miss);
}

/// What has no body of its own, is a part, or is coded with what is not known is left as it is.
#[tokio::test]
async fn what_cannot_be_decoded_is_left_alone() {
    let origin = Origin::scripted().await;
    origin.on("/odd", answer("gzip, klingon", Bytes::from_static(b"x")));
    origin.on("/empty", answer("gzip", Bytes::new()));
    origin.on("/none", Answer::status(204).header("content-encoding", "gzip"));
    origin.on(
        "/part",
        Answer::status(206).header("content-encoding", "gzip").header("content-range", "bytes 0-0/9").body("x"),
    );
    let (session, _) = session();
    for (path, body) in [("/odd", "x"), ("/empty", ""), ("/none", ""), ("/part", "x")] {
        let response = session.get(origin.url(path)).send().await.unwrap();
        assert_eq!(response.headers().contains_key("content-encoding"), path != "/empty", "{path}");
        assert_eq!(response.text().await.unwrap(), body, "{path}");
    }
    let head = session.head(origin.url("/empty")).send().await.unwrap();
    assert_eq!(head.headers()["content-encoding"], "gzip");
    assert_eq!(head.bytes().await.unwrap(), "");
}

/// What is damaged or cut is an error, and what was cut on the wire is not stored.
#[tokio::test]
async fn a_damaged_coding_is_an_error() {
    let origin = Origin::scripted().await;
    let whole = gzip("word ".repeat(500).as_bytes()).await;
    origin.on("/short", answer("gzip", whole.slice(..whole.len() - 9)));
    origin.on("/cut", answer("gzip", whole.clone()).cut_after(20));
    origin.on("/no", answer("br", Bytes::from_static(b"\xff\xff\xff\xff\xff")));
    let (session, _) = session();
    for (path, kind) in [("/short", ErrorKind::Decode), ("/cut", ErrorKind::Body), ("/no", ErrorKind::Decode)] {
        let response = session.get(origin.url(path)).send().await.unwrap();
        assert_eq!(response.cache_info().unwrap().storing, Storing::Yes);
        let error = response.bytes().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{path}: {error}");
    }
    assert_eq!(outcome(&session.get(origin.url("/cut")).send().await.unwrap()), Outcome::Miss);
}
