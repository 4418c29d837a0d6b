//! The floor of a hit in Redis: a bare GET of fred's, and a response built from its value.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::{Empty, Full};
use hyper_client_cache_redis::fred::clients::Client as Fred;
use hyper_client_cache_redis::fred::interfaces::{ClientLike, KeysInterface};
use hyper_client_cache_redis::fred::types::Builder;
use hyper_client_cache_redis::fred::types::config::Config;

use super::lookup::LookUp;
use super::message::{pack, unpack};
use crate::client::{Client, HttpBody};
use crate::{Result, origin};

/// One connection to a server; keys begin with a prefix that nobody else has.
pub(crate) struct Redis {
    client: Fred,
    prefix: String,
}

impl Redis {
    /// Connects to the server at `address`.
    pub(crate) async fn connect(address: &str, prefix: String) -> Result<Self> {
        let client = Builder::from_config(Config::from_url(address)?).build()?;
        client.init().await?;
        Ok(Self { client, prefix })
    }

    /// Stores what the origin would answer for `urls`: `size` bytes each. What removes it again comes back.
    pub(crate) async fn fill(&self, urls: &[String], size: usize) -> Result<BoxFuture<'static, Result<()>>> {
        let message = Bytes::from(pack(&origin::whole_headers(size), &origin::json(size)));
        for url in urls {
            self.client.set::<(), _, _>(self.key(url), message.clone(), None, None, false).await?;
        }
        let keys: Vec<String> = urls.iter().map(|url| self.key(url)).collect();
        let client = self.client.clone();
        Ok(async move {
            client.del::<(), _>(keys).await?;
            client.quit().await?;
            Ok(())
        }
        .boxed())
    }

    fn key(&self, url: &str) -> String {
        format!("{}:{url}", self.prefix)
    }
}

impl Client for Redis {
    type Body = HttpBody<Full<Bytes>>;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let message: Option<Bytes> = self.client.get(self.key(&request.uri().to_string())).await?;
        Ok(HttpBody(unpack(&message.ok_or("no such key")?)?.into_body()))
    }
}

impl LookUp for Redis {
    async fn look_up(&self, url: &str) -> Result<bool> {
        Ok(self.client.get::<Option<Bytes>, _>(self.key(url)).await?.is_some())
    }
}
