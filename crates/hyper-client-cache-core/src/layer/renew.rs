//! New lifetimes for what is stored: after a 304, and by being used.

use bytes::Bytes;

use super::Engine;
use super::lookup::{Asked, Found};
use crate::cache::ledger::{Generation, Replaced};
use crate::cache::{Record, Stored};
use crate::key;
use crate::policy::{self, Lookup, Settings};

impl Engine {
    /// Renews the lifetime of what was found, because it is used; `None` where that is not wanted or not due.
    pub(super) fn slide(&self, request: Asked<'_>, found: &Found, lookup: &Lookup) -> Option<Stored> {
        let stored = found.selected.as_ref()?;
        let record = stored.record.as_response()?;
        let renewed = policy::slide(record, lookup, request.settings, self.clock.now())?;
        let fresh = Stored::new(Record::Response(renewed.record), stored.body.clone(), renewed.retain_until);
        // Whatever is done to the entry from the look-up on keeps this from being stored.
        let generation = self.ledger.generation(&key::group(request.uri));
        self.store_head(found, fresh.clone(), request.settings, generation);
        Some(fresh)
    }

    /// Stores another head for what was found, whose body stays.
    pub(super) fn store_head(&self, found: &Found, fresh: Stored, settings: &Settings, generation: Generation) {
        let (key, retain_until) = (*fresh.record.key(), fresh.retain_until);
        if !self.ledger.refresh(key, fresh, found.selected_changes, generation) {
            return;
        }
        // An index that did not last as long would take the variant with it.
        let (Some(index), Some(at_primary)) = (found.variants(), &found.at_primary) else { return };
        let outlives = at_primary.retain_until.is_some_and(|end| retain_until.is_none_or(|until| until > end));
        if outlives {
            let mut index = index.clone();
            index
                .variants
                .iter_mut()
                .filter(|variant| variant.key == key)
                .for_each(|variant| variant.retain_until = retain_until);
            let stored = Stored::new(Record::Variants(index.clone()), Bytes::new(), None);
            self.ledger.store(index.key, stored, Replaced::Unknown, settings.max_variants, generation);
        }
    }
}
