//! The accept loop and the two protocols. hyper speaks them wherever an answer is well-formed.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::answer::{End, Framing};
use super::player::Player;
use super::script::Script;
use super::wire::Wire;
use super::{Answer, Recorded, away};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How the connections of one origin are spoken to.
#[derive(Clone)]
pub(super) struct Protocol {
    /// HTTP/2 without TLS and without asking first.
    pub(super) prior_knowledge: bool,
    pub(super) tls: Option<TlsAcceptor>,
    /// Accepts connections and says nothing, not even a TLS handshake.
    pub(super) silent: bool,
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protocol").field("prior_knowledge", &self.prior_knowledge).finish_non_exhaustive()
    }
}

/// Accepts until it is dropped, and takes its connections with it.
pub(super) async fn accept(listener: TcpListener, protocol: Protocol, script: Arc<Script>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that was gone before it was accepted is no reason to stop.
                if let Ok((socket, _)) = accepted {
                    connections.spawn(connection(socket, protocol.clone(), Arc::clone(&script)));
                }
            }
            Some(ended) = connections.join_next() => {
                if let Some(payload) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                    script.keep_panic(payload);
                }
            }
        }
    }
}

async fn connection(socket: TcpStream, protocol: Protocol, script: Arc<Script>) {
    let number = script.connected();
    let _open = Open(&script);
    let _ = socket.set_nodelay(true);
    if protocol.silent {
        return std::future::pending().await;
    }
    let (wire, http2) = match protocol.tls {
        None => (Wire::Plain(socket), protocol.prior_knowledge),
        Some(acceptor) => {
            // A client that does not trust the certificate ends here.
            let Ok(tls) = acceptor.accept(socket).await else { return };
            let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            (Wire::Tls(Box::new(tls)), http2)
        }
    };
    if http2 && script.takes_goaway() {
        // Whoever is gone before it has heard that has heard it.
        let _ = away::go_away(wire).await;
    } else if http2 {
        speak_http2(wire, number, Arc::clone(&script)).await;
    } else {
        speak_http1(wire, number, Arc::clone(&script)).await;
    }
}

/// Counts the end of a connection, however it ends.
struct Open<'a>(&'a Script);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.disconnections.send_modify(|count| *count = count.saturating_add(1));
    }
}

async fn speak_http1(wire: Wire, number: u64, script: Arc<Script>) {
    // What hyper shall not send is left here by the service, which then fails, so that hyper gives the socket back
    // without having written anything.
    let by_hand: Arc<Mutex<Option<(Method, Answer)>>> = Arc::default();
    let left = Arc::clone(&by_hand);
    let service = service_fn(move |request: Request<Incoming>| {
        let (script, by_hand) = (Arc::clone(&script), Arc::clone(&by_hand));
        let answered: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            let (method, answer) = ask(&script, request, number).await?;
            if answer.is_plain() {
                return Ok(response(&answer, None));
            }
            *by_hand.lock().unwrap_or_else(PoisonError::into_inner) = Some((method, answer));
            Err(NoAnswer(None))
        });
        answered
    });
    let mut connection = http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(wire), service);
    // Whatever the client did wrong or gave up, there is nobody here to tell.
    let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let mut wire = connection.into_parts().io.into_inner();
    let left = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    let _ = match left {
        Some((method, answer)) => wire.write(&method, &answer).await,
        None => wire.shutdown().await,
    };
}

async fn speak_http2(wire: Wire, number: u64, script: Arc<Script>) {
    let orders = Arc::new(Orders::default());
    let given = Arc::clone(&orders);
    let service = service_fn(move |request: Request<Incoming>| {
        let (script, orders) = (Arc::clone(&script), Arc::clone(&given));
        async move {
            let (_, answer) = ask(&script, request, number).await?;
            if answer.refused {
                return Err(NoAnswer(Some(h2::Reason::REFUSED_STREAM.into())));
            }
            if answer.framing == Framing::Raw {
                return Err(NoAnswer(None));
            }
            if answer.goaway {
                orders.go_away.notify_one();
            }
            Ok(response(&answer, Some(orders)))
        }
    });
    let connection =
        http2::Builder::new(TokioExecutor::new()).auto_date_header(false).serve_connection(TokioIo::new(wire), service);
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = orders.hang_up.notified() => return,
            () = orders.go_away.notified() => connection.as_mut().graceful_shutdown(),
        }
    }
}

/// What an answer tells the HTTP/2 connection that it goes over.
#[derive(Debug, Default)]
struct Orders {
    go_away: Notify,
    hang_up: Notify,
}

/// Why there is no response for hyper to send. On HTTP/2 it resets the stream with the reason that it finds in here.
#[derive(Debug)]
struct NoAnswer(Option<h2::Error>);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this answer is not hyper's to send")
    }
}

impl std::error::Error for NoAnswer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.as_ref().map(|error| error as _)
    }
}

async fn ask(script: &Script, request: Request<Incoming>, connection: u64) -> Result<(Method, Answer), NoAnswer> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| NoAnswer(None))?.to_bytes();
    let target = match (head.uri.path_and_query(), head.uri.authority()) {
        (Some(target), _) => target.to_string(),
        // CONNECT has nothing else.
        (None, Some(authority)) => authority.to_string(),
        (None, None) => "/".to_owned(),
    };
    let mut headers = head.headers;
    // HTTP/2 has the host in the request's URI: recorded where a test looks for it.
    if !headers.contains_key(header::HOST)
        && let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    let method = head.method.clone();
    let recorded = Recorded { method: head.method, target, version: head.version, headers, body, connection };
    let answer = script.answer(recorded).map_err(|_| NoAnswer(None))?;
    let mut player = Player::new(&answer.before, None);
    while player.next().await.is_some() {}
    Ok((method, answer))
}

fn response(answer: &Answer, orders: Option<Arc<Orders>>) -> Response<Body> {
    let mut response = Response::new(body(answer, orders));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    let bodiless = matches!(answer.status.as_u16(), 204 | 304);
    if let (Some(len), false) = (answer.announced(), bodiless) {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| len.into());
    }
    response
}

fn body(answer: &Answer, orders: Option<Arc<Orders>>) -> Body {
    if answer.pieces.is_empty() && answer.end == End::Proper {
        return Full::default().map_err(|never: Infallible| match never {}).boxed_unsync();
    }
    let player = Player::new(&answer.pieces, answer.limit);
    let ends = Ends { end: Some(answer.end), trailers: answer.trailers.clone(), orders };
    let frames = stream::unfold((player, ends), async |(mut player, mut ends)| {
        let frame = match player.next().await {
            Some(bytes) => Ok(Frame::data(bytes)),
            None => match ends.end.take()? {
                End::Proper | End::Abrupt if ends.trailers.is_empty() => return None,
                End::Proper | End::Abrupt => Ok(Frame::trailers(std::mem::take(&mut ends.trailers))),
                End::Cut => Err(io::Error::other("the script cuts this body")),
                End::Reset => {
                    if let Some(orders) = &ends.orders {
                        orders.hang_up.notify_one();
                    }
                    // The connection ends before this body does.
                    std::future::pending().await
                }
            },
        };
        Some((frame, (player, ends)))
    });
    StreamBody::new(frames).boxed_unsync()
}

struct Ends {
    end: Option<End>,
    trailers: HeaderMap,
    orders: Option<Arc<Orders>>,
}
