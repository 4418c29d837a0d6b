//! What children have said, and whether it is there.

use std::collections::HashMap;

use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::CacheKey;

use super::load::whole;
use crate::contract::Violation;

/// What children said of their keys: the version that was acknowledged last, and one that was under way.
#[derive(Clone, Debug, Default)]
pub struct Said(HashMap<CacheKey, (u64, Option<u64>)>);

impl Said {
    /// Takes a line in; `true` where it acknowledges a change.
    pub fn hear(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        let (Some(verb), Some(key), Some(Ok(version))) =
            (words.next(), words.next(), words.next().map(str::parse::<u64>))
        else {
            return false;
        };
        let Ok(key) = CacheKey::new(key) else { return false };
        let of_key = self.0.entry(key).or_default();
        match verb {
            "try" => of_key.1 = Some(version),
            "ack" => *of_key = (version, None),
            _ => return false,
        }
        verb == "ack"
    }

    /// Whether nothing was said yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key has what was acknowledged last or what was under way, byte for byte; and that is known from now on.
    ///
    /// # Errors
    /// One has not, or nothing was said at all.
    pub async fn check(&mut self, cache: &dyn Cache) -> Result<(), Violation> {
        if self.0.is_empty() {
            return Err(Violation::new("the children said nothing"));
        }
        for (key, (acknowledged, under_way)) in &mut self.0 {
            let found = cache.responses().read(key).await?;
            let version = found.as_ref().map_or(Ok(0), |found| whole(key, found))?;
            if version != *acknowledged && Some(version) != *under_way {
                return Err(Violation::new(format!(
                    "{key}: found {version}, acknowledged {acknowledged}, under way {under_way:?}"
                )));
            }
            (*acknowledged, *under_way) = (version, None);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hyper_client_cache_core::cache::MemoryCache;
    use hyper_client_cache_core::storage::Entry;

    use super::super::load::{entry, key};
    use super::*;

    /// What was acknowledged and what was under way are right, anything else is noticed: an older version, a mix,
    /// nothing at all.
    #[tokio::test]
    async fn what_is_not_kept_is_noticed() {
        let cache = MemoryCache::default();
        let name = key("one", 0, 0).unwrap();
        assert!(Said::default().is_empty());
        assert!(Said::default().check(&cache).await.is_err());
        let mut said = Said::default();
        assert!(!said.hear(&format!("try {name} 7")));
        assert!(said.hear(&format!("ack {name} 7")));
        assert!(!said.hear(&format!("try {name} 8")));
        assert!(!said.hear("running 1 test"));
        assert!(said.clone().check(&cache).await.is_err());
        for (version, is_right) in [(6, false), (7, true), (8, true), (9, false)] {
            cache.responses().write(&name, entry(&name, version)).await.unwrap();
            assert_eq!(said.clone().check(&cache).await.is_ok(), is_right, "{version}");
        }
        cache.responses().write(&name, Entry::new(format!("{name} 8"), "of another")).await.unwrap();
        assert!(said.clone().check(&cache).await.is_err());
        cache.responses().write(&name, entry(&name, 8)).await.unwrap();
        said.check(&cache).await.unwrap();
        cache.responses().write(&name, entry(&name, 7)).await.unwrap();
        assert!(said.check(&cache).await.is_err());
    }
}
