//! Reads that were begun and then left alone: they hold connections, and must not hold up others for ever.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_client_cache_core::cache::Cache;
use hyper_client_cache_core::storage::Entry;
use hyper_client_cache_core::{ErrorKind, Result};
use hyper_client_cache_sqlite::SqliteCache;

use crate::support::key;

/// A cache with one connection for reading, and what reads an entry of it.
async fn cache() -> (SqliteCache, impl Fn() -> BoxFuture<'static, Result<bool>>) {
    let cache = SqliteCache::builder("demo").use_temp(true).hot_tier(0).read_connections(1).open().await.unwrap();
    cache.responses().write(&key(1), Entry::new("head", "body")).await.unwrap();
    let reading = cache.clone();
    let read = move || {
        let cache = reading.clone();
        async move { Ok(cache.responses().read(&key(1)).await?.is_some()) }.boxed()
    };
    (cache, read)
}

/// A read that holds a connection and is not gone on with.
fn left_alone(read: impl Fn() -> BoxFuture<'static, Result<bool>>) -> BoxFuture<'static, Result<bool>> {
    // SQLite's thread may be so quick that a read is done when it is looked at first.
    let begun = (0..1000).map(|_| read()).find_map(|mut read| is_under_way(&mut read).then_some(read));
    begun.expect("one of a thousand reads is not done at once")
}

fn is_under_way(read: &mut BoxFuture<'static, Result<bool>>) -> bool {
    matches!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

/// Case 175: whoever begins a read and waits for another before he goes on with the first gets that other one.
#[tokio::test(start_paused = true)]
async fn a_read_that_is_left_alone_does_not_hold_up_the_next() {
    let (cache, read) = cache().await;
    let left = left_alone(&read);
    for _ in 0..3 {
        assert!(read().await.unwrap());
    }
    assert!(left.await.unwrap());
    cache.close().await.unwrap();
}

/// Case 175: where too many reads are left alone the next is an error that passes, which costs a request the cache and no
/// more.
#[tokio::test(start_paused = true)]
async fn no_read_waits_for_ever_for_those_that_are_left_alone() {
    let (cache, read) = cache().await;
    let mut left = vec![left_alone(&read), read(), read()];
    assert!(left.iter_mut().skip(1).all(is_under_way), "they wait for the connection");
    tokio::time::advance(Duration::from_millis(60)).await;
    assert!(left.iter_mut().skip(1).all(is_under_way), "each makes one beyond the usual number");
    let error = read().await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Storage, true), "{error}");
    for read in left {
        assert!(read.await.unwrap());
    }
    assert!(read().await.unwrap());
    cache.close().await.unwrap();
}
