//! Writes frames to a stream, in their order.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture, io::WriteHalf};
use libp2p::Stream;

use super::frame;

/// The writing half of a stream, and the frames that wait for it. How many do is bounded by how
/// many requests may be under way.
pub(super) struct Writer {
    state: State,
    waiting: VecDeque<Vec<u8>>,
}

enum State {
    Idle(WriteHalf<Stream>),
    Writing(BoxFuture<'static, io::Result<WriteHalf<Stream>>>),
    Broken,
}

impl Writer {
    pub(super) fn new(stream: WriteHalf<Stream>) -> Self {
        Self { state: State::Idle(stream), waiting: VecDeque::new() }
    }

    pub(super) fn push(&mut self, frame: Vec<u8>) {
        self.waiting.push_back(frame);
    }

    /// Frames that are not written, or not yet flushed.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(matches!(self.state, State::Writing(_)))
    }

    /// Bytes of the frames that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.iter().map(Vec::len).sum()
    }

    /// Writes on.
    ///
    /// # Errors
    /// When the stream broke.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            match std::mem::replace(&mut self.state, State::Broken) {
                State::Idle(stream) => {
                    let Some(bytes) = self.next_write() else {
                        self.state = State::Idle(stream);
                        return Ok(());
                    };
                    self.state = State::Writing(frame::write(stream, bytes).boxed());
                }
                State::Writing(mut writing) => match writing.poll_unpin(context) {
                    Poll::Ready(Ok(stream)) => self.state = State::Idle(stream),
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => {
                        self.state = State::Writing(writing);
                        return Ok(());
                    }
                },
                State::Broken => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// The next frame, together with those after it that are small.
    fn next_write(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.waiting.pop_front()?;
        while let Some(next) =
            self.waiting.pop_front_if(|next| bytes.len() + next.len() <= frame::WRITE_BYTES)
        {
            bytes.extend_from_slice(&next);
        }
        Some(bytes)
    }
}
