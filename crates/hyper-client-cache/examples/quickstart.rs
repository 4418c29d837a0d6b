//! Two requests through a `CachedSession`, the second answered from a SQLite file: also in the next process.
//!
//! `cargo run --example quickstart` asks a slow origin that it starts itself on this machine;
//! `cargo run --example quickstart -- https://httpbin.org/delay/1` asks that URL.

mod shared;

use hyper_client_cache::sqlite::SqliteCache;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = SqliteCache::default_path()?.with_file_name("hyper-client-cache-quickstart.sqlite");
    let cache = SqliteCache::open(file.clone()).await?;
    shared::ask_twice(cache, std::env::args().nth(1)).await?;
    println!("stored in {} ({} bytes)", file.display(), tokio::fs::metadata(&file).await?.len());
    Ok(())
}
