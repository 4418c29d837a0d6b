//! The same cache around a client of one's own: here hyper-util's, as it is.
//!
//! `cargo run --example layer`

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_client_cache::cache::MemoryCache;
use hyper_client_cache::layer::CacheLayer;
use hyper_client_cache::policy::CacheInfo;
use hyper_client_cache_testkit::origin::{Answer, Origin};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Layer, Service, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("hello").header("cache-control", "max-age=60"));

    // A layer that adds credentials to requests would go around the cache, not between it and the client: answers are kept
    // apart by what the cache sees.
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut service = CacheLayer::builder(MemoryCache::default()).build()?.layer(client);
    for _ in 0..2 {
        let request = Request::get(origin.url("/")).body(Full::default())?;
        let response = service.ready().await?.call(request).await?;
        let outcome = response.extensions().get::<CacheInfo>().map_or("-", |info| info.outcome.as_str());
        let body = response.into_body().collect().await?.to_bytes();
        println!("{outcome}: {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
