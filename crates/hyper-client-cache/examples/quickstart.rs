//! Two requests through a `CachedSession`, the second answered from a SQLite file: also in the next process.
//!
//! `cargo run --example quickstart` asks a slow origin that it starts itself on this machine;
//! `cargo run --example quickstart -- https://httpbin.org/delay/1` asks that URL.
// It prints, and it fails by panicking: that is what an example is for.
#![allow(clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use hyper_client_cache::CachedSession;
use hyper_client_cache::sqlite::SqliteCache;
use hyper_client_cache_testkit::origin::{Answer, Origin};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, _origin) = match std::env::args().nth(1) {
        Some(url) => (url, None),
        None => {
            let origin = slow_origin().await;
            (origin.url("/slow"), Some(origin))
        }
    };
    let file = SqliteCache::default_path()?.with_file_name("hyper-client-cache-quickstart.sqlite");
    let cache = SqliteCache::open(file.clone()).await?;
    let session = CachedSession::builder().cache(cache).expire_after(Duration::from_secs(3600)).build()?;

    println!("GET {url}");
    for call in 1..=2 {
        let begun = Instant::now();
        let response = session.get(&url).send().await?;
        let (status, info) = (response.status(), response.cache_info().cloned());
        let body = response.bytes().await?;
        let time = begun.elapsed();
        let (outcome, reason) = info.as_ref().map_or(("-", "-"), |info| (info.outcome.as_str(), info.reason.as_str()));
        let age = info.and_then(|info| info.age).map_or("-".to_owned(), |age| format!("{} s", age.as_secs()));
        println!("call {call}: {status}, outcome {outcome} ({reason}), age {age}, {} bytes, {time:.1?}", body.len());
    }
    session.close().await?;
    println!("stored in {} ({} bytes)", file.display(), tokio::fs::metadata(&file).await?.len());
    Ok(())
}

/// An origin that takes a second for each answer. It has the same port each time, if that is free, so that a second run
/// asks for the same URL.
async fn slow_origin() -> Origin {
    let origin = Origin::builder().port(47_113).start().await;
    let answer = Answer::ok(r#"{"message":"this took a second"}"#).header("content-type", "application/json");
    origin.on("/slow", answer.header("cache-control", "max-age=3600").delay(Duration::from_secs(1)));
    origin
}
