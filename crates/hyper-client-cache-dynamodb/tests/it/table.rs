//! The table: made once, told from another's, with its TTL and its index; and where clients come from.

use std::time::Duration;

use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::error::ErrorKind;
use hyper_client_cache_core::storage::{Entry, Storage};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::Client;
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider};
use hyper_client_cache_dynamodb::aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveStatus,
};
use hyper_client_cache_dynamodb::{DynamoDbAttributes, DynamoDbCache};

use crate::support::{KEY_ID, SECRET, Tables, bare, item, key, replace, url};

/// The table is billed on demand, has its index, and its TTL is on.
#[tokio::test]
async fn the_table_is_made_on_demand_with_ttl_and_index() {
    let tables = Tables::new();
    tables.config("made").connect().await.unwrap();
    let (client, name) = (bare().await, tables.name("made"));
    let table = client.describe_table().table_name(&name).send().await.unwrap().table.unwrap();
    assert_eq!(table.billing_mode_summary.unwrap().billing_mode, Some(BillingMode::PayPerRequest));
    assert_eq!(table.global_secondary_indexes.unwrap()[0].index_name.as_deref(), Some("expiry"));
    let ttl = client.describe_time_to_live().table_name(&name).send().await.unwrap().time_to_live_description.unwrap();
    assert_eq!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled));
    assert_eq!(ttl.attribute_name.as_deref(), Some("ttl"));
    // Once more is fine, and changes nothing.
    tables.config("made").connect().await.unwrap();
}

/// Several processes may make it at once, each as it is opened or as it is first used.
#[tokio::test(flavor = "multi_thread")]
async fn racing_makers_all_find_the_table() {
    let tables = Tables::new();
    let connecting = (0..4).map(|_| tables.config("race").connect());
    for cache in futures_util::future::join_all(connecting).await {
        cache.unwrap();
    }
    let lazy: Vec<_> = futures_util::future::join_all((0..4).map(|_| tables.config("lazy").unguarded().open())).await;
    let lazy: Vec<_> = lazy.into_iter().map(Result::unwrap).collect();
    let used = lazy.iter().map(async |cache| cache.responses().write(&key(1), Entry::new("head", "body")).await);
    for written in futures_util::future::join_all(used).await {
        written.unwrap();
    }
}

/// One that was removed while it was used is made again.
#[tokio::test]
async fn a_table_that_was_removed_is_made_again() {
    let tables = Tables::new();
    let cache = tables.config("again").unguarded().connect().await.unwrap();
    cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    bare().await.delete_table().table_name(tables.name("again")).send().await.unwrap();
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), None);
    cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    assert!(cache.responses().contains(&key(1)).await.unwrap());
}

/// Bad input: a table that is not there and may not be made is an error of `connect`, and of the first use.
#[tokio::test]
async fn a_missing_table_is_an_error_that_says_what_to_do() {
    let tables = Tables::new();
    let config = tables.config("missing").create_if_not_exists(false).unguarded();
    let cache = config.clone().open().await.unwrap();
    for error in [config.connect().await.unwrap_err(), cache.responses().read(&key(1)).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("create_if_not_exists"), "{error}");
        assert!(error.to_string().contains(&tables.name("missing")), "{error}");
    }
}

/// Bad input: a table with other keys is refused, and nothing is put into it.
#[tokio::test]
async fn a_table_of_somebody_else_is_refused() {
    let tables = Tables::new();
    let (client, name) = (bare().await, tables.name("theirs"));
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build();
    let hash = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build();
    let request = client.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    request.attribute_definitions(id.unwrap()).key_schema(hash.unwrap()).send().await.unwrap();
    let error = tables.config("theirs").connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("is not one of this cache"), "{error}");
    let cache = tables.config("theirs").unguarded().open().await.unwrap();
    let error = cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    assert_eq!(client.scan().table_name(&name).send().await.unwrap().count, 0);
}

/// Attributes may have any names, and the same data is not found under others.
#[tokio::test]
async fn attributes_may_have_other_names() {
    let tables = Tables::new();
    let names = DynamoDbAttributes::default().key("PK").kind("SK").head("Meta").body("Data").retain_until("size");
    let names = names.ttl("expires at").shard("bucket").len("count").mark("hash");
    let config = tables.config("names").attributes(names).unguarded();
    let cache = config.connect().await.unwrap();
    let entry = Entry::new("head", "body").retain_until(tables.clock.after(Duration::from_secs(10)));
    cache.responses().write(&key(1), entry.clone()).await.unwrap();
    assert!(cache.responses().refresh(&key(1), entry.clone()).await.unwrap());
    assert_eq!(cache.responses().read(&key(1)).await.unwrap(), Some(entry));
    assert_eq!(cache.responses().size().await.unwrap(), 1);
    tables.clock.advance(Duration::from_secs(10));
    assert_eq!(cache.responses().delete_expired(tables.clock.now()).await.unwrap(), 1);
    let error = tables.config("names").connect().await.unwrap_err();
    assert!(error.to_string().contains("`attributes`"), "{error}");
}

/// Without the index the dead are found by reading the table: slower, and just as exact.
#[tokio::test]
async fn a_table_without_the_index_is_read_for_the_dead() {
    let tables = Tables::new();
    tables.config("plain").expiry_index(None).connect().await.unwrap();
    // One that knows there is none, and one that finds out.
    for config in [tables.config("plain").expiry_index(None), tables.config("plain")] {
        let storage = config.open_storage().await.unwrap();
        let deadline = tables.clock.after(Duration::from_secs(10));
        storage.write(&key(1), Entry::new("head", "dead").retain_until(deadline)).await.unwrap();
        storage.write(&key(2), Entry::new("head", "alive")).await.unwrap();
        tables.clock.advance(Duration::from_secs(10));
        assert_eq!(storage.delete_expired(tables.clock.now()).await.unwrap(), 1);
        assert_eq!(storage.size().await.unwrap(), 1);
    }
}

/// Case 222: the table removes what has expired some day; until then it lies there, and nobody sees it.
#[tokio::test]
async fn what_has_expired_is_invisible_while_it_lies_in_the_table() {
    let tables = Tables::new();
    let storage = tables.config("expired").open_storage().await.unwrap();
    let deadline = tables.clock.after(Duration::from_millis(1_500));
    storage.write(&key(1), Entry::new("head", "body").retain_until(deadline)).await.unwrap();
    tables.clock.advance(Duration::from_millis(1_499));
    assert!(storage.contains(&key(1)).await.unwrap(), "the TTL in whole seconds is not the deadline");
    tables.clock.advance(Duration::from_millis(1));
    assert_eq!(storage.read(&key(1)).await.unwrap(), None);
    assert_eq!(storage.size().await.unwrap(), 0);
    assert!(item(&tables.name("expired"), "response", &key(1)).await.is_some(), "it still lies there");
}

/// Case 145: a walk through all entries finds what has rotted and removes it, while everything else is read.
#[tokio::test]
async fn a_walk_through_all_entries_removes_what_is_damaged() {
    use futures_util::TryStreamExt;

    let tables = Tables::new();
    let storage = tables.config("rotten").open_storage().await.unwrap();
    for number in 0..5 {
        storage.write(&key(number), Entry::new("head", "body")).await.unwrap();
    }
    for number in [1, 3] {
        let (head, _) = item(&tables.name("rotten"), "response", &key(number)).await.unwrap();
        replace(&tables.name("rotten"), "response", &key(number), head, b"bodx".to_vec()).await;
    }
    let walk = async { storage.entries().try_collect::<Vec<_>>().await.unwrap().len() };
    let (walked, read) = futures_util::future::join(walk, storage.read(&key(0))).await;
    assert_eq!((walked, read.unwrap()), (3, Some(Entry::new("head", "body"))));
    assert_eq!(storage.stats().corrupt, 2);
    for number in 0..5 {
        let there = item(&tables.name("rotten"), "response", &key(number)).await.is_some();
        assert_eq!(there, ![1, 3].contains(&number), "what was damaged is gone: {number}");
    }
}

/// A client, or the configuration that all SDKs share, is used as it is.
#[tokio::test]
async fn an_existing_client_and_sdk_config_are_used() {
    let tables = Tables::new();
    let client: Client = bare().await;
    let with_client = DynamoDbCache::builder(tables.name("given")).client(client).create_if_not_exists(true);
    let sdk = aws_types::SdkConfig::builder()
        .region(Region::new("local"))
        .endpoint_url(url())
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(KEY_ID, SECRET, None, None, "test")))
        .build();
    let with_sdk = DynamoDbCache::builder(tables.name("given")).sdk_config(&sdk);
    let writer = with_client.unguarded().connect().await.unwrap();
    writer.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    let reader = with_sdk.unguarded().consistent_read(true).connect().await.unwrap();
    assert_eq!(reader.responses().read(&key(1)).await.unwrap(), Some(Entry::new("head", "body")));
    assert!(!format!("{reader:?} {writer:?}").contains(SECRET));
    // Closing one cache leaves the other, and the client, open.
    writer.close().await.unwrap();
    assert!(reader.responses().contains(&key(1)).await.unwrap());
}
