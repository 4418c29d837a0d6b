//! What all handles on one table share, and the way of every call to the service.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::frame::FrameError;
use hyper_client_cache_core::storage::{CacheKey, Entry, StorageStats};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::DynamoDbConfig;
use crate::error::{DynamoDbError, Result};
use crate::item::{Damaged, DynamoDbAttributes, Expression, Kind, binary};
use crate::{connect, schema};

/// How often at most the log speaks of what somebody must mend.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// How long after it has failed the table is not tried to be made again.
const CREATE_AGAIN: Duration = Duration::from_secs(10);

pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) attributes: DynamoDbAttributes,
    pub(crate) index: Option<String>,
    pub(crate) create: bool,
    pub(crate) consistent_read: bool,
    pub(crate) segments: u16,
    pub(crate) max_entry_len: u64,
    clock: Arc<dyn Clock>,
    closed: AtomicBool,
    index_missing: AtomicBool,
    corrupt: [AtomicU64; 3],
    creation: Mutex<Option<Creation>>,
    complained: Mutex<Option<Instant>>,
}

/// A table being made, by a task that outlives whoever waits for it.
#[derive(Clone)]
struct Creation {
    begun: Instant,
    outcome: watch::Receiver<Option<Result<()>>>,
}

impl Table {
    pub(crate) fn new(config: &DynamoDbConfig) -> Result<Self> {
        config.check()?;
        Ok(Self {
            client: connect::client(config)?,
            name: config.table.clone(),
            attributes: config.attributes.clone(),
            index: config.expiry_index.clone(),
            create: config.create_if_not_exists,
            consistent_read: config.consistent_read,
            segments: config.scan_segments,
            max_entry_len: config.max_entry_len,
            clock: Arc::clone(&config.clock),
            closed: AtomicBool::new(false),
            index_missing: AtomicBool::new(false),
            corrupt: Default::default(),
            creation: Mutex::default(),
            complained: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(DynamoDbError::Closed) } else { Ok(()) }
    }

    pub(crate) fn check_len(&self, entry: &Entry) -> Result<()> {
        let (len, limit) = (entry.len(), self.max_entry_len);
        if len > limit { Err(DynamoDbError::TooLarge { len, limit }) } else { Ok(()) }
    }

    pub(crate) fn stats(&self, kind: Kind) -> StorageStats {
        StorageStats::new(self.corrupt_of(kind).load(Ordering::Relaxed), 0)
    }

    pub(crate) fn count_corrupt(&self, kind: Kind) {
        self.corrupt_of(kind).fetch_add(1, Ordering::Relaxed);
    }

    fn corrupt_of(&self, kind: Kind) -> &AtomicU64 {
        let [responses, redirects, parts] = &self.corrupt;
        match kind {
            Kind::Response => responses,
            Kind::Redirect => redirects,
            Kind::Part => parts,
        }
    }

    /// The index of deadlines, unless the table turned out to have none.
    pub(crate) fn index(&self) -> Option<&str> {
        if self.index_missing.load(Ordering::Relaxed) { None } else { self.index.as_deref() }
    }

    pub(crate) fn index_is_missing(&self) {
        if !self.index_missing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                table = %self.name,
                "the table has no index of deadlines: `delete_expired` reads all of it"
            );
        }
    }

    /// Makes a call; where the table is missing and may be made, makes it and calls again.
    ///
    /// `operation` is the service's name of what is asked.
    pub(crate) async fn call<T, E, F>(
        self: &Arc<Self>,
        operation: &'static str,
        send: impl Fn() -> F + Send,
    ) -> Result<T>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        self.check_open()?;
        // Boxed, because the driver's futures are large.
        let failed = |error| DynamoDbError::of(operation, &self.name, error);
        let outcome = match Box::pin(send()).await.map_err(failed) {
            Err(DynamoDbError::Missing { .. }) if self.create => match self.made().await {
                Ok(()) => Box::pin(send()).await.map_err(failed),
                Err(error) => Err(error),
            },
            outcome => outcome,
        };
        if let Err(error) = &outcome {
            self.complain(error);
        }
        outcome
    }

    /// Waits until the table is made, by whoever began it; begins it where nobody has.
    pub(crate) async fn made(self: &Arc<Self>) -> Result<()> {
        let mut creation = self.creation();
        let outcome = creation.outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        // The task is lost only with its runtime.
        outcome.unwrap_or_else(|| Err(DynamoDbError::NotReady { table: self.name.clone() }))
    }

    fn creation(self: &Arc<Self>) -> Creation {
        let mut slot = self.creation.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(creation) = &*slot {
            let under_way = creation.outcome.has_changed().is_ok() && creation.outcome.borrow().is_none();
            let failed_lately =
                matches!(&*creation.outcome.borrow(), Some(Err(_))) && creation.begun.elapsed() < CREATE_AGAIN;
            if under_way || failed_lately {
                return creation.clone();
            }
        }
        let (sender, outcome) = watch::channel(None);
        let table = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = Box::pin(schema::create(&table)).await;
            // Kept in the channel, whoever listens.
            sender.send_replace(Some(outcome));
        });
        let creation = Creation { begun: Instant::now(), outcome };
        *slot = Some(creation.clone());
        creation
    }

    /// Says once a minute what will be the same until somebody mends it.
    fn complain(&self, error: &DynamoDbError) {
        if !error.needs_attention() {
            return;
        }
        let mut last = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            *last = Some(Instant::now());
            drop(last);
            tracing::warn!("the cache in DynamoDB cannot be used: {error}");
        }
    }

    /// Counts bytes that are no entry, and removes them unless a newer version wrote them or they have changed meanwhile.
    pub(crate) async fn drop_damaged(self: &Arc<Self>, kind: Kind, key: &CacheKey, damaged: Damaged) {
        self.count_corrupt(kind);
        if damaged.why == FrameError::Newer {
            return;
        }
        let expression = match damaged.head {
            Some(head) => Expression::default().text("#head = :head").value(":head", binary(head)),
            None => Expression::default().text("attribute_not_exists(#head)"),
        };
        // What cannot be removed is met again, and missed again.
        let removed = self.delete_if(kind, key, expression.name("#head", &self.attributes.head)).await;
        if let Err(error) = removed {
            tracing::debug!(table = %self.name, "a damaged item stays: {error}");
        }
    }

    /// Removes the item of a key, and says whether it was alive. Nothing of it is sent back, unless it is dead.
    pub(crate) async fn delete(self: &Arc<Self>, kind: Kind, key: &CacheKey) -> Result<bool> {
        let live = Expression::live(&self.attributes, self.now());
        let request = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(self.attributes.primary(kind, key)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .condition_expression(live.text)
            .set_expression_attribute_names(Some(live.names))
            .set_expression_attribute_values(Some(live.values));
        let send = || async {
            match request.clone().send().await {
                Ok(_) => Ok(Some(true)),
                Err(SdkError::ServiceError(error)) => match error.err() {
                    DeleteItemError::ConditionalCheckFailedException(failed) => Ok(failed.item.as_ref().map(|_| false)),
                    _ => Err(SdkError::ServiceError(error)),
                },
                Err(error) => Err(error),
            }
        };
        match self.call("DeleteItem", send).await? {
            Some(true) => Ok(true),
            Some(false) => {
                self.delete_if(kind, key, Expression::dead(&self.attributes, self.now())).await?;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Removes an item if an expression holds; whether it did.
    pub(crate) async fn delete_if(self: &Arc<Self>, kind: Kind, key: &CacheKey, condition: Expression) -> Result<bool> {
        let request = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(self.attributes.primary(kind, key)))
            .condition_expression(condition.text)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(Some(condition.values).filter(|values| !values.is_empty()));
        match self.call("DeleteItem", || request.clone().send()).await {
            Ok(_) => Ok(true),
            Err(DynamoDbError::Condition) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

// Neither the client, which knows credentials, nor anything that is stored.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name)
            .field("index", &self.index)
            .field("create_if_not_exists", &self.create)
            .field("consistent_read", &self.consistent_read)
            .field("max_entry_len", &self.max_entry_len)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
