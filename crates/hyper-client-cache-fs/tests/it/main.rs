//! What only this backend promises: paths, permissions, processes, bounds. The common contract is the test kit's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)] // a test fails by panicking

mod bounds;
mod contract;
mod damage;
mod faults;
mod files;
mod processes;
mod session;
mod support;
