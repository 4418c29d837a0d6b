//! A server that answers what no server should.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use hyper_client_cache_core::storage::{Entry, Storage};
use hyper_client_cache_redis::RedisCache;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::Server;
use crate::support::{key, unique, until};

/// Stands before a real server and, when told to, answers each `GET` itself.
struct Liar {
    port: u16,
    lie: Arc<Mutex<Option<Vec<u8>>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Liar {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lie = Arc::<Mutex<Option<Vec<u8>>>>::default();
        let lies = Arc::clone(&lie);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                tokio::spawn(forward(client, server, Arc::clone(&lies)));
            }
        });
        Self { port, lie, accepting }
    }

    fn say(&self, lie: Option<Vec<u8>>) {
        *self.lie.lock().unwrap() = lie;
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(client: TcpStream, server: u16, lie: Arc<Mutex<Option<Vec<u8>>>>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let answers = Arc::clone(&to_client);
    let answering = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if answers.lock().await.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        let lie = lie.lock().unwrap().clone().filter(|_| buffer[..read].windows(5).any(|found| found == b"GET\r\n"));
        let sent = match lie {
            Some(lie) => to_client.lock().await.write_all(&lie).await,
            None => to_server.write_all(&buffer[..read]).await,
        };
        if sent.is_err() {
            break;
        }
    }
    answering.abort();
}

/// Case 123: absurd lengths and nonsense are bounded, cost a miss and the connection, and never a panic or a wrong entry.
#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_reply_is_an_error_and_costs_the_connection() {
    let server = Server::start(&[]);
    let liar = Liar::before(server.port()).await;
    let config = RedisCache::builder(unique("liar")).url(format!("redis://127.0.0.1:{}", liar.port));
    let storage = config.command_timeout(Duration::from_millis(200)).open_storage().await.unwrap();
    let entry = Entry::new("head", "body");
    storage.write(&key(1), entry.clone()).await.unwrap();
    let lies: &[&[u8]] = &[
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
