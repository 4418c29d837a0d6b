//! What a HEAD has to do with the stored GET of its URL: it is answered by it, and may show it to be outdated.

use http::request::Parts;
use http::{HeaderMap, Method};

use super::Engine;
use super::exchange::Ticket;
use super::lookup::{Asked, Care, selects};
use crate::cache::{Record, Selecting, Stored};
use crate::key::{Identity, KeyRequest};
use crate::policy::{self, Judgement, Lookup};

impl Engine {
    /// The stored GET that answers a HEAD, while it is fresh (RFC 9110 section 9.3.2).
    pub(super) async fn get_for_head(&self, request: Asked<'_>, lookup: &Lookup) -> Option<Stored> {
        let get = Method::GET;
        let request = Asked { method: &get, ..request };
        let found = self.find(request, &request.primary()?, lookup).await;
        // Offline nothing better can be had.
        let is_served = match found.judgement {
            Judgement::Fresh => true,
            Judgement::ServeStale { .. } => lookup.effective.offline,
            _ => false,
        };
        found.selected.filter(|_| is_served)
    }

    /// Removes the stored GET that a HEAD's answer shows to be another representation by now (case 49).
    pub(super) async fn compare_with_get(
        &self,
        parts: &Parts,
        body: Option<&[u8]>,
        ticket: &Ticket,
        headers: &HeaderMap,
    ) {
        if !ticket.lookup.write {
            return;
        }
        let keyer = ticket.settings.keyer(&ticket.matching);
        let mut get = KeyRequest::new(&Method::GET, &parts.uri, &parts.headers);
        get.body = body;
        let Some(Identity { primary, .. }) = keyer.identify_in(&get, ticket.identity.partition) else { return };
        let mut candidates = Vec::new();
        let listed = self.listed(&get, ticket.identity.partition.as_ref(), &keyer).await;
        for primary in std::iter::once(primary).chain(listed) {
            let Ok(Some(stored)) = self.read(&primary, Care::Remove).await else { continue };
            if let Record::Variants(index) = &*stored.record {
                let is_selected = |selecting: &[Selecting]| selects(selecting, &parts.headers, &keyer);
                let selected = index.variants.iter().filter(|variant| is_selected(&variant.selecting));
                candidates.extend(selected.map(|variant| variant.key));
            } else {
                candidates.push(primary);
            }
        }
        for key in candidates {
            let stored = self.read(&key, Care::Remove).await.ok().flatten();
            let record = stored.as_ref().and_then(|stored| stored.record.as_response());
            if record.is_some_and(|record| policy::head_contradicts(record, headers)) {
                self.ledger.forget(key);
            }
        }
    }
}
