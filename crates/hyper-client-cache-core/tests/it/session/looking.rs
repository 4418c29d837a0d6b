//! Looking into the cache of a session: what is stored for which URL, and removing it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{Method, StatusCode};
use hyper_client_cache_core::cache::{Cache, CacheExt, CachedResponse, Filter, MemoryCache, SortBy};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::policy::{Mode, Outcome, Settings};
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, PatternChecker};

use super::{builder, entries, eventually, faulty, flushed, get, see, session, settled, text, with_settings};

const MINUTE: Duration = Duration::from_secs(60);

fn fresh(body: &'static str) -> Answer {
    Answer::ok(body).header("cache-control", "max-age=60").etag("\"1\"")
}

async fn urls(session: &CachedSession) -> Vec<String> {
    let mut urls: Vec<String> = session.cache().urls().try_collect().await.unwrap();
    urls.sort();
    urls
}

async fn found(session: &CachedSession, filter: Filter) -> Vec<CachedResponse> {
    let mut found: Vec<_> = session.cache().entries(filter).try_collect().await.unwrap();
    found.sort_by(|a, b| a.url().cmp(b.url()));
    found
}

/// Seed 13 and 14: with the same parameters it is found and removed, with others and under another path it is not.
#[tokio::test]
async fn a_url_is_found_and_removed_with_its_parameters() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("a"));
    let (session, _) = session();
    let (url, base) = (origin.url("/a?x=1&y=2"), origin.url("/a"));
    see(session.get(&base).query(&[("x", "1"), ("y", "2")])).await;
    let cache = session.cache();
    for (other, is_there) in
        [(&url, true), (&base, false), (&origin.url("/a?x=2&y=2"), false), (&origin.url("/b"), false)]
    {
        assert_eq!(cache.has_url(other).await.unwrap(), is_there, "{other}");
        assert_eq!(cache.get_url(other).await.unwrap().is_some(), is_there, "{other}");
    }
    assert!(cache.has_url(&format!("{url}#top")).await.unwrap(), "written as it is in a browser");
    assert_eq!(cache.delete_url(&base).await.unwrap(), 0);
    assert_eq!(cache.delete_url(&url).await.unwrap(), 1);
    assert!(!cache.has_url(&url).await.unwrap() && entries(&**cache).await.is_empty());
    for broken in ["", "a", "/a", "ftp://host/", "http://"] {
        assert_eq!(cache.has_url(broken).await.unwrap_err().kind(), ErrorKind::Request, "{broken}");
    }
}

/// Seed 61 and feature 162: what is stored is shown as its response shows itself, and answers without the origin.
#[tokio::test]
async fn what_is_stored_is_shown_as_its_response_is() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("hello").header("x-a", "1").header("age", "5"));
    let (session, clock) = session();
    let url = origin.url("/a");
    let info = get(&session, &url, &[]).await.info;
    clock.advance(Duration::from_secs(10));
    let stored = session.cache().get_url(&url).await.unwrap().unwrap();
    assert_eq!((stored.method(), stored.url(), stored.status()), (&Method::GET, &url[..], StatusCode::OK));
    assert_eq!(
        (Some(*stored.key()), Some(stored.created_at()), stored.expires()),
        (info.key, info.created_at, info.expires_at)
    );
    assert_eq!((stored.age(), stored.is_expired(), stored.body_len()), (Some(Duration::from_secs(15)), false, 5));
    assert_eq!(Some(stored.lifetime_source()), info.lifetime_source);
    assert_eq!(stored.headers()["x-a"], "1");
    let body: Vec<Bytes> = session.cache().body(&stored).try_collect().await.unwrap();
    assert_eq!(body, ["hello"]);
    assert_eq!(session.cache().get_key(stored.key()).await.unwrap().unwrap(), stored);
    // A listing has the same without the body, which can be read all the same.
    let listed = found(&session, Filter::new()).await;
    let body: Vec<Bytes> = session.cache().body(&listed[0]).try_collect().await.unwrap();
    assert_eq!((listed.len(), listed[0].record(), &body[0][..]), (1, stored.record(), &b"hello"[..]));
    assert_eq!(origin.count(), 1);
    clock.advance(MINUTE);
    assert!(session.cache().get_url(&url).await.unwrap().unwrap().is_expired(), "it may still be revalidated");
}

/// Features 164 and 168: all variants, GET and HEAD, every partition, and nothing else.
#[tokio::test]
async fn deleting_a_url_removes_every_variant_method_and_partition() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("a").header("vary", "accept"));
    origin.on("/b", fresh("b"));
    let (session, _) = session();
    let (a, b) = (origin.url("/a"), origin.url("/b"));
    for accept in ["x", "y"] {
        get(&session, &a, &[("accept", accept)]).await;
        get(&session, &a, &[("accept", accept), ("authorization", "one")]).await;
        get(&session, &b, &[("accept", accept), ("authorization", "two")]).await;
    }
    see(session.head(&a).header("accept", "z")).await;
    flushed(&session).await;
    let cache = session.cache();
    assert_eq!(cache.count(Filter::new().url(&a)).await.unwrap(), 5);
    assert!(cache.has_url(&b).await.unwrap(), "in whichever partition");
    assert!(cache.get_url(&b).await.unwrap().is_none(), "a request without credentials selects none of them");
    assert_eq!(cache.delete_url(&a).await.unwrap(), 5);
    assert_eq!(urls(&session).await, std::slice::from_ref(&b));
    assert!(!cache.has_url(&a).await.unwrap());
    assert_eq!(get(&session, &a, &[("accept", "x"), ("authorization", "one")]).await.outcome(), Outcome::Miss);
    assert_eq!(get(&session, &b, &[("authorization", "two")]).await.outcome(), Outcome::Hit);
    assert!(session.stats().deleted > 4);
}

/// Feature 168: by request only what the request selects, by key only what lies there.
#[tokio::test]
async fn deleting_by_request_and_by_key_leaves_the_others() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("a").header("vary", "accept"));
    let (session, _) = session();
    let url = origin.url("/a");
    for accept in ["x", "y", "z"] {
        get(&session, &url, &[("accept", accept)]).await;
    }
    let request = |accept: &str| session.get(&url).header("accept", accept).build().unwrap();
    let cache = session.cache();
    assert!(cache.get(&request("x")).await.unwrap().is_some() && cache.get(&request("?")).await.unwrap().is_none());
    assert!(cache.delete(&request("x")).await.unwrap() && !cache.delete(&request("x")).await.unwrap());
    assert!(cache.get(&request("x")).await.unwrap().is_none());
    let key = *cache.get(&request("y")).await.unwrap().unwrap().key();
    assert!(cache.delete_key(&key).await.unwrap() && !cache.delete_key(&key).await.unwrap());
    let outcomes = ["x", "y", "z"].map(async |accept| get(&session, &url, &[("accept", accept)]).await.outcome());
    let [x, y, z] = outcomes;
    assert_eq!((x.await, y.await, z.await), (Outcome::Miss, Outcome::Miss, Outcome::Hit));
}

/// Seed 8, 11 and 78: each redirect is stored under its own URL, and each is found and removed by that.
#[tokio::test]
async fn redirects_are_found_under_their_own_urls() {
    let origin = Origin::scripted().await;
    for n in (1..=4).rev() {
        let target = if n == 1 { "/end".to_owned() } else { format!("/r{}", n - 1) };
        let answer = Answer::status(301).header("location", target).header("cache-control", "max-age=60");
        origin.on(&format!("/r{n}"), answer);
    }
    origin.on("/end", fresh("end"));
    let (session, _) = session();
    let response = session.get(origin.url("/r4")).send().await.unwrap();
    assert_eq!(response.history().len(), 4);
    response.bytes().await.unwrap();
    flushed(&session).await;
    let cache = session.cache();
    assert_eq!(cache.redirects().size().await.unwrap(), 4);
    assert_eq!(cache.count(Filter::new().redirects(true)).await.unwrap(), 4);
    assert_eq!(cache.count(Filter::new().redirects(false)).await.unwrap(), 1);
    assert!(cache.has_url(&origin.url("/r2")).await.unwrap() && cache.has_url(&origin.url("/end")).await.unwrap());
    let hop = cache.get_url(&origin.url("/r2")).await.unwrap().unwrap();
    assert!(hop.is_redirect() && hop.status() == StatusCode::MOVED_PERMANENTLY);
    // The end goes, the hops to it stay: what they lead to is fetched again.
    assert_eq!(cache.delete_url(&origin.url("/end")).await.unwrap(), 1);
    assert_eq!((cache.redirects().size().await.unwrap(), cache.responses().size().await.unwrap()), (4, 0));
    let only = async || session.get(origin.url("/r4")).mode(Mode::OnlyIfCached).send().await.unwrap().status();
    assert_eq!(only().await, StatusCode::GATEWAY_TIMEOUT, "nothing is answered by a chain of which one link is gone");
    text(&session, &origin.url("/end")).await;
    assert_eq!(only().await, StatusCode::OK);
    assert_eq!(cache.delete_url(&origin.url("/r2")).await.unwrap(), 1);
    assert_eq!(cache.redirects().size().await.unwrap(), 3);
}

/// Seed 16, features 165 to 167: exactly what is stored is listed, counted, filtered and put in order.
#[tokio::test]
async fn listings_show_what_is_stored_and_what_is_asked_for() {
    let origin = Origin::scripted().await;
    for (at, path) in ["/a", "/b", "/c", "/d", "/e", "/f", "/g"].into_iter().enumerate() {
        origin.on(path, Answer::pattern(10 * (at as u64 + 1)).header("cache-control", "max-age=300").etag("\"1\""));
    }
    origin.on("/stale", Answer::ok("x").header("cache-control", "max-age=1, stale-while-revalidate=86400"));
    let (session, clock) = session();
    let mut expected = Vec::new();
    for path in ["/a", "/b", "/c", "/d", "/e", "/f", "/g"] {
        get(&session, &origin.url(path), &[]).await;
        expected.push(origin.url(path));
        clock.advance(MINUTE);
    }
    assert_eq!(urls(&session).await, expected);
    let cache = session.cache();
    assert_eq!((cache.count(Filter::new()).await.unwrap(), cache.size().await.unwrap()), (7, 7));
    assert!(cache.bytes().await.unwrap() > 280);
    get(&session, &origin.url("/stale"), &[]).await;
    clock.advance(Duration::from_secs(10));

    let paths = async |filter: Filter| -> Vec<String> {
        let paths = found(&session, filter).await;
        paths.iter().map(|response| response.url().rsplit_once('/').unwrap().1.to_owned()).collect()
    };
    assert_eq!(paths(Filter::new().expired()).await, ["a", "b", "c", "stale"]);
    assert_eq!(paths(Filter::new().stale()).await, ["stale"]);
    assert_eq!(paths(Filter::new().fresh()).await, ["d", "e", "f", "g"]);
    assert_eq!(paths(Filter::new().older_than(4 * MINUTE)).await, ["a", "b", "c", "d"]);
    assert_eq!(paths(Filter::new().fresh().older_than(4 * MINUTE)).await, ["d"]);
    assert_eq!(paths(Filter::new().url_prefix(origin.url("/s"))).await, ["stale"]);
    assert_eq!(paths(Filter::new().url_glob("*/[!").unwrap()).await, [""; 0]);
    assert_eq!(paths(Filter::new().url_glob("http://*/?").unwrap()).await.len(), 7);
    assert_eq!(paths(Filter::new().host("127.*").unwrap()).await.len(), 8);
    assert_eq!(paths(Filter::new().host("*.site.com").unwrap()).await.len(), 0);
    assert_eq!(paths(Filter::new().status(StatusCode::NOT_FOUND)).await.len(), 0);
    assert_eq!(paths(Filter::new().method(Method::HEAD)).await.len(), 0);
    assert_eq!(paths(Filter::new().limit(3)).await.len(), 3);
    assert_eq!(paths(Filter::new().expired().at(clock.now() - 5 * MINUTE)).await.len(), 0);

    let top = async |by, limit| -> Vec<String> {
        let top = cache.top(Filter::new(), by, limit).await.unwrap();
        top.iter().map(|response| response.url().rsplit_once('/').unwrap().1.to_owned()).collect()
    };
    assert_eq!(top(SortBy::Largest, 2).await, ["g", "f"]);
    assert_eq!(top(SortBy::Smallest, 2).await, ["stale", "a"]);
    assert_eq!(top(SortBy::Oldest, 3).await, ["a", "b", "c"]);
    assert_eq!(top(SortBy::Newest, 2).await, ["stale", "g"]);
    assert_eq!(top(SortBy::SoonestExpiry, 2).await, ["a", "b"]);
    assert_eq!(top(SortBy::Url, 100).await.len(), 8);
    assert_eq!(top(SortBy::Url, 0).await.len(), 0);
}

/// Seed 10, 12 and 77, features 169, 170, 172 and 174: what is meant goes, redirects and parts too, and nothing else.
#[tokio::test]
async fn deleting_what_is_meant_leaves_the_rest() {
    let origin = Origin::scripted().await;
    for n in 0..12 {
        origin.on(&format!("/old/{n}"), Answer::ok("x").header("cache-control", "max-age=1"));
    }
    let hop = |to: &str| Answer::status(302).header("location", to);
    origin.on("/old/hop", hop("/old/1").header("cache-control", "max-age=1"));
    origin.on("/never", Answer::ok("x"));
    for (from, to) in [("/h1", "/h2"), ("/h2", "/h3"), ("/h3", "/end")] {
        origin.on(from, hop(to).header("cache-control", "max-age=6000"));
    }
    origin.on("/end", Answer::ok("x").header("cache-control", "max-age=6000"));
    origin.on("/large", Answer::pattern(1 << 20).header("cache-control", "max-age=6000"));
    let (session, clock) = session();
    for n in 0..12 {
        get(&session, &origin.url(&format!("/old/{n}")), &[]).await;
    }
    for path in ["/old/hop", "/never", "/h1"] {
        get(&session, &origin.url(path), &[]).await;
    }
    clock.advance(Duration::from_secs(2));
    let cache = session.cache();
    assert_eq!(cache.delete_expired().await.unwrap(), 13, "twelve and a redirect, which nobody can use any more");
    assert_eq!((cache.responses().size().await.unwrap(), cache.redirects().size().await.unwrap()), (2, 3));
    for n in 0..12 {
        assert!(!cache.has_url(&origin.url(&format!("/old/{n}"))).await.unwrap());
    }

    clock.advance(MINUTE);
    assert_eq!(super::pattern_len(session.get(origin.url("/large")).send().await.unwrap()).await, Some(1 << 20));
    flushed(&session).await;
    assert_eq!(cache.bodies().unwrap().size().await.unwrap(), 4);
    assert_eq!(cache.delete_older_than(MINUTE).await.unwrap(), 5);
    assert_eq!(urls(&session).await, [origin.url("/large")]);
    assert_eq!(cache.delete_matching(Filter::new().host("127.*").unwrap().limit(1)).await.unwrap(), 1);
    settled(&session, 0, 0).await;

    get(&session, &origin.url("/h1"), &[]).await;
    assert_eq!(super::pattern_len(session.get(origin.url("/large")).send().await.unwrap()).await, Some(1 << 20));
    cache.clear().await.unwrap();
    settled(&session, 0, 0).await;
    assert_eq!((cache.size().await.unwrap(), cache.bytes().await.unwrap()), (0, 0));
}

/// An index of variants does not stay behind when the last of them went.
#[tokio::test]
async fn an_index_goes_with_its_last_variant() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("a").header("vary", "accept"));
    let (session, clock) = session();
    let url = origin.url("/a");
    get(&session, &url, &[("accept", "x")]).await;
    clock.advance(MINUTE);
    get(&session, &url, &[("accept", "y")]).await;
    let cache = session.cache();
    assert_eq!((cache.size().await.unwrap(), cache.count(Filter::new()).await.unwrap()), (3, 2));
    assert_eq!(cache.delete_older_than(MINUTE).await.unwrap(), 1);
    assert_eq!(get(&session, &url, &[("accept", "y")]).await.outcome(), Outcome::Hit);
    assert_eq!(cache.delete_matching(Filter::new().url_prefix(&url)).await.unwrap(), 1);
    settled(&session, 0, 0).await;
}

/// Case 56, by hand: what was asked for before a deletion is not stored after it, and does not come back.
#[tokio::test]
async fn what_is_on_its_way_is_not_stored_over_a_deletion() {
    for how in ["delete_url", "delete", "delete_key", "delete_matching", "clear", "bare delete_url"] {
        let origin = Origin::scripted().await;
        let gate = Gate::new();
        let slow = Answer::status(200).header("cache-control", "max-age=60").chunk("o").gate(&gate).chunk("ld");
        origin.on("/a", [slow, fresh("new")]);
        let (session, _) = session();
        let url = origin.url("/a");
        let mut first = session.get(&url).send().await.unwrap();
        let key = *first.cache_key().unwrap();
        let cache = session.cache();
        match how {
            "delete_url" => assert_eq!(cache.delete_url(&url).await.unwrap(), 0),
            "delete" => assert!(!cache.delete(&session.get(&url).build().unwrap()).await.unwrap()),
            "delete_key" => assert!(!cache.delete_key(&key).await.unwrap()),
            "delete_matching" => {
                assert_eq!(cache.delete_matching(Filter::new().url_prefix(&url)).await.unwrap(), 0);
            }
            "clear" => cache.clear().await.unwrap(),
            _ => assert_eq!(cache.shared().delete_url(&url).await.unwrap(), 0),
        }
        gate.open();
        while first.chunk().await.unwrap().is_some() {}
        assert_eq!(text(&session, &url).await, (Outcome::Miss, "new".into()), "{how}");
    }
}

/// Design section 5: whoever has read a body finds it by looking too, although the store has not answered yet; and what
/// is removed then does not come back when it does.
#[tokio::test]
async fn what_waits_for_the_store_is_seen_and_removed() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("a"));
    origin.on("/b", fresh("b"));
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    let (a, b) = (origin.url("/a"), origin.url("/b"));
    get(&session, &a, &[]).await;
    flushed(&session).await;
    responses.hang_on(hyper_client_cache_testkit::Op::Write);
    get(&session, &a, &[("cache-control", "no-cache")]).await;
    session.get(&a).mode(Mode::Reload).send().await.unwrap().text().await.unwrap();
    get(&session, &b, &[]).await;
    let view = session.cache();
    assert!(view.has_url(&b).await.unwrap() && view.get_url(&b).await.unwrap().is_some());
    assert_eq!(urls(&session).await, [a.clone(), b.clone()], "each once");
    let listed = found(&session, Filter::new().url(&b)).await;
    let body: Vec<Bytes> = view.body(&listed[0]).try_collect().await.unwrap();
    assert_eq!(body, ["b"]);
    let bare = view.shared();
    assert!(bare.has_url(&b).await.unwrap(), "also without the session");
    let removed = tokio::join!(view.delete_url(&b), async {
        eventually("the deletion waits", || responses.hanging() > 0).await;
        responses.release();
    });
    assert_eq!(removed.0.unwrap(), 1);
    responses.heal();
    flushed(&session).await;
    assert_eq!(urls(&session).await, [a]);
    assert_eq!(get(&session, &b, &[]).await.outcome(), Outcome::Miss);
}

/// Feature 175 and case 244: a store that fails is an error to who looks, and nothing is said to be gone.
#[tokio::test]
async fn a_store_that_fails_is_an_error() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("a"));
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    let url = origin.url("/a");
    get(&session, &url, &[]).await;
    flushed(&session).await;
    responses.fail_all();
    let view = session.cache();
    assert!(view.has_url(&url).await.is_err() && view.get_url(&url).await.is_err());
    assert!(view.delete_url(&url).await.is_err() && view.clear().await.is_err());
    assert!(view.entries(Filter::new()).try_next().await.is_err() && view.count(Filter::new()).await.is_err());
    assert!(view.delete_matching(Filter::new()).await.is_err() && view.delete_expired().await.is_err());
    assert!(view.size().await.is_err() && view.bytes().await.is_err());
    responses.heal();
    assert!(view.has_url(&url).await.unwrap());
}

/// The session's settings decide under which key a URL lies.
#[tokio::test]
async fn the_settings_of_the_session_count() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("a"));
    let url = origin.url("/a");
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let tenant = |name: &str| {
        let settings = Settings::default().partition(name);
        CachedSession::builder().shared_cache(cache.clone()).settings(settings).build().unwrap()
    };
    let (one, two) = (tenant("one"), tenant("two"));
    get(&one, &url, &[]).await;
    assert!(one.cache().get_url(&url).await.unwrap().is_some());
    assert!(two.cache().get_url(&url).await.unwrap().is_none(), "another partition's is not selected");
    assert!(cache.has_url(&url).await.unwrap() && two.cache().has_url(&url).await.unwrap());
    get(&two, &url, &[]).await;
    // By hand it goes in all partitions, as an unsafe request removes it.
    assert_eq!(two.cache().delete_url(&url).await.unwrap(), 2);
    assert_eq!(get(&one, &url, &[]).await.outcome(), Outcome::Miss);
    let (ignoring, _) = with_settings(Settings::default());
    assert!(ignoring.cache().get_url(&url).await.unwrap().is_none());
}

/// Feature 173: everything goes over, bodies in parts, variants, partitions and redirects too; what does not fit is
/// counted.
#[tokio::test]
async fn a_cache_is_copied_to_another() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("a").header("vary", "accept"));
    origin.on("/b", fresh("b"));
    origin.on("/hop", Answer::status(301).header("location", "/b").header("cache-control", "max-age=60"));
    origin.on("/large", Answer::pattern(1 << 20).header("cache-control", "max-age=60"));
    let (session, clock) = session();
    get(&session, &origin.url("/a"), &[("accept", "x")]).await;
    get(&session, &origin.url("/a"), &[("accept", "y")]).await;
    get(&session, &origin.url("/b"), &[("authorization", "one")]).await;
    get(&session, &origin.url("/hop"), &[]).await;
    assert_eq!(super::pattern_len(session.get(origin.url("/large")).send().await.unwrap()).await, Some(1 << 20));
    flushed(&session).await;
    let memory = |builder: hyper_client_cache_core::cache::MemoryCacheBuilder| {
        builder.clock(Arc::new(clock.clone())).build().unwrap()
    };
    let other = memory(MemoryCache::builder());
    for _ in 0..2 {
        let copied = session.cache().copy_to(&other).await.unwrap();
        assert_eq!((copied.responses, copied.skipped), (6, 0));
    }
    let count = origin.count();
    let second = builder(&clock).cache(other).build().unwrap();
    for (path, header) in
        [("/a", ("accept", "x")), ("/a", ("accept", "y")), ("/b", ("authorization", "one")), ("/hop", ("a", "b"))]
    {
        assert_eq!(get(&second, &origin.url(path), &[header]).await.outcome(), Outcome::Hit, "{path}");
    }
    let stored = second.cache().get_url(&origin.url("/large")).await.unwrap().unwrap();
    assert!(stored.is_in_parts());
    let mut checker = PatternChecker::new();
    let mut body = second.cache().body(&stored);
    while let Some(bytes) = body.try_next().await.unwrap() {
        assert!(checker.update(&bytes));
    }
    assert_eq!((checker.len(), origin.count()), (1 << 20, count));
    // An unsafe request still finds the partition.
    assert_eq!(second.cache().delete_url(&origin.url("/b")).await.unwrap(), 2);

    let small = memory(MemoryCache::builder().max_entry_len(100_000));
    let copied = session.cache().copy_to(&small).await.unwrap();
    assert_eq!((copied.responses, copied.skipped), (5, 1));
    assert_eq!(small.bodies().unwrap().size().await.unwrap(), 0, "nothing of what could not be copied stays");
}

/// A body that lost a part, and one that was replaced since it was listed, end in an error.
#[tokio::test]
async fn a_body_that_is_not_whole_is_an_error() {
    let origin = Origin::scripted().await;
    origin.on("/large", Answer::pattern(1 << 20).header("cache-control", "max-age=60"));
    origin.on("/a", [fresh("one"), fresh("two")]);
    let (session, clock) = session();
    assert_eq!(super::pattern_len(session.get(origin.url("/large")).send().await.unwrap()).await, Some(1 << 20));
    flushed(&session).await;
    let cache = session.cache();
    let stored = cache.get_url(&origin.url("/large")).await.unwrap().unwrap();
    let bodies = cache.bodies().unwrap();
    let part = bodies.keys().try_next().await.unwrap().unwrap();
    bodies.delete(&part).await.unwrap();
    let read = cache.body(&stored).try_collect::<Vec<_>>().await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Body);

    let url = origin.url("/a");
    get(&session, &url, &[]).await;
    let listed = found(&session, Filter::new().url(&url)).await;
    clock.advance(Duration::from_secs(1));
    session.get(&url).mode(Mode::Reload).send().await.unwrap().text().await.unwrap();
    let read = cache.body(&listed[0]).try_collect::<Vec<_>>().await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Body);
}

/// Case 75: nothing that is shown of what is stored has a secret in it.
#[tokio::test]
async fn what_is_shown_hides_secrets() {
    let origin = Origin::scripted().await;
    origin.on("/a", fresh("canary").header("set-cookie", "canary").header("x-a", "canary"));
    let (session, _) = session();
    let url = origin.url("/a?token=canary");
    get(&session, &url, &[("authorization", "canary")]).await;
    let stored = found(&session, Filter::new()).await;
    let shown = format!("{stored:?} {:?} {:?}", session.cache(), session);
    assert!(!shown.contains("canary"), "{shown}");
}
