//! What this process knows about a cache beyond its store: writes on their way, invalidations.
