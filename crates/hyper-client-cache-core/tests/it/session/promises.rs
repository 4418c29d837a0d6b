//! What holds without anything being set, and what nobody can do to a cache that others use too.

use std::time::Duration;

use hyper_client_cache_core::cache::{Cache, MemoryCache};
use hyper_client_cache_core::policy::{CacheControl, Mode, Outcome, Settings, StaleWindow};
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};

use super::{builder, entries, get, is_stored, session, with_settings};

/// Case 245: who sets nothing has a private cache, bounded, with callers apart, time-outs on, certificates checked, no
/// errors stored and no secret in clear. That files are their owner's alone, the crates that make some show.
#[tokio::test]
async fn the_default_configuration_is_the_safe_one() {
    let settings = Settings::default();
    assert!(!settings.shared && !settings.offline && settings.max_variants == 64);
    assert_eq!((settings.cache_control, settings.mode), (CacheControl::Honor, Mode::Default));
    assert_eq!((settings.stale_if_error, settings.stale_while_revalidate), (StaleWindow::Never, StaleWindow::Never));
    let limit = MemoryCache::default().responses().info().max_entry_len.unwrap();
    assert!(limit <= 128 << 20, "memory is bounded, {limit}");

    let origin = Origin::start(|request: &Recorded| match request.path() {
        "/error" => Answer::status(500).body("x"),
        "/missing" => Answer::status(404).body("x"),
        _ => Answer::ok(request.header("authorization").unwrap_or("-").to_owned()),
    })
    .await;
    let (session, _) = session();
    for caller in ["Bearer canary-1", "Bearer canary-2"] {
        let target = origin.url("/?api_key=canary-3");
        let seen = get(&session, &target, &[("authorization", caller), ("cookie", "id=canary-4")]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, caller), "each has a partition");
    }
    for path in ["/error", "/missing"] {
        assert!(!is_stored(&session, &origin.url(path)).await, "{path}");
    }
    session.layer().flush().await;
    let stored = entries(&**session.cache()).await;
    assert_eq!(stored.iter().filter(|(_, entry)| !entry.body.is_empty()).count(), 2);
    // The bodies repeat what the origin was told.
    assert!(stored.iter().all(|(_, entry)| !entry.head.windows(6).any(|bytes| bytes == b"canary")));

    let tls = Origin::builder().tls().start().await;
    tls.on("/", Answer::ok("x"));
    let error = session.get(tls.url("/")).send().await.unwrap_err();
    assert_eq!((error.kind(), tls.count()), (ErrorKind::Connect, 0), "certificates are checked");
}

/// Case 245: a request ends although nobody has set how long it may take.
#[tokio::test]
async fn a_request_ends_by_itself() {
    let gate = Gate::new();
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").gate(&gate));
    let session = CachedSession::builder().build().unwrap();
    let mut request = std::pin::pin!(async { session.get(origin.url("/")).send().await?.bytes().await });
    tokio::select! {
        _ = &mut request => panic!("nothing came so far"),
        () = gate.arrived(1) => {}
    }
    tokio::time::pause();
    let error = request.await.unwrap_err();
    tokio::time::resume();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    gate.open();
}

/// Case 29: by the preset for those who pass on what others ask for, a field that only the origin knows leaves nothing
/// behind for anybody else.
#[tokio::test]
async fn what_a_client_sends_along_poisons_nothing() {
    let origin = Origin::start(|request: &Recorded| {
        let host = request.header("x-forwarded-host").or(request.header("x-original-url")).unwrap_or("-");
        Answer::ok(host.to_owned()).header("cache-control", "public, max-age=60").header("vary", "accept-language")
    })
    .await;
    let (session, _) = with_settings(Settings::gateway());
    let ask = |headers: &'static [(&'static str, &'static str)]| {
        let (session, url) = (session.clone(), origin.url("/"));
        async move { get(&session, &url, headers).await }
    };
    for (field, value) in [("x-forwarded-host", "evil"), ("x-original-url", "/evil")] {
        let seen = ask(Box::leak(Box::new([(field, value)]))).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, value));
    }
    let seen = ask(&[("user-agent", "one"), ("authorization", "a")]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, "-"));
    let seen = ask(&[("user-agent", "other"), ("traceparent", "00-1"), ("authorization", "b")]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "-"), "what is harmless costs no hit");
    assert_eq!(ask(&[("accept-language", "de")]).await.outcome(), Outcome::Miss, "`Vary` counts as ever");
    assert_eq!(ask(&[("x-forwarded-host", "evil")]).await.outcome(), Outcome::Hit, "a variant of its own");
    session.post(origin.url("/")).send().await.unwrap();
    assert_eq!(ask(&[("x-forwarded-host", "evil")]).await.outcome(), Outcome::Miss, "it is invalidated too");
}

/// Case 102: a response with more header than anybody needs is an error, or reaches its caller and no store.
#[tokio::test]
async fn headers_beyond_all_measure_are_not_stored() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let many = "x: y\r\n".repeat(100_000);
    let long = format!("x: {}\r\n", "y".repeat(16 << 20));
    let heavy = (0..80).map(|n| format!("x-{n}: {}\r\n", "y".repeat(4_000))).collect::<String>();
    for (path, lines) in [("/many", many), ("/long", long), ("/heavy", heavy)] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncache-control: max-age=60\r\n{lines}\r\nx");
        origin.on(path, Answer::raw(head));
        for _ in 0..2 {
            match session.get(origin.url(path)).send().await {
                Ok(response) => {
                    assert!(!response.from_cache(), "{path}");
                    assert_eq!(response.text().await.unwrap(), "x", "{path}");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Transport, "{path}: {error:?}"),
            }
            session.layer().flush().await;
        }
    }
    assert_eq!(session.cache().responses().size().await.unwrap(), 0);
}

/// Case 165: a machine that slept for an hour finds its entries an hour older, whatever its processes have counted.
#[tokio::test(start_paused = true)]
async fn what_a_machine_sleeps_is_part_of_an_age() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=3600"));
    let clock = ManualClock::new();
    let session = builder(&clock).build().unwrap();
    let before = tokio::time::Instant::now();
    get(&session, &origin.url("/"), &[]).await;
    clock.advance(Duration::from_secs(3599));
    let seen = get(&session, &origin.url("/"), &[]).await;
    assert_eq!((seen.outcome(), seen.lines("age")), (Outcome::Hit, vec![&b"3599"[..]]));
    clock.advance(Duration::from_secs(1));
    assert_eq!(get(&session, &origin.url("/"), &[]).await.outcome(), Outcome::Miss);
    assert!(before.elapsed() < Duration::from_secs(3600));
}
