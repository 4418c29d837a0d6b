//! A server that answers what no server should.

use std::time::Duration;

use hyper_client_cache_core::storage::{Entry, Storage};
use hyper_client_cache_redis::RedisCache;

use crate::liar::Liar;
use crate::server::Server;
use crate::support::{key, unique, until};

/// Case 123: absurd lengths and nonsense are bounded, cost a miss and the connection, and never a panic or a wrong entry.
#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_reply_is_an_error_and_costs_the_connection() {
    let server = Server::start(&[]);
    let liar = Liar::before(server.port()).await;
    let config = RedisCache::builder(unique("liar")).url(format!("redis://127.0.0.1:{}", liar.port()));
    let storage = config.command_timeout(Duration::from_millis(200)).open_storage().await.unwrap();
    let entry = Entry::new("head", "body");
    until("it is written", async || storage.write(&key(1), entry.clone()).await.is_ok()).await;
    // Deep, and not so deep that the driver's parser cannot follow: see the crate's documentation.
    let nested = ["*1\r\n".repeat(200), ":1\r\n".into()].concat();
    let lies: &[&[u8]] = &[
        nested.as_bytes(),
        b"$999999999999\r\nxxxxxxxxxx",
        b"$18446744073709551615\r\n",
        b"$-7\r\n",
        b"*2147483647\r\n",
        b"*999999999999\r\n$1\r\nx\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b":not a number\r\n",
        b"\x00\xFF\x00\xFF\r\n",
        b"-ERR nothing to see here\r\n",
        b"+OK\r\n",
    ];
    for lie in lies {
        liar.say(Some(lie.to_vec()));
        // An error, or bytes that are no entry.
        let found = storage.read(&key(1)).await;
        assert!(found.as_ref().map_or(true, Option::is_none), "{} was taken for an entry", lie.escape_ascii());
        liar.say(None);
        // What is no entry was removed.
        until("it is written again", async || storage.write(&key(1), entry.clone()).await.is_ok()).await;
        until("it is read again", async || match storage.read(&key(1)).await {
            Ok(found) => found == Some(entry.clone()) || panic!("{found:?} after {}", lie.escape_ascii()),
            Err(_) => false,
        })
        .await;
    }
    storage.close().await.unwrap();
}

/// Case 208: a reply that is not finished takes the next one for its end, and each that follows would be the answer to the
/// question before; the connection is given up when that is seen, and each question has its own answer again.
#[tokio::test(flavor = "multi_thread")]
async fn replies_that_have_lost_their_order_cost_the_connection() {
    let server = Server::start(&[]);
    let liar = Liar::before(server.port()).await;
    for patience in [50, 500] {
        let config = RedisCache::builder(unique("order")).url(format!("redis://127.0.0.1:{}", liar.port()));
        let storage = config.command_timeout(Duration::from_secs(5)).open_storage().await.unwrap();
        let entry = |number: u64| Entry::new("head", number.to_string());
        for number in 0..2 {
            storage.write(&key(number), entry(number)).await.unwrap();
        }
        liar.say(Some(b"*2\r\n$1\r\nx\r\n".to_vec()));
        let wait = Duration::from_millis(patience);
        assert!(tokio::time::timeout(wait, storage.read(&key(0))).await.is_err(), "it does not end");
        liar.say(None);
        let mut in_order = 0;
        until("each has its own", async || {
            for number in 0..2 {
                // What does not come in time says nothing of the order.
                let Ok(Ok(found)) = tokio::time::timeout(wait, storage.read(&key(number))).await else { continue };
                in_order = if found == Some(entry(number)) { in_order + 1 } else { 0 };
            }
            in_order >= 100
        })
        .await;
        storage.close().await.unwrap();
    }
}
