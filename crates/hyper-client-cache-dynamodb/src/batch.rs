//! Reading and writing many items at once: within the service's limits, and again for what it did not get to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest};
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::storage::{CacheKey, Entry};

use crate::error::{DynamoDbError, Result};
use crate::item::{Item, Kind};
use crate::table::Table;

/// The most items that one `BatchGetItem` may ask for.
const MAX_READS: usize = 100;

/// The most items that one `BatchWriteItem` may change. So many of our largest stay below its 16 MB also as base64.
const MAX_WRITES: usize = 25;

/// How many batches are under way at once.
const AT_ONCE: usize = 4;

/// How often in a row the service may leave everything undone before that is an error.
const MAX_TRIES: u32 = 6;

/// The longest wait before the second try; each further one may be twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// An item's place: kind and key.
pub(crate) type Place = (Kind, CacheKey);

/// What is to be done to one item.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Kind, CacheKey, Entry),
    Delete(Kind, CacheKey),
}

impl Change {
    const fn place(&self) -> Place {
        match self {
            Self::Put(kind, key, _) | Self::Delete(kind, key) => (*kind, *key),
        }
    }
}

impl Table {
    /// The items at these places that are there, with these attributes (all where none are named). A place may be named
    /// more than once.
    pub(crate) async fn read_batch(
        self: &Arc<Self>,
        places: impl IntoIterator<Item = Place>,
        attributes: &[&str],
        consistent: bool,
    ) -> Result<HashMap<Place, Item>> {
        let mut places: Vec<Place> = places.into_iter().collect();
        places.sort_unstable_by_key(|(kind, key)| (*key, kind.name()));
        // The service refuses a batch that names an item twice.
        places.dedup();
        let batches = places.chunks(MAX_READS).map(<[Place]>::to_vec).collect::<Vec<_>>();
        let wanted = self.wanted(attributes, consistent);
        let found = stream::iter(batches)
            .map(|batch| {
                let keys = batch.iter().map(|(kind, key)| self.attributes.primary(*kind, key)).collect();
                self.read_chunk(wanted.clone().set_keys(Some(keys)))
            })
            .buffer_unordered(AT_ONCE)
            .try_concat();
        let items: Vec<Item> = found.await?;
        Ok(items.into_iter().filter_map(|item| Some((self.attributes.place(&item)?, item))).collect())
    }

    fn wanted(
        &self,
        attributes: &[&str],
        consistent: bool,
    ) -> aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder {
        let mut wanted = KeysAndAttributes::builder().consistent_read(consistent);
        if !attributes.is_empty() {
            let (text, names) = self.projection(attributes);
            wanted = wanted.projection_expression(text).set_expression_attribute_names(Some(names));
        }
        wanted
    }

    /// An expression for these attributes and the primary key, and its names.
    pub(crate) fn projection(&self, attributes: &[&str]) -> (String, HashMap<String, String>) {
        let all = [self.attributes.key.as_str(), self.attributes.kind.as_str()];
        let names: HashMap<_, _> = all
            .into_iter()
            .chain(attributes.iter().copied())
            .enumerate()
            .map(|(at, name)| (format!("#p{at}"), name.to_owned()))
            .collect();
        (names.keys().cloned().collect::<Vec<_>>().join(", "), names)
    }

    async fn read_chunk(
        self: &Arc<Self>,
        wanted: aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder,
    ) -> Result<Vec<Item>> {
        let wanted = wanted.build().map_err(|_| DynamoDbError::Unreadable { operation: "BatchGetItem" })?;
        let mut items = Vec::with_capacity(wanted.keys().len());
        let mut patience = Patience::new("BatchGetItem", wanted.keys().len());
        let mut left = Some(wanted);
        while let Some(wanted) = left.take() {
            let request = self.client.batch_get_item().request_items(&self.name, wanted);
            let output = self.call("BatchGetItem", || request.clone().send()).await?;
            items.extend(output.responses.into_iter().flatten().flat_map(|(_, items)| items));
            left = output.unprocessed_keys.into_iter().flatten().map(|(_, keys)| keys).find(|it| !it.keys().is_empty());
            if let Some(left) = &left {
                patience.wait(left.keys().len()).await?;
            }
        }
        Ok(items)
    }

    /// Makes these changes, each of them whole, in no particular order; of several to one item the last one counts.
    pub(crate) async fn write_batch(self: &Arc<Self>, changes: impl IntoIterator<Item = Change>) -> Result<()> {
        let mut last = HashMap::new();
        for change in changes {
            if let Change::Put(_, _, entry) = &change {
                self.check_len(entry)?;
            }
            last.insert(change.place(), change);
        }
        self.check_open()?;
        let mut changes: Vec<Change> = last.into_values().collect();
        let mut batches = Vec::with_capacity(changes.len().div_ceil(MAX_WRITES));
        while !changes.is_empty() {
            batches.push(changes.split_off(changes.len().saturating_sub(MAX_WRITES)));
        }
        stream::iter(batches).map(|batch| self.write_chunk(batch)).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }

    async fn write_chunk(self: &Arc<Self>, batch: Vec<Change>) -> Result<()> {
        let mut requests = Vec::with_capacity(batch.len());
        for change in batch {
            requests.push(self.request(change)?);
        }
        let mut patience = Patience::new("BatchWriteItem", requests.len());
        while !requests.is_empty() {
            let request = self.client.batch_write_item().request_items(&self.name, requests);
            let output = self.call("BatchWriteItem", || request.clone().send()).await?;
            requests = output.unprocessed_items.into_iter().flatten().flat_map(|(_, requests)| requests).collect();
            if !requests.is_empty() {
                patience.wait(requests.len()).await?;
            }
        }
        Ok(())
    }

    fn request(&self, change: Change) -> Result<WriteRequest> {
        let request = WriteRequest::builder();
        let built = match change {
            Change::Put(kind, key, entry) => PutRequest::builder()
                .set_item(Some(self.attributes.item(kind, &key, entry)))
                .build()
                .map(|put| request.put_request(put)),
            Change::Delete(kind, key) => DeleteRequest::builder()
                .set_key(Some(self.attributes.primary(kind, &key)))
                .build()
                .map(|delete| request.delete_request(delete)),
        };
        Ok(built.map_err(|_| DynamoDbError::Unreadable { operation: "BatchWriteItem" })?.build())
    }
}

/// How long to wait for a service that left something undone, and how often.
///
/// The waits double and are drawn from zero up, so that many clients that were refused together do not come back
/// together. Where something was done the count begins anew: it ends, because every such round leaves less.
struct Patience {
    operation: &'static str,
    left: usize,
    tries: u32,
}

impl Patience {
    const fn new(operation: &'static str, asked: usize) -> Self {
        Self { operation, left: asked, tries: 0 }
    }

    async fn wait(&mut self, left: usize) -> Result<()> {
        self.tries = if left < self.left { 1 } else { self.tries.saturating_add(1) };
        self.left = left;
        if self.tries >= MAX_TRIES {
            return Err(DynamoDbError::Throttled { operation: self.operation });
        }
        let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.tries.saturating_sub(1)));
        tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
        Ok(())
    }
}
