//! What several tests need.

use std::path::Path;

use hyper_client_cache_core::storage::CacheKey;
use hyper_client_cache_sqlite::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use hyper_client_cache_sqlite::sqlx::{ConnectOptions, Row};

pub fn key(number: u64) -> CacheKey {
    CacheKey::new(&format!("key-{number:08}")).unwrap()
}

/// A bare connection, behind the back of every cache.
pub async fn bare(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

/// Executes statements on the file at `path`, behind the back of every cache.
pub async fn execute(path: &Path, statements: &[&'static str]) {
    let mut connection = bare(path).await;
    for statement in statements {
        hyper_client_cache_sqlite::sqlx::query(*statement).execute(&mut connection).await.unwrap();
    }
    close(connection).await;
}

/// The number that a query gives.
pub async fn number(path: &Path, query: &'static str) -> i64 {
    let mut connection = bare(path).await;
    let row = hyper_client_cache_sqlite::sqlx::query(query).fetch_one(&mut connection).await.unwrap();
    close(connection).await;
    row.get(0)
}

/// The text that a query gives.
pub async fn text(path: &Path, query: &'static str) -> String {
    let mut connection = bare(path).await;
    let row = hyper_client_cache_sqlite::sqlx::query(query).fetch_one(&mut connection).await.unwrap();
    close(connection).await;
    row.get(0)
}

pub async fn close(connection: SqliteConnection) {
    hyper_client_cache_sqlite::sqlx::Connection::close(connection).await.unwrap();
}

/// Waits until something that another thread does has happened; panics where it does not within a minute.
pub async fn until(mut happened: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if happened() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}

/// As [`until`], for what has to be asked.
pub async fn until_async(mut happened: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if happened().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}
