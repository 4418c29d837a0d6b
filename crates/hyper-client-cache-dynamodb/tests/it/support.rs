//! Tables of a test's own, and what the driver says about its calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hyper_client_cache_core::storage::CacheKey;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::Client;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::error::BoxError;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::operation::query::QueryOutput;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::operation::scan::ScanOutput;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::types::AttributeValue;
use hyper_client_cache_dynamodb::{DynamoDbAttributes, DynamoDbCache, DynamoDbConfig};
use hyper_client_cache_testkit::ManualClock;

/// The server takes letters and digits only.
pub const KEY_ID: &str = "canaryc0ffeeid";
pub const SECRET: &str = "canaryc0ffeesecret";

/// The server that tests run against.
pub fn url() -> String {
    std::env::var("HCC_DYNAMODB_URL").unwrap_or_else(|_| {
        panic!("HCC_DYNAMODB_URL is not set: run `cargo xtask test`, or export what `cargo xtask services up` prints")
    })
}

pub fn key(number: u64) -> CacheKey {
    CacheKey::new(&format!("key-{number:08}")).unwrap()
}

/// Tables that no other test has, and that go with the value; the calls made through it are counted.
pub struct Tables {
    prefix: String,
    pub clock: ManualClock,
    pub calls: Calls,
}

impl Tables {
    pub fn new() -> Self {
        Self { prefix: format!("t{:016x}-", fastrand::u64(..)), clock: ManualClock::new(), calls: Calls::default() }
    }

    pub fn name(&self, namespace: &str) -> String {
        format!("{}{namespace}", self.prefix)
    }

    /// Options for a table of this test, which is made when it is first missed.
    pub fn config(&self, namespace: &str) -> DynamoDbConfig {
        DynamoDbCache::builder(self.name(namespace))
            .client_options(Builder::new().interceptor(self.calls.clone()))
            .endpoint_url(url())
            .region("local")
            .credentials(KEY_ID, SECRET)
            .create_if_not_exists(true)
            .clock(Arc::new(self.clock.clone()))
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        let prefix = self.prefix.clone();
        // A runtime of its own: this may be dropped inside one, which must not block.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = bare().await;
                // Names are listed in order.
                let after = prefix.trim_end_matches('-').to_owned();
                let listed = client.list_tables().exclusive_start_table_name(after).send().await.unwrap();
                for name in listed.table_names().iter().filter(|name| name.starts_with(&prefix)) {
                    client.delete_table().table_name(name).send().await.unwrap();
                }
            });
        });
        if !std::thread::panicking() {
            removed.join().unwrap();
        }
    }
}

/// A client of the driver's own, behind the back of every cache.
pub async fn bare() -> Client {
    let credentials = Credentials::new(KEY_ID, SECRET, None, None, "test");
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(url())
        .region(Region::new("local"))
        .credentials_provider(credentials)
        .http_client(http);
    Client::from_conf(config.build())
}

/// Head and body of an item, if it is there.
pub async fn stored(table: &str, kind: &str, key: &CacheKey) -> Option<(Vec<u8>, Vec<u8>)> {
    let names = DynamoDbAttributes::default();
    let request = bare().await.get_item().table_name(table).key(&names.key, AttributeValue::S(key.to_string()));
    let item = request.key(&names.kind, AttributeValue::S(kind.to_owned())).send().await.unwrap().item?;
    let bytes = |name: &String| item[name].as_b().unwrap().clone().into_inner();
    Some((bytes(&names.head), bytes(&names.body)))
}

/// Puts bytes in place of an item's head and body.
pub async fn replace(table: &str, kind: &str, key: &CacheKey, head: Vec<u8>, body: Vec<u8>) {
    let names = DynamoDbAttributes::default();
    let request = bare().await.update_item().table_name(table).key(&names.key, AttributeValue::S(key.to_string()));
    request
        .key(&names.kind, AttributeValue::S(kind.to_owned()))
        .update_expression("SET #head = :head, #body = :body")
        .expression_attribute_names("#head", &names.head)
        .expression_attribute_names("#body", &names.body)
        .expression_attribute_values(":head", AttributeValue::B(head.into()))
        .expression_attribute_values(":body", AttributeValue::B(body.into()))
        .send()
        .await
        .unwrap();
}

/// Counts what is sent, retries included, and how many items listings looked at.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    sent: BTreeMap<String, u64>,
    scanned: u64,
}

impl Calls {
    /// What was sent since this was last asked, by the service's names.
    pub fn take(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.0.lock().unwrap().sent).into_iter().collect()
    }

    pub fn scanned(&self) -> u64 {
        self.0.lock().unwrap().scanned
    }
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        let name = target.rsplit('.').next().unwrap_or_default().to_owned();
        *self.0.lock().unwrap().sent.entry(name).or_default() += 1;
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Ok(output) = context.output_or_error() else { return Ok(()) };
        let query = output.downcast_ref::<QueryOutput>().map(|output| output.scanned_count);
        let scanned = query.or_else(|| output.downcast_ref::<ScanOutput>().map(|output| output.scanned_count));
        self.0.lock().unwrap().scanned += u64::try_from(scanned.unwrap_or_default()).unwrap();
        Ok(())
    }
}
