//! Bodies in parts: written while they stream, read back exactly, replaced, damaged, and stores that fail or hang.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::layer::INLINE_LIMIT;
use hyper_client_cache_core::policy::{Mode, Outcome};
use hyper_client_cache_core::session::Response;
use hyper_client_cache_core::storage::{CacheKey, Entry};
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, PatternChecker, pattern};
use hyper_client_cache_testkit::{ManualClock, Op};

use super::{builder, eventually, faulty, outcome, pattern_len, session, settled};

const MIB: u64 = 1024 * 1024;

fn fresh(answer: Answer) -> Answer {
    answer.header("cache-control", "max-age=60")
}

async fn ask(session: &CachedSession, url: &str) -> (Outcome, Option<u64>) {
    let response = session.get(url).send().await.unwrap();
    (outcome(&response), pattern_len(response).await)
}

async fn part_keys(session: &CachedSession) -> Vec<CacheKey> {
    let mut keys: Vec<_> = session.cache().bodies().unwrap().keys().try_collect().await.unwrap();
    keys.sort();
    keys
}

#[tokio::test]
async fn a_large_body_is_stored_in_parts_and_read_back_exactly() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let lens = [
        ("/at", INLINE_LIMIT, 0),
        ("/over", INLINE_LIMIT + 1, 2),
        ("/1", MIB, 4),
        ("/3", 3 * MIB, 12),
        ("/odd", 3 * MIB + 1, 13),
    ];
    let mut parts = 0;
    for (at, (path, len, count)) in lens.into_iter().enumerate() {
        for chunked in [false, true] {
            let path = format!("{path}-{chunked}");
            let answer = fresh(Answer::pattern(len));
            origin.on(&path, if chunked { answer.chunked() } else { answer });
            assert_eq!(ask(&session, &origin.url(&path)).await, (Outcome::Miss, Some(len)));
            parts += count;
            settled(&session, at as u64 * 2 + u64::from(chunked) + 1, parts).await;
            assert_eq!(ask(&session, &origin.url(&path)).await, (Outcome::Hit, Some(len)));
        }
    }
    assert_eq!(origin.count(), 10);
}

/// The head is written last: while the body comes, parts are there and no look-up sees them.
#[tokio::test]
async fn nothing_of_a_large_body_is_visible_before_its_end() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let gate = Gate::new();
    origin.on("/a", fresh(Answer::pattern(MIB).gate(&gate).chunk("end")));
    let mut response = session.get(origin.url("/a")).send().await.unwrap();
    let mut received = 0;
    while received < MIB {
        received += response.chunk().await.unwrap().unwrap().len() as u64;
    }
    let bodies = session.cache().bodies().unwrap();
    // What came last is given to the store when the next bytes are asked for.
    while bodies.size().await.unwrap() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(session.cache().responses().size().await.unwrap(), 0);
    gate.open();
    while response.chunk().await.unwrap().is_some() {}
    settled(&session, 1, 5).await;
}

/// A store far away takes as long for each part however short it is, so it is given several at a time, but not more than
/// may be in memory.
#[tokio::test]
async fn parts_are_written_side_by_side() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh(Answer::pattern(3 * MIB)));
    let clock = ManualClock::new();
    let (cache, _, bodies) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    bodies.hang_on(Op::Write);
    let url = origin.url("/a");
    let asking = tokio::spawn(async move { ask(&session, &url).await });
    eventually("two parts are on their way", || bodies.hanging() == 2).await;
    assert_eq!(bodies.calls(Op::Write), 2);
    bodies.release();
    assert_eq!(asking.await.unwrap(), (Outcome::Miss, Some(3 * MIB)));
}

/// Cases 96 and 184: each part is checked before its bytes are handed on, and a bad one is an error after those before.
#[tokio::test]
async fn a_missing_damaged_or_foreign_part_is_never_a_clean_end() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh(Answer::pattern(MIB)));
    for fault in 0..4 {
        let (session, _) = session();
        let url = origin.url("/a");
        assert_eq!(ask(&session, &url).await, (Outcome::Miss, Some(MIB)));
        settled(&session, 1, 4).await;
        let keys = part_keys(&session).await;
        let bodies = session.cache().bodies().unwrap();
        let part = bodies.read(&keys[2]).await.unwrap().unwrap();
        match fault {
            0 => assert!(bodies.delete(&keys[2]).await.unwrap()),
            1 => bodies.write(&keys[2], bodies.read(&keys[1]).await.unwrap().unwrap()).await.unwrap(),
            2 => bodies.write(&keys[2], Entry::new(part.head.clone(), part.body.slice(1..))).await.unwrap(),
            _ => {
                let mut body = part.body.to_vec();
                body[77] ^= 1;
                bodies.write(&keys[2], Entry::new(part.head.clone(), body)).await.unwrap();
            }
        }
        let response = session.get(&url).send().await.unwrap();
        assert_eq!(outcome(&response), Outcome::Hit);
        let (before, read) = (origin.count(), response.bytes().await);
        match (fault, read) {
            // Nothing in the parts themselves shows it, only the whole; and the wrong byte is with the caller by then.
            (3, read) => assert_eq!(read.unwrap_err().kind(), ErrorKind::Body),
            (_, read) => assert!(PatternChecker::new().update(&read.unwrap()), "fault {fault}"),
        }
        assert_eq!(origin.count(), before + 1, "fault {fault}: the origin is asked for what is missing");
        super::flushed(&session).await;
        assert_eq!(session.stats().body_lost, 1, "fault {fault}");
        assert_eq!(ask(&session, &url).await, (Outcome::Miss, Some(MIB)));
        super::flushed(&session).await;
        assert_eq!(ask(&session, &url).await, (Outcome::Hit, Some(MIB)));
    }
}

/// Cases 133 and 184: what is missing comes from the origin only where that still has the same body, also where nothing of
/// it was read so far, or where only its last byte is another; never a mix, and never another body under the stored headers.
#[tokio::test]
async fn another_body_is_noticed_wherever_it_differs() {
    let mut last = Vec::new();
    while (last.len() as u64) < MIB {
        last.extend_from_slice(&pattern(last.len() as u64, MIB - last.len() as u64));
    }
    *last.last_mut().unwrap() ^= 1;
    for (lost, other) in [(0, vec![b'x'; last.len()]), (0, last.clone()), (2, last)] {
        let origin = Origin::scripted().await;
        origin.on("/a", fresh(Answer::pattern(MIB)));
        let (session, _) = session();
        let url = origin.url("/a");
        assert_eq!(ask(&session, &url).await, (Outcome::Miss, Some(MIB)));
        settled(&session, 1, 4).await;
        let keys = part_keys(&session).await;
        assert!(session.cache().bodies().unwrap().delete(&keys[lost]).await.unwrap());
        origin.on("/a", Answer::ok(other));
        let response = session.get(&url).send().await.unwrap();
        assert_eq!(outcome(&response), Outcome::Hit);
        fails_for_good(response).await;
    }
}

/// Reads up to the error, and on: nobody must take what came for a whole body.
async fn fails_for_good(mut response: Response) {
    while let Ok(bytes) = response.chunk().await {
        assert!(bytes.is_some(), "a clean end");
    }
    for _ in 0..2 {
        assert_eq!(response.chunk().await.unwrap_err().kind(), ErrorKind::Body);
    }
}

/// Case 184: a body of which a part is gone, and that nothing can be asked for, fails however often it is read on.
#[tokio::test]
async fn a_body_that_has_failed_has_no_clean_end_afterwards() {
    let origin = Origin::scripted().await;
    origin.on("/a", [fresh(Answer::pattern(MIB)).etag("\"1\""), Answer::status(304)]);
    let (session, clock) = session();
    let url = origin.url("/a");
    assert_eq!(ask(&session, &url).await, (Outcome::Miss, Some(MIB)));
    settled(&session, 1, 4).await;
    let keys = part_keys(&session).await;
    assert!(session.cache().bodies().unwrap().delete(&keys[2]).await.unwrap());
    clock.advance(Duration::from_secs(3600));
    let response = session.get(&url).send().await.unwrap();
    assert_eq!(outcome(&response), Outcome::Revalidated);
    fails_for_good(response).await;
}

/// Case 184: what is missing comes from the origin only where that still has the same body; never a mix.
#[tokio::test]
async fn a_missing_part_is_not_made_up_for_from_another_body() {
    let other_bytes = vec![b'x'; usize::try_from(MIB).unwrap()];
    for other in [Answer::ok(other_bytes), Answer::pattern(MIB - 1), Answer::pattern(MIB + 1), Answer::status(404)] {
        let origin = Origin::scripted().await;
        origin.on("/a", fresh(Answer::pattern(MIB)));
        let (session, _) = session();
        let url = origin.url("/a");
        assert_eq!(ask(&session, &url).await, (Outcome::Miss, Some(MIB)));
        settled(&session, 1, 4).await;
        let keys = part_keys(&session).await;
        assert!(session.cache().bodies().unwrap().delete(&keys[2]).await.unwrap());
        origin.on("/a", other);
        let response = session.get(&url).send().await.unwrap();
        assert_eq!(outcome(&response), Outcome::Hit);
        assert_eq!(response.bytes().await.unwrap_err().kind(), ErrorKind::Body);
        assert_eq!(origin.count(), 2);
    }
}

/// Case 186: the store refuses a part, the nth call, or the head.
#[tokio::test]
async fn the_caller_gets_every_byte_though_the_store_fails_at_any_part() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh(Answer::pattern(3 * MIB)));
    for nth in 1..=12 {
        let clock = ManualClock::new();
        let (cache, _, bodies) = faulty(&clock);
        let session = builder(&clock).cache(cache).build().unwrap();
        bodies.fail_nth(nth);
        assert_eq!(ask(&session, &origin.url("/a")).await, (Outcome::Miss, Some(3 * MIB)));
        settled(&session, 0, 0).await;
        assert_eq!((session.stats().store_failed, session.stats().stored), (1, 0));
        assert_eq!(ask(&session, &origin.url("/a")).await, (Outcome::Miss, Some(3 * MIB)));
        settled(&session, 1, 12).await;
    }
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    responses.refuse_writes();
    for round in 1..=2 {
        assert_eq!(ask(&session, &origin.url("/a")).await, (Outcome::Miss, Some(3 * MIB)));
        super::flushed(&session).await;
        assert_eq!(session.cache().responses().size().await.unwrap(), 0);
        assert_eq!(session.stats().store_failed, round);
    }
}

/// The body goes on after the patience, and what was begun is removed although the store still hangs in a write.
#[tokio::test]
async fn a_store_that_hangs_on_a_part_holds_nobody_up() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh(Answer::pattern(6 * MIB)));
    let clock = ManualClock::new();
    let (cache, _, bodies) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    bodies.hang_on(Op::Write);
    for round in 1..=2 {
        assert_eq!(ask(&session, &origin.url("/a")).await, (Outcome::Miss, Some(6 * MIB)));
        // The flight is over, although the store has not answered.
        settled(&session, 0, 0).await;
        assert_eq!(session.stats().store_failed, round);
        eventually("the write is given up", || bodies.hanging() == 0).await;
    }
    bodies.heal();
    assert_eq!(ask(&session, &origin.url("/a")).await, (Outcome::Miss, Some(6 * MIB)));
    settled(&session, 1, 24).await;
}

/// Case 185: a reader in the middle of a stored body, while it is replaced by another of the same length.
#[tokio::test]
async fn a_reader_never_sees_a_mix_of_two_versions() {
    let origin = Origin::scripted().await;
    let version = |byte: u8| fresh(Answer::ok(vec![byte; 3 * MIB as usize]));
    origin.on("/a", [version(1), version(2)]);
    let (session, _) = session();
    let url = origin.url("/a");
    session.get(&url).send().await.unwrap().bytes().await.unwrap();
    settled(&session, 1, 12).await;
    let mut readers = Vec::new();
    for taken in 0..6 {
        let mut reader = session.get(&url).send().await.unwrap();
        assert_eq!(outcome(&reader), Outcome::Hit);
        let mut seen = Vec::new();
        for _ in 0..taken {
            seen.extend_from_slice(&reader.chunk().await.unwrap().unwrap());
        }
        readers.push((reader, seen));
    }
    let replaced = session.get(&url).mode(Mode::Reload).send().await.unwrap().bytes().await.unwrap();
    assert!(replaced.iter().all(|byte| *byte == 2));
    // Nothing of the old one stays.
    settled(&session, 1, 12).await;
    for (mut reader, mut seen) in readers {
        let end = loop {
            match reader.chunk().await {
                Ok(Some(bytes)) => seen.extend_from_slice(&bytes),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert!(seen.iter().all(|byte| *byte == seen[0]), "a mix");
        assert!(end.is_err() || seen.len() as u64 == 3 * MIB);
    }
    // That the old parts were gone says nothing about the new record.
    super::flushed(&session).await;
    let response = session.get(&url).send().await.unwrap();
    assert_eq!(outcome(&response), Outcome::Hit);
    assert_eq!(response.bytes().await.unwrap().as_ref(), vec![2; 3 * MIB as usize]);
}

/// Case 198 in its last phase: the first reader is done, the store is not.
#[tokio::test]
async fn a_request_while_the_store_still_writes_gets_the_whole_body() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let (cache, responses, bodies) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    // The second is as long as a body may be of which no part is written yet.
    for (path, len) in [("/small", 1000), ("/large", MIB / 2)] {
        bodies.hang_on(Op::Write);
        responses.hang_on(Op::Write);
        origin.on(path, fresh(Answer::pattern(len)));
        assert_eq!(ask(&session, &origin.url(path)).await, (Outcome::Miss, Some(len)));
        for _ in 0..3 {
            let (outcome, read) = ask(&session, &origin.url(path)).await;
            assert!(matches!(outcome, Outcome::Hit | Outcome::Coalesced), "{outcome:?}");
            assert_eq!(read, Some(len));
        }
        assert_eq!(origin.count_of(path), 1);
        bodies.release();
        responses.release();
        super::flushed(&session).await;
        eventually("no flight", || session.layer().in_flight() == 0).await;
        assert_eq!(ask(&session, &origin.url(path)).await, (Outcome::Hit, Some(len)));
    }
}

/// Case 188 in its structure: on the way from a slow reader to an endless origin, little is in memory, and the parts
/// of what nobody wants any more go.
#[tokio::test]
async fn an_endless_body_is_read_only_as_far_as_its_reader_goes() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let settings = hyper_client_cache_core::policy::Settings::default().max_body_len(8 * MIB);
    let session = builder(&clock).settings(settings).build().unwrap();
    origin.on("/a", fresh(Answer::endless()));
    let mut response = session.get(origin.url("/a")).send().await.unwrap();
    let mut checker = PatternChecker::new();
    let bodies = session.cache().bodies().unwrap();
    let mut most = 0;
    while checker.len() < 20 * MIB {
        assert!(checker.update(&response.chunk().await.unwrap().unwrap()));
        most = most.max(bodies.size().await.unwrap());
    }
    assert!((1..=32).contains(&most), "{most} parts");
    settled(&session, 0, 0).await;
    drop(response);
}

/// What waits for a store that does not answer is bounded over all bodies together.
#[tokio::test]
async fn many_bodies_at_once_do_not_fill_the_memory() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let (cache, _, bodies) = faulty(&clock);
    let cache: Arc<dyn Cache> = Arc::new(cache);
    let session = builder(&clock).shared_cache(cache).build().unwrap();
    bodies.hang_on(Op::Write);
    // As many parts as may be on their way at once.
    const LEN: u64 = 2 * 262_144;
    for at in 0..133 {
        let path = format!("/{at}");
        origin.on(&path, fresh(Answer::pattern(LEN)));
        assert_eq!(ask(&session, &origin.url(&path)).await, (Outcome::Miss, Some(LEN)));
    }
    // 64 MiB are the bound.
    assert_eq!(session.stats().store_refused, 5);
    bodies.release();
    tokio::time::timeout(Duration::from_secs(60), session.layer().flush()).await.unwrap();
    assert_eq!(session.stats().stored, 128);
}
