#![doc = include_str!("../README.md")]
//!
//! # How this crate is built
//!
//! `cache` is what a session is given, `config` what can be set; `storage` is one kind of entries as a
//! [`Storage`](hyper_client_cache_core::storage::Storage), `bulk` is what is done to many of them at once and `listing` to
//! all, `scan` lists their keys, `keyspace` says what those look like, `driver` sets the driver up, `link` is the way to
//! the server and `connection` the task that keeps it.

mod cache;
mod config;

mod bulk;
mod gather;
mod listing;
mod storage;

mod keyspace;
mod scan;

mod connection;
mod driver;
mod link;
mod silence;
#[cfg(feature = "tls")]
mod tls;

mod error;

/// The driver, for its configuration and clients.
pub use fred;

pub use self::cache::RedisCache;
pub use self::config::RedisConfig;
pub use self::storage::RedisStorage;
