//! What only this backend promises: the table, batches, round trips, faults. The common contract is the test kit's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)] // a test fails by panicking

mod contract;
mod faults;
mod heads;
mod round_trips;
mod sessions;
mod support;
mod table;
