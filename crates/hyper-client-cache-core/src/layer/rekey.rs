//! Gives what is stored the keys that it has by other settings of matching, so that a change of them does not cost what
//! was stored before.
//!
//! One entry at a time is in memory, and of a body in parts one part. The entry is in its new place before it leaves the
//! old one: whatever ends this in between, nothing is lost, and doing it again goes on where it ended.

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, Uri};

use super::Engine;
use super::invalidate::groups;
use super::search::{groups_by, variance_of};
use crate::cache::ledger::Generation;
use crate::cache::{BodyPlace, Contents, Group, Record, ResponseRecord, Stored, Variant, Variants, parts};
use crate::error::{ErrorKind, Result};
use crate::key::{self, Identity, KeyRequest, Keyer, Rekey};
use crate::policy::{Settings, vary};
use crate::storage::CacheKey;

/// What has become of stored responses by [`CacheView::rekey`](super::CacheView::rekey).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rekeyed {
    /// How many are found under other keys now.
    pub moved: u64,
    /// How many were removed because a newer response has their place.
    pub outdated: u64,
    /// How many stay where they are though they do not belong there, because their new keys cannot be told, or the store
    /// cannot take them.
    pub skipped: u64,
}

/// What has become of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Moved,
    Outdated,
    Skipped,
    /// It has its key by the present settings already.
    InPlace,
    /// Somebody has removed it meanwhile.
    Gone,
}

impl Rekeyed {
    fn count(&mut self, done: Done) {
        let counter = match done {
            Done::Moved => &mut self.moved,
            Done::Outdated => &mut self.outdated,
            Done::Skipped => &mut self.skipped,
            Done::InPlace | Done::Gone => return,
        };
        *counter = counter.saturating_add(1);
    }
}

impl Engine {
    /// Finds what was stored by the settings `before` under its keys by those of now.
    pub(super) async fn rekey(&self, before: &Settings) -> Result<Rekeyed> {
        let after = self.settings.load_full();
        // What keeps a session apart is no setting.
        let before = Settings { apart: after.apart, ..before.clone() };
        before.validate()?;
        let mut rekeyed = Rekeyed::default();
        let mut records = Contents::of(&**self.ledger.cache()).records();
        while let Some((key, found)) = records.try_next().await? {
            match &*found.record {
                // A variant comes with its index.
                Record::Response(record) if record.selecting.is_empty() => {
                    let plan = planned(record, &key, &before, &after);
                    rekeyed.count(self.carry_out(plan, &key, &key, &before, &after).await?);
                }
                Record::Variants(index) => {
                    let mut is_empty = true;
                    for variant in &index.variants {
                        let found = self.ledger.lookup(&variant.key).await?;
                        let Some(record) = found.as_ref().and_then(|found| found.record.as_response()) else {
                            continue;
                        };
                        let plan = planned(record, &key, &before, &after);
                        let done = self.carry_out(plan, &variant.key, &key, &before, &after).await?;
                        is_empty &= matches!(done, Done::Moved | Done::Outdated | Done::Gone);
                        rekeyed.count(done);
                    }
                    if is_empty {
                        self.ledger.delete_now(&[key]).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(rekeyed)
    }

    /// Does with the response under `from`, whose primary key `was` is, what is planned.
    async fn carry_out(
        &self,
        plan: Plan,
        from: &CacheKey,
        was: &CacheKey,
        before: &Settings,
        after: &Settings,
    ) -> Result<Done> {
        match plan {
            Plan::Stay(done) => Ok(done),
            Plan::Move(place) => {
                let lists = self.lists(&place, was, before, after).await?;
                self.move_response(from, &place, lists, after).await
            }
        }
    }

    /// The lists by which other URLs of its path find a response, where it is in such a list by the settings of before
    /// and may be in one by those of now, and the generation that this holds for.
    ///
    /// One that is not listed, although its origin says what of its query does not matter, may have missed that an
    /// unsafe request was sent to one of those URLs.
    async fn lists(
        &self,
        place: &Place,
        was: &CacheKey,
        before: &Settings,
        after: &Settings,
    ) -> Result<Option<(Vec<CacheKey>, Generation)>> {
        let uri = &place.uri;
        let (matched, matches) = (before.matching_for(None, uri), after.matching_for(None, uri));
        let (before, after) = (before.keyer(&matched), after.keyer(&matches));
        if !before.matching.believes_no_vary_search() || !after.matching.believes_no_vary_search() {
            return Ok(None);
        }
        let Some(variance) = variance_of(&place.record) else { return Ok(None) };
        // First, so that what is removed meanwhile is not listed.
        let generation = self.ledger.generation(&after.search_rule(uri));
        let rule = self.ledger.lookup(&after.search_rule(uri)).await?;
        let Some(rule) = rule.as_ref().and_then(|found| match &*found.record {
            Record::Search(rule) if rule.variance == variance => Some(rule),
            _ => None,
        }) else {
            return Ok(None);
        };
        let headers = HeaderMap::new();
        let plain = KeyRequest::new(&place.record.method, uri, &headers);
        let by = |keyer: &Keyer<'_>| keyer.listed_by(&plain, keyer.partition(&headers).as_ref(), rule);
        let (Some(earlier), Some(list)) = (by(&before), by(&after)) else { return Ok(None) };
        let mut lists = groups_by(uri, rule, &after);
        let doubted = lists.iter().chain(&groups_by(uri, rule, &before)).any(|group| self.ledger.is_doubtful(group));
        let listed = self.ledger.lookup(&earlier).await?;
        let is_listed = listed
            .as_ref()
            .is_some_and(|found| matches!(&*found.record, Record::Group(listed) if listed.members.contains(was)));
        lists.push(list);
        Ok((is_listed && !doubted).then_some((lists, generation)))
    }

    /// Moves a response that has not changed since, a variant with its place in an index.
    async fn move_response(
        &self,
        from: &CacheKey,
        place: &Place,
        lists: Option<(Vec<CacheKey>, Generation)>,
        settings: &Settings,
    ) -> Result<Done> {
        let (to, primary) = (place.record.key, place.identity.primary);
        let generation = self.ledger.generation(&place.group);
        let Some(stored) = self.ledger.lookup(from).await? else { return Ok(Done::Gone) };
        let Some(old) = stored.record.as_response() else { return Ok(Done::Gone) };
        if let Some(there) = self.ledger.lookup(&to).await? {
            // The same where this ended in between once before.
            let gives_way = |there: &ResponseRecord| there.freshness.received_at <= old.freshness.received_at;
            if !there.record.as_response().is_some_and(gives_way) {
                // Also an index: the URL varies by now.
                self.ledger.delete_now(&[*from]).await?;
                return Ok(Done::Outdated);
            }
        }
        let same = old.freshness.received_at == place.record.freshness.received_at && old.body == place.record.body;
        if !same || !self.copy_parts(old, &place.record).await? {
            return Ok(Done::Skipped);
        }
        let limit = settings.max_variants;
        let record = Record::Response(place.record.clone());
        let moved = Stored::new(record.clone(), stored.body.clone(), stored.retain_until);
        if !self.ledger.store_now(to, moved, limit, generation).await? {
            self.ledger.cache().delete_parts(&record).await?;
            return Ok(Done::Skipped);
        }
        let mut leads = Vec::new();
        if to != primary {
            let mut index = Variants::new(primary, place.record.url.clone());
            let mut variant = Variant::new(to, place.record.selecting.clone());
            variant.retain_until = stored.retain_until;
            index.variants.push(variant);
            leads.push((primary, Record::Variants(index)));
        }
        let listing = |key: &CacheKey| {
            let mut group = Group::new(*key);
            group.members.push(primary);
            (*key, Record::Group(group))
        };
        leads.extend(place.groups.iter().map(listing));
        for (key, record) in leads {
            if !self.ledger.store_now(key, Stored::new(record, Bytes::new(), None), limit, generation).await? {
                return Ok(Done::Skipped);
            }
        }
        if let Some((lists, generation)) = lists {
            for (key, record) in lists.iter().map(listing) {
                // Refused where something of the path was removed meanwhile: it is found under its own URL only.
                self.ledger.store_now(key, Stored::new(record, Bytes::new(), None), limit, generation).await?;
            }
        }
        self.ledger.delete_now(&[*from]).await?;
        Ok(Done::Moved)
    }

    /// Copies the parts of a body to where those of `record` are to be; `false` where that cannot be done.
    async fn copy_parts(&self, old: &ResponseRecord, record: &ResponseRecord) -> Result<bool> {
        let BodyPlace::Parts { id, count, retain_until, .. } = &old.body else { return Ok(true) };
        let Some(bodies) = self.ledger.cache().bodies() else { return Ok(false) };
        let mut is_whole = true;
        for number in 0..*count {
            let (from, to) = (parts::key(&old.key, id, number), parts::key(&record.key, id, number));
            let (Some(from), Some(to)) = (from, to) else { return Ok(false) };
            let part = bodies.read(&from).await?.and_then(|entry| parts::bytes_of(&from, entry));
            let written = match part {
                Some(part) => bodies.write(&to, parts::entry(&to, part, *retain_until)).await,
                None => {
                    is_whole = false;
                    break;
                }
            };
            match written {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::TooLarge => {
                    is_whole = false;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if !is_whole {
            self.ledger.cache().delete_parts(&Record::Response(record.clone())).await?;
        }
        Ok(is_whole)
    }
}

/// What is to be done with a response.
enum Plan {
    Stay(Done),
    Move(Box<Place>),
}

/// Where a response belongs by the present settings.
struct Place {
    /// Its URL, as it is shown by the settings of before.
    uri: Uri,
    record: ResponseRecord,
    identity: Identity,
    group: CacheKey,
    groups: Vec<CacheKey>,
}

/// What is to be done with a response that was found by the primary key `was`.
fn planned(old: &ResponseRecord, was: &CacheKey, before: &Settings, after: &Settings) -> Plan {
    let Ok(uri) = old.url.parse::<Uri>() else { return Plan::Stay(Done::Skipped) };
    let (matched, matches) = (before.matching_for(None, &uri), after.matching_for(None, &uri));
    let (before, after) = (before.keyer(&matched), after.keyer(&matches));
    let identity = match after.rekey(&before, &old.method, &uri, was) {
        Rekey::Moves(identity) => identity,
        Rekey::Same => return Plan::Stay(Done::InPlace),
        _ => return Plan::Stay(Done::Skipped),
    };
    let Some(record) = renamed(old, &uri, &identity, &before, &after) else { return Plan::Stay(Done::Skipped) };
    let groups = if identity.is_listed { groups(&uri, &after) } else { Vec::new() };
    let group = after.group(&uri);
    Plan::Move(Box::new(Place { uri, record, identity, group, groups }))
}

/// A record as it is by the present settings; `None` where it cannot be told, or would not be stored by them.
fn renamed(
    old: &ResponseRecord,
    uri: &Uri,
    identity: &Identity,
    before: &Keyer<'_>,
    after: &Keyer<'_>,
) -> Option<ResponseRecord> {
    let names = vary::vary_names(&old.header_map()).ok()?;
    let selecting = after.reselect(before, names.iter().map(|name| name.as_str()), &old.selecting)?;
    let mut record = old.clone();
    record.key = if selecting.is_empty() { identity.primary } else { key::variant(&identity.primary, &selecting) };
    record.selecting = selecting;
    record.url = after.shown_url(uri);
    after.redact(&mut record.headers);
    let location = record.header(&http::header::LOCATION);
    let leads_to_secret = location.is_some_and(|location| after.hides_part_of(location.as_bytes()));
    (!leads_to_secret).then_some(record)
}
