//! The floor of a hit in DynamoDB: a bare `GetItem` of the SDK's, and a response built from the item.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::{Empty, Full};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb as sdk;
use sdk::config::{BehaviorVersion, Credentials, Region};
use sdk::primitives::Blob;
use sdk::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};

use super::lookup::LookUp;
use super::message::{encode, response};
use crate::client::{Client, HttpBody};
use crate::{Result, origin};

/// Region and credentials, which a local server wants to see and takes for the name of a database.
pub(crate) const LOCAL: &str = "local";

/// A table of responses by URL.
pub(crate) struct DynamoDb {
    client: sdk::Client,
    table: String,
}

impl DynamoDb {
    /// Makes the table `name` on the server at `address`.
    pub(crate) async fn create(address: &str, name: &str) -> Result<Self> {
        let client = client(address);
        let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build()?;
        let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build()?;
        let request = client.create_table().table_name(name).attribute_definitions(id).key_schema(key);
        request.billing_mode(BillingMode::PayPerRequest).send().await?;
        loop {
            let described = client.describe_table().table_name(name).send().await?;
            if described.table().and_then(|table| table.table_status()) == Some(&TableStatus::Active) {
                return Ok(Self { client, table: name.to_owned() });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stores what the origin would answer for `urls`: `size` bytes each.
    pub(crate) async fn fill(&self, urls: &[String], size: usize) -> Result<()> {
        let blob = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));
        let (head, body) = (blob(&encode(&origin::whole_headers(size))), blob(&origin::json(size)));
        for url in urls {
            let request = self.client.put_item().table_name(&self.table).item("id", AttributeValue::S(url.clone()));
            request.item("head", head.clone()).item("body", body.clone()).send().await?;
        }
        Ok(())
    }

    async fn get(&self, url: String) -> Result<Option<std::collections::HashMap<String, AttributeValue>>> {
        let request = self.client.get_item().table_name(&self.table).key("id", AttributeValue::S(url));
        Ok(request.send().await?.item)
    }
}

impl Client for DynamoDb {
    type Body = HttpBody<Full<Bytes>>;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let mut item = self.get(request.uri().to_string()).await?.ok_or("no such item")?;
        let mut bytes = |name| match item.remove(name) {
            Some(AttributeValue::B(bytes)) => Ok(bytes.into_inner()),
            _ => Err("an item without its attributes"),
        };
        let (head, body) = (bytes("head")?, bytes("body")?);
        Ok(HttpBody(response(&head, body.into())?.into_body()))
    }
}

impl LookUp for DynamoDb {
    async fn look_up(&self, url: &str) -> Result<bool> {
        Ok(self.get(url.to_owned()).await?.is_some())
    }
}

/// What removes the table `name`.
pub(crate) fn removal(address: &str, name: &str) -> BoxFuture<'static, Result<()>> {
    let (client, name) = (client(address), name.to_owned());
    async move {
        client.delete_table().table_name(name).send().await?;
        Ok(())
    }
    .boxed()
}

fn client(address: &str) -> sdk::Client {
    let config = sdk::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(address)
        .region(Region::new(LOCAL))
        .credentials_provider(Credentials::new(LOCAL, LOCAL, None, None, "bench"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    sdk::Client::from_conf(config.build())
}
