//! `multipart/form-data` (RFC 7578): a form with files in it.

use std::fmt;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame};

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::transport::RequestBody;

/// A form whose parts may be files.
///
/// Made of what is in memory it is a body like any other. With one part that streams it is sent as it comes, and cannot
/// be sent twice.
///
/// ```
/// use hyper_client_cache_core::session::{Multipart, Part};
///
/// let form = Multipart::new()
///     .text("title", "Holiday")
///     .part("photo", Part::bytes(&b"..."[..]).file_name("beach.jpg").content_type("image/jpeg"));
/// # let _ = form;
/// ```
#[must_use]
pub struct Multipart {
    boundary: Option<String>,
    parts: Vec<(String, Part)>,
}

/// One part of a [`Multipart`].
#[must_use]
pub struct Part {
    body: RequestBody,
    file_name: Option<String>,
    content_type: Option<String>,
}

impl Multipart {
    /// A form without parts.
    pub const fn new() -> Self {
        Self { boundary: None, parts: Vec::new() }
    }

    /// Adds a field.
    pub fn text(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.part(name, Part::bytes(value.into()))
    }

    /// Adds a part.
    pub fn part(mut self, name: impl Into<String>, part: Part) -> Self {
        self.parts.push((name.into(), part));
        self
    }

    /// Sets what stands between the parts; it must not occur in them. Default: 32 random digits, for each request others.
    /// With one that is set, equal forms are equal bytes.
    pub fn boundary(mut self, boundary: impl Into<String>) -> Self {
        self.boundary = Some(boundary.into());
        self
    }

    /// The body, and its `Content-Type`.
    pub(super) fn into_body(self) -> Result<(RequestBody, HeaderValue)> {
        let boundary = match self.boundary {
            Some(boundary) => checked(boundary)?,
            None => random()?,
        };
        let content_type = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
            .map_err(|_| invalid("its boundary"))?;
        let mut pieces = Vec::new();
        let mut written = Vec::new();
        for (name, part) in self.parts {
            written.extend_from_slice(part.head(&boundary, &name)?.as_bytes());
            match part.body.as_bytes() {
                Some(bytes) => written.extend_from_slice(bytes),
                None => {
                    pieces.push(RequestBody::from(std::mem::take(&mut written)));
                    pieces.push(part.body);
                }
            }
            written.extend_from_slice(b"\r\n");
        }
        written.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let last = RequestBody::from(written);
        if pieces.is_empty() {
            return Ok((last, content_type));
        }
        pieces.push(last);
        pieces.reverse();
        Ok((RequestBody::stream(Pieces(pieces)), content_type))
    }
}

impl Default for Multipart {
    fn default() -> Self {
        Self::new()
    }
}

impl Part {
    /// A part that is in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { body: bytes.into().into(), file_name: None, content_type: None }
    }

    /// A part that is sent as it comes.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self { body: RequestBody::stream(body), file_name: None, content_type: None }
    }

    /// Makes it a file of this name.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Sets its media type. Default: none is said, which stands for plain text.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    fn head(&self, boundary: &str, name: &str) -> Result<String> {
        let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", escaped(name));
        if let Some(file_name) = &self.file_name {
            // Writing to a string cannot fail.
            let _ = write!(head, "; filename=\"{}\"", escaped(file_name));
        }
        head.push_str("\r\n");
        if let Some(content_type) = &self.content_type {
            if HeaderValue::from_str(content_type).is_err() {
                return Err(invalid("the content type of a part"));
            }
            let _ = write!(head, "Content-Type: {content_type}\r\n");
        }
        head.push_str("\r\n");
        Ok(head)
    }
}

// What is sent may be a secret.
impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(name, _)| name)).finish()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("body", &self.body).finish_non_exhaustive()
    }
}

/// Bodies one after the other, the first one last.
struct Pieces(Vec<RequestBody>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while let Some(piece) = self.0.last_mut() {
            match std::task::ready!(Pin::new(piece).poll_frame(cx)) {
                // Trailers of a part have no place in a form.
                Some(Ok(frame)) if frame.is_trailers() => {}
                Some(frame) => return Poll::Ready(Some(frame)),
                None => drop(self.0.pop()),
            }
        }
        Poll::Ready(None)
    }
}

/// A name as browsers write it between quotes.
fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn random() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Request, "there are no random numbers for a boundary").with_source(error)
    })?;
    Ok(bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// A boundary in the characters that need no quotes (RFC 2046 section 5.1.1, RFC 9110 section 5.6.2).
fn checked(boundary: String) -> Result<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'\'' | b'+' | b'_' | b'-' | b'.');
    if boundary.is_empty() || boundary.len() > 70 || !boundary.bytes().all(is_plain) {
        return Err(invalid("its `boundary`, which is 1 to 70 letters, digits or `'+_-.`,"));
    }
    Ok(boundary)
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Request, format!("`multipart`: {what} is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_as_browsers_do() {
        let form = Multipart::new()
            .boundary("b")
            .text("a\"\r\n", "1")
            .part("f", Part::bytes(&b"\x00"[..]).file_name("x.bin").content_type("application/octet-stream"));
        let (body, content_type) = form.into_body().unwrap();
        assert_eq!(content_type, "multipart/form-data; boundary=b");
        let expected = "--b\r\nContent-Disposition: form-data; name=\"a%22%0D%0A\"\r\n\r\n1\r\n--b\r\nContent-Disposition: \
                        form-data; name=\"f\"; filename=\"x.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n\0\r\n--b--\r\n";
        assert_eq!(std::str::from_utf8(body.as_bytes().unwrap()).unwrap(), expected);
        assert!(body.try_clone().is_some());
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        for boundary in ["", "a b", "a\r\nb", &"x".repeat(71)] {
            let error = Multipart::new().boundary(boundary).into_body().unwrap_err();
            assert!(error.to_string().contains("`boundary`"), "{error}");
        }
        let error = Multipart::new().part("a", Part::bytes("").content_type("a\r\nb")).into_body().unwrap_err();
        assert!(error.to_string().contains("`multipart`"), "{error}");
        let (one, two) = (Multipart::new().into_body().unwrap(), Multipart::new().into_body().unwrap());
        assert_ne!(one.1, two.1, "boundaries are random");
    }
}
