//! The index of deadlines: what makes the server remove the dead by itself, and `delete_expired` cheap.

use std::time::Duration;

use mongodb::IndexModel;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::error::ErrorKind;
use mongodb::options::IndexOptions;
use tokio::sync::OnceCell;

use crate::document::RETAIN_UNTIL;
use crate::error::MongoError;

/// The name of the index. Fixed, so that every version of every program makes the same one.
pub(crate) const INDEX: &str = "retain_until_ttl";

/// The server's codes for an index that is there with other options, or under another name.
const CONFLICTS: [i32; 3] = [85, 86, 68];

/// Whether a collection's index was made by this process.
#[derive(Debug, Default)]
pub(crate) struct Schema(OnceCell<()>);

impl Schema {
    /// Makes the index where that was not done yet; one that is already there with other options is left alone and
    /// logged. Costs nothing once done.
    pub(crate) async fn ensure(&self, collection: &mongodb::Collection<RawDocumentBuf>) -> Result<(), MongoError> {
        self.0.get_or_try_init(|| make(collection.clone())).await.copied()
    }
}

async fn make(collection: mongodb::Collection<RawDocumentBuf>) -> Result<(), MongoError> {
    // The date is the moment itself: nothing is added to it.
    let options = IndexOptions::builder().name(INDEX.to_owned()).expire_after(Duration::ZERO).build();
    let index = IndexModel::builder().keys(doc! { RETAIN_UNTIL: 1 }).options(options).build();
    let name = collection.name().to_owned();
    let made = crate::commands::to_the_end(async move {
        match collection.create_index(index).await {
            Err(error) if is_conflict(&error) => Ok(false),
            other => other.map(|_| true),
        }
    })
    .await?;
    if !made {
        tracing::warn!(
            collection = name,
            index = INDEX,
            "an index on the deadline is there with other options; it is used as it is, and the server may keep the dead"
        );
    }
    Ok(())
}

fn is_conflict(error: &mongodb::error::Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if CONFLICTS.contains(&command.code))
}
