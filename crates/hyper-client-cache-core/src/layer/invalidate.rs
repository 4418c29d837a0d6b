//! What an unsafe request removes (RFC 9111 section 4.4): everything stored for its target and for what its answer
//! points to on the same origin, in every partition and variant.

use http::{HeaderMap, Method, StatusCode, Uri};

use super::Engine;
use crate::cache::Record;
use crate::key::{self, Partition};
use crate::policy;

impl Engine {
    /// Removes what `method` on `uri`, answered like this, makes invalid. Returns when the store has confirmed it, so
    /// that it does not come back after a crash (case 57).
    pub(super) async fn invalidate(
        &self,
        method: &Method,
        uri: &Uri,
        status: StatusCode,
        headers: &HeaderMap,
        partition: Option<&Partition>,
    ) {
        for target in policy::invalidation_targets(method, uri, status, headers) {
            self.invalidate_url(&target, partition).await;
        }
    }

    async fn invalidate_url(&self, uri: &Uri, partition: Option<&Partition>) {
        let group = key::group(uri);
        // First, so that nothing that is on its way is stored behind our back (case 56).
        self.ledger.invalidate(&group);
        let mut keys = Vec::new();
        for method in [Method::GET, Method::HEAD] {
            keys.push(key::primary(&method, uri, None));
            if partition.is_some() {
                keys.push(key::primary(&method, uri, partition));
            }
        }
        if let Ok(Some(stored)) = self.read(&group).await {
            if let Record::Group(members) = &*stored.record {
                keys.extend(members.members.iter().filter(|key| !keys.contains(key)).copied().collect::<Vec<_>>());
            }
            keys.push(group);
        }
        let mut variants = Vec::new();
        for key in &keys {
            if let Ok(Some(stored)) = self.read(key).await
                && let Record::Variants(index) = &*stored.record
            {
                variants.extend(index.variants.iter().map(|variant| variant.key));
            }
        }
        keys.extend(variants);
        self.ledger.delete(keys).await;
    }
}
