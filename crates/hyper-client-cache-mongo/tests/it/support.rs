//! Databases of a test's own, and what the driver says about commands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper_client_cache_core::storage::CacheKey;
use hyper_client_cache_mongo::mongodb::bson::Document;
use hyper_client_cache_mongo::mongodb::event::EventHandler;
use hyper_client_cache_mongo::mongodb::event::command::CommandEvent;
use hyper_client_cache_mongo::mongodb::options::ClientOptions;
use hyper_client_cache_mongo::mongodb::{Client, bson};

/// The server that tests run against, which a busy machine may keep from answering for a while.
pub(crate) fn url() -> String {
    let url = std::env::var("HCC_MONGO_URL").unwrap_or_else(|_| {
        panic!("HCC_MONGO_URL is not set: run `cargo xtask test`, or export what `cargo xtask services up` prints")
    });
    format!("{url}{}serverSelectionTimeoutMS=30000", if url.contains('?') { "&" } else { "/?" })
}

/// The server's address without what stands around it.
pub(crate) fn address() -> SocketAddr {
    let url = url();
    let host = url.trim_start_matches("mongodb://").split(['/', '?']).next().unwrap().to_owned();
    host.parse().expect("the tests' server is named by address and port")
}

pub(crate) fn key(number: u32) -> CacheKey {
    CacheKey::new(&format!("key-{number}")).unwrap()
}

/// Names of databases that no other test has; those databases go with the value.
pub(crate) struct Databases {
    prefix: String,
}

impl Databases {
    pub(crate) fn new() -> Self {
        Self { prefix: format!("t{:016x}-", bson::oid::ObjectId::new().bytes().iter().fold(0_u64, mix)) }
    }

    pub(crate) fn name(&self, namespace: &str) -> String {
        format!("{}{namespace}", self.prefix)
    }
}

fn mix(sum: u64, byte: &u8) -> u64 {
    sum.wrapping_mul(1_099_511_628_211).wrapping_add(u64::from(*byte))
}

impl Drop for Databases {
    fn drop(&mut self) {
        let prefix = self.prefix.clone();
        // A runtime of its own: this may be dropped inside one, which must not block.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::with_uri_str(url()).await?;
                for name in client.list_database_names().await? {
                    if name.starts_with(&prefix) {
                        client.database(&name).drop().await?;
                    }
                }
                Ok::<_, hyper_client_cache_mongo::mongodb::error::Error>(())
            })
        });
        if !std::thread::panicking() {
            removed.join().unwrap().unwrap();
        }
    }
}

/// What went over the wire: how many commands of each name, and how many documents `find` answered with.
#[derive(Clone, Default)]
pub(crate) struct Commands(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    commands: BTreeMap<String, u64>,
    documents: u64,
}

impl Commands {
    /// Driver options that tell this value about each command.
    pub(crate) async fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::parse(url()).await.unwrap();
        let seen = self.0.clone();
        options.command_event_handler = Some(EventHandler::callback(move |event| {
            let mut seen = seen.lock().unwrap();
            match event {
                CommandEvent::Started(event) => *seen.commands.entry(event.command_name).or_default() += 1,
                CommandEvent::Succeeded(event) => seen.documents += documents(&event.reply),
                _ => {}
            }
        }));
        options
    }

    /// The commands since the last call, by name.
    pub(crate) fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.0.lock().unwrap().commands)
    }

    /// How many commands of this name there were since the last [`take`](Self::take).
    pub(crate) fn seen(&self, name: &str) -> u64 {
        self.0.lock().unwrap().commands.get(name).copied().unwrap_or_default()
    }

    /// How many documents were found so far.
    pub(crate) fn documents(&self) -> u64 {
        self.0.lock().unwrap().documents
    }
}

fn documents(reply: &Document) -> u64 {
    let Ok(cursor) = reply.get_document("cursor") else { return 0 };
    let batch = cursor.get_array("firstBatch").or_else(|_| cursor.get_array("nextBatch"));
    batch.map_or(0, |batch| batch.len() as u64)
}
