//! Bodies that end early, are dropped, or are longer than announced: what the caller sees, and that nothing is stored.

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::policy::{Outcome, Reason, Storing};
use hyper_client_cache_testkit::Op;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, pattern};

use super::{builder, eventually, faulty, outcome, pattern_len, session, settled, text};

const MIB: u64 = 1024 * 1024;

fn fresh(answer: Answer) -> Answer {
    answer.header("cache-control", "max-age=60")
}

/// Asks twice for a body that breaks off: each time an error, each time from the origin, nothing left behind. What dies
/// on a connection that was used before, and before any of the answer is there, is tried once more.
async fn breaks_off(session: &CachedSession, origin: &Origin, answer: Answer) {
    origin.on("/a", fresh(answer));
    for round in 1..=2 {
        let before = origin.count_of("/a");
        let failed = match session.get(origin.url("/a")).send().await {
            Ok(response) => {
                assert_eq!(outcome(&response), Outcome::Miss);
                pattern_len(response).await.is_none()
            }
            Err(_) => true,
        };
        assert!(failed, "round {round}");
        settled(session, 0, 0).await;
        let asked = origin.count_of("/a") - before;
        assert!((1..=2).contains(&asked), "asked {asked} times in round {round}");
    }
}

/// Case 169.
#[tokio::test]
async fn a_body_that_is_shorter_than_its_content_length_is_an_error_and_not_stored() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    for (len, sent) in [(1000, 999), (1000, 0), (MIB, MIB - 1), (MIB, 300_000), (MIB, 0)] {
        breaks_off(&session, &origin, Answer::pattern(len).cut_after(sent)).await;
        breaks_off(&session, &origin, Answer::pattern(len).reset_after(sent)).await;
    }
}

/// Case 170.
#[tokio::test]
async fn a_chunked_body_without_its_final_chunk_is_an_error_and_not_stored() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    for len in [1, 1000, MIB] {
        breaks_off(&session, &origin, Answer::pattern(len).without_final_chunk()).await;
        breaks_off(&session, &origin, Answer::pattern(len).chunked().cut_after(len - 1)).await;
    }
}

/// Case 172.
#[tokio::test]
async fn an_http2_stream_that_is_reset_or_ends_early_is_an_error_and_not_stored() {
    let origin = Origin::builder().http2().start().await;
    let clock = hyper_client_cache_testkit::ManualClock::new();
    let session = builder(&clock).http2_prior_knowledge(true).build().unwrap();
    for (len, sent) in [(1000, 999), (1000, 0), (MIB, MIB - 1)] {
        breaks_off(&session, &origin, Answer::pattern(len).reset_after(sent)).await;
        breaks_off(&session, &origin, Answer::pattern(sent).content_length(len)).await;
    }
    origin.on("/a", fresh(Answer::pattern(MIB)));
    assert_eq!(pattern_len(session.get(origin.url("/a")).send().await.unwrap()).await, Some(MIB));
    settled(&session, 1, 4).await;
}

/// Case 171.
#[tokio::test]
async fn a_tls_body_that_ends_without_close_notify_is_served_and_not_stored() {
    let origin = Origin::builder().tls().http1().start().await;
    let clock = hyper_client_cache_testkit::ManualClock::new();
    let session = builder(&clock).root_certificate(origin.root_certificate_der().unwrap()).build().unwrap();
    origin.on("/a", fresh(Answer::pattern(1000).close_delimited().without_close_notify()));
    for round in 1..=2 {
        let response = session.get(origin.url("/a")).send().await.unwrap();
        assert_eq!(outcome(&response), Outcome::Miss);
        assert_eq!(pattern_len(response).await, Some(1000));
        settled(&session, 0, 0).await;
        assert_eq!(origin.count(), round);
    }
}

/// Case 173.
#[tokio::test]
async fn bytes_after_the_body_are_never_stored_and_the_connection_is_not_used_again() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    origin.on("/a", fresh(Answer::ok("exact").followed_by("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")));
    origin.on("/b", fresh(Answer::ok("other")));
    origin.on("/c", fresh(Answer::ok("longer").content_length(4)));
    assert_eq!(text(&session, &origin.url("/a")).await, (Outcome::Miss, "exact".into()));
    assert_eq!(text(&session, &origin.url("/b")).await, (Outcome::Miss, "other".into()));
    assert_eq!(text(&session, &origin.url("/a")).await, (Outcome::Hit, "exact".into()));
    assert_eq!(text(&session, &origin.url("/c")).await, (Outcome::Miss, "long".into()));
    assert_eq!(text(&session, &origin.url("/c")).await, (Outcome::Hit, "long".into()));
    let connections: Vec<_> = origin.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections[0] + 1, connections[1], "{connections:?}");
}

/// Case 174: at every boundary of a body of known and of unknown length, kept inline and in parts.
#[tokio::test]
async fn a_body_that_the_caller_drops_is_not_stored_and_its_parts_go() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let gate = Gate::new();
    // The gate keeps the end from being there before the caller has gone.
    let small = || (0..4).fold(Answer::status(200), |answer, _| answer.chunk("0123456789"));
    let large = || (0..20).fold(Answer::status(200), |answer, at| answer.chunk(pattern(at * 65_521, u64::MAX)));
    let answers = [
        ("/1", small().gate(&gate).chunk("end")),
        ("/2", small().gate(&gate).chunk("end").content_length(43)),
        ("/3", large().gate(&gate).chunk("end")),
        ("/4", large().gate(&gate).chunk("end").content_length(20 * 65_521 + 3)),
    ];
    for (path, answer) in answers {
        origin.on(path, fresh(answer));
        let all = if matches!(path, "/1" | "/2") { 40 } else { 20 * 65_521 };
        let mut taken = 0;
        while taken < all {
            let mut response = session.get(origin.url(path)).send().await.unwrap();
            assert_eq!((outcome(&response), response.cache_info().unwrap().reason), (Outcome::Miss, Reason::NotFound));
            let mut received = 0;
            // One more than the last time, however the bytes arrive.
            while received <= taken && received < all {
                received += response.chunk().await.unwrap().unwrap().len();
            }
            taken = received.max(taken + all / 8);
            drop(response);
            settled(&session, 0, 0).await;
        }
        session.get(origin.url(path)).send().await.unwrap();
        settled(&session, 0, 0).await;
    }
    gate.open();
    let response = session.get(origin.url("/3")).send().await.unwrap();
    assert_eq!(response.bytes().await.unwrap().len(), 20 * 65_521 + 3);
    settled(&session, 1, 5).await;
}

/// Whoever has all of the announced bytes has read the body to its end, also without asking for more.
#[tokio::test]
async fn a_body_whose_bytes_were_all_read_is_stored_although_its_end_was_not_asked_for() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    origin.on("/a", fresh(Answer::ok("0123456789")));
    let mut response = session.get(origin.url("/a")).send().await.unwrap();
    let mut left = 10;
    while left > 0 {
        left -= response.chunk().await.unwrap().unwrap().len();
    }
    drop(response);
    assert_eq!(text(&session, &origin.url("/a")).await, (Outcome::Hit, "0123456789".into()));
}

/// Case 181.
#[tokio::test]
async fn what_has_no_body_is_stored_with_its_framing() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    origin.on("/empty", fresh(Answer::ok("")));
    origin.on("/204", fresh(Answer::status(204)));
    origin.on("/head", fresh(Answer::ok("0123456789")));
    origin.on("/304", fresh(Answer::not_modified()));
    for round in 0..2 {
        let expected = [Outcome::Miss, Outcome::Hit][round];
        for path in ["/empty", "/204"] {
            let response = session.get(origin.url(path)).send().await.unwrap();
            assert_eq!(outcome(&response), expected, "{path}");
            assert_eq!(response.status().as_u16(), if path == "/204" { 204 } else { 200 });
            assert_eq!(response.bytes().await.unwrap(), "");
        }
        let response = session.head(origin.url("/head")).send().await.unwrap();
        assert_eq!(outcome(&response), expected);
        assert_eq!(response.headers()["content-length"], "10");
        assert_eq!(response.bytes().await.unwrap(), "");
        // A 304 that nobody asked for is neither given to the caller nor stored.
        let error = session.get(origin.url("/304")).send().await.unwrap_err();
        assert!(error.to_string().contains("304"), "{error}");
    }
    assert_eq!(origin.count_of("/304"), 2);
    // Without its body being polled.
    origin.on("/unread", fresh(Answer::ok("")));
    drop(session.get(origin.url("/unread")).send().await.unwrap());
    assert_eq!(text(&session, &origin.url("/unread")).await.0, Outcome::Hit);
    settled(&session, 4, 0).await;
}

/// Case 182.
#[tokio::test]
async fn trailers_are_neither_stored_nor_merged_into_the_headers() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    origin.on("/a", fresh(Answer::ok("body").trailer("x-late", "1")));
    for expected in [Outcome::Miss, Outcome::Hit] {
        let response = session.get(origin.url("/a")).header("te", "trailers").send().await.unwrap();
        assert_eq!(outcome(&response), expected);
        assert!(!response.headers().contains_key("x-late"));
        let mut body = response.into_http().into_body();
        let mut seen = Vec::new();
        while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
            seen.extend_from_slice(&frame.unwrap().into_data().expect("no trailers"));
        }
        assert_eq!(seen, b"body");
    }
}

/// What is not stored is handed on untouched: so is an error for which nobody waits.
#[tokio::test]
async fn an_error_that_is_not_stored_keeps_its_trailers() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    origin.on("/a", Answer::status(503).chunk("no").trailer("x-late", "1"));
    let response = session.get(origin.url("/a")).header("te", "trailers").send().await.unwrap();
    assert_eq!((response.status().as_u16(), outcome(&response)), (503, Outcome::Miss));
    let read = http_body_util::BodyExt::collect(response.into_http().into_body()).await.unwrap();
    assert_eq!(read.trailers().map(|trailers| trailers["x-late"].as_bytes()), Some(&b"1"[..]));
    assert_eq!(read.to_bytes(), "no");
    settled(&session, 0, 0).await;
}

/// Cases 179 and 180.
#[tokio::test]
async fn a_body_over_the_limit_reaches_the_caller_and_is_not_stored() {
    let origin = Origin::scripted().await;
    for limit in [1000, 400_000] {
        let clock = hyper_client_cache_testkit::ManualClock::new();
        let settings = hyper_client_cache_core::policy::Settings::default().max_body_len(limit);
        let session = builder(&clock).settings(settings).build().unwrap();
        for (path, len, chunked) in [
            ("/at", limit, false),
            ("/at-chunked", limit, true),
            ("/over", limit + 1, false),
            ("/over-chunked", limit + 1, true),
            ("/far", limit + MIB, true),
        ] {
            let answer = fresh(Answer::pattern(len));
            origin.on(path, if chunked { answer.chunked() } else { answer });
            for round in 0..2 {
                let response = session.get(origin.url(path)).send().await.unwrap();
                let expected = if len == limit && round == 1 { Outcome::Hit } else { Outcome::Miss };
                assert_eq!(outcome(&response), expected, "{path} {limit}");
                if path == "/over" {
                    assert_eq!(response.cache_info().unwrap().storing, Storing::No(Reason::TooLarge));
                }
                assert_eq!(pattern_len(response).await, Some(len), "{path} {limit}");
                super::flushed(&session).await;
            }
        }
        settled(&session, 2, if limit == 1000 { 0 } else { 4 }).await;
    }
}

/// Case 157: small and large bodies, read to their end while the store does not answer at all. The largest that is still
/// stored has no more parts than may be on their way, so that it never depends on how long the store is waited for.
#[tokio::test]
async fn no_byte_waits_for_the_store() {
    let origin = Origin::scripted().await;
    let clock = hyper_client_cache_testkit::ManualClock::new();
    let (cache, responses, bodies) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    responses.hang_on(Op::Write);
    bodies.hang_on(Op::Write);
    for (path, len) in [("/none", 0), ("/small", 10), ("/medium", 100_000), ("/large", 500_000), ("/larger", 5 * MIB)] {
        origin.on(path, fresh(Answer::pattern(len)));
        let response = session.get(origin.url(path)).send().await.unwrap();
        assert_eq!(pattern_len(response).await, Some(len), "{path}");
    }
    responses.release();
    bodies.release();
    // All but the one for which the store was too slow.
    settled(&session, 4, 2).await;
    assert_eq!(session.stats().store_failed, 1);
}

/// A look-up that fails is a miss, and counted.
#[tokio::test]
async fn a_store_that_fails_costs_nothing_but_the_hit() {
    let origin = Origin::scripted().await;
    let clock = hyper_client_cache_testkit::ManualClock::new();
    let (cache, responses, bodies) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    responses.fail_all();
    bodies.fail_all();
    for (path, len) in [("/small", 10), ("/large", 3 * MIB)] {
        origin.on(path, fresh(Answer::pattern(len)));
        for _ in 0..2 {
            let response = session.get(origin.url(path)).send().await.unwrap();
            assert_eq!(
                (outcome(&response), response.cache_info().unwrap().reason),
                (Outcome::Miss, Reason::StoreFault)
            );
            assert_eq!(pattern_len(response).await, Some(len), "{path}");
            eventually("no flight", || session.layer().in_flight() == 0).await;
            super::flushed(&session).await;
        }
    }
    assert_eq!((session.stats().lookup_failed, session.stats().store_failed), (4, 4));
}
