//! Looking into a cache: what people call by URL, by request, and by what they look for.

mod response;

pub use self::response::CachedResponse;
