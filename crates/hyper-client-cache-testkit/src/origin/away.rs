//! An HTTP/2 connection that ends before anything was done on it, written by hand: hyper begins with what it has received.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::Wire;

/// What a client begins with (RFC 9113 section 3.4), in bytes.
const PREFACE_LEN: usize = 24;

/// The types of frames (RFC 9113 section 6).
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Waits for a request, and says that it, and whatever else came, was not begun with (RFC 9113 section 6.8).
pub(super) async fn go_away(mut wire: Wire) -> io::Result<()> {
    wire.read_exact(&mut [0; PREFACE_LEN]).await?;
    // No setting is another than its default.
    wire.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await?;
    wire.flush().await?;
    loop {
        let mut head = [0; 9];
        wire.read_exact(&mut head).await?;
        let [a, b, c, kind, ..] = head;
        let mut rest = vec![0; u32::from_be_bytes([0, a, b, c]).try_into().unwrap_or_default()];
        wire.read_exact(&mut rest).await?;
        if kind == HEADERS {
            break;
        }
    }
    // Eight bytes on the connection itself: the last stream is 0, and there is no error.
    wire.write_all(&[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await?;
    wire.shutdown().await?;
    let mut rest = [0; 1024];
    while wire.read(&mut rest).await? > 0 {}
    Ok(())
}
