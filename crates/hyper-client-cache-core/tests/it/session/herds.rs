//! A thousand at once: one exchange, one answer for all; leaders that go, origins that fail.

use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};

use super::{builder, eventually, faulty, outcome, pattern_len, session, settled};
use crate::support::poll_times;

const MIB: u64 = 1024 * 1024;

fn fresh(answer: Answer) -> Answer {
    answer.header("cache-control", "max-age=60")
}

/// A thousand requests for `path` at once; how many had which outcome, status and length.
async fn herd(session: &CachedSession, url: &str, gate: &Gate) -> Vec<(Outcome, u16, Option<u64>)> {
    let asked: Vec<_> = (0..1000)
        .map(|_| {
            let request = session.get(url).send();
            tokio::spawn(async move {
                let response = request.await.unwrap();
                (outcome(&response), response.status().as_u16(), pattern_len(response).await)
            })
        })
        .collect();
    gate.arrived(1).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    gate.open();
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(tokio::time::timeout(Duration::from_secs(60), asked).await.expect("no answer").unwrap());
    }
    answers
}

async fn one_request_for_all(threads: &str) {
    // No more parts than may be on their way: stored however late a thread gets its turn.
    const LARGE: u64 = 500_000;
    let origin = Origin::scripted().await;
    let lens = [("/empty", 0, false), ("/small", 1000, false), ("/chunked", 1000, true), ("/large", LARGE, false)];
    let mut stored = 0;
    let (session, clock) = session();
    for (path, len, chunked) in lens {
        let gate = Gate::new();
        let answer = fresh(Answer::pattern(len)).after(&gate);
        origin.on(path, if chunked { answer.chunked() } else { answer });
        let answers = herd(&session, &origin.url(path), &gate).await;
        assert!(answers.iter().all(|(_, status, read)| (*status, *read) == (200, Some(len))), "{path} {threads}");
        assert_eq!(answers.iter().filter(|answer| answer.0 == Outcome::Miss).count(), 1, "{path} {threads}");
        assert_eq!(origin.count_of(path), 1, "{path} {threads}");
        stored += 1;
        settled(&session, stored, if len == LARGE { 2 } else { 0 }).await;
    }
    // Revalidations too.
    let gate = Gate::new();
    let answer = fresh(Answer::pattern(1000)).etag("\"1\"");
    origin.on("/etag", [answer.clone(), answer.after(&gate)]);
    assert_eq!(pattern_len(session.get(origin.url("/etag")).send().await.unwrap()).await, Some(1000));
    clock.advance(Duration::from_secs(100));
    let answers = herd(&session, &origin.url("/etag"), &gate).await;
    assert!(answers.iter().all(|(_, status, read)| (*status, *read) == (200, Some(1000))));
    assert_eq!(origin.count_of("/etag"), 2, "{threads}");
}

/// Case 189.
#[tokio::test]
async fn a_thousand_at_once_are_one_request() {
    one_request_for_all("one thread").await;
}

/// Case 189 on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_at_once_on_several_threads_are_one_request() {
    one_request_for_all("four threads").await;
}

/// Case 189 although nothing can be stored.
#[tokio::test]
async fn a_thousand_at_once_are_one_request_also_where_the_store_fails() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let (cache, responses, bodies) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    responses.fail_all();
    bodies.fail_all();
    for (path, len) in [("/empty", 0), ("/small", 1000)] {
        let gate = Gate::new();
        origin.on(path, fresh(Answer::pattern(len)).after(&gate));
        let answers = herd(&session, &origin.url(path), &gate).await;
        assert!(answers.iter().all(|(_, status, read)| (*status, *read) == (200, Some(len))));
        assert_eq!(origin.count_of(path), 1, "{path}");
    }
}

/// Case 192.
#[tokio::test]
async fn an_origin_that_fails_is_not_asked_a_thousand_times() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let body = hyper_client_cache_testkit::origin::pattern(0, 1000);
    for path in ["/length", "/chunked", "/empty"] {
        for status in [500, 503] {
            let gate = Gate::new();
            let answer = match path {
                "/length" => Answer::status(status).body(body.clone()),
                "/chunked" => Answer::status(status).chunk(body.clone()),
                _ => Answer::status(status),
            };
            origin.on(path, answer.after(&gate));
            let before = origin.count_of(path);
            let answers = herd(&session, &origin.url(path), &gate).await;
            let len = if path == "/empty" { 0 } else { 1000 };
            assert!(answers.iter().all(|(_, seen, read)| (*seen, *read) == (status, Some(len))), "{path}");
            assert_eq!(origin.count_of(path) - before, 1, "{path} {status}");
            settled(&session, 0, 0).await;
        }
    }
}

/// Case 190: the leader goes after any number of steps, on its way or in the middle of the body.
#[tokio::test]
async fn whoever_waits_goes_on_when_the_leader_is_dropped() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    for len in [1000, MIB] {
        for polls in 1.. {
            let path = format!("/{len}/{polls}");
            let gate = Gate::new();
            origin.on(&path, fresh(Answer::pattern(len - 1).gate(&gate).chunk(last(len))));
            let url = origin.url(&path);
            let request = session.get(&url).send();
            let mut leader = Box::pin(async move { pattern_len(request.await.unwrap()).await });
            // It leads from its first step on.
            assert!(poll_times(leader.as_mut(), 1).await.is_none());
            let waiters: Vec<_> = (0..5)
                .map(|_| {
                    let request = session.get(&url).send();
                    tokio::spawn(async move { pattern_len(request.await.unwrap()).await })
                })
                .collect();
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            gate.open();
            let done = poll_times(leader.as_mut(), polls - 1).await;
            drop(leader);
            for waiter in waiters {
                let read =
                    tokio::time::timeout(Duration::from_secs(60), waiter).await.expect("a waiter hangs").unwrap();
                assert_eq!(read, Some(len), "{polls}");
            }
            assert!(origin.count_of(&path) <= 2, "{polls}: {}", origin.count_of(&path));
            eventually("no flight", || session.layer().in_flight() == 0).await;
            assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(len));
            if done.is_some() {
                break;
            }
        }
    }
}

fn last(len: u64) -> bytes::Bytes {
    hyper_client_cache_testkit::origin::pattern(len - 1, 1)
}

/// Case 201: one refresh in the background, however many are served stale.
#[tokio::test]
async fn a_thousand_stale_hits_are_one_refresh() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    let answer = Answer::pattern(1000).header("cache-control", "max-age=60, stale-while-revalidate=60");
    origin.on("/a", [answer.clone(), answer.after(&gate)]);
    let (session, clock) = session();
    let url = origin.url("/a");
    assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(1000));
    clock.advance(Duration::from_secs(90));
    for _ in 0..1000 {
        let response = session.get(&url).send().await.unwrap();
        assert_eq!(outcome(&response), Outcome::Stale);
        assert_eq!(pattern_len(response).await, Some(1000));
    }
    origin.arrived(2).await;
    gate.open();
    eventually("refreshed", || session.layer().in_flight() == 0).await;
    let response = session.get(&url).send().await.unwrap();
    assert_eq!((outcome(&response), origin.count()), (Outcome::Hit, 2));
}
