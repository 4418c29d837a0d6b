//! What becomes of the origin's answer: it is shared and stored while it is read, or handed on as it is.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;

use super::Engine;
use super::body::{CacheBody, Upstream};
use super::deposit::Deposit;
use super::exchange::{Ticket, land};
use super::flight::{Answer, Leader, Verdict};
use super::invalidate::groups;
use super::search::{Listing, variance_of};
use super::stream::Shared;
use crate::cache::codec::MAX_HEADER_LINES;
use crate::cache::ledger::{Generation, Replaced};
use crate::cache::{ResponseRecord, Stored, Variant, Variants};
use crate::key;
use crate::policy::filter::{Decision, Panicked};
use crate::policy::{self, CacheInfo, Judgement, Lookup, Outcome, Reason, ResponseFilter, Settings, Storing, Terms};

/// A response that may be stored.
pub(super) struct Admitted {
    pub(super) record: ResponseRecord,
    retain_until: Option<SystemTime>,
    pub(super) filter: Option<ResponseFilter>,
    /// Whether the filter decides only when the body is complete.
    pub(super) waits: bool,
    /// The body, where that is known to be empty.
    pub(super) body: Option<Bytes>,
    /// How it is to be found by other URLs, if it answers any.
    listing: Option<Box<Listing>>,
}

impl Engine {
    /// Whether the body may be stored as far as its announced length tells.
    pub(super) fn fits(
        &self,
        method: &Method,
        response: &Response<Upstream>,
        settings: &Settings,
    ) -> Result<(), Reason> {
        let Some(len) = announced(method, response.status(), response.headers()) else { return Ok(()) };
        let over_limit = settings.max_body_len.is_some_and(|limit| len > limit);
        let needs_parts = len > self.inline_limit && self.ledger.cache().bodies().is_none();
        if over_limit || needs_parts { Err(Reason::TooLarge) } else { Ok(()) }
    }

    /// What is to be stored of a response but for its body.
    pub(super) fn record(
        &self,
        parts: &Parts,
        response: &Response<Upstream>,
        ticket: &Ticket,
        terms: Terms,
        listing: Option<Box<Listing>>,
    ) -> Result<Admitted, Reason> {
        let settings = &ticket.settings;
        let (primary, keyer) = (ticket.identity.primary, settings.keyer(&ticket.matching));
        let selecting = policy::vary::selecting(&terms.vary, &parts.headers, &keyer);
        let key = if selecting.is_empty() { primary } else { key::variant(&primary, &selecting) };
        let url = keyer.shown_url(&parts.uri);
        let mut record = ResponseRecord::new(key, parts.method.clone(), url, response.status(), terms.freshness);
        record.version = response.version();
        record.headers = terms.headers;
        record.selecting = selecting;
        self.change_record(&mut record, settings)?;
        keyer.redact(&mut record.headers);
        // Whoever takes the field out of what is stored does not want it to count.
        let listing = listing.filter(|listing| variance_of(&record).as_ref() == Some(listing.variance()));
        // What a filter can be shown of the body by now; one that wants more decides when all of it is there.
        let body = response.body().is_end_stream().then(Bytes::new);
        let announced = announced(&parts.method, response.status(), response.headers());
        let is_long = announced.is_some_and(|len| len > self.inline_limit);
        let filter = settings.filter_write.clone();
        let waits = filter.as_ref().is_some_and(|filter| filter.wants_body() && body.is_none() && !is_long);
        Ok(Admitted { record, retain_until: terms.retain_until, filter, waits, body, listing })
    }

    /// Lets the user change what is stored.
    pub(super) fn change_record(&self, record: &mut ResponseRecord, settings: &Settings) -> Result<(), Reason> {
        let Some(hook) = &settings.before_store else { return Ok(()) };
        hook.change(record).map_err(|Panicked| {
            self.ledger.counters.callback_panicked.add();
            Reason::CallbackPanicked
        })?;
        if record.headers.len() > MAX_HEADER_LINES { Err(Reason::TooLarge) } else { Ok(()) }
    }

    /// What a filter of the user's says.
    pub(super) async fn filtered(
        &self,
        filter: &ResponseFilter,
        record: &ResponseRecord,
        body: Option<&Bytes>,
    ) -> Result<(), Reason> {
        let said = match filter.decide(record, body) {
            Decision::Now(said) => said,
            Decision::Later(said) => said.await,
        };
        match said {
            Ok(true) => Ok(()),
            Ok(false) => Err(Reason::Filter),
            Err(Panicked) => {
                self.ledger.counters.callback_panicked.add();
                Err(Reason::CallbackPanicked)
            }
        }
    }

    /// Hands a response to the caller while it is stored.
    #[allow(clippy::too_many_arguments)] // one call, and each is a thing of its own
    pub(super) fn store(
        &self,
        parts: &Parts,
        response: Response<Upstream>,
        ticket: Box<Ticket>,
        admitted: Admitted,
        leader: Option<Leader>,
        generation: Generation,
        now: SystemTime,
    ) -> Response<CacheBody> {
        let (head, body) = response.into_parts();
        let Ticket { settings, matching, identity, found, .. } = *ticket;
        let (primary, keyer) = (identity.primary, settings.keyer(&matching));
        let Admitted { record, retain_until, filter, waits, listing, .. } = admitted;
        let key = record.key;
        let is_elsewhere = found.elsewhere().is_some();
        if let (true, Some(outdated)) = (is_elsewhere, &found.selected) {
            // This one answers its URL too, and is stored under its own.
            self.ledger.forget(*outdated.record.key());
        }
        let index = (key != primary).then(|| {
            let known = found.variants().filter(|_| !is_elsewhere);
            let mut index = known.cloned().unwrap_or_else(|| Variants::new(primary, record.url.clone()));
            index.variants.retain(|variant| variant.key != key);
            let mut variant = Variant::new(key, record.selecting.clone());
            variant.retain_until = retain_until;
            index.variants.push(variant);
            index
        });
        let deposit = Deposit {
            ledger: self.ledger.clone(),
            key,
            record: record.clone(),
            retain_until,
            replaced: match key == primary && found.asked && !is_elsewhere {
                true => Replaced::Known(found.at_primary, found.changes),
                // Looked up when it is replaced: nobody waits for that.
                false => Replaced::Unknown,
            },
            generation,
            index,
            max_variants: settings.max_variants,
            groups: identity.is_listed.then(|| (groups(&parts.uri, &keyer), primary)),
            listing: listing.map(|listing| (listing, primary)),
            max_body_len: settings.max_body_len,
            now,
            filter: filter.filter(|_| waits),
        };
        let info = CacheInfo::new(Outcome::Miss, found.reason).with_key(key).with_storing(Storing::Yes);
        let info = info.with_freshness(&record, now);
        let body = if body.is_end_stream() {
            // Nobody may ever poll it.
            let verdict = match head.headers.contains_key(header::SET_COOKIE) {
                true => Verdict::Alone,
                false => Verdict::Stored(deposit.stored(bytes::Bytes::new())),
            };
            deposit.inline(bytes::Bytes::new());
            land(leader, verdict);
            CacheBody::empty()
        } else {
            let announced = announced(&parts.method, head.status, &head.headers);
            // What sets a cookie is for its own caller only (case 193).
            let leader = if head.headers.contains_key(header::SET_COOKIE) {
                land(leader, Verdict::Alone);
                None
            } else {
                leader
            };
            self.share(&head, body, announced, record.selecting.clone(), Some(record), Some(deposit), leader)
        };
        let mut response = Response::from_parts(head, body);
        self.explain(info, &mut response);
        response
    }

    /// Hands a response on that is not stored.
    pub(super) fn hand_on(
        &self,
        parts: &Parts,
        response: Response<Upstream>,
        ticket: Box<Ticket>,
        reason: Reason,
        leader: Option<Leader>,
    ) -> Response<CacheBody> {
        let (head, body) = response.into_parts();
        if head.status.as_u16() < 400
            && ticket.lookup.write
            && let Some(outdated) = &ticket.found.selected
        {
            self.ledger.forget(*outdated.record.key());
        }
        let info = CacheInfo::new(Outcome::Miss, ticket.found.reason)
            .with_key(ticket.identity.primary)
            .with_storing(Storing::No(reason));
        let names = policy::vary::vary_names(&head.headers);
        let announced = announced(&parts.method, head.status, &head.headers);
        // An overloaded origin is not asked again by everyone who waits (case 192), where nothing forbids sharing. Where
        // nobody waits the body is left as it is.
        let is_awaited = leader.as_ref().is_some_and(Leader::has_waiters);
        let body = match (head.status.is_server_error() && is_awaited, reason, names) {
            (true, Reason::Status(_) | Reason::NoFreshness, Ok(names))
                if announced.is_none_or(|len| len <= self.inline_limit)
                    && !head.headers.contains_key(header::SET_COOKIE) =>
            {
                let keyer = ticket.settings.keyer(&ticket.matching);
                let selecting = policy::vary::selecting(&names, &parts.headers, &keyer);
                self.share(&head, body, announced, selecting, None, None, leader)
            }
            _ => {
                match leader {
                    // One that fails is not like this for long; and what this request alone wants is not the others'.
                    Some(leader) if !head.status.is_server_error() && !is_by_request(reason) => {
                        leader.land_unshared(self.clock.now());
                    }
                    leader => land(leader, Verdict::Alone),
                }
                CacheBody::untouched(body)
            }
        };
        let mut response = Response::from_parts(head, body);
        self.explain(info, &mut response);
        response
    }

    /// A reader on a body that others may read too.
    #[allow(clippy::too_many_arguments)] // as above
    fn share(
        &self,
        head: &http::response::Parts,
        body: Upstream,
        announced: Option<u64>,
        selecting: Vec<crate::cache::Selecting>,
        record: Option<ResponseRecord>,
        deposit: Option<Deposit>,
        leader: Option<Leader>,
    ) -> CacheBody {
        let finish = self.finish.as_ref().map(Arc::downgrade);
        let shared = Shared::new(body, announced, self.inline_limit, deposit, finish);
        // Before anyone else can: while there is a reader, the body is not given up.
        let Some(reader) = shared.reader() else { return CacheBody::empty() };
        if let Some(leader) = leader {
            // Most answers have one reader: the others' headers are made when somebody comes.
            let headers = if record.is_some() { HeaderMap::new() } else { head.headers.clone() };
            let (status, version, body) = (head.status, head.version, Arc::downgrade(&shared));
            leader.share(Answer { status, version, headers, selecting, record, body }, &shared);
        }
        CacheBody::shared(reader)
    }

    /// Whether a request may be given an answer that another is reading: as it would be if that were stored already.
    ///
    /// Its body may have been on its way for longer than it is fresh.
    pub(super) fn may_share(&self, answer: &Answer, lookup: &Lookup) -> bool {
        answer.record.as_ref().is_none_or(|record| policy::judge(lookup, record, self.clock.now()) == Judgement::Fresh)
    }

    /// Another's answer, which is stored by now.
    pub(super) fn leaders(&self, stored: &Stored, lookup: &Lookup) -> Response<CacheBody> {
        self.serve(stored, lookup, Outcome::Coalesced, Reason::LeaderAnswer, self.clock.now())
    }

    /// Another's answer for this request too.
    pub(super) fn coalesced(&self, answer: &Answer, body: CacheBody) -> Response<CacheBody> {
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.version_mut() = answer.version;
        *response.headers_mut() = match &answer.record {
            Some(record) => record.header_map(),
            None => answer.headers.clone(),
        };
        let info = CacheInfo::new(Outcome::Coalesced, Reason::LeaderAnswer);
        let info = match &answer.record {
            Some(record) => info.with_key(record.key).with_freshness(record, self.clock.now()),
            None => info,
        };
        // As with what is served from the store; where there is no record, the header line is still the origin's.
        if let Some(age) = info.age {
            response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
        }
        self.explain(info, &mut response);
        response
    }
}

/// Whether it is only this request that does not store the response: the next one may.
const fn is_by_request(reason: Reason) -> bool {
    matches!(reason, Reason::Mode | Reason::Setting | Reason::Filter | Reason::CallbackPanicked)
}

/// How many bytes of body a response announces; `None` where it has none by definition or does not say.
fn announced(method: &Method, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    if method == Method::HEAD || matches!(status.as_u16(), 204 | 304) {
        return None;
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
