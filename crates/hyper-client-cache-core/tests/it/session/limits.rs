//! What keeps the origin from being overrun: refreshes in the background, and requests to one host.

use std::time::Duration;

use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};

use super::{builder, eventually, get, session, text};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Fresh for a minute, and good for a refresh in the background for an hour more.
fn refreshed(answer: Answer) -> Answer {
    answer.header("cache-control", "max-age=60, stale-while-revalidate=3600")
}

/// Asks for what is stale, `times` times, and waits until no refresh is under way.
async fn stale(session: &CachedSession, url: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(get(session, url, &[]).await.outcome(), Outcome::Stale);
    }
    eventually("the refresh is over", || session.layer().in_flight() == 0).await;
}

async fn yields() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Case 201: an error is asked for again after a second, two, four, up to a minute, however often what is stored is
/// served meanwhile; other URLs of the same host are not concerned.
#[tokio::test]
async fn a_refresh_that_failed_is_tried_again_after_a_growing_pause() {
    for failure in [Answer::status(503), Answer::status(404), Answer::ok("half").content_length(100)] {
        let origin = Origin::scripted().await;
        let mut answers = vec![refreshed(Answer::ok("old"))];
        answers.extend(std::iter::repeat_n(failure, 9));
        answers.push(refreshed(Answer::ok("new")));
        origin.on("/", answers);
        origin.on("/other", refreshed(Answer::ok("other")));
        let (session, clock) = session();
        let url = origin.url("/");
        get(&session, &url, &[]).await;
        get(&session, &origin.url("/other"), &[]).await;
        clock.advance(seconds(90));
        let mut count = 1;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            count += 1;
            stale(&session, &url, 100).await;
            assert_eq!(origin.count_of("/"), count);
            clock.advance(seconds(pause) - Duration::from_millis(1));
            stale(&session, &url, 100).await;
            assert_eq!(origin.count_of("/"), count, "not yet");
            clock.advance(Duration::from_millis(1));
        }
        stale(&session, &origin.url("/other"), 1).await;
        assert_eq!(origin.count_of("/other"), 2);
        stale(&session, &url, 1).await;
        session.layer().flush().await;
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "new"));
    }
}

/// Case 201: where the origin does not answer, nothing is asked of it for a while, whatever the URL.
#[tokio::test]
async fn an_origin_that_does_not_answer_is_left_alone() {
    let origin = Origin::scripted().await;
    let silence = Answer::raw("nonsense\r\n\r\n");
    for path in ["/a", "/b"] {
        origin.on(path, [refreshed(Answer::ok("old")), silence.clone(), refreshed(Answer::ok("new"))]);
    }
    let other = Origin::scripted().await;
    other.on("/", refreshed(Answer::ok("x")));
    let (session, clock) = session();
    let urls = [origin.url("/a"), origin.url("/b")];
    for url in urls.iter().chain([&other.url("/")]) {
        get(&session, url, &[]).await;
    }
    clock.advance(seconds(90));
    stale(&session, &urls[0], 1).await;
    for url in &urls {
        stale(&session, url, 100).await;
    }
    assert_eq!((origin.count_of("/a"), origin.count_of("/b")), (2, 1));
    stale(&session, &other.url("/"), 1).await;
    assert_eq!(other.count(), 2, "another host is asked");
    clock.advance(seconds(1));
    stale(&session, &urls[1], 1).await;
    assert_eq!(origin.count_of("/b"), 2);
    clock.advance(seconds(1));
    stale(&session, &urls[0], 1).await;
    assert_eq!(origin.count_of("/a"), 2, "two failures: two seconds");
    clock.advance(seconds(1));
    for url in &urls {
        stale(&session, url, 1).await;
        session.layer().flush().await;
        assert_eq!(get(&session, url, &[]).await.text, "new", "one success, and all is well");
    }
}

/// Cases 201 and 202: what becomes stale together is refreshed a few at a time, and nobody waits for that.
#[tokio::test]
async fn only_so_many_refreshes_run_at_once() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let session = builder(&clock).max_refreshes(3).build().unwrap();
    let gate = Gate::new();
    let urls: Vec<_> = (0..10).map(|number| origin.url(&format!("/{number}"))).collect();
    for number in 0..10 {
        let answer = refreshed(Answer::ok("x"));
        origin.on(&format!("/{number}"), [answer.clone(), answer.after(&gate)]);
    }
    for url in &urls {
        get(&session, url, &[]).await;
    }
    clock.advance(seconds(90));
    for _ in 0..5 {
        for url in &urls {
            assert_eq!(get(&session, url, &[]).await.outcome(), Outcome::Stale);
        }
    }
    gate.arrived(3).await;
    assert_eq!((origin.count(), session.layer().in_flight()), (13, 3));
    gate.open();
    eventually("all are fresh", || session.layer().in_flight() == 0).await;
    while origin.count() < 20 {
        for url in &urls {
            get(&session, url, &[]).await;
        }
        eventually("the refreshes are over", || session.layer().in_flight() == 0).await;
    }
}

/// Case 203: so many requests are with a host at once, and the others come in their order. Hits do not wait, nor do other
/// hosts, and who does not want to wait any more is not sent.
#[tokio::test]
async fn only_so_many_requests_are_with_a_host() {
    let origin = Origin::scripted().await;
    let other = Origin::scripted().await;
    other.on("/", Answer::ok("other"));
    let gate = Gate::new();
    origin.on("/stored", Answer::ok("stored"));
    for number in 0..10 {
        origin.on(&format!("/{number}"), Answer::ok("x").after(&gate));
    }
    let session = builder(&ManualClock::new()).max_per_host(2).build().unwrap();
    text(&session, &origin.url("/stored")).await;
    let mut asked: Vec<_> = (0..10)
        .map(|number| {
            let request = match number % 3 {
                // Past the cache, and with a method that invalidates.
                0 => session.post(origin.url(&format!("/{number}"))),
                _ => session.get(origin.url(&format!("/{number}"))),
            };
            tokio::spawn(async move { request.send().await.unwrap().text().await.unwrap() })
        })
        .collect();
    gate.arrived(2).await;
    yields().await;
    assert_eq!(origin.count(), 3);
    assert_eq!(text(&session, &origin.url("/stored")).await, (Outcome::Hit, "stored".to_owned()));
    assert_eq!(text(&session, &other.url("/")).await.1, "other");
    let gone = asked.remove(4);
    gone.abort();
    assert!(gone.await.is_err());
    for released in 1..=7 {
        gate.release(1);
        gate.arrived(2 + released).await;
        yields().await;
        assert_eq!(origin.count() as u64, 3 + released);
    }
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), "x");
    }
    let paths: Vec<_> = origin.requests().iter().skip(3).map(|request: &Recorded| request.path().to_owned()).collect();
    assert_eq!(paths, ["/2", "/3", "/5", "/6", "/7", "/8", "/9"]);
}

/// Case 203: a place is given back however an exchange ends: read, dropped, failed, refused, revalidated, redirected,
/// answered without a body, or joined by others.
#[tokio::test]
async fn a_place_is_given_back_however_an_exchange_ends() {
    let origin = Origin::scripted().await;
    let clock = ManualClock::new();
    let session = builder(&clock).max_per_host(1).build().unwrap();
    let gate = Gate::new();
    origin.on("/open", Answer::ok("beginning").gate(&gate).chunk("end"));
    origin.on("/etag", [Answer::ok("x").header("cache-control", "max-age=60").etag("\"1\""), Answer::not_modified()]);
    origin.on(
        "/forbidding",
        [
            Answer::ok("x").header("cache-control", "max-age=60").etag("\"1\""),
            Answer::not_modified().header("cache-control", "no-store"),
            Answer::ok("y"),
        ],
    );
    origin.on("/from", Answer::redirect(302, "/to"));
    origin.on("/to", Answer::ok("to"));
    origin.on("/broken", Answer::raw("nonsense\r\n\r\n"));
    origin.on("/cut", Answer::ok("half").content_length(100));
    origin.on("/error", Answer::status(503).body("x"));
    origin.on("/nothing", Answer::status(204));
    origin.on("/long", Answer::pattern(1_000_000));
    let free = async |after: &str| {
        let url = origin.url("/free");
        let asked = tokio::time::timeout(seconds(20), text(&session, &url)).await;
        asked.unwrap_or_else(|_| panic!("no place is free after {after}"));
    };
    origin.on("/free", Answer::ok("x").header("cache-control", "no-store"));

    let open = session.get(origin.url("/open")).send().await.unwrap();
    let (url, waiting) = (origin.url("/to"), session.clone());
    let waiting = tokio::spawn(async move { text(&waiting, &url).await });
    yields().await;
    assert_eq!(origin.count(), 1, "who has not read the body is with the host");
    drop(open);
    assert_eq!(waiting.await.unwrap().1, "to");

    for path in ["/etag", "/forbidding"] {
        text(&session, &origin.url(path)).await;
    }
    clock.advance(seconds(100));
    for path in ["/etag", "/forbidding", "/from", "/error", "/nothing", "/long"] {
        text(&session, &origin.url(path)).await;
        free(path).await;
    }
    session.head(origin.url("/long")).send().await.unwrap();
    free("HEAD").await;
    for path in ["/broken", "/cut"] {
        let sent = session.get(origin.url(path)).send().await;
        assert!(match sent {
            Ok(response) => response.bytes().await.is_err(),
            Err(_) => true,
        });
        free(path).await;
    }
    // Two who share an exchange have one place.
    gate.open();
    let url = origin.url("/open");
    let both = tokio::join!(text(&session, &url), text(&session, &url));
    assert_eq!((both.0.1, both.1.1), ("beginningend".to_owned(), "beginningend".to_owned()));
    free("two at once").await;
    eventually("no flight", || session.layer().in_flight() == 0).await;
}

/// Case 203: the wait for a place is a part of the request's time; what is stored answers where it may.
#[tokio::test]
async fn who_waits_for_a_place_waits_no_longer_than_the_request_may_take() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/slow", Answer::ok("x").after(&gate));
    origin.on("/stored", Answer::ok("old").header("cache-control", "max-age=60, stale-if-error=600"));
    let clock = ManualClock::new();
    let session = builder(&clock).max_per_host(1).build().unwrap();
    text(&session, &origin.url("/stored")).await;
    clock.advance(seconds(90));
    let slow = session.get(origin.url("/slow")).send();
    let slow = tokio::spawn(async move { slow.await.unwrap().text().await.unwrap() });
    gate.arrived(1).await;
    let hurried = Duration::from_millis(50);
    let error = session.get(origin.url("/other")).timeout(hurried).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let error = session.post(origin.url("/other")).timeout(hurried).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let stored = session.get(origin.url("/stored")).timeout(hurried).send().await.unwrap();
    assert_eq!(stored.cache_info().unwrap().outcome, Outcome::Stale);
    gate.open();
    assert_eq!(slow.await.unwrap(), "x");
    assert_eq!(origin.count(), 2, "nothing was sent for those who went");
}

#[tokio::test]
async fn limits_of_zero_are_refused() {
    for (builder, name) in [
        (CachedSession::builder().max_per_host(0), "`max_per_host`"),
        (CachedSession::builder().max_per_host(usize::MAX), "`max_per_host`"),
        (CachedSession::builder().max_refreshes(0), "`max_refreshes`"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(name), "{error}");
    }
    CachedSession::builder().max_per_host(None).max_refreshes(usize::MAX).build().unwrap();
}
