#![doc = include_str!("../README.md")]
//!
//! # How this crate is built
//!
//! `cache` is what a session is given, `config` what can be set; `storage` is one folder as a
//! [`Storage`](hyper_client_cache_core::storage::Storage).
//! Below them `engine` is what all handles share, and the way to `pool`, the threads, by `turns`.
//! `ops` is what is done to files, `publish` how one comes to be, `evict` makes room, `scan` looks at what there is, `uses` and `index` are what is known
//! in memory.
//! `layout` says where an entry lies, `format` what is in its file; `folder` and `path` open directories of unknown
//! origin, and `sys` is the file system.

// In tests an overflow panics, which is how a test fails.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod cache;
mod config;

mod storage;

mod engine;
mod pool;
mod turns;

mod evict;
mod ops;
mod publish;
mod scan;

mod index;
mod uses;

mod folder;
mod format;
mod layout;
mod path;

mod sys;

#[cfg(test)]
mod crash;

mod error;

pub use self::cache::FsCache;
pub use self::config::{Durability, FsConfig, FsLocation};
pub use self::engine::MAX_ENTRY_LEN;
pub use self::storage::FsStorage;
