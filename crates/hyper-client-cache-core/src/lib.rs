//! Traits, policy, engine and session of `hyper-client-cache`.
//!
//! Most programs use the umbrella crate `hyper-client-cache`; a backend crate builds on this one with
//! `default-features = false`, which leaves out the client.
//!
//! The modules in reading order, which is also the only direction in which they import:
//! `session` (what a person calls), [`layer`] (the engine, one tower service), `transport` (the client, as one more
//! tower service), [`policy`] (pure decisions), [`key`] (a request's cache key), [`cache`] (three storages and what
//! needs more than one of them), [`storage`] (bytes with a deadline); [`clock`] and [`error`] import nothing.

// In tests an overflow panics, which is how a test fails.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

#[cfg(feature = "client")]
pub mod session;

pub mod layer;

#[cfg(feature = "client")]
pub mod transport;

pub mod policy;

pub mod key;

pub mod cache;

pub mod storage;

pub mod clock;
pub mod error;

pub use error::{BoxError, Error, ErrorKind, Result};
#[cfg(feature = "client")]
pub use session::CachedSession;
