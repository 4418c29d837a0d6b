//! Other keys for what is stored, after a change of the settings of matching (feature 50).

use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{Cache, Filter, MemoryCache};
use hyper_client_cache_core::error::ErrorKind;
use hyper_client_cache_core::key::{Matching, NamePattern};
use hyper_client_cache_core::layer::Rekeyed;
use hyper_client_cache_core::policy::{Outcome, Settings, UrlRule};
use hyper_client_cache_testkit::origin::{Answer, Origin, Recorded};
use hyper_client_cache_testkit::{ManualClock, Op};

use super::{builder, entries, faulty, flushed, get, pattern_len, see};

const HIT: Outcome = Outcome::Hit;
const MISS: Outcome = Outcome::Miss;

fn with(matching: Matching) -> Settings {
    Settings::default().matching(matching)
}

fn session(cache: &Arc<dyn Cache>, settings: Settings) -> CachedSession {
    builder(&ManualClock::new()).shared_cache(cache.clone()).settings(settings).build().unwrap()
}

fn counts(rekeyed: Rekeyed) -> [u64; 3] {
    [rekeyed.moved, rekeyed.outdated, rekeyed.skipped]
}

async fn echo() -> Origin {
    Origin::start(|request: &Recorded| {
        let answer = Answer::ok(format!("{} {}", request.target, request.header("authorization").unwrap_or("-")));
        match request.path() {
            "/vary" => answer.header("vary", "accept-language"),
            "/from" => Answer::redirect(301, "/to").header("cache-control", "max-age=60"),
            _ => answer,
        }
    })
    .await
}

/// Feature 50: what was stored before a change is found after it, with nothing left in the old place; doing it again
/// changes nothing.
#[tokio::test]
async fn what_was_stored_by_other_settings_is_found_again() {
    let origin = echo().await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let before = with(Matching::default());
    let old = session(&cache, before.clone());
    for target in ["/?b=1&a=2", "/?b=2&utm=x", "/from?z&y", "/to"] {
        get(&old, &origin.url(target), &[]).await;
    }
    for language in ["de", "en"] {
        get(&old, &origin.url("/vary?b&a"), &[("accept-language", language)]).await;
    }
    let asked = origin.count();
    let new = session(&cache, with(Matching::default().sort_query(true).ignored_params(["utm"])));
    assert_eq!(counts(new.cache().rekey(&before).await.unwrap()), [6, 0, 0]);
    assert_eq!(counts(new.cache().rekey(&before).await.unwrap()), [0, 0, 0]);
    for (target, text) in
        [("/?a=2&b=1", "/?b=1&a=2 -"), ("/?utm=y&b=2", "/?b=2&utm=x -"), ("/from?y&z", "/to -"), ("/to", "/to -")]
    {
        let seen = get(&new, &origin.url(target), &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (HIT, text), "{target}");
    }
    for language in ["de", "en"] {
        let seen = get(&new, &origin.url("/vary?a&b"), &[("accept-language", language)]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (HIT, "/vary?b&a -"));
    }
    assert_eq!(origin.count(), asked);
    assert_eq!(new.cache().count(Filter::new()).await.unwrap(), 6, "each once");
    assert_eq!(new.stats().mismatched, 0);
    // An unsafe request of whoever knows nothing of these settings removes what has moved too.
    old.post(origin.url("/?b=1&a=2")).send().await.unwrap();
    assert_eq!(get(&old, &origin.url("/?b=1&a=2"), &[]).await.outcome(), MISS);
}

/// Feature 50: what cannot be told from a record is left alone and counted: another caller's, a body's, another's options.
#[tokio::test]
async fn what_cannot_be_told_is_left_alone() {
    let origin = echo().await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let before =
        with(Matching::default().ignored_params(["trace"])).allowed_methods([http::Method::GET, http::Method::POST]);
    let old = session(&cache, before.clone());
    get(&old, &origin.url("/a?b&a"), &[("authorization", "canary")]).await;
    get(&old, &origin.url("/b?b&a"), &[("cookie", "canary")]).await;
    get(&old, &origin.url("/c?trace=1&a"), &[]).await;
    get(&old, &origin.url("/d?token=canary"), &[]).await;
    see(old.post(origin.url("/e")).body("canary")).await;
    see(old.get(origin.url("/f?b&a")).partition("canary")).await;
    see(old.get(origin.url("/g?b&a")).matching(Matching::default().match_headers(["x"]))).await;
    flushed(&old).await;
    let stored = entries(&*cache).await;

    let new = session(&cache, before.clone().matching(Matching::default().sort_query(true)));
    assert_eq!(counts(new.cache().rekey(&before).await.unwrap()), [0, 0, 7]);
    let left = entries(&*cache).await;
    assert_eq!(left.len(), stored.len());
    assert!(left.iter().all(|entry| stored.iter().any(|old| old.0 == entry.0 && old.1.head == entry.1.head)));
    for target in ["/a?a&b", "/b?a&b", "/f?a&b"] {
        let seen = get(&new, &origin.url(target), &[]).await;
        assert_eq!(seen.outcome(), MISS, "{target}");
    }
    let seen = get(&old, &origin.url("/a?b&a"), &[("authorization", "canary")]).await;
    assert_eq!(seen.outcome(), HIT, "still its caller's");
}

/// Features 49 and 50: what answers several URLs of its path does so by the new settings too, and goes with an unsafe
/// request to any of them.
#[tokio::test]
async fn what_answers_several_urls_goes_on_doing_so() {
    let origin = Origin::start(|request: &Recorded| {
        let line = if request.path() == "/vary" { "accept-language" } else { "x-none" };
        Answer::ok(request.target.clone()).header("no-vary-search", "params=(\"utm\")").header("vary", line)
    })
    .await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let believing = || Matching::default().no_vary_search(true);
    let before = with(believing());
    let old = session(&cache, before.clone());
    let blind = session(&cache, with(Matching::default()));
    for path in ["/", "/posted", "/vary"] {
        get(&old, &origin.url(&format!("{path}?b=1&a=2&utm=x")), &[]).await;
    }
    // Stored by who does not believe it: it may have missed what was done to the other URLs.
    get(&blind, &origin.url("/?b=3&a=4&utm=x"), &[]).await;
    flushed(&blind).await;
    let asked = origin.count();
    let new = session(&cache, with(believing().sort_query(true)));
    assert_eq!(counts(new.cache().rekey(&before).await.unwrap()), [4, 0, 0]);
    for (target, text) in [
        ("/?utm=y&a=2&b=1", "/?b=1&a=2&utm=x"),
        ("/?a=2&b=1", "/?b=1&a=2&utm=x"),
        ("/vary?a=2&utm=z&b=1", "/vary?b=1&a=2&utm=x"),
        ("/?a=4&b=3&utm=x", "/?b=3&a=4&utm=x"),
    ] {
        let seen = get(&new, &origin.url(target), &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (HIT, text), "{target}");
    }
    assert_eq!(origin.count(), asked);
    assert_eq!(get(&new, &origin.url("/?a=4&b=3&utm=y"), &[]).await.outcome(), MISS, "it was in no list");

    new.post(origin.url("/posted?a=2&b=1&utm=other")).send().await.unwrap();
    for target in ["/posted?b=1&a=2&utm=x", "/posted?a=2&b=1"] {
        let seen = get(&new, &origin.url(target), &[("cache-control", "only-if-cached")]).await;
        assert_eq!(seen.status, 504, "{target}");
    }
    // By settings that believe nothing of it, it is found under its own URL, and answers no other.
    let sorting = with(Matching::default().sort_query(true));
    let plain = session(&cache, sorting);
    assert_eq!(get(&plain, &origin.url("/?utm=x&a=2&b=1"), &[]).await.outcome(), HIT);
    assert_eq!(get(&plain, &origin.url("/?utm=q&a=2&b=1"), &[]).await.outcome(), MISS);
}

/// Feature 50: a newer response by the present settings stays, and the older goes.
#[tokio::test]
async fn a_newer_response_keeps_its_place() {
    let origin = Origin::start(|request: &Recorded| Answer::ok(request.target.clone())).await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let (before, after) = (with(Matching::default()), with(Matching::default().sort_query(true)));
    let clock = ManualClock::new();
    let make =
        |settings: &Settings| builder(&clock).shared_cache(cache.clone()).settings(settings.clone()).build().unwrap();
    let (old, new) = (make(&before), make(&after));
    get(&old, &origin.url("/?b&a"), &[]).await;
    clock.advance(Duration::from_secs(1));
    get(&new, &origin.url("/?a&b"), &[]).await;
    clock.advance(Duration::from_secs(1));
    get(&old, &origin.url("/x?b&a"), &[]).await;
    clock.advance(Duration::from_secs(1));
    get(&old, &origin.url("/x?a&b"), &[]).await;
    let rekeyed = new.cache().rekey(&before).await.unwrap();
    // Which of the two that become one comes first, nobody knows.
    assert!(rekeyed.moved + rekeyed.outdated == 3 && rekeyed.outdated > 0 && rekeyed.skipped == 0, "{rekeyed:?}");
    for target in ["/?b&a", "/x?b&a"] {
        assert_eq!(get(&new, &origin.url(target), &[]).await.text, target.replace("b&a", "a&b"));
    }
    assert_eq!(new.cache().count(Filter::new()).await.unwrap(), 2);
}

/// Feature 50: settings by URL count, before and after, and the secret may change.
#[tokio::test]
async fn rules_and_the_secret_count() {
    let origin = echo().await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let rule = |glob: &str| UrlRule::glob(format!("*{glob}")).matching(Matching::default().sort_query(true));
    let before = Settings::default().rule(rule("/a")).secret(b"one".to_vec());
    let after = Settings::default().rule(rule("/b")).secret(b"two".to_vec());
    let (old, new) = (session(&cache, before.clone()), session(&cache, after));
    for target in ["/a?b&a", "/b?b&a", "/c?b&a"] {
        get(&old, &origin.url(target), &[]).await;
    }
    assert_eq!(counts(new.cache().rekey(&before).await.unwrap()), [2, 0, 0]);
    for (target, outcome) in [("/a?b&a", HIT), ("/a?a&b", MISS), ("/b?a&b", HIT), ("/c?b&a", HIT)] {
        assert_eq!(get(&new, &origin.url(target), &[]).await.outcome(), outcome, "{target}");
    }
}

/// Feature 50: a body in parts comes along, and leaves nothing behind.
#[tokio::test]
async fn a_body_in_parts_comes_along() {
    let len = 700 * 1024;
    let origin = Origin::start(move |_: &Recorded| Answer::pattern(len)).await;
    let clock = ManualClock::new();
    let (cache, _, _) = faulty(&clock);
    let session = builder(&clock).cache(cache).build().unwrap();
    let before = session.settings();
    assert_eq!(pattern_len(session.get(origin.url("/?b&a")).send().await.unwrap()).await, Some(len));
    flushed(&session).await;
    let parts = session.cache().bodies().unwrap().size().await.unwrap();
    session.update_settings(|settings| settings.matching(Matching::default().sort_query(true))).unwrap();
    assert_eq!(counts(session.cache().rekey(&before).await.unwrap()), [1, 0, 0]);
    assert_eq!(session.cache().bodies().unwrap().size().await.unwrap(), parts);
    let response = session.get(origin.url("/?a&b")).send().await.unwrap();
    assert!(response.from_cache());
    assert_eq!(pattern_len(response).await, Some(len));
}

/// Feature 50: wherever the store fails in between, nothing is lost, and doing it again goes on.
#[tokio::test]
async fn nothing_is_lost_where_it_ends_in_between() {
    let origin = echo().await;
    let before = with(Matching::default());
    let targets = ["/?b=1&a=2", "/vary?b&a", "/x?b&a"];
    let mut nth = 0;
    loop {
        nth += 1;
        let clock = ManualClock::new();
        let (cache, faults, _) = faulty(&clock);
        let cache: Arc<dyn Cache> = Arc::new(cache);
        let old = builder(&clock).shared_cache(cache.clone()).build().unwrap();
        for target in targets {
            get(&old, &origin.url(target), &[]).await;
        }
        flushed(&old).await;
        let after = with(Matching::default().sort_query(true));
        let new = builder(&clock).shared_cache(cache.clone()).settings(after).build().unwrap();
        let calls = |faults: &hyper_client_cache_testkit::Faults| {
            let ops = [Op::Read, Op::ReadMany, Op::Contains, Op::Write, Op::Delete, Op::DeleteMany, Op::Heads];
            ops.map(|op| faults.calls(op)).iter().sum::<u64>()
        };
        let so_far = calls(&faults);
        faults.fail_nth(nth);
        let first = new.cache().rekey(&before).await;
        let is_over = calls(&faults) - so_far < nth;
        faults.heal();
        flushed(&new).await;
        let left = new.cache().count(Filter::new()).await.unwrap();
        assert!(left >= targets.len() as u64, "{left} are left after {nth} calls");
        let again = new.cache().rekey(&before).await.unwrap();
        assert_eq!(again.skipped, 0, "{first:?} {again:?} after {nth} calls");
        for target in ["/?a=2&b=1", "/vary?a&b", "/x?a&b"] {
            assert_eq!(get(&new, &origin.url(target), &[]).await.outcome(), HIT, "{target} after {nth} calls");
        }
        if is_over {
            assert!(first.is_ok() && nth > 10, "{first:?} after {nth} calls");
            break;
        }
    }
}

/// Case 56: what is invalidated while it moves does not come back.
#[tokio::test]
async fn what_is_removed_meanwhile_stays_removed() {
    let origin = echo().await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let before = with(Matching::default());
    let old = session(&cache, before.clone());
    let targets: Vec<_> = (0..50).map(|n| format!("/{n}?b&a")).collect();
    for target in &targets {
        get(&old, &origin.url(target), &[]).await;
    }
    let new = session(&cache, with(Matching::default().sort_query(true)));
    let both = async {
        for target in &targets {
            old.post(origin.url(target)).send().await.unwrap();
        }
    };
    let (rekeyed, ()) = tokio::join!(new.cache().rekey(&before), both);
    rekeyed.unwrap();
    for target in &targets {
        assert_eq!(get(&new, &origin.url(target), &[]).await.outcome(), MISS, "{target}");
    }
}

/// Cases 75 and 76: an impossible setting of before is an error that names it.
#[tokio::test]
async fn impossible_settings_of_before_are_an_error() {
    let session = session(&(Arc::new(MemoryCache::default()) as Arc<dyn Cache>), Settings::default());
    let broken = with(Matching::default().ignored_params([NamePattern::regex("(")]));
    let error = session.cache().rekey(&broken).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`ignored_params`"), "{error}");
}
