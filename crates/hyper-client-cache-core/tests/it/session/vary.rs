//! Several variants of one URL (RFC 9111 section 4.1).

use std::sync::Arc;
use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::{Cache, Filter, MemoryCache};
use hyper_client_cache_core::policy::{Outcome, Reason, Settings, Storing};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};

use super::{builder, entries, eventually, get, is_stored, see, session, with_settings};

/// An origin that varies on these fields and says in the body what it saw of them.
async fn varying(vary: &'static str) -> Origin {
    Origin::start(move |request: &Recorded| {
        let seen = vary.split(',').map(str::trim).flat_map(|name| request.headers.get_all(name));
        let body: Vec<u8> = seen.flat_map(|value| [value.as_bytes(), b";"].concat()).collect();
        Answer::ok(body).header("cache-control", "max-age=60").header("vary", vary)
    })
    .await
}

#[tokio::test]
async fn variants_lie_side_by_side() {
    let origin = varying("accept-language, x-two").await;
    let (session, _) = session();
    let url = origin.url("/");
    let requests: [&[(&str, &str)]; 4] =
        [&[("accept-language", "de")], &[("accept-language", "en")], &[("accept-language", "en"), ("x-two", "2")], &[]];
    for headers in requests {
        let seen = get(&session, &url, headers).await;
        assert_eq!(seen.outcome(), Outcome::Miss);
    }
    for (headers, body) in requests.iter().zip(["de;", "en;", "en;2;", ""]) {
        let seen = get(&session, &url, headers).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, body));
    }
    let seen = get(&session, &url, &[("accept-language", "fr")]).await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Miss, Reason::VariantNotFound));
}

/// Cases 40, 43, 44: absent and empty, the number and order of lines, and the case of values all tell variants apart.
#[tokio::test]
async fn values_are_compared_line_by_line_as_they_are() {
    let origin = varying("x-user").await;
    let (session, _) = session();
    let url = origin.url("/");
    let requests: [&[(&str, &str)]; 9] = [
        &[],
        &[("x-user", "")],
        &[("x-user", "a")],
        &[("x-user", "A")],
        &[("x-user", "a"), ("x-user", "1")],
        &[("x-user", "a"), ("x-user", "2")],
        &[("x-user", "1"), ("x-user", "a")],
        &[("x-user", "a,1")],
        &[("x-user", "a, 1")],
    ];
    for headers in requests {
        assert_eq!(get(&session, &url, headers).await.outcome(), Outcome::Miss, "{headers:?}");
    }
    for headers in requests {
        let seen = get(&session, &url, headers).await;
        let expected: String = headers.iter().map(|(_, value)| format!("{value};")).collect();
        assert_eq!((seen.outcome(), seen.text), (Outcome::Hit, expected), "{headers:?}");
    }
    assert_eq!(origin.count(), requests.len());
}

/// Case 45: a value that is no UTF-8 is compared as bytes.
#[tokio::test]
async fn values_may_be_any_bytes() {
    let origin = varying("x-user").await;
    let (session, _) = session();
    for (value, outcome) in [
        (b"\xe9", Outcome::Miss),
        (b"\xe8", Outcome::Miss),
        (b"\xff", Outcome::Miss),
        (b"\xe9", Outcome::Hit),
        (b"\xe8", Outcome::Hit),
    ] {
        let value = http::HeaderValue::from_bytes(value).unwrap();
        let seen = see(session.get(origin.url("/")).header("x-user", value)).await;
        assert_eq!(seen.outcome(), outcome);
    }
}

/// Cases 41 and 42: `*` in any spelling, and what is no list of field names, is not stored.
#[tokio::test]
async fn what_cannot_be_told_apart_is_not_stored() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let many: Vec<String> = (0..100).map(|at| format!("x-{at}")).collect();
    let (many, long) = (many.join(","), "x".repeat(64 * 1024));
    let cases: [(&[&str], Reason); 10] = [
        (&["*"], Reason::VaryStar),
        (&["*, *"], Reason::VaryStar),
        (&[", *"], Reason::VaryStar),
        (&["Foo, *"], Reason::VaryStar),
        (&["Foo", " *"], Reason::VaryStar),
        (&["x y"], Reason::VaryMalformed),
        (&["a:b"], Reason::VaryMalformed),
        (&["\"a\""], Reason::VaryMalformed),
        (&[&many], Reason::VaryMalformed),
        (&[&long], Reason::VaryMalformed),
    ];
    for (at, (lines, reason)) in cases.into_iter().enumerate() {
        let path = format!("/{at}");
        let answer = Answer::ok("x").header("cache-control", "max-age=60").etag("\"1\"");
        origin.on(&path, lines.iter().fold(answer, |answer, line| answer.header("vary", line)));
        let seen = get(&session, &origin.url(&path), &[]).await;
        assert_eq!(seen.storing(), Storing::No(reason), "{at}");
        assert!(!is_stored(&session, &origin.url(&path)).await, "{at}");
    }
    assert!(entries(&**session.cache()).await.is_empty());
    // Empty elements are no names and harm nothing.
    origin.on("/empty", Answer::ok("x").header("vary", " , ,").header("cache-control", "max-age=60"));
    assert!(is_stored(&session, &origin.url("/empty")).await);
}

/// Case 46: a 304 for one variant keeps what selects it, and touches no other.
#[tokio::test]
async fn a_304_keeps_what_selects_its_variant() {
    let origin = Origin::start(|request: &Recorded| {
        let user = request.header("x-user").unwrap_or_default().to_owned();
        let answer = Answer::ok(user.clone()).header("cache-control", "max-age=60, stale-while-revalidate=60");
        answer.header("vary", "x-user").etag(&format!("\"{user}\""))
    })
    .await;
    let (session, clock) = session();
    let url = origin.url("/");
    for user in ["a", "b"] {
        get(&session, &url, &[("x-user", user)]).await;
    }
    clock.advance(Duration::from_secs(120));
    assert_eq!(get(&session, &url, &[("x-user", "a")]).await.outcome(), Outcome::Revalidated);
    let seen = get(&session, &url, &[("x-user", "a")]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "a"));
    let seen = get(&session, &url, &[("x-user", "b")]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Revalidated, "b"));
    // The same in the background.
    clock.advance(Duration::from_secs(70));
    assert_eq!(get(&session, &url, &[("x-user", "a")]).await.outcome(), Outcome::Stale);
    eventually("the refresh is over", || origin.count() == 5 && session.layer().in_flight() == 0).await;
    session.layer().flush().await;
    let seen = get(&session, &url, &[("x-user", "a")]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "a"));
    assert_eq!(get(&session, &url, &[("x-user", "c")]).await.text, "c");
}

/// Case 47: a variant that expired does not hide a live one that matches too.
#[tokio::test]
async fn a_live_variant_is_found_behind_an_expired_one() {
    let origin = Origin::scripted().await;
    let (session, clock) = session();
    let url = origin.url("/");
    let live = Answer::ok("live").header("vary", "a").header("cache-control", "max-age=1000");
    let short = Answer::ok("short").header("vary", "b").header("cache-control", "max-age=10").header("etag", "\"1\"");
    origin.on("/", [live, short]);
    get(&session, &url, &[("a", "1"), ("b", "1")]).await;
    // Another value of `a`, so that the first does not match; the second is stored by `b` alone.
    get(&session, &url, &[("a", "2"), ("b", "1")]).await;
    clock.advance(Duration::from_secs(20));
    let seen = get(&session, &url, &[("a", "1"), ("b", "1")]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "live"));
}

/// Case 48: the number of variants is bounded; the oldest go, and their entries with them.
#[tokio::test]
async fn variants_are_bounded_and_the_oldest_go() {
    let origin = varying("a").await;
    let (session, _) = with_settings(Settings::default().max_variants(3));
    let url = origin.url("/");
    for at in 0..20 {
        get(&session, &url, &[("a", &at.to_string())]).await;
    }
    session.layer().flush().await;
    // Three responses and the index that names them.
    assert_eq!(entries(&**session.cache()).await.len(), 4);
    for (at, outcome) in [(16, Outcome::Miss), (18, Outcome::Hit), (19, Outcome::Hit), (0, Outcome::Miss)] {
        assert_eq!(get(&session, &url, &[("a", &at.to_string())]).await.outcome(), outcome, "{at}");
    }
    // The default.
    let (session, _) = super::session();
    for at in 0..200 {
        get(&session, &url, &[("a", &at.to_string())]).await;
    }
    session.layer().flush().await;
    assert_eq!(entries(&**session.cache()).await.len(), 64 + 1);
}

/// What a URL varies on may change; nothing that was stored before is given to who does not select it.
#[tokio::test]
async fn vary_may_change_over_time() {
    let origin = Origin::scripted().await;
    let (session, clock) = session();
    let url = origin.url("/");
    let answer = |body: &'static str, vary: &str| {
        let answer = Answer::ok(body).header("cache-control", "max-age=60");
        if vary.is_empty() { answer } else { answer.header("vary", vary) }
    };
    // None, then one.
    origin.on("/", [answer("plain", ""), answer("a1", "a"), answer("a2", "a")]);
    assert_eq!(get(&session, &url, &[("a", "1")]).await.text, "plain");
    assert_eq!(get(&session, &url, &[("a", "2")]).await.text, "plain");
    clock.advance(Duration::from_secs(61));
    assert_eq!(get(&session, &url, &[("a", "1")]).await.text, "a1");
    assert_eq!(get(&session, &url, &[("a", "2")]).await.text, "a2");
    assert_eq!(get(&session, &url, &[("a", "1")]).await.text, "a1");
    // Another field.
    clock.advance(Duration::from_secs(61));
    origin.on("/", [answer("b1", "b"), answer("b2", "b")]);
    assert_eq!(get(&session, &url, &[("a", "1"), ("b", "1")]).await.text, "b1");
    assert_eq!(get(&session, &url, &[("a", "1"), ("b", "2")]).await.text, "b2");
    assert_eq!(get(&session, &url, &[("a", "9"), ("b", "1")]).await.text, "b1");
    // None again: the variants and their index are gone.
    clock.advance(Duration::from_secs(61));
    origin.on("/", answer("plain", ""));
    assert_eq!(get(&session, &url, &[("b", "1")]).await.text, "plain");
    let seen = get(&session, &url, &[("b", "2")]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "plain"));
    session.layer().flush().await;
    assert_eq!(entries(&**session.cache()).await.len(), 1);
}

/// Case 8 and design section 10: a variant by a credential is matched by its hash, and nothing stored shows the
/// credential.
#[tokio::test]
async fn a_credential_selects_by_its_hash() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("vary", "authorization, cookie, proxy-authorization");
    origin.on("/", answer.header("cache-control", "max-age=60, public"));
    for shared in [false, true] {
        let (session, _) = with_settings(Settings::default().shared(shared));
        let url = origin.url("/");
        for name in ["authorization", "cookie", "proxy-authorization"] {
            for value in ["canary-1", "canary-2"] {
                assert_eq!(get(&session, &url, &[(name, value)]).await.outcome(), Outcome::Miss, "{name}");
                assert_eq!(get(&session, &url, &[(name, value)]).await.outcome(), Outcome::Hit, "{name}");
            }
        }
        session.layer().flush().await;
        let stored = entries(&**session.cache()).await;
        assert!(stored.len() > 6);
        for (key, entry) in stored {
            for bytes in [key.as_bytes(), &entry.head[..], &entry.body[..]] {
                assert!(!bytes.windows(6).any(|window| window == b"canary"), "{key}");
            }
        }
    }
}

/// An origin with a variant for each language: `en` is good for a year, the others for a minute, and can be revalidated.
async fn by_language(gate: Option<&Gate>) -> Origin {
    let gate = gate.cloned();
    Origin::start(move |request: &Recorded| {
        let language = request.header("accept-language").unwrap_or_default().to_owned();
        let max_age = if language == "en" { "max-age=31536000" } else { "max-age=60" };
        let answer = Answer::ok(language.clone()).header("cache-control", max_age).header("vary", "accept-language");
        match &gate {
            Some(gate) if request.header("if-none-match").is_some() => {
                answer.etag(&format!("\"{language}\"")).after(gate)
            }
            _ => answer.etag(&format!("\"{language}\"")),
        }
    })
    .await
}

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn speaking(session: &CachedSession, url: &str, language: &str) -> Outcome {
    get(session, url, &[("accept-language", language)]).await.outcome()
}

/// Case 46, RFC 9111 section 4.3.4: a variant lives as long as its last 304 says, in the index too, where another one
/// lives longer and the index itself is kept for the sake of that.
#[tokio::test]
async fn a_variant_that_is_revalidated_stays_in_the_index() {
    let origin = by_language(None).await;
    let (session, clock) = session();
    let url = origin.url("/");
    for language in ["en", "de"] {
        assert_eq!(speaking(&session, &url, language).await, Outcome::Miss);
    }
    for _ in 0..10 {
        clock.advance(DAY);
        assert_eq!(speaking(&session, &url, "de").await, Outcome::Revalidated);
    }
    // Makes the index anew.
    assert_eq!(speaking(&session, &url, "fr").await, Outcome::Miss);
    clock.advance(DAY);
    assert_eq!(speaking(&session, &url, "de").await, Outcome::Revalidated);
    assert_eq!(speaking(&session, &url, "en").await, Outcome::Hit);
}

/// The same for variants that are revalidated at once, by sessions on one cache: neither takes the other's new deadline
/// back.
#[tokio::test]
async fn variants_that_are_revalidated_at_once_stay_in_the_index() {
    let gate = Gate::new();
    let origin = by_language(Some(&gate)).await;
    let clock = ManualClock::new();
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::builder().clock(Arc::new(clock.clone())).build().unwrap());
    let on_cache = || builder(&clock).shared_cache(cache.clone()).build().unwrap();
    let session = on_cache();
    let url = origin.url("/");
    for language in ["en", "de", "fr"] {
        speaking(&session, &url, language).await;
    }
    clock.advance(6 * DAY);
    let asked = ["de", "fr"].map(|language| {
        let (session, url) = (on_cache(), url.clone());
        tokio::spawn(async move { speaking(&session, &url, language).await })
    });
    gate.arrived(2).await;
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Outcome::Revalidated);
    }
    clock.advance(2 * DAY);
    speaking(&session, &url, "it").await;
    for language in ["de", "fr"] {
        assert_eq!(speaking(&session, &url, language).await, Outcome::Revalidated, "{language}");
    }
}

/// The same for a lifetime that use renews.
#[tokio::test]
async fn a_variant_that_is_used_stays_in_the_index() {
    let origin = Origin::start(|request: &Recorded| {
        let answer = Answer::ok("body").header("vary", "accept-language");
        if request.header("accept-language") == Some("en") {
            answer.header("cache-control", "max-age=31536000")
        } else {
            answer
        }
    })
    .await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let (session, clock) = with_settings(Settings::default().expire_after(minutes(60)).sliding(minutes(1)));
    let url = origin.url("/");
    for language in ["en", "de"] {
        assert_eq!(speaking(&session, &url, language).await, Outcome::Miss);
    }
    for _ in 0..5 {
        clock.advance(minutes(40));
        assert_eq!(speaking(&session, &url, "de").await, Outcome::Hit);
    }
    assert_eq!(speaking(&session, &url, "fr").await, Outcome::Miss);
    assert_eq!(speaking(&session, &url, "de").await, Outcome::Hit);
}

/// The same for a lifetime that is set anew, beside a variant that stays for ever.
#[tokio::test]
async fn a_variant_whose_lifetime_is_set_anew_stays_in_the_index() {
    let origin = by_language(None).await;
    let (session, clock) = session();
    let url = origin.url("/");
    for language in ["en", "de"] {
        speaking(&session, &url, language).await;
    }
    let all = Filter::new();
    assert_eq!(session.cache().reset_expiration(all, 30 * DAY).await.unwrap(), 2);
    clock.advance(20 * DAY);
    speaking(&session, &url, "fr").await;
    assert_eq!(speaking(&session, &url, "de").await, Outcome::Hit);
}
