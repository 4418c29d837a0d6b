#![doc = include_str!("../README.md")]
//!
//! # Reading order
//!
//! `config` is what can be set, `cache` what a session is given, `storage` one third of a table as a
//! [`Storage`](hyper_client_cache_core::storage::Storage).
//! `head` puts and renews heads that may name parts of a large body.
//! `table` is what all handles share: every call goes through it.
//! `item` says how an entry lies in an item; `batch` reads and writes many at once, `scan` lists, `expiry` follows the
//! index of deadlines; `schema` makes and checks the table, `connect` makes the client.

mod config;

mod cache;

mod storage;

mod head;

mod table;

mod item;

mod batch;
mod expiry;
mod scan;

mod connect;
mod schema;

mod error;

/// The driver, for its options and clients.
pub use aws_sdk_dynamodb;

pub use self::cache::DynamoDbCache;
pub use self::config::DynamoDbConfig;
pub use self::item::DynamoDbAttributes;
pub use self::storage::DynamoDbStorage;
