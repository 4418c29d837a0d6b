//! How one sample of one contender is taken: [`hits`] and [`misses`] through a client, [`stores`] and [`calls`] past it,
//! [`child`] in a process of its own.

pub(crate) mod calls;
pub(crate) mod child;
pub(crate) mod hits;
pub(crate) mod misses;
pub(crate) mod stores;
