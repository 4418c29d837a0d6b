//! A master that dies, and a replica that takes its place: behind a sentinel, and in a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_redis::RedisCache;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use crate::server::Server;
use crate::support::{ask, origin, resumes_within, session, unique, until};

/// A failover: the sentinel notices after half a second, and takes a few to come to terms with itself.
const FAILED_OVER: Duration = Duration::from_secs(60);

/// The master that a sentinel knows is killed: requests go on, and caching resumes on the replica that is promoted.
/// Case 215: what a replica has not heard of yet cannot be seen, for replicas are not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over_behind_a_sentinel() {
    let mut master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let sentinel = Server::start_sentinel(master.port(), "main");
    let knows = |what: &str| sentinel.command(&["INFO", "sentinel"]).contains(what);
    until("the sentinel knows the replica", async || knows("slaves=1")).await;
    until("the replica is in step", async || replica.command(&["INFO", "replication"]).contains("link_status:up"))
        .await;
    let url = format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=main", sentinel.port());
    let cache = RedisCache::builder(unique("sentinel")).url(url).connect().await.unwrap();
    let origin = origin().await;
    let (session, url) = (session(&cache), origin.url("/"));
    resumes_within(&session, &url, FAILED_OVER).await;
    assert_eq!((replica.calls("mget"), replica.calls("get")), (0, 0));
    assert!(master.calls("mget") > 0);

    master.kill();
    for _ in 0..20 {
        // Succeeds, wherever it comes from.
        ask(&session, &url).await;
    }
    until("it is promoted", async || replica.command(&["INFO", "replication"]).contains("role:master")).await;
    resumes_within(&session, &url, FAILED_OVER).await;
    assert!(replica.calls("mget") > 0);
    session.close().await.unwrap();
}

/// Case 214: three masters with a replica each, one master is killed under load: no request fails, hits are back when the replica
/// has taken over, and what was invalidated before is not served after.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_after_a_master_was_killed() {
    const HITS_BACK: Duration = Duration::from_secs(60);
    let mut nodes: Vec<_> = (0..6)
        .map(|_| {
            let timeout = ["--cluster-node-timeout", "1000", "--cluster-announce-ip", "127.0.0.1"];
            let cluster = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"];
            Server::start(&[&cluster[..], &timeout].concat())
        })
        .collect();
    let addresses: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let made = std::process::Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    until("the cluster is up", async || {
        nodes.iter().all(|node| {
            node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && node.command(&["CLUSTER", "NODES"]).matches("slave").count() == 3
                // A replica that never was in step with its master does not take over.
                && !node.command(&["INFO", "replication"]).contains("master_link_status:down")
        })
    })
    .await;
    let origin = Origin::start(|_: &hyper_client_cache_testkit::origin::Recorded| {
        Answer::ok("body").header("cache-control", "max-age=3600")
    })
    .await;
    let url = format!("redis-cluster://{}?node={}&node={}", addresses[3], addresses[4], addresses[5]);
    let cache = RedisCache::builder(unique("failover")).url(url).connect().await.unwrap();
    let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
    let urls: Arc<Vec<_>> = Arc::new((0..30).map(|number| origin.url(&format!("/{number}"))).collect());
    for url in urls.iter() {
        session.get(url).send().await.unwrap().bytes().await.unwrap();
    }
    session.layer().flush().await;
    // Invalidated, and replicated, before the master goes.
    let gone = &urls[0];
    session.post(gone).send().await.unwrap().bytes().await.unwrap();
    session.layer().flush().await;
    until("the replicas have it", async || nodes.iter().all(is_replicated)).await;

    // Requests all the while, of which none may fail.
    let asked = Arc::new(AtomicU64::new(0));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (session, urls, asked) = (session.clone(), urls.clone(), asked.clone());
            tokio::spawn(async move {
                loop {
                    let response = session.get(&urls[fastrand::usize(1..urls.len())]).send().await.unwrap();
                    assert_eq!(response.text().await.unwrap(), "body");
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    until("requests are under way", async || asked.load(Ordering::Relaxed) > 100).await;
    nodes[0].kill();
    let killed = Instant::now();
    assert!(!session.get(gone).send().await.unwrap().from_cache(), "what was invalidated was served");
    loop {
        let mut hits = 0;
        for url in &urls[1..] {
            let response = session.get(url).send().await.unwrap();
            hits += usize::from(response.from_cache());
            assert_eq!(response.text().await.unwrap(), "body");
        }
        if hits == urls.len() - 1 {
            break;
        }
        assert!(killed.elapsed() < HITS_BACK, "{hits} of {} are hits after {HITS_BACK:?}", urls.len() - 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for load in load {
        // A panic in it would have ended it already.
        load.abort();
        assert!(load.await.unwrap_err().is_cancelled(), "a request failed");
    }
    session.close().await.unwrap();
}

/// Whether a master's replica has all that the master was told; true of a replica.
fn is_replicated(node: &Server) -> bool {
    let text = node.command(&["INFO", "replication"]);
    let offset =
        |name: &str| text.split([',', '\r', '\n']).find_map(|found| found.strip_prefix(name)?.parse::<u64>().ok());
    text.contains("role:slave") || offset("offset=") == offset("master_repl_offset:")
}
