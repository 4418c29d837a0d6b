//! Two requests through a `CachedSession`, the second answered from MongoDB: also in the next process.
//!
//! `cargo run --features mongo --example mongo -- mongodb://127.0.0.1:27017` keeps responses on that server, in the
//! database `http-cache-example`; without an argument it is the one that `HCC_MONGO_URL` names.

mod shared;

use hyper_client_cache::mongo::MongoCache;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).or_else(|| std::env::var("HCC_MONGO_URL").ok());
    let server = server.ok_or("name a server: an argument, or HCC_MONGO_URL (`cargo xtask services up` starts one)")?;
    let cache = MongoCache::builder("http-cache-example").url(server).connect().await?;
    shared::ask_twice(cache, None).await
}
