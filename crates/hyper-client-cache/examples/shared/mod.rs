//! What the examples of the backends have in common: two requests for one URL, and what became of them.

use std::error::Error;
use std::time::{Duration, Instant};

use hyper_client_cache::CachedSession;
use hyper_client_cache::cache::Cache;
use hyper_client_cache_testkit::origin::{Answer, Origin};

/// Asks twice for `url`, or for a slow origin that it starts itself on this machine, through a session that keeps
/// responses in `cache` for an hour; closes both.
pub(crate) async fn ask_twice(cache: impl Cache, url: Option<String>) -> Result<(), Box<dyn Error>> {
    let (url, _origin) = match url {
        Some(url) => (url, None),
        None => {
            let origin = slow_origin().await;
            (origin.url("/slow"), Some(origin))
        }
    };
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
