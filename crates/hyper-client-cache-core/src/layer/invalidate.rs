//! What an unsafe request removes (RFC 9111 section 4.4): everything stored for its target and for what its answer
//! points to on the same origin, in every partition and variant.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use http::{Method, Uri};
use tokio::time::timeout;

use super::Engine;
use super::lookup::Care;
use super::search::Later;
use crate::cache::Record;
use crate::error::{Error, ErrorKind};
use crate::key::{Keyer, Partition};
use crate::policy::is_safe;
use crate::storage::CacheKey;

/// What of a URL is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removed {
    /// Everything.
    All,
    /// What was stored for safe methods: answers to others, which are stored on request only, stay.
    OfSafeMethods,
}

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
        keyer: &Keyer<'_>,
        removed: Removed,
    ) -> Result<(), Error> {
        let keys: Vec<_> = targets.iter().flat_map(|target| primaries(target, partition.as_ref(), keyer)).collect();
        let groups: Vec<_> = targets.iter().flat_map(|target| groups(target, keyer)).collect();
        // First, so that nothing that is on its way is stored behind our back (case 56).
        groups.iter().for_each(|group| self.ledger.invalidate(group));
        targets.iter().for_each(|target| self.ledger.invalidate(&keyer.search_rule(target)));
        let (engine, busy, later) = (self.clone(), self.ledger.busy(), Later::new(keyer));
        let all = async move {
            // Side by side, for there is hardly ever a rule, and nobody shall wait for a second round trip to hear that.
            let rules = join_all(targets.iter().map(|target| engine.groups_of(target, &later)));
            let (mut result, rules) = join(engine.remove(keys, groups, removed), rules).await;
            let (mut keys, mut groups) = (Vec::new(), Vec::new());
            for found in rules {
                match found {
                    Ok(by_rule) => groups.extend(by_rule),
                    // Without the rule nothing is found by it, whatever is listed.
                    Err(rule) => keys.push(rule),
                }
            }
            if !keys.is_empty() || !groups.is_empty() {
                result = result.and(engine.remove(keys, groups, removed).await);
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

    /// Removes what lies under `keys` and under those that the groups list, with all variants.
    async fn remove(&self, keys: Vec<CacheKey>, groups: Vec<CacheKey>, removed: Removed) -> Result<(), Error> {
        // At once, because a slow store is waited for no longer than for one call.
        let of_groups = join_all(groups.iter().map(|group| self.read(group, Care::Remove)));
        let (of_groups, (mut doomed, mut result)) = join(of_groups, self.with_variants(&keys, removed)).await;
        for (group, found) in groups.into_iter().zip(of_groups) {
            match found {
                Ok(Some(stored)) => {
                    if let Record::Group(members) = &*stored.record {
                        let new: Vec<_> = members
                            .members
                            .iter()
                            .filter(|key| !doomed.contains(key) && !keys.contains(key))
                            .copied()
                            .collect();
                        let (more, outcome) = self.with_variants(&new, removed).await;
                        doomed.extend(more);
                        result = result.and(outcome);
                    }
                    if removed == Removed::All {
                        doomed.push(group);
                    }
                }
                Ok(None) => {}
                // There may be anything in other partitions.
                Err(error) => {
                    self.ledger.doubt(group);
                    result = Err(error);
                }
            }
        }
        result.and(self.ledger.delete(doomed).await)
    }

    /// Those of `keys` that are to be removed, and the variants that the indexes under them name. What cannot be read is in
    /// doubt: under an index that nobody can read there may be any variant, which a later index would name again.
    async fn with_variants(&self, keys: &[CacheKey], removed: Removed) -> (Vec<CacheKey>, Result<(), Error>) {
        let found = join_all(keys.iter().map(|key| self.read(key, Care::Remove))).await;
        let (mut doomed, mut result) = (Vec::with_capacity(keys.len()), Ok(()));
        for (key, found) in keys.iter().zip(found) {
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    self.ledger.counters.invalidate_failed.add();
                    self.ledger.doubt(*key);
                    result = Err(error);
                    continue;
                }
            };
            let variants: Vec<_> = match found.as_ref().map(|stored| &*stored.record) {
                Some(Record::Variants(index)) => index.variants.iter().map(|variant| variant.key).collect(),
                _ => Vec::new(),
            };
            let is_unsafe = match found.as_ref().and_then(|stored| stored.record.as_response()) {
                Some(response) => !is_safe(&response.method),
                None => removed == Removed::OfSafeMethods && self.is_of_unsafe(&variants).await,
            };
            if removed == Removed::All || !is_unsafe {
                doomed.push(*key);
                doomed.extend(variants);
            }
        }
        (doomed, result)
    }

    /// Whether variants were asked for with an unsafe method. All of one URL have one method: the first that is there
    /// tells.
    async fn is_of_unsafe(&self, variants: &[CacheKey]) -> bool {
        for key in variants {
            if let Ok(Some(stored)) = self.read(key, Care::Remove).await
                && let Some(response) = stored.record.as_response()
            {
                return !is_safe(&response.method);
            }
        }
        false
    }
}

/// The primary keys that follow from a URL: those of the common partition and of one other, by these settings and by those
/// of whoever has not set any, for others may use the cache too. The [groups] of the URL list the rest.
pub(super) fn primaries(uri: &Uri, partition: Option<&Partition>, keyer: &Keyer<'_>) -> Vec<CacheKey> {
    let mut keys = Vec::with_capacity(8);
    for keyer in [*keyer, without_options(keyer)] {
        for method in [Method::GET, Method::HEAD] {
            keys.push(keyer.of_url(&method, uri, None));
            if partition.is_some() {
                keys.push(keyer.of_url(&method, uri, partition));
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The groups of a URL: that by these settings, and that by those of whoever has not set any, where they differ.
pub(super) fn groups(uri: &Uri, keyer: &Keyer<'_>) -> Vec<CacheKey> {
    let (own, common) = (keyer.group(uri), without_options(keyer).group(uri));
    if own == common { vec![own] } else { vec![own, common] }
}

fn without_options<'a>(keyer: &Keyer<'a>) -> Keyer<'a> {
    Keyer { separation: keyer.separation, ..Keyer::default() }
}
