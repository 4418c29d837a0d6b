//! A persistent, asynchronous HTTP client cache.
//!
//! [`CachedSession`] is used in place of a bare HTTP client: a response that was fetched once is kept in memory, SQLite,
//! files, Redis, MongoDB, DynamoDB or a storage of your own, and answered from there for as long as that is right.
//!
//! ```no_run
//! use std::time::Duration;
//! use hyper_client_cache::{CachedSession, sqlite::SqliteCache};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let cache = SqliteCache::open("~/.cache/demo.sqlite").await?;
//!     let session = CachedSession::builder().cache(cache).expire_after(Duration::from_secs(3600)).build()?;
//!     for _ in 0..2 {
//!         let response = session.get("https://httpbin.org/delay/1").send().await?;
//!         println!("{} from_cache={}", response.status(), response.from_cache());
//!         println!("{}", response.text().await?);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! This crate only re-exports: everything but the backends is `hyper-client-cache-core`, and each backend is a crate of
//! its own, for those who want no more than they use.
//!
//! - [`session`]: the client; [`CachedSession`], its builder, requests and responses.
//! - [`policy`]: what is cached and for how long ([`policy::Settings`]), and what was decided ([`policy::CacheInfo`]).
//! - [`key`]: which requests are answered by the same entry ([`key::Matching`]).
//! - [`layer`]: the same cache around any `tower` service that sends HTTP requests.
//! - [`cache`] and [`storage`]: the traits of backends, and the ones in memory; how to look into what is stored.
//! - [`transport`]: connections, and the [`transport::Proxy`] that they go through.
#![cfg_attr(feature = "mongo", doc = "- [`mongo`]: the MongoDB backend.")]
#![cfg_attr(feature = "redis", doc = "- [`redis`]: the Redis backend.")]
#![cfg_attr(feature = "dynamodb", doc = "- [`dynamodb`]: the DynamoDB backend.")]
#![cfg_attr(feature = "sqlite", doc = "- [`sqlite`]: the SQLite backend.")]
#![cfg_attr(feature = "fs", doc = "- [`fs`]: the file backend.")]

pub use hyper_client_cache_core::{BoxError, CachedSession, Error, ErrorKind, Result};
pub use hyper_client_cache_core::{cache, clock, error, key, layer, policy, session, storage, transport};
#[cfg(feature = "dynamodb")]
pub use hyper_client_cache_dynamodb as dynamodb;
#[cfg(feature = "fs")]
pub use hyper_client_cache_fs as fs;
#[cfg(feature = "mongo")]
pub use hyper_client_cache_mongo as mongo;
#[cfg(feature = "redis")]
pub use hyper_client_cache_redis as redis;
#[cfg(feature = "sqlite")]
pub use hyper_client_cache_sqlite as sqlite;

// The README at the top of the repository is compiled with the documentation tests, and only there: the file is not
// part of this package's folder.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Compiles the code of the guide.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../docs/guide.md")]
struct Guide;

/// Compiles the code of the page for those who come from elsewhere.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../docs/migrating.md")]
struct Migrating;
