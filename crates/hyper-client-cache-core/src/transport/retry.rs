//! Whether a request whose exchange failed is sent once more.
//!
//! hyper-util tries again by itself where not one byte was written. What it leaves is the race that every kept
//! connection has: the server closes it while the request is on its way. A request whose method is idempotent may be
//! repeated then (RFC 9112 section 9.3.1), and not more than once (RFC 9110 section 9.2.2).

use std::io;

use http::{Extensions, Method, Request};
use hyper_util::client::legacy::Error;

use super::RequestBody;
use super::connect::Uses;

/// The same request once more; `None` where it must not be sent twice.
pub(super) fn again(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let is_idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    let body = is_idempotent.then(|| request.body().try_clone()).flatten()?;
    let mut again = Request::new(body);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    Some(again)
}

/// Whether the exchange failed because a connection that had served before went away.
pub(super) fn is_worth_it(error: &Error) -> bool {
    let mut extensions = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extensions);
    }
    extensions.get::<Uses>().is_some_and(Uses::is_reused) && went_away(error)
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
