//! Proof for backends of `hyper-client-cache`: contract tests for any storage and any cache, a clock that tests
//! move, storages that fail on purpose, and an origin server that does what the test says.
//!
//! A crate that implements [`Storage`](core::storage::Storage) writes a [`Harness`](contract::Harness) of some twenty
//! lines, calls [`contract_tests!`] once, and has one test for each rule of the contract; one that implements
//! [`Cache`](core::cache::Cache) does the same with [`cache_contract_tests!`].
//! With the feature `session`, `session_tests!` runs what users of a session are promised over the same cache.
//! `docs/writing-a-backend.md` walks from an empty crate to a green suite, `docs/storage-contract.md` explains each
//! rule.
//!
//! Depending on this crate alone is enough: it re-exports [`core`], [`macro@async_trait`], [`bytes`], [`futures_core`],
//! [`futures_util`] and [`tokio`].
//!
//! In reading order: [`contract`] (the rules), [`reference`](mod@reference) (the smallest storage that keeps them
//! all), [`broken`] (one storage for each rule that does not), [`FaultyStorage`] (one that fails when told to),
//! [`proxy`] (a way to a real server that fails when told to), `outages` (what requests see of that, with the feature
//! `session`), [`processes`] (several processes on one store, killed again and again), [`bounds`] (what goes first where
//! there is no room), [`ManualClock`].
//!
//! ```
//! use hyper_client_cache_testkit::contract;
//! use hyper_client_cache_testkit::reference::ReferenceHarness;
//!
//! # hyper_client_cache_testkit::tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let report = contract::run(ReferenceHarness::new()).await;
//! println!("{report}");
//! report.assert_passed_except(&["s14_no_credential_is_shown", "s03_a_killed_writer_leaves_whole_entries"]);
//! # });
//! ```

pub mod contract;

#[cfg(feature = "session")]
pub mod session;

pub mod reference;

pub mod origin;

pub mod proxy;

#[cfg(feature = "session")]
pub mod outages;

pub mod processes;

pub mod bounds;

pub mod broken;

mod faulty;

mod clock;

mod warnings;

pub use async_trait::async_trait;
pub use hyper_client_cache_core as core;
pub use {bytes, futures_core, futures_util, tokio};

pub use self::clock::ManualClock;
pub use self::faulty::{Faults, FaultyStorage, Op};
pub use self::warnings::Warnings;

/// Compiles and runs the code of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-a-backend.md")]
struct WritingABackend;

/// Compiles the code of the page about the guard.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guarding.md")]
struct Guarding;
