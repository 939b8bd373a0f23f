//! What this side asks on one stream.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    task::{Context, Poll},
};

use antiphon::wire::Request;
use bytes::Bytes;
use futures::{AsyncReadExt, StreamExt, io::ReadHalf, stream::BoxStream};
use libp2p::{Stream, core::upgrade::NegotiationError};

use super::{AskError, RequestId, frame, pace, said::Said, writer::Writer};

/// The requests of one lane, and the stream that they take once it is open.
#[derive(Default)]
pub(super) struct Asking {
    stream: State,
    /// The requests that have no answer yet.
    under_way: BTreeSet<RequestId>,
    /// Frames that wait for the stream to be open.
    waiting: VecDeque<Vec<u8>>,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Opening,
    Open {
        answers: BoxStream<'static, io::Result<(u64, Bytes)>>,
        writer: Writer,
    },
}

impl Asking {
    /// Takes a request.
    ///
    /// # Errors
    /// When it is too large.
    pub(super) fn ask(&mut self, id: RequestId, request: &Request) -> Result<(), AskError> {
        let frame = frame::encode(id.0, &request.encode()).map_err(AskError::TooLarge)?;
        self.under_way.insert(id);
        match &mut self.stream {
            State::Open { writer, .. } => writer.push(frame),
            State::Closed | State::Opening => self.waiting.push_back(frame),
        }
        Ok(())
    }

    pub(super) fn is_under_way(&self, id: RequestId) -> bool {
        self.under_way.contains(&id)
    }

    /// Whether to open a stream; from now on it is being opened.
    pub(super) fn wants_stream(&mut self) -> bool {
        let wants = matches!(self.stream, State::Closed) && !self.waiting.is_empty();
        if wants {
            self.stream = State::Opening;
        }
        wants
    }

    pub(super) fn opened(&mut self, stream: Stream) {
        let (reader, writer) = stream.split();
        let mut writer = Writer::new(writer);
        self.waiting.drain(..).for_each(|frame| writer.push(frame));
        self.stream = State::Open { answers: frames(reader), writer };
    }

    /// The stream could not be opened, broke, or is given up: the requests that get no answer.
    pub(super) fn broke(&mut self) -> BTreeSet<RequestId> {
        self.stream = State::Closed;
        self.waiting.clear();
        std::mem::take(&mut self.under_way)
    }

    /// Sends and takes in what there is.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, said: &mut VecDeque<Said>) {
        let State::Open { answers, writer } = &mut self.stream else { return };
        let broken = match answers.poll_next_unpin(context) {
            Poll::Ready(Some(Ok((number, message)))) => {
                let id = RequestId(number);
                if self.under_way.remove(&id) {
                    said.push_back(match pace::decode(&message) {
                        Ok(response) => Said::Answered(id, response),
                        Err(error) => Said::Failed(id, AskError::Malformed(error)),
                    });
                } else {
                    tracing::debug!("an answer to nothing that was asked");
                }
                // There may be more, which was not asked for yet.
                context.waker().wake_by_ref();
                writer.poll(context).err()
            }
            Poll::Ready(Some(Err(error))) => Some(error),
            Poll::Ready(None) => Some(io::ErrorKind::UnexpectedEof.into()),
            Poll::Pending => writer.poll(context).err(),
        };
        if let Some(error) = broken {
            let is_unsupported = is_unsupported(&error);
            said.extend(self.broke().into_iter().map(|id| {
                let broken = || AskError::Broken(io::Error::new(error.kind(), error.to_string()));
                Said::Failed(id, if is_unsupported { AskError::Unsupported } else { broken() })
            }));
        }
    }
}

/// The frames of a stream up to its end.
pub(super) fn frames(reader: ReadHalf<Stream>) -> BoxStream<'static, io::Result<(u64, Bytes)>> {
    let next = |mut reader: ReadHalf<Stream>| async move {
        Ok(frame::read(&mut reader).await?.map(|frame| (frame, reader)))
    };
    futures::stream::try_unfold(reader, next).boxed()
}

/// Whether the error says that the peer does not speak our protocol. The protocol's name is
/// sent together with the first request, so this comes as an error of the first read.
fn is_unsupported(error: &io::Error) -> bool {
    let negotiation = error.get_ref().and_then(|cause| cause.downcast_ref::<NegotiationError>());
    matches!(negotiation, Some(NegotiationError::Failed))
}
