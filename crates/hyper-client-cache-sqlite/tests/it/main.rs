//! What only this backend promises: paths, files, processes, bounds. The common contract is the test kit's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)] // a test fails by panicking

mod basics;
mod bounds;
mod contract;
mod crowded;
mod damage;
mod files;
#[cfg(target_os = "linux")]
mod killed;
mod lifecycle;
mod places;
mod processes;
mod support;
mod tier;
