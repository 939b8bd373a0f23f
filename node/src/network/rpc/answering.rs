//! What the other side asks on one stream.

use std::{
    io,
    task::{Context, Poll},
};

use antiphon::wire::{Refusal, Request, Response};
use bytes::Bytes;
use futures::{AsyncReadExt, StreamExt, stream::BoxStream};
use libp2p::Stream;

use super::{Received, asking::frames, frame, writer::Writer};
use crate::network::rpc::ASKS_PER_PEER_MAX;

/// Requests of one stream that are not answered, or whose answers are not written. Beyond it
/// the stream is not read, so that the other side waits.
pub(super) const QUESTIONS_PER_STREAM_MAX: usize = ASKS_PER_PEER_MAX;

/// Bytes of answers that wait for the other side to read them. One that lets more come is not
/// reading, and its stream is dropped.
const ANSWERS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A stream of the other side.
pub(super) struct Answering {
    requests: BoxStream<'static, io::Result<(u64, Bytes)>>,
    writer: Writer,
    /// Requests that are not answered.
    open: usize,
    /// A request that came while there were too many: the stream is read so far ahead that its
    /// end is seen.
    ahead: Option<(u64, Bytes)>,
}

impl Answering {
    pub(super) fn new(stream: Stream) -> Self {
        let (reader, writer) = stream.split();
        Self { requests: frames(reader), writer: Writer::new(writer), open: 0, ahead: None }
    }

    /// Takes an answer. One that is too large becomes a refusal.
    pub(super) fn answer(&mut self, number: u64, response: &Response) {
        self.open = self.open.saturating_sub(1);
        let frame = frame::encode(number, &response.encode()).unwrap_or_else(|error| {
            tracing::error!(%error, "a response cannot be sent");
            let refusal = Response::Refused(Refusal::Invalid(error.to_string()));
            frame::encode(number, &refusal.encode()).expect("a refusal is small")
        });
        self.writer.push(frame);
    }

    /// Sends answers and takes in the next request; none at the end of the stream.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Received)>> {
        if let Err(error) = self.writer.poll(context) {
            tracing::debug!(%error, "answers cannot be sent");
            return Poll::Ready(None);
        }
        if self.writer.bytes() > ANSWERS_BYTES_MAX {
            tracing::debug!("a peer does not read its answers");
            return Poll::Ready(None);
        }
        if self.ahead.is_none() {
            match self.requests.poll_next_unpin(context) {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(frame))) => self.ahead = Some(frame),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a peer's requests cannot be read");
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => return Poll::Ready(None),
            }
        }
        // An answer, or room for one, wakes this up where there are too many.
        let has_room = self.open + self.writer.len() < QUESTIONS_PER_STREAM_MAX;
        match self.ahead.take_if(|_| has_room) {
            Some((number, message)) => {
                self.open += 1;
                Poll::Ready(Some((number, Request::decode(&message))))
            }
            None => Poll::Pending,
        }
    }
}
