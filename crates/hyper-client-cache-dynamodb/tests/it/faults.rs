//! A service that throttles, fails, refuses, hangs or is gone: the request goes on, and so does caching afterwards.
//!
//! The local server does neither throttle nor refuse, so a scripted endpoint says what DynamoDB would say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::clock::system_clock;
use hyper_client_cache_core::error::ErrorKind;
use hyper_client_cache_core::storage::{Entry, Guard};
use hyper_client_cache_dynamodb::{DynamoDbCache, DynamoDbConfig};
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin, Recorded};
use hyper_client_cache_testkit::outages::Outage;
use serde_json::{Value, json};

use crate::support::{KEY_ID, SECRET, Tables, key, url};

/// Options for a table behind a scripted endpoint.
fn scripted(endpoint: &Origin) -> DynamoDbConfig {
    DynamoDbCache::builder("scripted").endpoint_url(endpoint.url("")).region("local").credentials(KEY_ID, SECRET)
}

/// What the service says when it fails.
fn failure(status: u16, code: &str) -> Answer {
    let text = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": SECRET});
    Answer::status(status).header("content-type", "application/x-amz-json-1.0").body(text.to_string())
}

fn success(value: &Value) -> Answer {
    Answer::ok(value.to_string()).header("content-type", "application/x-amz-json-1.0")
}

fn operation(request: &Recorded) -> String {
    request.header("x-amz-target").unwrap_or_default().rsplit('.').next().unwrap_or_default().to_owned()
}

/// What was asked for, to be given back as what was not done.
fn asked(request: &Recorded) -> Value {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    body["RequestItems"].clone()
}

/// Asks an origin through the cache and gives back whether the answer, right in any case, came from the cache.
async fn ask(session: &CachedSession, origin: &Origin, path: &str) -> bool {
    let response = session.get(origin.url(path)).send().await.unwrap();
    let from_cache = response.from_cache();
    assert_eq!(response.text().await.unwrap(), "hello");
    from_cache
}

async fn origin() -> Origin {
    Origin::start(|_: &Recorded| Answer::ok("hello").header("cache-control", "max-age=600")).await
}

/// Cases 221 and 224: whatever the service says, the caller gets the origin's answer, and a counter moves.
#[tokio::test(flavor = "multi_thread")]
async fn throttling_failures_and_refusals_are_a_miss() {
    let never = Gate::new();
    let answers = [
        ("throttled", failure(400, "ProvisionedThroughputExceededException")),
        ("throttled", failure(400, "ThrottlingException")),
        ("500", failure(500, "InternalServerError")),
        ("503", failure(503, "ServiceUnavailable")),
        ("denied", failure(400, "AccessDeniedException")),
        ("no such table", failure(400, "ResourceNotFoundException")),
        ("another table", failure(400, "ValidationException")),
        ("no answer of the service", Answer::ok("<html>a captive portal</html>")),
        ("cut", success(&json!({"Items": [], "Count": 0})).cut_after(10)),
        ("silent", success(&json!({})).after(&never)),
    ];
    let origin = origin().await;
    for (what, answer) in answers {
        let endpoint = Origin::start(answer).await;
        let guard = Guard::builder().deadline(Duration::from_millis(300)).failures(3).build().unwrap();
        let cache = scripted(&endpoint).guard(guard).open().await.unwrap();
        let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
        // Each path once: what waits to be stored is a hit in this process.
        for path in ["/1", "/2"] {
            assert!(!ask(&session, &origin, path).await, "{what}");
        }
        let stats = session.stats();
        assert!(stats.lookup_failed > 0, "{what}: {stats:?}");
    }
}

/// Cases 77 and 224: the errors themselves are told apart, are transient where trying again may help, and show nothing of
/// what the service repeats.
#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong_and_show_no_secret() {
    for (answer, kind, transient, text) in [
        (failure(400, "ThrottlingException"), ErrorKind::Storage, true, "throttles"),
        (failure(500, "InternalServerError"), ErrorKind::Storage, true, "500"),
        (failure(400, "AccessDeniedException"), ErrorKind::Config, false, "credentials"),
        (failure(400, "UnrecognizedClientException"), ErrorKind::Config, false, "credentials"),
        (failure(400, "ResourceNotFoundException"), ErrorKind::Config, false, "create_if_not_exists"),
        (Answer::ok("<html>"), ErrorKind::Storage, true, "read"),
    ] {
        let endpoint = Origin::start(answer).await;
        let error = scripted(&endpoint).unguarded().connect().await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (kind, transient), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        let shown = format!("{error} {error:?} {error:#?}");
        assert!(!shown.contains(SECRET) && !shown.contains(KEY_ID), "{shown}");
    }
}

/// Case 221: what a batch left undone is tried again, with nothing lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_left_undone_is_tried_again() {
    let rounds = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rounds);
    let endpoint = Origin::start(move |request: &Recorded| {
        let round = counted.fetch_add(1, Ordering::SeqCst);
        let left = if round % 3 < 2 { asked(request) } else { json!({}) };
        match operation(request).as_str() {
            "BatchWriteItem" => success(&json!({"UnprocessedItems": left})),
            "BatchGetItem" => success(&json!({"Responses": {"scripted": []}, "UnprocessedKeys": left})),
            other => panic!("nobody asked for {other}"),
        }
    })
    .await;
    let cache = scripted(&endpoint).unguarded().open().await.unwrap();
    let storage = cache.responses();
    storage.write_many((0..5).map(|number| (key(number), Entry::new("head", "body"))).collect()).await.unwrap();
    assert_eq!(rounds.load(Ordering::SeqCst), 3);
    let sent: Vec<_> = endpoint.requests().iter().map(|it| asked(it)["scripted"].as_array().unwrap().len()).collect();
    assert_eq!(sent, [5, 5, 5], "nothing was lost on the way");
    assert_eq!(storage.read_many(&[key(1), key(2)]).await.unwrap(), [None, None]);
    assert_eq!(rounds.load(Ordering::SeqCst), 6);
}

/// Case 221: the tries are bounded, after which it is an error that says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_nothing_is_given_up() {
    let endpoint = Origin::start(|request: &Recorded| success(&json!({"UnprocessedItems": asked(request)}))).await;
    let cache = scripted(&endpoint).unguarded().open().await.unwrap();
    let error = cache.responses().write_many(vec![(key(1), Entry::new("head", "body"))]).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("throttles"), "{error}");
    assert!((2..=10).contains(&endpoint.count()), "{} tries", endpoint.count());
}

/// A table behind a proxy that the test makes fail.
async fn outage(tables: &Tables) -> Outage {
    let server = url().trim_start_matches("http://").trim_end_matches('/').parse().expect("an address and a port");
    let outage = Outage::new(server, async |at, guard| {
        let config = tables.config("c").clock(system_clock()).endpoint_url(format!("http://{at}"));
        config.guard(guard).connect().await.unwrap()
    });
    outage.await.unwrap()
}

/// Cases 204 and 207: refused in mid-run, then back, by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_a_miss_and_hits_come_back_with_it() {
    let tables = Tables::new();
    outage(&tables).await.of_a_server_that_is_gone().await.unwrap();
}

/// Case 204: a server that is not there at the start is no error of `open`, and one of `connect`.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_never_there_is_a_miss_or_an_error_of_connect() {
    let config = DynamoDbCache::builder("nobody").endpoint_url("http://127.0.0.1:9").region("local");
    let config = config.credentials(KEY_ID, SECRET);
    let error = config.clone().connect().await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Storage, true), "{error:?}");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    let session = CachedSession::builder().cache(config.open().await.unwrap()).build().unwrap();
    let origin = origin().await;
    assert!(!ask(&session, &origin, "/1").await);
    assert!(session.stats().lookup_failed > 0);
}

/// Case 205: accepts and never answers. The request goes on after the deadline, and at once when the breaker is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_a_deadline_and_then_nothing() {
    let tables = Tables::new();
    outage(&tables).await.of_a_server_that_hangs().await.unwrap();
}

/// Cases 206 and 208: an answer that drips or is cut is no answer, and the next one is not its rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_dripping_or_cut_answer_is_a_miss() {
    let tables = Tables::new();
    outage(&tables).await.of_answers_that_drip_or_are_cut().await.unwrap();
}

/// Case 210: calls given up at any moment leave no answer for another call.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelled_calls_never_give_their_answer_to_another() {
    const TASKS: u64 = 8;
    const CALLS: u64 = 250;

    let tables = Tables::new();
    let cache = tables.config("cancelled").unguarded().connect().await.unwrap();
    let keys: Vec<_> = (0..32).map(key).collect();
    let written = keys.iter().map(|key| (*key, Entry::new(key.to_string(), key.to_string()))).collect();
    cache.responses().write_many(written).await.unwrap();
    let begun = std::time::Instant::now();
    cache.responses().read(&key(0)).await.unwrap();
    // Some calls are shorter, some longer, whatever the server and the machine are like.
    let longest = u64::try_from(begun.elapsed().as_micros()).unwrap() * TASKS * 2;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (cache, keys) = (cache.clone(), keys.clone());
            tokio::spawn(async move {
                let mut answered: u64 = 0;
                for _ in 0..CALLS {
                    let key = fastrand::choice(&keys).copied().unwrap();
                    let patience = Duration::from_micros(fastrand::u64(0..longest));
                    let read = tokio::time::timeout(patience, cache.responses().read(&key)).await;
                    if let Ok(found) = read {
                        assert_eq!(found.unwrap().unwrap().body, key.to_string(), "another's answer");
                        answered += 1;
                    }
                }
                answered
            })
        })
        .collect();
    let mut answered = 0;
    for task in tasks {
        answered += task.await.unwrap();
    }
    assert!(answered > 0 && answered < TASKS * CALLS, "{answered} of {} were answered", TASKS * CALLS);
}
