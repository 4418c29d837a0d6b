//! Test kit.

pub mod origin;
