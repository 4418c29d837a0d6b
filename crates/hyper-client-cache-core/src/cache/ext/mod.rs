//! Looking into a cache: what people call by URL, and by what they look for.
//!
//! [`CacheExt`] works on every cache, whoever uses it, and knows nothing of a session's settings: it finds a URL by looking
//! through the heads of what is stored.
//! A session knows under which keys a URL lies: its [`CacheView`](crate::layer::CacheView) has the same methods, and those
//! by URL cost a few reads there.
//!
//! ```
//! use hyper_client_cache_core::cache::{CacheExt, Filter, MemoryCache};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> hyper_client_cache_core::Result<()> {
//! let cache = MemoryCache::default();
//! assert!(!cache.has_url("https://example.org/").await?);
//! // The usual use, and one for which more is asked.
//! let all = cache.count(Filter::new()).await?;
//! let gone = cache.delete_matching(Filter::new().expired().host("*.example.org")?).await?;
//! # assert_eq!((all, gone), (0, 0));
//! # Ok(())
//! # }
//! ```
//!
//! [`CachedResponse`] is what is found, [`Filter`] what is looked for; `contents` is how, `body` and `copy` what is done
//! with it.

mod body;
mod contents;
mod copy;
mod filter;
mod response;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

pub(crate) use self::contents::Contents;
pub use self::copy::Copied;
pub use self::filter::Filter;
pub use self::response::CachedResponse;
use crate::cache::Cache;
use crate::error::Result;

/// What people ask of a cache. Every [`Cache`] has these, `dyn Cache` too.
///
/// Listings are streams: none holds more than a few entries at a time, bodies are not read for them. They show each
/// response once that is there from the beginning to the end of the listing, what is still on its way to the store
/// included; indexes of URLs that vary are not shown. What is past its deadline is invisible.
///
/// What is removed is removed with the parts of its body. Where a session or layer of this process uses the cache, what
/// is on its way to the store under the same keys is removed too, and what was asked for before the deletion is not
/// stored after it, where it might be meant.
#[async_trait]
pub trait CacheExt: Cache {
    /// The cache as what all caches are.
    #[doc(hidden)]
    fn as_cache(&self) -> &dyn Cache;

    /// The stored responses that `filter` means, without bodies, in no particular order.
    fn entries(&self, filter: Filter) -> BoxStream<'_, Result<CachedResponse>> {
        Contents::of(self.as_cache()).entries(filter)
    }

    /// The URL of each stored response, without user information: as often as it has responses (variants, partitions,
    /// methods).
    fn urls(&self) -> BoxStream<'_, Result<String>> {
        self.entries(Filter::new()).map_ok(|response| response.url().to_owned()).boxed()
    }

    /// How many stored responses `filter` means. Costs a listing.
    async fn count(&self, filter: Filter) -> Result<u64> {
        Contents::of(self.as_cache()).count(filter).await
    }

    /// The first `limit` of the stored responses that `filter` means, in an order. Holds no more than those; costs a
    /// listing.
    async fn top(&self, filter: Filter, by: SortBy, limit: usize) -> Result<Vec<CachedResponse>> {
        Contents::of(self.as_cache()).top(filter, by, limit).await
    }

    /// Whether a response is stored for `url`, written as [`urls`](Self::urls) lists it, in whichever variant and
    /// partition. Costs a listing up to the first that is.
    async fn has_url(&self, url: &str) -> Result<bool> {
        Ok(self.entries(Filter::new().url(url)).try_next().await?.is_some())
    }

    /// Removes all that is stored for `url`, written as [`urls`](Self::urls) lists it, in every variant, method and
    /// partition, and says how many responses that were. Costs a listing.
    async fn delete_url(&self, url: &str) -> Result<u64> {
        self.delete_matching(Filter::new().url(url)).await
    }

    /// Removes what was received, or last confirmed, at least `age` ago, and says how many responses that were. Costs a
    /// listing.
    async fn delete_older_than(&self, age: Duration) -> Result<u64> {
        self.delete_matching(Filter::new().older_than(age)).await
    }

    /// Removes what `filter` means, and says how many responses that were. Costs a listing; where an error ends it, some
    /// may be gone.
    async fn delete_matching(&self, filter: Filter) -> Result<u64> {
        Contents::of(self.as_cache()).delete_matching(filter).await
    }

    /// How many entries there are: responses, redirects, and an index for each URL that varies. Cheap where the store
    /// counts.
    async fn size(&self) -> Result<u64> {
        Contents::of(self.as_cache()).size().await
    }

    /// How many bytes the entries have together, parts of large bodies included. Cheap where the store counts.
    async fn bytes(&self) -> Result<u64> {
        Contents::of(self.as_cache()).bytes().await
    }

    /// The body of a stored response as it came over the wire, in pieces of at most 256 KiB.
    ///
    /// Ends in [`ErrorKind::Body`](crate::ErrorKind::Body) where it is not whole any more, or where another response has
    /// taken its place since it was listed.
    fn body(&self, response: &CachedResponse) -> BoxStream<'_, Result<Bytes>> {
        body::read(Contents::of(self.as_cache()), response)
    }

    /// Copies everything to `target`, bodies and deadlines included; what is there under the same keys is replaced.
    ///
    /// Holds one entry or part at a time. An entry that `target` cannot take, because it is too large for it, is skipped
    /// and counted.
    async fn copy_to(&self, target: &dyn Cache) -> Result<Copied> {
        copy::copy(Contents::of(self.as_cache()), target).await
    }
}

impl<C: Cache> CacheExt for C {
    fn as_cache(&self) -> &dyn Cache {
        self
    }
}

impl CacheExt for dyn Cache {
    fn as_cache(&self) -> &dyn Cache {
        self
    }
}

/// An order of stored responses. Where two are equal in it, their URLs decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SortBy {
    /// What was received or confirmed last comes first.
    Newest,
    /// What was received or confirmed first comes first.
    Oldest,
    /// The longest body comes first.
    Largest,
    /// The shortest body comes first.
    Smallest,
    /// What is past its freshness first comes first; what never is comes last.
    SoonestExpiry,
    /// By URL.
    Url,
}
