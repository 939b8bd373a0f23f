//! One message on a kept-open stream: its number 8 and its length 4, big-endian, and then the
//! message. The answer to a request has the request's number.
//!
//! Small frames are written as one piece: Yamux makes a frame of its own of every write, which is
//! then encrypted by itself. A message that is too large is an error before memory is reserved for
//! it, in both directions; it is never cut short.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use antiphon::{limits::MESSAGE_BYTES_MAX, wire::WireError};
use bytes::Bytes;
use futures::AsyncRead;
use thiserror::Error;
use tokio::time::{Sleep, sleep};

use super::stall::Stall;
use crate::network::{
    budget::{Account, Loan},
    limits::{LOOK_AGAIN, STEP_BYTES, UNCOUNTED_BYTES_MAX},
};

/// Bytes before the message.
const HEAD_BYTES: usize = 12;

/// How many times as large the buffer of a message becomes when it is full.
const GROWTH: usize = 4;

/// Small frames that wait are written together, up to this many bytes.
pub(super) const WRITE_BYTES: usize = 64 * 1024;

/// A frame to be written: a large message is not copied behind its head.
#[derive(Debug)]
pub(super) struct Encoded {
    first: Bytes,
    rest: Option<Bytes>,
}

impl Encoded {
    /// What is written, in its order.
    pub(super) fn pieces(self) -> impl Iterator<Item = Bytes> {
        std::iter::once(self.first).chain(self.rest)
    }

    /// How many of its bytes count.
    pub(super) fn counted(&self) -> usize {
        counted(self.first.len()) + self.rest.as_ref().map_or(0, |rest| counted(rest.len()))
    }
}

/// How many bytes of a piece count.
pub(super) fn counted(length: usize) -> usize {
    if length > UNCOUNTED_BYTES_MAX { length } else { 0 }
}

/// A frame of a message.
///
/// # Errors
/// When the message is too large.
pub(super) fn encode(number: u64, message: Bytes) -> Result<Encoded, WireError> {
    let length = message.len();
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge(length));
    }
    let is_small = HEAD_BYTES + length <= WRITE_BYTES;
    let mut first = Vec::with_capacity(HEAD_BYTES + if is_small { length } else { 0 });
    first.extend_from_slice(&number.to_be_bytes());
    first.extend_from_slice(&u32::try_from(length).expect("far below 4 GiB").to_be_bytes());
    if is_small {
        first.extend_from_slice(&message);
        return Ok(Encoded { first: first.into(), rest: None });
    }
    Ok(Encoded { first: first.into(), rest: Some(message) })
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) number: u64,
    pub(super) message: Bytes,
    /// What it takes of the budget.
    pub(super) loan: Option<Loan>,
}

/// Why no frame comes any more.
#[derive(Debug, Error)]
pub(super) enum FrameError {
    /// The stream broke, or ended within a frame.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// A frame claims to be larger than any message.
    #[error(transparent)]
    TooLarge(WireError),
    /// The rest of a frame does not come.
    #[error("the rest of a frame does not come")]
    Stalled,
    /// The rest of a frame did not come, and others needed the room.
    #[error("the rest of a frame did not come before others needed the room")]
    Recalled,
}

/// Reads frames from a stream. Memory grows with what comes, not with what a head claims.
pub(super) struct Frames<R> {
    reader: R,
    account: Account,
    stall: Stall,
    /// When to look for room again.
    look_again: Option<Pin<Box<Sleep>>>,
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that came.
    begun: usize,
    message: Vec<u8>,
    /// Bytes of the message that came.
    filled: usize,
    /// Bytes since the last step.
    since_step: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(reader: R, account: Account) -> Self {
        Self {
            reader,
            account,
            stall: Stall::default(),
            look_again: None,
            head: [0; HEAD_BYTES],
            begun: 0,
            message: Vec::new(),
            filled: 0,
            since_step: 0,
        }
    }

    /// The next frame; none at the end of the stream. While there is no room for it, only its head
    /// is read, so that the end of the stream is seen.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        has_room: bool,
    ) -> Poll<Result<Option<Frame>, FrameError>> {
        if self.account.poll_recalled(context) {
            return Poll::Ready(Err(FrameError::Recalled));
        }
        loop {
            let into = if self.begun < HEAD_BYTES {
                &mut self.head[self.begun..]
            } else if !has_room {
                return Poll::Pending;
            } else {
                let (number, size) = self.head()?;
                if self.filled == size {
                    return Poll::Ready(Ok(Some(self.finish(number))));
                }
                if self.filled == self.message.len() && !self.make_room(size, context) {
                    return Poll::Pending;
                }
                &mut self.message[self.filled..]
            };
            match Pin::new(&mut self.reader).poll_read(context, into)? {
                Poll::Ready(0) if self.begun == 0 => return Poll::Ready(Ok(None)),
                Poll::Ready(0) => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
                }
                Poll::Ready(count) => self.came(count),
                Poll::Pending if self.begun > 0 && self.stall.poll(context) => {
                    return Poll::Ready(Err(FrameError::Stalled));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The number and the size of the message that begins.
    fn head(&self) -> Result<(u64, usize), FrameError> {
        let (number, length) = self.head.split_at(8);
        let number = u64::from_be_bytes(number.try_into().expect("8 bytes"));
        let length = u32::from_be_bytes(length.try_into().expect("4 bytes"));
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > MESSAGE_BYTES_MAX {
            return Err(FrameError::TooLarge(WireError::TooLarge(size)));
        }
        Ok((number, size))
    }

    fn came(&mut self, count: usize) {
        if self.begun < HEAD_BYTES {
            self.begun += count;
            return;
        }
        self.filled += count;
        self.since_step += count;
        if self.since_step >= STEP_BYTES {
            self.since_step = 0;
            self.stall.step();
            self.account.got_on();
        }
    }

    /// Makes the message longer. If there is no room, it looks again a moment later.
    fn make_room(&mut self, size: usize, context: &mut Context<'_>) -> bool {
        let before = self.message.len();
        let length = size.min((before * GROWTH).max(UNCOUNTED_BYTES_MAX));
        // The first bytes are not counted until there are more.
        let counted = if before > UNCOUNTED_BYTES_MAX { length - before } else { length };
        while length > UNCOUNTED_BYTES_MAX && self.account.take(counted).is_err() {
            let sleep = self.look_again.get_or_insert_with(|| Box::pin(sleep(LOOK_AGAIN)));
            if sleep.as_mut().poll(context).is_pending() {
                return false;
            }
            self.look_again = None;
        }
        self.message.reserve_exact(length - before);
        self.message.resize(length, 0);
        true
    }

    fn finish(&mut self, number: u64) -> Frame {
        (self.begun, self.filled, self.since_step) = (0, 0, 0);
        self.stall.step();
        let message = std::mem::take(&mut self.message).into();
        Frame { number, message, loan: self.account.hand_on() }
    }
}

#[cfg(test)]
mod tests {
    use futures::{TryStreamExt, io::Cursor};
    use libp2p::PeerId;

    use super::*;
    use crate::network::budget::Budget;

    /// The bytes of a frame.
    fn whole(number: u64, message: impl Into<Bytes>) -> Vec<u8> {
        encode(number, message.into()).unwrap().pieces().flatten().collect()
    }

    async fn next<R: AsyncRead + Unpin>(
        frames: &mut Frames<R>,
    ) -> Result<Option<(u64, Bytes)>, FrameError> {
        let frame = std::future::poll_fn(|context| frames.poll_next(context, true)).await?;
        Ok(frame.map(|frame| (frame.number, frame.message)))
    }

    fn frames<R: AsyncRead + Unpin>(reader: R) -> Frames<R> {
        let budget = Budget::new(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
        Frames::new(reader, budget.open(PeerId::random()))
    }

    #[tokio::test]
    async fn frames_follow_each_other() {
        let large: Bytes = vec![3; 300_000].into();
        let mut bytes = whole(7, "one");
        bytes.extend(whole(8, large.clone()));
        bytes.extend(whole(u64::MAX, ""));
        let mut stream = frames(Cursor::new(bytes));
        assert_eq!(next(&mut stream).await.unwrap(), Some((7, "one".into())));
        assert_eq!(next(&mut stream).await.unwrap(), Some((8, large)));
        assert_eq!(next(&mut stream).await.unwrap(), Some((u64::MAX, Bytes::new())));
        assert_eq!(next(&mut stream).await.unwrap(), None);
    }

    #[tokio::test]
    async fn oversize_is_an_error_at_both_ends() {
        let message = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
        let length = message.len();
        assert!(matches!(encode(1, message), Err(WireError::TooLarge(_))));
        let mut head = whole(1, "");
        head[8..].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        let mut stream = frames(Cursor::new(head));
        assert!(matches!(next(&mut stream).await, Err(FrameError::TooLarge(_))));
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_short_is_an_error() {
        let whole = whole(1, "message");
        for length in 1..whole.len() {
            let mut stream = frames(Cursor::new(&whole[..length]));
            match next(&mut stream).await {
                Err(FrameError::Broken(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length} bytes");
                }
                other => panic!("{length} bytes: {other:?}"),
            }
        }
    }

    /// A frame of these many bytes that never comes to its end: what came of it, and then nothing.
    fn half_a_frame(size: usize, came: usize) -> impl AsyncRead + Unpin {
        let mut bytes = whole(1, vec![0; size]);
        bytes.truncate(HEAD_BYTES + came);
        let came = futures::stream::iter([Ok(bytes)]);
        futures::stream::StreamExt::chain(came, futures::stream::pending::<io::Result<_>>())
            .into_async_read()
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_whose_rest_does_not_come_ends_the_stream() {
        for came in [0, 5, 100_000] {
            let mut stream = frames(half_a_frame(200_000, came));
            assert!(matches!(next(&mut stream).await, Err(FrameError::Stalled)), "{came} bytes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_grows_with_what_comes_and_stalled_frames_make_room() {
        let budget = Budget::new(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
        let (idle, busy) = (PeerId::random(), PeerId::random());
        let mut little = Frames::new(half_a_frame(MESSAGE_BYTES_MAX, 10), budget.open(idle));
        let mut much = Frames::new(half_a_frame(MESSAGE_BYTES_MAX, 5_000_000), budget.open(idle));
        assert!(futures::poll!(Box::pin(next(&mut little))).is_pending());
        assert_eq!(budget.share_of(&idle), 0, "it only claims to be large");
        assert!(futures::poll!(Box::pin(next(&mut much))).is_pending());
        assert!((5_000_000..=MESSAGE_BYTES_MAX).contains(&budget.share_of(&idle)));
        // One that comes to its end needs the room.
        let whole = whole(1, vec![0; 2_000_000]);
        let mut whole = Frames::new(Cursor::new(whole), budget.open(busy));
        assert_eq!(next(&mut whole).await.unwrap().unwrap().1.len(), 2_000_000);
        assert!(matches!(next(&mut much).await, Err(FrameError::Recalled)));
        assert_eq!((budget.share_of(&idle), budget.share_of(&busy)), (0, 0));
    }
}
