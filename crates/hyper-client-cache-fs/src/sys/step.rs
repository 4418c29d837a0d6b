//! A place before each call that changes something, at which tests let the process die or the call fail.

/// Called before the change that `what` names. Outside of this crate's unit tests it does nothing.
#[cfg(not(test))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps)] // the tests' version fails
pub(crate) const fn step(_what: &str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use crate::crash::step;
