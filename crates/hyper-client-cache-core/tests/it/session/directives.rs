//! What the directives of a response say, however they are written (RFC 9111 section 5.2.2).

use std::time::Duration;

use hyper_client_cache_core::policy::{Outcome, Reason, Settings, Storing};
use hyper_client_cache_testkit::origin::{Answer, Origin};

use super::{get, is_stored, session, with_settings};

/// Spellings of `Cache-Control`, one line each, and whether the response is answered from the cache afterwards, in a
/// private and in a shared cache.
type Spelling = (&'static [&'static [u8]], bool, bool);

async fn check_spellings(spellings: &[Spelling]) {
    let origin = Origin::scripted().await;
    let (private, _) = session();
    let (shared, _) = with_settings(Settings::rfc9111().shared(true));
    for (at, (lines, by_private, by_shared)) in spellings.iter().enumerate() {
        let path = format!("/{at}");
        origin.on(&path, lines.iter().fold(Answer::ok("x"), |answer, line| answer.header("cache-control", line)));
        let shown: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        assert_eq!(is_stored(&private, &origin.url(&path)).await, *by_private, "private: {shown:?}");
        assert_eq!(is_stored(&shared, &origin.url(&path)).await, *by_shared, "shared: {shown:?}");
    }
}

/// Cases 9 to 12: `private`, qualified or not, in every odd spelling.
#[tokio::test]
async fn private_is_private_however_it_is_written() {
    check_spellings(&[
        (&[b"max-age=60"], true, true),
        (&[b"max-age=60, private"], true, false),
        (&[b"private=\"\", max-age=60"], true, false),
        (&[b"private=\",\", max-age=60"], true, false),
        (&[b"private=\"   \", max-age=60"], true, false),
        (&[b"private, private=\"x\", max-age=60"], true, false),
        (&[b"private=\"x\", private, max-age=60"], true, false),
        (&[b"private=\"x y\", max-age=60"], true, false),
        (&[b"private=\" Set-Cookie \", max-age=60"], true, true),
        (&[b"no-cache, no-cache=\"x\", max-age=60"], false, false),
        (&[b"no-cache=\" X-One \", max-age=60"], true, true),
    ])
    .await;
}

/// Cases 13, 14, 17, 20: a restriction is obeyed however it is written.
#[tokio::test]
async fn restrictions_are_recognised_in_any_spelling() {
    check_spellings(&[
        (&[b"max-age=60, No-Store"], false, false),
        (&[b"max-age=60, PRIVATE"], true, false),
        (&[b"NO-CACHE, max-age=60"], false, false),
        (&[b"max-age=60, no-store, x=\"\xe9\""], false, false),
        (&[b"max-age=60, \xe9, no-store"], false, false),
        (&[b"no-store;x, max-age=60"], false, false),
        (&[b"max-age=60, private\t\tfoo"], true, false),
        (&[b"max-age=60, no-store=1"], false, false),
        (&[b"max-age=60;no-store"], false, false),
        (&[b"max-age=60", b"no-store"], false, false),
        (&[b"public, max-age=60", b"x=1, No-Store"], false, false),
    ])
    .await;
}

/// Cases 15 and 16: what is inside quotes is no directive, and a quote that never ends hides none.
#[tokio::test]
async fn quotes_neither_inject_nor_hide_a_directive() {
    check_spellings(&[
        (&[b"ext=\"a, max-age=3600, public\", max-age=0"], false, false),
        // Nothing but what is inside the quotes would permit it: stale at once under the RFC's heuristic, kept by a
        // session whose own lifetime decides.
        (&[b"ext=\"a, max-age=3600, public\""], true, false),
        (&[b"ext=\"no-store\", max-age=60"], true, true),
        (&[b"ext=\"\\\"no-store\", max-age=60"], true, true),
        (&[b"max-age=60, no-cache=\"a, no-store"], false, false),
        (&[b"max-age=60, private=\"a"], true, false),
        (&[b"max-age=60, no-cache=\"a"], false, false),
    ])
    .await;
}

/// Feature 79 (RFC 8246), feature 85 (RFC 9111 section 5.2.2.3).
#[tokio::test]
async fn immutable_and_must_understand_are_known() {
    let origin = Origin::scripted().await;
    let (session, clock) = session();
    origin.on("/immutable", Answer::ok("x").header("cache-control", "max-age=60, immutable"));
    let url = origin.url("/immutable");
    get(&session, &url, &[]).await;
    clock.advance(Duration::from_secs(10));
    assert_eq!(get(&session, &url, &[("cache-control", "max-age=0")]).await.outcome(), Outcome::Hit);
    assert_eq!(get(&session, &url, &[("cache-control", "no-cache")]).await.outcome(), Outcome::Miss);
    origin.on("/understood", Answer::ok("x").header("cache-control", "max-age=60, no-store, must-understand"));
    assert!(is_stored(&session, &origin.url("/understood")).await);
    let answer = Answer::status(299).header("cache-control", "max-age=60, no-store, must-understand");
    origin.on("/not-understood", answer);
    let seen = get(&session, &origin.url("/not-understood"), &[]).await;
    assert_eq!(seen.storing(), Storing::No(Reason::ResponseMustUnderstand));
}

/// Case 23, feature 81: a response that says `no-cache` is stored, and asked about each time.
#[tokio::test]
async fn no_cache_is_stored_and_revalidated_each_time() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "no-cache").etag("\"1\""));
    let (session, _) = session();
    get(&session, &origin.url("/"), &[]).await;
    for _ in 0..2 {
        assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Revalidated);
    }
    assert_eq!(origin.count(), 3);
}
