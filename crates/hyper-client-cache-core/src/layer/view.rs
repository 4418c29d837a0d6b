//! A cache as its session sees it: what lies under which key depends on the session's settings, and how old it is on its
//! clock.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use http::{Request, Uri};

use super::Engine;
use super::lookup::Asked;
use super::rekey::Rekeyed;
use super::replay::said;
use crate::cache::{Cache, CacheExt, CacheStats, CachedResponse, Contents, Copied, Filter, SortBy, Stored};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{ExpireAfter, Settings};
use crate::storage::CacheKey;

/// What is written as a URL, as a request with it would be sent.
pub(crate) type ParseUrl = dyn Fn(&str) -> Result<Uri> + Send + Sync;

/// The cache of a session or layer, with its settings and its clock: what is stored for which URL, and removing it.
///
/// Cheap to clone. It is used as a [`dyn Cache`](Cache) where its storages are wanted; the methods here are those that
/// know the session, under the names of [`CacheExt`], whose conditions they keep.
/// A store that fails is an error here, because whoever asks wants to know.
///
/// ```
/// use std::time::Duration;
/// use hyper_client_cache_core::cache::Filter;
/// use hyper_client_cache_core::session::CachedSession;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> hyper_client_cache_core::Result<()> {
/// # let origin = hyper_client_cache_testkit::origin::Origin::scripted().await;
/// # origin.on("/", hyper_client_cache_testkit::origin::Answer::ok("hello").header("cache-control", "max-age=60"));
/// # let url = origin.url("/");
/// let session = CachedSession::builder().build()?;
/// session.get(&url).send().await?.text().await?;
///
/// let cache = session.cache();
/// assert!(cache.has_url(&url).await?);
/// let stored = cache.get_url(&url).await?.ok_or("nothing is stored").unwrap();
/// println!("{} {} until {:?}", stored.status(), stored.url(), stored.expires());
/// assert_eq!(cache.count(Filter::new().older_than(Duration::from_secs(3600))).await?, 0);
/// assert_eq!(cache.delete_url(&url).await?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CacheView {
    engine: Arc<Engine>,
    parse: Arc<ParseUrl>,
}

impl CacheView {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let parse = |url: &str| {
            let uri: Uri = url.parse().map_err(|_| Error::new(ErrorKind::Request, "the URL is not valid"))?;
            match uri.scheme() {
                Some(_) => Ok(uri),
                None => Err(Error::new(ErrorKind::Request, "the URL has no scheme")),
            }
        };
        Self { engine, parse: Arc::new(parse) }
    }

    /// The same, taking URLs as a session does.
    #[cfg(feature = "client")]
    pub(crate) fn parsing(mut self, parse: impl Fn(&str) -> Result<Uri> + Send + Sync + 'static) -> Self {
        self.parse = Arc::new(parse);
        self
    }

    /// The cache itself, for what needs to hold it: another session, another task.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Cache> {
        self.engine.ledger.cache().clone()
    }

    /// Whether a response is stored for `url`, in whichever variant and partition, to a GET or a HEAD. A redirect is a
    /// response too. It may be past its freshness.
    ///
    /// Costs a few reads.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the URL is not valid, else the store's own.
    pub async fn has_url(&self, url: &str) -> Result<bool> {
        let uri = (self.parse)(url)?;
        Ok(self.engine.stored_for(&uri).await?.responses > 0)
    }

    /// The stored response that a plain GET of `url` selects, with its body if that is not in parts. It may be past its
    /// freshness; a redirect is not followed.
    ///
    /// # Errors
    /// As [`has_url`](Self::has_url).
    pub async fn get_url(&self, url: &str) -> Result<Option<CachedResponse>> {
        let mut request = Request::new(http_body_util::Empty::<Bytes>::new());
        *request.uri_mut() = (self.parse)(url)?;
        self.get(&request).await
    }

    /// The stored response that `request` selects, with its body if that is not in parts. It may be past its freshness;
    /// what the request's headers and its mode say about caching does not count.
    ///
    /// # Errors
    /// The store's own.
    pub fn get<'a, B: 'static>(
        &'a self,
        request: &'a Request<B>,
    ) -> impl Future<Output = Result<Option<CachedResponse>>> + Send + use<'a, B> {
        let (method, uri, headers, body) = (request.method(), request.uri(), request.headers(), said(request));
        let settings = self.engine.settings.load_full();
        let matching = settings.matching_for(request.extensions().get(), uri);
        async move {
            let (settings, matching) = (&*settings, &matching);
            let asked =
                Asked { method, uri, headers, body, settings, matching, only_told: true, cookies: None, by: None };
            Ok(self.engine.selected(asked).await?.and_then(|stored| self.shown(stored)))
        }
    }

    /// The stored response under `key`, with its body if that is not in parts.
    ///
    /// # Errors
    /// The store's own.
    pub async fn get_key(&self, key: &CacheKey) -> Result<Option<CachedResponse>> {
        Ok(self.engine.ledger.lookup(key).await?.and_then(|stored| self.shown(stored)))
    }

    /// Removes all that is stored for `url`: every variant, in every partition, to GET and HEAD, and what is on its way
    /// to the store; says how many responses that were. What was asked for before is not stored after it.
    ///
    /// # Errors
    /// As [`has_url`](Self::has_url). Where the store fails, look-ups in this process may find it again.
    pub async fn delete_url(&self, url: &str) -> Result<u64> {
        let uri = (self.parse)(url)?;
        // First, so that nothing that is on its way is stored behind our back (case 56).
        let settings = self.engine.settings.load_full();
        let matching = settings.matching_for(None, &uri);
        self.engine.outdate(&uri, &settings.keyer(&matching));
        let stored = self.engine.stored_for(&uri).await?;
        self.engine.ledger.delete_now(&stored.keys).await?;
        Ok(stored.responses)
    }

    /// Removes the stored response that `request` selects; `true` where there was one. Other variants and partitions of
    /// its URL stay.
    ///
    /// # Errors
    /// The store's own.
    pub fn delete<'a, B: 'static>(
        &'a self,
        request: &'a Request<B>,
    ) -> impl Future<Output = Result<bool>> + Send + use<'a, B> {
        let (method, uri, headers, body) = (request.method(), request.uri(), request.headers(), said(request));
        let settings = self.engine.settings.load_full();
        let matching = settings.matching_for(request.extensions().get(), uri);
        async move {
            let (settings, matching) = (&*settings, &matching);
            self.engine.outdate(uri, &settings.keyer(matching));
            let asked =
                Asked { method, uri, headers, body, settings, matching, only_told: true, cookies: None, by: None };
            let Some(stored) = self.engine.selected(asked).await? else { return Ok(false) };
            self.engine.ledger.delete_now(&[*stored.record.key()]).await?;
            Ok(true)
        }
    }

    /// Removes what is stored under `key`; `true` where something was.
    ///
    /// # Errors
    /// The store's own.
    pub async fn delete_key(&self, key: &CacheKey) -> Result<bool> {
        let ledger = &self.engine.ledger;
        // Whose answer might come back under the key is not known.
        ledger.invalidate_all();
        let was_there = ledger.lookup(key).await?.is_some();
        ledger.delete_now(&[*key]).await?;
        Ok(was_there)
    }

    /// The stored responses that `filter` means: [`CacheExt::entries`].
    pub fn entries(&self, filter: Filter) -> BoxStream<'_, Result<CachedResponse>> {
        self.contents().entries(self.by_clock(filter))
    }

    /// The URL of each stored response: [`CacheExt::urls`].
    pub fn urls(&self) -> BoxStream<'_, Result<String>> {
        CacheExt::urls(self.cache())
    }

    /// How many stored responses `filter` means: [`CacheExt::count`].
    ///
    /// # Errors
    /// The store's own.
    pub async fn count(&self, filter: Filter) -> Result<u64> {
        self.contents().count(self.by_clock(filter)).await
    }

    /// The first `limit` of the stored responses that `filter` means: [`CacheExt::top`].
    ///
    /// # Errors
    /// The store's own.
    pub async fn top(&self, filter: Filter, by: SortBy, limit: usize) -> Result<Vec<CachedResponse>> {
        self.contents().top(self.by_clock(filter), by, limit).await
    }

    /// The body of a stored response: [`CacheExt::body`].
    pub fn body(&self, response: &CachedResponse) -> BoxStream<'_, Result<Bytes>> {
        CacheExt::body(self.cache(), response)
    }

    /// How many entries there are: [`CacheExt::size`].
    ///
    /// # Errors
    /// The store's own.
    pub async fn size(&self) -> Result<u64> {
        self.contents().size().await
    }

    /// How many bytes they have: [`CacheExt::bytes`].
    ///
    /// # Errors
    /// The store's own.
    pub async fn bytes(&self) -> Result<u64> {
        self.contents().bytes().await
    }

    /// What was counted about the cache in this process, by all sessions that share it.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.engine.ledger.stats()
    }

    /// Removes what is past its deadline, which nobody finds any more, and parts of bodies that nothing refers to; says
    /// how many entries went. What is only past its freshness stays for as long as it may be revalidated or served stale:
    /// [`delete_matching`](Self::delete_matching) with [`Filter::expired`] removes that too.
    ///
    /// # Errors
    /// The store's own.
    pub async fn delete_expired(&self) -> Result<u64> {
        self.cache().delete_expired(self.engine.clock.now()).await
    }

    /// Removes what was received, or last confirmed, at least `age` ago: [`CacheExt::delete_older_than`].
    ///
    /// # Errors
    /// The store's own.
    pub async fn delete_older_than(&self, age: Duration) -> Result<u64> {
        self.delete_matching(Filter::new().older_than(age)).await
    }

    /// Gives what `filter` means the lifetime that `expire_after` says, counted from now, whatever its headers say, and
    /// says how many responses that were; what is of no use any more by that, or is not to be stored at all, is removed.
    /// Costs a listing, and a read and a write for each.
    ///
    /// What forbids a response to be served without revalidation still does. What another request changes meanwhile is
    /// left as that says.
    ///
    /// # Errors
    /// The store's own; some may be changed by then.
    pub async fn reset_expiration(&self, filter: Filter, expire_after: impl Into<ExpireAfter>) -> Result<u64> {
        self.engine.expire_anew(self.entries(filter), expire_after.into()).await
    }

    /// Finds what was stored by the settings `before` under the keys that it has by the settings of now, so that it
    /// answers again after a change of [`Matching`](crate::key::Matching) or of the secret; says how many responses
    /// that were.
    ///
    /// A record does not say all that its key was made of. Whatever had more than a URL and the fields that `Vary` names
    /// stays where it is and is counted: what was stored for a caller with credentials, for a request with a body or
    /// with a [`Matching`](crate::key::Matching) of its own, and for a URL with a secret or, where it counts by now, an
    /// ignored parameter in it. So does all that others would be given than before: the partition, the kind of cache, the
    /// way to the origin and which credentials count must be the same in both.
    ///
    /// What answers several URLs, because its origin says so in `No-Vary-Search`, goes on doing so where both settings
    /// believe that.
    ///
    /// Costs a listing, and a few reads and writes for each that moves; one is in memory at a time. The entry is in its
    /// new place before it leaves the old, so that nothing is lost if this ends in between; doing it again goes on. It may
    /// be done while requests are answered, and twice.
    ///
    /// ```
    /// use hyper_client_cache_core::key::Matching;
    /// # use hyper_client_cache_core::session::CachedSession;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> hyper_client_cache_core::Result<()> {
    /// # let session = CachedSession::builder().build()?;
    /// let before = session.settings();
    /// session.update_settings(|settings| settings.matching(Matching::default().sort_query(true)))?;
    /// let rekeyed = session.cache().rekey(&before).await?;
    /// println!("{} moved, {} left", rekeyed.moved, rekeyed.skipped);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a setting of `before` is impossible, else the store's own.
    pub async fn rekey(&self, before: &Settings) -> Result<Rekeyed> {
        self.engine.rekey(before).await
    }

    /// Removes what `filter` means: [`CacheExt::delete_matching`].
    ///
    /// # Errors
    /// The store's own.
    pub async fn delete_matching(&self, filter: Filter) -> Result<u64> {
        self.contents().delete_matching(self.by_clock(filter)).await
    }

    /// Removes everything, and what is on its way to the store. What was asked for before is not stored after it.
    ///
    /// # Errors
    /// The store's own.
    pub async fn clear(&self) -> Result<()> {
        self.engine.ledger.clear().await
    }

    /// Copies everything to another cache: [`CacheExt::copy_to`].
    ///
    /// # Errors
    /// Either store's own.
    pub async fn copy_to(&self, target: &dyn Cache) -> Result<Copied> {
        CacheExt::copy_to(self.cache(), target).await
    }

    fn cache(&self) -> &dyn Cache {
        &**self.engine.ledger.cache()
    }

    fn contents(&self) -> Contents<'_> {
        Contents::of(self.cache())
    }

    fn by_clock(&self, filter: Filter) -> Filter {
        filter.by(&*self.engine.clock)
    }

    fn shown(&self, stored: Stored) -> Option<CachedResponse> {
        CachedResponse::new(stored, true, self.engine.clock.now())
    }
}

impl Deref for CacheView {
    type Target = dyn Cache;

    fn deref(&self) -> &dyn Cache {
        self.cache()
    }
}

impl fmt::Debug for CacheView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheView").field(self.engine.ledger.cache()).finish()
    }
}
