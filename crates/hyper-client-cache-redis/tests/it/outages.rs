//! A server that hangs, dies, comes back, is full, forgets, lies: requests go on, caching resumes.

use std::time::Duration;

use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_redis::RedisCache;
use hyper_client_cache_testkit::origin::{Answer, Origin};
use hyper_client_cache_testkit::proxy::{Fault, Proxy};

use crate::server::Server;
use crate::support::{ask, key, origin, patient, resumes, session, unique, until};

/// Cases 204, 207, 216: a server that is not there at first, comes, is killed, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_restarted_is_used_again() {
    let origin = origin().await;
    let url = origin.url("/");
    let mut server = Server::start(&[]);
    let cache = patient(RedisCache::builder(unique("killed")).url(server.url())).open().await.unwrap();
    let session = session(&cache);
    server.kill();
    for _ in 0..20 {
        assert!(!ask(&session, &url).await);
    }
    server.restart();
    resumes(&session, &url).await;
    server.kill();
    for _ in 0..20 {
        assert!(!ask(&session, &url).await);
    }
    // It has forgotten everything.
    server.restart();
    resumes(&session, &url).await;
    assert_eq!(server.command(&["FLUSHALL"]), "+OK");
    assert!(!ask(&session, &url).await);
    assert!(ask(&session, &url).await);
    let stats = cache.stats();
    assert!(stats.guard.failed > 0, "{stats:?}");
    session.close().await.unwrap();
}

/// Case 205, 207: a server that accepts and does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_a_deadline_and_then_nothing() {
    let origin = origin().await;
    let url = origin.url("/");
    let server = Server::start(&[]);
    let cache = RedisCache::builder(unique("hung")).url(server.url()).connect().await.unwrap();
    let session = session(&cache);
    resumes(&session, &url).await;
    server.freeze();
    for _ in 0..30 {
        assert!(!ask(&session, &url).await);
    }
    let guard = cache.guard().unwrap();
    assert!(guard.stats().timed_out > 0, "{guard:?}");
    assert!(guard.stats().opened > 0, "{guard:?}");
    assert!(guard.stats().refused > 0, "{guard:?}");
    server.thaw();
    resumes(&session, &url).await;
    session.close().await.unwrap();
}

/// Case 206: an answer that comes byte by byte does not stretch the deadline; case 208: one that is cut short is no
/// answer, and the next one is the next question's.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_drip_or_are_cut_are_misses_and_never_anothers() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    let config = RedisCache::builder(unique("cut")).url(format!("redis://{}", proxy.addr()));
    let cache = config.unguarded().command_timeout(Duration::from_secs(1)).open().await.unwrap();
    let responses = cache.responses();
    let entry = |number: u64| Entry::new(format!("head {number}"), format!("{number:08}").repeat(100));
    for number in 0..8 {
        until("it is written", async || responses.write(&key(number), entry(number)).await.is_ok()).await;
    }
    let drip = Fault::Drip(Duration::from_millis(100));
    for (fault, asked) in [(Fault::CutAfter(1), 8), (Fault::CutAfter(30), 8), (Fault::CutAfter(400), 8), (drip, 2)] {
        proxy.set(fault).await;
        let mut failed = 0;
        for number in 0..asked {
            match responses.read(&key(number)).await {
                Ok(found) => assert_eq!(found, Some(entry(number)), "{fault:?}"),
                Err(error) => {
                    assert!(error.is_transient(), "{error:?}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 0, "{fault:?} did nothing");
        proxy.set(Fault::None).await;
        // Made anew, and once more where that was under way.
        for number in 0..8 {
            until("the connection is made anew", async || match responses.read(&key(number)).await {
                Ok(found) => found == Some(entry(number)) || panic!("{found:?} after {fault:?}"),
                Err(_) => false,
            })
            .await;
        }
    }
    cache.close().await.unwrap();
}

/// Case 211: nothing is stored, what is there is still served.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_read_and_not_written() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let cache = patient(RedisCache::builder(unique("full")).url(server.url())).open().await.unwrap();
    let origin = origin().await;
    let session = session(&cache);
    let (there, other) = (origin.url("/"), origin.url("/?other"));
    origin.on("/?other", Answer::ok("body").header("cache-control", "max-age=3600"));
    assert!(!ask(&session, &there).await);
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1000000"]), "+OK");
    for _ in 0..20 {
        assert!(!ask(&session, &other).await);
        assert!(ask(&session, &there).await, "reading goes on");
    }
    assert!(session.layer().stats().store_failed > 0);
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    resumes(&session, &other).await;
    session.close().await.unwrap();
}

/// Case 212: one part of a body is evicted: the body is not served in pieces. It has no more parts than may be on their
/// way, so that it is stored however long the server takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_evicted_makes_no_mixed_body() {
    let server = Server::start(&[]);
    let origin = Origin::start(|_: &hyper_client_cache_testkit::origin::Recorded| {
        Answer::pattern(500_000).header("cache-control", "max-age=3600")
    })
    .await;
    let cache = patient(RedisCache::builder(unique("evicted")).url(server.url())).open().await.unwrap();
    let session = session(&cache);
    let url = origin.url("/large");
    let whole = session.get(&url).send().await.unwrap().bytes().await.unwrap();
    session.layer().flush().await;
    assert!(session.get(&url).send().await.unwrap().from_cache());
    let part = cache.bodies().unwrap();
    let keys: Vec<_> = futures_util::TryStreamExt::try_collect(part.keys()).await.unwrap();
    assert_eq!(keys.len(), 2);
    assert!(part.delete(&keys[1]).await.unwrap());
    let again = session.get(&url).send().await.unwrap().bytes().await;
    // Made up for from the origin, or an error: never other bytes.
    assert!(again.as_ref().map_or(true, |again| *again == whole));
    session.layer().flush().await;
    let once_more = session.get(&url).send().await.unwrap().bytes().await.unwrap();
    assert!(once_more == whole);
    session.close().await.unwrap();
}

/// Case 224: refused credentials are an error when connecting, and later only a counter.
#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_an_error_at_first_and_a_counter_later() {
    let server = Server::start(&["--requirepass", "right-canary"]);
    for url in [server.url(), server.url().replace("://", "://:wrong-canary@")] {
        let config = RedisCache::builder(unique("refused")).url(url);
        let error = config.clone().connect().await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("refuses"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
        let origin = origin().await;
        let cache = config.open().await.unwrap();
        let session = session(&cache);
        assert!(!ask(&session, &origin.url("/")).await);
        assert!(!ask(&session, &origin.url("/")).await);
        assert!(session.layer().stats().lookup_failed > 0);
        session.close().await.unwrap();
    }
    let right = RedisCache::builder(unique("accepted")).url(server.url().replace("://", "://:right-canary@"));
    right.connect().await.unwrap().close().await.unwrap();
}

/// A server that is nowhere, and one that is no cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_is_an_error_at_connect() {
    let error = RedisCache::builder("nowhere").url("redis://127.0.0.1:1").connect().await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    let server = Server::start(&[]);
    let error = RedisCache::builder("no-cluster").url(server.cluster_url()).connect().await.unwrap_err();
    assert_eq!(error.kind(), hyper_client_cache_core::ErrorKind::Config, "{error:?}");
}

/// Case 213: a key of ours that holds something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_is_a_counted_miss_and_is_written_over() {
    let server = Server::start(&[]);
    let name = unique("type");
    let cache = patient(RedisCache::builder(&name).url(server.url())).open().await.unwrap();
    let responses = cache.responses();
    let text = format!("{name}:responses:{{{}}}", key(1));
    let spoil = || assert_eq!(server.command(&["RPUSH", &text, "x"]), ":1");
    spoil();
    assert_eq!(responses.read(&key(1)).await.unwrap(), None);
    assert_eq!(responses.stats().corrupt, 1);
    spoil();
    assert_eq!(responses.read_many(&[key(1), key(2)]).await.unwrap(), vec![None, None]);
    spoil();
    assert!(!responses.contains(&key(1)).await.unwrap());
    spoil();
    assert_eq!(responses.size().await.unwrap(), 0);
    spoil();
    assert!(!responses.delete(&key(1)).await.unwrap());
    spoil();
    assert!(cache.get(&key(1)).await.unwrap().is_none());
    responses.write(&key(1), Entry::new("head", "body")).await.unwrap();
    assert_eq!(responses.read(&key(1)).await.unwrap(), Some(Entry::new("head", "body")));
    cache.close().await.unwrap();
}

/// Case 217: far more at once than may wait: each ends, in time, with its own answer or none.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_at_once_end_with_their_own_answer_or_none() {
    let server = Server::start(&[]);
    let cache = RedisCache::builder(unique("crowd")).url(server.url()).unguarded().connect().await.unwrap();
    let entry = |number: u64| Entry::new("head", format!("{number}"));
    for number in 0..100 {
        cache.responses().write(&key(number), entry(number)).await.unwrap();
    }
    let tasks: Vec<_> = (0..10_000)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move { (number % 100, cache.responses().read(&key(number % 100)).await) })
        })
        .collect();
    let mut answered = 0;
    for task in tasks {
        match task.await.unwrap() {
            (number, Ok(found)) => {
                assert_eq!(found, Some(entry(number)));
                answered += 1;
            }
            (_, Err(error)) => assert!(error.is_transient(), "{error:?}"),
        }
    }
    assert!(answered > 0);
    until("it answers again", async || cache.responses().read(&key(1)).await.is_ok()).await;
    cache.close().await.unwrap();
}
