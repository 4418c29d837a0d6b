//! A server that is gone, hangs, refuses or comes back: the request goes on, and so does caching afterwards.

use std::time::Duration;

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Guard;
use hyper_client_cache_mongo::MongoCache;
use hyper_client_cache_mongo::mongodb::Client;
use hyper_client_cache_mongo::mongodb::bson::doc;
use hyper_client_cache_testkit::origin::{Answer, Origin};
use hyper_client_cache_testkit::outages::Outage;

use crate::support::{Databases, address, url};

/// A cache behind a proxy that the test makes fail.
async fn outage(databases: &Databases) -> Outage {
    let outage = Outage::new(address(), async |at, guard| {
        MongoCache::builder(databases.name("c"))
            .url(format!("mongodb://{at}/?directConnection=true&connectTimeoutMS=2000"))
            .server_selection_timeout(Duration::from_secs(2))
            .guard(guard)
            .connect()
            .await
            .unwrap()
    });
    outage.await.unwrap()
}

/// Cases 204 and 207: refused in mid-run, then back, by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_a_miss_and_hits_come_back_with_it() {
    let databases = Databases::new();
    outage(&databases).await.of_a_server_that_is_gone().await.unwrap();
}

/// Case 205: accepts and never answers. The request goes on after the deadline, and at once when the breaker is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_a_deadline_and_then_nothing() {
    let databases = Databases::new();
    outage(&databases).await.of_a_server_that_hangs().await.unwrap();
}

/// Cases 206 and 208: an answer that drips or is cut is no answer, and the next one is not its rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_dripping_or_cut_answer_is_a_miss() {
    let databases = Databases::new();
    outage(&databases).await.of_answers_that_drip_or_are_cut().await.unwrap();
}

/// Case 224: a login that is refused later is a miss too, and its text shows no password.
#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_an_error_of_connect_and_later_a_miss() {
    let databases = Databases::new();
    let config = MongoCache::builder(databases.name("c")).url(format!("mongodb://user:canary@{}/", address()));
    let config = config.server_selection_timeout(Duration::from_secs(30));
    let error = config.clone().connect().await.unwrap_err();
    assert!(error.to_string().contains("credentials"), "{error}");
    assert!(!format!("{error:?} {error}").contains("canary"));

    let cache = config.open().await.unwrap();
    let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("hello"));
    for _ in 0..2 {
        let response = session.get(origin.url("/")).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "hello");
    }
    let counted = cache.stats().guard;
    assert!(counted.failed + counted.timed_out > 0, "{counted:?}");
}

/// Makes the server refuse these commands of one client's with this code, or not any more.
///
/// Needs a server that was started for tests, which the project's is.
async fn refuse(app: &str, commands: &[&str], code: Option<(i32, i32)>) {
    let client = Client::with_uri_str(url()).await.unwrap();
    let mut order = doc! { "configureFailPoint": "failCommand", "mode": "off" };
    if let Some((code, times)) = code {
        order.insert("mode", doc! { "times": times });
        order.insert("data", doc! { "failCommands": commands.to_vec(), "errorCode": code, "appName": app });
    }
    client.database("admin").run_command(order).await.expect("a server that takes test commands");
}

/// Case 218: a primary that steps down, while another is elected, is a miss for reads and a store that is left out or
/// tried again; no error and no duplicate key reaches anybody, and hits come back by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_steps_down_is_a_miss() {
    let _alone = FAIL_POINT.lock().await;
    let databases = Databases::new();
    let app = databases.name("app");
    let guard = Guard::builder().deadline(Duration::from_secs(5)).write_deadline(Duration::from_secs(5));
    let guard = guard.probe_after(Duration::from_millis(50)).build().unwrap();
    let cache = MongoCache::builder(databases.name("c"))
        .url(format!("mongodb://{}/?directConnection=true&appName={app}", address()))
        .guard(guard)
        .connect()
        .await
        .unwrap();
    let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
    let origin = Origin::scripted().await;
    let ask = async |path: &str| {
        origin.on(path, Answer::ok("hello").header("cache-control", "max-age=600"));
        let response = session.get(origin.url(path)).send().await.unwrap();
        let from_cache = response.from_cache();
        assert_eq!(response.text().await.unwrap(), "hello");
        from_cache
    };
    // Not a primary; stepped down; the shutdown of a node.
    for (round, code) in [10_107, 189, 91].into_iter().enumerate() {
        refuse(&app, &["find", "update", "delete"], Some((code, 1_000))).await;
        for number in 0..3 {
            assert!(!ask(&format!("/{round}-{number}")).await, "code {code}");
        }
        session.layer().flush().await;
        refuse(&app, &[], None).await;
        let mut came_back = false;
        for _ in 0..1200 {
            came_back |= ask(&format!("/{round}-back")).await;
            session.layer().flush().await;
            if came_back {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(came_back, "no hit a minute after code {code}");
    }
    let stats = session.stats();
    assert!(stats.lookup_failed > 0 && stats.store_failed > 0, "{stats:?}");
    assert_eq!(stats.corrupt, 0);
}

/// There is one fail point of a name on a server.
static FAIL_POINT: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
