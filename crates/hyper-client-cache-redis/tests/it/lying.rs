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
    storage.write(&key(1), entry.clone()).await.unwrap();
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
