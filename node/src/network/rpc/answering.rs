//! What the other side asks on one stream.

use std::{
    collections::BTreeSet,
    task::{Context, Poll, ready},
};

use antiphon::wire::{NodeRequest, Refusal, Request, Response};
use futures::{AsyncReadExt, io::ReadHalf};
use libp2p::{PeerId, Stream};

use super::{
    Misdeed, Received, Rooms,
    frame::{self, Encoded, FrameError, Frames},
    said::Said,
    writer::Writer,
};
use crate::network::{
    budget::Account,
    limits::{ANSWERS_BYTES_BEFORE_NEXT_MAX, FETCHES_PER_STREAM_MAX, RETRY_SOON_MS},
    rpc::ASKS_PER_PEER_MAX,
};

/// Requests of one stream that are not answered, or whose answers are not written. Beyond it
/// the stream is not read, so that the other side waits.
pub(super) const QUESTIONS_PER_STREAM_MAX: usize = ASKS_PER_PEER_MAX;

/// A stream of the other side.
pub(super) struct Answering {
    stream: u64,
    requests: Frames<ReadHalf<Stream>>,
    writer: Writer,
    /// The room that unread answers take.
    unread: Account,
    /// Requests that are not answered.
    open: usize,
    /// Those of them that fetch pages.
    fetches: BTreeSet<u64>,
}

impl Answering {
    pub(super) fn new(number: u64, stream: Stream, peer: PeerId, rooms: &Rooms) -> Self {
        let (reader, writer) = stream.split();
        Self {
            stream: number,
            requests: Frames::new(reader, rooms.frames.open(peer)),
            writer: Writer::new(writer),
            unread: rooms.answers.open(peer),
            open: 0,
            fetches: BTreeSet::new(),
        }
    }

    /// Its number on the connection.
    pub(super) fn stream(&self) -> u64 {
        self.stream
    }

    /// Takes an answer. One that is too large becomes a refusal, and so does one that there is no
    /// room for, since the other side does not read those before it.
    pub(super) fn answer(&mut self, number: u64, response: &Response) {
        self.open = self.open.saturating_sub(1);
        self.fetches.remove(&number);
        let mut frame = frame::encode(number, response.encode()).unwrap_or_else(|error| {
            tracing::error!(%error, "a response cannot be sent");
            refusal(number, Refusal::Invalid(error.to_string()))
        });
        let bytes = frame.counted();
        if bytes > 0 && self.unread.take(bytes).is_err() {
            frame = refusal(number, too_much_unread());
        }
        self.writer.push(frame);
    }

    /// Sends answers and takes in the next request; the end of the stream, and what was wrong with
    /// it.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Said> {
        if let Err(misdeed) = self.write(context) {
            return self.ended(misdeed);
        }
        // An answer, or room for one, wakes this up where there are too many.
        let has_room = self.open + self.writer.len() < QUESTIONS_PER_STREAM_MAX
            && self.writer.bytes() < ANSWERS_BYTES_BEFORE_NEXT_MAX
            && self.fetches.len() < FETCHES_PER_STREAM_MAX;
        match ready!(self.requests.poll_next(context, has_room)) {
            Ok(Some(frame::Frame { number, message, loan })) => {
                self.open += 1;
                let (stream, request): (_, Received) = (self.stream, Request::decode(&message));
                if matches!(request, Ok(Request::Node(NodeRequest::Fetch(..)))) {
                    self.fetches.insert(number);
                }
                Poll::Ready(Said::Asked { stream, number, request, loan })
            }
            Ok(None) => self.ended(None),
            Err(error) => {
                tracing::debug!(%error, "a peer's requests cannot be read");
                self.ended(match error {
                    FrameError::Broken(_) => None,
                    FrameError::TooLarge(_) => Some(Misdeed::Garbage),
                    FrameError::Stalled => Some(Misdeed::HalfFrame),
                    FrameError::Recalled => Some(Misdeed::Recalled),
                })
            }
        }
    }

    /// Writes on.
    ///
    /// # Errors
    /// When the stream broke, or nobody reads it.
    fn write(&mut self, context: &mut Context<'_>) -> Result<(), Option<Misdeed>> {
        let progress = self.writer.poll(context).map_err(|error| {
            tracing::debug!(%error, "answers cannot be sent");
            None
        })?;
        if progress.got_on {
            self.unread.got_on();
        }
        if progress.gone > 0 {
            self.unread.give_back(progress.gone);
        }
        if progress.is_stalled {
            return Err(Some(Misdeed::Unread));
        }
        if self.unread.poll_recalled(context) { Err(Some(Misdeed::Recalled)) } else { Ok(()) }
    }

    fn ended(&self, misdeed: Option<Misdeed>) -> Poll<Said> {
        Poll::Ready(Said::Abandoned { stream: self.stream, misdeed })
    }
}

fn refusal(number: u64, refusal: Refusal) -> Encoded {
    frame::encode(number, Response::Refused(refusal).encode()).expect("a refusal is small")
}

/// Why a peer that does not read gets no more.
pub(in crate::network) fn too_much_unread() -> Refusal {
    Refusal::OverBudget {
        reason: "the asker has not read the answers that it has; read them first".to_owned(),
        retry_after_ms: RETRY_SOON_MS,
    }
}
