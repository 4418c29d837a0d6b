//! What a test of the contract ends in.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

/// How a test that found nothing wrong ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The storage kept the rule.
    Kept,
    /// It could not be asked, and why.
    Skipped(Cow<'static, str>),
}

impl Verdict {
    /// A skip with its reason.
    pub fn skipped(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Skipped(reason.into())
    }
}

/// What every test of the contract returns.
pub type Outcome = Result<Verdict, Violation>;

/// A rule that was broken: what was seen, and the line of the suite that saw it.
#[derive(Clone, Debug)]
pub struct Violation {
    message: String,
    seen_at: Option<&'static Location<'static>>,
}

impl Violation {
    /// A violation seen by the caller.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), seen_at: Some(Location::caller()) }
    }

    /// One without a line of its own: the test panicked or never ended.
    pub(super) fn unplaced(message: impl Into<String>) -> Self {
        Self { message: message.into(), seen_at: None }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.seen_at.and_then(|at| Some((at.file().rsplit(['/', '\\']).next()?, at.line()))) {
            Some((file, line)) => write!(f, " [{file}:{line}]"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Violation {}

/// An error where the contract knows none.
impl From<hyper_client_cache_core::Error> for Violation {
    #[track_caller]
    fn from(error: hyper_client_cache_core::Error) -> Self {
        Self::new(format!("an unexpected error: {error}"))
    }
}

/// A value for a message: what is long is cut, because a list of 2,000 keys tells nobody anything.
pub(crate) fn shown(value: &impl fmt::Debug) -> String {
    const MOST: usize = 160;
    let text = format!("{value:?}");
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}.. ({} characters)", text.get(..at).unwrap_or_default(), text.len()),
        None => text,
    }
}

/// Returns a [`Violation`] unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::contract::Violation::new(format!($($message)+)));
        }
    };
}

/// Returns a [`Violation`] that shows both sides unless they are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($message:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    return Err($crate::contract::Violation::new(format!(
                        "{}: found {}, expected {}",
                        format_args!($($message)+),
                        $crate::contract::shown(left),
                        $crate::contract::shown(right),
                    )));
                }
            }
        }
    };
}

pub(crate) use {ensure, ensure_eq};
