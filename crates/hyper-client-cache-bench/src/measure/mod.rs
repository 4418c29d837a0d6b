//! How one sample of one contender is taken: [`hits`], [`spread`] and [`misses`] through a client, [`stores`], [`calls`],
//! [`expiry`] and [`opening`] past it, [`child`] in a process of its own.

pub(crate) mod calls;
pub(crate) mod child;
pub(crate) mod expiry;
pub(crate) mod hits;
pub(crate) mod misses;
pub(crate) mod opening;
pub(crate) mod spread;
pub(crate) mod stores;
