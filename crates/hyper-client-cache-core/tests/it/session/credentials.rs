//! Who may see what: partitions by credentials, and what a shared cache must not store (RFC 9111 sections 3.5 and 7).

use std::sync::Arc;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_core::policy::{Outcome, Reason, Settings, Storing};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};

use super::{builder, entries, get, see, session, with_settings};

/// An origin that shows each caller who they are, for a minute and without `Vary`.
async fn personal() -> Origin {
    Origin::start(|request: &Recorded| {
        let value = |name| request.header(name).unwrap_or("-").to_owned();
        let body = format!("{} {}", value("authorization"), value("cookie"));
        Answer::ok(body).header("cache-control", "max-age=60").header("etag", "\"same\"")
    })
    .await
}

type Headers = &'static [(&'static str, &'static str)];

const CALLERS: [(Headers, &str); 8] = [
    (&[], "- -"),
    (&[("authorization", "Bearer a")], "Bearer a -"),
    (&[("authorization", "Bearer b")], "Bearer b -"),
    (&[("authorization", "")], " -"),
    (&[("cookie", "id=a")], "- id=a"),
    (&[("cookie", "id=b")], "- id=b"),
    (&[("authorization", "Bearer a"), ("cookie", "id=a")], "Bearer a id=a"),
    (&[("authorization", "id=a")], "id=a -"),
];

/// Cases 4, 5, 7: in a private cache nobody gets what was fetched with other credentials, nor what was fetched
/// without any; each gets what is theirs.
#[tokio::test]
async fn credentials_keep_callers_apart_in_one_session() {
    let origin = personal().await;
    let (session, _) = session();
    for outcome in [Outcome::Miss, Outcome::Hit] {
        for (headers, body) in CALLERS {
            let seen = get(&session, &origin.url("/"), headers).await;
            assert_eq!((seen.outcome(), &seen.text[..]), (outcome, body));
        }
    }
}

/// Cases 4, 5, 7: the same on two sessions that share a cache; the same caller is served across them.
#[tokio::test]
async fn credentials_keep_callers_apart_across_sessions() {
    let origin = personal().await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let make = || CachedSession::builder().shared_cache(cache.clone()).build().unwrap();
    let (one, other) = (make(), make());
    for (headers, body) in CALLERS {
        assert_eq!(get(&one, &origin.url("/"), headers).await.text, body);
        let seen = get(&other, &origin.url("/"), headers).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, body));
    }
}

/// Feature 48: a partition by hand separates sessions on one cache.
#[tokio::test]
async fn a_partition_by_hand_separates() {
    let origin = Origin::scripted().await;
    origin.on("/", |request: &Recorded| Answer::ok(request.header("x-tenant").unwrap().to_owned()));
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    for shared in [false, true] {
        let make = |tenant: &str| {
            let settings = Settings::default().partition(tenant).shared(shared);
            CachedSession::builder().settings(settings).shared_cache(cache.clone()).build().unwrap()
        };
        let url = origin.url(if shared { "/?shared" } else { "/" });
        let (a, b) = (make("a"), make("b"));
        for outcome in [Outcome::Miss, Outcome::Hit] {
            for (session, tenant) in [(&a, "a"), (&b, "b")] {
                let seen = get(session, &url, &[("x-tenant", tenant)]).await;
                assert_eq!((seen.outcome(), &seen.text[..]), (outcome, tenant));
            }
        }
    }
}

/// Case 27: validators come only from the caller's own partition.
#[tokio::test]
async fn a_conditional_request_knows_only_its_callers_entries() {
    let origin = personal().await;
    let (session, clock) = session();
    get(&session, &origin.url("/"), &[("authorization", "Bearer a")]).await;
    clock.advance(std::time::Duration::from_secs(61));
    let seen = get(&session, &origin.url("/"), &[("authorization", "Bearer b")]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, "Bearer b -"));
    assert!(origin.requests().iter().all(|request| request.header("if-none-match").is_none()));
}

/// Case 36: credentials in the URL are Basic authentication, separate callers like it, and are stored nowhere.
#[tokio::test]
async fn user_information_in_the_url_is_a_credential() {
    let origin = personal().await;
    let (session, _) = session();
    let with = |user: &str| origin.url("/").replace("http://", &format!("http://{user}@"));
    for outcome in [Outcome::Miss, Outcome::Hit] {
        for (user, seen_as) in [("u:canary", "Basic dTpjYW5hcnk= -"), ("u:other", "Basic dTpvdGhlcg== -")] {
            let seen = get(&session, &with(user), &[]).await;
            assert_eq!((seen.outcome(), &seen.text[..]), (outcome, seen_as));
        }
    }
    assert_eq!(get(&session, &origin.url("/"), &[]).await.text, "- -");
    // The same where the request was made elsewhere.
    for (user, seen_as) in [("u:canary", "Basic dTpjYW5hcnk= -"), ("u:third", "Basic dTp0aGlyZA== -")] {
        let request = http::Request::get(with(user)).body(()).unwrap();
        let response = session.execute(request).await.unwrap();
        assert!(!response.url().to_string().contains('@'));
        assert_eq!(response.text().await.unwrap(), seen_as);
    }
    // Who says `Authorization` means it.
    let request = http::Request::get(with("u:canary")).header("authorization", "Bearer a").body(()).unwrap();
    assert_eq!(session.execute(request).await.unwrap().text().await.unwrap(), "Bearer a -");
}

/// Case 36, design section 10: no entry shows a credential, neither in its key nor in its bytes.
#[tokio::test]
async fn no_entry_shows_a_credential() {
    let origin = Origin::scripted().await;
    let redirect = Answer::redirect(301, "/").header("cache-control", "max-age=60");
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60"));
    origin.on("/redirect", redirect);
    origin.on("/large", Answer::pattern(400_000).header("cache-control", "max-age=60"));
    let (session, _) = session();
    for path in ["/", "/redirect", "/large"] {
        let url = origin.url(path).replace("http://", "http://canary-user:canary-word@");
        get(&session, &url, &[]).await;
        get(&session, &origin.url(path), &[("authorization", "Bearer canary"), ("cookie", "id=canary")]).await;
        get(&session, &origin.url(path), &[("proxy-authorization", "Basic canary")]).await;
    }
    session.layer().flush().await;
    let stored = entries(&**session.cache()).await;
    assert!(stored.len() > 9);
    use base64::Engine as _;
    let encoded = base64::prelude::BASE64_STANDARD.encode("canary-user:canary-word");
    for (key, entry) in stored {
        for bytes in [key.as_bytes(), &entry.head[..], &entry.body[..]] {
            for secret in [&b"canary"[..], encoded.as_bytes()] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{key}");
            }
        }
    }
}

/// Case 62: a redirect that is stored in one partition is not followed in another.
#[tokio::test]
async fn a_stored_redirect_belongs_to_its_partition() {
    let origin = Origin::scripted().await;
    origin.on("/", |request: &Recorded| {
        let to = format!("/of/{}", request.header("authorization").unwrap_or("nobody"));
        Answer::redirect(301, &to).header("cache-control", "max-age=60")
    });
    for who in ["a", "b", "nobody"] {
        origin.on(&format!("/of/{who}"), Answer::ok(who).header("cache-control", "max-age=60"));
    }
    let (session, _) = session();
    let a = [("authorization", "a")];
    assert_eq!(get(&session, &origin.url("/"), &a).await.text, "a");
    assert_eq!(get(&session, &origin.url("/"), &[("authorization", "b")]).await.text, "b");
    assert_eq!(get(&session, &origin.url("/"), &[]).await.text, "nobody");
    let again = session.get(origin.url("/")).header("authorization", "a").send().await.unwrap();
    assert_eq!(again.history()[0].cache_info.as_ref().unwrap().outcome, Outcome::Hit);
    assert_eq!(again.text().await.unwrap(), "a");
}

/// Cases 59 and 62: a redirect from the cache loses credentials as one from the network does.
#[tokio::test]
async fn a_stored_redirect_to_another_origin_takes_no_credentials_along() {
    let (a, b) = (Origin::scripted().await, Origin::scripted().await);
    a.on("/", Answer::redirect(308, &b.url("/")).header("cache-control", "max-age=60"));
    b.on("/", Answer::ok("b").header("cache-control", "no-store"));
    let (session, _) = session();
    for outcome in [Outcome::Miss, Outcome::Hit] {
        let request = session.get(a.url("/")).header("authorization", "canary").header("cookie", "canary");
        let response = request.header("proxy-authorization", "canary").send().await.unwrap();
        assert_eq!(response.history()[0].cache_info.as_ref().unwrap().outcome, outcome);
    }
    assert_eq!((a.count(), b.count()), (1, 2));
    for request in b.requests() {
        for name in ["authorization", "cookie", "proxy-authorization"] {
            assert!(request.header(name).is_none(), "{name}");
        }
    }
}

/// Cases 1 to 3: what a shared cache may do with the answer to a request with `Authorization`.
#[tokio::test]
async fn a_shared_cache_needs_permission_for_authorized_requests() {
    let origin = Origin::scripted().await;
    let cases = [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("s-maxage=60", true),
        ("max-age=60, must-revalidate", true),
        ("max-age=60, proxy-revalidate", false),
        ("max-age=60, s-maxage=x", false),
        ("max-age=60, s-maxage = 5", false),
        ("max-age=60, s-maxage", false),
        ("max-age=60, public=\"x\"", false),
        ("max-age=60, ext=\"public\"", false),
        ("max-age=60, private, public", false),
    ];
    for (at, (value, permitted)) in cases.into_iter().enumerate() {
        for authorization in ["Bearer a", ""] {
            let path = format!("/{at}/{}", authorization.len());
            origin.on(&path, Answer::ok("x").header("cache-control", value));
            let (session, _) = with_settings(Settings::rfc9111().shared(true));
            let first = get(&session, &origin.url(&path), &[("authorization", authorization)]).await;
            assert_eq!(matches!(first.storing(), Storing::Yes), permitted, "{value}");
            // For whoever asks.
            let outcome = if permitted { Outcome::Hit } else { Outcome::Miss };
            assert_eq!(get(&session, &origin.url(&path), &[]).await.outcome(), outcome, "{value}");
        }
    }
    // Case 2 the other way round: an authorized request may be given what was stored for all.
    origin.on("/public", Answer::ok("x").header("cache-control", "max-age=60"));
    let (session, _) = with_settings(Settings::default().shared(true));
    get(&session, &origin.url("/public"), &[]).await;
    assert_eq!(get(&session, &origin.url("/public"), &[("authorization", "Bearer a")]).await.outcome(), Outcome::Hit);
}

/// Case 9: also where a setting is stronger than the headers, what is private is not stored for others.
#[tokio::test]
async fn no_setting_makes_a_shared_cache_store_what_is_private() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "private"));
    let (session, _) = with_settings(Settings::default().shared(true));
    let request = session.get(origin.url("/")).expire_after(std::time::Duration::from_secs(60)).force_ttl(true);
    assert_eq!(see(request).await.storing(), Storing::No(Reason::ResponsePrivate));
}

/// Cases 12, 22, 23: `Set-Cookie` is never replayed by a shared cache; a private one replays it, because it goes to the
/// caller it was for, and touches no cookie jar.
#[tokio::test]
async fn set_cookie_is_not_replayed_to_others() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("cache-control", "max-age=60, private=\" X-Mine \"");
    origin.on("/", answer.header("set-cookie", "id=1").header("set-cookie", "b=2").header("x-mine", "1"));
    let (shared, _) = with_settings(Settings::default().shared(true));
    let first = get(&shared, &origin.url("/"), &[]).await;
    assert_eq!(first.lines("set-cookie"), [b"id=1", &b"b=2"[..]], "the caller's own");
    let hit = get(&shared, &origin.url("/"), &[]).await;
    assert_eq!(hit.outcome(), Outcome::Hit);
    assert!(hit.lines("set-cookie").is_empty() && hit.lines("x-mine").is_empty());
    let stored = entries(&**shared.cache()).await;
    assert!(stored.iter().all(|(_, entry)| !entry.head.windows(4).any(|bytes| bytes == b"id=1")));

    let (private, _) = session();
    get(&private, &origin.url("/"), &[]).await;
    let hit = get(&private, &origin.url("/"), &[]).await;
    assert_eq!((hit.outcome(), hit.lines("set-cookie").len(), hit.lines("x-mine").len()), (Outcome::Hit, 2, 1));
}

/// Case 26: a refresh in the background is made with the credentials of who caused it, and touches nobody else's entry.
#[tokio::test]
async fn a_refresh_in_the_background_is_its_callers() {
    let origin = Origin::start(|request: &Recorded| {
        let body = request.header("authorization").unwrap_or("-").to_owned();
        Answer::ok(body).header("cache-control", "max-age=10, stale-while-revalidate=100")
    })
    .await;
    let (session, clock) = session();
    let url = origin.url("/");
    let of = |who: &'static str| [("authorization", who)];
    for who in ["a", "b"] {
        get(&session, &url, &of(who)).await;
    }
    clock.advance(std::time::Duration::from_secs(20));
    assert_eq!(get(&session, &url, &of("a")).await.outcome(), Outcome::Stale);
    super::eventually("the refresh is over", || origin.count() == 3 && session.layer().in_flight() == 0).await;
    session.layer().flush().await;
    assert_eq!(origin.requests()[2].header("authorization"), Some("a"));
    let seen = get(&session, &url, &of("a")).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "a"));
    let seen = get(&session, &url, &of("b")).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Stale, "b"));
}

/// Case 194: callers with different credentials never share an exchange that is on its way.
#[tokio::test]
async fn exchanges_on_their_way_are_not_shared_between_credentials() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    let held = gate.clone();
    origin.on("/", move |request: &Recorded| {
        let body = request.header("authorization").unwrap_or("-").to_owned();
        Answer::ok(body).header("cache-control", "max-age=60").after(&held)
    });
    let (session, url) = (builder(&ManualClock::new()).build().unwrap(), origin.url("/"));
    let all = async {
        tokio::join!(
            get(&session, &url, &[("authorization", "a")]),
            get(&session, &url, &[("authorization", "b")]),
            get(&session, &url, &[])
        )
    };
    let open = async {
        origin.arrived(3).await;
        gate.open();
    };
    let ((a, b, nobody), ()) = tokio::join!(all, open);
    assert_eq!([a.text, b.text, nobody.text], ["a", "b", "-"]);
}

/// Case 63: a chain of stored redirects over the limit is an error, and asks the origin nothing.
#[tokio::test]
async fn a_long_chain_of_stored_redirects_ends_in_an_error() {
    let origin = Origin::start(|request: &Recorded| {
        let at: u32 = request.path()[1..].parse().unwrap();
        Answer::redirect(301, &format!("/{}", at + 1)).header("cache-control", "max-age=60")
    })
    .await;
    let (session, _) = session();
    for _ in 0..2 {
        let error = session.get(origin.url("/0")).send().await.unwrap_err();
        assert_eq!(error.kind(), hyper_client_cache_core::ErrorKind::Redirect);
        assert_eq!(origin.count(), 11, "the first and ten more, once");
    }
}
