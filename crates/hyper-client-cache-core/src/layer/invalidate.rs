//! What an unsafe request removes (RFC 9111 section 4.4): everything stored for its target and for what its answer
//! points to on the same origin, in every partition and variant.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use http::{Method, Uri};
use tokio::time::timeout;

use super::Engine;
use super::lookup::Care;
use crate::cache::Record;
use crate::error::{Error, ErrorKind};
use crate::key::{self, Partition};
use crate::storage::CacheKey;

impl Engine {
    /// Removes what is stored for `targets`. Returns when the store has confirmed it, so that it does not come back
    /// after a crash (case 57), or when it has been waited for long enough.
    ///
    /// Carried through also where the caller goes away meanwhile: the origin has done what makes it necessary.
    ///
    /// # Errors
    /// Where the store has not confirmed it. What was stored stays out of sight all the same.
    pub(super) async fn invalidate(
        self: &Arc<Self>,
        targets: Vec<Uri>,
        partition: Option<Partition>,
    ) -> Result<(), Error> {
        // First, so that nothing that is on its way is stored behind our back (case 56).
        for target in &targets {
            self.ledger.invalidate(&key::group(target));
        }
        let (engine, busy) = (self.clone(), self.ledger.busy());
        let all = async move {
            let mut result = Ok(());
            for target in &targets {
                result = result.and(engine.invalidate_url(target, partition.as_ref()).await);
            }
            drop(busy);
            result
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return all.await };
        match timeout(self.ledger.patience(), runtime.spawn(all)).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::new(ErrorKind::Unavailable, "the runtime is shutting down")),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "a deletion is not confirmed").transient()),
        }
    }

    async fn invalidate_url(&self, uri: &Uri, partition: Option<&Partition>) -> Result<(), Error> {
        let group = key::group(uri);
        let mut keys = primaries(uri, partition);
        // At once, because a slow store is waited for no longer than for one call.
        let (of_group, mut variants) = join(self.read(&group, Care::Remove), self.variants_of(&keys)).await;
        let known = match of_group {
            Ok(Some(stored)) => {
                let mut members = match &*stored.record {
                    Record::Group(members) => members.members.clone(),
                    _ => Vec::new(),
                };
                members.retain(|key| !keys.contains(key));
                variants.extend(self.variants_of(&members).await);
                keys.extend(members);
                keys.push(group);
                Ok(())
            }
            Ok(None) => Ok(()),
            // There may be anything in other partitions.
            Err(error) => {
                self.ledger.doubt(group);
                Err(error)
            }
        };
        keys.extend(variants);
        known.and(self.ledger.delete(keys).await)
    }

    /// The variants that the indexes under `keys` name.
    async fn variants_of(&self, keys: &[CacheKey]) -> Vec<CacheKey> {
        let found = join_all(keys.iter().map(|key| self.read(key, Care::Remove))).await;
        let records = found.into_iter().filter_map(|found| Some(found.ok()??.record));
        let variants = records.filter_map(|record| match &*record {
            Record::Variants(index) => Some(index.variants.iter().map(|variant| variant.key).collect::<Vec<_>>()),
            _ => None,
        });
        variants.flatten().collect()
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
