//! Two requests through a `CachedSession`, the second answered from a file: also in the next process.
//!
//! `cargo run --features fs --example fs` asks a slow origin that it starts itself on this machine;
//! `cargo run --features fs --example fs -- https://httpbin.org/delay/1` asks that URL.

mod shared;

use hyper_client_cache::fs::FsCache;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = FsCache::default_path()?.with_file_name("hyper-client-cache-example");
    let cache = FsCache::open(&folder).await?;
    shared::ask_twice(cache, std::env::args().nth(1)).await?;
    println!("stored in {}", folder.display());
    Ok(())
}
