//! A server that says what a test tells it to.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Stands before a real server and, when told to, answers each `GET` itself.
pub struct Liar {
    port: u16,
    lie: Arc<Mutex<Option<Vec<u8>>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Liar {
    pub async fn before(server: u16) -> Self {
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

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Answers so from now on, until told `None`.
    pub fn say(&self, lie: Option<Vec<u8>>) {
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
