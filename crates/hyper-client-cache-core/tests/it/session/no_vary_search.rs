//! Responses that answer several URLs, because their origin says so (feature 49).

use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{Cache, CacheExt, MemoryCache};
use hyper_client_cache_core::key::Matching;
use hyper_client_cache_core::policy::{BeforeStore, Mode, Outcome, Settings, UrlRule};
use hyper_client_cache_core::session::SessionBuilder;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};
use hyper_client_cache_testkit::{ManualClock, Op};

use super::{builder, entries, eventually, faulty, get, see};

const HIT: Outcome = Outcome::Hit;
const MISS: Outcome = Outcome::Miss;

/// An origin that says `line` of its queries, and answers with what it was asked.
async fn origin(line: &'static str) -> Origin {
    Origin::start(move |request: &Recorded| Answer::ok(request.target.clone()).header("no-vary-search", line)).await
}

fn session() -> CachedSession {
    builder(&ManualClock::new()).no_vary_search(true).build().unwrap()
}

fn sharing(cache: &Arc<dyn Cache>, options: impl FnOnce(SessionBuilder) -> SessionBuilder) -> CachedSession {
    options(builder(&ManualClock::new()).shared_cache(cache.clone()).no_vary_search(true)).build().unwrap()
}

async fn answers(session: &CachedSession, origin: &Origin, targets: &[&str]) -> Vec<(Outcome, String)> {
    let mut answers = Vec::new();
    for target in targets {
        let seen = get(session, &origin.url(target), &[]).await;
        answers.push((seen.outcome(), seen.text));
    }
    answers
}

async fn outcomes(session: &CachedSession, origin: &Origin, targets: &[&str]) -> Vec<Outcome> {
    answers(session, origin, targets).await.into_iter().map(|(outcome, _)| outcome).collect()
}

/// Feature 49: a response answers the URLs that differ only in what its origin says does not matter.
#[tokio::test]
async fn a_response_answers_urls_that_differ_in_nothing_that_matters() {
    for (line, targets, expected) in [
        ("params=(\"utm\")", ["/?a=1&utm=x", "/?a=1", "/?utm=y&a=1&utm=z", "/?a=2"], [MISS, HIT, HIT, MISS]),
        ("params, except=(\"a\")", ["/?a=1&utm=x", "/?a=1&b", "/?a=2&b", "/?b"], [MISS, HIT, MISS, MISS]),
        ("params", ["/?a=1", "/?b", "/", "/other"], [MISS, HIT, HIT, MISS]),
        ("key-order", ["/?a=1&b=2", "/?b=2&a=1", "/?b=2&a=1&a=2", "/?a=2&b=2&a=1"], [MISS, HIT, MISS, MISS]),
    ] {
        let (origin, session) = (origin(line).await, session());
        assert_eq!(outcomes(&session, &origin, &targets).await, expected, "{line}");
        assert_eq!(outcomes(&session, &origin, &targets).await, [HIT; 4], "{line}");
    }
}

/// Feature 49: what is malformed is as if it were not there.
#[tokio::test]
async fn a_malformed_field_merges_nothing() {
    for line in
        ["params=(utm)", "params=(\"utm\"", "except=(\"a\")", "params=\"utm\"", "params=(\"utm\"), except=(\"a\")"]
    {
        let (origin, session) = (origin(line).await, session());
        assert_eq!(outcomes(&session, &origin, &["/?utm=x", "/?utm=y", "/?utm=x"]).await, [MISS, MISS, HIT], "{line}");
    }
}

/// Feature 49: off by default, and what is stored with it is found without it under its own URL only, and the reverse.
#[tokio::test]
async fn it_is_asked_for_by_session_rule_or_request() {
    let origin = origin("params=(\"utm\")").await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let on = sharing(&cache, |builder| builder);
    let off = sharing(&cache, |builder| builder.no_vary_search(false));
    assert_eq!(outcomes(&off, &origin, &["/?utm=1", "/?utm=2"]).await, [MISS, MISS]);
    // Stored by who does not believe it, so that it is not listed.
    assert_eq!(outcomes(&on, &origin, &["/?utm=1", "/?utm=3", "/?utm=4"]).await, [HIT, MISS, HIT]);
    assert_eq!(outcomes(&off, &origin, &["/?utm=3", "/?utm=4"]).await, [HIT, MISS]);
    assert_eq!(off.stats().mismatched, 0);

    let asking = see(off.get(origin.url("/?utm=5")).matching(Matching::default().no_vary_search(true))).await;
    assert_eq!(asking.outcome(), HIT);
    let rule = UrlRule::glob("*").matching(Matching::default().no_vary_search(true));
    let by_rule = sharing(&cache, |builder| builder.settings(Settings::default().rule(rule)));
    assert_eq!(outcomes(&by_rule, &origin, &["/?utm=6"]).await, [HIT]);
}

/// Cases 4, 5, 6, 27 and 36: another's response is never the answer, whatever the origin says of the query.
#[tokio::test]
async fn callers_and_partitions_never_meet() {
    let origin = Origin::start(|request: &Recorded| {
        let who = |name| request.header(name).unwrap_or("-").to_owned();
        Answer::ok(["authorization", "cookie", "x-api-key"].map(who).join(" "))
            .header("no-vary-search", "params")
            .header("cache-control", "max-age=60")
    })
    .await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let callers: [&[(&str, &str)]; 6] = [
        &[],
        &[("authorization", "a")],
        &[("authorization", "b")],
        &[("cookie", "a")],
        &[("cookie", "b")],
        &[("x-api-key", "a")],
    ];
    let (one, other) = (sharing(&cache, |one| one), sharing(&cache, |other| other));
    let mut seen = Vec::new();
    for (at, caller) in callers.iter().enumerate() {
        let first = get(&one, &origin.url(&format!("/?a={at}")), caller).await;
        assert_eq!(first.outcome(), MISS, "{caller:?}");
        seen.push(first.text);
    }
    for (at, caller) in callers.iter().enumerate() {
        let again = get(&other, &origin.url(&format!("/?b={at}")), caller).await;
        assert_eq!((again.outcome(), &again.text), (HIT, &seen[at]), "{caller:?}");
    }
    let tenant = sharing(&cache, |builder| builder.settings(Settings::default().partition("x")).no_vary_search(true));
    assert_eq!(outcomes(&tenant, &origin, &["/?c", "/?d"]).await, [MISS, HIT]);
    // User information is a credential.
    let url = origin.url("/?e");
    let with_user = url.replace("http://", "http://u:p@");
    assert_eq!(get(&sharing(&cache, |one| one), &with_user, &[]).await.outcome(), MISS);
}

/// Feature 49 and cases 74 and 78: a secret in the query counts, whatever the origin says, and is not stored.
#[tokio::test]
async fn a_secret_in_the_query_counts_all_the_same() {
    let (origin, session) = (origin("params").await, session());
    let targets = ["/?token=canary-1&a", "/?token=canary-2&a", "/?b&token=canary-1", "/?%2574oken=canary-1"];
    assert_eq!(outcomes(&session, &origin, &targets).await, [MISS, MISS, HIT, MISS]);
    session.layer().flush().await;
    for (key, entry) in entries(&**session.cache()).await {
        assert!(!String::from_utf8_lossy(&entry.head).contains("canary"), "{key}");
    }
}

/// Feature 49 with 38 and 39: each variant answers all the URLs.
#[tokio::test]
async fn variants_answer_other_urls_too() {
    let origin = Origin::start(|request: &Recorded| {
        let language = request.header("accept-language").unwrap_or("-").to_owned();
        Answer::ok(language).header("no-vary-search", "params").header("vary", "accept-language")
    })
    .await;
    let session = session();
    for (target, language, outcome) in [
        ("/?1", "de", MISS),
        ("/?2", "de", HIT),
        ("/?2", "en", MISS),
        ("/?3", "en", HIT),
        ("/?3", "de", HIT),
        ("/?1", "en", HIT),
        ("/?1", "fr", MISS),
        ("/?4", "fr", HIT),
    ] {
        let seen = get(&session, &origin.url(target), &[("accept-language", language)]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (outcome, language), "{target}");
    }
    assert_eq!(session.stats().mismatched, 0);
}

/// Case 51, feature 98: an unsafe request to one of the URLs removes what answers it, in every partition, whoever sends it.
#[tokio::test]
async fn an_unsafe_request_removes_what_answers_its_url() {
    let origin = origin("params=(\"utm\")").await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let session = sharing(&cache, |builder| builder);
    let plain = builder(&ManualClock::new()).shared_cache(cache.clone()).build().unwrap();
    let callers: [&[(&str, &str)]; 2] = [&[], &[("authorization", "a")]];
    for sender in [&session, &plain] {
        for caller in callers {
            get(&session, &origin.url("/?a=1&utm=1"), caller).await;
            get(&session, &origin.url("/?a=2&utm=1"), caller).await;
        }
        sender.post(origin.url("/?a=1&utm=2")).send().await.unwrap();
        for caller in callers {
            let seen = get(&session, &origin.url("/?a=1&utm=1"), caller).await;
            assert_eq!(seen.outcome(), MISS, "{caller:?}");
            assert_eq!(get(&session, &origin.url("/?a=2&utm=3"), caller).await.outcome(), HIT, "another resource");
        }
        session.cache().clear().await.unwrap();
    }
}

/// Case 56: what was asked for before an unsafe request to one of the URLs does not answer another after it.
#[tokio::test]
async fn what_is_under_way_is_not_listed_after_an_unsafe_request() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request: &Recorded| {
        let answer = Answer::ok(request.target.clone()).header("no-vary-search", "params");
        if request.target == "/?slow" { answer.after(&held) } else { answer }
    })
    .await;
    let session = session();
    let (one, url) = (session.clone(), origin.url("/?slow"));
    let slow = tokio::spawn(async move { get(&one, &url, &[]).await.outcome() });
    gate.arrived(1).await;
    session.post(origin.url("/?other")).send().await.unwrap();
    gate.open();
    assert_eq!(slow.await.unwrap(), MISS);
    assert_eq!(outcomes(&session, &origin, &["/?other"]).await, [MISS]);
    assert_eq!(outcomes(&session, &origin, &["/?third"]).await, [HIT]);
}

/// Feature 49: the last rule of a path counts; under its own URL each response is found all the same.
#[tokio::test]
async fn another_rule_takes_the_place_of_the_first() {
    let origin = Origin::start(|request: &Recorded| {
        let answer = Answer::ok(request.target.clone());
        match request.target.as_str() {
            "/?utm=1" => answer.header("no-vary-search", "params=(\"utm\")"),
            "/?ref=1" => answer.header("no-vary-search", "params=(\"ref\")"),
            _ => answer,
        }
    })
    .await;
    let session = session();
    assert_eq!(outcomes(&session, &origin, &["/?utm=1", "/?utm=2", "/?ref=1"]).await, [MISS, HIT, MISS]);
    assert_eq!(outcomes(&session, &origin, &["/?utm=1", "/?ref=1", "/?ref=2"]).await, [HIT, HIT, HIT]);
    // Neither of them is an answer to this one any more: it is asked for, and says nothing itself.
    assert_eq!(outcomes(&session, &origin, &["/?utm=2", "/?utm=2", "/?utm=3"]).await, [MISS, HIT, MISS]);
    assert_eq!(session.stats().mismatched, 0);
}

/// Features 107 to 111: what answers several URLs is revalidated for all, unless the 304 says that it does not any more.
#[tokio::test]
async fn a_304_renews_what_answers_several_urls() {
    for changed in [false, true] {
        let origin = Origin::start(move |request: &Recorded| {
            let line = if changed && request.target == "/?c" { "params=(\"x\")" } else { "params" };
            let answer = match request.header("if-none-match") {
                Some(_) => Answer::not_modified(),
                None => Answer::ok(request.target.clone()),
            };
            answer.header("no-vary-search", line).etag("\"1\"").header("cache-control", "max-age=10")
        })
        .await;
        let clock = ManualClock::new();
        let session = builder(&clock).no_vary_search(true).build().unwrap();
        assert_eq!(outcomes(&session, &origin, &["/?a", "/?b"]).await, [MISS, HIT]);
        clock.advance(Duration::from_secs(11));
        let confirmed = answers(&session, &origin, &["/?c"]).await;
        assert_eq!(confirmed, [(Outcome::Revalidated, "/?a".to_owned())]);
        let after = outcomes(&session, &origin, &["/?d", "/?a"]).await;
        assert_eq!(after, if changed { [MISS, HIT] } else { [HIT, HIT] }, "changed: {changed}");
    }
}

/// Features 117 to 123: it is served stale as any other, with one refresh for all URLs.
#[tokio::test]
async fn a_stale_answer_is_refreshed_once_for_all_urls() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request: &Recorded| {
        let answer = Answer::ok("a").header("no-vary-search", "params");
        let answer = answer.header("cache-control", "max-age=10, stale-while-revalidate=100");
        if request.target == "/?a" { answer } else { answer.after(&held) }
    })
    .await;
    let clock = ManualClock::new();
    let session = builder(&clock).no_vary_search(true).build().unwrap();
    assert_eq!(outcomes(&session, &origin, &["/?a"]).await, [MISS]);
    clock.advance(Duration::from_secs(11));
    assert_eq!(outcomes(&session, &origin, &["/?b", "/?c", "/?d"]).await, [Outcome::Stale; 3]);
    gate.arrived(1).await;
    gate.open();
    eventually("it is refreshed", || origin.count_of("/") == 2 && session.layer().in_flight() == 0).await;
    assert_eq!(outcomes(&session, &origin, &["/?e", "/?b", "/?c"]).await, [HIT, HIT, HIT]);
    assert_eq!(origin.count_of("/"), 2);
}

/// Feature 46: a HEAD is answered by a GET of another URL.
#[tokio::test]
async fn a_head_is_answered_by_what_answers_the_get() {
    let (origin, session) = (origin("params").await, session());
    get(&session, &origin.url("/?a"), &[]).await;
    assert!(session.head(origin.url("/?b")).send().await.unwrap().from_cache());
    assert_eq!(origin.count_of("/"), 1);
}

/// Features 164, 168 and B1: looking, deleting and explaining go by it as requests do, and say so.
#[tokio::test]
async fn looking_into_the_cache_goes_by_it_too() {
    let (origin, session) = (origin("params=(\"utm\")").await, session());
    let (stored, other) = (origin.url("/?a=1&utm=1"), origin.url("/?a=1"));
    get(&session, &stored, &[]).await;
    let told = session.explain(&session.get(&other).build().unwrap()).await.unwrap();
    assert_eq!((told.outcome, told.by_no_vary_search), (HIT, true));
    assert!(told.to_string().contains("of another URL"), "{told}");
    assert!(!session.explain(&session.get(&stored).build().unwrap()).await.unwrap().by_no_vary_search);

    let cache = session.cache();
    assert!(cache.has_url(&other).await.unwrap() && !cache.has_url(&origin.url("/?a=2")).await.unwrap());
    assert_eq!(cache.get_url(&other).await.unwrap().unwrap().url(), stored);
    assert_eq!(told.key, Some(*cache.get_url(&stored).await.unwrap().unwrap().key()));
    assert_eq!(cache.delete_url(&other).await.unwrap(), 1);
    assert!(!cache.has_url(&stored).await.unwrap());
    assert_eq!(outcomes(&session, &origin, &["/?a=1&utm=1"]).await, [MISS]);
    let request = session.get(&other).build().unwrap();
    assert!(session.cache().delete(&request).await.unwrap());
    assert_eq!(outcomes(&session, &origin, &["/?a=1"]).await, [MISS]);
}

/// Feature 49: a mode that reads nothing still lists what it stores with what is there, and one that writes nothing
/// lists nothing.
#[tokio::test]
async fn modes_go_by_it() {
    let (origin, session) = (origin("params").await, session());
    let with = |target: &str, mode| see(session.get(origin.url(target)).mode(mode));
    with("/?a", Mode::ReadOnly).await;
    assert_eq!(outcomes(&session, &origin, &["/?b"]).await, [MISS]);
    assert_eq!(with("/?c", Mode::Reload).await.outcome(), MISS);
    let seen = get(&session, &origin.url("/?d"), &[]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (HIT, "/?c"), "the newest of them");
    assert_eq!(with("/?e", Mode::OnlyIfCached).await.outcome(), HIT);
    session.offline(true);
    assert!(get(&session, &origin.url("/?f"), &[]).await.info.from_cache());
}

/// Case 34 and feature 70: what is taken out of the stored response does not count.
#[tokio::test]
async fn who_takes_the_field_out_of_what_is_stored_does_not_go_by_it() {
    let origin = origin("params").await;
    let change = BeforeStore::new(|_, headers| {
        headers.remove("no-vary-search");
    });
    let session = builder(&ManualClock::new()).no_vary_search(true).before_store(change).build().unwrap();
    assert_eq!(outcomes(&session, &origin, &["/?a", "/?b", "/?a"]).await, [MISS, MISS, HIT]);
}

/// P1: one look-up for a hit under its own URL, with and without; a miss costs more only where it is asked for.
#[tokio::test]
async fn a_hit_is_one_look_up() {
    let origin = origin("params").await;
    for on in [false, true] {
        let clock = ManualClock::new();
        let (cache, faults, _) = faulty(&clock);
        let session = builder(&clock).cache(cache).no_vary_search(on).build().unwrap();
        assert_eq!(outcomes(&session, &origin, &["/?a"]).await, [MISS]);
        let before = faults.calls(Op::Read);
        assert_eq!(outcomes(&session, &origin, &["/?a"]).await, [HIT]);
        assert_eq!(faults.calls(Op::Read) - before, 1, "on: {on}");
        if on {
            let before = faults.calls(Op::Read);
            assert_eq!(outcomes(&session, &origin, &["/?b"]).await, [HIT]);
            assert_eq!(faults.calls(Op::Read) - before, 4, "its own, the rule, the list, the other's");
        }
    }
}

/// Case 58: where the store fails to say what is listed, an unsafe request leaves nothing that could be found.
#[tokio::test]
async fn a_store_that_fails_leaves_nothing_outdated() {
    let origin = origin("params").await;
    let clock = ManualClock::new();
    let (cache, faults, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).no_vary_search(true).build().unwrap();
    get(&session, &origin.url("/?a"), &[]).await;
    session.layer().flush().await;
    faults.fail_all();
    session.post(origin.url("/?b")).send().await.unwrap();
    faults.heal();
    assert_eq!(outcomes(&session, &origin, &["/?b"]).await, [MISS]);
}

/// Feature 173: what is copied to another cache answers there too.
#[tokio::test]
async fn a_copy_answers_as_well() {
    let (origin, session) = (origin("params").await, session());
    get(&session, &origin.url("/?a"), &[]).await;
    session.layer().flush().await;
    let copy = MemoryCache::default();
    CacheExt::copy_to(&**session.cache(), &copy).await.unwrap();
    let other = builder(&ManualClock::new()).cache(copy).no_vary_search(true).build().unwrap();
    assert_eq!(outcomes(&other, &origin, &["/?b"]).await, [HIT]);
}
