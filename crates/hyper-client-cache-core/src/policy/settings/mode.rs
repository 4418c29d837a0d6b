//! How the cache is used, and whether headers count.

/// How one request uses the cache. The names are those of the Fetch standard where it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Serve what is fresh, revalidate what is stale, fetch and store what is missing.
    #[default]
    Default,
    /// Neither read nor write.
    NoStore,
    /// Do not read; store what comes.
    Reload,
    /// Revalidate whatever is stored before it is served.
    NoCache,
    /// Serve what is stored however old it is, unless the origin forbade that (`no-cache`, `must-revalidate`); fetch
    /// what is missing.
    ForceCache,
    /// Serve what is stored and may be served without asking the origin; otherwise answer 504. Opens no connection.
    OnlyIfCached,
    /// Like [`Default`](Self::Default), but write nothing: not even what an unsafe request makes invalid is removed.
    /// As the mode of a session or a rule it also keeps requests from writing that ask for another mode.
    ReadOnly,
}

/// Whether what the headers say about caching counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheControl {
    /// RFC 9111: requests and responses are obeyed.
    #[default]
    Honor,
    /// The settings alone decide: `Cache-Control`, `Expires` and `Pragma` of requests and responses are ignored,
    /// `no-store` included. Vary, validators, the rules of status and method, and what a shared cache must not store
    /// for others still count.
    Ignore,
}
