//! Making the table, and telling ours from another's.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};

use crate::error::{DynamoDbError, Result};
use crate::table::Table;

/// How long a new table may take. A few seconds are usual.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The table is there, ours and ready; where it is not there and may be made, it is.
pub(crate) async fn prepare(table: &Arc<Table>) -> Result<()> {
    match ready(table).await {
        Err(DynamoDbError::Missing { .. }) if table.create => table.made().await,
        Err(error) => Err(error),
        Ok(description) => {
            check(table, &description)?;
            look_at_ttl(table, table.create).await;
            Ok(())
        }
    }
}

/// Makes the table and waits for it; fine where somebody else is doing the same.
pub(crate) async fn create(table: &Arc<Table>) -> Result<()> {
    let request = request(table)?;
    let failed = |error| DynamoDbError::of("CreateTable", &table.name, error);
    match request.send().await.map_err(failed) {
        Ok(_) => tracing::info!(table = %table.name, "the table was made"),
        Err(DynamoDbError::Service { code, .. }) if code == "ResourceInUseException" => {}
        Err(error) => return Err(error),
    }
    let description = ready(table).await?;
    check(table, &description)?;
    look_at_ttl(table, true).await;
    Ok(())
}

fn request(table: &Table) -> Result<CreateTableFluentBuilder> {
    let names = &table.attributes;
    let mut request = table
        .client
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(definition(&names.key, ScalarAttributeType::S)?)
        .attribute_definitions(definition(&names.kind, ScalarAttributeType::S)?)
        .key_schema(element(&names.key, KeyType::Hash)?)
        .key_schema(element(&names.kind, KeyType::Range)?);
    if let Some(index) = &table.index {
        let index = GlobalSecondaryIndex::builder()
            .index_name(index)
            .key_schema(element(&names.shard, KeyType::Hash)?)
            .key_schema(element(&names.retain_until, KeyType::Range)?)
            .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
            .build()
            .map_err(impossible)?;
        request = request
            .attribute_definitions(definition(&names.shard, ScalarAttributeType::S)?)
            .attribute_definitions(definition(&names.retain_until, ScalarAttributeType::N)?)
            .global_secondary_indexes(index);
    }
    Ok(request)
}

fn definition(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition> {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().map_err(impossible)
}

fn element(name: &str, kind: KeyType) -> Result<KeySchemaElement> {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().map_err(impossible)
}

/// A required field was left out, which the code above does not.
fn impossible(_: aws_sdk_dynamodb::error::BuildError) -> DynamoDbError {
    DynamoDbError::Setting("the description of the table is incomplete".to_owned())
}

/// The description of the table once it is neither being made nor changed.
async fn ready(table: &Arc<Table>) -> Result<TableDescription> {
    let deadline = tokio::time::Instant::now().checked_add(READY_WITHIN);
    let mut wait = Duration::from_millis(20);
    loop {
        table.check_open()?;
        let failed = |error| DynamoDbError::of("DescribeTable", &table.name, error);
        let output = table.client.describe_table().table_name(&table.name).send().await.map_err(failed)?;
        if let Some(description) = output.table
            && matches!(description.table_status, Some(TableStatus::Active | TableStatus::Updating))
        {
            return Ok(description);
        }
        if deadline.is_none_or(|deadline| tokio::time::Instant::now() >= deadline) {
            return Err(DynamoDbError::NotReady { table: table.name.clone() });
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2).min(Duration::from_secs(1));
    }
}

/// Whether the table's keys are ours.
fn check(table: &Table, description: &TableDescription) -> Result<()> {
    let names = &table.attributes;
    let foreign = |why| Err(DynamoDbError::Foreign { table: table.name.clone(), why });
    let is_key = |kind: KeyType, name: &str| {
        let schema = description.key_schema();
        schema.iter().any(|element| element.key_type == kind && element.attribute_name == name)
    };
    let is_text = |name: &str| {
        let definitions = description.attribute_definitions();
        definitions.iter().any(|it| it.attribute_name == name && it.attribute_type == ScalarAttributeType::S)
    };
    if !is_key(KeyType::Hash, &names.key) || !is_text(&names.key) {
        return foreign("its partition key is another");
    }
    if !is_key(KeyType::Range, &names.kind) || !is_text(&names.kind) {
        return foreign("its sort key is another");
    }
    if let Some(index) = &table.index {
        let found = description.global_secondary_indexes().iter().find(|it| it.index_name.as_ref() == Some(index));
        let ours = found.is_some_and(|found| {
            let is = |kind: KeyType, name: &str| {
                found.key_schema().iter().any(|element| element.key_type == kind && element.attribute_name == name)
            };
            is(KeyType::Hash, &names.shard) && is(KeyType::Range, &names.retain_until)
        });
        if !ours {
            table.index_is_missing();
        }
    }
    Ok(())
}

/// Switches the table's TTL on where that is wanted. Nothing here is an error: a cache works without.
async fn look_at_ttl(table: &Table, switch_on: bool) {
    let name = &table.attributes.ttl;
    let described = match table.client.describe_time_to_live().table_name(&table.name).send().await {
        Ok(output) => output.time_to_live_description,
        Err(error) => {
            let error = DynamoDbError::of("DescribeTimeToLive", &table.name, error);
            tracing::debug!(table = %table.name, "whether the table has a TTL is not known: {error}");
            None
        }
    };
    let status = described.as_ref().and_then(|it| it.time_to_live_status.clone());
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        if described.and_then(|it| it.attribute_name).as_ref() != Some(name) {
            tracing::warn!(table = %table.name, attribute = %name, "the table's TTL looks at another attribute");
        }
        return;
    }
    if !switch_on {
        tracing::info!(table = %table.name, "the table's TTL is off: only `delete_expired` removes what has expired");
        return;
    }
    let Ok(ttl) = TimeToLiveSpecification::builder().enabled(true).attribute_name(name).build() else { return };
    let switched =
        table.client.update_time_to_live().table_name(&table.name).time_to_live_specification(ttl).send().await;
    if let Err(error) = switched {
        // Another process may have been there first, which is an error of this call.
        let error = DynamoDbError::of("UpdateTimeToLive", &table.name, error);
        tracing::info!(table = %table.name, "the table's TTL was not switched on: {error}");
    }
}
