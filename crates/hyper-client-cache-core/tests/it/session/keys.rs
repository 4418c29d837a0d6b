//! What shares an entry and what does not, through the session.

use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_core::policy::{Outcome, Reason};
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_testkit::origin::{Answer, Origin, Recorded};

use super::{builder, entries, get, session};

/// Cases 33, 37, 38: each of these is a URL of its own, and reaches the origin as it is.
#[tokio::test]
async fn urls_are_taken_as_they_are_sent() {
    let origin = Origin::start(|request: &Recorded| Answer::ok(request.target.clone())).await;
    let (session, _) = session();
    let targets = [
        "/",
        "/?",
        "/?a=1;b=2",
        "/?a=1&b=2",
        "/?b=2&a=1",
        "/?%61=1",
        "/?a[]=1",
        "/?a=1&a=2",
        "/?a=2&a=1",
        "/?a",
        "/?a=",
        "//",
        "/a//b",
        "/a/b",
        "/%00",
        "/%7Eb",
        "/%7eb",
        "/~b",
        "/a%2Fb",
        "/a;x=1",
        "/a%3Bx=1",
        "/A",
        "/a",
    ];
    for outcome in [Outcome::Miss, Outcome::Hit] {
        for target in targets {
            let seen = get(&session, &origin.url(target), &[]).await;
            assert_eq!((seen.outcome(), &seen.text[..]), (outcome, target));
        }
    }
}

/// Case 38: dots in a path are resolved before anything is sent, so that key and request agree.
#[tokio::test]
async fn dots_in_a_path_are_resolved_in_key_and_request() {
    let origin = Origin::start(|request: &Recorded| Answer::ok(request.target.clone())).await;
    let (session, _) = session();
    assert_eq!(get(&session, &origin.url("/b"), &[]).await.text, "/b");
    for written in ["/a/../b", "/a/%2e%2e/b", "/a/.%2E/b", "/./b", "/%2e/b"] {
        let seen = get(&session, &origin.url(written), &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "/b"), "{written}");
    }
    // A request that was made elsewhere is sent as it is, and keyed by that.
    let request = http::Request::get(origin.url("/a/../b")).body(()).unwrap();
    assert_eq!(session.execute(request).await.unwrap().text().await.unwrap(), "/a/../b");
}

/// Case 35: another host name or port never shares, even where it is the same server; case and default port do.
#[tokio::test]
async fn origins_do_not_cross() {
    let (one, other) = (Origin::scripted().await, Origin::scripted().await);
    one.on("/", Answer::ok("one"));
    other.on("/", Answer::ok("other"));
    let (session, _) = session();
    assert_eq!(get(&session, &one.url("/"), &[]).await.text, "one");
    assert_eq!(get(&session, &other.url("/"), &[]).await.text, "other");
    let by_name = one.url("/").replace("127.0.0.1", "localhost");
    assert_eq!(get(&session, &by_name, &[]).await.outcome(), Outcome::Miss);
    let in_capitals = by_name.replace("localhost", "LocalHost").replace("http:", "HTTP:");
    assert_eq!(get(&session, &in_capitals, &[]).await.outcome(), Outcome::Hit);
    let fragment = format!("{by_name}#part");
    assert_eq!(get(&session, &fragment, &[]).await.outcome(), Outcome::Hit);
}

/// Case 39: a name in another script is keyed as it is resolved.
#[tokio::test]
async fn a_host_in_another_script_is_keyed_as_it_is_sent() {
    let (session, _) = session();
    let sent = |url: &str| session.get(url).build().unwrap().uri().to_string();
    assert_eq!(sent("http://bücher.example/"), sent("http://xn--bcher-kva.example/"));
    assert_ne!(sent("http://bücher.example/"), sent("http://bucher.example/"));
}

/// Case 34: a record that lies under another request's key is a miss, is counted and removed.
#[tokio::test]
async fn a_record_of_another_request_is_a_miss() {
    let origin = Origin::start(|request: &Recorded| {
        let answer = Answer::ok(request.target.clone()).header("cache-control", "max-age=60");
        if request.path().starts_with("/varies") { answer.header("vary", "a") } else { answer }
    })
    .await;
    let cache = MemoryCache::default();
    let session = builder(&hyper_client_cache_testkit::ManualClock::new()).cache(cache.clone()).build().unwrap();
    let mut swapped = 0;
    for (victim, planted) in [("/a", "/b"), ("/c", "/varies/1"), ("/varies/2", "/d"), ("/varies/3", "/varies/4")] {
        get(&session, &origin.url(planted), &[("a", "1")]).await;
        let before: Vec<_> = entries(&cache).await;
        get(&session, &origin.url(victim), &[("a", "1")]).await;
        session.layer().flush().await;
        let new: Vec<_> =
            entries(&cache).await.into_iter().filter(|(key, _)| before.iter().all(|(old, _)| old != key)).collect();
        let foreign = before[0].1.clone();
        for (key, _) in &new {
            cache.responses().write(key, foreign.clone()).await.unwrap();
        }
        let seen = get(&session, &origin.url(victim), &[("a", "1")]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, victim));
        swapped += 1;
        assert!(session.stats().mismatched >= swapped, "{victim}");
        let seen = get(&session, &origin.url(victim), &[("a", "1")]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, victim));
        cache.clear().await.unwrap();
    }
    let seen = get(&session, &origin.url("/a"), &[]).await;
    assert_eq!(seen.reason(), Reason::NotFound);
}

/// Case 34 and rule S15: a body that is not as long as its record says is a miss, is counted and replaced.
#[tokio::test]
async fn a_body_of_another_length_than_its_record_is_a_miss() {
    let origin = Origin::start(|_: &Recorded| Answer::ok("body").header("cache-control", "max-age=60")).await;
    let cache = MemoryCache::default();
    let session = builder(&hyper_client_cache_testkit::ManualClock::new()).cache(cache.clone()).build().unwrap();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    for (number, body) in ["", "bod", "bodyy"].into_iter().enumerate() {
        let (key, whole) = entries(&cache).await.remove(0);
        cache.responses().write(&key, Entry::new(whole.head, body)).await.unwrap();
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), seen.reason(), &seen.text[..]), (Outcome::Miss, Reason::RecordMismatch, "body"));
        assert_eq!(session.stats().mismatched, number as u64 + 1);
        session.layer().flush().await;
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    }
}

/// Case 50: a partition of any characters and length is no error and no collision.
#[tokio::test]
async fn a_partition_may_have_any_name() {
    let origin = Origin::start(|request: &Recorded| Answer::ok(request.header("x-who").unwrap().to_owned())).await;
    let cache: std::sync::Arc<dyn Cache> = std::sync::Arc::new(MemoryCache::default());
    let long = "x".repeat(10_000);
    let names = ["a b", "a\0b", "a\r\nb", "🦀", &long, &format!("{long}y"), "a", "A"];
    for outcome in [Outcome::Miss, Outcome::Hit] {
        for (at, name) in names.iter().enumerate() {
            let settings = hyper_client_cache_core::policy::Settings::default().partition(*name);
            let clock = hyper_client_cache_testkit::ManualClock::new();
            let session = builder(&clock).settings(settings).shared_cache(cache.clone()).build().unwrap();
            let seen = get(&session, &origin.url("/"), &[("x-who", &at.to_string())]).await;
            assert_eq!((seen.outcome(), seen.text), (outcome, at.to_string()));
        }
    }
}
