//! One exchange for all who ask for the same thing: who shares it, who must not, who comes late.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper_client_cache_core::cache::StorageCache;
use hyper_client_cache_core::policy::{Mode, Outcome, ResponseFilter, Settings};
use hyper_client_cache_core::session::Response;
use hyper_client_cache_core::storage::MemoryStorage;
use hyper_client_cache_core::transport::RequestBody;
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, PatternChecker, Recorded};
use hyper_client_cache_testkit::{ManualClock, Op};
use tokio::task::JoinHandle;

use super::{builder, eventually, faulty, get, outcome, pattern_len, session, settled, text, with_settings};

const MIB: u64 = 1024 * 1024;

fn fresh(answer: Answer) -> Answer {
    answer.header("cache-control", "max-age=60")
}

type Asked = JoinHandle<(Outcome, String)>;

/// Begins `count` requests and returns once they all wait for something.
async fn begin(session: &CachedSession, url: &str, headers: &[(&'static str, String)], count: usize) -> Vec<Asked> {
    let asked = (0..count).map(|_| {
        let mut request = session.get(url);
        for (name, value) in headers {
            request = request.header(*name, value.as_str());
        }
        tokio::spawn(async move {
            let response = request.send().await.unwrap();
            (outcome(&response), response.text().await.unwrap())
        })
    });
    let asked = asked.collect();
    waiting().await;
    asked
}

/// On one thread, every task has been polled after this.
async fn waiting() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn answers(asked: impl IntoIterator<Item = Asked>) -> Vec<(Outcome, String)> {
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(tokio::time::timeout(Duration::from_secs(60), asked).await.expect("no answer").unwrap());
    }
    answers
}

/// Case 189: who takes what is stored however old shares what is fetched, also with those who do not.
#[tokio::test]
async fn a_request_that_takes_the_stale_shares_what_is_fetched() {
    let gate = Gate::new();
    let origin = Origin::scripted().await;
    origin.on("/a", fresh(Answer::ok("body").after(&gate)));
    let (session, _) = session();
    let url = origin.url("/a");
    let mut asked = begin(&session, &url, &[], 1).await;
    for _ in 0..20 {
        let request = session.get(&url).mode(Mode::ForceCache);
        asked.push(tokio::spawn(async move {
            let response = request.send().await.unwrap();
            (outcome(&response), response.text().await.unwrap())
        }));
    }
    waiting().await;
    gate.open();
    let answers = answers(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.0 == Outcome::Coalesced && answer.1 == "body").count(), 20);
    assert_eq!(origin.count(), 1);
}

/// Case 193: an answer that is for one caller only, with the number of the request as its body.
#[tokio::test]
async fn an_answer_that_is_for_one_caller_is_given_to_nobody_else() {
    let private = [
        (false, "cache-control", "no-store"),
        (true, "cache-control", "private, max-age=60"),
        (true, "set-cookie", "a=1"),
        (false, "set-cookie", "a=1"),
        (false, "vary", "*"),
    ];
    for (shared, name, value) in private {
        let gate = Gate::new();
        let held = gate.clone();
        let count = std::sync::atomic::AtomicUsize::new(0);
        let origin = Origin::start(move |_: &Recorded| {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Answer::ok(number.to_string())
                .header("expires", "Fri, 01 Jan 2100 01:00:00 GMT")
                .header(name, value)
                .after(&held)
        })
        .await;
        let clock = ManualClock::new();
        let session = builder(&clock).settings(Settings::default().shared(shared)).build().unwrap();
        let asked = begin(&session, &origin.url("/a"), &[], 20).await;
        origin.arrived(1).await;
        assert_eq!(origin.count(), 1);
        gate.open();
        let mut bodies: Vec<usize> = Vec::new();
        for (outcome, body) in answers(asked).await {
            assert_eq!(outcome, Outcome::Miss, "{name}: {value}");
            bodies.push(body.parse().unwrap());
        }
        bodies.sort_unstable();
        assert_eq!(bodies, (0..20).collect::<Vec<_>>(), "{name}: {value}");
        eventually("no flight", || session.layer().in_flight() == 0).await;
    }
}

/// Case 193: that the answer varies is learned from it; then each variant is fetched once.
#[tokio::test]
async fn variants_that_are_learned_late_cost_one_request_each() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request: &Recorded| {
        let language = request.header("accept-language").unwrap().to_owned();
        fresh(Answer::ok(language)).header("vary", "accept-language").after(&held)
    })
    .await;
    let (session, _) = session();
    let mut asked = Vec::new();
    for language in ["en", "de"] {
        asked.push((language, begin(&session, &origin.url("/a"), &[("accept-language", language.into())], 50).await));
    }
    origin.arrived(1).await;
    gate.open();
    for (language, asked) in asked {
        assert!(answers(asked).await.iter().all(|(_, body)| body == language));
    }
    assert_eq!(origin.count(), 2);
    settled(&session, 3, 0).await;
    for language in ["en", "de"] {
        let asked = begin(&session, &origin.url("/a"), &[("accept-language", language.into())], 1).await;
        assert_eq!(answers(asked).await, [(Outcome::Hit, language.to_owned())]);
    }
}

/// Case 193: where somebody has waited for an answer that was not for him, nobody waits for the next, for a little while.
#[tokio::test]
async fn nobody_waits_twice_for_what_is_not_shared() {
    let origin = Origin::scripted().await;
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let held = |gate: usize| Answer::ok("x").header("cache-control", "no-store").after(&gates[gate]);
    origin.on("/a", [held(0), held(0), held(1), held(1), held(1), held(2)]);
    let (session, clock) = session();
    let url = origin.url("/a");
    for (round, (count, at_once)) in [(2, 1), (3, 3), (2, 1)].into_iter().enumerate() {
        let asked = begin(&session, &url, &[], count).await;
        eventually("as many are with the origin", || gates[round].arrivals() == at_once).await;
        // Who waits has its place by now.
        waiting().await;
        assert_eq!(gates[round].arrivals(), at_once, "{round}");
        gates[round].open();
        assert!(answers(asked).await.iter().all(|(outcome, _)| *outcome == Outcome::Miss));
        if round == 1 {
            clock.advance(Duration::from_secs(5));
        }
    }
    assert_eq!(origin.count(), 7);
    // Who waits for nobody is not remembered.
    origin.on("/b", [Answer::ok("x").header("cache-control", "no-store"), fresh(Answer::ok("y"))]);
    answers(begin(&session, &origin.url("/b"), &[], 1).await).await;
    let shared = answers(begin(&session, &origin.url("/b"), &[], 3).await).await;
    assert_eq!(shared.iter().filter(|(outcome, _)| *outcome == Outcome::Miss).count(), 1);
    settled(&session, 1, 0).await;
}

/// Case 193: what only one request does not store may be shared by the next.
#[tokio::test]
async fn what_one_request_does_not_store_is_waited_for_again() {
    let origin = Origin::scripted().await;
    let gates = [Gate::new(), Gate::new()];
    let held = |gate: usize| fresh(Answer::ok("x")).after(&gates[gate]);
    origin.on("/a", [held(0), held(0), held(1)]);
    let (session, _) = session();
    let url = origin.url("/a");
    let leader = tokio::spawn(session.get(&url).filter(ResponseFilter::new(|_| false)).send());
    eventually("it is with the origin", || gates[0].arrivals() == 1).await;
    let waiter = begin(&session, &url, &[], 1).await;
    gates[0].open();
    assert_eq!(leader.await.unwrap().unwrap().text().await.unwrap(), "x");
    assert_eq!(answers(waiter).await, [(Outcome::Miss, "x".to_owned())]);
    super::flushed(&session).await;
    session.cache().clear().await.unwrap();
    let asked = begin(&session, &url, &[], 3).await;
    eventually("one is with the origin", || gates[1].arrivals() > 0).await;
    waiting().await;
    gates[1].open();
    assert_eq!(answers(asked).await.iter().filter(|(outcome, _)| *outcome == Outcome::Miss).count(), 1);
    assert_eq!(origin.count(), 3);
}

/// Case 193: once it is known which fields select, nobody waits for another variant.
#[tokio::test]
async fn variants_that_are_known_do_not_wait_for_each_other() {
    let (origin, gate) = (Origin::scripted().await, Gate::new());
    let vary = |answer: Answer| fresh(answer).header("vary", "accept-language");
    origin.on("/a", [vary(Answer::ok("any")), vary(Answer::ok("any").after(&gate))]);
    let (session, _) = session();
    let language = |name: &str| [("accept-language", name.to_owned())];
    answers(begin(&session, &origin.url("/a"), &language("en"), 1).await).await;
    settled(&session, 2, 0).await;
    let mut asked = begin(&session, &origin.url("/a"), &language("de"), 3).await;
    asked.extend(begin(&session, &origin.url("/a"), &language("fr"), 3).await);
    eventually("each variant is asked for", || gate.arrivals() == 2).await;
    gate.open();
    let outcomes: Vec<_> = answers(asked).await.into_iter().map(|(outcome, _)| outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Miss).count(), 2, "{outcomes:?}");
    assert_eq!(origin.count(), 3);
    settled(&session, 4, 0).await;
}

/// Case 194.
#[tokio::test]
async fn requests_with_different_credentials_never_share_an_exchange() {
    for shared in [false, true] {
        for name in ["authorization", "cookie"] {
            let gate = Gate::new();
            let held = gate.clone();
            let origin = Origin::start(move |request: &Recorded| {
                let names = ["authorization", "cookie"];
                let seen = names.iter().find_map(|name| request.header(name)).unwrap_or("nobody").to_owned();
                Answer::ok(seen).header("cache-control", "public, max-age=60").after(&held)
            })
            .await;
            let clock = ManualClock::new();
            let session = builder(&clock).settings(Settings::default().shared(shared)).build().unwrap();
            let url = origin.url("/a");
            let mut asked = vec![("nobody", begin(&session, &url, &[], 5).await)];
            for user in ["alice", "bob"] {
                asked.push((user, begin(&session, &url, &[(name, user.into())], 5).await));
            }
            origin.arrived(3).await;
            waiting().await;
            assert_eq!(origin.count(), 3, "{name} {shared}");
            gate.open();
            for (user, asked) in asked {
                assert!(answers(asked).await.iter().all(|(_, body)| body == user), "{name} {shared}");
            }
            eventually("no flight", || session.layer().in_flight() == 0).await;
        }
    }
}

/// Case 196.
#[tokio::test]
async fn a_waiter_that_is_dropped_disturbs_nobody() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/a", fresh(Answer::ok("answer").after(&gate)));
    let (session, _) = session();
    let mut asked = begin(&session, &origin.url("/a"), &[], 10).await;
    origin.arrived(1).await;
    for waiter in asked.drain(1..) {
        waiter.abort();
        assert!(waiter.await.unwrap_err().is_cancelled());
    }
    assert_eq!(session.layer().in_flight(), 1);
    gate.open();
    assert_eq!(answers(asked).await, [(Outcome::Miss, "answer".to_owned())]);
    settled(&session, 1, 0).await;
    // The last waiter, after its leader.
    let gate = Gate::new();
    origin.on("/b", fresh(Answer::ok("answer").after(&gate)));
    let asked = begin(&session, &origin.url("/b"), &[], 3).await;
    for one in asked {
        one.abort();
    }
    settled(&session, 1, 0).await;
    gate.open();
}

/// Case 198: before, within and after the part of the body that stays in memory.
#[tokio::test]
async fn a_request_that_comes_after_the_body_has_begun_gets_all_of_it() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    for (path, first, then) in [("/inline", 1000, 1000), ("/at", 262_144, 1), ("/spool", 3 * MIB, MIB)] {
        let gate = Gate::new();
        origin.on(path, fresh(Answer::pattern(first).gate(&gate).chunk(tail(first, then))));
        let mut leader = session.get(origin.url(path)).send().await.unwrap();
        let mut seen = PatternChecker::new();
        while seen.len() < first {
            assert!(seen.update(&leader.chunk().await.unwrap().unwrap()));
        }
        let late = tokio::spawn(session.get(origin.url(path)).send());
        let late = late.await.unwrap().unwrap();
        assert_eq!(outcome(&late), Outcome::Coalesced);
        let late = tokio::spawn(pattern_len(late));
        waiting().await;
        gate.open();
        assert_eq!(late.await.unwrap(), Some(first + then), "{path}");
        while let Some(bytes) = leader.chunk().await.unwrap() {
            assert!(seen.update(&bytes));
        }
        assert_eq!((seen.len(), origin.count_of(path)), (first + then, 1));
    }
    settled(&session, 3, 2 + 16).await;
}

/// The bytes of the pattern from `offset` on.
fn tail(offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        let done = bytes.len() as u64;
        bytes.extend_from_slice(&hyper_client_cache_testkit::origin::pattern(offset + done, len - done));
    }
    bytes
}

/// Cases 177 and 197: one who does not read holds nobody up, and goes on from the store.
#[tokio::test]
async fn who_falls_behind_goes_on_from_the_store() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    origin.on("/a", fresh(Answer::pattern(5 * MIB)));
    let slow = session.get(origin.url("/a")).send().await.unwrap();
    let fast = session.get(origin.url("/a")).send().await.unwrap();
    let late = session.get(origin.url("/a")).send().await.unwrap();
    assert_eq!([&slow, &fast, &late].map(outcome), [Outcome::Miss, Outcome::Coalesced, Outcome::Coalesced]);
    assert_eq!(pattern_len(fast).await, Some(5 * MIB));
    settled(&session, 1, 20).await;
    assert_eq!(pattern_len(slow).await, Some(5 * MIB));
    drop(late);
    assert_eq!(pattern_len(session.get(origin.url("/a")).send().await.unwrap()).await, Some(5 * MIB));
    assert_eq!(origin.count(), 1);
}

/// Two who read `url` together, the first `had` bytes of it both; the one of them that is `slow`, when the other has read
/// all.
async fn left_behind(session: &CachedSession, url: &str, slow: usize, had: u64) -> (Response, PatternChecker) {
    let mut first = session.get(url).send().await.unwrap();
    let mut second = session.get(url).send().await.unwrap();
    assert_eq!([&first, &second].map(outcome), [Outcome::Miss, Outcome::Coalesced]);
    let mut seen = [PatternChecker::new(), PatternChecker::new()];
    for (response, seen) in [&mut first, &mut second].into_iter().zip(&mut seen) {
        while seen.len() < had {
            assert!(seen.update(&response.chunk().await.unwrap().unwrap()));
        }
    }
    let [mut of_first, mut of_second] = seen;
    let (laggard, mut other, seen, of_other) = match slow {
        0 => (first, second, of_first, &mut of_second),
        _ => (second, first, of_second, &mut of_first),
    };
    while let Some(bytes) = other.chunk().await.unwrap() {
        assert!(of_other.update(&bytes));
    }
    (laggard, seen)
}

async fn rest(mut response: Response, mut seen: PatternChecker) -> Result<u64, ErrorKind> {
    while let Some(bytes) = response.chunk().await.map_err(|error| error.kind())? {
        assert!(seen.update(&bytes), "a mix");
    }
    Ok(seen.len())
}

/// Case 197: where the body is not stored, who falls behind by more than the window goes on by a request of its own,
/// whoever of them that is and however much it has had.
#[tokio::test]
async fn who_falls_behind_on_a_body_that_is_not_stored_goes_on_by_a_request_of_its_own() {
    let origin = Origin::scripted().await;
    for (chunked, slow, had) in [(false, 0, 0), (false, 1, 0), (true, 0, 1), (true, 1, 200_000), (false, 0, 700_000)] {
        let clock = ManualClock::new();
        let (cache, _, bodies) = faulty(&clock);
        let session = builder(&clock).cache(cache).build().unwrap();
        bodies.fail_all();
        let path = format!("/{chunked}/{slow}/{had}");
        let answer = fresh(Answer::pattern(5 * MIB)).etag("\"1\"");
        origin.on(&path, if chunked { answer.chunked() } else { answer });
        let (laggard, seen) = left_behind(&session, &origin.url(&path), slow, had).await;
        assert_eq!(rest(laggard, seen).await, Ok(5 * MIB), "{path}");
        assert_eq!(origin.count_of(&path), 2, "{path}");
        bodies.heal();
        settled(&session, 0, 0).await;
    }
}

/// Case 197, whatever it is that keeps the body from being stored, or what was stored of it from being read.
#[tokio::test]
async fn no_reader_fails_only_because_the_cache_stops_storing() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh(Answer::pattern(3 * MIB)).chunked());
    let url = origin.url("/a");
    let clock = ManualClock::new();
    let storage = || MemoryStorage::default();
    let without_parts = builder(&clock).cache(StorageCache::new(storage(), storage())).build().unwrap();
    let limited = builder(&clock).settings(Settings::default().max_body_len(MIB)).build().unwrap();
    let (cache, _, slow_bodies) = faulty(&clock);
    let slow = builder(&clock).cache(cache).build().unwrap();
    slow_bodies.hang_on(Op::Write);
    for (case, session) in [without_parts, limited, slow].into_iter().enumerate() {
        let before = origin.count();
        let (laggard, seen) = left_behind(&session, &url, 0, 100_000).await;
        assert_eq!(rest(laggard, seen).await, Ok(3 * MIB), "{case}");
        assert_eq!(origin.count() - before, 2, "{case}");
    }
    slow_bodies.heal();
    // Stored as a whole, and gone before the laggard comes to it.
    let (session, _) = session();
    let before = origin.count();
    let (laggard, seen) = left_behind(&session, &url, 0, 100_000).await;
    settled(&session, 1, 12).await;
    session.cache().clear().await.unwrap();
    assert_eq!((rest(laggard, seen).await, origin.count() - before), (Ok(3 * MIB), 2));
}

/// A body that comes in these pieces and says with the last that it is the last.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// Case 197: who comes when all others have gone, and finds the beginning only in the store, goes on too.
#[tokio::test]
async fn who_comes_after_all_others_have_gone_goes_on_by_a_request_of_its_own() {
    let clock = ManualClock::new();
    let (cache, _, bodies) = faulty(&clock);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let service = tower::service_fn(move |_: http::Request<RequestBody>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let pieces = Pieces([tail(0, 200_000), tail(200_000, MIB)].map(Bytes::from).into());
        async {
            Ok::<_, std::io::Error>(
                http::Response::builder().header("cache-control", "max-age=60").body(pieces).unwrap(),
            )
        }
    });
    let session = builder(&clock).cache(cache).service(service).build().unwrap();
    bodies.hang_on(Op::Write);
    let ask = || session.get("http://host/").send();
    assert_eq!(pattern_len(ask().await.unwrap()).await, Some(200_000 + MIB));
    let late = ask().await.unwrap();
    assert_eq!((outcome(&late), asked.load(Ordering::SeqCst)), (Outcome::Coalesced, 1));
    bodies.heal();
    settled(&session, 1, 5).await;
    session.cache().clear().await.unwrap();
    assert_eq!(pattern_len(late).await, Some(200_000 + MIB));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// Case 197: what the origin has is another by now. Never a mix, and never another body under the headers that the caller
/// has.
#[tokio::test]
async fn who_falls_behind_does_not_go_on_with_another_body() {
    let origin = Origin::scripted().await;
    let mut other = tail(0, 3 * MIB);
    *other.last_mut().unwrap() ^= 1;
    let answer = || fresh(Answer::pattern(3 * MIB)).etag("\"1\"");
    let tagged = |answer: Answer| answer.etag("\"1\"").chunked();
    for (case, had, then) in [
        ("other bytes", 100_000, tagged(Answer::ok(vec![b'x'; other.len()]))),
        ("another last byte", 100_000, tagged(Answer::ok(other.clone()))),
        ("another last byte, nothing had", 0, tagged(Answer::ok(other))),
        ("shorter", 0, tagged(Answer::pattern(3 * MIB - 1))),
        ("longer", 100_000, tagged(Answer::pattern(3 * MIB + 1))),
        ("another status", 0, tagged(Answer::status(404).body(tail(0, 3 * MIB)))),
        ("another tag", 0, Answer::pattern(3 * MIB).etag("\"2\"")),
        ("another encoding", 0, tagged(Answer::pattern(3 * MIB)).header("content-encoding", "x")),
    ] {
        for chunked in [false, true] {
            let path = format!("/{case}/{chunked}").replace([' ', ','], "-");
            let first = if chunked { answer().chunked() } else { answer() };
            origin.on(&path, [first, then.clone()]);
            let clock = ManualClock::new();
            let (cache, _, bodies) = faulty(&clock);
            let session = builder(&clock).cache(cache).build().unwrap();
            bodies.fail_all();
            let (mut laggard, seen) = left_behind(&session, &origin.url(&path), 0, had).await;
            let mut len = seen.len();
            let end = loop {
                match laggard.chunk().await {
                    Ok(Some(bytes)) => len += bytes.len() as u64,
                    end => break end.map(drop).map_err(|error| error.kind()),
                }
            };
            assert_eq!((end, origin.count_of(&path)), (Err(ErrorKind::Body), 2), "{case}");
            assert!(len < 3 * MIB, "{case}: {len}");
        }
    }
}

/// RFC 9111 section 5.1: what was not fetched for a request says how old it is, also where another is reading it still.
#[tokio::test]
async fn a_shared_answer_says_how_old_it_is() {
    let origin = Origin::scripted().await;
    let (session, clock) = session();
    let gate = Gate::new();
    origin.on("/a", Answer::ok("answer").header("cache-control", "max-age=600").header("age", "100").gate(&gate));
    let leader = session.get(origin.url("/a")).send().await.unwrap();
    clock.advance(Duration::from_secs(20));
    let waiter = session.get(origin.url("/a")).send().await.unwrap();
    assert_eq!((outcome(&waiter), &waiter.headers()["age"]), (Outcome::Coalesced, &"120".parse().unwrap()));
    assert_eq!((outcome(&leader), &leader.headers()["age"]), (Outcome::Miss, &"100".parse().unwrap()));
    gate.open();
}

/// Case 177: eviction of the key while a reader holds a body that it does not read.
#[tokio::test]
async fn an_unread_body_is_no_obstacle_to_clearing_and_storing_again() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let url = origin.url("/a");
    origin.on("/a", fresh(Answer::pattern(MIB)));
    let unread = session.get(&url).send().await.unwrap();
    session.cache().clear().await.unwrap();
    let asked = session.get(&url).mode(Mode::Reload).send().await.unwrap();
    assert_eq!(outcome(&asked), Outcome::Miss);
    assert_eq!(pattern_len(asked).await, Some(MIB));
    super::flushed(&session).await;
    assert_eq!(pattern_len(session.get(&url).send().await.unwrap()).await, Some(MIB));
    drop(unread);
    settled(&session, 1, 4).await;
}

/// Case 200.
#[tokio::test]
async fn what_is_not_a_plain_read_is_never_shared() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/a", fresh(Answer::ok("answer").after(&gate)));
    let (session, _) = session();
    let url = origin.url("/a");
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(tokio::spawn(session.post(&url).send()));
        asked.push(tokio::spawn(session.get(&url).body_stream(http_body_util::Full::new("a body".into())).send()));
        asked.push(tokio::spawn(session.get(&url).header("upgrade", "websocket").send()));
        asked.push(tokio::spawn(session.get(&url).header("range", "bytes=0-1").send()));
        // Who insists on the origin's own answer does not take another's.
        asked.push(tokio::spawn(session.get(&url).mode(Mode::Reload).send()));
        asked.push(tokio::spawn(session.get(&url).header("cache-control", "no-cache").send()));
    }
    origin.arrived(18).await;
    gate.open();
    for asked in asked {
        let response = asked.await.unwrap().unwrap();
        assert!(matches!(outcome(&response), Outcome::Bypass | Outcome::Miss));
        assert_eq!(response.text().await.unwrap(), "answer");
    }
    eventually("no flight", || session.layer().in_flight() == 0).await;
}

/// What was asked for after an unsafe request never joins an exchange from before it.
#[tokio::test]
async fn a_request_after_an_invalidation_does_not_share_an_exchange_from_before_it() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/a", [fresh(Answer::ok("old").after(&gate)), Answer::status(204), fresh(Answer::ok("new"))]);
    let (session, _) = session();
    let url = origin.url("/a");
    let before = begin(&session, &url, &[], 2).await;
    origin.arrived(1).await;
    session.post(&url).send().await.unwrap();
    assert_eq!(text(&session, &url).await, (Outcome::Miss, "new".into()));
    gate.open();
    assert!(answers(before).await.iter().all(|(_, body)| body == "old"));
    // Nor is it stored in place of the new one.
    assert_eq!(text(&session, &url).await, (Outcome::Hit, "new".into()));
    assert_eq!(origin.count(), 3);
    settled(&session, 1, 0).await;
}

/// Case 193: what sets a cookie, is not stored, or is private in a shared cache is fetched by each for itself.
#[tokio::test]
async fn what_is_for_one_caller_is_not_given_to_those_who_wait() {
    for (name, value) in [("cache-control", "no-store"), ("set-cookie", "id=1"), ("cache-control", "private")] {
        let origin = Origin::scripted().await;
        let gate = Gate::new();
        origin.on("/", Answer::ok("x").header(name, value).after(&gate));
        let (session, _) = with_settings(Settings::rfc9111().shared(true));
        let url = origin.url("/");
        let both = async { tokio::join!(get(&session, &url, &[]), get(&session, &url, &[])) };
        let open = async {
            origin.arrived(1).await;
            gate.open();
        };
        let ((one, other), ()) = tokio::join!(both, open);
        assert_eq!((one.outcome(), other.outcome()), (Outcome::Miss, Outcome::Miss), "{value}");
        assert_eq!(origin.count(), 2, "{value}");
    }
}
