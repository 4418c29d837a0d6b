//! New lifetimes for what is stored: after a 304, by being used, and because somebody says so.

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use http::Uri;

use super::Engine;
use super::lookup::{Asked, Found};
use crate::cache::ledger::{Generation, Replaced};
use crate::cache::{CachedResponse, Record, Stored, Variant};
use crate::error::Result;
use crate::key;
use crate::policy::{self, ExpireAfter, Lookup, Settings};

/// How many entries are changed before the store has confirmed it: their bodies are in memory for so long.
const AT_ONCE: u64 = 64;

impl Engine {
    /// Renews the lifetime of what was found, because it is used; `None` where that is not wanted or not due.
    pub(super) fn slide(&self, request: Asked<'_>, found: &Found, lookup: &Lookup) -> Option<Stored> {
        let stored = found.selected.as_ref()?;
        let record = stored.record.as_response()?;
        let renewed = policy::slide(record, lookup, request.settings, self.clock.now())?;
        let fresh = Stored::new(Record::Response(renewed.record), stored.body.clone(), renewed.retain_until);
        // Whatever is done to the entry from the look-up on keeps this from being stored.
        let keyer = request.keyer();
        let of = if found.elsewhere().is_some() { keyer.search_rule(request.uri) } else { keyer.group(request.uri) };
        let generation = self.ledger.generation(&of);
        self.store_head(found, fresh.clone(), request.settings, generation);
        Some(fresh)
    }

    /// Stores another head for what was found, whose body stays.
    pub(super) fn store_head(&self, found: &Found, fresh: Stored, settings: &Settings, generation: Generation) {
        let (key, retain_until) = (*fresh.record.key(), fresh.retain_until);
        if !self.ledger.refresh(key, fresh, found.selected_changes, generation) {
            return;
        }
        // The next index would leave out a variant whose deadline it believes to be over.
        let Some(index) = found.variants() else { return };
        let is_outlived = |variant: &Variant| variant.key == key && variant.ends_before(retain_until);
        if index.variants.iter().any(is_outlived) {
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

    /// Gives each of the `responses` another lifetime, counted from now, and says how many they were.
    pub(super) async fn expire_anew(
        &self,
        mut responses: BoxStream<'_, Result<CachedResponse>>,
        expire_after: ExpireAfter,
    ) -> Result<u64> {
        let settings = self.settings.load_full();
        let (mut done, mut varies) = (0_u64, false);
        while let Some(response) = responses.try_next().await? {
            let key = *response.key();
            let Ok(uri) = response.url().parse::<Uri>() else { continue };
            let (generation, seen) = (self.ledger.generation(&key::group(&uri)), self.ledger.changes(&key));
            // Once more, with its body: who looks it up meanwhile finds all of it.
            let Some(stored) = self.ledger.lookup(&key).await? else { continue };
            let Some(record) = stored.record.as_response() else { continue };
            match policy::expire_anew(record, expire_after, &settings, self.clock.now()) {
                Some(renewed) => {
                    varies |= !renewed.record.selecting.is_empty();
                    let fresh =
                        Stored::new(Record::Response(renewed.record), stored.body.clone(), renewed.retain_until);
                    self.ledger.refresh(key, fresh, seen, generation);
                }
                None => self.ledger.delete_now(&[key]).await?,
            }
            done = done.saturating_add(1);
            if done.is_multiple_of(AT_ONCE) {
                self.ledger.flush().await;
            }
        }
        self.ledger.flush().await;
        if varies {
            self.extend_indexes(&settings).await?;
        }
        self.ledger.flush().await;
        Ok(done)
    }

    /// Lets each index, and what it says of each variant, last as long as the variants.
    async fn extend_indexes(&self, settings: &Settings) -> Result<()> {
        let mut records = self.ledger.cache().records();
        while let Some((key, stored)) = records.try_next().await? {
            let Record::Variants(index) = &*stored.record else { continue };
            let Ok(uri) = index.url.parse::<Uri>() else { continue };
            let generation = self.ledger.generation(&key::group(&uri));
            let (mut index, mut outlived) = (index.clone(), false);
            for variant in &mut index.variants {
                if let Some(stored) = self.ledger.lookup(&variant.key).await? {
                    outlived |= variant.ends_before(stored.retain_until);
                    variant.retain_until = stored.retain_until;
                }
            }
            if outlived {
                let stored = Stored::new(Record::Variants(index), Bytes::new(), None);
                self.ledger.store(key, stored, Replaced::Unknown, settings.max_variants, generation);
            }
        }
        Ok(())
    }
}
