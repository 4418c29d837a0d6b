//! HEAD: what it is answered from, and what it makes outdated (RFC 9110 section 9.3.2, RFC 9111 section 4.3.5).

use std::time::Duration;

use hyper_client_cache_core::policy::{Mode, Outcome};
use hyper_client_cache_testkit::origin::{Answer, Origin};

use super::{eventually, get, see, session};

/// Case 49: HEAD never answers GET; a HEAD that shows another representation makes the GET's entry go.
#[tokio::test]
async fn head_does_not_answer_get_and_may_outdate_it() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let url = origin.url("/");
    origin.on("/", Answer::ok("hello").header("cache-control", "max-age=60").header("etag", "\"1\""));
    see(session.head(&url)).await;
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Miss);
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    // The same representation: the entry stays.
    see(session.head(&url).mode(Mode::Reload)).await;
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    for changed in [
        Answer::ok("hello").header("cache-control", "max-age=60").header("etag", "\"2\""),
        Answer::ok("hello, you").header("cache-control", "max-age=60"),
    ] {
        origin.on("/", changed);
        see(session.head(&url).mode(Mode::Reload)).await;
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Miss);
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    }
}

/// Case 49 for a URL that varies: the variant that the HEAD would have selected.
#[tokio::test]
async fn head_outdates_the_variant_that_it_selects() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let url = origin.url("/");
    let answer = |etag| Answer::ok("x").header("cache-control", "max-age=60").header("vary", "a").header("etag", etag);
    origin.on("/", answer("\"1\""));
    for value in ["1", "2"] {
        get(&session, &url, &[("a", value)]).await;
    }
    origin.on("/", answer("\"2\""));
    see(session.head(&url).header("a", "1").mode(Mode::Reload)).await;
    assert_eq!(get(&session, &url, &[("a", "1")]).await.outcome(), Outcome::Miss);
    assert_eq!(get(&session, &url, &[("a", "2")]).await.outcome(), Outcome::Hit);
}

/// Design section 7: a HEAD is answered from a stored GET that its request selects, while that is fresh.
#[tokio::test]
async fn head_is_answered_from_a_stored_get() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("hello").header("cache-control", "max-age=60").header("vary", "a");
    origin.on("/", answer.header("x-one", "1"));
    origin.on("/large", Answer::pattern(600_000).header("cache-control", "max-age=60"));
    let (session, clock) = session();
    let url = origin.url("/");
    get(&session, &url, &[("a", "1")]).await;
    get(&session, &url, &[("a", "1"), ("authorization", "x")]).await;
    session.get(origin.url("/large")).send().await.unwrap().bytes().await.unwrap();
    eventually("the large body is stored", || session.layer().in_flight() == 0).await;
    let head = async |name: &str, value: &str| see(session.head(&url).header(name, value)).await;
    clock.advance(Duration::from_secs(10));
    let seen = head("a", "1").await;
    assert_eq!((seen.outcome(), seen.status, &seen.text[..]), (Outcome::Hit, 200, ""));
    assert_eq!(
        (seen.lines("x-one"), seen.lines("content-length"), seen.lines("age")),
        (vec![&b"1"[..]], vec![&b"5"[..]], vec![&b"10"[..]])
    );
    let large = see(session.head(origin.url("/large"))).await;
    assert_eq!((large.outcome(), large.lines("content-length")), (Outcome::Hit, vec![&b"600000"[..]]));
    // Not another variant's, not another partition's, not a stale one's.
    assert_eq!(head("a", "2").await.outcome(), Outcome::Miss);
    assert_eq!(head("cookie", "x").await.outcome(), Outcome::Miss);
    assert_eq!(head("cache-control", "no-cache").await.outcome(), Outcome::Miss);
    clock.advance(Duration::from_secs(60));
    assert_eq!(head("a", "1").await.outcome(), Outcome::Miss);
    assert_eq!(get(&session, &url, &[("a", "1")]).await.text, "hello");
}
