//! Removing what is dead at the cost of the dead: through the index of deadlines, never through the table.
//!
//! The index may lag behind the table, so each removal has a condition: an entry that was rewritten meanwhile stays.

use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::{DynamoDbError, Result};
use crate::item::{Expression, Item, Kind, SHARDS};
use crate::table::Table;

/// How many removals are under way at once.
const AT_ONCE: usize = 16;

impl Table {
    /// Removes the items of one kind that are dead at `now`, and says how many.
    pub(crate) async fn expire(self: &Arc<Self>, kind: Kind, now: SystemTime) -> Result<u64> {
        self.check_open()?;
        if self.index().is_some() {
            match self.remove(kind, now, self.dead_in_index(kind, now)).await {
                Err(DynamoDbError::NoIndex) => self.index_is_missing(),
                outcome => return outcome,
            }
        }
        let names = self.attributes.clone();
        let filter = move || Expression::kind(&names, kind).and(Expression::dead(&names, now));
        self.remove(kind, now, self.scan(filter, &[], false)).await
    }

    async fn remove(self: &Arc<Self>, kind: Kind, now: SystemTime, dead: BoxStream<'_, Result<Item>>) -> Result<u64> {
        let removed = dead.map(move |item| {
            let table = Arc::clone(self);
            async move {
                match table.attributes.place(&item?) {
                    Some((of, key)) if of == kind => {
                        table.delete_if(kind, &key, Expression::dead(&table.attributes, now)).await
                    }
                    _ => Ok(false),
                }
            }
        });
        let sum = |sum: u64, removed| std::future::ready(Ok(sum.saturating_add(u64::from(removed))));
        removed.buffer_unordered(AT_ONCE).try_fold(0, sum).await
    }

    fn dead_in_index(self: &Arc<Self>, kind: Kind, now: SystemTime) -> BoxStream<'static, Result<Item>> {
        stream::select_all((0..SHARDS).map(|number| self.shard(kind.shard(number), now))).boxed()
    }

    fn shard(self: &Arc<Self>, shard: String, now: SystemTime) -> BoxStream<'static, Result<Item>> {
        let condition = Expression::dead(&self.attributes, now)
            .and(Expression::default().text("#shard = :shard"))
            .name("#shard", &self.attributes.shard)
            .value(":shard", AttributeValue::S(shard));
        let request = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(self.index.clone())
            .key_condition_expression(condition.text)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(Some(condition.values));
        let table = Arc::clone(self);
        stream::try_unfold(Some(None), move |start: Option<Option<Item>>| {
            let (table, request) = (Arc::clone(&table), request.clone());
            async move {
                let Some(start) = start else { return Ok(None) };
                let request = request.set_exclusive_start_key(start);
                let output = table.call("Query", || request.clone().send()).await?;
                let next = output.last_evaluated_key.filter(|last| !last.is_empty()).map(Some);
                Ok(Some((stream::iter(output.items.unwrap_or_default().into_iter().map(Ok)), next)))
            }
        })
        .try_flatten()
        .boxed()
    }
}
