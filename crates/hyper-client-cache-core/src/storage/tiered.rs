//! One storage before another: STUB of the foundation commit.

use std::fmt;

/// Says whether the front may answer.
pub trait FrontGate: fmt::Debug + Send + Sync + 'static {
    /// Whether what the front holds is known to be current.
    fn is_open(&self) -> bool;
}

/// A storage before a storage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TieredStorage {}
