//! Core from outside.
// Tests may panic: that is how they fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)]

mod guard;
mod memory;
#[cfg(feature = "client")]
mod session;
mod storage;
mod support;
mod tiered;
