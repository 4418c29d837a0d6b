//! Floors: the least that the work takes, written by hand with no library of ours.
//!
//! [`memory`] looks up a map, [`file`] reads a file, [`sqlite`] selects through sqlx, [`grouped`] writes through rusqlite
//! as fast as SQLite allows, [`redis`], [`mongo`] and [`dynamodb`] are the bare call of the driver, [`uncached`] is the
//! bare client. [`message`] is how they keep a response, [`lookup`] what a miss cannot do without.
//!
//! The drivers are those that our backends re-export, so that both sides of a ratio have the same version of them.

pub(crate) mod dynamodb;
pub(crate) mod file;
pub(crate) mod grouped;
pub(crate) mod lookup;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod mongo;
pub(crate) mod redis;
pub(crate) mod sqlite;
pub(crate) mod uncached;
