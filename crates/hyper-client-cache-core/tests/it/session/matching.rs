//! Which requests are answered by the same entry, by the options of `Matching`.

use std::sync::Arc;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_core::error::ErrorKind;
use hyper_client_cache_core::key::{Matching, NamePattern};
use hyper_client_cache_core::policy::{Outcome, Reason, Settings, Storing, UrlRule};
use hyper_client_cache_core::session::SessionBuilder;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin, Recorded};

use super::{builder, entries, get, see};

/// An origin that answers with what it was asked.
async fn echo() -> Origin {
    Origin::start(|request: &Recorded| Answer::ok(request.target.clone())).await
}

fn matching(matching: Matching) -> CachedSession {
    builder(&ManualClock::new()).matching(matching).build().unwrap()
}

/// A session on `cache` with these options.
fn sharing(cache: &Arc<dyn Cache>, options: impl FnOnce(SessionBuilder) -> SessionBuilder) -> CachedSession {
    options(builder(&ManualClock::new()).shared_cache(cache.clone())).build().unwrap()
}

async fn outcomes(session: &CachedSession, origin: &Origin, targets: &[&str]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for target in targets {
        outcomes.push(get(session, &origin.url(target), &[]).await.outcome());
    }
    outcomes
}

const HIT: Outcome = Outcome::Hit;
const MISS: Outcome = Outcome::Miss;

/// Features 25 and 27: with `sort_query` the order of names does not count, that within one name does; what the origin
/// gets is what was written.
#[tokio::test]
async fn the_order_of_a_query_does_not_count_where_asked_for() {
    let origin = echo().await;
    let session = matching(Matching::default().sort_query(true));
    assert_eq!(get(&session, &origin.url("/?b=2&a=1&a=0"), &[]).await.text, "/?b=2&a=1&a=0");
    let asked = ["/?a=1&a=0&b=2", "/?a=1&b=2&a=0", "/?b=2&a=1&a=0&", "/?a=0&a=1&b=2", "/?a=1&b=2", "/?a=1%26a=0&b=2"];
    assert_eq!(outcomes(&session, &origin, &asked).await, [HIT, HIT, HIT, MISS, MISS, MISS]);
    assert_eq!(outcomes(&session, &origin, &["/", "/?", "/?&", "/?a", "/?a="]).await, [MISS, HIT, HIT, MISS, MISS]);
    let pairs = session.get(origin.url("/")).query(&[("b", "2"), ("a", "1"), ("a", "0")]);
    assert_eq!(see(pairs).await.outcome(), HIT, "given as parameters");
}

/// Feature 26: what HTTP declares equal is one entry, what it does not is not.
#[tokio::test]
async fn case_port_and_dots_are_normalised_as_they_are_sent() {
    let origin = echo().await;
    let session = matching(Matching::default());
    let url = origin.url("/b");
    get(&session, &url, &[]).await;
    for same in [url.replace("http:", "HTTP:"), url.replace("/b", "/a/../b"), format!("{url}#fragment")] {
        assert_eq!(get(&session, &same, &[]).await.outcome(), HIT, "{same}");
    }
    for other in [url.replace("/b", "/B"), format!("{url}/"), url.replace("/b", "/%62")] {
        assert_eq!(get(&session, &other, &[]).await.outcome(), MISS, "{other}");
    }
}

/// Feature 28: a fragment is neither sent nor part of the key.
#[tokio::test]
async fn a_fragment_does_not_count() {
    let origin = echo().await;
    let session = matching(Matching::default());
    assert_eq!(get(&session, &origin.url("/?a=1#one"), &[]).await.text, "/?a=1");
    assert_eq!(get(&session, &origin.url("/?a=1#two"), &[]).await.outcome(), HIT);
}

/// Feature 34: an ignored parameter does not count, by name or pattern, and reaches the origin all the same.
#[tokio::test]
async fn ignored_parameters_of_the_query_do_not_count() {
    let origin = echo().await;
    let session = matching(Matching::default().ignored_params([
        "request-id".into(),
        "utm_*".into(),
        NamePattern::regex("x[0-9]+"),
    ]));
    let first = get(&session, &origin.url("/?a=1&request-id=7&utm_source=x&x12=y"), &[]).await;
    assert_eq!(first.text, "/?a=1&request-id=7&utm_source=x&x12=y");
    let asked = [
        "/?a=1",
        "/?utm_medium=z&a=1&request-id=8",
        "/?%72equest-id=9&a=1",
        "/?a=2",
        "/?a=1&Request-Id=7",
        "/?a=1&x=1",
    ];
    assert_eq!(outcomes(&session, &origin, &asked).await, [HIT, HIT, HIT, MISS, MISS, MISS]);
}

/// Features 36 and 37: matched fields count, absent is not empty, and ignored ones do not even where all are matched.
#[tokio::test]
async fn selected_header_fields_count() {
    let origin = echo().await;
    let session = matching(Matching::default().match_headers(["accept-language", "x-*"]).ignored_headers(["x-trace"]));
    let url = origin.url("/");
    for (headers, outcome) in [
        (&[][..], MISS),
        (&[("x-tenant", "")], MISS),
        (&[("x-tenant", "a")], MISS),
        (&[("x-tenant", "A")], MISS),
        (&[("x-tenant", "a"), ("x-tenant", "b")], MISS),
        (&[("x-tenant", "b"), ("x-tenant", "a")], MISS),
        (&[("x-other", "a")], MISS),
        (&[("accept-language", "de, en;q=0.5")], MISS),
        (&[("accept-language", "DE,en; q=0.5")], HIT),
        (&[("user-agent", "z")], HIT),
        (&[("x-trace", "1")], HIT),
        (&[("x-tenant", "a"), ("x-trace", "2")], HIT),
        (&[("x-tenant", "")], HIT),
    ] {
        assert_eq!(get(&session, &url, headers).await.outcome(), outcome, "{headers:?}");
    }
    let all = matching(Matching::default().match_headers(["*"]).ignored_headers(["x-trace"]));
    for (headers, outcome) in [
        (&[("user-agent", "a")][..], MISS),
        (&[("user-agent", "b")], MISS),
        (&[("user-agent", "a"), ("x-trace", "1")], HIT),
    ] {
        assert_eq!(get(&all, &url, headers).await.outcome(), outcome, "{headers:?}");
    }
}

/// Feature 36: an ignored field does not count where the response varies on it, and a 304 does not undo that.
#[tokio::test]
async fn an_ignored_field_does_not_vary() {
    let origin = Origin::start(|request: &Recorded| {
        let answer = if request.header("if-none-match").is_some() { Answer::not_modified() } else { Answer::ok("a") };
        answer.header("vary", "user-agent, accept").etag("\"1\"").header("cache-control", "max-age=10")
    })
    .await;
    let clock = ManualClock::new();
    let session = builder(&clock).ignored_headers(["User-Agent"]).build().unwrap();
    let url = origin.url("/");
    get(&session, &url, &[("user-agent", "a")]).await;
    assert_eq!(get(&session, &url, &[("user-agent", "b")]).await.outcome(), HIT);
    assert_eq!(get(&session, &url, &[("accept", "b")]).await.outcome(), MISS);
    clock.advance(std::time::Duration::from_secs(11));
    assert_eq!(get(&session, &url, &[("user-agent", "c")]).await.outcome(), Outcome::Revalidated);
    assert_eq!(get(&session, &url, &[]).await.outcome(), HIT);
}

/// Feature 41 and case 44: spelling does not count where the grammar of the field says so, and does elsewhere.
#[tokio::test]
async fn vary_compares_by_the_grammar_of_the_field() {
    let origin = Origin::start(|_: &Recorded| Answer::ok("a").header("vary", "accept-encoding, x-tenant")).await;
    let session = matching(Matching::default());
    let url = origin.url("/");
    for (headers, outcome) in [
        ([("accept-encoding", "gzip, br"), ("x-tenant", "A,B")], MISS),
        ([("accept-encoding", "GZIP,br"), ("x-tenant", "A,B")], HIT),
        ([("accept-encoding", "gzip, br"), ("x-tenant", "a,b")], MISS),
        ([("accept-encoding", "br, gzip"), ("x-tenant", "A,B")], MISS),
    ] {
        assert_eq!(get(&session, &url, &headers).await.outcome(), outcome, "{headers:?}");
    }
}

/// Feature 42 and case 116: whatever a key function returns is a key, and it merges neither methods nor callers.
#[tokio::test]
async fn a_key_function_decides_what_counts() {
    let origin = Origin::start(|request: &Recorded| {
        Answer::ok(format!("{} {}", request.method, request.header("authorization").unwrap_or("-")))
    })
    .await;
    let session = builder(&ManualClock::new())
        .key_fn("by-path", |request| match request.uri.path() {
            "/default" => None,
            "/odd" => Some([0, b'\r', b'\n', 0xff].repeat(10_000)),
            path => Some(path.trim_end_matches(char::is_numeric).into()),
        })
        .build()
        .unwrap();
    assert_eq!(
        outcomes(&session, &origin, &["/a1?x", "/a2?y", "/b1", "/odd", "/odd?z"]).await,
        [MISS, HIT, MISS, MISS, HIT]
    );
    assert_eq!(outcomes(&session, &origin, &["/default?1", "/default?2", "/default?1"]).await, [MISS, MISS, HIT]);
    let seen = get(&session, &origin.url("/a3"), &[("authorization", "b")]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (MISS, "GET b"));
    let head = session.head(origin.url("/a4")).send().await.unwrap();
    assert!(head.from_cache(), "a HEAD is answered by the GET that has its key");
    assert_eq!(session.stats().mismatched, 0);
}

/// Case 236: a key function that panics lets that request bypass, and nothing else.
#[tokio::test]
async fn a_panic_in_a_key_function_costs_only_that_request() {
    let origin = echo().await;
    let session = builder(&ManualClock::new())
        .key_fn("odd", |request| {
            assert!(request.uri.query().is_none(), "no queries");
            None
        })
        .build()
        .unwrap();
    let seen = get(&session, &origin.url("/?a"), &[]).await;
    assert_eq!((seen.outcome(), seen.reason(), &seen.text[..]), (Outcome::Bypass, Reason::CallbackPanicked, "/?a"));
    assert_eq!(outcomes(&session, &origin, &["/", "/"]).await, [MISS, HIT]);
}

/// Feature 43 and case 31: a field that overrides the method bypasses, or is believed where asked for and then shares
/// nothing with the method itself.
#[tokio::test]
async fn an_overridden_method_bypasses_or_is_part_of_the_key() {
    let origin = Origin::start(|request: &Recorded| {
        Answer::ok(format!("{} {}", request.method, request.header("x-http-method-override").unwrap_or("-")))
    })
    .await;
    let url = origin.url("/");
    let field = [("x-http-method-override", "GET")];
    let plain = matching(Matching::default());
    assert_eq!(get(&plain, &url, &field).await.reason(), Reason::MethodOverride);

    let session = matching(Matching::default().method_override(true));
    let post = |value: &str| session.post(&url).header("x-http-method-override", value);
    assert_eq!(see(session.get(&url)).await.text, "GET -");
    for outcome in [MISS, HIT] {
        let seen = see(post("GET")).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (outcome, "POST GET"));
    }
    assert_eq!(see(session.get(&url)).await.outcome(), HIT, "a believed GET invalidates nothing");
    let seen = see(session.get(&url).header("x-http-method-override", "DELETE")).await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Bypass, Reason::Method));
    assert_eq!(see(session.get(&url)).await.outcome(), MISS, "a believed DELETE invalidates");
}

/// Features 45 and 48, cases 4 to 6: callers are told apart by credentials of any kind, on one session and on two, in a
/// private cache and, by those that no directive is about, in a shared one.
#[tokio::test]
async fn credentials_of_any_kind_tell_callers_apart() {
    let origin = Origin::start(|request: &Recorded| {
        let value = |name| request.header(name).unwrap_or("-").to_owned();
        Answer::ok(["x-api-key", "x-login", "x-auth-token"].map(value).join(" "))
    })
    .await;
    let callers: [(&[(&str, &str)], &str); 8] = [
        (&[], "- - -"),
        (&[("x-api-key", "a")], "a - -"),
        (&[("x-api-key", "b")], "b - -"),
        (&[("x-api-key", "")], " - -"),
        (&[("x-login", "a")], "- a -"),
        (&[("x-login", "b")], "- b -"),
        (&[("x-auth-token", "a")], "- - a"),
        (&[("x-login", "a"), ("x-api-key", "a")], "a a -"),
    ];
    for shared in [false, true] {
        let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
        let make = || {
            let settings = Settings::default().shared(shared);
            sharing(&cache, |builder| builder.settings(settings).secret_headers(["X-Login"]))
        };
        let (one, other) = (make(), make());
        for (session, outcome) in [(&one, MISS), (&one, HIT), (&other, HIT)] {
            for (headers, body) in callers {
                let seen = get(session, &origin.url("/"), headers).await;
                assert_eq!((seen.outcome(), &seen.text[..]), (outcome, body), "shared: {shared}");
            }
        }
    }
}

/// Case 4: who does not want callers to be told apart says so by name.
#[tokio::test]
async fn callers_share_only_where_asked_for() {
    let origin = echo().await;
    let session = matching(Matching::default().separate_credentials(false));
    let url = origin.url("/");
    get(&session, &url, &[("authorization", "a")]).await;
    assert_eq!(get(&session, &url, &[("authorization", "b"), ("cookie", "c")]).await.outcome(), HIT);
}

/// Case 8: a credential that a response varies on is compared, and stored as a keyed hash only.
#[tokio::test]
async fn a_secret_field_that_varies_is_stored_as_a_hash() {
    let origin = Origin::start(|request: &Recorded| {
        Answer::ok(request.header("x-login").unwrap_or("-").len().to_string()).header("vary", "x-login")
    })
    .await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let session = sharing(&cache, |builder| builder.secret_headers(["x-login"]).match_headers(["x-*"]));
    for outcome in [MISS, HIT] {
        for value in ["canary-one", "canary-seven"] {
            let seen = get(&session, &origin.url("/"), &[("x-login", value)]).await;
            assert_eq!((seen.outcome(), seen.text), (outcome, value.len().to_string()));
        }
    }
    session.layer().flush().await;
    assert!(!is_in_store(&cache, "canary").await);
}

/// Options are those of the request, then of the first rule that matches, then of the session, each by itself.
#[tokio::test]
async fn options_of_a_rule_stand_between_those_of_session_and_request() {
    let origin = echo().await;
    let ignoring = |name: &str| Matching::default().ignored_params([name]);
    let rules = [
        UrlRule::glob("*/a").matching(ignoring("r")),
        UrlRule::glob("*/a").matching(ignoring("never")),
        UrlRule::glob("*/b").matching(Matching::default().sort_query(false)),
    ];
    let session = builder(&ManualClock::new()).rules(rules).matching(ignoring("s").sort_query(true)).build().unwrap();
    for (target, others) in [
        // The rule's list takes the place of the session's; what it does not set is the session's.
        ("/a?x=1&y=2", [("/a?y=2&r=1&x=1", HIT), ("/a?x=1&y=2&s=1", MISS), ("/a?x=1&y=2&never=1", MISS)]),
        ("/b?x=1&y=2", [("/b?x=1&s=2&y=2", HIT), ("/b?y=2&x=1", MISS), ("/b?x=1&y=2&r=1", MISS)]),
        ("/c?x=1&y=2", [("/c?y=2&x=1&s=3", HIT), ("/c?x=1&y=2&r=1", MISS), ("/c?x=1", MISS)]),
    ] {
        assert_eq!(outcomes(&session, &origin, &[target]).await, [MISS], "{target}");
        for (other, outcome) in others {
            assert_eq!(outcomes(&session, &origin, &[other]).await, [outcome], "{other}");
        }
    }
    let asking = |target: &str| see(session.get(origin.url(target)).matching(ignoring("q")));
    assert_eq!(asking("/a?x=1&y=2").await.outcome(), MISS, "its options are part of its key");
    assert_eq!(asking("/a?y=2&q=7&x=1").await.outcome(), HIT);
    assert_eq!(asking("/a?y=2&r=7&x=1").await.outcome(), MISS);
}

/// Case 76: a broken pattern in the options of a rule is an error of the session, with the name of the option.
#[tokio::test]
async fn a_broken_pattern_of_a_rule_is_an_error() {
    let rule = UrlRule::glob("*").matching(Matching::default().match_headers([NamePattern::regex("(")]));
    let error = builder(&ManualClock::new()).rule(rule).build().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("`match_headers`"), "{error}");
}

/// Feature 48: a partition for one request, before that of the session.
#[tokio::test]
async fn a_request_may_have_a_partition_of_its_own() {
    let origin = Origin::start(|request: &Recorded| Answer::ok(request.header("x-who").unwrap().to_owned())).await;
    let session = builder(&ManualClock::new()).settings(Settings::default().partition("a")).build().unwrap();
    let request = |who: &str| session.get(origin.url("/")).header("x-who", who);
    for outcome in [MISS, HIT] {
        assert_eq!(see(request("a")).await.outcome(), outcome);
        let seen = see(request("b").partition("b")).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (outcome, "b"));
    }
    assert_eq!(see(request("a").partition("a")).await.text, "a");
    let refused = session.get(origin.url("/")).partition("").send().await.unwrap_err();
    assert!(refused.to_string().contains("`partition`"), "{refused}");
}

/// Feature 47 and case 72 (the part about keys): what was fetched in another way is not found.
#[tokio::test]
async fn the_way_to_the_origin_counts() {
    let origin = echo().await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let strict = sharing(&cache, |builder| builder);
    let lax = sharing(&cache, |builder| builder.matching(Matching::default().transport("unverified")));
    for session in [&lax, &strict] {
        assert_eq!(outcomes(session, &origin, &["/", "/"]).await, [MISS, HIT]);
    }
}

/// A change of the options never serves what was stored under others, neither to the next session nor to one request.
#[tokio::test]
async fn other_options_find_other_entries() {
    let origin = echo().await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let default = Matching::default;
    let all = [
        default(),
        default().sort_query(true),
        default().ignored_params(["x"]),
        default().ignored_params(["x", "y"]),
        default().ignored_headers(["x"]),
        default().match_headers(["x"]),
        default().method_override(true),
        default().separate_credentials(false),
        default().key_fn("1", |_| Some(b"/?a".to_vec())),
        default().key_fn("2", |_| Some(b"/?a".to_vec())),
        default().key_fn("3", |_| None),
    ];
    let sessions: Vec<_> = all.iter().map(|one| sharing(&cache, |builder| builder.matching(one.clone()))).collect();
    for outcome in [MISS, HIT] {
        for (session, matching) in sessions.iter().zip(&all) {
            assert_eq!(outcomes(session, &origin, &["/?a=1&b=2"]).await, [outcome], "{matching:?}");
        }
    }
    // The same for a request with options of its own.
    for matching in &all[1..] {
        let seen = see(sessions[0].get(origin.url("/?a=1&b=2")).matching(matching.clone())).await;
        assert_eq!(seen.outcome(), HIT, "{matching:?}");
    }
    // An unsafe request of whoever has other options removes them all.
    sessions[0].post(origin.url("/?a=1&b=2")).send().await.unwrap();
    for (session, matching) in sessions.iter().zip(&all) {
        assert_eq!(outcomes(session, &origin, &["/?a=1&b=2"]).await, [MISS], "{matching:?}");
    }
    sessions[1].post(origin.url("/?a=1&b=2")).send().await.unwrap();
    assert_eq!(outcomes(&sessions[0], &origin, &["/?a=1&b=2"]).await, [MISS]);
}

/// Cases 74, 78 and 79: what is secret in a URL is sent as it is, counts, and is not stored, however its name is spelled.
#[tokio::test]
async fn secrets_in_a_url_are_sent_and_not_stored() {
    let origin = Origin::start(|request: &Recorded| {
        Answer::ok("body")
            .header("content-location", format!("{}&again", request.target))
            .header("x-target", &request.target)
    })
    .await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let session = sharing(&cache, |builder| builder.secret_params(["login", "otp-*"]).ignored_params(["trace"]));
    let targets = [
        "/?api_key=canary-1&a=1",
        "/?api_key=canary-2&a=1",
        "/?%61pi_key=canary-1",
        "/?%2561pi_key=canary-1",
        "/?LOGIN=canary-1",
        "/?otp-7=canary-1&access_token=canary-2",
        "/?a=1;password=canary-3",
    ];
    for outcome in [MISS, HIT] {
        for target in targets {
            let seen = get(&session, &origin.url(target), &[]).await;
            assert_eq!(seen.outcome(), outcome, "{target}");
            if outcome == MISS {
                assert_eq!(seen.lines("x-target"), [target.as_bytes()], "sent as it is");
                assert_eq!(seen.lines("content-location").len(), 1, "given to the caller as it came");
            }
        }
    }
    let ignored = ["/?b=1&trace=canary-1", "/?b=1&trace=canary-2", "/?b=1&%74race=canary-3"];
    assert_eq!(outcomes(&session, &origin, &ignored).await, [MISS, HIT, HIT]);
    session.layer().flush().await;
    for (_, entry) in entries(&*cache).await {
        // The origin's own echo is content.
        let head = String::from_utf8_lossy(&entry.head).into_owned();
        let without_echo = head.split("x-target").next().unwrap().to_owned();
        assert!(!without_echo.contains("canary"), "{without_echo}");
    }
}

/// Case 80: a redirect to a URL with a secret in it is followed and not stored.
#[tokio::test]
async fn a_redirect_to_a_secret_is_not_stored() {
    let origin = Origin::start(|request: &Recorded| match request.path() {
        "/from" => Answer::redirect(301, "/to?access_token=canary-1").header("cache-control", "max-age=60"),
        "/plain" => Answer::redirect(301, "/to?a=1").header("cache-control", "max-age=60"),
        _ => Answer::ok("there"),
    })
    .await;
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let session = sharing(&cache, |builder| builder);
    for (path, stored) in [("/from", false), ("/plain", true)] {
        for _ in 0..2 {
            let response = session.get(origin.url(path)).send().await.unwrap();
            let hop = response.history()[0].cache_info.clone().unwrap();
            if !stored {
                assert_eq!(hop.storing, Storing::No(Reason::SecretLocation));
            }
            assert!(!format!("{response:?} {:?}", response.history()).contains("canary"));
            assert_eq!(response.text().await.unwrap(), "there");
        }
        assert_eq!(origin.count_of(path), if stored { 1 } else { 2 });
    }
    session.layer().flush().await;
    assert!(!is_in_store(&cache, "canary").await);
}

/// Cases 75 and 76: what is wrong with an option is said at once, with its name and without anything secret.
#[tokio::test]
async fn a_broken_pattern_is_an_error_that_names_the_setting() {
    let error = CachedSession::builder().ignored_params([NamePattern::regex("(a")]).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`ignored_params`"), "{error}");
    let error = CachedSession::builder().match_headers([""]).build().unwrap_err();
    assert!(error.to_string().contains("`match_headers`"), "{error}");
    let session = matching(Matching::default());
    let broken = Matching::default().secret_headers([NamePattern::regex("[")]);
    let error = session.get("http://host/?token=canary").matching(broken).build().unwrap_err();
    assert!(error.to_string().contains("`secret_headers`") && !format!("{error:?}").contains("canary"), "{error}");
}

/// Whether any byte of an entry says `text`.
async fn is_in_store(cache: &Arc<dyn Cache>, text: &str) -> bool {
    let text = text.as_bytes();
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    entries(&**cache).await.iter().any(|(_, entry)| has(&entry.head) || has(&entry.body))
}
