//! What only this backend promises: names, servers that fail, clusters, costs. The common contract is the test kit's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)] // a test fails by panicking

mod cancelled;
mod contract;
mod costs;
mod failover;
mod gathered;
mod liar;
mod lifecycle;
mod lying;
mod outages;
mod server;
mod states;
mod support;
mod topologies;
