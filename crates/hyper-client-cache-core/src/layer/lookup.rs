//! What is stored for a request: one read for a URL that does not vary, two for one that does.

use http::{HeaderMap, Method, Request, Uri};
use http_body::Body;

use super::search::{ByRule, variance_of};
use super::separate::CallersCookies;
use super::{Engine, replay};
use crate::cache::{BodyPlace, Record, ResponseRecord, SearchVariance, Selecting, Stored, Variants};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KeyRequest, Keyer, Matching, Separation};
use crate::policy::{self, Judgement, Lookup, Reason, ResponseFilter, Settings};
use crate::storage::CacheKey;

/// What a look-up needs to see of a request: its head, and the settings it goes by. (A reference to the whole would ask
/// of a body that it can be shared between threads.)
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// The body, where it is part of the key.
    pub(super) body: Option<&'a [u8]>,
    pub(super) settings: &'a Settings,
    pub(super) matching: &'a Matching,
    /// Whether this is only asked for to be told: then faults are not counted, and nothing is removed for them.
    pub(super) only_told: bool,
    /// The caller's own `Cookie` lines, where the request has others too.
    pub(super) cookies: Option<&'a CallersCookies>,
    /// What a response must say about its query to answer the request with another; `None` where it must be the same.
    pub(super) by: Option<&'a SearchVariance>,
}

impl<'a> Asked<'a> {
    pub(super) fn of<B: Body + 'static>(
        request: &'a Request<B>,
        settings: &'a Settings,
        matching: &'a Matching,
    ) -> Self {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let body = replay::of(request).map(|replay| &replay.bytes()[..]);
        let cookies = request.extensions().get();
        Self { method, uri, headers, body, settings, matching, only_told: false, cookies, by: None }
    }

    pub(super) fn keyer(&self) -> Keyer<'_> {
        with_cookies(self.settings.keyer(self.matching), self.cookies)
    }

    /// What of it counts for a key.
    pub(super) fn keyed(&self) -> KeyRequest<'a> {
        let mut keyed = KeyRequest::new(self.method, self.uri, self.headers);
        keyed.body = self.body;
        keyed
    }

    /// The primary key of a request like one that has a key already.
    pub(super) fn primary(&self) -> Option<CacheKey> {
        self.keyer().identify(&self.keyed()).map(|identity| identity.primary)
    }

    /// What is removed where the request may write, and counted unless it is not sent.
    pub(super) const fn care(&self, lookup: &Lookup) -> Care {
        match (self.only_told, lookup.write) {
            (true, _) => Care::Nothing,
            (false, true) => Care::Remove,
            (false, false) => Care::Count,
        }
    }

    /// Whether a stored response is about the URL of the request: about the same, or about one that differs in nothing
    /// that matters, as the response says.
    fn is_about(&self, record: &ResponseRecord) -> bool {
        match self.by {
            None => self.keyer().is_shown_url(self.uri, &record.url),
            Some(variance) => {
                self.keyer().is_shown_url_by(self.uri, &record.url, variance)
                    && variance_of(record).as_ref() == Some(variance)
            }
        }
    }
}

/// What is done about a store that fails, and about a record that is not what its key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// It is counted, and the record removed.
    Remove,
    /// It is counted.
    Count,
    /// It is only seen.
    Nothing,
}

/// What a look-up found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The response that the request selects.
    pub(super) selected: Option<Stored>,
    /// What may be done with it.
    pub(super) judgement: Judgement,
    /// What lies under the primary key, whatever it is.
    pub(super) at_primary: Option<Stored>,
    /// Why nothing was selected.
    pub(super) reason: Reason,
    /// How the store failed, where it did.
    pub(super) fault: Option<Error>,
    /// Whether the store was asked at all.
    pub(super) asked: bool,
    /// What the ledger had [counted](crate::cache::ledger::Ledger::changes) for the primary key before.
    pub(super) changes: u64,
    /// The same for the key of what is selected.
    pub(super) selected_changes: u64,
    /// What the rule of the path has led to, where there is one and it was asked for.
    pub(super) by_rule: Option<Box<ByRule>>,
}

impl Found {
    pub(super) fn not_asked() -> Self {
        Self { asked: false, ..Self::nothing(Reason::Mode) }
    }

    const fn nothing(reason: Reason) -> Self {
        let judgement = Judgement::Unusable(reason);
        Self {
            selected: None,
            judgement,
            at_primary: None,
            reason,
            fault: None,
            asked: true,
            changes: 0,
            selected_changes: 0,
            by_rule: None,
        }
    }

    fn failed(error: Error) -> Self {
        Self { fault: Some(error), ..Self::nothing(Reason::StoreFault) }
    }

    /// The variants that are known of the URL.
    pub(super) fn variants(&self) -> Option<&Variants> {
        match &*self.at_primary.as_ref()?.record {
            Record::Variants(variants) => Some(variants),
            _ => None,
        }
    }

    /// Whether it is to be looked for what another URL's response has to say.
    fn goes_on(&self, request: Asked<'_>) -> bool {
        self.selected.is_none() && self.fault.is_none() && request.matching.believes_no_vary_search()
    }

    /// The primary key under which it was found, where that is not the request's own.
    pub(super) fn elsewhere(&self) -> Option<&CacheKey> {
        self.by_rule.as_ref()?.primary.as_ref()
    }
}

impl Engine {
    /// Looks a request up. A store that fails is a miss.
    pub(super) async fn find(&self, request: Asked<'_>, primary: &CacheKey, lookup: &Lookup) -> Found {
        let mut found = self.find_under(request, primary, lookup).await;
        if found.goes_on(request) {
            found = Box::pin(self.find_by_rule(request, lookup, found)).await;
        }
        match &request.settings.filter_read {
            None => found,
            Some(filter) => Box::pin(self.only_if(filter, found)).await,
        }
    }

    /// What was found, without what the filter does not let be used.
    async fn only_if(&self, filter: &ResponseFilter, found: Found) -> Found {
        let Some(stored) = &found.selected else { return found };
        let Some(record) = stored.record.as_response() else { return found };
        let body = matches!(record.body, BodyPlace::Inline { .. }).then_some(&stored.body);
        match self.filtered(filter, record, body).await {
            Ok(()) => found,
            Err(reason) => Found { selected: None, judgement: Judgement::Unusable(reason), reason, ..found },
        }
    }

    /// The same, whatever a filter says about what is found.
    pub(super) async fn find_any(&self, request: Asked<'_>, primary: &CacheKey, lookup: &Lookup) -> Found {
        let found = self.find_under(request, primary, lookup).await;
        if found.goes_on(request) { Box::pin(self.find_by_rule(request, lookup, found)).await } else { found }
    }

    /// What is stored under one primary key.
    pub(super) async fn find_under(&self, request: Asked<'_>, primary: &CacheKey, lookup: &Lookup) -> Found {
        let changes = self.ledger.changes(primary);
        let found = self.find_at(request, primary, lookup).await;
        let selected_changes = if found.variants().is_some() { found.selected_changes } else { changes };
        Found { changes, selected_changes, ..found }
    }

    async fn find_at(&self, request: Asked<'_>, primary: &CacheKey, lookup: &Lookup) -> Found {
        let care = request.care(lookup);
        let is_doubtful = |key: &CacheKey| self.ledger.is_doubtful(key);
        if self.ledger.has_doubts() && (is_doubtful(primary) || is_doubtful(&request.keyer().group(request.uri))) {
            return Found::failed(unconfirmed());
        }
        let stored = match self.read(primary, care).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Found::nothing(Reason::NotFound),
            Err(error) => return Found::failed(error),
        };
        match &*stored.record {
            Record::Response(_) => match self.accept(&stored, request, lookup) {
                Some(judgement) => Found {
                    selected: Some(stored.clone()),
                    judgement,
                    at_primary: Some(stored),
                    ..Found::nothing(Reason::NotFound)
                },
                // Another has taken its place since it was listed, which is all right under its own URL.
                None if request.by.is_some() => Found::nothing(Reason::NotFound),
                None => self.mismatch(*primary, care),
            },
            Record::Variants(_) => Box::pin(self.find_variant(request, stored, lookup)).await,
            Record::Group(_) | Record::Search(_) => self.mismatch(*primary, care),
        }
    }

    /// The first variant that may be served at once, else the newest that the request selects.
    async fn find_variant(&self, request: Asked<'_>, index: Stored, lookup: &Lookup) -> Found {
        let mut found = Found { at_primary: Some(index.clone()), ..Found::nothing(Reason::VariantNotFound) };
        let Record::Variants(variants) = &*index.record else { return found };
        for variant in variants.variants.iter().rev() {
            if !selects(&variant.selecting, request.headers, &request.keyer()) {
                continue;
            }
            let changes = self.ledger.changes(&variant.key);
            let care = request.care(lookup);
            let stored = match self.read(&variant.key, care).await {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(error) => {
                    found.fault = Some(error);
                    found.reason = Reason::StoreFault;
                    continue;
                }
            };
            let Some(judgement) = self.accept(&stored, request, lookup) else {
                if request.by.is_none() {
                    self.mismatch(variant.key, care);
                }
                continue;
            };
            let serves = matches!(judgement, Judgement::Fresh | Judgement::ServeStale { .. });
            if serves || found.selected.is_none() {
                found.selected = Some(stored);
                found.selected_changes = changes;
                found.judgement = judgement;
            }
            if serves {
                found.fault = None;
                break;
            }
        }
        found
    }

    /// What lies under `key` and says so itself.
    pub(super) async fn read(&self, key: &CacheKey, care: Care) -> Result<Option<Stored>> {
        match self.ledger.lookup(key).await {
            Ok(Some(stored)) if stored.record.key() == key => Ok(Some(stored)),
            Ok(Some(_)) => {
                self.mismatch(*key, care);
                Ok(None)
            }
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::debug!(%key, %error, "the look-up failed");
                if care != Care::Nothing {
                    self.ledger.counters.lookup_failed.add();
                }
                Err(error)
            }
        }
    }

    /// What may be done with a stored response; `None` where it is another request's (case 34), or its body another's.
    pub(super) fn accept(&self, stored: &Stored, request: Asked<'_>, lookup: &Lookup) -> Option<Judgement> {
        let record = stored.record.as_response()?;
        let is_ours = record.method == *request.method
            && request.is_about(record)
            && selects(&record.selecting, request.headers, &request.keyer());
        (is_ours && stored.has_its_body()).then(|| policy::judge(lookup, record, self.clock.now()))
    }

    fn mismatch(&self, key: CacheKey, care: Care) -> Found {
        if care != Care::Nothing {
            tracing::warn!(%key, "a stored record is not what its key says: not used");
            self.ledger.counters.mismatched.add();
        }
        if care == Care::Remove {
            self.ledger.forget(key);
        }
        Found::nothing(Reason::RecordMismatch)
    }
}

/// A keyer that tells callers apart by the cookies that they set themselves, where it is known which those are.
pub(super) fn with_cookies<'a>(keyer: Keyer<'a>, cookies: Option<&'a CallersCookies>) -> Keyer<'a> {
    let cookies = cookies.map(CallersCookies::lines);
    Keyer { separation: Separation { cookies, ..keyer.separation }, ..keyer }
}

/// Why nothing is used of what may be outdated.
pub(super) fn unconfirmed() -> Error {
    Error::new(ErrorKind::Unavailable, "an invalidation is not confirmed").transient()
}

/// Whether a request has what `selecting` asks for.
pub(super) fn selects(selecting: &[Selecting], headers: &HeaderMap, keyer: &Keyer<'_>) -> bool {
    selecting.is_empty() || policy::vary::matches(selecting, headers, keyer)
}
