//! A stored response as the floors keep it: the header lines as they look on the wire, and the body.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::Result;

/// Headers and body in one piece, for stores that keep one value under a key.
pub(crate) fn pack(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut message = encode(headers);
    message.push(b'\n');
    message.extend_from_slice(body);
    message
}

/// The response of what [`pack`] has made. Its body is a slice of that.
pub(crate) fn unpack(message: &Bytes) -> Result<Response<Full<Bytes>>> {
    let empty_line = message.windows(2).position(|pair| pair == b"\n\n").ok_or("headers without an end")?;
    let head = message.slice(..=empty_line);
    response(&head, message.slice(empty_line.saturating_add(2)..))
}

/// A response of headers that [`encode`] has made, and a body.
pub(crate) fn response(head: &[u8], body: Bytes) -> Result<Response<Full<Bytes>>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = decode(head)?;
    Ok(response)
}

/// Headers as they look on the wire.
pub(crate) fn encode(headers: &HeaderMap) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.push(b':');
        head.extend_from_slice(value.as_bytes());
        head.push(b'\n');
    }
    head
}

fn decode(head: &[u8]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in head.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|&byte| byte == b':').ok_or("a header without a colon")?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        headers.append(HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::origin;

    #[tokio::test]
    async fn what_is_packed_is_the_response_again() {
        let (headers, body) = (origin::whole_headers(16), origin::json(16));
        let response = unpack(&pack(&headers, &body).into()).unwrap();
        assert_eq!(*response.headers(), headers);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
        assert!(unpack(&Bytes::from_static(b"no end")).is_err());
    }
}
