#![doc = include_str!("../README.md")]
//!
//! # How this crate is built
//!
//! `cache` is what a session is given, `config` what can be set; `storage` is one table as a
//! [`Storage`](hyper_client_cache_core::storage::Storage), `bulk` many changes at
//! once, `front` the memory before it.
//! Below them `engine` is what all handles share: `absent` (what a look-up need not ask for; `bloom`), `reader` (a few
//! connections and the gathering of reads; `lease`), and the way to `writer` (one task; `queue`, `plan`, `batch`, `rows`,
//! `census`, `eviction`, `orphans`, `uses`, `upkeep`).
//! `open`, `schema`, `path` and `quarantine` deal with a file of unknown origin, `connect` and `sql` (`places`) with the
//! driver.

mod cache;
mod config;

mod bulk;
mod front;
mod storage;

mod absent;
mod bloom;
mod engine;
mod shared;

mod lease;
mod reader;

mod batch;
mod census;
mod eviction;
mod orphans;
mod plan;
mod queue;
mod rows;
mod upkeep;
mod uses;
mod writer;

mod open;
mod path;
mod quarantine;
mod schema;

mod connect;
mod places;
mod sql;

mod error;

pub use self::bulk::SqliteBulk;
pub use self::cache::SqliteCache;
pub use self::config::{SqliteConfig, SqliteLocation};
pub use self::engine::MAX_ENTRY_LEN;
pub use self::queue::ENTRY_OVERHEAD;
pub use self::storage::SqliteStorage;
/// The driver, for its options and pools.
pub use sqlx;
