//! Two requests through a `CachedSession`, the second answered from a table of DynamoDB: also in the next process.
//!
//! `cargo run --features dynamodb --example dynamodb -- http://127.0.0.1:8000` keeps responses on that server, Amazon's
//! DynamoDB Local for one, in the table `http-cache-example`; without an argument it is the one that `HCC_DYNAMODB_URL`
//! names.

mod shared;

use std::time::Duration;

use hyper_client_cache::dynamodb::DynamoDbCache;
use hyper_client_cache::storage::Guard;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).or_else(|| std::env::var("HCC_DYNAMODB_URL").ok());
    let server =
        server.ok_or("name a server: an argument, or HCC_DYNAMODB_URL (`cargo xtask services up` starts one)")?;
    // For the real DynamoDB, `.sdk_config(&aws_config::load_from_env().await)` stands for the first three lines.
    let cache = DynamoDbCache::builder("http-cache-example")
        .endpoint_url(server)
        .region("local")
        .credentials("local", "local")
        .create_if_not_exists(true)
        // DynamoDB Local needs more than the usual 100 milliseconds for the first look-ups.
        .guard(Guard::builder().deadline(Duration::from_secs(2)).build()?)
        .connect()
        .await?;
    shared::ask_twice(cache, None).await
}
