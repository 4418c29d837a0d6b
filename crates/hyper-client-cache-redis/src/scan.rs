//! Listing keys: page after page of `SCAN`, server after server, each page when it is asked for.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use fred::types::config::Server;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use hyper_client_cache_core::storage::CacheKey;

use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::link::Link;

/// How many keys of the server a page looks at.
const PAGE: u32 = 256;

/// How many of the last keys are remembered. When the server makes its table smaller, `SCAN` may give the keys of the
/// place that it is at once more, and no others.
const REMEMBERED: usize = 2048;

/// Pages of keys, none of them empty.
pub(crate) fn pages(link: Arc<Link>, space: Arc<Keyspace>) -> BoxStream<'static, Result<Vec<CacheKey>>> {
    let start = Scan { link, space, nodes: None, cursor: None, recent: Recent::default() };
    stream::try_unfold(start, |mut scan| async move { Ok(scan.next().await?.map(|page| (page, scan))) }).boxed()
}

struct Scan {
    link: Arc<Link>,
    space: Arc<Keyspace>,
    /// The servers still to be asked, the present one first; `None` before the first page.
    nodes: Option<VecDeque<Option<Server>>>,
    cursor: Option<String>,
    recent: Recent,
}

impl Scan {
    async fn next(&mut self) -> Result<Option<Vec<CacheKey>>> {
        let nodes = match &mut self.nodes {
            Some(nodes) => nodes,
            None => self.nodes.insert(self.link.nodes().await?.into()),
        };
        while let Some(node) = nodes.front() {
            let cursor = self.cursor.take().unwrap_or_else(|| "0".to_owned());
            let (next, found) = self.link.scan(node.as_ref(), cursor, self.space.pattern(), PAGE).await?;
            self.cursor = next;
            if self.cursor.is_none() {
                nodes.pop_front();
            }
            let keys = found.iter().filter_map(|text| self.space.parse(text)).filter(|key| self.recent.is_new(key));
            let keys: Vec<_> = keys.collect();
            if !keys.is_empty() {
                return Ok(Some(keys));
            }
        }
        Ok(None)
    }
}

/// The last keys that were listed.
#[derive(Default)]
struct Recent {
    set: HashSet<CacheKey>,
    order: VecDeque<CacheKey>,
}

impl Recent {
    fn is_new(&mut self, key: &CacheKey) -> bool {
        if !self.set.insert(*key) {
            return false;
        }
        self.order.push_back(*key);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_once_and_few_are_remembered() {
        let mut recent = Recent::default();
        let key = |number: usize| CacheKey::new(&number.to_string()).unwrap();
        for number in 0..3 * REMEMBERED {
            assert!(recent.is_new(&key(number)));
            assert!(!recent.is_new(&key(number)));
        }
        assert_eq!(recent.set.len(), REMEMBERED);
        assert_eq!(recent.order.len(), REMEMBERED);
    }
}
