//! The MongoDB backend against a real server, named by `HCC_MONGO_URL`.
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
mod lifecycle;
mod round_trips;
mod support;
