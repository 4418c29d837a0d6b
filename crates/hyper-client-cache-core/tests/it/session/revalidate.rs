//! Asking the origin about what is stored, and what its answer changes (RFC 9111 section 4.3).

use std::time::Duration;

use hyper_client_cache_core::cache::StorageCache;
use hyper_client_cache_core::policy::{Outcome, Reason, Settings, Storing};
use hyper_client_cache_core::storage::MemoryStorage;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};
use hyper_client_cache_testkit::{FaultyStorage, ManualClock, Op};

use super::{builder, entries, eventually, get, see, session, with_settings};

const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const MINUTE: Duration = Duration::from_secs(60);

fn answer() -> Answer {
    Answer::ok("body").header("cache-control", "max-age=60").header("etag", "\"1\"")
}

fn not_modified() -> Answer {
    Answer::not_modified().header("cache-control", "max-age=60").header("etag", "\"1\"")
}

/// Features 107, 108: what is stale is asked about, with both validators where there are both, and with none that the
/// origin could not understand.
#[tokio::test]
async fn both_validators_are_sent() {
    let origin = Origin::scripted().await;
    let plain = || Answer::ok("x").header("cache-control", "max-age=60");
    let cases = [
        (plain().header("etag", "\"1\"").header("last-modified", CHANGED), Some("\"1\""), Some(CHANGED)),
        (plain().header("etag", "W/\"1\""), Some("W/\"1\""), None),
        (plain().header("last-modified", CHANGED), None, Some(CHANGED)),
        (plain().header("etag", "unquoted").header("last-modified", CHANGED), None, Some(CHANGED)),
        (plain().header("etag", "\"1\"").header("etag", "\"2\"").header("last-modified", "then"), None, None),
        (plain(), None, None),
    ];
    for (at, (answer, etag, date)) in cases.into_iter().enumerate() {
        let path = format!("/{at}");
        origin.on(&path, answer);
        let (session, clock) = session();
        for _ in 0..2 {
            get(&session, &origin.url(&path), &[]).await;
            clock.advance(MINUTE);
        }
        let requests: Vec<_> = origin.requests().into_iter().filter(|request| request.target == path).collect();
        assert_eq!(requests.len(), 2);
        assert_eq!((requests[0].header("if-none-match"), requests[0].header("if-modified-since")), (None, None));
        assert_eq!(
            (requests[1].header("if-none-match"), requests[1].header("if-modified-since")),
            (etag, date),
            "{at}"
        );
    }
}

/// Features 109 to 111 and 114: a 304 extends the freshness, its headers replace the stored ones, the body stays as it
/// is and is not written again, and the caller is told.
#[tokio::test]
async fn a_304_renews_the_headers_and_leaves_the_body() {
    let origin = Origin::scripted().await;
    let full = answer().header("x-old", "1").header("x-both", "1").header("x-both", "2").header("content-type", "a/b");
    let renewed = Answer::not_modified().header("cache-control", "max-age=100").header("etag", "\"1\"");
    let renewed = renewed.header("x-both", "3").header("x-both", "4").header("x-new", "1");
    origin.on("/", [full, renewed.header("content-type", "c/d").header("content-encoding", "gzip")]);
    let responses = FaultyStorage::new(MemoryStorage::default());
    let faults = responses.faults();
    let clock = ManualClock::new();
    let cache = StorageCache::new(responses, MemoryStorage::default());
    let session = builder(&clock).cache(cache).build().unwrap();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    session.layer().flush().await;
    let written = faults.calls(Op::Write);

    clock.advance(2 * MINUTE);
    let seen = get(&session, &url, &[]).await;
    assert_eq!((seen.outcome(), seen.reason(), seen.status), (Outcome::Revalidated, Reason::Revalidated, 200));
    assert!(seen.info.revalidated && seen.info.from_cache() && !seen.info.is_stale);
    session.layer().flush().await;
    assert_eq!((faults.calls(Op::Write), faults.calls(Op::Refresh)), (written, 1));

    clock.advance(Duration::from_secs(99));
    let hit = get(&session, &url, &[]).await;
    assert_eq!((hit.outcome(), hit.info.ttl), (Outcome::Hit, Some(1)));
    for seen in [&seen, &hit] {
        assert_eq!(seen.text, "body");
        assert_eq!(seen.lines("x-old"), [b"1"]);
        assert_eq!(seen.lines("x-both"), [b"3", b"4"]);
        assert_eq!(seen.lines("x-new"), [b"1"]);
        assert_eq!(seen.lines("content-type"), [b"a/b"], "describes the stored body");
        assert!(seen.lines("content-encoding").is_empty());
    }
    clock.advance(Duration::from_secs(1));
    get(&session, &url, &[]).await;
    assert_eq!(origin.count(), 3);
}

/// Feature 111 for a body in parts: the parts stay where they are.
#[tokio::test]
async fn a_304_leaves_the_parts_of_a_large_body() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::pattern(600_000).header("cache-control", "max-age=60").etag("\"1\""));
    let bodies = FaultyStorage::new(MemoryStorage::default());
    let faults = bodies.faults();
    let clock = ManualClock::new();
    let cache = StorageCache::new(MemoryStorage::default(), MemoryStorage::default()).with_bodies(bodies);
    let session = builder(&clock).cache(cache).build().unwrap();
    let first = session.get(origin.url("/")).send().await.unwrap().bytes().await.unwrap();
    eventually("the body is stored", || session.layer().in_flight() == 0).await;
    session.layer().flush().await;
    let writes = || faults.calls(Op::Write) + faults.calls(Op::WriteMany) + faults.calls(Op::Refresh);
    let (written, deleted) = (writes(), faults.calls(Op::DeleteMany));
    assert!(written > 0);
    clock.advance(2 * MINUTE);
    let response = session.get(origin.url("/")).send().await.unwrap();
    assert_eq!(super::outcome(&response), Outcome::Revalidated);
    assert_eq!(response.bytes().await.unwrap(), first);
    session.layer().flush().await;
    assert_eq!((writes(), faults.calls(Op::DeleteMany)), (written, deleted));
}

/// Case 24: a 304 that forbids the use of what is stored removes it, and the response is fetched in full.
#[tokio::test]
async fn a_304_may_forbid_what_is_stored() {
    let origin = Origin::scripted().await;
    let full = || Answer::ok("full").header("cache-control", "no-store");
    let etag = |answer: Answer| answer.header("etag", "\"1\"");
    let cases = [
        (etag(Answer::not_modified().header("cache-control", "no-store")), false, Reason::ResponseNoStore),
        (etag(Answer::not_modified().header("cache-control", "private, max-age=60")), true, Reason::ResponsePrivate),
        (etag(Answer::not_modified().header("vary", "*")), false, Reason::VaryStar),
        (etag(Answer::not_modified().header("vary", "x, *")), false, Reason::VaryStar),
        (etag(Answer::not_modified().header("vary", "x y")), false, Reason::VaryMalformed),
        (etag(Answer::not_modified().header("vary", "accept")), false, Reason::OriginChanged),
        (not_modified().header("etag", "\"2\""), false, Reason::OriginChanged),
        (Answer::not_modified().header("etag", "\"2\""), false, Reason::OriginChanged),
        (Answer::not_modified().header("etag", "W/\"2\""), false, Reason::OriginChanged),
    ];
    for (at, (update, shared, reason)) in cases.into_iter().enumerate() {
        let path = format!("/{at}");
        origin.on(&path, [answer(), update, full()]);
        let (session, clock) = with_settings(Settings::default().shared(shared));
        let url = origin.url(&path);
        get(&session, &url, &[]).await;
        clock.advance(MINUTE);
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), seen.reason(), &seen.text[..]), (Outcome::Miss, reason, "full"), "{at}");
        assert_eq!(origin.count_of(&path), 3);
        let last = origin.requests().pop().unwrap();
        assert!(last.header("if-none-match").is_none(), "in full");
        session.layer().flush().await;
        assert!(entries(&**session.cache()).await.is_empty(), "{at}");
    }
}

/// Feature 112: a weak tag confirms what was stored under the strong one of the same text, and the other way round only
/// where they are written alike.
#[tokio::test]
async fn tags_are_compared_by_the_rules() {
    let origin = Origin::scripted().await;
    let cases = [
        ("\"1\"", "\"1\"", true),
        ("W/\"1\"", "W/\"1\"", true),
        ("\"1\"", "W/\"1\"", true),
        ("W/\"1\"", "\"1\"", false),
        ("\"1\"", "\"2\"", false),
    ];
    for (at, (stored, confirmed, same)) in cases.into_iter().enumerate() {
        let path = format!("/{at}");
        let full = |body: &'static str| Answer::ok(body).header("cache-control", "max-age=60").header("etag", stored);
        origin.on(&path, [full("one"), Answer::not_modified().header("etag", confirmed), full("two")]);
        let (session, clock) = session();
        get(&session, &origin.url(&path), &[]).await;
        clock.advance(MINUTE);
        let expected = if same { "one" } else { "two" };
        assert_eq!(get(&session, &origin.url(&path), &[]).await.text, expected, "{stored} {confirmed}");
    }
}

/// Feature 116: any other answer to a revalidation is an answer like any: stored in place of the old one, or handed on.
#[tokio::test]
async fn a_revalidation_may_have_any_answer() {
    let origin = Origin::scripted().await;
    let fresh = |answer: Answer| answer.header("cache-control", "max-age=60");
    // (the answer, what is served next at once)
    let cases = [
        (fresh(Answer::ok("new").header("etag", "\"2\"")), Some("new")),
        (fresh(Answer::status(404).body("gone")), Some("gone")),
        (Answer::status(404).body("gone"), None),
        (Answer::ok("once").header("cache-control", "no-store"), None),
        (Answer::status(500).body("broken"), None),
        (Answer::status(206).body("part").header("content-range", "bytes 0-3/9"), None),
    ];
    for (at, (replacement, served)) in cases.into_iter().enumerate() {
        let path = format!("/{at}");
        origin.on(&path, [answer(), replacement, answer()]);
        let (session, clock) = session();
        let url = origin.url(&path);
        get(&session, &url, &[]).await;
        clock.advance(MINUTE);
        let seen = get(&session, &url, &[]).await;
        assert_eq!(seen.outcome(), Outcome::Miss);
        assert_eq!(seen.reason(), Reason::Expired { by: Duration::ZERO }, "why the origin was asked");
        let next = get(&session, &url, &[]).await;
        assert_eq!((next.outcome() == Outcome::Hit).then_some(&next.text[..]), served, "{at}");
    }
}

/// Case 64 on revalidation: a stored response that became a redirect, and back.
#[tokio::test]
async fn a_response_may_become_a_redirect_and_back() {
    let origin = Origin::scripted().await;
    let moved = Answer::redirect(301, "/new").header("cache-control", "max-age=60").header("etag", "\"2\"");
    origin.on("/", [answer(), moved, answer()]);
    origin.on("/new", Answer::ok("new").header("cache-control", "max-age=1000"));
    let (session, clock) = session();
    let url = origin.url("/");
    assert_eq!(get(&session, &url, &[]).await.text, "body");
    for expected in ["new", "body"] {
        clock.advance(MINUTE);
        assert_eq!(get(&session, &url, &[]).await.text, expected);
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, expected));
    }
    assert_eq!(origin.count_of("/"), 3);
}

/// Case 181: a 304 that nobody asked for is an error of that request, stored nowhere and given to nobody.
#[tokio::test]
async fn a_stray_304_reaches_nobody() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/", [Answer::not_modified().after(&gate), answer()]);
    let (session, _) = session();
    let url = origin.url("/");
    let both = async { tokio::join!(session.get(&url).send(), session.get(&url).send()) };
    let open = async {
        origin.arrived(1).await;
        gate.open();
    };
    let ((one, other), ()) = tokio::join!(both, open);
    for response in [one, other].into_iter().flatten() {
        assert_eq!(response.status(), 200);
    }
    assert_eq!(get(&session, &url, &[]).await.text, "body");
}

/// Case 23: a cookie that a 304 sets goes to the live response and is not stored.
#[tokio::test]
async fn a_cookie_of_a_304_is_for_its_caller_only() {
    let origin = Origin::scripted().await;
    origin.on("/", [answer(), not_modified().header("set-cookie", "id=1").header("set-cookie", "b=2")]);
    for shared in [false, true] {
        let (session, clock) = with_settings(Settings::default().shared(shared));
        origin.on("/", [answer(), not_modified().header("set-cookie", "id=1").header("set-cookie", "b=2")]);
        get(&session, &origin.url("/"), &[]).await;
        clock.advance(MINUTE);
        let seen = get(&session, &origin.url("/"), &[]).await;
        assert_eq!((seen.outcome(), seen.lines("set-cookie")), (Outcome::Revalidated, vec![&b"id=1"[..], b"b=2"]));
        let hit = get(&session, &origin.url("/"), &[]).await;
        assert_eq!((hit.outcome(), hit.lines("set-cookie").len()), (Outcome::Hit, 0));
    }
}

/// Feature 115: who brings conditions of their own gets the origin's answer to them, a 304 included; nothing of it is
/// stored.
#[tokio::test]
async fn conditions_of_the_callers_own_are_the_callers() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60").etag("\"1\""));
    let (session, _) = session();
    let url = origin.url("/");
    for (name, value, status) in [
        ("if-none-match", "\"1\"", 304),
        ("if-none-match", "\"2\"", 200),
        ("if-modified-since", CHANGED, 200),
        ("if-match", "\"1\"", 200),
        ("if-unmodified-since", CHANGED, 200),
    ] {
        let seen = get(&session, &url, &[(name, value)]).await;
        assert_eq!((seen.outcome(), seen.reason()), (Outcome::Bypass, Reason::Conditional), "{name}");
        assert_eq!((seen.status, seen.storing()), (status, Storing::Unchanged), "{name}");
    }
    assert!(entries(&**session.cache()).await.is_empty());
    // What is stored is neither served to them nor changed.
    get(&session, &url, &[]).await;
    assert_eq!(get(&session, &url, &[("if-none-match", "\"1\"")]).await.status, 304);
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
}

/// Case 68: after a revalidation there is one framing, that of the stored body.
#[tokio::test]
async fn after_a_revalidation_there_is_one_framing() {
    let origin = Origin::scripted().await;
    let raw = "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncache-control: max-age=60\r\n\
               content-length: 999\r\ntransfer-encoding: chunked\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\r\n";
    let (session, clock) = session();
    for (path, first) in [("/length", answer()), ("/chunked", answer().chunked())] {
        origin.on(path, [first, Answer::raw(raw)]);
        get(&session, &origin.url(path), &[]).await;
        clock.advance(MINUTE);
        for outcome in [Outcome::Revalidated, Outcome::Hit] {
            let seen = get(&session, &origin.url(path), &[]).await;
            assert_eq!((seen.outcome(), &seen.text[..]), (outcome, "body"), "{path}");
            assert!(seen.lines("transfer-encoding").is_empty() && seen.lines("connection").is_empty());
            assert!(seen.lines("x-hop").is_empty());
            assert!(seen.lines("content-length").iter().all(|length| *length == b"4"), "{path}");
        }
    }
}

/// Case 25: a refresh in the background whose 304 forbids reuse removes the entry.
#[tokio::test]
async fn a_refresh_that_forbids_reuse_removes_the_entry() {
    for forbidding in [
        Answer::not_modified().header("cache-control", "no-store"),
        Answer::not_modified().header("vary", "*"),
        Answer::ok("new").header("cache-control", "no-store"),
    ] {
        let origin = Origin::scripted().await;
        let first = answer().header("cache-control", "stale-while-revalidate=600");
        let last = Answer::ok("new").header("cache-control", "no-store");
        origin.on("/", [first, forbidding, last]);
        let (session, clock) = session();
        let url = origin.url("/");
        get(&session, &url, &[]).await;
        clock.advance(2 * MINUTE);
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Stale);
        eventually("the refresh is over", || origin.count() >= 2 && session.layer().in_flight() == 0).await;
        session.layer().flush().await;
        assert!(entries(&**session.cache()).await.is_empty());
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, "new"));
    }
}

/// A HEAD has an entry of its own, which is asked about like any.
#[tokio::test]
async fn a_head_is_revalidated_too() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("body").header("cache-control", "max-age=60").etag("\"1\""));
    let (session, clock) = session();
    see(session.head(origin.url("/"))).await;
    clock.advance(MINUTE);
    let seen = see(session.head(origin.url("/"))).await;
    assert_eq!((seen.outcome(), seen.lines("content-length")), (Outcome::Revalidated, vec![&b"4"[..]]));
    assert!(origin.requests().iter().all(|request: &Recorded| request.method == http::Method::HEAD));
}
