//! The bytes of one exchange: a request and its response, each one CBOR item that fills its
//! direction of a substream of its own. The end of the stream is the end of the message.
//!
//! All of this runs on the task of the connection, not on the loop of the swarm: decoding
//! verifies the signature of every batch. A message that is too large is an error before memory
//! is reserved for it, in both directions; it is never cut short.

use std::io;

use antiphon::{
    limits::MESSAGE_BYTES_MAX,
    wire::{Refusal, Request, Response, WireError},
};
use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

/// Reads and writes messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Codec;

/// A request as it came in. What is not understood is handed up as such, so that it can be
/// refused in words instead of by a broken stream. What goes out is always understood.
pub(super) type Received = Result<Request, WireError>;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Received;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Received>
    where
        T: AsyncRead + Unpin + Send,
    {
        Ok(Request::decode(&read_message(io).await?))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        Response::decode(&read_message(io).await?).map_err(invalid_data)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Received,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let bytes = request.map_err(invalid_data)?.encode();
        if bytes.len() > MESSAGE_BYTES_MAX {
            let error = WireError::TooLarge(bytes.len());
            return Err(io::Error::new(OVERSIZE_REQUEST, error));
        }
        io.write_all(&bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let mut bytes = response.encode();
        if bytes.len() > MESSAGE_BYTES_MAX {
            let error = WireError::TooLarge(bytes.len());
            tracing::error!(%error, "a response cannot be sent");
            bytes = Response::Refused(Refusal::Invalid(error.to_string())).encode();
        }
        io.write_all(&bytes).await
    }
}

/// The kind of error that says: this end's own request is too large; nothing was sent.
pub(super) const OVERSIZE_REQUEST: io::ErrorKind = io::ErrorKind::InvalidInput;

/// Reads up to the end of the stream. No bytes at all is how a peer looks that gave the stream
/// up, which is another thing than a message that is not understood.
async fn read_message(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    // One byte more than is allowed tells a message that is too large from one that just fits.
    io.take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    match bytes.len() {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        size if size > MESSAGE_BYTES_MAX => Err(invalid_data(WireError::TooLarge(size))),
        _ => Ok(bytes.into()),
    }
}

fn invalid_data(error: WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use antiphon::{
        model::Blob,
        wire::{Acks, Publish},
    };
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;

    use super::*;

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/test");

    fn publish(size: usize) -> Request {
        Request::Publish(Publish {
            topic: "t".parse().unwrap(),
            producer: antiphon::model::ProducerId([1; 16]),
            first: 0,
            records: Blob(vec![0; size].into()),
            acks: Acks::One,
            timeout_ms: 0,
        })
    }

    #[tokio::test]
    async fn request_goes_through() {
        let mut stream = Cursor::new(Vec::new());
        Codec.write_request(&PROTOCOL, &mut stream, Ok(Request::Peers)).await.unwrap();
        stream.set_position(0);
        let read = Codec.read_request(&PROTOCOL, &mut stream).await.unwrap();
        assert_eq!(read, Ok(Request::Peers));
    }

    #[tokio::test]
    async fn oversize_is_an_error_at_both_ends() {
        let mut stream = Cursor::new(Vec::new());
        let request = Ok(publish(MESSAGE_BYTES_MAX));
        let sent = Codec.write_request(&PROTOCOL, &mut stream, request).await;
        assert_eq!(sent.unwrap_err().kind(), OVERSIZE_REQUEST);
        assert!(stream.get_ref().is_empty(), "nothing is sent of it");

        let mut stream = Cursor::new(vec![0; MESSAGE_BYTES_MAX + 10]);
        let read = Codec.read_request(&PROTOCOL, &mut stream).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(stream.position(), MESSAGE_BYTES_MAX as u64 + 1, "the rest is not read");
    }

    #[tokio::test]
    async fn oversize_response_becomes_a_refusal() {
        let page = antiphon::wire::Peer {
            node: antiphon::model::NodeId::from_bytes([1; 32]),
            state: antiphon::wire::MemberState::Alive,
            round_trip_us: None,
            addresses: vec!["a".repeat(MESSAGE_BYTES_MAX)],
        };
        let mut stream = Cursor::new(Vec::new());
        Codec.write_response(&PROTOCOL, &mut stream, Response::Peers(vec![page])).await.unwrap();
        stream.set_position(0);
        let read = Codec.read_response(&PROTOCOL, &mut stream).await.unwrap();
        assert!(matches!(read, Response::Refused(Refusal::Invalid(_))), "{read:?}");
    }

    #[tokio::test]
    async fn what_is_not_understood_is_handed_up_or_an_error() {
        let read = Codec.read_request(&PROTOCOL, &mut Cursor::new(b"\xff")).await.unwrap();
        assert!(read.is_err());
        let read = Codec.read_response(&PROTOCOL, &mut Cursor::new(b"\xff")).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let read = Codec.read_response(&PROTOCOL, &mut Cursor::new(b"")).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
