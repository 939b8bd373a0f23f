//! What this side asks on one stream.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    task::{Context, Poll},
};

use antiphon::wire::Request;
use futures::{AsyncReadExt, io::ReadHalf};
use libp2p::{Stream, core::upgrade::NegotiationError};

use super::{
    AskError, RequestId,
    frame::{self, Encoded, Frame, FrameError, Frames},
    pace,
    said::Said,
    writer::Writer,
};
use crate::network::budget::Account;

/// The requests of one lane, and the stream that they take once it is open.
#[derive(Default)]
pub(super) struct Asking {
    stream: State,
    /// The requests that have no answer yet.
    under_way: BTreeSet<RequestId>,
    /// Frames that wait for the stream to be open.
    waiting: VecDeque<Encoded>,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Opening,
    Open(Box<Open>),
}

struct Open {
    answers: Frames<ReadHalf<Stream>>,
    writer: Writer,
}

impl Asking {
    /// Takes a request.
    ///
    /// # Errors
    /// When it is too large.
    pub(super) fn ask(&mut self, id: RequestId, request: &Request) -> Result<(), AskError> {
        let frame = frame::encode(id.0, request.encode()).map_err(AskError::TooLarge)?;
        self.under_way.insert(id);
        match &mut self.stream {
            State::Open(open) => open.writer.push(frame),
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

    /// The stream is open. What comes on it takes of this account.
    pub(super) fn opened(&mut self, stream: Stream, account: Account) {
        let (reader, writer) = stream.split();
        let mut writer = Writer::new(writer);
        self.waiting.drain(..).for_each(|frame| writer.push(frame));
        self.stream = State::Open(Box::new(Open { answers: Frames::new(reader, account), writer }));
    }

    /// The stream could not be opened, broke, or is given up: the requests that get no answer.
    pub(super) fn broke(&mut self) -> BTreeSet<RequestId> {
        self.stream = State::Closed;
        self.waiting.clear();
        std::mem::take(&mut self.under_way)
    }

    /// Sends and takes in what there is.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, said: &mut VecDeque<Said>) {
        let State::Open(open) = &mut self.stream else { return };
        let Open { answers, writer } = &mut **open;
        let broken = match answers.poll_next(context, true) {
            Poll::Ready(Ok(Some(Frame { number, message, loan }))) => {
                let id = RequestId(number);
                if self.under_way.remove(&id) {
                    said.push_back(match pace::decode(&message) {
                        Ok(response) => Said::Answered(id, response, loan),
                        Err(error) => Said::Failed(id, AskError::Malformed(error)),
                    });
                } else {
                    tracing::debug!("an answer to nothing that was asked");
                }
                // There may be more, which was not asked for yet.
                context.waker().wake_by_ref();
                writer.poll(context).err()
            }
            Poll::Ready(Err(error)) => Some(match error {
                FrameError::Broken(error) => error,
                error @ FrameError::TooLarge(_) => {
                    io::Error::new(io::ErrorKind::InvalidData, error)
                }
                error @ (FrameError::Stalled | FrameError::Recalled) => {
                    io::Error::new(io::ErrorKind::TimedOut, error)
                }
            }),
            Poll::Ready(Ok(None)) => Some(io::ErrorKind::UnexpectedEof.into()),
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

/// Whether the error says that the peer does not speak our protocol. The protocol's name is
/// sent together with the first request, so this comes as an error of the first read.
fn is_unsupported(error: &io::Error) -> bool {
    let negotiation = error.get_ref().and_then(|cause| cause.downcast_ref::<NegotiationError>());
    matches!(negotiation, Some(NegotiationError::Failed))
}
