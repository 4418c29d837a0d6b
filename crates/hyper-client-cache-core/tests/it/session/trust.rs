//! Whom TLS trusts, and that what was fetched under one trust is not served under another (case 72).

use std::sync::Arc;

use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::session::SessionBuilder;
use hyper_client_cache_core::transport::Proxy;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use super::proxies::proxy;
use super::{builder, text};

type Change = Box<dyn Fn(SessionBuilder) -> SessionBuilder>;

/// Case 72: sessions that share a store share entries only where they trust alike.
#[tokio::test]
async fn an_entry_is_served_only_under_the_trust_that_it_was_fetched_with() {
    let origin = Origin::builder().tls().start().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60"));
    let clock = ManualClock::new();
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let root = origin.root_certificate_der().unwrap().to_vec();
    let (one, two) = (root.clone(), root.clone());
    let ways: [Change; 5] = [
        Box::new(|builder| builder.danger_accept_invalid_certs(true)),
        Box::new(move |builder| builder.root_certificate(one.clone())),
        Box::new(move |builder| builder.root_certificate(two.clone()).only_own_root_certificates(true)),
        Box::new(move |builder| builder.root_certificate(root.clone()).danger_accept_invalid_hostnames(true)),
        Box::new(|builder| builder.danger_accept_invalid_certs(true).danger_accept_invalid_hostnames(true)),
    ];
    for way in &ways {
        let session = || way(builder(&clock).shared_cache(cache.clone())).build().unwrap();
        assert_eq!(text(&session(), &origin.url("/")).await.0, Outcome::Miss);
        assert_eq!(text(&session(), &origin.url("/")).await.0, Outcome::Hit, "the same trust shares");
    }
    assert_eq!(origin.count(), ways.len());
    // The strict one finds nothing of what they stored, and does not trust the server either.
    let strict = builder(&clock).shared_cache(cache.clone()).build().unwrap();
    assert_eq!(strict.get(origin.url("/")).send().await.unwrap_err().kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn only_own_roots_leaves_no_others() {
    let (one, other) = (Origin::builder().tls().start().await, Origin::builder().tls().start().await);
    one.on("/", Answer::ok("x"));
    other.on("/", Answer::ok("x"));
    let clock = ManualClock::new();
    let only = builder(&clock)
        .root_certificate(one.root_certificate_der().unwrap())
        .only_own_root_certificates(true)
        .build()
        .unwrap();
    assert_eq!(text(&only, &one.url("/")).await.1, "x");
    assert_eq!(only.get(other.url("/")).send().await.unwrap_err().kind(), ErrorKind::Connect);
    let error = builder(&clock).only_own_root_certificates(true).build().unwrap_err();
    assert!(error.to_string().contains("`only_own_root_certificates`"));
}

/// The name is all that is not looked at: the chain still is.
#[tokio::test]
async fn an_invalid_name_is_accepted_only_where_that_was_asked_for() {
    let origin = Origin::builder().tls().start().await;
    origin.on("/", Answer::ok("x"));
    // Through a proxy that leads every name to this machine.
    let (address, _) = proxy(false).await;
    let url = format!("https://other.invalid:{}/", origin.address().port());
    let clock = ManualClock::new();
    let root = origin.root_certificate_der().unwrap();
    let through = || builder(&clock).proxy(Proxy::all(format!("http://{address}")));
    let strict = through().root_certificate(root).build().unwrap();
    assert_eq!(strict.get(&url).send().await.unwrap_err().kind(), ErrorKind::Connect);
    let stranger = through().danger_accept_invalid_hostnames(true).build().unwrap();
    assert_eq!(stranger.get(&url).send().await.unwrap_err().kind(), ErrorKind::Connect);
    let lenient = through().root_certificate(root).danger_accept_invalid_hostnames(true).build().unwrap();
    assert_eq!(text(&lenient, &url).await.1, "x");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_keeps_entries_apart() {
    let origin = Origin::builder().client_certificate().start().await;
    origin.on("/", Answer::ok("for the one").header("cache-control", "max-age=60"));
    let (certificate, key) = origin.client_certificate_pem().unwrap();
    let clock = ManualClock::new();
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::default());
    let trusting =
        || builder(&clock).shared_cache(cache.clone()).root_certificate(origin.root_certificate_der().unwrap());
    let known = trusting().client_certificate_pem(certificate, key);
    assert!(!format!("{known:?}").contains("PRIVATE"));
    let known = known.build().unwrap();
    assert_eq!(text(&known, &origin.url("/")).await, (Outcome::Miss, "for the one".into()));
    let stranger = trusting().build().unwrap();
    assert!(stranger.get(origin.url("/")).send().await.is_err(), "neither let in nor served from the cache");
    let error = trusting().client_certificate_pem(certificate, "canary").build().unwrap_err();
    assert!(error.to_string().contains("`client_certificate_pem`") && !format!("{error:?}").contains("canary"));
}
