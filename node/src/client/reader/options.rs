//! What of a topic is read.

use std::time::SystemTime;

use antiphon::model::{Cursor, NodeId, Record, WallClock};
use bytes::Bytes;

/// Where a reader starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// At the oldest record that is still there.
    #[default]
    Beginning,
    /// After the newest record.
    End,
    /// This many records before the end, counting only those that the reader wants.
    Last(u64),
    /// At the first record that was published at this time or later.
    Since(SystemTime),
    /// At a place in this topic, for example where an earlier reader stopped.
    At(Cursor),
}

/// Where a reader ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum End {
    /// At the end of what was stored when it was started.
    #[default]
    Stored,
    /// Nowhere: live records follow the stored ones.
    Never,
    /// At a place in this topic. A named subscription that ends there later continues there.
    At(Cursor),
    /// At the end of what was stored, without the records that were published at this time or
    /// later.
    Before(SystemTime),
    /// This many records before the end of what was stored.
    BeforeLast(u64),
}

/// How a topic is read.
///
/// ```
/// use antiphon_node::{ReaderOptions, Start};
///
/// // The last ten records of one key, and then those to come.
/// let options = ReaderOptions::follow().start(Start::Last(10)).key("us");
/// # assert_eq!(options.start, Start::Last(10));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// Where to start.
    pub start: Start,
    /// Where to end.
    pub end: End,
    /// Read records with this key only.
    pub key: Option<Bytes>,
    /// Read records only that this node has signed.
    pub writer: Option<NodeId>,
}

impl ReaderOptions {
    /// All records that are stored.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the oldest record on, and then those to come.
    #[must_use]
    pub fn follow() -> Self {
        Self { end: End::Never, ..Self::default() }
    }

    /// The same options with another [`start`](field@Self::start).
    #[must_use]
    pub fn start(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// The same options with another [`end`](field@Self::end).
    #[must_use]
    pub fn end(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// The same options for records with this key only.
    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same options for records only that this node has signed.
    #[must_use]
    pub fn writer(self, writer: NodeId) -> Self {
        Self { writer: Some(writer), ..self }
    }

    /// Whether all records are wanted, up to the end.
    pub(super) fn is_whole(&self) -> bool {
        let ends = matches!(self.end, End::Stored | End::Never);
        ends && self.key.is_none() && self.writer.is_none()
    }

    pub(in crate::client) fn wants(&self, record: &Record) -> bool {
        let since = match self.start {
            Start::Since(time) => Some(WallClock::from(time)),
            _ => None,
        };
        let is_before = match self.end {
            End::Before(time) => record.time < Some(time.into()),
            _ => true,
        };
        let has_key = self.key.as_ref().is_none_or(|key| record.key.as_ref() == Some(key));
        record.time >= since && is_before && has_key
    }
}
