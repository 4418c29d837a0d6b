#![doc = include_str!("../README.md")]
//!
//! # Reading order
//!
//! `config` (what can be set, and connecting), `cache` (the three storages of a session), `storage` (one collection as
//! a storage; `listing` for its listings, `expiry` for its dead), `document` (an entry as a document), `schema` (the
//! index), `commands` (running the driver's operations to their end), `error`.

// In tests an overflow panics, which is how a test fails.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod config;

mod cache;

mod storage;

mod listing;

mod expiry;

mod document;

mod schema;

mod commands;

mod error;

pub use mongodb;

pub use self::cache::MongoCache;
pub use self::config::MongoConfig;
pub use self::storage::MongoStorage;
