//! Heads, which may name the parts of a large body: put only in place of what the writer knows, so that no writer hides
//! the parts of another for good.
//!
//! The parts of a body are there before its head is, under an id of their own, and the head stands beside that id in
//! the item. A head is put where the one that is there names no parts, or parts that the writer removes afterwards.
//! Where another writer was there first, the service says what it wrote; that is what is replaced then, with its parts.
//! The condition costs nothing, and no round trip unless two writers meet.

use std::sync::Arc;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use hyper_client_cache_core::cache::{Record, codec};
use hyper_client_cache_core::storage::{CacheKey, Entry, frame};

use crate::error::{DynamoDbError, Result};
use crate::item::{DynamoDbAttributes, Expression, Kind, binary, mark};
use crate::storage::DynamoDbStorage;
use crate::table::Table;

/// How many other writers a head gives way to, one after the other, before it is given up.
const TRIES: usize = 5;

/// What the head that is there may name, for another to take its place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parts<'a> {
    /// Anything: the caller knows nothing of parts.
    Any,
    /// Exactly this body's, or those of none.
    Of(Option<&'a str>),
}

impl Table {
    /// Puts a head in place of what is there. Its body has the parts of the id `own`, that of what it replaces those of
    /// `known`. Returns the records of others that turned out to be there instead, whose parts are to be removed.
    pub(crate) async fn put_head(
        self: &Arc<Self>,
        kind: Kind,
        key: &CacheKey,
        entry: Entry,
        own: Option<&str>,
        known: Option<&str>,
    ) -> Result<Vec<Arc<Record>>> {
        self.check_open()?;
        self.check_len(&entry)?;
        let mut item = self.attributes.item(kind, key, entry);
        self.attributes.name_parts(&mut item, own);
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        // Its own may be there already: the answer to a first try was lost, and the driver tried again.
        let mut ids: Vec<String> = own.into_iter().chain(known).map(str::to_owned).collect();
        let mut superseded = Vec::new();
        for _ in 0..TRIES {
            let condition = Expression::known_parts(&self.attributes, &ids);
            let request = request
                .clone()
                .condition_expression(condition.text)
                .set_expression_attribute_names(Some(condition.names))
                .set_expression_attribute_values(Some(condition.values).filter(|values| !values.is_empty()));
            let send = || async {
                match request.clone().send().await {
                    Ok(_) => Ok(None),
                    Err(SdkError::ServiceError(error)) => match error.err() {
                        PutItemError::ConditionalCheckFailedException(failed) => Ok(failed.item.clone()),
                        _ => Err(SdkError::ServiceError(error)),
                    },
                    Err(error) => Err(error),
                }
            };
            let Some(mut there) = self.call("PutItem", send).await? else { return Ok(superseded) };
            ids.extend(self.attributes.named_parts(&there).map(str::to_owned));
            // Bytes that are no head of ours name no parts that could be found.
            let head = self.attributes.read_head(&mut there).ok().and_then(codec::decode);
            superseded.extend(head.map(|stored| stored.record));
        }
        Err(DynamoDbError::Condition)
    }
}

impl DynamoDbStorage {
    /// Another head for the body that is there, or the whole entry in place of another body; whether one was alive.
    pub(crate) async fn renew(&self, key: &CacheKey, entry: Entry, parts: Parts<'_>) -> Result<bool> {
        self.table.check_open()?;
        self.table.check_len(&entry)?;
        if self.replace_head(key, &entry, parts).await? {
            return Ok(true);
        }
        match parts {
            // The head of other parts, or of none, would hide those that are there.
            Parts::Of(Some(_)) => Ok(false),
            // Nothing is there, or another body: head and body belong together, so the whole entry is the later one.
            _ => self.replace(key, entry, parts).await,
        }
    }

    /// Replaces an entry that is alive; whether one is.
    async fn replace(&self, key: &CacheKey, entry: Entry, parts: Parts<'_>) -> Result<bool> {
        let table = &self.table;
        let condition = self.alive_with(parts);
        let request = table
            .client
            .put_item()
            .table_name(&table.name)
            .set_item(Some(table.attributes.item(self.kind, key, entry)))
            .condition_expression(condition.text)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(Some(condition.values));
        match table.call("PutItem", || request.clone().send()).await {
            Ok(_) => Ok(true),
            Err(DynamoDbError::Condition) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Replaces the head of an entry that is alive and has this body; whether one is.
    async fn replace_head(&self, key: &CacheKey, entry: &Entry, parts: Parts<'_>) -> Result<bool> {
        let table = &self.table;
        let names = &table.attributes;
        let block = frame::block(entry);
        let same_body = Expression::default()
            .text("#mark = :same")
            .name("#mark", &names.mark)
            .value(":same", AttributeValue::B(mark(&block).into()));
        let condition = self.alive_with(parts).and(same_body);
        let mut update = Expression::default();
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        let mut about = names.about(self.kind, key, entry, &block);
        about.push((names.head.clone(), binary(block)));
        for (at, name) in [&names.head, &names.len, &names.retain_until, &names.ttl, &names.shard].iter().enumerate() {
            let alias = format!("#u{at}");
            match about.iter().find(|(of, _)| of == *name) {
                Some((_, value)) => {
                    set.push(format!("{alias} = :u{at}"));
                    update = update.value(&format!(":u{at}"), value.clone());
                }
                None => remove.push(alias.clone()),
            }
            update = update.name(&alias, name);
        }
        let mut text = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            text = format!("{text} REMOVE {}", remove.join(", "));
        }
        let request = table
            .client
            .update_item()
            .table_name(&table.name)
            .set_key(Some(names.primary(self.kind, key)))
            .update_expression(text)
            .condition_expression(condition.text)
            .set_expression_attribute_names(Some(update.names.into_iter().chain(condition.names).collect()))
            .set_expression_attribute_values(Some(update.values.into_iter().chain(condition.values).collect()));
        match table.call("UpdateItem", || request.clone().send()).await {
            Ok(_) => Ok(true),
            Err(DynamoDbError::Condition) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn alive_with(&self, parts: Parts<'_>) -> Expression {
        let attributes = &self.table.attributes;
        let live = Expression::live(attributes, self.table.now());
        match parts {
            Parts::Any => live,
            Parts::Of(None) => live.and(Expression::known_parts(attributes, &[])),
            Parts::Of(Some(id)) => live.and(Expression::parts(attributes, id)),
        }
    }
}

impl Expression {
    /// The head that is there, if one is, names no parts or those of one of these ids.
    fn known_parts(attributes: &DynamoDbAttributes, ids: &[String]) -> Self {
        let mut expression = Self::default().name("#parts", &attributes.parts);
        let mut texts = vec!["attribute_not_exists(#parts)".to_owned()];
        for (at, id) in ids.iter().enumerate() {
            texts.push(format!("#parts = :parts{at}"));
            expression = expression.value(&format!(":parts{at}"), AttributeValue::S(id.clone()));
        }
        expression.text(&texts.join(" OR "))
    }

    /// The head that is there names the parts of this id.
    fn parts(attributes: &DynamoDbAttributes, id: &str) -> Self {
        Self::default()
            .text("#parts = :parts")
            .name("#parts", &attributes.parts)
            .value(":parts", AttributeValue::S(id.to_owned()))
    }
}
