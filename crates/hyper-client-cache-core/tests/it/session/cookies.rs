//! The cookie jar, and what of a session with one may be another's (features 16 and 24).

use std::sync::Arc;

use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_core::policy::{Outcome, Settings};
use hyper_client_cache_core::session::CookieJar;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin, Recorded};

use super::{builder, eventually, session, text};

/// An origin that tells who somebody is by their cookie.
async fn with_logins() -> Origin {
    let origin = Origin::scripted().await;
    origin.on("/login", |request: &Recorded| {
        let who = request.target.rsplit('=').next().unwrap_or_default().to_owned();
        Answer::redirect(302, "/me").header("set-cookie", format!("who={who}; Path=/"))
    });
    let me = |request: &Recorded| Answer::ok(request.header("cookie").unwrap_or("nobody").to_owned());
    origin.on("/me", move |request: &Recorded| me(request).header("cache-control", "max-age=60"));
    origin.on("/varies", move |request: &Recorded| {
        me(request).header("cache-control", "max-age=60").header("vary", "cookie")
    });
    origin.on("/live", move |request: &Recorded| me(request).header("cache-control", "no-store"));
    origin
}

#[tokio::test]
async fn the_jar_is_off_until_it_is_switched_on_and_works_on_each_hop() {
    let origin = with_logins().await;
    let (plain, _) = session();
    assert_eq!(text(&plain, &origin.url("/login?who=a")).await.1, "nobody");
    let clock = ManualClock::new();
    let session = builder(&clock).cookies(true).build().unwrap();
    assert_eq!(text(&session, &origin.url("/login?who=a")).await.1, "who=a", "learned from the redirect before it");
    let own = session.get(origin.url("/live")).header("cookie", "mine=1").send().await.unwrap();
    assert_eq!(own.text().await.unwrap(), "mine=1; who=a");
    let own = session.get(origin.url("/live")).header("cookie", "who=b").send().await.unwrap();
    assert_eq!(own.request_headers()["cookie"], "who=b");
    assert_eq!(own.text().await.unwrap(), "who=b", "what the caller sets wins");
}

/// `Vary: Cookie` sees what the jar adds (feature 40); without it, only what the caller sets tells entries apart.
#[tokio::test]
async fn cookies_of_the_jar_select_where_the_response_says_so() {
    let origin = with_logins().await;
    let clock = ManualClock::new();
    let jar = CookieJar::new();
    let session = builder(&clock).cookie_jar(jar.clone()).build().unwrap();
    for (who, outcome) in [("a", Outcome::Miss), ("b", Outcome::Miss), ("a", Outcome::Hit)] {
        jar.clear();
        jar.add(origin.url("/"), &format!("who={who}; Path=/")).unwrap();
        assert_eq!(text(&session, &origin.url("/varies")).await, (outcome, format!("who={who}")));
    }
    jar.clear();
    jar.add(origin.url("/"), "who=a; Path=/").unwrap();
    assert_eq!(text(&session, &origin.url("/me")).await, (Outcome::Miss, "who=a".into()));
    jar.add(origin.url("/"), "counter=2; Path=/").unwrap();
    assert_eq!(
        text(&session, &origin.url("/me")).await.0,
        Outcome::Hit,
        "a cookie that changes does not empty the cache"
    );
    let own = session.get(origin.url("/me")).header("cookie", "who=c").send().await.unwrap();
    assert!(!own.from_cache(), "what the caller sets does");

    let separate = builder(&clock).cookie_jar(jar.clone()).separate_by_cookies(true).build().unwrap();
    assert_eq!(text(&separate, &origin.url("/me")).await.0, Outcome::Miss);
    jar.add(origin.url("/"), "who=d; Path=/").unwrap();
    let (outcome, body) = text(&separate, &origin.url("/me")).await;
    assert!(outcome == Outcome::Miss && body.contains("who=d"), "{body}");
}

/// Cases 4 and 5 with cookies of a jar: a login in one session is never another's answer.
#[tokio::test]
async fn sessions_with_jars_on_a_shared_cache_share_nothing() {
    let origin = with_logins().await;
    let clock = ManualClock::new();
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let on_shared = || builder(&clock).shared_cache(cache.clone());
    let a = on_shared().cookies(true).build().unwrap();
    let b = on_shared().cookies(true).build().unwrap();
    let plain = on_shared().build().unwrap();
    assert_eq!(text(&a, &origin.url("/login?who=a")).await.1, "who=a");
    assert_eq!(text(&a, &origin.url("/me")).await, (Outcome::Hit, "who=a".into()));
    assert_eq!(text(&b, &origin.url("/me")).await, (Outcome::Miss, "nobody".into()));
    assert_eq!(text(&plain, &origin.url("/me")).await, (Outcome::Miss, "nobody".into()));
    // Replacing all settings at run time does not bring them together.
    a.update_settings(|_| Settings::default()).unwrap();
    assert_eq!(text(&a, &origin.url("/me")).await, (Outcome::Hit, "who=a".into()));

    let tenant = || on_shared().settings(Settings::default().partition("tenant")).cookies(true).build().unwrap();
    let (one, two) = (tenant(), tenant());
    assert_eq!(text(&one, &origin.url("/me")).await.0, Outcome::Miss);
    assert_eq!(text(&two, &origin.url("/me")).await.0, Outcome::Hit, "unless a partition says otherwise");
}

/// What a server sets for all of a public suffix never reaches another's site.
#[cfg(feature = "public-suffixes")]
#[tokio::test]
async fn a_cookie_for_a_public_suffix_goes_to_nobody_else() {
    let service =
        tower::service_fn(|request: http::Request<hyper_client_cache_core::transport::RequestBody>| async move {
            let cookies = request.headers().get("cookie").map_or(&b""[..], |value| value.as_bytes()).to_vec();
            let response = http::Response::builder()
                .header("set-cookie", "evil=1; Domain=co.uk; Path=/")
                .header("set-cookie", "wicked=1; Domain=uk; Path=/")
                .header("set-cookie", "own=1; Path=/");
            response.body(http_body_util::Full::new(bytes::Bytes::from(cookies)))
        });
    let clock = ManualClock::new();
    let jar = CookieJar::new();
    let session = builder(&clock).service(service).cookie_jar(jar.clone()).build().unwrap();
    text(&session, "https://shop.co.uk/").await;
    assert_eq!(text(&session, "https://shop.co.uk/again").await.1, "own=1");
    assert_eq!(text(&session, "https://bank.co.uk/").await.1, "");
}

/// Feature 16, seed lines 67, 68 and 87: a stored `Set-Cookie` reaches the jar only where that is wanted.
#[tokio::test]
async fn what_a_stored_set_cookie_does_is_a_setting() {
    let origin = Origin::scripted().await;
    let with_cookie = |answer: Answer| answer.header("set-cookie", "a=1; Path=/").header("cache-control", "max-age=60");
    origin.on("/start", with_cookie(Answer::redirect(301, "/end")));
    origin.on("/end", Answer::ok("end").header("cache-control", "max-age=60"));
    let clock = ManualClock::new();
    for wanted in [false, true] {
        let jar = CookieJar::new();
        let session = builder(&clock).cookie_jar(jar.clone()).cookies_from_cache(wanted).build().unwrap();
        text(&session, &origin.url("/start")).await;
        assert_eq!(jar.len(), 1);
        jar.clear();
        let again = session.get(origin.url("/start")).send().await.unwrap();
        assert!(again.from_cache() && again.history()[0].cache_info.as_ref().unwrap().from_cache());
        assert_eq!(jar.len(), usize::from(wanted));
    }
}

/// A 304 and a refresh in the background are answers too: the jar hears of them.
#[tokio::test]
async fn the_jar_learns_from_every_live_answer() {
    let origin = Origin::scripted().await;
    let old = Answer::ok("x").header("cache-control", "max-age=1, stale-while-revalidate=60").header("etag", "\"1\"");
    let renewed = Answer::not_modified().header("set-cookie", "seen=1; Path=/");
    origin.on("/", [old, renewed]);
    let clock = ManualClock::new();
    let jar = CookieJar::new();
    let session = builder(&clock).cookie_jar(jar.clone()).build().unwrap();
    text(&session, &origin.url("/")).await;
    clock.advance(std::time::Duration::from_secs(2));
    assert_eq!(text(&session, &origin.url("/")).await.0, Outcome::Stale);
    eventually("the jar has learned", || jar.len() == 1).await;
}

/// Case 59 for the jar: a cookie goes to its own host, whoever redirects.
#[tokio::test]
async fn a_cookie_does_not_follow_a_redirect_to_another_host() {
    let origin = Origin::scripted().await;
    let elsewhere = origin.url("/end").replace("127.0.0.1", "localhost");
    origin.on("/start", Answer::redirect(302, &elsewhere));
    origin.on("/end", Answer::ok("end"));
    let clock = ManualClock::new();
    let jar = CookieJar::new();
    jar.add(origin.url("/"), "canary=canary; Path=/").unwrap();
    let session = builder(&clock).cookie_jar(jar.clone()).build().unwrap();
    let response = session.get(origin.url("/start")).send().await.unwrap();
    assert!(!format!("{response:?} {session:?} {jar:?}").contains("canary"));
    assert_eq!(origin.requests()[0].header("cookie"), Some("canary=canary"));
    assert_eq!(origin.requests()[1].header("cookie"), None);
}
