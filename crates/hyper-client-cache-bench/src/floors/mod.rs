//! Floors: the least that the work takes, written by hand with no library of ours.
//!
//! [`memory`] looks up a map, [`sqlite`] selects through sqlx, [`grouped`] writes through rusqlite as fast as SQLite
//! allows, [`uncached`] is the bare client.

pub(crate) mod grouped;
pub(crate) mod memory;
pub(crate) mod sqlite;
pub(crate) mod uncached;
