//! Answers that hyper would not send, written by hand on HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::Answer;
use super::answer::{End, Framing};
use super::player::Player;

/// A connection with or without TLS.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Writes `answer` byte for byte, then ends the connection as it says.
    pub(super) async fn write(&mut self, method: &Method, answer: &Answer) -> io::Result<()> {
        if let Some(address) = answer.tunnel {
            // Whom it leads to comes first: a tunnel that cannot be made is none.
            let mut other = TcpStream::connect(address).await?;
            self.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            self.flush().await?;
            return copy_bidirectional(self, &mut other).await.map(drop);
        }
        for (status, headers) in &answer.informational {
            let mut head = Vec::new();
            put_head(&mut head, *status, headers);
            head.extend_from_slice(b"\r\n");
            self.write_all(&head).await?;
        }
        if answer.framing != Framing::Raw {
            self.write_all(&head_of(answer)).await?;
        }
        let has_body = *method != Method::HEAD && !matches!(answer.status.as_u16(), 204 | 304);
        if has_body {
            self.write_body(answer).await?;
        }
        self.write_all(&answer.extra).await?;
        self.flush().await?;
        match answer.end {
            // Bytes that nobody asked for: whether the client closes the connection is the test.
            End::Proper if !answer.extra.is_empty() => {}
            End::Proper | End::Cut => self.shutdown().await?,
            End::Abrupt => self.tcp().shutdown().await?,
            End::Reset => return self.tcp().set_zero_linger(),
        }
        // Closing with unread bytes would reset the connection and take with it what the client has not read yet.
        let mut rest = [0; 1024];
        while self.read(&mut rest).await? > 0 {}
        Ok(())
    }

    async fn write_body(&mut self, answer: &Answer) -> io::Result<()> {
        let chunked = answer.framing == Framing::Chunked;
        let mut player = Player::new(&answer.pieces, answer.limit);
        while let Some(bytes) = player.next().await {
            if chunked {
                self.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
                self.write_all(&bytes).await?;
                self.write_all(b"\r\n").await?;
            } else {
                self.write_all(&bytes).await?;
            }
            self.flush().await?;
        }
        if chunked && matches!(answer.end, End::Proper | End::Abrupt) {
            let mut end = b"0\r\n".to_vec();
            put_headers(&mut end, &answer.trailers);
            end.extend_from_slice(b"\r\n");
            self.write_all(&end).await?;
        }
        Ok(())
    }

    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
        }
    }
}

fn head_of(answer: &Answer) -> Bytes {
    let mut head = Vec::new();
    put_head(&mut head, answer.status, &answer.headers);
    match answer.announced() {
        Some(len) => head.extend_from_slice(format!("content-length: {len}\r\n").as_bytes()),
        None if answer.framing == Framing::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        None => {}
    }
    // A fault shall come as a surprise; where nothing is wrong but the form, the client is told.
    if answer.end == End::Proper && answer.extra.is_empty() {
        head.extend_from_slice(b"connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

fn put_head(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    let reason = status.canonical_reason().unwrap_or("Unknown");
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    put_headers(out, headers);
}

fn put_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
