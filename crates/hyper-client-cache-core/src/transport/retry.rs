//! Whether a request whose exchange failed is sent once more.
//!
//! hyper-util tries again by itself where not one byte was written. What it leaves is the race that every kept
//! connection has: the server closes it while the request is on its way. A request whose method is idempotent may be
//! repeated then (RFC 9112 section 9.3.1), and not more than once (RFC 9110 section 9.2.2).
//!
//! On HTTP/2 a server can say that it has not begun with a request: that one may be repeated whatever its method (RFC
//! 9113 section 8.7).

use std::io;

use http::{Extensions, Method, Request};
use hyper_util::client::legacy::Error;

use super::RequestBody;
use super::connect::Uses;

/// The same request once more; `None` where its body can be sent only once.
pub(super) fn again(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let mut again = Request::new(request.body().try_clone()?);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    Some(again)
}

/// Whether the exchange failed in a way that lets a request with this method be sent again.
pub(super) fn is_worth_it(method: &Method, error: &Error) -> bool {
    let is_idempotent =
        matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE);
    was_not_begun(error) || (is_idempotent && is_of_kept_connection(error) && went_away(error))
}

/// Whether the connection had served before.
fn is_of_kept_connection(error: &Error) -> bool {
    let mut extensions = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extensions);
    }
    extensions.get::<Uses>().is_some_and(Uses::is_reused)
}

/// Whether the server said that it has not begun with the request: by `REFUSED_STREAM`, or by a `GOAWAY` in peace that
/// names a stream before it as the last.
fn was_not_begun(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_remote()
                && match error.reason() {
                    Some(h2::Reason::NO_ERROR) => error.is_go_away(),
                    Some(h2::Reason::REFUSED_STREAM) => error.is_reset(),
                    _ => false,
                };
        }
        next = error.source();
    }
    false
}

fn went_away(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_canceled() || error.is_closed())
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::NotConnected
                    | io::ErrorKind::UnexpectedEof
            );
        }
        next = error.source();
    }
    false
}
