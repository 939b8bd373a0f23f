//! Writes frames to a stream, in their order.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{AsyncWrite, io::WriteHalf};
use libp2p::Stream;

use super::{
    frame::{self, Encoded, counted},
    stall::Stall,
};
use crate::network::limits::STEP_BYTES;

/// The writing half of a stream, and the frames that wait for it, in pieces. How many do is bounded
/// by how many requests may be under way.
pub(super) struct Writer {
    stream: WriteHalf<Stream>,
    /// What is being written, and how much of it is.
    writing: Bytes,
    written: usize,
    /// Bytes of it that count.
    counted: usize,
    /// Whether something was written that is not flushed.
    is_unflushed: bool,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Bytes since the last step.
    since_step: usize,
    stall: Stall,
}

/// What writing came to.
pub(super) struct Progress {
    /// Bytes of pieces that are gone as a whole, as far as they count.
    pub(super) gone: usize,
    /// Whether it made a step.
    pub(super) got_on: bool,
    /// Whether the other side does not read.
    pub(super) is_stalled: bool,
}

impl Writer {
    pub(super) fn new(stream: WriteHalf<Stream>) -> Self {
        Self {
            stream,
            writing: Bytes::new(),
            written: 0,
            counted: 0,
            is_unflushed: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            since_step: 0,
            stall: Stall::default(),
        }
    }

    pub(super) fn push(&mut self, frame: Encoded) {
        for piece in frame.pieces() {
            self.waiting_bytes += piece.len();
            self.waiting.push_back(piece);
        }
    }

    /// Pieces that are not written, or not yet flushed.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(!self.writing.is_empty() || self.is_unflushed)
    }

    /// Bytes that are not written.
    pub(super) fn bytes(&self) -> usize {
        self.waiting_bytes + self.writing.len() - self.written
    }

    /// Writes on.
    ///
    /// # Errors
    /// When the stream broke.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> io::Result<Progress> {
        let mut progress = Progress { gone: 0, got_on: false, is_stalled: false };
        loop {
            if self.written == self.writing.len() {
                progress.gone += std::mem::take(&mut self.counted);
                self.written = 0;
                self.writing = self.next_write();
                if self.writing.is_empty() {
                    break;
                }
            }
            let rest = &self.writing[self.written..];
            match Pin::new(&mut self.stream).poll_write(context, rest)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    self.written += count;
                    self.is_unflushed = true;
                    progress.got_on |= self.step(count);
                }
                Poll::Pending => {
                    progress.is_stalled = self.stall.poll(context);
                    return Ok(progress);
                }
            }
        }
        if self.is_unflushed {
            match Pin::new(&mut self.stream).poll_flush(context)? {
                Poll::Ready(()) => {
                    self.is_unflushed = false;
                    self.stall.step();
                }
                Poll::Pending => progress.is_stalled = self.stall.poll(context),
            }
        }
        Ok(progress)
    }

    fn step(&mut self, count: usize) -> bool {
        self.since_step += count;
        let is_step = self.since_step >= STEP_BYTES;
        if is_step {
            self.since_step = 0;
            self.stall.step();
        }
        is_step
    }

    /// The next piece, together with those after it that are small; nothing if there is none.
    fn next_write(&mut self) -> Bytes {
        let first = self.waiting.pop_front().unwrap_or_default();
        self.counted = counted(first.len());
        self.waiting_bytes -= first.len();
        let fits = |bytes: usize, next: &Bytes| bytes + next.len() <= frame::WRITE_BYTES;
        if self.waiting.front().is_none_or(|next| !fits(first.len(), next)) {
            return first;
        }
        let mut bytes = Vec::from(first);
        while let Some(next) = self.waiting.pop_front_if(|next| fits(bytes.len(), next)) {
            self.counted += counted(next.len());
            self.waiting_bytes -= next.len();
            bytes.extend_from_slice(&next);
        }
        bytes.into()
    }
}
