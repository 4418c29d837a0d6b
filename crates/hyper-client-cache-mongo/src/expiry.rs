//! Removing what is past its deadline: by the index, and a batch at a time.

use std::time::SystemTime;

use futures_util::TryStreamExt;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::options::Hint;

use crate::commands::to_the_end;
use crate::document::{KEY, dead};
use crate::error::MongoError;
use crate::schema::INDEX;
use crate::storage::{KEYS_AT_ONCE, MongoStorage};

impl MongoStorage {
    /// Removes what is dead at `now`, and says how much that was.
    pub(crate) async fn remove_expired(&self, now: SystemTime) -> Result<u64, MongoError> {
        let mut deleted: u64 = 0;
        loop {
            // Each command is short, whatever died at once.
            let collection = self.collection.clone();
            let batch = async move {
                let limit = i64::try_from(KEYS_AT_ONCE).unwrap_or(i64::MAX);
                let find = collection.find(dead(now)).projection(doc! { KEY: 1 }).limit(limit);
                let find = find.hint(Hint::Name(INDEX.to_owned()));
                let found: Vec<RawDocumentBuf> = find.await?.try_collect().await?;
                let names: Vec<_> =
                    found.iter().filter_map(|document| Some(document.get_str(KEY).ok()?.to_owned())).collect();
                if names.is_empty() {
                    return Ok((0, true));
                }
                let is_last = names.len() < KEYS_AT_ONCE;
                // What was written again since is alive, and stays.
                let mut filter = dead(now);
                filter.insert(KEY, doc! { "$in": names });
                Ok((collection.delete_many(filter).await?.deleted_count, is_last))
            };
            let (count, is_last) = to_the_end(batch).await?;
            deleted = deleted.saturating_add(count);
            if is_last {
                return Ok(deleted);
            }
        }
    }
}
