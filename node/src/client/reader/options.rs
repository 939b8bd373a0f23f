//! What of a topic is read.

use std::time::SystemTime;

use antiphon::model::{Cursor, NodeId, Record, WallClock};
use bytes::Bytes;

/// Where a reader starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// At the oldest record that is still stored.
    #[default]
    Beginning,
    /// After the newest record.
    End,
    /// This many records before the end. Only records that the reader wants count. In a compacted
    /// topic, or with a key, a writer or some other end, the whole topic is read to find them.
    Last(u64),
    /// Only records that were published at this time or later, by the publishers' clocks. The topic
    /// is read from its beginning to find them.
    Since(SystemTime),
    /// At a place in this topic, for example the [`cursor`](super::Reader::cursor) of an earlier
    /// reader.
    At(Cursor),
}

/// Where a reader ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum End {
    /// At the end of what was stored when the reader was started.
    #[default]
    Stored,
    /// Nowhere: live records follow the stored ones.
    Never,
    /// At a place in this topic. A named subscription that ended there continues there when it is
    /// started again.
    At(Cursor),
    /// At the end of what was stored when the reader was started. Records that were published at
    /// this time or later, by the publishers' clocks, are left out.
    Before(SystemTime),
    /// This many records before the end of what was stored when the reader was started.
    BeforeLast(u64),
}

/// How a topic is read: [`Topic::read`](crate::Topic::read) takes it. The defaults are all records
/// from the oldest one to the end of what is stored.
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
    /// Read only records with this key; none for all. The node still sends the whole topic, and the
    /// reader chooses.
    pub key: Option<Bytes>,
    /// Read only records of this [`writer`](field@super::Delivered::writer); none for all. The node
    /// still sends the whole topic, and the reader chooses.
    pub writer: Option<NodeId>,
}

impl ReaderOptions {
    /// The defaults: all records that are stored.
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

    /// The same options with a [`key`](field@Self::key).
    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same options with a [`writer`](field@Self::writer).
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
