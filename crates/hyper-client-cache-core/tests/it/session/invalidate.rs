//! What an unsafe request removes (RFC 9111 section 4.4).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use hyper_client_cache_core::cache::{Cache, MemoryCache, StorageCache};
use hyper_client_cache_core::policy::{Outcome, Settings};
use hyper_client_cache_core::storage::MemoryStorage;
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};
use hyper_client_cache_testkit::{FaultyStorage, ManualClock, Op};

use super::{builder, entries, eventually, faulty, flushed, get, see, session};

/// An origin whose GETs may be stored for a minute; the other methods are answered by `unsafe_answer`.
async fn origin(unsafe_answer: Answer) -> Origin {
    Origin::start(move |request: &Recorded| match request.method.as_str() {
        "GET" | "HEAD" => Answer::ok(request.target.clone()).header("cache-control", "max-age=60"),
        _ => unsafe_answer.clone(),
    })
    .await
}

async fn is_there(session: &CachedSession, url: &str) -> bool {
    let only = [("cache-control", "only-if-cached")];
    get(session, url, &only).await.outcome() == Outcome::Hit
}

/// Case 51: every method that is not known to be safe invalidates, with any status that is no error.
#[tokio::test]
async fn unsafe_methods_invalidate_and_safe_ones_do_not() {
    for status in [200, 201, 204, 303] {
        let origin = origin(Answer::status(status)).await;
        let (session, _) = session();
        let url = origin.url("/");
        for (method, invalidates) in [
            ("POST", true),
            ("PUT", true),
            ("PATCH", true),
            ("DELETE", true),
            ("PURGE", true),
            ("post", true),
            ("MKCOL", true),
            ("OPTIONS", false),
            ("TRACE", false),
            ("PROPFIND", false),
        ] {
            get(&session, &url, &[]).await;
            see(session.head(&url)).await;
            see(session.request(Method::from_bytes(method.as_bytes()).unwrap(), &url)).await;
            assert_eq!(is_there(&session, &url).await, !invalidates, "{method} {status}");
            let head = see(session.head(&url).header("cache-control", "only-if-cached")).await;
            assert_eq!(head.outcome() == Outcome::Hit, !invalidates, "HEAD after {method} {status}");
        }
    }
}

/// Case 51: all variants and all partitions, those of other sessions on the cache too.
#[tokio::test]
async fn all_variants_and_partitions_go() {
    let origin = Origin::start(|request: &Recorded| match request.method.as_str() {
        "GET" => Answer::ok("x").header("cache-control", "max-age=60").header("vary", "a"),
        _ => Answer::status(204),
    })
    .await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let make = |settings: Settings| CachedSession::builder().settings(settings).shared_cache(cache.clone());
    let one = make(Settings::default()).build().unwrap();
    let other = make(Settings::default().partition("tenant")).build().unwrap();
    let url = origin.url("/");
    let callers: [&[(&str, &str)]; 6] = [
        &[],
        &[("a", "1")],
        &[("authorization", "x")],
        &[("authorization", "y"), ("a", "1")],
        &[("cookie", "z")],
        &[("cookie", "z"), ("a", "2")],
    ];
    for unsafe_caller in [&[][..], &[("authorization", "x")], &[("authorization", "stranger")]] {
        for session in [&one, &other] {
            for headers in callers {
                assert_eq!(get(session, &url, headers).await.outcome(), Outcome::Miss);
                assert_eq!(get(session, &url, headers).await.outcome(), Outcome::Hit);
            }
        }
        get(&one, &origin.url("/elsewhere"), &[]).await;
        let request = unsafe_caller.iter().fold(one.post(&url), |request, (name, value)| request.header(*name, *value));
        see(request).await;
        one.layer().flush().await;
        // Only the other URL's index and response are left.
        assert_eq!(entries(&*cache).await.len(), 2, "{unsafe_caller:?}");
    }
}

/// Case 51: large bodies and redirects go too, with their parts.
#[tokio::test]
async fn parts_and_redirects_go_too() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let get_or = |answer: Answer| {
        move |request: &Recorded| if request.method == Method::GET { answer.clone() } else { Answer::status(204) }
    };
    origin.on("/large", get_or(Answer::pattern(600_000).header("cache-control", "max-age=60")));
    origin.on("/moved", get_or(Answer::redirect(301, "/end").header("cache-control", "max-age=60")));
    origin.on("/end", get_or(Answer::ok("x").header("cache-control", "no-store")));
    for path in ["/large", "/moved"] {
        get(&session, &origin.url(path), &[]).await;
        session.layer().flush().await;
        assert!(!entries(&**session.cache()).await.is_empty());
        see(session.delete(origin.url(path))).await;
        session.layer().flush().await;
        assert!(entries(&**session.cache()).await.is_empty(), "{path}");
    }
}

/// Case 52: an error invalidates nothing, be it the origin's or the connection's.
#[tokio::test]
async fn errors_invalidate_nothing() {
    for failure in [
        Answer::status(400),
        Answer::status(403),
        Answer::status(404),
        Answer::status(409),
        Answer::status(500),
        Answer::status(503),
        Answer::raw(""),
        Answer::raw("nonsense"),
    ] {
        let origin = origin(failure.header("location", "/other")).await;
        let (session, _) = session();
        for path in ["/", "/other"] {
            get(&session, &origin.url(path), &[]).await;
        }
        let _ = session.post(origin.url("/")).send().await;
        for path in ["/", "/other"] {
            assert!(is_there(&session, &origin.url(path)).await);
        }
    }
}

/// Cases 53 to 55: what the answer points to on the same origin goes too, however it is written; what is malformed or
/// elsewhere is passed over.
#[tokio::test]
async fn locations_on_the_same_origin_go_too() {
    let elsewhere = origin(Answer::status(204)).await;
    let long = format!("/{}", "x".repeat(64 * 1024));
    let other_port = elsewhere.url("/a/target");
    let cases: [(&[u8], bool); 19] = [
        (b"/a/target", true),
        (b"target", true),
        (b"./target#fragment", true),
        (b"../a/target", true),
        (b"/a/x/../target", true),
        (b"SAME/a/target", true),
        (b"SAME/a/target#fragment", true),
        (b"//HOST/a/target", true),
        (b"http://127.0.0.1/a/target", false),
        (b"http://127.0.0.1:1/a/target", false),
        (b"https://HOST/a/target", false),
        (b"http://localhost/a/target", false),
        (other_port.as_bytes(), false),
        (b"javascript:/a/target", false),
        (b"http://", false),
        (b"http://[::1/a/target", false),
        (b"/a/tar\tget", false),
        (b"/a/target\xff", false),
        (long.as_bytes(), false),
    ];
    for name in ["location", "content-location"] {
        for (written, goes) in cases {
            let origin = Origin::scripted().await;
            let host = origin.address().to_string();
            let text = written.iter().map(|byte| char::from(*byte)).collect::<String>();
            let text = text.replace("SAME", &format!("http://{host}")).replace("HOST", &host);
            let value: Vec<u8> = text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
            origin.on("/a/post", Answer::status(201).header(name, &value));
            origin.on("/a/target", Answer::ok("x").header("cache-control", "max-age=60"));
            let (session, _) = session();
            let url = origin.url("/a/target");
            get(&session, &url, &[]).await;
            get(&session, &other_port, &[]).await;
            see(session.post(origin.url("/a/post"))).await;
            assert_eq!(is_there(&session, &url).await, !goes, "{name}: {}", text.get(..80).unwrap_or(&text));
            assert!(is_there(&session, &other_port).await, "another origin's stays");
        }
    }
}

/// Case 56: what a GET that was on its way when a POST succeeded brings is not stored over the invalidation; and who
/// asks after the POST never gets the older answer.
#[tokio::test]
async fn a_get_on_its_way_is_not_stored_over_an_invalidation() {
    let (before_head, before_body) = (Gate::new(), Gate::new());
    let origin = Origin::scripted().await;
    let old = Answer::ok("old, ").header("cache-control", "max-age=60");
    let gets = [
        old.clone().after(&before_head).chunk("slow head"),
        old.gate(&before_body).chunk("slow body"),
        Answer::ok("new").header("cache-control", "max-age=60"),
    ];
    for (at, gate) in [(0, &before_head), (1, &before_body)] {
        let (session, _) = session();
        let url = origin.url("/");
        let (first, last) = (gets[at].clone(), gets[2].clone());
        let asked = std::sync::atomic::AtomicBool::new(false);
        origin.on("/", move |request: &Recorded| match request.method {
            Method::GET if !asked.swap(true, std::sync::atomic::Ordering::SeqCst) => first.clone(),
            Method::GET => last.clone(),
            _ => Answer::status(204),
        });
        let arrived = u64::try_from(origin.count()).unwrap() + 1;
        let slow = tokio::spawn({
            let (session, url) = (session.clone(), url.clone());
            async move { get(&session, &url, &[]).await }
        });
        origin.arrived(arrived).await;
        gate.arrived(1).await;
        see(session.post(&url)).await;
        // The older exchange is still on its way: this one does not wait for it.
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, "new"));
        gate.open();
        let slow = slow.await.unwrap();
        assert!(slow.text.starts_with("old, slow"), "its own caller still gets it");
        session.layer().flush().await;
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "new"));
    }
}

/// Case 56 for a revalidation: a 304 that was on its way does not bring back what was invalidated.
#[tokio::test]
async fn a_304_on_its_way_brings_nothing_back() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    let held = gate.clone();
    let first = Answer::ok("old").header("cache-control", "max-age=60").header("etag", "\"1\"");
    origin.on("/", move |request: &Recorded| match (&request.method, request.header("if-none-match")) {
        (&Method::POST, _) => Answer::status(204),
        (_, Some(_)) => Answer::not_modified().header("etag", "\"1\"").after(&held),
        _ => first.clone(),
    });
    let (session, clock) = session();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    clock.advance(std::time::Duration::from_secs(61));
    let slow = tokio::spawn({
        let (session, url) = (session.clone(), url.clone());
        async move { get(&session, &url, &[]).await }
    });
    origin.arrived(2).await;
    see(session.post(&url)).await;
    gate.open();
    assert_eq!(slow.await.unwrap().outcome(), Outcome::Revalidated);
    session.layer().flush().await;
    assert!(entries(&**session.cache()).await.is_empty());
}

/// Case 51 on a slow store: what is still on its way to the store is invalidated with the rest, whoever it is for.
#[tokio::test]
async fn what_is_on_its_way_to_the_store_is_invalidated_too() {
    let origin = origin(Answer::status(204)).await;
    let responses = FaultyStorage::new(MemoryStorage::default());
    let faults = responses.faults();
    let cache = StorageCache::new(responses, MemoryStorage::default());
    let session = builder(&ManualClock::new()).cache(cache).build().unwrap();
    let url = origin.url("/");
    let who = |who: &'static str| [("authorization", who)];
    get(&session, &url, &who("stored")).await;
    session.layer().flush().await;
    faults.hang_on(Op::Write);
    for caller in ["a", "b", "c"] {
        get(&session, &url, &who(caller)).await;
    }
    let all = ["stored", "a", "b", "c"];
    for caller in all {
        assert_eq!(get(&session, &url, &who(caller)).await.outcome(), Outcome::Hit, "{caller}");
    }
    let post = tokio::spawn(session.post(&url).send());
    eventually("the invalidation has begun", || session.stats().invalidated > 0).await;
    faults.release();
    post.await.unwrap().unwrap();
    session.layer().flush().await;
    for caller in all {
        assert!(!is_there_for(&session, &url, caller).await, "{caller}");
    }
    assert!(entries(&**session.cache()).await.is_empty());
}

/// The same for variants: all that were stored at once are in the index afterwards.
#[tokio::test]
async fn variants_that_are_stored_at_once_are_all_found() {
    let origin = Origin::start(|request: &Recorded| match request.method {
        Method::GET => Answer::ok("x").header("cache-control", "max-age=60").header("vary", "a"),
        _ => Answer::status(204),
    })
    .await;
    let responses = FaultyStorage::new(MemoryStorage::default());
    let faults = responses.faults();
    let cache = StorageCache::new(responses, MemoryStorage::default());
    let session = builder(&ManualClock::new()).cache(cache).build().unwrap();
    let url = origin.url("/");
    faults.hang_on(Op::Write);
    let values = ["1", "2", "3", "4"];
    let one = |value: &'static str| {
        let (session, url) = (session.clone(), url.clone());
        tokio::spawn(async move { get(&session, &url, &[("a", value)]).await })
    };
    let tasks: Vec<_> = values.into_iter().map(one).collect();
    for task in tasks {
        task.await.unwrap();
    }
    faults.release();
    session.layer().flush().await;
    for value in values {
        assert_eq!(get(&session, &url, &[("a", value)]).await.outcome(), Outcome::Hit, "{value}");
    }
    see(session.post(&url)).await;
    session.layer().flush().await;
    assert!(entries(&**session.cache()).await.is_empty());
}

async fn is_there_for(session: &CachedSession, url: &str, who: &str) -> bool {
    get(session, url, &[("authorization", who), ("cache-control", "only-if-cached")]).await.outcome() == Outcome::Hit
}

/// An unsafe request that gets no answer is an error, and nothing else.
#[tokio::test]
async fn an_unsafe_request_to_nobody_is_an_error() {
    let origin = Origin::scripted().await;
    let url = origin.url("/");
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60"));
    let (session, _) = session();
    get(&session, &url, &[]).await;
    origin.finish().await;
    assert!(matches!(session.post(&url).send().await.unwrap_err().kind(), ErrorKind::Connect | ErrorKind::Transport));
    assert!(is_there(&session, &url).await);
}

/// Decision 0015: that another session may have stored by `No-Vary-Search` costs an unsafe request one read more, which is
/// under way at the same time as the others: two keys of the URL, the list of the others, and the rule of its path.
#[tokio::test]
async fn what_an_unsafe_request_reads_it_reads_at_once() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60"));
    let clock = ManualClock::new();
    let (cache, responses, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    get(&session, &origin.url("/"), &[]).await;
    flushed(&session).await;
    let before = responses.calls(Op::Read);
    responses.hang_on(Op::Read);
    let mut post = std::pin::pin!(session.post(origin.url("/")).send());
    tokio::select! {
        _ = &mut post => panic!("it did not wait for the store"),
        () = responses.until_hanging(4) => {}
    }
    responses.release();
    post.await.unwrap();
    assert_eq!(
        responses.calls(Op::Read) - before,
        4 + 2,
        "and each of the two as it is removed, for the parts of its body"
    );
    assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Miss);
}

/// Case 58: where the index of a URL cannot be read when it is invalidated, its variants do not come back with a later one,
/// whichever call fails while that is stored.
#[tokio::test]
async fn variants_that_could_not_be_found_do_not_come_back() {
    for nth in 1..24 {
        let version = Arc::new(AtomicUsize::new(1));
        let said = version.clone();
        let origin = Origin::start(move |_: &Recorded| {
            let answer = Answer::ok(said.load(Ordering::SeqCst).to_string());
            answer.header("vary", "accept-language").header("cache-control", "max-age=60")
        })
        .await;
        let clock = ManualClock::new();
        let (cache, responses, _) = faulty(&clock);
        let session = builder(&clock).cache(cache).build().unwrap();
        let ask = async |language| get(&session, &origin.url("/"), &[("accept-language", language)]).await.text;
        for language in ["de", "en"] {
            assert_eq!(ask(language).await, "1");
        }
        flushed(&session).await;
        responses.fail_on(Op::Read);
        session.post(origin.url("/")).send().await.unwrap();
        version.store(2, Ordering::SeqCst);
        responses.heal();
        responses.fail_nth(nth);
        for language in ["de", "en", "de", "en"] {
            assert_eq!(ask(language).await, "2", "call {nth} fails");
            flushed(&session).await;
        }
    }
}
