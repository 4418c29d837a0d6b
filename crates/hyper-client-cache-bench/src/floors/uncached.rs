//! A request without a cache: hyper-util's client as it is.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::Result;
use crate::client::{Client, HttpBody};

/// The bare client.
pub(crate) struct Uncached {
    client: HyperClient<HttpConnector, Empty<Bytes>>,
}

impl Uncached {
    /// A client with no connection yet.
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: HyperClient::builder(TokioExecutor::new()).build(connector) }
    }
}

impl Client for Uncached {
    type Body = HttpBody<Incoming>;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        let request = Request::get(url).body(Empty::new())?;
        Ok(HttpBody(self.client.request(request).await?.into_body()))
    }
}
