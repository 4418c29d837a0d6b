//! The contract of a storage and of a cache, as tests that any backend runs (case 226).
//!
//! A backend says in a [`Harness`] how it is opened and how its bytes can be damaged;
//! [`contract_tests!`](crate::contract_tests) makes one test of each rule's behaviours, [`run`] runs them all and
//! returns a [`Report`].
//! A test that a backend cannot run is skipped with a reason, and a skip fails the run unless it is named; a named one
//! that was not needed fails too, so the list of exceptions in a backend's tests is always the truth.
//!
//! The rules themselves, in files by what they are about: `content` (S1, S2, S9, S10), `atomic` (S3, S12),
//! `expiry` (S5, S6), `keys` (S4, S7, S8), `lifecycle` (S11, S13, S14), `damage` (S15), `victim` (S3, in a process that is killed), `model` (all of them at once,
//! at random), `cache`, `parts` and `looking` (for [`Cache`](crate::core::cache::Cache)s).

mod harness;
mod outcome;
mod records;
mod runner;
mod suite;
mod support;

mod atomic;
mod cache;
mod content;
mod damage;
mod expiry;
mod keys;
mod lifecycle;
mod looking;
mod model;
mod order;
mod parts;
mod victim;

pub use self::harness::{CacheHarness, Damage, Harness, Opened};
pub(crate) use self::outcome::shown;
pub use self::outcome::{Outcome, Verdict, Violation};
#[cfg(feature = "session")]
pub(crate) use self::outcome::{ensure, ensure_eq};
#[cfg(feature = "session")]
pub(crate) use self::runner::check_in;
pub use self::runner::{Report, Row, run, run_cache};
pub use self::suite::{CACHE_TESTS, STORAGE_TESTS, Test};
pub use self::victim::victim;

#[doc(hidden)]
pub use self::runner::{check, check_cache};
