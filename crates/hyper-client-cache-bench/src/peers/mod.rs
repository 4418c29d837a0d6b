//! Peers: the HTTP client caches that a Rust program could use instead of ours, each through its public API and with
//! the bounds lifted that would make it lose entries of the bench.
//!
//! [`stable`] has `http-cache-reqwest` 0.16, [`alpha`] its 1.0 pre-release.

pub(crate) mod alpha;
pub(crate) mod stable;

/// How many entries a peer that is bounded by their number may hold: more than any row stores.
const ENTRIES: usize = 1 << 20;
