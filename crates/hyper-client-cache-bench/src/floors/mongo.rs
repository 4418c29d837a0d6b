//! The floor of a hit in MongoDB: a bare `find_one` of the driver's, and a response built from the document.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::{Empty, Full};
use hyper_client_cache_mongo::mongodb::bson::spec::BinarySubtype;
use hyper_client_cache_mongo::mongodb::bson::{RawBinaryRef, RawDocument, RawDocumentBuf, cstr, doc};
use hyper_client_cache_mongo::mongodb::{self, Collection, Database};

use super::lookup::LookUp;
use super::message::{encode, response};
use crate::client::{Client, HttpBody};
use crate::{Result, origin};

/// A collection of responses by URL.
pub(crate) struct Mongo {
    entries: Collection<RawDocumentBuf>,
}

impl Mongo {
    /// Connects to the server at `address`, for the database `name`.
    pub(crate) async fn connect(address: &str, name: &str) -> Result<Self> {
        Ok(Self { entries: database(address, name).await?.collection("entries") })
    }

    /// Stores what the origin would answer for `urls`: `size` bytes each.
    pub(crate) async fn fill(&self, urls: &[String], size: usize) -> Result<()> {
        let (head, body) = (encode(&origin::whole_headers(size)), origin::json(size));
        let documents = urls.iter().map(|url| {
            let mut document = RawDocumentBuf::new();
            document.append(cstr!("_id"), url.as_str());
            document.append(cstr!("head"), binary(&head));
            document.append(cstr!("body"), binary(&body));
            document
        });
        self.entries.insert_many(documents).await?;
        Ok(())
    }
}

impl Client for Mongo {
    type Body = HttpBody<Full<Bytes>>;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let found = self.entries.find_one(doc! { "_id": request.uri().to_string() }).await?;
        let whole = Bytes::from(found.ok_or("no such document")?.into_bytes());
        let document = RawDocument::from_bytes(&whole)?;
        let head = document.get_binary("head")?.bytes;
        let body = whole.slice_ref(document.get_binary("body")?.bytes);
        Ok(HttpBody(response(head, body)?.into_body()))
    }
}

impl LookUp for Mongo {
    async fn look_up(&self, url: &str) -> Result<bool> {
        Ok(self.entries.find_one(doc! { "_id": url }).await?.is_some())
    }
}

/// What removes the database `name`.
pub(crate) fn removal(address: &str, name: &str) -> BoxFuture<'static, Result<()>> {
    let (address, name) = (address.to_owned(), name.to_owned());
    async move { Ok(database(&address, &name).await?.drop().await?) }.boxed()
}

async fn database(address: &str, name: &str) -> Result<Database> {
    Ok(mongodb::Client::with_uri_str(address).await?.database(name))
}

fn binary(bytes: &[u8]) -> RawBinaryRef<'_> {
    RawBinaryRef { subtype: BinarySubtype::Generic, bytes }
}
