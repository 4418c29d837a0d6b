//! Many changes in one transaction.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper_client_cache_core::Result;
use hyper_client_cache_core::cache::{Stored, codec};
use hyper_client_cache_core::storage::{CacheKey, Entry};

use crate::engine::Engine;
use crate::queue::Task;
use crate::sql::Table;

/// The changes of one [`bulk`](crate::SqliteCache::bulk) call, kept until its end and then committed together.
///
/// A change is accepted at once; it can be read after the commit. All of them are kept in memory until then.
#[derive(Debug)]
pub struct SqliteBulk<'a> {
    engine: &'a Engine,
    tasks: Mutex<Vec<Task>>,
}

impl<'a> SqliteBulk<'a> {
    pub(crate) const fn new(engine: &'a Engine) -> Self {
        Self { engine, tasks: Mutex::new(Vec::new()) }
    }

    /// Stores a record under `key`, as [`Cache::put`](hyper_client_cache_core::cache::Cache::put) does.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`](hyper_client_cache_core::ErrorKind::TooLarge) where it is over a limit.
    pub fn put(&self, key: &CacheKey, stored: Stored) -> Result<()> {
        let is_redirect = stored.record.is_redirect();
        let row = self.engine.new_row(codec::encode(stored)?)?;
        // Whatever was there before, in either place, is replaced.
        let (place, other) =
            if is_redirect { (Table::Redirects, Table::Responses) } else { (Table::Responses, Table::Redirects) };
        let mut tasks = self.lock();
        tasks.push(Task::Write(place, *key, row));
        tasks.push(Task::Delete(other, *key));
        Ok(())
    }

    /// Stores an entry among the responses, as it is.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`](hyper_client_cache_core::ErrorKind::TooLarge) where it is over a limit.
    pub fn write(&self, key: &CacheKey, entry: Entry) -> Result<()> {
        let row = self.engine.new_row(entry)?;
        self.lock().push(Task::Write(Table::Responses, *key, row));
        Ok(())
    }

    /// Removes what is stored under `key`. Parts of its body, if it has some, are left to `delete_expired`.
    pub fn delete(&self, key: &CacheKey) {
        let mut tasks = self.lock();
        tasks.push(Task::Delete(Table::Responses, *key));
        tasks.push(Task::Delete(Table::Redirects, *key));
    }

    /// How many changes there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are no changes yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) async fn commit(self) -> Result<()> {
        let tasks = mem::take(&mut *self.lock());
        if tasks.is_empty() {
            return Ok(());
        }
        self.engine.submit(Task::Together(tasks)).await?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
