//! How many requests are with one host at a time, where the user has set a limit (case 203).
//!
//! A place is taken before a request is sent and given back when its body has ended or is dropped. Who finds none free
//! waits behind those who came before; whoever stops waiting leaves the queue. What is answered from the store takes no
//! place.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Uri;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::Upstream;
use crate::error::BoxError;

/// The most places for one host that make sense, and that a semaphore can count.
pub(super) const MOST: usize = Semaphore::MAX_PERMITS;

/// How many hosts are looked through for those that nobody uses, at the least.
const FEW: usize = 64;

/// The hosts that requests are with, or wait for.
#[derive(Debug)]
pub(super) struct Hosts {
    limit: Option<usize>,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    hosts: HashMap<String, Weak<Semaphore>>,
    // How many there may be before those without users are looked for.
    bound: usize,
}

impl Hosts {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { limit, used: Mutex::default() }
    }

    /// A place with the host of `uri`, as soon as there is one.
    pub(super) async fn enter(&self, uri: &Uri) -> Place {
        let Some(limit) = self.limit else { return Place(None) };
        let host = self.host(uri, limit);
        // Nobody closes it.
        Place(host.acquire_owned().await.ok())
    }

    fn host(&self, uri: &Uri, limit: usize) -> Arc<Semaphore> {
        let name = name(uri);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = used.hosts.get(&name).and_then(Weak::upgrade) {
            return host;
        }
        if used.hosts.len() >= used.bound.max(FEW) {
            used.hosts.retain(|_, host| host.strong_count() > 0);
            used.bound = used.hosts.len().saturating_mul(2);
        }
        let host = Arc::new(Semaphore::new(limit));
        used.hosts.insert(name, Arc::downgrade(&host));
        host
    }
}

/// Scheme, host and port: whom a request goes to.
pub(super) fn name(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 });
    format!("{scheme}://{host}:{port}").to_ascii_lowercase()
}

/// One request's place with its host, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Option<OwnedSemaphorePermit>);

impl Place {
    /// `body`, which keeps the place until it has ended.
    pub(super) fn hold(self, body: Upstream) -> Upstream {
        if self.0.is_none() || body.is_end_stream() {
            return body;
        }
        Held { body, place: self }.boxed_unsync()
    }
}

struct Held {
    body: Upstream,
    place: Place,
}

impl Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.place.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_its_scheme_name_and_port() {
        let name = |text: &str| name(&text.parse().unwrap());
        assert_eq!(name("http://Example.com/a"), name("http://example.com:80/b?c"));
        assert_eq!(name("https://example.com/"), name("https://user@example.com:443"));
        for other in ["https://example.com", "http://example.com:8080", "http://www.example.com"] {
            assert_ne!(name(other), name("http://example.com"));
        }
    }

    #[tokio::test]
    async fn hosts_that_nobody_uses_are_forgotten() {
        let hosts = Hosts::new(Some(1));
        let uri = |number: usize| format!("http://{number}.example/").parse::<Uri>().unwrap();
        let mut kept = Vec::new();
        for number in 0..1000 {
            let place = hosts.enter(&uri(number)).await;
            if number < 10 {
                kept.push(place);
            }
        }
        assert!(hosts.used.lock().unwrap().hosts.len() <= FEW);
        // Those that are used are not.
        assert_eq!(hosts.host(&uri(3), 1).available_permits(), 0);
        drop(kept);
        assert_eq!(hosts.host(&uri(3), 1).available_permits(), 1);
    }
}
