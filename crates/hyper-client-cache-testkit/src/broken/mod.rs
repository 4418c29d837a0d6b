//! Storages that break one rule each: the proof that the contract's tests can fail.
//!
//! [`storages`] lists them. Each is a [`Twist`] of a few lines around a [`ReferenceStorage`], and does what a real
//! backend once did or easily does: rounds a deadline down, clears by prefix, writes in two steps.
//! For caches there is [`BrokenCache`], which has a [`CacheFault`]; with the feature `session`, for sessions
//! `BrokenSessionHarness`, which has a `SessionFault`.
//! They lie in files of the same names as the tests that find them.

mod atomic;
mod cache;
mod content;
mod damage;
mod expiry;
#[cfg(feature = "session")]
mod fault;
mod keys;
mod lifecycle;
mod order;
#[cfg(feature = "session")]
mod session;
mod twist;

use std::fmt;
use std::sync::Arc;

pub use self::cache::{BrokenCache, BrokenCacheHarness, CacheFault};
#[cfg(feature = "session")]
pub use self::fault::SessionFault;
#[cfg(feature = "session")]
pub use self::session::BrokenSessionHarness;
pub use self::twist::{Broken, BrokenHarness, Twist};
use crate::contract::Harness;
#[allow(unused_imports)] // for the documentation
use crate::reference::ReferenceStorage;

/// A storage that breaks a rule.
#[derive(Clone)]
#[non_exhaustive]
pub struct Case {
    /// The rule that it breaks: `S1` to `S15`, or `model` where it is none of these by itself.
    pub rule: &'static str,
    /// What it does, in a few words.
    pub name: &'static str,
    /// Opens it.
    pub harness: Arc<dyn Harness>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("rule", &self.rule).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every broken storage, at least one for each rule, each with an empty place of its own.
#[must_use]
pub fn storages() -> Vec<Case> {
    fn case<T: Twist>(rule: &'static str) -> Case {
        Case { rule, name: T::NAME, harness: Arc::new(BrokenHarness::<T>::default()) }
    }
    vec![
        case::<content::RoundsDeadlinesDown>("S1"),
        case::<content::LosesTheLastByte>("S1"),
        case::<content::AnswersInItsOwnOrder>("S1"),
        case::<content::KeepsTheOldDeadline>("S2"),
        case::<atomic::WritesInTwoSteps>("S3"),
        case::<atomic::StaysLockedWhenDropped>("S3"),
        case::<keys::FailsOnWhatIsNotThere>("S4"),
        case::<expiry::ContainsTheDead>("S5"),
        case::<expiry::LetsDieTooEarly>("S5"),
        case::<expiry::IgnoresWhatIsWrittenDead>("S5"),
        case::<expiry::RemovesWhatIsAboutToDie>("S6"),
        case::<expiry::DecodesAllItHolds>("S6"),
        case::<expiry::WalksThoughItExpires>("S6"),
        case::<expiry::CountsWhatItDidNotRemove>("S6"),
        case::<keys::ClearsByPrefix>("S7"),
        case::<keys::ListsTheLastTwice>("S8"),
        case::<content::CutsAtNul>("S9"),
        case::<content::ForgetsBeforeItRefuses>("S10"),
        case::<lifecycle::ServesWhenClosed>("S11"),
        case::<atomic::MergesRacingWriters>("S12"),
        case::<lifecycle::ForgetsWhenReopened>("S13"),
        case::<lifecycle::DebugsItsPassword>("S14"),
        case::<damage::FailsOnDamage>("S15"),
        case::<damage::RemovesWhatIsNewer>("S15"),
        case::<order::WritesAgain>("model"),
    ]
}
