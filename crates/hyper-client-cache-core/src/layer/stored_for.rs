//! What lies in a store for one URL or one request, for whoever looks into the cache.

use http::Uri;

use super::Engine;
use super::invalidate::{groups, primaries};
use super::lookup::{Asked, Care};
use super::search::groups_by;
use crate::cache::{Record, Stored};
use crate::error::Result;
use crate::key::Keyer;
use crate::policy::{Effective, Lookup, RequestSettings};
use crate::storage::CacheKey;

/// What lies in a store for one URL.
pub(super) struct StoredFor {
    /// Every key under which something may lie.
    pub(super) keys: Vec<CacheKey>,
    /// How many responses there are.
    pub(super) responses: u64,
}

impl Engine {
    /// Keeps what was asked for before from being stored for a URL.
    pub(super) fn outdate(&self, uri: &Uri, keyer: &Keyer<'_>) {
        groups(uri, keyer).iter().for_each(|group| self.ledger.invalidate(group));
        self.ledger.invalidate(&keyer.search_rule(uri));
    }

    /// What is stored for a URL, in every variant, method and partition.
    pub(super) async fn stored_for(&self, uri: &Uri) -> Result<StoredFor> {
        let settings = self.settings.load_full();
        let matching = settings.matching_for(None, uri);
        let keyer = settings.keyer(&matching);
        let by_hand = keyer.partition(&http::HeaderMap::new());
        let mut stored = StoredFor { keys: Vec::new(), responses: 0 };
        let mut variants = Vec::new();
        let mut primaries = primaries(uri, by_hand.as_ref(), &keyer);
        let mut groups = groups(uri, &keyer);
        if let Some(rule) = self.rule(uri, &keyer, Care::Nothing).await? {
            groups.extend(groups_by(uri, &rule.rule, &keyer));
        }
        for group in std::mem::take(&mut groups) {
            let Some(members) = self.ledger.lookup(&group).await? else { continue };
            if let Record::Group(members) = &*members.record {
                for member in &members.members {
                    if !primaries.contains(member) {
                        primaries.push(*member);
                    }
                }
            }
            groups.push(group);
        }
        for key in &primaries {
            match self.ledger.lookup(key).await?.as_ref().map(|stored| &*stored.record) {
                Some(Record::Response(_)) => stored.responses = stored.responses.saturating_add(1),
                Some(Record::Variants(index)) => variants.extend(index.variants.iter().map(|variant| variant.key)),
                _ => {}
            }
        }
        for key in &variants {
            let is_there = self.ledger.lookup(key).await?.is_some();
            stored.responses = stored.responses.saturating_add(u64::from(is_there));
        }
        // Variants first: an index that is gone would leave them where nobody finds them.
        stored.keys = variants;
        stored.keys.extend(primaries);
        stored.keys.extend(groups);
        Ok(stored)
    }

    /// The response that a request selects, however old it is.
    pub(super) async fn selected(&self, asked: Asked<'_>) -> Result<Option<Stored>> {
        let Some(primary) = asked.primary() else { return Ok(None) };
        let lookup = Lookup::plain(Effective::of(asked.settings, &RequestSettings::default(), asked.uri));
        // Not `find`: what is stored is asked for, whether or not a filter lets it be used.
        let found = self.find_any(asked, &primary, &lookup).await;
        found.fault.map_or(Ok(found.selected), Err)
    }
}
