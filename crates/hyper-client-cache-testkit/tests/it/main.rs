//! The suite itself (that it passes where it should, and that each of its tests can fail), and the scripted origin.
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

mod broken;
mod custom_storage;
mod docs;
mod faulty;
mod killed;
mod origin;
mod proxy;
mod reference;
