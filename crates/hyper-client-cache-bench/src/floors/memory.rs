//! The floors of a hit in memory: build the request, look it up in a map, build a response around shared bytes.
//!
//! [`Memory`] does what a cache cannot leave out: it parses and normalises the URL and keys by a digest of the request.
//! [`Lookup`] leaves out even that and keys by the text of the URL as it was given.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use url::Url;

use crate::Result;
use crate::client::{Client, HttpBody};
use crate::origin;

/// A map from the digest of method and normalised URL.
pub(crate) struct Memory {
    responses: Cache<[u8; 32], Arc<Kept>>,
}

impl Memory {
    /// A map that holds what the origin would answer for `urls`: `size` bytes each.
    pub(crate) fn filled(urls: &[String], size: usize) -> Result<Self> {
        let responses = Cache::new(urls.len().saturating_mul(2));
        for url in urls {
            responses.insert(digest(&request(url)?), Arc::new(Kept::new(size)));
        }
        Ok(Self { responses })
    }
}

impl Client for Memory {
    type Body = HttpBody<Full<Bytes>>;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        let kept = self.responses.get(&digest(&request(url)?)).ok_or("not in the map")?;
        Ok(HttpBody(kept.response().into_body()))
    }
}

/// A map from the text of the URL.
pub(crate) struct Lookup {
    responses: Cache<String, Arc<Kept>>,
}

impl Lookup {
    /// A map that holds what the origin would answer for `urls`: `size` bytes each.
    pub(crate) fn filled(urls: &[String], size: usize) -> Self {
        let responses = Cache::new(urls.len().saturating_mul(2));
        for url in urls {
            responses.insert(url.clone(), Arc::new(Kept::new(size)));
        }
        Self { responses }
    }
}

impl Client for Lookup {
    type Body = HttpBody<Full<Bytes>>;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let kept = self.responses.get(&request.uri().to_string()).ok_or("not in the map")?;
        Ok(HttpBody(kept.response().into_body()))
    }
}

struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    fn new(size: usize) -> Self {
        Self { status: StatusCode::OK, headers: origin::whole_headers(size), body: origin::json(size) }
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

fn request(url: &str) -> Result<Request<Empty<Bytes>>> {
    let url = Url::parse(url)?;
    Ok(Request::builder().method(Method::GET).uri(url.as_str()).body(Empty::new())?)
}

fn digest<B>(request: &Request<B>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(request.method().as_str());
    hash.update([0]);
    hash.update(request.uri().to_string());
    hash.finalize().into()
}
