//! The task that connects, stays as long as the driver keeps the connection up, and says what became of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, FredResult};
use fred::types::ConnectHandle;
use futures_util::future::{Either, select};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::error::Reply;

/// What is known about the connection.
#[derive(Clone)]
pub(crate) enum State {
    /// Nobody asked for one.
    Idle,
    /// It is being made.
    Pending,
    /// It was made. Should it break, the driver makes it anew.
    Made,
    /// It could not be made, or the driver has given it up.
    Failed { at: Instant, why: Option<Arc<Reply>> },
}

/// Connects `client`, and stays as long as the driver keeps up the connection. Dropped, it takes the connection along.
pub(crate) async fn hold(client: Client, mut ending: Ending) {
    /// The driver says only to those who listen already that it has connected: look again.
    const LOOK_AGAIN: Duration = Duration::from_millis(50);

    let mut connection = Connection(client.connect());
    loop {
        let connected = pin!(timeout(LOOK_AGAIN, client.wait_for_connect()));
        match select(&mut connection.0, connected).await {
            Either::Left((ended, _)) => return ending.because(ended),
            Either::Right(_) if client.is_connected() => break,
            Either::Right(_) => {}
        }
    }
    ending.state.send_replace(State::Made);
    ending.because((&mut connection.0).await);
}

/// The driver's task, which goes with this.
struct Connection(ConnectHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says that the connection has ended, also where its runtime did.
pub(crate) struct Ending {
    state: Arc<watch::Sender<State>>,
    why: Option<Arc<Reply>>,
}

impl Ending {
    pub(crate) fn new(state: &Arc<watch::Sender<State>>) -> Self {
        Self { state: Arc::clone(state), why: None }
    }

    fn because(&mut self, ended: std::result::Result<FredResult<()>, tokio::task::JoinError>) {
        if let Ok(Err(error)) = ended {
            self.why = Some(Arc::new(Reply::from(&error)));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.state.send_replace(State::Failed { at: Instant::now(), why: self.why.take() });
    }
}
