//! Clusters, sentinels, TLS, clients that were there before.

use futures_util::TryStreamExt;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_redis::fred::interfaces::ClientLike;
use hyper_client_cache_redis::fred::types::config::Config;
use hyper_client_cache_redis::{RedisCache, RedisConfig};
use hyper_client_cache_testkit::origin::{Answer, Origin};

use crate::server::{self, Server};
use crate::support::{self, address, key, keys_of, patient, remove, unique};

/// A look at everything a cache does, on a server of whatever kind.
async fn works(config: RedisConfig) {
    let cache = patient(config).connect().await.unwrap();
    let responses = cache.responses();
    let entries: Vec<_> = (0..100).map(|number| (key(number), Entry::new("head", format!("{number}")))).collect();
    responses.write_many(entries.clone()).await.unwrap();
    assert_eq!(responses.size().await.unwrap(), 100);
    let mut found: Vec<_> = responses.entries().try_collect().await.unwrap();
    found.sort_by_key(|(key, _)| *key);
    assert_eq!(found, entries);
    assert_eq!(responses.delete_many(&[key(1), key(2), key(1000)]).await.unwrap(), 2);
    cache.clear().await.unwrap();
    assert_eq!(responses.size().await.unwrap(), 0);
    cache.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_behind_sentinels_is_found() {
    works(RedisCache::builder(unique("sentinel")).url(address("HCC_REDIS_SENTINEL_URL"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_is_spoken_to_encrypted() {
    let ca = std::fs::read(address("HCC_REDIS_TLS_CA")).unwrap();
    let url = address("HCC_REDIS_TLS_URL");
    works(RedisCache::builder(unique("tls")).url(&url).ca_certificates(ca)).await;
    // Case 122: an authority that nobody named.
    let error = RedisCache::builder("tls").url(&url).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
}

/// Case 122: expired, for another host, self-signed, or no TLS at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, private) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let long_ago = (rcgen::date_time_ymd(2000, 1, 1), rcgen::date_time_ymd(2001, 1, 1));
    for (host, times, trusted, accepted) in [
        ("127.0.0.1", None, true, true),
        ("127.0.0.1", None, false, false),
        ("example.com", None, true, false),
        ("127.0.0.1", Some(long_ago), true, false),
    ] {
        let signing = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        if let Some((from, to)) = times {
            (params.not_before, params.not_after) = (from, to);
        }
        let signed = params.self_signed(&signing).unwrap();
        std::fs::write(&certificate, signed.pem()).unwrap();
        std::fs::write(&private, signing.serialize_pem()).unwrap();
        let port = server::free_port();
        let files = [certificate.to_str().unwrap(), private.to_str().unwrap()];
        let server = Server::start(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            files[0],
            "--tls-key-file",
            files[1],
            "--tls-auth-clients",
            "no",
            "--tls-ca-cert-file",
            files[0],
        ]);
        let config = RedisCache::builder(unique("certificate")).url(format!("rediss://127.0.0.1:{port}"));
        let config = if trusted { config.ca_certificates(signed.pem()) } else { config };
        let connecting = if accepted { patient(config.clone()) } else { config.clone() };
        let connected = connecting.connect().await;
        assert_eq!(connected.is_ok(), accepted, "{host} {trusted}: {:?}", connected.err());
        // The same server in clear.
        let plain = config.url(server.url().replace("redis://", "rediss://")).connect().await;
        assert!(plain.is_err());
    }
}

/// A client that is there already: shared, connected by its owner, and left open.
#[tokio::test(flavor = "multi_thread")]
async fn an_existing_client_is_used_and_left_open() {
    let client = support::client(&support::standalone()).await;
    works(RedisCache::builder(unique("client")).client(client.clone())).await;
    assert!(client.is_connected());
    works(RedisCache::builder(unique("client")).client(client.clone())).await;
    client.quit().await.unwrap();
    let error = RedisCache::builder("client").client(client).connect().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drivers_own_configuration_is_used() {
    let config = Config::from_url(&support::standalone()).unwrap();
    works(RedisCache::builder(unique("driver")).client_config(config)).await;
}

/// On a cluster keys are spread, and what belongs to one request lies together.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_spread_over_a_cluster_and_those_of_a_request_are_not() {
    let name = unique("spread");
    let origin = Origin::start(|request: &hyper_client_cache_testkit::origin::Recorded| {
        // No more parts than may be on their way: stored however long the servers take.
        let len = if request.path().contains("large") { 500_000 } else { 10 };
        Answer::pattern(len).header("cache-control", "max-age=3600")
    })
    .await;
    let cache = patient(RedisCache::builder(&name).url(support::cluster())).connect().await.unwrap();
    let session = CachedSession::builder().cache(cache).build().unwrap();
    for number in 0..20 {
        for path in ["/small", "/large"] {
            let url = origin.url(&format!("{path}/{number}"));
            let miss = session.get(&url).send().await.unwrap().bytes().await.unwrap();
            session.layer().flush().await;
            let hit = session.get(&url).send().await.unwrap();
            assert!(hit.from_cache());
            assert!(hit.bytes().await.unwrap() == miss);
        }
    }
    session.close().await.unwrap();
    let client = support::client(&support::cluster()).await;
    let keys = keys_of(&client, &name).await;
    assert_eq!(keys.len(), 20 + 20 * 3, "{keys:?}");
    let tags: std::collections::BTreeSet<_> =
        keys.iter().map(|key| key.split_once('{').unwrap().1.split_once('}').unwrap().0.to_owned()).collect();
    assert_eq!(tags.len(), 40);
    let _ = client.quit().await;
    remove(&support::cluster(), &name).await;
}
