//! One message on a kept-open stream: its number 8 and its length 4, big-endian, and then the
//! message. The answer to a request has the request's number.
//!
//! A frame is written as one piece: Yamux makes a frame of its own of every write, which is then
//! encrypted and flushed by itself. A message that is too large is an error before memory is
//! reserved for it, in both directions; it is never cut short.

use std::io;

use antiphon::{limits::MESSAGE_BYTES_MAX, wire::WireError};
use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes before the message.
const HEAD_BYTES: usize = 12;

/// Bytes that are reserved for a message whose length is only announced.
const RESERVED_BYTES_MAX: usize = 64 * 1024;

/// Small frames that wait are written together, up to this many bytes.
pub(super) const WRITE_BYTES: usize = 64 * 1024;

/// A frame of a message.
///
/// # Errors
/// When the message is too large.
pub(super) fn encode(number: u64, message: &Bytes) -> Result<Vec<u8>, WireError> {
    let length = message.len();
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge(length));
    }
    let mut frame = Vec::with_capacity(HEAD_BYTES + length);
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend_from_slice(&u32::try_from(length).expect("far below 4 GiB").to_be_bytes());
    frame.extend_from_slice(message);
    Ok(frame)
}

/// Reads the next frame: its number and message; none at the end of the stream.
///
/// # Errors
/// When the stream breaks or ends within a frame, or the message is too large.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(u64, Bytes)>> {
    let mut head = [0; HEAD_BYTES];
    let first = stream.read(&mut head).await?;
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[first..]).await?;
    let (number, length) = head.split_at(8);
    let number = u64::from_be_bytes(number.try_into().expect("8 bytes"));
    let length = u32::from_be_bytes(length.try_into().expect("4 bytes"));
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if size > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, WireError::TooLarge(size)));
    }
    let mut message = Vec::with_capacity(size.min(RESERVED_BYTES_MAX));
    stream.take(length.into()).read_to_end(&mut message).await?;
    if message.len() < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((number, message.into())))
}

/// Writes frames, and flushes them.
pub(super) async fn write<W: AsyncWrite + Unpin>(mut stream: W, frames: Vec<u8>) -> io::Result<W> {
    stream.write_all(&frames).await?;
    stream.flush().await?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn frames_follow_each_other() {
        let mut bytes = encode(7, &Bytes::from_static(b"one")).unwrap();
        bytes.extend(encode(u64::MAX, &Bytes::new()).unwrap());
        let mut stream = Cursor::new(write(Vec::new(), bytes).await.unwrap());
        assert_eq!(read(&mut stream).await.unwrap(), Some((7, "one".into())));
        assert_eq!(read(&mut stream).await.unwrap(), Some((u64::MAX, Bytes::new())));
        assert_eq!(read(&mut stream).await.unwrap(), None);
    }

    #[tokio::test]
    async fn oversize_is_an_error_at_both_ends() {
        let message = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
        assert_eq!(encode(1, &message), Err(WireError::TooLarge(message.len())));
        let mut head = encode(1, &Bytes::new()).unwrap();
        head[8..].copy_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        let mut stream = Cursor::new(head);
        assert_eq!(read(&mut stream).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_short_is_an_error() {
        let whole = encode(1, &Bytes::from_static(b"message")).unwrap();
        for length in 1..whole.len() {
            let mut stream = Cursor::new(&whole[..length]);
            let error = read(&mut stream).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length} bytes");
        }
    }
}
