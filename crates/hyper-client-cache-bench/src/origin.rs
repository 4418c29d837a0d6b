//! The loopback origin that all contenders ask: it counts, so that the bench can tell a hit from a miss without trusting
//! anyone's word.
//!
//! `GET /<size>/<name>` answers with a JSON body of `size` bytes that may be kept for an hour; with a query it first waits
//! for that many milliseconds, as an origin does that is not on the same machine.
//! It runs on a thread of its own, apart from the contenders' runtime.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::Result;

/// A body is sent in frames of this many bytes, as a server that reads a file would.
const FRAME: usize = 64 * 1024;

/// Bodies over this many bytes repeat a block of this length.
const BLOCK: usize = 16 * 1024 * 1024;

/// A running origin. It stops when dropped.
pub(crate) struct Origin {
    base: String,
    counter: Counter,
    _stop: oneshot::Sender<()>,
}

impl Origin {
    /// Starts an origin on a free port of the loopback interface.
    pub(crate) fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address: SocketAddr = listener.local_addr()?;
        let counter = Counter::default();
        let service = Arc::new(Service { counter: counter.clone(), blocks: Mutex::default() });
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("origin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = serve(listener, service) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { base: format!("http://{address}"), counter, _stop: stop })
    }

    /// The origin's URL without a path.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// What counts the requests.
    pub(crate) fn counter(&self) -> Counter {
        self.counter.clone()
    }
}

/// How many requests an origin has answered.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    /// The requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Fails unless exactly `expected` requests have come in since there were `before`.
    pub(crate) fn expect(&self, before: u64, expected: u64) -> Result<()> {
        let seen = self.requests().saturating_sub(before);
        if seen == expected {
            return Ok(());
        }
        Err(format!("the origin saw {seen} requests where there should have been {expected}").into())
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The URL of a body of `size` bytes at the origin `base`.
pub(crate) fn url(base: &str, size: u64, name: impl std::fmt::Display) -> String {
    format!("{base}/{size}/{name}")
}

/// All headers of an answer with a body of `size` bytes, as they reach a client: floors never ask the origin, but keep
/// the same.
pub(crate) fn whole_headers(size: usize) -> HeaderMap {
    let mut headers = headers();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(DATE, HeaderValue::from_static("Mon, 23 Nov 2026 07:00:00 GMT"));
    headers
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    headers.insert(ETAG, HeaderValue::from_static("\"33a64df551425fcc55e4d42a148795d9f25f89d4\""));
    headers.insert(LAST_MODIFIED, HeaderValue::from_static("Tue, 15 Nov 2022 12:45:26 GMT"));
    headers.insert(SERVER, HeaderValue::from_static("origin/1.0"));
    headers.insert(
        HeaderName::from_static("x-request-id"),
        HeaderValue::from_static("7f2c1a52-6e0b-4b1f-9f0e-5d1c7a5b9e11"),
    );
    headers
}

/// A JSON text of `size` bytes, which are at least 11.
pub(crate) fn json(size: usize) -> Bytes {
    let text = b"{\"text\":\"".iter().chain(b"lorem ipsum dolor ".iter().cycle());
    let mut text: Vec<u8> = text.take(size.saturating_sub(2)).copied().collect();
    text.extend_from_slice(b"\"}");
    text.into()
}

struct Service {
    counter: Counter,
    /// Bodies by size: made once, then shared.
    blocks: Mutex<HashMap<usize, Bytes>>,
}

impl Service {
    fn answer(&self, request: &Request<Incoming>) -> Response<SizedBody> {
        self.counter.count();
        let size = request.uri().path().split('/').nth(1).and_then(|size| size.parse().ok()).unwrap_or(0);
        let mut response = Response::new(SizedBody { block: self.block(size), rest: Bytes::new(), left: size });
        *response.headers_mut() = headers();
        response
    }

    fn block(&self, size: u64) -> Bytes {
        let size = usize::try_from(size).unwrap_or(BLOCK).min(BLOCK);
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.entry(size).or_insert_with(|| json(size)).clone()
    }
}

async fn serve(listener: std::net::TcpListener, service: Arc<Service>) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let (response, delay) = (service.answer(&request), delay(&request));
                async move {
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            // A contender that closes its connection is no fault of the origin's.
            let _closed = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// How long the origin takes before it answers.
fn delay(request: &Request<Incoming>) -> Duration {
    Duration::from_millis(request.uri().query().and_then(|query| query.parse().ok()).unwrap_or(0))
}

struct SizedBody {
    block: Bytes,
    /// What is left of the block before it begins anew.
    rest: Bytes,
    left: u64,
}

impl http_body::Body for SizedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.rest.is_empty() {
            self.rest = self.block.clone();
        }
        let len = FRAME.min(self.rest.len()).min(usize::try_from(self.left).unwrap_or(FRAME));
        let frame = self.rest.split_to(len);
        self.left = self.left.saturating_sub(frame.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fetch;
    use crate::floors::uncached::Uncached;

    #[tokio::test]
    async fn bodies_have_the_length_that_was_asked_for_and_requests_are_counted() {
        let origin = Origin::start().unwrap();
        let client = Uncached::new();
        for (requests, size) in [2048, 100 << 10, (BLOCK as u64) + 12_345].into_iter().enumerate() {
            assert_eq!(fetch(&client, &url(origin.base(), size, "body")).await.unwrap(), size);
            origin.counter().expect(requests as u64, 1).unwrap();
            assert!(origin.counter().expect(requests as u64, 2).is_err());
        }
    }

    #[test]
    fn a_body_is_json_of_its_size() {
        assert_eq!(json(16), "{\"text\":\"lorem\"}");
    }
}
