//! What an unsafe request removes (RFC 9111 section 4.4): everything stored for its target and for what its answer
//! points to on the same origin, in every partition and variant.

use std::sync::Arc;

use http::{Method, Uri};

use super::Engine;
use super::lookup::Care;
use crate::cache::Record;
use crate::key::{self, Partition};
use crate::storage::CacheKey;

impl Engine {
    /// Removes what is stored for `targets`. Returns when the store has confirmed it, so that it does not come back
    /// after a crash (case 57).
    ///
    /// Carried through also where the caller goes away meanwhile: the origin has done what makes it necessary.
    pub(super) async fn invalidate(self: &Arc<Self>, targets: Vec<Uri>, partition: Option<Partition>) {
        // First, so that nothing that is on its way is stored behind our back (case 56).
        for target in &targets {
            self.ledger.invalidate(&key::group(target));
        }
        let (engine, busy) = (self.clone(), self.ledger.busy());
        let all = async move {
            for target in &targets {
                engine.invalidate_url(target, partition.as_ref()).await;
            }
            drop(busy);
        };
        match tokio::runtime::Handle::try_current() {
            // An error means that the runtime shuts down.
            Ok(runtime) => drop(runtime.spawn(all).await),
            Err(_) => all.await,
        }
    }

    async fn invalidate_url(&self, uri: &Uri, partition: Option<&Partition>) {
        let group = key::group(uri);
        let mut keys = primaries(uri, partition);
        if let Ok(Some(stored)) = self.read(&group, Care::Remove).await {
            if let Record::Group(members) = &*stored.record {
                keys.extend(members.members.iter().filter(|key| !keys.contains(key)).copied().collect::<Vec<_>>());
            }
            keys.push(group);
        }
        let mut variants = Vec::new();
        for key in &keys {
            if let Ok(Some(stored)) = self.read(key, Care::Remove).await
                && let Record::Variants(index) = &*stored.record
            {
                variants.extend(index.variants.iter().map(|variant| variant.key));
            }
        }
        keys.extend(variants);
        self.ledger.delete(keys).await;
    }
}

/// The primary keys that follow from a URL: those of the common partition and of one other. The group of the URL lists
/// the rest.
pub(super) fn primaries(uri: &Uri, partition: Option<&Partition>) -> Vec<CacheKey> {
    let mut keys = Vec::with_capacity(4);
    for method in [Method::GET, Method::HEAD] {
        keys.push(key::primary(&method, uri, None));
        if partition.is_some() {
            keys.push(key::primary(&method, uri, partition));
        }
    }
    keys
}
