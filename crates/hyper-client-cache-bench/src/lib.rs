//! Measures `hyper-client-cache` beside hand-written floors and its peers.
//!
//! A figure here is never an absolute time, which on a shared machine means nothing, but a ratio between things that
//! were measured side by side, in a shuffled order, in the same round; what is quoted is the median of the rounds.
//! This is why the runner is our own: Criterion and its kin measure one thing after another.
//!
//! The modules in reading order: [`cli`] (the arguments), [`rows`] (what is measured, by the numbers of
//! `docs/benchmarks.md`), [`runner`] (rounds in shuffled order) with [`stats`] and [`table`], [`measure`] (one sample of
//! one contender), [`client`] (what all contenders have in common), then the contenders [`ours`], [`floors`], [`peers`], and the
//! loopback [`origin`] that they ask and the [`servers`] that some store in. [`probe`] is one measurement in a process of its own, [`alloc`] what it counts
//! with.

mod cli;

mod rows;

mod runner;
mod stats;
mod table;

mod measure;

mod client;
mod ours;

mod floors;
mod peers;

mod origin;
mod servers;

mod alloc;
mod probe;

pub use alloc::Allocator;
pub use cli::main;

/// Any error: a benchmark stops at the first one and prints it.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Result<T> = std::result::Result<T, BoxError>;
