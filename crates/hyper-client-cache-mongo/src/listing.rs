//! Listing what a collection holds, a page a command.

use std::collections::VecDeque;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_client_cache_core::Result;
use hyper_client_cache_core::storage::CacheKey;
use mongodb::bson::{Document, RawDocumentBuf, doc};

use crate::commands::to_the_end;
use crate::document::{self, KEY, alive};
use crate::storage::MongoStorage;

impl MongoStorage {
    /// What is alive in the order of keys, page by page: constant memory, and no cursor is kept on the server while
    /// the caller does something else.
    pub(crate) fn pages(
        &self,
        projection: Option<Document>,
        page: i64,
    ) -> BoxStream<'_, Result<(CacheKey, RawDocumentBuf)>> {
        struct Place {
            after: Option<String>,
            page: VecDeque<RawDocumentBuf>,
        }
        let start = Place { after: Some(String::new()), page: VecDeque::new() };
        stream::try_unfold(start, move |mut place| {
            let projection = projection.clone();
            async move {
                loop {
                    if let Some(document) = place.page.pop_front() {
                        match document::key(&document) {
                            Some(key) => return Ok(Some(((key, document), place))),
                            // The keys of another program's documents are none.
                            None => continue,
                        }
                    }
                    let Some(after) = place.after.take() else { return Ok(None) };
                    self.check_open()?;
                    let filter = alive(doc! { KEY: { "$gt": after } }, self.now());
                    let (collection, projection) = (self.collection.clone(), projection.clone());
                    let read = async move {
                        let mut find = collection.find(filter).sort(doc! { KEY: 1 }).limit(page);
                        if let Some(projection) = projection {
                            find = find.projection(projection);
                        }
                        find.await?.try_collect::<VecDeque<_>>().await
                    };
                    place.page = to_the_end(read).await?;
                    if i64::try_from(place.page.len()).is_ok_and(|len| len >= page) {
                        let last = place.page.back().and_then(|document| document.get_str(KEY).ok());
                        place.after = last.map(str::to_owned);
                    }
                }
            }
        })
        .boxed()
    }
}
