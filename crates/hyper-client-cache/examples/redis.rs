//! Two requests through a `CachedSession`, the second answered from Redis: also in the next process.
//!
//! `cargo run --features redis --example redis -- redis://127.0.0.1:6379` keeps responses on that server, under keys
//! that begin `http-cache-example:`; without an argument it is the one that `HCC_REDIS_URL` names.

mod shared;

use hyper_client_cache::redis::RedisCache;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).or_else(|| std::env::var("HCC_REDIS_URL").ok());
    let server = server.ok_or("name a server: an argument, or HCC_REDIS_URL (`cargo xtask services up` starts one)")?;
    let cache = RedisCache::builder("http-cache-example").url(server).connect().await?;
    shared::ask_twice(cache, None).await
}
