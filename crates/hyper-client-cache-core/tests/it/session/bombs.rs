//! Bodies that are made to do harm: coded over and over, or much longer than they look (cases 104 to 106).

use bytes::Bytes;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::session::Decompression;
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};

use super::encodings::{answer, coded, gzip};
use super::{builder, outcome, session, text};
use crate::support::is_alone;

/// Case 104.
#[tokio::test]
async fn a_long_chain_of_codings_is_an_error() {
    let origin = Origin::scripted().await;
    let mut body = Bytes::from_static(b"plain");
    for at in 1..=6 {
        body = gzip(&body).await;
        origin.on(&format!("/{at}"), answer(&["gzip"; 6][..at].join(", "), body.clone()));
    }
    let (session, _) = session();
    assert_eq!(text(&session, &origin.url("/5")).await.1, "plain");
    let error = session.get(origin.url("/6")).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    let clock = ManualClock::new();
    let strict = builder(&clock).decompression(Decompression::default().max_codings(1)).build().unwrap();
    assert!(strict.get(origin.url("/2")).send().await.is_err());
}

/// Case 105: what swells is cut off, from the network and from the cache, and no piece of it is large.
#[tokio::test]
async fn a_bomb_is_cut_off() {
    let origin = Origin::scripted().await;
    let plain = vec![0; 8 * 1024 * 1024];
    let bomb = gzip(&plain).await;
    let chain = gzip(&gzip(&plain).await).await;
    origin.on("/one", answer("gzip", bomb));
    origin.on("/chain", answer("gzip, gzip", chain));
    let clock = ManualClock::new();
    let by_len = Decompression::default().max_len(100_000).max_ratio(None);
    for (limits, upto) in [(Decompression::default(), 4 << 20), (by_len, 100_000)] {
        let session = builder(&clock).decompression(limits).build().unwrap();
        for path in ["/one", "/one", "/chain", "/chain"] {
            let mut response = session.get(origin.url(path)).send().await.unwrap();
            let mut read = 0;
            let error = loop {
                match response.chunk().await {
                    Ok(Some(bytes)) => {
                        assert!(bytes.len() <= 64 * 1024, "a piece of {} bytes", bytes.len());
                        read += bytes.len();
                    }
                    Ok(None) => panic!("{path} ends well after {read} bytes"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.to_string().contains("max_"), "{error}");
            assert!(read <= upto, "{path}: {read}");
        }
    }
    let session = builder(&clock).decompression(Decompression::default().max_ratio(None)).build().unwrap();
    assert_eq!(session.get(origin.url("/one")).send().await.unwrap().bytes().await.unwrap().len(), plain.len());
}

/// Case 105: however long it becomes, little of it is in memory at a time, from the network and from the cache: 2 MiB
/// and what the coding itself needs to look back.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_bomb_is_decoded_in_bounded_memory() {
    const MIB: u64 = 1024 * 1024;
    if !is_alone("session::bombs::a_bomb_is_decoded_in_bounded_memory") {
        return;
    }
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    };
    let origin = Origin::scripted().await;
    let mut bombs = Vec::new();
    for (path, coding, window) in [
        ("/gzip", "gzip", 0),
        ("/chain", "gzip, gzip", 0),
        ("/deflate", "deflate", 0),
        ("/zstd", "zstd", 8),
        ("/br", "br", 16),
    ] {
        let plain = vec![0; 32 * MIB as usize];
        for (path, plain) in [(path.to_owned(), &plain[..]), (format!("{path}/warm"), &plain[..100_000])] {
            let once = coded(coding.split(", ").next().unwrap(), plain).await;
            origin.on(&path, answer(coding, if coding.contains(',') { gzip(&once).await } else { once }));
        }
        bombs.push((path, plain.len() as u64, window * MIB));
    }
    let clock = ManualClock::new();
    let session = builder(&clock).decompression(Decompression::default().max_ratio(None)).build().unwrap();
    // Code, connections and pools are there before anything is measured.
    for (path, ..) in &bombs {
        for _ in 0..2 {
            text(&session, &origin.url(&format!("{path}/warm"))).await;
        }
    }
    let before = resident();
    for (path, len, window) in bombs {
        for expected in [Outcome::Miss, Outcome::Hit] {
            let mut response = session.get(origin.url(path)).send().await.unwrap();
            assert_eq!(outcome(&response), expected, "{path}");
            let (mut read, mut next, mut peak) = (0, 0, 0);
            while let Some(bytes) = response.chunk().await.unwrap() {
                read += bytes.len() as u64;
                if read >= next {
                    peak = peak.max(resident());
                    next = read + MIB / 4;
                }
            }
            assert_eq!(read, len, "{path}");
            let grown = peak.saturating_sub(before);
            println!("{path} {expected:?}: {grown} bytes more than {before}");
            assert!(grown <= 2 * MIB + window, "{path} {expected:?}: {grown} bytes more");
        }
    }
}

/// Case 106: the body of a redirect that is followed is not decoded, and not waited for, be it long or slow.
#[tokio::test]
async fn the_body_of_a_redirect_is_not_decoded() {
    let origin = Origin::scripted().await;
    let never = Gate::new();
    let redirect =
        || Answer::redirect(301, "/end").header("content-encoding", "gzip").header("cache-control", "max-age=60");
    origin.on("/small", redirect().body("no gzip at all"));
    origin.on("/long", redirect().chunk(vec![0; 64 * 1024 + 1]).gate(&never));
    origin.on("/announced", redirect().gate(&never).content_length(64 * 1024 + 1));
    origin.on("/slow", redirect().chunk("x").gate(&never));
    origin.on("/end", Answer::ok("end"));
    let (session, _) = session();
    for (path, then) in
        [("/small", Outcome::Hit), ("/long", Outcome::Miss), ("/announced", Outcome::Miss), ("/slow", Outcome::Miss)]
    {
        assert_eq!(text(&session, &origin.url(path)).await.1, "end", "{path}");
        let again = session.get(origin.url(path)).send().await.unwrap();
        assert_eq!(again.history()[0].cache_info.as_ref().unwrap().outcome, then, "{path}");
    }
}

/// Case 106: a 304 has no body. What a server sends all the same is neither decoded nor read, and no other answer.
#[tokio::test]
async fn the_body_of_a_304_is_not_decoded() {
    let never = Gate::new();
    let whole = answer("gzip", gzip(b"plain").await);
    let raw = "HTTP/1.1 304 Not Modified\r\netag: \"wire\"\r\ncontent-encoding: gzip\r\ncontent-length: 100000\r\n\r\n\
               HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let raw = Answer::raw(raw).chunk(vec![0; 10_000]).gate(&never);
    let stream = Answer::not_modified().header("content-encoding", "gzip").chunk(vec![0; 10_000]).gate(&never);
    let (one, two) = (Origin::scripted().await, Origin::builder().http2().start().await);
    for (origin, not_modified, http2) in [(one, raw, false), (two, stream, true)] {
        origin.on("/", [whole.clone(), not_modified]);
        origin.on("/other", Answer::ok("other"));
        let clock = ManualClock::new();
        let session = builder(&clock).http2_prior_knowledge(http2).build().unwrap();
        text(&session, &origin.url("/")).await;
        clock.advance(std::time::Duration::from_secs(60));
        for expected in [Outcome::Revalidated, Outcome::Hit] {
            assert_eq!(text(&session, &origin.url("/")).await, (expected, "plain".into()));
        }
        assert_eq!(text(&session, &origin.url("/other")).await.1, "other");
    }
}

#[test]
fn impossible_limits_are_named() {
    for (limits, name) in
        [(Decompression::default().max_len(0), "`max_len`"), (Decompression::default().max_ratio(0), "`max_ratio`")]
    {
        let error = CachedSession::builder().decompression(limits).build().unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(name), "{error}");
    }
}
