//! The floor of a miss in a store that is asked over the network: one look-up that finds nothing, then the request.

use std::future::Future;

use hyper::body::Incoming;

use super::uncached::Uncached;
use crate::Result;
use crate::client::{Client, HttpBody};

/// A store that can be asked whether it has something.
pub(crate) trait LookUp: Send + Sync + 'static {
    /// Asks for what is stored for `url`; `true` where there is something.
    fn look_up(&self, url: &str) -> impl Future<Output = Result<bool>> + Send;
}

/// A client that looks up, finds nothing, and asks the origin. It stores nothing.
pub(crate) struct LookUpFirst<S> {
    store: S,
    client: Uncached,
}

impl<S: LookUp> LookUpFirst<S> {
    /// Looks up in `store`, which should be empty.
    pub(crate) fn new(store: S) -> Self {
        Self { store, client: Uncached::new() }
    }
}

impl<S: LookUp> Client for LookUpFirst<S> {
    type Body = HttpBody<Incoming>;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        if self.store.look_up(url).await? {
            return Err("something was found where nothing should be".into());
        }
        self.client.send(url).await
    }
}
