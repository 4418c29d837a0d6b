//! Responses that answer several URLs of a path, because their origin says in `No-Vary-Search` which parameters of the
//! query do not matter.
//!
//! Such a response is stored under the key of its own URL, as any other. Beside it stand the [`SearchRule`] of its path,
//! which says what the origin said last, and a [`Group`](crate::cache::Group) under a key made of what is left of the
//! query by that, which lists the keys of what was stored so. A request finds the rule by its path and the list by the
//! rule, where nothing is stored under its own URL; what it finds there must say of itself that it answers this URL too.
//! A second group, the same for all partitions, lists what an unsafe request to any of the URLs removes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Uri};

use super::Engine;
use super::exchange::Ticket;
use super::lookup::{Asked, Care, Found, unconfirmed};
use crate::cache::ledger::{Generation, Ledger, Replaced};
use crate::cache::{Record, ResponseRecord, SearchRule, SearchVariance, Stored, parts};
use crate::error::Result;
use crate::key::{self, KeyRequest, Keyer, Matching, Partition, Separation};
use crate::policy::{Judgement, Lookup};
use crate::storage::CacheKey;

/// How many of those that are listed are looked at: each is a read. More than one there is where responses vary.
const MAX_LISTED: usize = 4;

/// How much longer than a response the rule is kept at least that leads to it.
const RULE_GRACE: Duration = Duration::from_secs(24 * 3600);

/// The field.
const NO_VARY_SEARCH: &str = "no-vary-search";

/// What a path's origin said, as it was found.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) rule: SearchRule,
    retain_until: Option<SystemTime>,
}

/// What a look-up has found out by the rule of the request's path.
#[derive(Clone, Debug)]
pub(super) struct ByRule {
    pub(super) rule: Rule,
    /// The primary key, which is another URL's, under which the rest was found of what the look-up says.
    pub(super) primary: Option<CacheKey>,
}

/// What lets a response be found by other URLs than its own, once it is stored.
#[derive(Debug)]
pub(super) struct Listing {
    /// The lists and groups to register it in.
    pub(super) groups: Vec<CacheKey>,
    rule: Rule,
    is_new: bool,
    /// Taken before the origin was asked: an invalidation of any URL of the path since keeps it from being listed.
    pub(super) generation: Generation,
}

impl Listing {
    /// What the response says.
    pub(super) const fn variance(&self) -> &SearchVariance {
        &self.rule.rule.variance
    }

    /// Stores the rule, where it is new or would not last as long as what is stored by it until `retain_until`.
    pub(super) fn store_rule(&self, ledger: &Arc<Ledger>, retain_until: Option<SystemTime>, now: SystemTime) {
        let lasts = match (self.rule.retain_until, retain_until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(rule), Some(entry)) => rule >= entry,
        };
        if lasts && !self.is_new {
            return;
        }
        let until = retain_until.and_then(|deadline| {
            let lifetime = deadline.duration_since(now).unwrap_or_default();
            deadline.checked_add(lifetime.max(RULE_GRACE))
        });
        let rule = self.rule.rule.clone();
        let key = rule.key;
        ledger.store(
            key,
            Stored::new(Record::Search(rule), Bytes::new(), until),
            Replaced::Unknown,
            1,
            self.generation,
        );
    }
}

/// What a stored response says about its query.
pub(super) fn variance_of(record: &ResponseRecord) -> Option<SearchVariance> {
    let lines = record.headers.iter().filter(|(name, _)| name.as_str() == NO_VARY_SEARCH);
    key::search_variance(lines.map(|(_, value)| value))
}

impl Found {
    /// Whether what was found by a rule still answers the request's URL, now that this is what is stored of it.
    pub(super) fn still_answers(&self, record: &ResponseRecord) -> bool {
        match &self.by_rule {
            Some(by_rule) if by_rule.primary.is_some() => {
                variance_of(record).as_ref() == Some(&by_rule.rule.rule.variance)
            }
            _ => true,
        }
    }
}

impl Engine {
    /// What the origin of `uri` said last about the queries of its path.
    pub(super) async fn rule(&self, uri: &Uri, keyer: &Keyer<'_>, care: Care) -> Result<Option<Rule>> {
        let found = self.read(&keyer.search_rule(uri), care).await?;
        Ok(found.and_then(|stored| match &*stored.record {
            Record::Search(rule) => Some(Rule { rule: rule.clone(), retain_until: stored.retain_until }),
            _ => None,
        }))
    }

    /// What is stored for another URL and answers this request too; `found` where nothing is, with the rule of the path.
    pub(super) async fn find_by_rule(&self, request: Asked<'_>, lookup: &Lookup, found: Found) -> Found {
        let (keyer, care) = (request.keyer(), request.care(lookup));
        let rule = match self.rule(request.uri, &keyer, care).await {
            Ok(Some(rule)) => rule,
            Ok(None) => return found,
            Err(error) => return Found { fault: Some(error), ..found },
        };
        let (found, primary) = match self.find_listed(request, &keyer, &rule.rule, lookup).await {
            Ok(Some((listed, primary))) => (listed, Some(primary)),
            Ok(None) => (found, None),
            Err(error) => (Found { fault: Some(error), ..found }, None),
        };
        Found { by_rule: Some(Box::new(ByRule { rule, primary })), ..found }
    }

    /// The first of those that are listed that may be served at once, else the newest that the request selects.
    async fn find_listed(
        &self,
        request: Asked<'_>,
        keyer: &Keyer<'_>,
        rule: &SearchRule,
        lookup: &Lookup,
    ) -> Result<Option<(Found, CacheKey)>> {
        let partition = keyer.partition(request.headers);
        let is_doubtful = |group: Option<CacheKey>| group.is_some_and(|group| self.ledger.is_doubtful(&group));
        if self.ledger.has_doubts() && is_doubtful(keyer.group_by(request.uri, rule)) {
            return Err(unconfirmed());
        }
        let listed = self.members(&request.keyed(), partition.as_ref(), rule, keyer, request.care(lookup)).await?;
        let request = Asked { by: Some(&rule.variance), ..request };
        let mut best = None;
        for primary in listed {
            let found = self.find_under(request, &primary, lookup).await;
            if found.selected.is_none() {
                continue;
            }
            let serves = matches!(found.judgement, Judgement::Fresh | Judgement::ServeStale { .. });
            if serves || best.is_none() {
                best = Some((found, primary));
            }
            if serves {
                break;
            }
        }
        Ok(best)
    }

    /// The primary keys of what answers a request by `rule`, newest first.
    async fn members(
        &self,
        request: &KeyRequest<'_>,
        partition: Option<&Partition>,
        rule: &SearchRule,
        keyer: &Keyer<'_>,
        care: Care,
    ) -> Result<Vec<CacheKey>> {
        let Some(list) = keyer.listed_by(request, partition, rule) else { return Ok(Vec::new()) };
        let listed = self.read(&list, care).await?;
        Ok(match listed.as_ref().map(|stored| &*stored.record) {
            Some(Record::Group(listed)) => listed.members.iter().rev().take(MAX_LISTED).copied().collect(),
            _ => Vec::new(),
        })
    }

    /// The same by the rule of the request's path; none where the store fails or no rule is believed.
    pub(super) async fn listed(
        &self,
        request: &KeyRequest<'_>,
        partition: Option<&Partition>,
        keyer: &Keyer<'_>,
    ) -> Vec<CacheKey> {
        if !keyer.matching.believes_no_vary_search() {
            return Vec::new();
        }
        let Ok(Some(rule)) = self.rule(request.uri, keyer, Care::Remove).await else { return Vec::new() };
        self.members(request, partition, &rule.rule, keyer, Care::Remove).await.unwrap_or_default()
    }

    /// The groups of a URL by the rule of its path; where that cannot be read, its key.
    pub(super) async fn groups_of(&self, uri: &Uri, later: &Later) -> Result<Vec<CacheKey>, CacheKey> {
        let keyer = later.keyer();
        match self.rule(uri, &keyer, Care::Remove).await {
            Ok(Some(rule)) => Ok(groups_by(uri, &rule.rule, &keyer)),
            Ok(None) => Ok(Vec::new()),
            Err(_) => Err(keyer.search_rule(uri)),
        }
    }

    /// Where a rule of the path of `uri` counts: the generation that what will be listed by it belongs to. Taken before
    /// the origin is asked, and with it the rule, where the look-up has passed that by.
    pub(super) async fn watch_rule(&self, uri: &Uri, ticket: &mut Ticket) -> Option<Generation> {
        if !ticket.lookup.write {
            return None;
        }
        let keyer = ticket.settings.keyer(&ticket.matching);
        let generation = self.ledger.generation(&keyer.search_rule(uri));
        if !ticket.found.asked
            && let Ok(Some(rule)) = self.rule(uri, &keyer, Care::Count).await
        {
            ticket.found.by_rule = Some(Box::new(ByRule { rule, primary: None }));
        }
        Some(generation)
    }

    /// How what is stored of a response with these headers is to be listed; `None` where it says nothing about its query.
    pub(super) async fn listing(
        &self,
        request: &KeyRequest<'_>,
        response: &HeaderMap,
        ticket: &Ticket,
        generation: Generation,
    ) -> Option<Box<Listing>> {
        let keyer = ticket.settings.keyer(&ticket.matching);
        let variance = key::search_variance(response.get_all(NO_VARY_SEARCH).iter())?;
        let is_same = |rule: &Rule| rule.rule.variance == variance;
        let mut known = ticket.found.by_rule.as_ref().map(|by_rule| by_rule.rule.clone()).filter(is_same);
        if known.is_none() {
            // Nearly always the first response of its path: others may have come meanwhile that are listed already.
            known = self.rule(request.uri, &keyer, Care::Count).await.ok()?.filter(is_same);
        }
        let (rule, is_new) = match known {
            Some(rule) => (rule, false),
            None => {
                let id = parts::new_id(self.clock.now()).ok()?;
                let rule = SearchRule::new(keyer.search_rule(request.uri), id, variance);
                (Rule { rule, retain_until: None }, true)
            }
        };
        let mut groups = groups_by(request.uri, &rule.rule, &keyer);
        groups.push(keyer.listed_by(request, ticket.identity.partition.as_ref(), &rule.rule)?);
        Some(Box::new(Listing { groups, rule, is_new, generation }))
    }
}

/// The groups of a URL by the rule of its path: that by these settings, and that by those of whoever has not set any.
pub(super) fn groups_by(uri: &Uri, rule: &SearchRule, keyer: &Keyer<'_>) -> Vec<CacheKey> {
    let common = Keyer { separation: keyer.separation, ..Keyer::default() };
    let mut groups: Vec<_> = [keyer.group_by(uri, rule), common.group_by(uri, rule)].into_iter().flatten().collect();
    groups.dedup();
    groups
}

/// What is needed to find [groups](groups_by) later, without holding on to a request's settings.
pub(super) struct Later {
    matching: Matching,
    secret: Box<[u8]>,
}

impl Later {
    pub(super) fn new(keyer: &Keyer<'_>) -> Self {
        Self { matching: keyer.matching.clone(), secret: keyer.separation.secret.into() }
    }

    pub(super) fn keyer(&self) -> Keyer<'_> {
        Keyer { matching: &self.matching, separation: Separation { secret: &self.secret, ..Separation::default() } }
    }
}
