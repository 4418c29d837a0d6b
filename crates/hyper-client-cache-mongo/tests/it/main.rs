//! The MongoDB backend against a real server, named by `HCC_MONGO_URL`.

// In tests an overflow panics, which is how a test fails.
#![allow(clippy::arithmetic_side_effects)]

mod contract;
mod lifecycle;
mod round_trips;
mod support;
