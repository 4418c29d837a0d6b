//! What is to be stored once a body is complete, and where.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::search::Listing;
use crate::cache::ledger::{Generation, Ledger, Replaced};
use crate::cache::{BodyPlace, Group, Record, ResponseRecord, Stored, Variants};
use crate::policy::ResponseFilter;
use crate::policy::filter::{Decision, Panicked};
use crate::storage::CacheKey;

/// How much longer than their head's the deadline of parts is at least.
const PARTS_GRACE: Duration = Duration::from_secs(24 * 3600);

/// A record that lacks only its body.
pub(super) struct Deposit {
    pub(super) ledger: Arc<Ledger>,
    /// The entry's own key: the primary one, or that of a variant.
    pub(super) key: CacheKey,
    pub(super) record: ResponseRecord,
    pub(super) retain_until: Option<SystemTime>,
    /// What a look-up found under the key.
    pub(super) replaced: Replaced,
    pub(super) generation: Generation,
    /// The index that names this variant among those known, if the response varies.
    pub(super) index: Option<Variants>,
    pub(super) max_variants: usize,
    /// The groups to register the primary key in, if that cannot be computed from the URL.
    pub(super) groups: Option<(Vec<CacheKey>, CacheKey)>,
    /// The same for the lists by which other URLs find it, if it answers any.
    pub(super) listing: Option<(Box<Listing>, CacheKey)>,
    pub(super) max_body_len: Option<u64>,
    pub(super) now: SystemTime,
    /// Decides once the body is complete, because it wants to see that.
    pub(super) filter: Option<ResponseFilter>,
}

impl Deposit {
    /// The deadline for the parts of this record's body: later than the record's own, because a 304 may extend that
    /// without touching the parts. What it extends it to never exceeds this.
    pub(super) fn parts_retain_until(&self) -> Option<SystemTime> {
        let deadline = self.retain_until?;
        let lifetime = deadline.duration_since(self.now).unwrap_or_default();
        deadline.checked_add(lifetime.max(PARTS_GRACE))
    }

    /// What will be found under the key once this is stored with an inline `body`.
    pub(super) fn stored(&self, body: Bytes) -> Stored {
        let mut record = self.record.clone();
        record.body = BodyPlace::Inline { len: body.len() as u64 };
        Stored::new(Record::Response(record), body, self.retain_until)
    }

    /// What the filter says about the complete response; `body` where that is in memory.
    pub(super) fn decide(&self, body: Option<&Bytes>) -> Decision {
        match &self.filter {
            Some(filter) => filter.decide(&self.record, body),
            None => Decision::Now(Ok(true)),
        }
    }

    /// Whether it may be stored by what the filter has said.
    pub(super) fn is_allowed(&self, said: Result<bool, Panicked>) -> bool {
        said.unwrap_or_else(|Panicked| {
            self.ledger.counters.callback_panicked.add();
            false
        })
    }

    /// Stores the record with its body.
    pub(super) fn inline(mut self, body: Bytes) {
        self.record.body = BodyPlace::Inline { len: body.len() as u64 };
        self.commit(body);
    }

    /// Stores the record of a body whose parts are stored already; `false` where that is refused.
    pub(super) fn parts(mut self, place: BodyPlace) -> bool {
        self.record.body = place;
        self.commit(Bytes::new())
    }

    fn commit(self, body: Bytes) -> bool {
        let Self { ledger, key, record, retain_until, replaced, generation, max_variants, .. } = self;
        let stored = Stored::new(Record::Response(record), body, retain_until);
        if !ledger.store(key, stored, replaced, max_variants, generation) {
            return false;
        }
        // After the variant itself, so that whoever finds it in the index finds it.
        if let Some(index) = self.index {
            let stored = Stored::new(Record::Variants(index.clone()), Bytes::new(), None);
            ledger.store(index.key, stored, Replaced::Unknown, max_variants, generation);
        }
        let register = |groups: Vec<CacheKey>, member: CacheKey, generation: Generation| {
            for group in groups {
                let mut record = Group::new(group);
                record.members.push(member);
                let stored = Stored::new(Record::Group(record), Bytes::new(), None);
                ledger.store(group, stored, Replaced::Unknown, max_variants, generation);
            }
        };
        if let Some((groups, member)) = self.groups {
            register(groups, member, generation);
        }
        if let Some((listing, member)) = self.listing {
            listing.store_rule(&ledger, retain_until, self.now);
            register(listing.groups, member, listing.generation);
        }
        true
    }
}
