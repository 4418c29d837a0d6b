//! Tables of a test's own, and what the driver says about its calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{HeaderValue, Method, StatusCode, header};
use hyper_client_cache_core::cache::{BodyPlace, Freshness, LifetimeSource, Record, ResponseRecord, Stored};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::CacheKey;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::Client;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef,
    BeforeSerializationInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::error::BoxError;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::operation::get_item::{GetItemInput, GetItemOutput};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::operation::put_item::{PutItemInput, PutItemOutput};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::operation::query::{QueryInput, QueryOutput};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::operation::scan::ScanOutput;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
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

/// A response that is found under `name`, with a short body.
pub fn response(clock: &ManualClock, name: CacheKey) -> Stored {
    stored(clock, name, StatusCode::OK)
}

/// A redirect that is found under `name`.
pub fn redirect(clock: &ManualClock, name: CacheKey) -> Stored {
    stored(clock, name, StatusCode::FOUND)
}

fn stored(clock: &ManualClock, name: CacheKey, status: StatusCode) -> Stored {
    let body = bytes::Bytes::from(format!("body of {name}"));
    let freshness = Freshness::new(clock.now(), Some(std::time::Duration::from_secs(60)), LifetimeSource::Session);
    let mut record = ResponseRecord::new(name, Method::GET, "http://host/path", status, freshness);
    if status == StatusCode::FOUND {
        record.headers.push((header::LOCATION, HeaderValue::from_static("/elsewhere")));
    }
    record.body = BodyPlace::Inline { len: body.len() as u64 };
    Stored::new(Record::Response(record), body, None)
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
pub async fn item(table: &str, kind: &str, key: &CacheKey) -> Option<(Vec<u8>, Vec<u8>)> {
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
    received: u64,
    scanned: u64,
    units: f64,
}

impl Calls {
    /// What was sent since this was last asked, by the service's names.
    pub fn take(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.0.lock().unwrap().sent).into_iter().collect()
    }

    pub fn scanned(&self) -> u64 {
        self.0.lock().unwrap().scanned
    }

    /// How many bytes came in the bodies of answers.
    pub fn received(&self) -> u64 {
        self.0.lock().unwrap().received
    }

    /// The units charged since this was last asked, of reads and writes that say so.
    pub fn take_units(&self) -> f64 {
        std::mem::take(&mut self.0.lock().unwrap().units)
    }
}

/// Sets what every input has: that the answer shall say what it costs.
macro_rules! ask_for_units {
    ($input:expr, $($kind:ty),*) => {
        $(if let Some(input) = $input.downcast_mut::<$kind>() {
            input.return_consumed_capacity = Some(ReturnConsumedCapacity::Total);
        })*
    };
}

macro_rules! units_of {
    ($output:expr, $($kind:ty),*) => {
        [$($output.downcast_ref::<$kind>().and_then(|output| output.consumed_capacity()?.capacity_units)),*]
    };
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        ask_for_units!(context.input_mut(), GetItemInput, PutItemInput, UpdateItemInput, QueryInput);
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let len = context.response().body().bytes().map_or(0, <[u8]>::len);
        self.0.lock().unwrap().received += len as u64;
        Ok(())
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
        let units = units_of!(output, GetItemOutput, PutItemOutput, UpdateItemOutput, QueryOutput);
        let mut counts = self.0.lock().unwrap();
        counts.scanned += u64::try_from(scanned.unwrap_or_default()).unwrap();
        counts.units += units.into_iter().flatten().sum::<f64>();
        Ok(())
    }
}
