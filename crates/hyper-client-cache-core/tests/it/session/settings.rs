//! Settings that change while a session is in use, and the guard that takes it past its cache.

use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::cache::MemoryCache;
use hyper_client_cache_core::policy::{CacheControl, ExpireAfter, Outcome, Reason, Settings};
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};

use super::{builder, entries, flushed, get, see, session, with_settings};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Feature 15: what is changed holds for the next request; what is impossible changes nothing.
#[tokio::test]
async fn settings_change_for_the_next_request() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let (session, _) = session();
    let url = origin.url("/");
    assert_eq!(get(&session, &url, &[]).await.info.ttl, None);
    session.update_settings(|settings| settings.expire_after(seconds(60))).unwrap();
    assert_eq!(session.settings().expire_after, ExpireAfter::After(seconds(60)));
    assert_eq!(see(session.get(&url).reload()).await.info.ttl, Some(60));
    let error = session.update_settings(|settings| settings.expire_after(seconds(7)).max_variants(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`max_variants`"), "{error}");
    assert_eq!(see(session.get(&url).reload()).await.info.ttl, Some(60));
    // A clone is the same session.
    session.clone().update_settings(|settings| settings.expire_after(seconds(30))).unwrap();
    assert_eq!(see(session.get(&url).reload()).await.info.ttl, Some(30));
}

/// Feature 15: a request goes by the settings that it began with.
#[tokio::test]
async fn a_request_under_way_keeps_its_settings() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/", Answer::ok("x").after(&gate));
    let (session, _) = with_settings(Settings::default().expire_after(seconds(60)));
    let (one, url) = (session.clone(), origin.url("/"));
    let under_way = tokio::spawn(async move { get(&one, &url, &[]).await.info.ttl });
    origin.arrived(1).await;
    session.update_settings(|settings| settings.expire_after(seconds(5)).secret(b"other".to_vec())).unwrap();
    gate.open();
    assert_eq!(under_way.await.unwrap(), Some(60));
}

/// Feature 15: of changes at the same time none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_the_same_time_add_up() {
    let (session, _) = session();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    session
                        .update_settings(|all| {
                            let more = all.max_variants + 1;
                            all.max_variants(more)
                        })
                        .unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(session.settings().max_variants, Settings::default().max_variants + 800);
}

/// Feature 8, seed line 92: while disabled nothing is read and nothing stored; the store is as it was.
#[tokio::test]
async fn while_disabled_nothing_is_read_or_stored() {
    let origin = Origin::scripted().await;
    for path in ["/", "/other"] {
        origin.on(path, Answer::ok("x"));
    }
    let (session, _) = session();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    flushed(&session).await;
    let before = entries(&**session.cache()).await;
    let guard = session.disabled();
    assert!(session.is_disabled());
    for url in [&url, &origin.url("/other")] {
        let seen = get(&session, url, &[]).await;
        assert_eq!((seen.outcome(), seen.reason(), &seen.text[..]), (Outcome::Bypass, Reason::Disabled, "x"));
    }
    drop(guard);
    flushed(&session).await;
    let after = entries(&**session.cache()).await;
    assert_eq!(before.len(), after.len());
    assert_eq!((&before[0].0, &before[0].1.head), (&after[0].0, &after[0].1.head));
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    assert_eq!(origin.count(), 3);
}

/// Feature 8: the guard ends with its scope however that is left, and guards add up.
#[tokio::test]
async fn a_guard_cannot_stick() {
    let (session, _) = session();
    let (one, two) = (session.disabled(), session.clone().disabled());
    drop(one);
    assert!(session.is_disabled());
    drop(two);
    assert!(!session.is_disabled());
    let panicking = session.clone();
    let panicked = tokio::spawn(async move {
        let _guard = panicking.disabled();
        panic!("on purpose");
    });
    assert!(panicked.await.is_err());
    assert!(!session.is_disabled());
    // A future that is dropped in the middle takes its guard along, also one that is sending.
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/", Answer::ok("x").after(&gate));
    let (dropped, url) = (session.clone(), origin.url("/"));
    let sending = async move {
        let _guard = dropped.disabled();
        dropped.get(&url).send().await
    };
    tokio::select! {
        biased;
        sent = sending => panic!("{sent:?}"),
        () = async { gate.arrived(1).await; assert!(session.is_disabled()) } => {}
    }
    assert!(!session.is_disabled());
    gate.open();
    for outcome in [Outcome::Miss, Outcome::Hit] {
        assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), outcome);
    }
}

/// Seed line 27: a guard is about one session, not about others on the same cache, and not about those made later.
#[tokio::test]
async fn a_guard_is_about_one_session() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let clock = ManualClock::new();
    let cache = Arc::new(MemoryCache::builder().clock(Arc::new(clock.clone())).build().unwrap());
    let url = origin.url("/");
    for round in 0..2 {
        let one = builder(&clock).shared_cache(cache.clone()).build().unwrap();
        let other = builder(&clock).shared_cache(cache.clone()).build().unwrap();
        let outcome = get(&one, &url, &[]).await.outcome();
        assert_eq!(outcome, if round == 0 { Outcome::Miss } else { Outcome::Hit });
        let guard = one.disabled();
        assert_eq!(get(&one, &url, &[]).await.outcome(), Outcome::Bypass);
        assert_eq!(get(&other, &url, &[]).await.outcome(), Outcome::Hit);
        drop(guard);
        assert_eq!(get(&one, &url, &[]).await.outcome(), Outcome::Hit);
    }
}

/// A guard does not make the cache serve what an unsafe request has made invalid meanwhile (RFC 9111 section 4.4).
#[tokio::test]
async fn an_unsafe_request_invalidates_also_while_disabled() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let (session, _) = session();
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    let guard = session.disabled();
    see(session.post(&url)).await;
    drop(guard);
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Miss);
}

/// Seed lines 26 and 83: where headers are ignored, neither side's count.
#[tokio::test]
async fn headers_that_are_ignored_do_not_count() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60"));
    let settings = Settings::default().cache_control(CacheControl::Ignore).expire_after(seconds(30));
    let (session, _) = with_settings(settings);
    let url = origin.url("/");
    assert_eq!(get(&session, &url, &[]).await.info.ttl, Some(30));
    for asked in ["no-cache", "no-store", "max-age=0", "only-if-cached"] {
        assert_eq!(get(&session, &url, &[("cache-control", asked)]).await.outcome(), Outcome::Hit, "{asked}");
    }
    // A request may have them count again.
    let honoring = session.get(&url).cache_control(CacheControl::Honor).header("cache-control", "no-cache");
    assert_eq!(see(honoring).await.outcome(), Outcome::Miss);
}

/// Seed lines 24, 84 and 85: what a request's headers ask for, once.
#[tokio::test]
async fn what_a_request_asks_for_holds_for_it_alone() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    for (path, asked, outcome, then) in [
        // Seed line 84: both fresh, one entry stored.
        ("/no-cache", "no-cache", Outcome::Miss, Outcome::Hit),
        // Seed line 85: nothing is stored.
        ("/no-store", "no-store", Outcome::Bypass, Outcome::Miss),
        ("/max-age", "max-age=0", Outcome::Miss, Outcome::Miss),
    ] {
        origin.on(path, Answer::ok("x"));
        let url = origin.url(path);
        for _ in 0..2 {
            assert_eq!(get(&session, &url, &[("cache-control", asked)]).await.outcome(), outcome, "{asked}");
        }
        assert_eq!(get(&session, &url, &[]).await.outcome(), then, "{asked}");
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit, "{asked}");
    }
    // Seed lines 24 and 28: what says nothing about the lifetime changes nothing.
    let (session, _) = with_settings(Settings::default().expire_after(seconds(30)));
    for (at, asked) in
        ["must-revalidate", "no-transform", "private", "proxy-revalidate", "public", "s-maxage=5"].iter().enumerate()
    {
        let path = format!("/{at}");
        origin.on(&path, Answer::ok("x"));
        assert_eq!(get(&session, &origin.url(&path), &[("cache-control", asked)]).await.info.ttl, Some(30), "{asked}");
        let expires = ("expires", "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(get(&session, &origin.url(&path), &[expires]).await.outcome(), Outcome::Hit);
    }
}

/// Seed line 81: what is good for no time at all is read like anything else.
#[tokio::test]
async fn a_lifetime_of_nothing_stores_nothing_and_breaks_nothing() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let (session, _) = with_settings(Settings::default().expire_after(Duration::ZERO));
    for _ in 0..2 {
        let seen = get(&session, &origin.url("/"), &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, "x"));
    }
    assert!(entries(&**session.cache()).await.is_empty());
}

/// Features 52, 53 and 76 of the seed: a request's lifetime in each form, used up by the clock.
#[tokio::test]
async fn a_requests_lifetime_may_have_any_form() {
    let origin = Origin::scripted().await;
    let (session, clock) = session();
    let date = httpdate::fmt_http_date(clock.after(seconds(60)));
    let forms: [ExpireAfter; 5] = [
        seconds(60).into(),
        Some(seconds(60)).into(),
        clock.after(seconds(60)).into(),
        date.parse().unwrap(),
        ExpireAfter::minutes(1),
    ];
    for (at, form) in forms.into_iter().enumerate() {
        origin.on(&format!("/{at}"), Answer::ok("x"));
        see(session.get(origin.url(&format!("/{at}"))).expire_after(form)).await;
    }
    clock.advance(seconds(58));
    for at in 0..forms.len() {
        assert_eq!(get(&session, &origin.url(&format!("/{at}")), &[]).await.outcome(), Outcome::Hit, "{at}");
    }
    clock.advance(seconds(2));
    for at in 0..forms.len() {
        assert_eq!(get(&session, &origin.url(&format!("/{at}")), &[]).await.outcome(), Outcome::Miss, "{at}");
    }
}

/// Feature 51: a session that is made without a word keeps what servers say nothing about.
#[tokio::test]
async fn the_default_keeps_what_servers_say_nothing_about() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let session = CachedSession::builder().build().unwrap();
    assert_eq!(get(&session, &origin.url("/"), &[]).await.info.expires_at, None);
    assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Hit);
}
