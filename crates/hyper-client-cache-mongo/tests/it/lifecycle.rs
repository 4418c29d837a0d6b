//! Connecting, the index, existing clients, foreign collections, dropped futures.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::cache::parts::PART_LEN;
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::{CacheKey, Entry, Guard, Storage};
use hyper_client_cache_core::{CachedSession, ErrorKind};
use hyper_client_cache_mongo::MongoCache;
use hyper_client_cache_mongo::mongodb::bson::spec::BinarySubtype;
use hyper_client_cache_mongo::mongodb::bson::{Binary, Document, doc};
use hyper_client_cache_mongo::mongodb::options::IndexOptions;
use hyper_client_cache_mongo::mongodb::{Client, IndexModel};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use crate::support::{Databases, key, url};

/// Design 6: `expireAfterSeconds: 0` on a date, under a fixed name.
#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_is_a_date_under_a_ttl_index() {
    let (databases, clock) = (Databases::new(), ManualClock::new());
    let name = databases.name("c");
    let cache =
        MongoCache::builder(&name).url(url()).clock(Arc::new(clock.clone())).unguarded().connect().await.unwrap();
    let deadline = clock.now() + Duration::from_secs(60);
    cache.responses().write(&key(1), Entry::new("head", "body").retain_until(deadline)).await.unwrap();
    let client = Client::with_uri_str(url()).await.unwrap();
    for collection in ["responses", "redirects", "bodies"] {
        let collection = client.database(&name).collection::<Document>(collection);
        let indexes: Vec<IndexModel> = collection.list_indexes().await.unwrap().try_collect().await.unwrap();
        let ours = indexes.iter().find(|index| index.keys == doc! { "retain_until": 1 }).expect("the index");
        let options = ours.options.as_ref().unwrap();
        assert_eq!(options.name.as_deref(), Some("retain_until_ttl"));
        assert_eq!(options.expire_after, Some(Duration::ZERO));
    }
    let responses = client.database(&name).collection::<Document>("responses");
    let row = responses.find_one(doc! { "_id": "key-1" }).await.unwrap().unwrap();
    assert_eq!(row.get_datetime("retain_until").unwrap().to_system_time(), deadline);
}

/// Case 222, and the server's own part of it: what is past its deadline by the server's clock goes by itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_removes_the_dead_by_itself() {
    let (databases, clock) =
        (Databases::new(), ManualClock::at(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000)));
    let name = databases.name("c");
    let cache =
        MongoCache::builder(&name).url(url()).clock(Arc::new(clock.clone())).unguarded().connect().await.unwrap();
    let soon = clock.now() + Duration::from_secs(1);
    cache.responses().write(&key(1), Entry::new("head", "body").retain_until(soon)).await.unwrap();
    cache.responses().write(&key(2), Entry::new("head", "body")).await.unwrap();
    assert!(cache.responses().contains(&key(1)).await.unwrap(), "alive by the cache's clock");
    clock.advance(Duration::from_secs(1));
    assert!(!cache.responses().contains(&key(1)).await.unwrap(), "dead by the cache's clock, whether there or not");

    // The sweep comes once a minute; SecantusDB does it when told, a real server knows no such command.
    let client = Client::with_uri_str(url()).await.unwrap();
    if client.database("admin").run_command(doc! { "secantusAdmin.pruneTtl": 1 }).await.is_ok() {
        let left = client.database(&name).collection::<Document>("responses").count_documents(doc! {}).await.unwrap();
        assert_eq!(left, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_with_other_options_is_left_as_it_is() {
    let databases = Databases::new();
    let name = databases.name("c");
    let client = Client::with_uri_str(url()).await.unwrap();
    let options =
        IndexOptions::builder().name("retain_until_ttl".to_owned()).expire_after(Duration::from_secs(5)).build();
    let index = IndexModel::builder().keys(doc! { "retain_until": 1 }).options(options).build();
    client.database(&name).collection::<Document>("responses").create_index(index).await.unwrap();
    let cache = MongoCache::builder(&name).url(url()).unguarded().connect().await.unwrap();
    cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    assert!(cache.responses().contains(&key(1)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_of_another_program_is_an_error_that_names_it() {
    let databases = Databases::new();
    let name = databases.name("c");
    let client = Client::with_uri_str(url()).await.unwrap();
    client.database(&name).collection("responses").insert_one(doc! { "price": 5 }).await.unwrap();
    let error = MongoCache::builder(&name).url(url()).unguarded().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("responses"), "{error}");
    let left = client.database(&name).collection::<Document>("responses").count_documents(doc! {}).await.unwrap();
    assert_eq!(left, 1, "nothing of it was touched");
}

/// Case 120: what reads like an operator, or like a path into a document, is a string on its way in and out, and finds
/// nothing but itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_an_operator_is_a_string() {
    const TEXTS: [&str; 5] = [r#"{"$ne":1}"#, "$where", "a.b", "$x", "1; db.dropDatabase()"];

    let databases = Databases::new();
    let cache = patient(&databases).await;
    let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok(TEXTS[0]).header("cache-control", "max-age=600").header("vary", "x-text"));
    let ask = async |text: &str| {
        let request = session.get(origin.url("/")).query(&[(text, text)]).header("x-text", text);
        let response = request.send().await.unwrap();
        let from_cache = response.from_cache();
        assert_eq!(response.text().await.unwrap(), TEXTS[0]);
        session.layer().flush().await;
        from_cache
    };
    for from_cache in [false, true] {
        for text in TEXTS {
            assert_eq!(ask(text).await, from_cache, "{text}");
        }
    }
    assert!(!ask("another").await);
    // As whole entries too, whose bytes are the caller's.
    for (number, text) in (0..).zip(TEXTS) {
        let entry = Entry::new(text, text);
        cache.responses().write(&key(number), entry.clone()).await.unwrap();
        assert_eq!(cache.responses().read(&key(number)).await.unwrap(), Some(entry));
    }
}

/// Case 145: a walk through all entries finds what has rotted and removes it, while everything else is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_through_all_entries_removes_what_is_damaged() {
    let databases = Databases::new();
    let storage = MongoCache::builder(databases.name("c")).url(url()).open_storage().await.unwrap();
    for number in 0..5 {
        storage.write(&key(number), Entry::new("head", "body")).await.unwrap();
    }
    let client = Client::with_uri_str(url()).await.unwrap();
    let documents = client.database(&databases.name("c")).collection::<Document>("responses");
    let rotten = doc! { "$set": { "body": Binary { subtype: BinarySubtype::Generic, bytes: b"bodx".to_vec() } } };
    documents.update_many(doc! { "_id": { "$in": ["key-1", "key-3"] } }, rotten).await.unwrap();
    let walk = async { storage.entries().try_collect::<Vec<_>>().await.unwrap().len() };
    let (walked, read) = futures_util::future::join(walk, storage.read(&key(0))).await;
    assert_eq!((walked, read.unwrap()), (3, Some(Entry::new("head", "body"))));
    assert_eq!(storage.stats().corrupt, 2);
    assert_eq!(documents.count_documents(doc! {}).await.unwrap(), 3, "what was damaged is gone");
}

/// A client that was given stays open when the cache is closed.
#[tokio::test(flavor = "multi_thread")]
async fn an_existing_client_or_database_is_used_and_left_open() {
    let databases = Databases::new();
    let name = databases.name("c");
    let client = Client::with_uri_str(url()).await.unwrap();
    let first = MongoCache::builder(&name).client(client.clone()).unguarded().connect().await.unwrap();
    first.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    first.close().await.unwrap();
    let second = MongoCache::builder("not used").database(client.database(&name)).unguarded().connect().await.unwrap();
    assert!(second.responses().contains(&key(1)).await.unwrap());
    second.close().await.unwrap();
    client.database(&name).run_command(doc! { "ping": 1 }).await.unwrap();
}

/// Bad input: a wrong address is an error of `connect`, soon and without the password; of `open` it is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_is_an_error_of_connect_and_later_of_each_call() {
    let builder = || {
        let url = "mongodb://127.0.0.1:1/?directConnection=true";
        MongoCache::builder("c").url(url).server_selection_timeout(Duration::from_millis(50))
    };
    let error = builder().unguarded().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.is_transient(), "{error:?}");
    let cache = builder().open_storage().await.unwrap();
    assert_eq!(cache.read(&key(1)).await.unwrap_err().kind(), ErrorKind::Storage);
}

/// Racing upserts of one new key end well (S12), many more than the contract has.
#[tokio::test(flavor = "multi_thread")]
async fn racing_upserts_of_a_new_key_all_succeed() {
    let databases = Databases::new();
    let cache = MongoCache::builder(databases.name("c")).url(url()).unguarded().connect().await.unwrap();
    let storage = cache.responses();
    let one = key(1);
    let writes = (0..64).map(|number| storage.write(&one, entry(number)));
    for written in join_all(writes).await {
        written.unwrap();
    }
    assert_eq!(storage.size().await.unwrap(), 1);
}

/// Case 210: operations that are dropped half-way leave no answer for the next ones to trip over.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_operations_never_mix_up_answers() {
    let databases = Databases::new();
    let cache = MongoCache::builder(databases.name("c")).url(url()).unguarded().connect().await.unwrap();
    let storage = cache.responses();
    storage.write_many((0..50).map(|number| (key(number), entry(number))).collect()).await.unwrap();
    let mut finished = 0;
    for round in 0..2_000_u32 {
        let number = round % 50;
        let patience = Duration::from_micros(u64::from(round % 23) * 60);
        if let Ok(found) = tokio::time::timeout(patience, storage.read(&key(number))).await {
            assert_eq!(found.unwrap(), Some(entry(number)));
            finished += 1;
        }
    }
    assert!(finished < 2_000, "some were dropped");
    assert_eq!(storage.read(&key(7)).await.unwrap(), Some(entry(7)));
}

/// Case 219: a body longer than any document lies in parts; with the last of them gone it is fetched anew, whole, and
/// what its writer left behind is collected.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_longer_than_a_document_is_kept_in_parts() {
    const LEN: usize = (16 << 20) + 7;

    let databases = Databases::new();
    let cache = patient(&databases).await;
    let session = CachedSession::builder().cache(cache.clone()).build().unwrap();
    let origin = Origin::scripted().await;
    let body: Vec<u8> = (0..LEN).map(|at| u8::try_from(at / 1000 % 251).unwrap()).collect();
    // In no hurry, and in less at each try: what comes faster than the store takes it is handed on and not stored.
    for pause in [20, 80, 320, 1280] {
        let answer = Answer::status(200).header("cache-control", "max-age=600");
        let pause = Duration::from_millis(pause);
        origin.on("/", body.chunks(PART_LEN).fold(answer, |answer, part| answer.chunk(part.to_vec()).pause(pause)));
        let fetched = session.get(origin.url("/")).send().await.unwrap().bytes().await.unwrap();
        assert!(fetched == body, "another body");
        session.layer().flush().await;
        if session.cache().has_url(&origin.url("/")).await.unwrap() {
            break;
        }
    }
    let count = origin.count();
    let response = session.get(origin.url("/")).send().await.unwrap();
    assert!(response.from_cache());
    assert!(response.bytes().await.unwrap() == body, "another body");
    assert_eq!(origin.count(), count);

    let bodies = cache.bodies().unwrap();
    let mut parts: Vec<CacheKey> = bodies.keys().try_collect().await.unwrap();
    assert!(parts.len() >= LEN / PART_LEN);
    parts.sort_by_key(|part| u32::from_str_radix(part.as_str().rsplit_once('-').unwrap().1, 16).unwrap());
    assert!(bodies.delete(parts.last().unwrap()).await.unwrap());
    let again = session.get(origin.url("/")).send().await.unwrap().bytes().await.unwrap();
    assert!(again == body, "another body");
    assert!(origin.count() > count, "the missing part came from the origin");
}

/// A cache whose guard waits for a server that is busy.
async fn patient(databases: &Databases) -> MongoCache {
    let patience = Duration::from_secs(20);
    let guard = Guard::builder().deadline(patience).write_deadline(patience).build().unwrap();
    MongoCache::builder(databases.name("c")).url(url()).guard(guard).connect().await.unwrap()
}

fn entry(number: u32) -> Entry {
    Entry::new(format!("head-{number}"), format!("body-{number}"))
}
